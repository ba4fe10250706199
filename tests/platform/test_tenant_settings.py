"""Who may override a setting for a tenant, and that everything seeded is read by something."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.identity.conftest import CONTEXT

SET = "select platform.set_tenant_setting(%s, %s, %s)"
KEY = "security.session_idle_minutes"


@pytest.fixture
def db(server, _shared_database, migrator):
    """A transaction of the owner, which can go on as a login of one of the group roles; rolled back."""
    with psycopg.connect(server.url(_shared_database)) as conn:
        act_as(conn, migrator)
        yield conn
        conn.rollback()


def act_as(db, login, group=None):
    """Go on as a login; one that is a member of the group only is made where a group is given."""
    db.execute("reset session authorization")
    if group:
        db.execute(f"create role {login} login in role {group}")
    db.execute(f"set local session authorization {login}")


@pytest.fixture
def acme(db, tenant):
    """A tenant of the test's own, as a service has it open: for nobody."""
    tenant_id = tenant("acme")
    db.execute(CONTEXT, [tenant_id])
    return tenant_id


def person(db, tenant_id, role=None):
    (user_id,) = db.execute(
        "insert into identity.users (tenant_id, email, display_name, status)"
        " values (%s, platform.new_id() || '@acme.test', 'A', 'active') returning id",
        [tenant_id],
    ).fetchone()
    if role:
        db.execute(
            "insert into authz.user_roles (tenant_id, user_id, role_id) select %s, %s, id from authz.roles where name = %s",
            [tenant_id, user_id, role],
        )
    return user_id


def become(db, tenant_id, user_id, level):
    """Run as the application in the context of a user at a level."""
    act_as(db, "migrator")
    db.execute("select platform._seal_context(%s)", [Jsonb({"tenant_id": str(tenant_id), "user_id": str(user_id), "authentication_level": level})])  # fmt: skip


def refused(db, statement, values):
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(statement, values)
    return caught.value.sqlstate


def test_only_who_may_configure_the_tenant_overrides(db, acme):
    admin, user = person(db, acme, "admin"), person(db, acme, "user")
    become(db, acme, user, 3)
    assert refused(db, SET, [KEY, Jsonb(60), "why not"]) == "ZP006"
    become(db, acme, admin, 1)  # without a second factor
    assert refused(db, SET, [KEY, Jsonb(60), "why not"]) == "ZP006"
    become(db, acme, admin, 2)
    db.execute(SET, [KEY, Jsonb(60), "people complained"])
    assert db.execute("select platform.setting(%s)", [KEY]).fetchone() == (60,)
    db.execute(SET, [KEY, Jsonb(90), "they still do"])
    db.execute(SET, [KEY, None, "auditors complained"])
    assert db.execute("select platform.setting(%s)", [KEY]).fetchone() == (30,)
    history = db.execute(
        "select old_value, new_value, reason, changed_by, login from platform.tenant_setting_changes order by id"
    ).fetchall()
    assert history == [
        (None, 60, "people complained", admin, "migrator"),
        (60, 90, "they still do", admin, "migrator"),
        (90, None, "auditors complained", admin, "migrator"),
    ]


@pytest.mark.parametrize(("key", "value", "reason", "sqlstate"), [
    ("security.no_such_thing", 1, "x", "ZP002"), ("limits.users_per_tenant", 1000000, "x", "ZP003"),
    (KEY, 1, "x", "ZP004"), (KEY, "30", "x", "ZP004"), (KEY, 30, " ", "23514"), (KEY, 30, None, "23502"),
])  # fmt: skip
def test_what_cannot_be_is_refused(db, acme, key, value, reason, sqlstate):
    become(db, acme, person(db, acme, "admin"), 2)
    assert refused(db, SET, [key, Jsonb(value), reason]) == sqlstate
    assert db.execute("select count(*) from platform.tenant_setting_changes").fetchone() == (0,)


def test_without_a_context_nobodys_setting_is_changed(db):
    assert refused(db, SET, [KEY, Jsonb(60), "x"]) == "ZP006"


def test_an_injected_application_cannot_touch_them(db, acme):
    become(db, acme, person(db, acme), 1)
    act_as(db, "injected", "enterprise_ai_app")
    for statement in (
        f"insert into platform.tenant_settings (tenant_id, key, value) values ('{acme}', '{KEY}', '60')",
        "update platform.tenant_settings set value = '60'",
        "delete from platform.tenant_settings",
        "delete from platform.tenant_setting_changes",
        f"select platform._write_tenant_setting('{KEY}', '60', 'x')",
        f"select platform.set_setting_of_tenant('{acme}', '{KEY}', '60', 'x')",
    ):
        assert refused(db, statement, []) == "42501", statement
    assert refused(db, SET, [KEY, Jsonb(60), "x"]) == "ZP006"
    assert db.execute("select platform.setting(%s)", [KEY]).fetchone() == (30,)


def test_an_operator_sets_what_tenants_cannot(db, tenant):
    acme, other = tenant("acme"), tenant("other")
    act_as(db, "operating", "enterprise_ai_operator")
    db.execute(
        "select platform.set_setting_of_tenant(%s, 'limits.users_per_tenant', '25000', 'contract 17')", [acme]
    )
    assert db.execute("select platform.context()").fetchone() == (None,)
    wrong = (
        "select platform.set_setting_of_tenant(platform.new_id(), 'limits.users_per_tenant', '25000', 'x')"
    )
    assert refused(db, wrong, []) == "ZI016"
    act_as(db, "migrator")
    for tenant_id, value in ((acme, 25000), (other, 10000)):
        db.execute(CONTEXT, [tenant_id])
        assert db.execute("select platform.setting('limits.users_per_tenant')").fetchone() == (value,)


# Every setting has a reader

# What has its table but not yet its functions: what these settings say comes with those.
DOMAINS_TO_COME = ("analytics.", "audit.", "llm.", "platform.", "service.")


def test_every_seeded_setting_is_read_by_a_function(db):
    readers = {}
    for name, body in db.execute(
        "select oid::regprocedure::text, prosrc from pg_proc where pronamespace::regnamespace::name = any (platform.domains())"
    ):
        for key in re.findall(r"'([a-z]+\.[a-z_]+)'", body):
            readers.setdefault(key, set()).add(name)
    for table, arguments in db.execute("select tgrelid::regclass::text, encode(tgargs, 'escape') from pg_trigger where tgnargs > 0"):  # fmt: skip
        for key in arguments.split("\\000"):
            readers.setdefault(key, set()).add(f"a trigger of {table}")
    seeded = {key for (key,) in db.execute("select distinct key from platform.configuration_settings")}
    assert len(seeded) > 50
    unread = {key for key in seeded if key not in readers and not key.startswith(DOMAINS_TO_COME)}
    assert unread == set()
    assert "a trigger of llm.documents" in readers["limits.storage_bytes_per_tenant"]
    assert any("start_session" in name for name in readers["security.session_absolute_hours"])


# Rate limits


def count(db, key, amount=1):
    return db.execute("select platform.count_against_limit(%s, %s)", [key, amount]).fetchone()[0]


def test_requests_are_counted_by_the_minute_and_by_whom(db, acme):
    db.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'limits.requests_per_minute', '3')", [acme])  # fmt: skip
    ada, bob = person(db, acme), person(db, acme)
    become(db, acme, ada, 1)
    act_as(db, "asking", "enterprise_ai_app")
    assert [count(db, "limits.requests_per_minute") is None for _ in range(5)] == [True] * 3 + [False] * 2
    assert 0 < count(db, "limits.requests_per_minute").total_seconds() <= 60
    assert count(db, "limits.model_calls_per_minute") is None  # each for itself
    become(db, acme, bob, 1)
    assert count(db, "limits.requests_per_minute", 3) is None
    assert count(db, "limits.requests_per_minute", 4) is not None
    assert count(db, "limits.requests_per_minute", 0) is None
    become(db, acme, bob, 1)
    db.execute("update platform.rate_counts set minute = minute - interval '1 minute'")
    assert count(db, "limits.requests_per_minute", 3) is None  # a new minute
    assert count(db, "limits.requests_per_minute", 1) is not None


def test_a_session_cannot_have_minutes_of_its_own(db, acme):
    db.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'limits.requests_per_minute', '3')", [acme])  # fmt: skip
    become(db, acme, person(db, acme), 1)
    assert count(db, "limits.requests_per_minute", 3) is None
    for seconds in range(1, 60, 6):  # a summer time that is some seconds off
        db.execute(f"set local timezone = '<a>0<b>-00:00:{seconds:02},J2/0,J365/0'")
        assert count(db, "limits.requests_per_minute") is not None


def test_a_tenants_limit_counts_all_of_its_people(db, acme):
    key = "limits.requests_per_minute_per_tenant"
    db.execute(
        "insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, '4')", [acme, key]
    )
    waits = []
    for user_id in (person(db, acme), person(db, acme)):
        become(db, acme, user_id, 1)
        waits += [count(db, key) for _ in range(3)]
    assert [wait is None for wait in waits] == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    "key", ["limits.users_per_tenant", "limits.nothing_per_minute", "security.session_idle_minutes", None]
)
def test_nothing_else_is_counted_against(db, acme, key):
    assert refused(db, "select platform.count_against_limit(%s)", [key]) == "ZP007"
