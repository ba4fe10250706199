"""The context of a transaction: who opens it, what it carries, and what it refuses."""

import psycopg
import pytest


@pytest.fixture
def person(db, tenant):
    """An active user of a tenant of the test's own: (tenant, user)."""
    tenant_id = tenant("acme")
    db.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant_id])
    (user_id,) = db.execute(
        "insert into identity.users (tenant_id, email, display_name, status) values (%s, 'ada@acme.test', 'Ada', 'active')"
        " returning id",
        [tenant_id],
    ).fetchone()
    db.execute("select set_config('enterprise_ai.context', '', true)")
    return tenant_id, user_id


def test_an_opened_context_says_who_is_asking(db, person):
    tenant_id, user_id = person
    db.execute(
        "select platform.open_context(%s, %s, request_id => 'r-1', ip_address => '192.0.2.7',"
        " user_agent => 'curl', authentication_level => 2::smallint)",
        [tenant_id, user_id],
    )
    row = db.execute(
        "select platform.current_tenant_id(), platform.current_user_id(), platform.current_actor_id()"
    ).fetchone()
    assert row == (tenant_id, user_id, user_id)
    assert db.execute("select platform.context() - 'tenant_id' - 'user_id'").fetchone()[0] == {
        "request_id": "r-1", "ip_address": "192.0.2.7", "user_agent": "curl", "authentication_level": 2,
    }  # fmt: skip


def test_nobody_is_asking_without_a_context(db):
    row = db.execute(
        "select platform.context(), platform.current_tenant_id(), platform.current_user_id()"
    ).fetchone()
    assert row == (None, None, None)


@pytest.mark.parametrize("status", ["suspended", "archived", "deleting"])
def test_a_tenant_that_is_not_active_gets_no_context(db, person, status):
    tenant_id, user_id = person
    db.execute("select platform.open_context(%s)", [tenant_id])
    db.execute("update identity.tenants set status = %s where id = %s", [status, tenant_id])
    with pytest.raises(psycopg.Error, match=f"is {status}") as caught:
        db.execute("select platform.open_context(%s, %s)", [tenant_id, user_id])
    assert caught.value.sqlstate == "ZI001"


@pytest.mark.parametrize("status", ["invited", "suspended", "deactivated"])
def test_nobody_acts_on_behalf_of_another_who_may_not_work(db, person, status):
    tenant_id, user_id = person
    db.execute("select platform.open_context(%s)", [tenant_id])
    (actor_id,) = db.execute(
        "insert into identity.users (tenant_id, email, display_name, status) values (%s, 'actor@x.test', 'Actor', %s)"
        " returning id",
        [tenant_id, status],
    ).fetchone()
    with pytest.raises(psycopg.Error, match=f"is {status}") as caught:
        db.execute("select platform.open_context(%s, %s, %s)", [tenant_id, user_id, actor_id])
    assert caught.value.sqlstate == "ZI002"


def test_a_user_of_another_tenant_is_as_good_as_unknown(db, person, tenant):
    _, user_id = person
    with pytest.raises(psycopg.Error, match="does not exist in tenant") as caught:
        db.execute("select platform.open_context(%s, %s)", [tenant("other"), user_id])
    assert caught.value.sqlstate == "ZI002"


def test_a_refused_context_leaves_the_earlier_one(db, person):
    tenant_id, user_id = person
    db.execute("select platform.open_context(%s, %s)", [tenant_id, user_id])
    with pytest.raises(psycopg.Error), db.transaction():
        db.execute(
            "select platform.open_context(gen_random_uuid())"
            if db.info.server_version >= 130000
            else "select platform.open_context(platform.new_id())"
        )
    assert db.execute("select platform.current_user_id()").fetchone() == (user_id,)


@pytest.mark.parametrize(
    "role", ["enterprise_ai_app", "enterprise_ai_reader", "enterprise_ai_auditor", "enterprise_ai_operator"]
)
def test_only_gateways_vouch_for_people(admin, role):
    admin.execute(f"set local role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute("select platform.open_context(null::uuid)")


@pytest.mark.parametrize("statement", [
    "select secret from platform.context_keys",
    "select platform._seal_context('{}')",
    "update platform.context_keys set retired_at = now()",
    "select platform.hmac_sha256('x', 'y')",
])  # fmt: skip
@pytest.mark.parametrize("role", ["enterprise_ai_app", "enterprise_ai_gateway", "enterprise_ai_operator"])
def test_the_sealing_key_is_out_of_reach(admin, role, statement):
    admin.execute(f"set local role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute(statement)


def test_a_context_is_verified_once_per_statement(db, tenant):
    tenant_id = tenant("acme")
    db.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant_id])
    db.execute(
        "insert into identity.users (tenant_id, email, display_name) select %s, n || '@acme.test', 'N'"
        " from generate_series(1, 500) as n",
        [tenant_id],
    )
    plan = "\n".join(
        row[0] for row in db.execute("explain (analyze, costs off) select * from identity.users")
    )
    assert "InitPlan" in plan
    assert "rows=500" in plan
