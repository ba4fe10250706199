"""Giving and taking rights: by whom, how much, and under which limits."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.authz.world import World

READ = "document.read"


@pytest.fixture
def world(db):
    return World(db)


def holder_of(world: World, name: str):
    user = world.user()
    world.give(user, world.one("select id from authz.roles where name = %s", name))
    return user


def refused(world: World, state: str, query: str, *values: object) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        world.conn.execute(query, values)
    assert caught.value.sqlstate == state
    return caught.value


ASSIGN = "select authz.assign_role(%s, %s)"
GRANT = "select authz.grant_permission(%s, %s, %s)"


@pytest.fixture
def root(world):
    return holder_of(world, "super_admin")


def test_who_may_give_roles_gives_and_takes_them(world, root):
    ada = world.user()
    world.ask_as(root, authentication_level=2)
    given = world.one(ASSIGN, ada, "viewer")
    assert world.one("select granted_by from authz.user_roles where id = %s", given) == root
    assert world.decide(ada, READ).effect == "allow"
    world.ask_as(root, authentication_level=2)
    refused(world, "23505", ASSIGN, ada, "viewer")
    assert world.one("select authz.revoke_role(%s)", given) is True
    assert world.one("select authz.revoke_role(%s)", given) is False
    assert world.decide(ada, READ).effect == "deny"


def test_a_refusal_says_what_is_lacking(world, root):
    ada = world.user()
    world.ask_as(root, authentication_level=1)
    assert refused(world, "ZA010", ASSIGN, ada, "viewer").diag.message_hint == (
        "It takes role.assign, signed in at level 2."
    )
    world.ask_as(root, authentication_level=2)
    refused(world, "ZA011", GRANT, ada, "document.raed", None)
    world.ask_as(ada, authentication_level=2)
    assert refused(world, "ZA010", ASSIGN, ada, "viewer").diag.message_hint == "It takes role.assign."


def test_what_one_has_for_an_hour_one_does_not_give(world):
    manager, role = holder_of(world, "manager"), world.role()
    world.carry(role, "analytics.configure")
    until = world.one("select now() + interval '1 hour'")
    world.insert("authz.user_roles", user_id=manager, role_id=role, valid_until=until)
    name = world.one("select name from authz.roles where id = %s", role)
    world.ask_as(manager, authentication_level=2)
    assert world.one("select authz.check('analytics.configure')")
    refused(world, "ZA010", ASSIGN, world.user(), name)


@pytest.mark.parametrize("said_to", ["user", "group"])
@pytest.mark.parametrize(
    ("granted", "approved", "gives"), [(False, False, True), (True, False, False), (True, True, True)]
)
def test_what_waits_for_approval_one_does_not_give(world, said_to, granted, approved, gives):
    world.conn.execute(
        "update authz.permissions set requires_approval = true where name = 'analytics.configure'"
    )
    manager, role = holder_of(world, "manager"), world.role()
    world.carry(role, "analytics.configure")
    name = world.one("select name from authz.roles where id = %s", role)
    holder = {"user_id": manager} if said_to == "user" else {"group_id": world.group(None, manager)}
    agreed = {"approved_by": world.user(), "approved_at": world.one("select now()")}
    world.insert(
        f"authz.{said_to}_permissions", permission_id="analytics.configure", **holder,
        **({"granted_by": world.user()} if granted else {}), **(agreed if approved else {}),
    )  # fmt: skip
    for said_anew in (False, True):
        if said_anew:  # derived from all there is, and not only from what was added
            world.conn.execute(f"update authz.{said_to}_permissions set updated_at = now()")
        world.ask_as(manager, authentication_level=2)
        if gives:
            assert world.one(ASSIGN, world.user(), name)
        else:
            refused(world, "ZA010", ASSIGN, world.user(), name)
        world.enter()


def test_nobody_gives_a_role_that_carries_more_than_they_have(world):
    manager, ada = holder_of(world, "manager"), world.user()
    world.ask_as(manager, authentication_level=2)
    for name in ("super_admin", "admin", "viewer"):
        refused(world, "ZA010", ASSIGN, ada, name)
    assert world.one(ASSIGN, ada, "user")
    assert world.one(ASSIGN, ada, "manager")
    refused(world, "ZA010", ASSIGN, manager, "super_admin")
    world.ask_as(manager, authentication_level=1)
    refused(world, "ZA010", ASSIGN, world.user(), "user")
    world.ask_as(world.user(), authentication_level=2)
    refused(world, "ZA010", ASSIGN, ada, "user")
    world.enter()
    refused(world, "ZA001", ASSIGN, ada, "user")


def test_a_deny_on_the_giver_counts_when_they_give(world, root):
    world.say(root, "role.assign", effect="deny")
    world.ask_as(root, authentication_level=2)
    refused(world, "ZA010", ASSIGN, world.user(), "viewer")


def test_a_role_has_no_more_holders_than_its_limit(world, root):
    ada, bob = world.user(), world.user()
    world.conn.execute("update authz.roles set holders_limit = 1 where name = 'viewer'")
    world.ask_as(root, authentication_level=2)
    world.one(ASSIGN, ada, "viewer")
    refused(world, "ZA012", ASSIGN, bob, "viewer")
    refused(world, "ZA011", ASSIGN, bob, "no_such_role")
    refused(world, "23503", ASSIGN, uuid4(), "analyst")


def test_who_owns_a_thing_shares_what_they_may_do_with_it(world):
    ada, bob = holder_of(world, "user"), world.user()
    mine, theirs = world.resource(owner_id=ada), world.resource()
    world.ask_as(ada)
    given = world.one(GRANT, bob, READ, mine)
    refused(world, "ZA010", GRANT, bob, READ, theirs)
    refused(world, "ZA010", GRANT, bob, READ, None)
    refused(world, "ZA010", GRANT, bob, "conversation.read", mine)
    refused(world, "ZA010", "select authz.grant_permission(%s, %s, %s, 'deny')", bob, READ, mine)
    assert [world.decide(bob, READ, r).effect for r in (mine, theirs)] == ["allow", "deny"]
    world.ask_as(bob)
    refused(world, "ZA010", "select authz.revoke_permission(%s)", given)
    refused(world, "ZA010", GRANT, world.user(), READ, mine)
    world.ask_as(ada)
    assert world.one("select authz.revoke_permission(%s)", given) is True
    assert world.decide(bob, READ, mine).effect == "deny"


def test_what_requires_approval_is_approved_by_another(world, root):
    other, ada = holder_of(world, "super_admin"), world.user()
    world.conn.execute("update authz.user_roles set granted_by = null")
    world.ask_as(root, authentication_level=2)
    given = world.one(GRANT, ada, "user.delete", None)
    refused(world, "23514", "select authz.approve('user_permission', %s)", given)
    assert world.decide(ada, "user.delete", authentication_level=2).effect == "deny"
    world.ask_as(other, authentication_level=2)
    assert world.one("select authz.approve('user_permission', %s)", given) is True
    assert world.one("select authz.approve('user_permission', %s)", given) is False
    refused(world, "ZA011", "select authz.approve('anything', %s)", given)
    assert world.decide(ada, "user.delete", authentication_level=2).effect == "allow"
    own = world.say(other, "document.delete", granted_by=root)
    world.ask_as(other, authentication_level=2)
    assert world.one("select authz.approve('user_permission', %s)", own) is False
