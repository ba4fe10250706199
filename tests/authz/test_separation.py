"""Separation of duties: what nobody may hold together, and what nobody may use together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest

from tests.authz.world import World

ORDER, PAY = "document.update", "document.export"
POLICY = "select authz.save_access_policy('purchases', %s, %s, role_names => %s, counted_per => %s)"


@pytest.fixture
def world(db):
    return World(db)


def refused(world: World, state: str, query: str, *values: object) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        world.conn.execute(query, values)
    assert caught.value.sqlstate == state, caught.value
    return caught.value


def keep_apart(world: World, *roles: object, permissions: tuple[str, ...] = (), **columns: object) -> object:
    """A policy over these, written past the functions."""
    columns = {"name": uuid4().hex, "kind": "static", **columns}
    policy = world.insert("authz.access_policies", **columns)
    for role in roles:
        world.conn.execute(
            "insert into authz.access_policy_roles values (%s, %s, %s)", [world.tenant_id, policy, role]
        )
    for permission in permissions:
        world.conn.execute(
            "insert into authz.access_policy_permissions values (%s, %s, %s)",
            [world.tenant_id, policy, world.permissions[permission]],
        )
    return policy


# Every way by which somebody comes to hold what they should not, given one of two roles already.
WAYS = {
    "directly": lambda w, a, r, g: w.give(a, r),
    "under a condition": lambda w, a, r, g: w.give(a, r, condition="strict $.env.risk < 3"),
    "later": lambda w, a, r, g: w.give(a, r, valid_from="2090-01-01"),
    "on a resource": lambda w, a, r, g: w.give(a, r, resource_id=w.resource()),
    "by a group": lambda w, a, r, g: w.insert("authz.group_roles", group_id=g, role_id=r),
    "by joining a group": lambda w, a, r, g: (
        w.insert("authz.group_roles", group_id=(other := w.group()), role_id=r),
        w.join(other, a),
    ),
    "by the move of a group": lambda w, a, r, g: (
        w.insert("authz.group_roles", group_id=(other := w.group()), role_id=r),
        w.conn.execute("update identity.groups set parent_id = %s where id = %s", [other, g]),
    ),
    "by inheritance": lambda w, a, r, g: (w.give(a, heir := w.role()), w.inherit(heir, r)),
    "by a new heir": lambda w, a, r, g: w.give(a, w.role(r)),
    "as everyone": lambda w, a, r, g: w.conn.execute(
        "update authz.roles set for_everyone = true where id = %s", [r]
    ),
    "by delegation": lambda w, a, r, g: w.delegate(w.user(), a, role_id=r),
}


@pytest.mark.parametrize("way", WAYS)
def test_nobody_comes_to_hold_what_is_kept_apart(world, way):
    ada, buyer, payer = world.user(), world.role(), world.role()
    team = world.group(None, ada)
    keep_apart(world, buyer, payer)
    world.give(ada, buyer)
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        WAYS[way](world, ada, payer, team)
    assert caught.value.sqlstate == "ZA013"
    world.conn.execute("delete from authz.user_roles where role_id = %s", [buyer])
    WAYS[way](world, ada, payer, team)  # one of them is fine


def test_permissions_are_kept_apart_by_whatever_way_they_are_held(world):
    ada, buyer = world.user(), world.role()
    team = world.group(None, ada)
    keep_apart(world, permissions=(ORDER, PAY))
    world.carry(buyer, ORDER)
    world.give(ada, buyer)
    world.say(ada, PAY, effect="deny")
    pay = world.permissions[PAY]
    insert = "insert into authz.{} (tenant_id, {}, permission_id) values (%s, %s, %s)"
    refused(world, "ZA013", insert.format("user_permissions", "user_id"), world.tenant_id, ada, pay)
    refused(world, "ZA013", insert.format("group_permissions", "group_id"), world.tenant_id, team, pay)
    refused(world, "ZA013", insert.format("role_permissions", "role_id"), world.tenant_id, buyer, pay)
    # What an heir does not get does not count for it.
    world.carry(parent := world.role(), PAY, inheritable=False)
    world.inherit(buyer, parent)


def test_more_than_two_can_be_held_when_a_policy_admits_it_and_what_has_ended_does_not_count(world):
    ada, roles = world.user(), [world.role() for _ in range(4)]
    keep_apart(world, *roles, maximum_held=2)
    for role in roles[:2]:
        world.give(ada, role)
    world.give(ada, roles[2], valid_from="2020-01-01", valid_until="2020-02-01")
    error = refused(
        world, "ZA013", "insert into authz.user_roles (tenant_id, user_id, role_id) values (%s, %s, %s)",
        world.tenant_id, ada, roles[3],
    )  # fmt: skip
    assert str(ada) in error.diag.message_primary
    assert "more than 2" in error.diag.message_detail


def test_a_policy_that_is_broken_already_can_only_report(world):
    ada, buyer, payer = world.user(), world.role(), world.role()
    world.give(ada, buyer)
    world.give(ada, payer)
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        keep_apart(world, buyer, payer)
    assert caught.value.sqlstate == "ZA013"
    policy = keep_apart(world, buyer, payer, enforcement="report")
    violations = world.conn.execute(
        "select user_id, held from authz._separation_violations(%s)", [world.tenant_id]
    ).fetchall()
    assert violations == [(ada, 2)]
    refused(world, "ZA013", "update authz.access_policies set enforcement = 'refuse' where id = %s", policy)
    world.conn.execute("delete from authz.user_roles where role_id = %s", [payer])
    world.conn.execute("update authz.access_policies set enforcement = 'refuse' where id = %s", [policy])


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_two_sessions_cannot_break_a_policy_together(database, level):
    with psycopg.connect(database) as conn:
        world = World(conn, "two")
        ada, buyer, payer, team = world.user(), world.role(), world.role(), world.group()
        world.insert("authz.group_roles", group_id=team, role_id=payer)
        keep_apart(world, buyer, payer)
    barrier = Barrier(2)

    def give(way: int) -> str | None:
        try:
            with psycopg.connect(database) as conn:
                conn.execute(f"set transaction isolation level {level}")
                conn.execute(
                    "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))",
                    [world.tenant_id],
                )
                conn.execute("select count(*) from authz.user_roles").fetchone()
                barrier.wait()
                if way:
                    conn.execute(
                        "insert into authz.user_roles (tenant_id, user_id, role_id) values (%s, %s, %s)",
                        [world.tenant_id, ada, buyer],
                    )
                else:
                    conn.execute(
                        "insert into identity.group_members (tenant_id, group_id, user_id) values (%s, %s, %s)",
                        [world.tenant_id, team, ada],
                    )
        except psycopg.Error as error:
            return error.sqlstate
        return None  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(give, range(2)))
    assert outcomes.count(None) == 1
    assert set(outcomes) - {None} <= {"ZA013", "40001"}


# --- dynamic ---------------------------------------------------------------------


def buyers(world: World, *, counted_per: str = "resource", **columns: object):
    """Two people who may both order and pay, which are kept apart; and an order."""
    keep_apart(world, permissions=(ORDER, PAY), kind="dynamic", counted_per=counted_per, **columns)
    world.carry(role := world.role(), ORDER)
    world.carry(role, PAY)
    people = [world.user(), world.user()]
    for person in people:
        world.give(person, role)
    return (*people, world.resource())


def authorize(world: World, user: object, permission: str, resource: object = None, **context: object):
    world.ask_as(user, **context)
    query = "select effect, reason, obligations from authz.authorize(%s, %s)"
    return world.conn.execute(query, [permission, resource]).fetchone()


def test_who_did_the_one_cannot_do_the_other_on_the_same_thing(world):
    ada, bob, order = buyers(world)
    other, part = world.resource(), world.resource(order)
    assert authorize(world, ada, PAY)[:2] == ("allow", "allow")  # about no order in particular
    effect, _, obligations = authorize(world, ada, ORDER, order)
    assert effect == "allow"
    assert len(obligations["duties"]) == 1
    for resource, reason in ((order, "deny_sod"), (part, "deny_sod"), (other, "allow")):
        assert world.decide(ada, PAY, resource).reason == reason
    assert authorize(world, ada, PAY, order)[:2] == ("deny", "deny_sod")
    assert authorize(world, ada, ORDER, order)[0] == "allow"  # once more of the same
    assert authorize(world, bob, PAY, order)[0] == "allow"
    assert authorize(world, bob, ORDER, order)[:2] == ("deny", "deny_sod")
    assert world.one("select count(*) from authz.duty_acts") == 2


def test_every_way_to_ask_knows_what_was_done(world):
    ada, bob, order = buyers(world)
    authorize(world, ada, ORDER, order)
    world.ask_as(ada)
    assert world.one("select authz.check(%s, %s)", PAY, order) is False
    assert world.one("select authz.check(%s, %s)", ORDER, order) is True
    assert world.one("select authz.check_many(%s, %s)", [PAY, ORDER], [order, order]) == [False, True]
    assert world.one("select (authz.evaluate(%s, %s)).reason", PAY, order) == "deny_sod"
    assert "deny_sod" in world.one("select authz.explain_text(%s, %s)", PAY, order)
    assert world.one("select array_agg(a) from authz.list_actions(%s) as a", order) == [ORDER]
    assert world.one("select count(*) from authz.list_resources(%s) as r where r = %s", PAY, order) == 0
    world.enter()  # a service asks who may
    assert world.conn.execute("select authz.list_subjects(%s, %s)", [PAY, order]).fetchall() == [(bob,)]
    assert world.one("select authz.check(%s, %s, %s)", PAY, order, ada) is False


def test_a_decision_that_the_next_act_may_change_is_not_kept(world):
    ada, _, order = buyers(world)
    world.ask_as(ada)
    assert world.one("select expires_at <= statement_timestamp() from authz.evaluate(%s, %s)", PAY, order)


def test_duties_are_kept_apart_in_a_session(world):
    ada, _, order = buyers(world, counted_per="session")
    here, there = (
        world.insert(
            "identity.user_sessions", user_id=ada, token_hash=uuid4().bytes * 2,
            token_expires_at="2090-01-01", idle_expires_at="2090-01-01", expires_at="2090-01-01",
        )
        for _ in range(2)
    )  # fmt: skip
    assert authorize(world, ada, ORDER, order, session_id=here)[0] == "allow"
    assert authorize(world, ada, PAY, order, session_id=here)[:2] == ("deny", "deny_sod")
    assert authorize(world, ada, PAY, None, session_id=here)[:2] == ("deny", "deny_sod")
    assert authorize(world, ada, PAY, order, session_id=there)[0] == "allow"
    # Without a session nobody can tell, and the caller's word for it is not taken.
    assert authorize(world, ada, PAY, order)[:2] == ("deny", "deny_sod")
    world.ask_as(ada)
    claim = "select (authz.evaluate(%s, null, null, jsonb_build_object('session_id', %s::text))).missing"
    assert world.one(claim, PAY, str(there)) == ["env.session_id"]


def test_acting_for_somebody_is_an_act_of_both(world):
    ada, bob, order = buyers(world)
    world.insert("authz.proxy_grants", user_id=bob, actor_id=ada, all_permissions=True)
    assert authorize(world, bob, ORDER, order, actor_id=ada)[0] == "allow"
    assert authorize(world, ada, PAY, order)[1] == "deny_sod"
    assert authorize(world, bob, PAY, order)[1] == "deny_sod"
    # Nor does somebody without rights of their own pay in another's name for what they ordered.
    eve, carol, second = world.user(), world.user(), world.resource()
    world.insert("authz.proxy_grants", user_id=ada, actor_id=eve, all_permissions=True)
    world.insert("authz.proxy_grants", user_id=carol, actor_id=eve, all_permissions=True)
    world.give(carol, world.one("select role_id from authz.user_roles where user_id = %s", ada))
    assert authorize(world, ada, ORDER, second, actor_id=eve)[0] == "allow"
    assert authorize(world, carol, PAY, second, actor_id=eve)[1] == "deny_sod"
    assert authorize(world, carol, PAY, second)[0] == "allow"


def test_a_delegate_has_what_the_delegator_may_still_do(world):
    ada, _, order = buyers(world)
    eve = world.user()
    world.delegate(ada, eve, PAY)
    assert world.decide(eve, PAY, order).effect == "allow"
    authorize(world, ada, ORDER, order)
    assert world.decide(eve, PAY, order).reason == "deny_delegator_lost_right"


def test_a_dynamic_policy_that_reports_allows_and_says_so(world):
    ada, _, order = buyers(world, enforcement="report")
    authorize(world, ada, ORDER, order)
    effect, _, obligations = authorize(world, ada, PAY, order)
    assert effect == "allow"
    assert len(obligations["separation_of_duties"]) == 1


def test_a_disabled_policy_keeps_nothing_apart(world):
    ada, _, order = buyers(world)
    authorize(world, ada, ORDER, order)
    world.conn.execute("update authz.access_policies set is_enabled = false")
    world.ask_as(ada)
    assert world.one("select authz.check(%s, %s)", PAY, order) is True


@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_one_person_does_not_do_both_in_two_sessions_at_once(database, level):
    with psycopg.connect(database) as conn:
        world = World(conn, "both")
        ada, _, order = buyers(world)
    barrier = Barrier(2)

    def act(permission: str) -> str:
        with psycopg.connect(database) as conn:
            conn.execute(f"set transaction isolation level {level}")
            World.ask_as(type("On", (), {"conn": conn, "tenant_id": world.tenant_id})(), ada)
            conn.execute("select count(*) from authz.duty_acts").fetchone()
            barrier.wait()
            query = "select reason from authz.authorize(%s, %s)"
            return conn.execute(query, [permission, order]).fetchone()[0]

    def outcome(permission: str) -> str:
        try:
            return act(permission)
        except psycopg.errors.SerializationFailure:
            return "40001"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(outcome, [ORDER, PAY]))
    assert outcomes in (["allow", "deny_sod"], ["40001", "allow"])


def test_a_snapshot_that_cannot_see_the_other_act_is_refused(database):
    with psycopg.connect(database) as conn:
        world = World(conn, "snapshot")
        ada, _, order = buyers(world)
        conn.commit()
        conn.execute("set transaction isolation level repeatable read")
        world.ask_as(ada)
        refused(world, "ZA005", "select authz.authorize(%s, %s)", ORDER, order)
        assert world.one("select (authz.authorize('document.read')).effect") == "deny"


def test_policies_are_set_by_who_may_and_are_whole(world):
    boss, ada = world.user(), world.user()
    world.say(boss, "permission.manage_policies")
    buyer = world.one("select name from authz.roles where id = %s", world.role())
    world.ask_as(ada, authentication_level=2)
    refused(world, "ZA010", POLICY, "static", [], [buyer], None)
    refused(world, "ZA010", "select authz.delete_access_policy('purchases')")
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA011", POLICY, "static", ["no.such"], [], None)
    refused(world, "ZA011", POLICY, "static", [], ["no_such"], None)
    refused(world, "ZA014", POLICY, "dynamic", [PAY], [buyer], "resource")
    refused(world, "23514", POLICY, "dynamic", [PAY], [], None)
    refused(world, "23514", POLICY, "static", [PAY], [], "session")
    made = world.one(POLICY, "static", [ORDER], [buyer], None)
    assert world.one(POLICY, "static", [ORDER, PAY], [], None) == made
    assert world.one("select count(*) from authz.access_policy_roles") == 0
    assert world.one("select count(*) from authz.access_policy_permissions") == 2
    refused(world, "ZA008", POLICY, "dynamic", [ORDER, PAY], [], "resource")
    assert world.one("select authz.delete_access_policy('purchases')") is True
    assert world.one("select authz.delete_access_policy('purchases')") is False
