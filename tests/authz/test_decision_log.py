"""What is left on record of decisions: by mode, in the transaction, for auditors."""

from __future__ import annotations

import psycopg
import pytest

from tests.authz.world import World

READ = "document.read"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def ada(world):
    user = world.user()
    world.say(user, READ)
    return user


def set_to(world: World, **settings: str) -> None:
    for key, value in settings.items():
        world.conn.execute(
            "insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, %s)"
            " on conflict (tenant_id, key) do update set value = excluded.value",
            [world.tenant_id, "authz." + key, value],
        )


def logged(world: World, user: object, times: int = 1) -> list[str]:
    """The reasons logged when the user is allowed one thing and denied another, so many times."""
    world.conn.execute("delete from authz.decision_log")
    world.ask_as(user)
    for permission in (READ, "document.delete"):
        world.conn.execute(
            "select count(*) from (select authz.authorize(%s) from generate_series(1, %s)) as d",
            [permission, times],
        )
    return [r for (r,) in world.conn.execute("select reason from authz.decision_log order by decided_at, id")]


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [("off", []), ("denials", ["deny_default"]), ("full", ["allow", "deny_default"])],
)
def test_what_is_logged_is_the_tenants_choice(world, ada, mode, reasons):
    set_to(world, decision_log=f'"{mode}"')
    assert logged(world, ada) == reasons


def test_a_sample_holds_all_denials_and_a_part_of_the_rest(world, ada):
    set_to(world, decision_log='"sample"', decision_log_sample_percent="25")
    reasons = logged(world, ada, 400)
    assert reasons.count("deny_default") == 400
    assert 40 < reasons.count("allow") < 180
    assert world.one("select count(*) from authz.decision_log where sample_percent = 25") == reasons.count(
        "allow"
    )
    set_to(world, decision_log_sample_percent="0")
    assert set(logged(world, ada, 20)) == {"deny_default"}


def test_a_row_says_who_asked_what_and_why_it_fell_so(world, ada):
    set_to(world, decision_log='"full"')
    bob, document, request = world.user(), world.resource(), "r-17"
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, all_permissions=True)
    rule = world.one("select id from authz.user_permissions")
    world.ask_as(ada, actor_id=bob, request_id=request)
    world.conn.execute("select authz.authorize(%s, %s)", [READ, document])
    row = world.conn.execute(
        "select user_id, actor_id, request_id, permission, resource_id, effect, reason, rule_ids[1], sample_percent,"
        " epoch = (select epoch from authz.epochs where tenant_id = platform.current_tenant_id())"
        " from authz.decision_log"
    ).fetchone()
    assert row == (ada, bob, request, READ, document, "allow", "allow", rule, 100, True)


def test_an_unknown_permission_is_a_denial_like_any_other(world, ada):
    world.ask_as(ada)
    assert world.one("select (authz.authorize(%s)).reason", "x" * 5000) == "deny_not_found"
    assert world.one("select length(permission) from authz.decision_log") == 200


def test_no_permission_at_all_is_a_denial_too(world, ada):
    world.ask_as(ada)
    assert world.one("select (authz.authorize(null)).reason") == "deny_not_found"
    assert world.one("select permission from authz.decision_log") == ""


def test_a_log_goes_with_its_transaction_and_the_servers_own_stays(database, server):
    with psycopg.connect(database) as conn:
        conn.execute(
            "update platform.configuration_settings set value = 'true' where key = 'authz.decision_log_to_server'"
        )
        world = World(conn, "rolls-back")
        ada = world.user()
        conn.commit()
        world.ask_as(ada)
        conn.execute("set local client_min_messages = log")
        notices: list[str] = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        conn.execute("select authz.authorize(%s)", [READ])
        assert world.one("select count(*) from authz.decision_log") == 1
        conn.rollback()
        world.enter()
        assert world.one("select count(*) from authz.decision_log") == 0
        assert [n for n in notices if '"deny_default"' in n]


def test_the_month_is_made_when_nobody_has(database):
    with psycopg.connect(database) as conn:
        world = World(conn, "month")
        ada = world.user()
        partition = conn.execute(
            "select partition::text from platform.partitions('authz.decision_log') where starts_at <= now() and ends_at > now()"
        ).fetchone()[0]
        conn.execute(f"drop table {partition}")
        world.ask_as(ada)
        conn.execute("select authz.authorize(%s)", [READ])
        assert world.one("select count(*) from authz.decision_log") == 1


def test_an_act_needs_a_user(world):
    world.enter()
    with pytest.raises(psycopg.Error) as caught:
        world.conn.execute("select authz.authorize(%s)", [READ])
    assert caught.value.sqlstate == "ZA001"


def test_auditors_read_it_and_applications_do_not(db):
    privileges = {
        role: db.execute("select has_table_privilege(%s, 'authz.decision_log', 'select')", [role]).fetchone()[
            0
        ]
        for role in (
            "enterprise_ai_auditor",
            "enterprise_ai_app",
            "enterprise_ai_gateway",
            "enterprise_ai_reader",
        )
    }
    assert [role for role, may in privileges.items() if may] == ["enterprise_ai_auditor"]
