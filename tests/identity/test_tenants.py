"""Making a tenant: everything it needs from its first moment, and nothing of anybody else's."""

import psycopg
import pytest


def test_a_new_tenant_has_its_roles_and_cost_centres(db, tenant):
    tenant_id = tenant("acme")
    db.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant_id])
    counts = db.execute(
        "select (select count(*) from authz.roles), (select count(*) from authz.role_permissions),"
        " (select count(*) from analytics.cost_centers), (select count(*) from identity.users)"
    ).fetchone()
    assert counts[0] == 10
    assert counts[1] > 30
    assert counts[2] >= 1
    assert counts[3] == 0


def test_the_callers_context_stays_as_it_was(db, tenant):
    assert db.execute("select platform.current_tenant_id()").fetchone() == (None,)
    first = tenant("first")
    assert db.execute("select platform.current_tenant_id()").fetchone() == (None,)
    db.execute("select platform.open_context(%s)", [first])
    tenant("second")
    assert db.execute("select platform.current_tenant_id()").fetchone() == (first,)


def test_a_slug_is_given_once(db, tenant):
    tenant("acme")
    with pytest.raises(psycopg.Error, match="There is a tenant acme already") as caught:
        tenant("acme")
    assert caught.value.sqlstate == "ZI003"


@pytest.mark.parametrize("slug", ["", "Acme", "-acme", "acme-", "a b", "a" * 64, "ä"])
def test_a_slug_is_fit_for_an_address(db, tenant, slug):
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        tenant(slug)
    assert caught.value.diag.constraint_name == "tenant_directory_slug_is_a_slug"


def test_operators_make_tenants_and_applications_do_not(admin):
    admin.execute("set local role enterprise_ai_operator")
    admin.execute("select identity.create_tenant('acme', 'Acme')")
    admin.execute("set local role enterprise_ai_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute("select identity.create_tenant('other', 'Other')")
