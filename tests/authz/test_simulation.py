"""Looking before one changes: simulations that leave nothing behind, and policy tests."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.authz.governing import holder_of, name_of, refused
from tests.authz.world import World

READ = "document.read"
SIMULATE = "select authz.simulate(%s, %s)"
TEST = "select authz.save_policy_test(%s, %s, %s, %s, %s, %s)"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def boss(world):
    return holder_of(world, "super_admin")


def simulate(
    world: World, boss: object, *changes: dict[str, Any], checks: list[dict[str, Any]] | None = None
):
    world.ask_as(boss, authentication_level=2)
    as_json = lambda value: json.dumps(value, default=str)  # noqa: E731
    return world.one(SIMULATE, as_json(changes), as_json(checks) if checks is not None else None)


def flips(result: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (f["user_id"], f["permission"], f["before"]["effect"], f["after"]["effect"]) for f in result["flips"]
    ]


def state_of(world: World) -> list[Any]:
    """Every row that rights are in, and the epoch."""
    tables = [
        row[0]
        for row in world.conn.execute(
            "select c.oid::regclass::text from pg_class as c where c.relnamespace in ('authz'::regnamespace,"
            " 'identity'::regnamespace) and c.relkind = 'r' and c.relrowsecurity order by 1"
        )
    ]
    return [world.conn.execute(f"select xmin, t.* from {t} as t order by t::text").fetchall() for t in tables]


def test_it_says_exactly_what_would_flip_and_leaves_nothing(world, boss):
    ada, bob, role, document = world.user(), world.user(), world.role(), world.resource()
    world.carry(role, READ)
    world.give(bob, role)
    checks = [
        {"user_id": user, "permission": permission, "resource_id": resource}
        for user in (ada, bob)
        for permission in (READ, "document.delete")
        for resource in (document, None)
    ]
    before = state_of(world)
    result = simulate(
        world,
        boss,
        {"do": "assign_role", "user_id": ada, "role": name_of(world, role), "resource_id": document},
        {"do": "revoke_role", "user_id": bob, "role": name_of(world, role)},
        checks=checks,
    )
    assert [c["outcome"] for c in result["changes"]] == ["applied", "applied"]
    assert result["checked"] == 8
    assert [(f["user_id"], f["resource_id"], f["after"]["effect"]) for f in result["flips"]] == [
        (str(ada), str(document), "allow"),
        (str(bob), str(document), "deny"),
        (str(bob), None, "deny"),
    ]
    assert result["flips"][0]["before"] == {"effect": "deny", "reason": "deny_default"}
    assert state_of(world) == before


# A change, and whether ada (who is in no group, and shares nothing) may read the document after it.
CHANGES: dict[str, tuple[Any, bool]] = {
    "a role": (lambda w, x: {"do": "assign_role", "user_id": x["ada"], "role": x["reader"]}, True),
    "a role later": (
        lambda w, x: {"do": "assign_role", "user_id": x["ada"], "role": x["reader"], "valid_from": "2090-01-01"},
        False,
    ),
    "a role of her group": (lambda w, x: {"do": "assign_role", "group_id": x["team"], "role": x["reader"]}, True),
    "a share": (
        lambda w, x: {"do": "grant_permission", "user_id": x["ada"], "permission": READ, "resource_id": x["doc"]},
        True,
    ),
    "a share with her group": (
        lambda w, x: {"do": "grant_permission", "group_id": x["team"], "permission": READ},
        True,
    ),
    "what her role carries": (
        lambda w, x: {"do": "grant_permission", "role": x["held"], "permission": READ},
        True,
    ),
    "under a condition": (
        lambda w, x: {
            "do": "grant_permission", "user_id": x["ada"], "permission": READ, "condition": "strict $.env.risk < 3",
        },
        False,
    ),
    "a group": (lambda w, x: {"do": "add_member", "group_id": x["readers"], "user_id": x["ada"]}, True),
    "inheritance": (lambda w, x: {"do": "inherit", "role": x["held"], "parent": x["reader"]}, True),
    "ownership": (lambda w, x: {"do": "set_owner", "resource_id": x["doc"], "user_id": x["ada"]}, True),
    "a place": (lambda w, x: {"do": "move_resource", "resource_id": x["doc"], "parent_id": x["folder"]}, True),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_kind_of_change_is_what_it_says(world, boss, what):
    reader, held = world.role(), world.role()
    world.carry(reader, READ)
    world.carry(held, READ, only_own=True)
    x = {"ada": world.user(), "doc": world.resource(), "folder": world.resource()}
    x |= {"team": world.group(None, x["ada"]), "readers": world.group()}
    x |= {"reader": name_of(world, reader), "held": name_of(world, held)}
    world.insert("authz.group_roles", group_id=x["readers"], role_id=reader)
    world.give(x["ada"], held)
    world.say(x["ada"], READ, resource_id=x["folder"])
    change, may = CHANGES[what]
    check = {"user_id": x["ada"], "permission": READ, "resource_id": x["doc"]}
    result = simulate(world, boss, change(world, x), checks=[check])
    assert [c["outcome"] for c in result["changes"]] == ["applied"]
    assert bool(result["flips"]) is may


TAKEN = {
    "a role": lambda x: {"do": "revoke_role", "user_id": x["ada"], "role": x["reader"]},
    "what the role carries": lambda x: {"do": "revoke_permission", "role": x["reader"], "permission": READ},
    "a deny": lambda x: {"do": "grant_permission", "user_id": x["ada"], "permission": READ, "effect": "deny"},
    "activity": lambda x: {"do": "suspend_user", "user_id": x["ada"]},
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_flips_the_other_way(world, boss, what):
    reader = world.role()
    world.carry(reader, READ)
    x = {"ada": world.user(), "reader": name_of(world, reader)}
    world.give(x["ada"], reader)
    result = simulate(world, boss, TAKEN[what](x), checks=[{"user_id": x["ada"], "permission": READ}])
    assert flips(result) == [(str(x["ada"]), READ, "allow", "deny")]


def test_what_would_be_refused_is_said_and_the_rest_goes_on(world, boss):
    ada, role = world.user(), world.role()
    world.carry(role, READ)
    name = name_of(world, role)
    result = simulate(
        world,
        boss,
        {"do": "assign_role", "user_id": uuid4(), "role": name},
        {"do": "assign_role", "user_id": ada, "role": "no_such"},
        {"do": "grant_permission", "user_id": ada, "permission": "no.such"},
        {"do": "revoke_role", "user_id": ada, "role": name},
        {"do": "inherit", "role": name, "parent": name},
        {"do": "drop table"},
        {"do": "grant_permission", "user_id": "not an id", "permission": READ},
        {"do": "grant_permission", "user_id": ada, "permission": READ, "condition": "strict $.env"},
        {"do": "assign_role", "user_id": ada, "role": name},
        checks=[{"user_id": ada, "permission": READ}],
    )
    codes = [c.get("sqlstate") for c in result["changes"]]
    assert codes == ["23503", "ZA011", "ZA011", "ZA011", "ZA002", "ZA009", "22P02", "ZA006", None]
    assert flips(result) == [(str(ada), READ, "deny", "allow")]
    assert world.one("select count(*) from authz.user_roles where user_id = %s", ada) == 0


def test_without_checks_all_that_is_named_is_asked(world, boss):
    ada, bob, document = world.user(), world.user(), world.resource()
    team = world.group(None, bob)
    grant = {"do": "grant_permission", "permission": READ, "resource_id": document}
    result = simulate(world, boss, {**grant, "user_id": ada}, {**grant, "group_id": team})
    assert sorted(flips(result)) == sorted((str(u), READ, "deny", "allow") for u in (ada, bob))
    assert {f["resource_id"] for f in result["flips"]} == {str(document)}
    permissions = world.one("select count(*) from authz.permissions")
    of_documents = world.one("select count(*) from authz.permissions where resource_type = 'document'")
    assert result["checked"] == 2 * (permissions + of_documents)


def test_it_is_for_who_may_read_and_grant(world, boss):
    world.ask_as(boss, authentication_level=1)
    said = refused(world, "ZA007", SIMULATE, "[]", "[]").diag.message_hint
    assert said == "It takes permission.grant, signed in at level 2."
    ada, reader = world.user(), world.user()
    world.say(reader, "permission.read")
    for user in (ada, reader):
        world.ask_as(user, authentication_level=2)
        refused(world, "ZA007", SIMULATE, "[]", "[]")
    world.ask_as(ada)
    refused(world, "ZA007", "select authz.run_policy_tests()")
    refused(world, "ZA007", "select authz.lint()")
    world.enter()
    for query in (
        "select authz.simulate('[]', '[]')",
        "select authz.run_policy_tests()",
        "select authz.lint()",
    ):
        refused(world, "ZA001", query)


def test_what_is_no_list_or_too_long_is_refused(world, boss):
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA009", SIMULATE, "{}", "[]")
    refused(world, "ZA009", SIMULATE, None, "[]")
    refused(world, "ZA009", SIMULATE, "[]", "{}")
    ada = {"user_id": str(boss), "permission": READ}
    for check in (
        5,
        {},
        {**ada, "permission": None},
        {"permission": READ},
        {**ada, "resorce_id": str(uuid4())},
    ):
        refused(world, "ZA009", SIMULATE, "[]", json.dumps([ada, check]))
    refused(world, "ZA009", SIMULATE, "[]", json.dumps([ada] * 10001))


def test_a_change_that_says_something_else_than_was_meant_is_refused(world, boss):
    ada, role = world.user(), world.role()
    world.carry(role, READ)
    assign = {"do": "assign_role", "user_id": ada, "role": name_of(world, role)}
    grant = {"do": "grant_permission", "user_id": ada, "permission": READ}
    result = simulate(
        world,
        boss,
        {**assign, "resorce_id": uuid4()},
        {**grant, "efect": "deny"},
        {**grant, "role": assign["role"]},
        {**assign, "group_id": uuid4()},
        5,
        checks=[{"user_id": ada, "permission": READ}],
    )
    assert [change["sqlstate"] for change in result["changes"]] == ["ZA009"] * 5
    assert "resorce_id, which means nothing" in result["changes"][0]["message"]
    assert result["flips"] == []


def test_on_a_server_that_only_reads_a_simulation_says_so(world, boss):
    world.ask_as(boss, authentication_level=2)
    change = {"do": "assign_role", "user_id": str(world.user()), "role": "viewer"}
    world.conn.execute("set local transaction_read_only = on")
    refused(world, "25006", SIMULATE, json.dumps([change]), "[]")


def test_nobody_outside_notices(database):
    """No notification, no row, no epoch; and no lock once it has answered."""
    with (
        psycopg.connect(database) as conn,
        psycopg.connect(database) as other,
        psycopg.connect(database, autocommit=True) as ears,
    ):
        ears.execute("listen enterprise_ai_authz")
        world = World(conn, "unnoticed")
        boss, ada = holder_of(world, "super_admin"), world.user()
        conn.commit()
        list(ears.notifies(timeout=0.2))
        change = {"do": "grant_permission", "user_id": ada, "permission": READ}
        assert simulate(world, boss, change)["flips"]
        # Still in the transaction of the simulation, another session takes a turn.
        other.execute("set lock_timeout = '2s'")
        other.execute(
            "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [world.tenant_id]
        )
        other.execute("select authz._touch_epoch(%s)", [world.tenant_id])
        other.rollback()
        conn.commit()
        assert list(ears.notifies(timeout=0.2)) == []
        world.enter()
        assert world.one("select count(*) from authz.user_permissions") == 0


# --- policy tests ------------------------------------------------------------------


def test_policy_tests_pass_and_fail(world, boss):
    ada, document = world.user(), world.resource()
    world.say(ada, READ, condition="strict $.env.risk < 3")
    world.ask_as(boss, authentication_level=2)
    world.one(TEST, "low risk", ada, READ, "allow", document, '{"risk": 1}')
    world.one(TEST, "high risk", ada, READ, "deny", document, '{"risk": 5}')
    world.one(TEST, "wrong", ada, READ, "allow", document, "{}")
    because = "select authz.save_policy_test('why', %s, %s, 'deny', expected_reason => %s)"
    world.one(because, ada, READ, "deny_condition_unknown")
    run = "select name, is_passed, reason from authz.run_policy_tests()"
    assert world.conn.execute(run).fetchall() == [
        ("high risk", True, "deny_default"),
        ("low risk", True, "allow"),
        ("why", True, "deny_condition_unknown"),
        ("wrong", False, "deny_condition_unknown"),
    ]
    world.one(because, ada, READ, "deny_default")  # the same name is the same test
    assert world.one("select is_passed from authz.run_policy_tests() where name = 'why'") is False
    assert world.one("select authz.delete_policy_test('why')") is True
    assert world.one("select authz.delete_policy_test('why')") is False


def test_policy_tests_ask_at_any_moment_and_in_any_context(world, boss):
    ada, bob = world.user(), world.user()
    world.say(ada, READ, valid_from="2030-01-01", valid_until="2031-01-01")
    world.say(ada, "role.assign", granted_by=None)
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, permission_id="role.assign")
    world.ask_as(boss, authentication_level=2)
    at = "select authz.save_policy_test(%s, %s, %s, %s, decided_at => %s, env => %s)"
    world.one(at, "in time", ada, READ, "allow", "2030-06-01", "{}")
    world.one(at, "too early", ada, READ, "deny", "2029-12-31", "{}")
    world.one(at, "weak", ada, "role.assign", "deny", None, '{"authentication_level": 1}')
    world.one(at, "strong", ada, "role.assign", "allow", None, '{"authentication_level": 2}')
    acting = json.dumps({"authentication_level": 2, "actor_id": str(bob)})
    world.one(at, "by another", ada, "role.assign", "allow", None, acting)
    world.one(at, "not by another", ada, READ, "deny", "2030-06-01", acting)
    # Whose test it is says the row, and nothing in the facts.
    world.one(at, "spoofed", bob, READ, "deny", None, json.dumps({"user_id": str(boss)}))
    assert world.one("select bool_and(is_passed) from authz.run_policy_tests()") is True


def test_a_test_of_a_permission_that_there_is_not_would_pass_for_ever(world, boss):
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA011", TEST, "x", world.user(), "document.raed", "deny", None, "{}")


def test_a_simulation_says_which_policy_tests_would_turn(world, boss):
    ada = world.user()
    world.ask_as(boss, authentication_level=2)
    world.one(TEST, "ada does not read", ada, READ, "deny", None, "{}")
    world.one(TEST, "ada deletes", ada, "document.delete", "allow", None, "{}")
    grant = {"do": "grant_permission", "user_id": ada}
    changes = [{**grant, "permission": p} for p in (READ, "document.delete")]
    assert simulate(world, boss, *changes, checks=[])["tests"] == [
        {"name": "ada deletes", "before": "fails", "after": "passes"},
        {"name": "ada does not read", "before": "passes", "after": "fails"},
    ]


def test_policy_tests_are_written_by_who_sets_policies(world):
    ada = world.user()
    world.ask_as(ada, authentication_level=2)
    refused(world, "ZA010", TEST, "x", ada, READ, "deny", None, "{}")
    refused(world, "ZA010", "select authz.delete_policy_test('x')")
