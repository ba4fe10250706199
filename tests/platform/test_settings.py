"""Settings are declared with a type, and the nearest value wins."""

import psycopg
import pytest
from psycopg.types.json import Jsonb


@pytest.fixture
def acme(db, tenant):
    """The context of a tenant of the test's own."""
    tenant_id = tenant("acme")
    db.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant_id])
    db.execute(
        "insert into platform.services (name, display_name, description) values ('probe', 'Probe', 'For a test.')"
    )
    return tenant_id


def declare(db, value, value_type="integer", *, service=None, environment="any", overridable=True, **rules):
    db.execute(
        "insert into platform.configuration_settings (key, service_name, environment, value, value_type, minimum, maximum,"
        " allowed_values, is_tenant_overridable, description) values ('test.setting', %s, %s, %s, %s, %s, %s, %s, %s, 'x')",
        [
            service,
            environment,
            Jsonb(value),
            value_type,
            rules.get("minimum"),
            rules.get("maximum"),
            Jsonb(rules["allowed"]) if "allowed" in rules else None,
            overridable,
        ],
    )


def override(db, tenant_id, value):
    db.execute(
        "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'test.setting', %s)",
        [tenant_id, Jsonb(value)],
    )


def setting(db, service=None, environment=None):
    return db.execute("select platform.setting('test.setting', %s, %s)", [service, environment]).fetchone()[0]


def test_the_nearest_value_wins(db, acme):
    declare(db, 1)
    assert setting(db, "probe") == 1
    declare(db, 2, environment="production")
    assert (setting(db, "probe"), setting(db, "probe", "production")) == (1, 2)
    declare(db, 3, service="probe")
    assert (setting(db), setting(db, "probe"), setting(db, "probe", "production")) == (1, 3, 3)
    declare(db, 4, service="probe", environment="production")
    assert (setting(db, "probe"), setting(db, "probe", "production")) == (3, 4)
    override(db, acme, 5)
    assert (setting(db), setting(db, "probe"), setting(db, "probe", "production")) == (5, 5, 5)


def test_an_unknown_key_is_null(db, acme):
    assert setting(db) is None


@pytest.mark.parametrize(("value", "value_type", "rules"), [
    ("7", "integer", {}), (7.5, "integer", {}), (True, "number", {}), (1, "boolean", {}), (1, "string", {}),
    ({}, "array", {}), ([], "object", {}), (None, "string", {}),
    (0, "integer", {"minimum": 1}), (11, "integer", {"maximum": 10}), ("c", "string", {"allowed": ["a", "b"]}),
])  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(db, acme, value, value_type, rules):
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        declare(db, value, value_type, **rules)
    assert caught.value.diag.constraint_name == "configuration_settings_value_fits"


@pytest.mark.parametrize(("value", "value_type", "rules"), [
    (7, "integer", {"minimum": 1, "maximum": 7}), (7.5, "number", {}), (False, "boolean", {}), ("", "string", {}),
    ([1], "array", {}), ({"a": 1}, "object", {}), ("a", "string", {"allowed": ["a", "b"]}),
])  # fmt: skip
def test_a_value_that_fits_is_taken(db, acme, value, value_type, rules):
    declare(db, value, value_type, **rules)
    assert setting(db) == value


@pytest.mark.parametrize(("declared", "value", "sqlstate"), [
    (None, 1, "ZP002"), ({}, "text", "ZP004"), ({"maximum": 5}, 6, "ZP004"),
])  # fmt: skip
def test_an_override_is_of_something_declared_and_fits(db, acme, declared, value, sqlstate):
    if declared is not None:
        declare(db, 1, **declared)
    with pytest.raises(psycopg.Error) as caught:
        override(db, acme, value)
    assert caught.value.sqlstate == sqlstate


def test_updated_at_follows_every_change(admin):
    admin.execute(
        "insert into platform.services (name, display_name, description, updated_at) values ('probe', 'P', 'x', '2000-01-01')"
    )
    row = admin.execute(
        "update platform.services set display_name = 'Q' where name = 'probe' returning updated_at = now()"
    ).fetchone()
    assert row == (True,)


def test_health_is_what_was_last_said_and_unknown_after_three_missed_reports(db):
    db.execute("insert into platform.services (name, display_name, description) values ('probe', 'P', 'x')")
    health = "select status from platform.service_health() where name = 'probe'"
    assert db.execute(health).fetchone() == ("unknown",)
    db.execute("select platform.report_health('probe', 'degraded', '{\"queue\": \"long\"}')")
    assert db.execute(health).fetchone() == ("degraded",)
    db.execute(
        "update platform.services set health_reported_at = now() - interval '10 minutes' where name = 'probe'"
    )
    assert db.execute(health).fetchone() == ("unknown",)
    with pytest.raises(psycopg.Error) as caught:
        db.execute("select platform.report_health('nobody', 'healthy')")
    assert caught.value.sqlstate == "ZP005"
