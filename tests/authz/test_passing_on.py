"""Delegating, and letting somebody act on one's behalf: what can be passed on, how far, and who takes it back."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest

from tests.authz.governing import holder_of, name_of, refused, set_to
from tests.authz.world import World

READ = "document.read"
SOON = "now() + interval '1 day'"
DELEGATE = f"select authz.delegate(%s, %s, {SOON}, %s)"
PASS_ON = f"select authz.delegate(%s, %s, {SOON}, null, %s, %s)"
PROXY = "select authz.grant_proxy(%s, %s)"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def ada(world):
    """A user, who may delegate, and may read documents."""
    user = holder_of(world, "user")
    world.say(user, READ)
    return user


def may(world: World, user: object, permission: str, resource: object = None) -> bool:
    world.ask_as(user)
    return world.one("select authz.check(%s, %s)", permission, resource)


def test_what_is_delegated_is_had_until_it_is_revoked(world, ada):
    bob, place, other = world.user(), world.resource(), world.resource()
    inner = world.resource(place)
    world.ask_as(ada)
    made = world.one(DELEGATE, bob, READ, place)
    assert [may(world, bob, READ, r) for r in (place, inner, other, None)] == [True, True, False, False]
    world.ask_as(ada)
    assert world.one("select authz.revoke_delegation(%s)", made) is True
    refused(world, "ZA010", "select authz.revoke_delegation(%s)", made)  # no longer hers to say
    assert may(world, bob, READ, place) is False


def test_nobody_delegates_what_they_do_not_have_or_may_not(world, ada):
    bob, eve = world.user(), world.user()
    world.say(eve, READ)
    world.ask_as(ada)
    refused(world, "ZA010", DELEGATE, bob, "analytics.export", None)
    refused(world, "ZA010", DELEGATE, bob, "super_admin", None)
    refused(world, "ZA011", DELEGATE, bob, "no.such", None)
    refused(world, "ZA017", DELEGATE, bob, "role.assign", None)
    refused(world, "23503", DELEGATE, uuid4(), READ, None)
    refused(world, "23514", DELEGATE, ada, READ, None)
    refused(world, "23514", "select authz.delegate(%s, %s, now() - interval '1 day')", bob, READ)
    refused(world, "ZA016", "select authz.delegate(%s, %s, now() + interval '31 days')", bob, READ)
    set_to(world, "security.delegation_max_days", "365")
    world.one("select authz.delegate(%s, %s, now() + interval '31 days')", bob, READ)
    world.ask_as(eve)
    refused(world, "ZA010", DELEGATE, bob, READ, None)
    world.enter()
    refused(world, "ZA001", DELEGATE, bob, READ, None)


def test_of_a_delegated_role_comes_what_can_be_delegated(world, ada):
    bob, role = world.user(), world.role()
    world.carry(role, "analytics.export")
    world.carry(role, "role.assign")
    world.give(ada, role)
    world.ask_as(ada)
    world.one(DELEGATE, bob, name_of(world, role), None)
    assert may(world, bob, "analytics.export") is True
    assert world.decide(bob, "role.assign", authentication_level=2).effect == "deny"


def chain(world: World, *people: object) -> list[object]:
    """Each passes reading on to the next; returns the delegations."""
    links: list[object] = []
    for giver, taker in pairwise(people):
        world.ask_as(giver)
        links.append(world.one(PASS_ON, taker, READ, True, links[-1] if links else None))
    return links


def test_a_chain_has_as_many_links_as_the_setting_says(world, ada):
    bob, carol, dan = (holder_of(world, "user") for _ in range(3))
    first, second = chain(world, ada, bob, carol)
    assert world.one("select depth from authz.delegations where id = %s", second) == 2
    world.ask_as(carol)
    error = refused(world, "ZA018", PASS_ON, dan, READ, True, second)
    assert "2 links" in error.diag.message_primary
    set_to(world, "security.delegation_max_depth", "3")
    world.one(PASS_ON, dan, READ, True, second)
    assert may(world, dan, READ) is True
    world.ask_as(dan)
    refused(world, "ZA010", "select authz.revoke_delegation(%s)", second)  # not above his own link
    world.ask_as(ada)
    world.one("select authz.revoke_delegation(%s)", first)
    assert [may(world, person, READ) for person in (bob, carol, dan)] == [False, False, False]
    assert world.one("select count(*) from authz.delegations") == 0


def test_what_a_delegation_does_not_cover_is_not_passed_on(world, ada):
    bob, carol, place, other = holder_of(world, "user"), world.user(), world.resource(), world.resource()
    world.ask_as(ada)
    give = f"select authz.delegate(%s, %s, {SOON}, %s, %s)"
    kept, passable = world.one(give, bob, READ, None, False), world.one(give, bob, READ, place, True)
    world.ask_as(bob)
    refused(world, "ZA010", PASS_ON, carol, READ, False, None)  # not by itself
    for faulty, values in (
        (SOON, (READ, None, kept)),
        (SOON, (READ, None, uuid4())),
        (SOON, (READ, other, passable)),
        (SOON, (READ, None, passable)),
        (SOON, ("document.export", place, passable)),
        ("now() + interval '2 days'", (READ, place, passable)),
    ):
        refused(world, "ZA018", f"select authz.delegate(%s, %s, {faulty}, %s, false, %s)", carol, *values)
    world.one(
        f"select authz.delegate(%s, %s, {SOON}, %s, false, %s)", carol, READ, world.resource(place), passable
    )
    world.ask_as(ada)
    refused(world, "ZA018", PASS_ON, carol, READ, False, passable)  # it is to bob, not to her


def test_a_delegate_gives_back_and_an_administrator_takes_away(world, ada):
    bob, eve, root = world.user(), world.user(), holder_of(world, "super_admin")
    for who, context in ((bob, {}), (root, {"authentication_level": 2})):
        world.ask_as(ada)
        made = world.one(DELEGATE, bob, READ, None)
        world.ask_as(eve)
        refused(world, "ZA010", "select authz.revoke_delegation(%s)", made)
        world.ask_as(who, **context)
        assert world.one("select authz.revoke_delegation(%s)", made) is True
    assert world.one("select authz.revoke_delegation(%s)", made) is False


def test_nobody_delegates_around_a_separation_of_duties(world, ada):
    bob = world.user()
    world.say(bob, "analytics.export")
    policy = world.insert("authz.access_policies", name="apart", kind="static")
    for permission in (READ, "analytics.export"):
        world.conn.execute(
            "insert into authz.access_policy_permissions values (%s, %s, %s)",
            [world.tenant_id, policy, world.permissions[permission]],
        )
    world.ask_as(ada)
    refused(world, "ZA013", DELEGATE, bob, READ, None)


# --- acting on behalf --------------------------------------------------------------


def acts(world: World, actor: object, user: object, permission: str, resource: object = None) -> bool:
    world.ask_as(user, actor_id=actor)
    return world.one("select authz.check(%s, %s)", permission, resource)


def test_a_user_lets_another_act_for_them_and_ends_it(world, ada):
    bob, eve = world.user(), world.user()
    world.ask_as(ada, authentication_level=2)
    refused(world, "ZA011", PROXY, bob, "no.such")
    said = refused(world, "ZA011", PROXY, bob, None)  # all of it is said aloud
    assert "all_permissions" in said.diag.message_hint
    made = world.one(PROXY, bob, READ)
    assert acts(world, bob, ada, READ) is True
    assert acts(world, bob, ada, "conversation.create") is False
    assert acts(world, eve, ada, READ) is False
    world.ask_as(eve)
    refused(world, "ZA010", "select authz.revoke_proxy(%s)", made)
    world.ask_as(bob)
    assert world.one("select authz.revoke_proxy(%s)", made) is True
    assert acts(world, bob, ada, READ) is False


def test_who_acts_for_another_cannot_make_it_last(world, ada):
    bob, eve = world.user(), world.user()
    world.ask_as(ada, authentication_level=2)
    made = world.one("select authz.grant_proxy(%s, all_permissions => true)", bob)
    assert acts(world, bob, ada, "conversation.create") is True
    world.ask_as(ada, actor_id=bob, authentication_level=2)
    for actor in (bob, eve):
        refused(world, "ZA015", PROXY, actor, READ)
        refused(world, "ZA015", DELEGATE, actor, READ, None)
    refused(world, "ZA010", "select authz.revoke_proxy(%s)", made)


def test_an_administrator_lets_a_third_act_in_what_they_may_themselves(world, ada):
    root, admin, bob = holder_of(world, "super_admin"), holder_of(world, "admin"), world.user()
    for_her = "select authz.grant_proxy(%s, %s, %s, %s)"
    world.ask_as(admin, authentication_level=2)
    refused(world, "ZA010", for_her, bob, READ, False, ada)  # admins do not read documents
    refused(world, "ZA010", for_her, admin, "user.read", False, ada)
    world.ask_as(root, authentication_level=2)
    refused(world, "ZA010", for_her, bob, None, True, ada)
    world.one(for_her, bob, READ, False, ada)
    assert acts(world, bob, ada, READ) is True
    world.ask_as(ada, authentication_level=2)
    refused(world, "ZA010", for_her, bob, READ, False, root)
