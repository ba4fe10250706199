"""Delegation and acting on behalf: nothing is gained that the chain does not hold now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.authz.world import NOON, World

READ = "document.read"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def chain(world):
    """Ada may read by a role and passed it on to Bob, who passed it on to Cy."""
    ada, bob, cy = (world.user() for _ in range(3))
    role = world.role()
    world.carry(role, READ)
    world.give(ada, role)
    first = world.delegate(ada, bob, READ, may_redelegate=True)
    second = world.delegate(bob, cy, READ, parent_id=first, depth=2)
    return ada, bob, cy, first, second


def test_a_chain_gives_what_its_first_holds(world, chain):
    _, bob, cy, first, second = chain
    assert (world.decide(bob, READ).rule_ids, world.decide(cy, READ).rule_ids) == ([first], [second])
    assert world.decide(cy, "document.update").reason == "deny_default"


@pytest.mark.parametrize(
    "break_it",
    [
        "delete from authz.user_roles where user_id = %(ada)s",
        "update identity.users set status = 'suspended' where id = %(ada)s",
        "update identity.users set status = 'suspended' where id = %(bob)s",
        "update authz.delegations set may_redelegate = false where id = %(first)s",
        "update authz.delegations set valid_until = '2026-06-01' where id = %(first)s",
        "update authz.delegations set valid_from = '2026-07-02' where id = %(first)s",
        "update authz.delegations set valid_until = '2029-01-01' where id = %(first)s",  # before its child's end
        "update authz.delegations set networks = '{10.0.0.0/8}' where id = %(first)s",
        "insert into authz.user_permissions (tenant_id, user_id, permission_id, effect)"
        " values (%(tenant)s, %(ada)s, 702, 'deny')",
        "insert into authz.user_permissions (tenant_id, user_id, permission_id, effect)"
        " values (%(tenant)s, %(bob)s, 702, 'deny')",
        "update authz.delegations set permission_id = 703 where id = %(first)s",
    ],
)
def test_a_chain_that_loses_a_link_gives_nothing(world, chain, break_it):
    ada, bob, cy, first, _ = chain
    values = {"tenant": world.tenant_id, "ada": ada, "bob": bob, "first": first}
    world.conn.execute(break_it, values)
    found = world.decide(cy, READ)
    assert (found.effect, found.reason) == ("deny", "deny_delegator_lost_right")


def test_revoking_takes_what_was_passed_on_further_along(world, chain):
    _, bob, cy, first, _ = chain
    world.conn.execute("delete from authz.delegations where id = %s", [first])
    assert world.decide(bob, READ).reason == world.decide(cy, READ).reason == "deny_default"


def test_a_decision_through_a_chain_holds_as_long_as_every_link(world, chain):
    ada, _, cy, _, _second = chain
    end = NOON + timedelta(hours=1)
    world.conn.execute("update authz.user_roles set valid_until = %s where user_id = %s", [end, ada])
    assert world.decide(cy, READ).expires_at == end
    assert world.decide(cy, READ, at=end).reason == "deny_delegator_lost_right"


def test_only_what_was_passed_on_is_gained(world):
    ada, bob = world.user(), world.user()
    role = world.role()
    here, there = world.resource(), world.resource()
    world.carry(role, READ, resource_id=here)
    world.give(ada, role)
    world.say(ada, READ)  # beside the role
    world.delegate(ada, bob, role_id=role)
    assert [world.decide(bob, READ, r).effect for r in (here, there, None)] == ["allow", "deny", "deny"]
    cy = world.user()
    world.delegate(ada, cy, READ, resource_id=there)
    child = world.resource(there)
    assert [world.decide(cy, READ, r).effect for r in (here, there, child, None)] == [
        "deny",
        "allow",
        "allow",
        "deny",
    ]


def test_what_is_delegated_is_not_the_first_of_another_chain(world, chain):
    _, bob, _, _, _ = chain
    dee = world.user()
    world.delegate(bob, dee, READ)  # as if it were Bob's own
    assert world.decide(dee, READ).reason == "deny_delegator_lost_right"


def test_the_administration_of_roles_is_not_passed_on(world):
    ada, bob = world.user(), world.user()
    world.say(ada, "role.assign")
    world.delegate(ada, bob, "role.assign")
    assert world.decide(ada, "role.assign", authentication_level=2).effect == "allow"
    assert world.decide(bob, "role.assign", authentication_level=2).reason == "deny_default"


def test_a_chain_forced_into_a_circle_ends(world, chain):
    _ada, _bob, cy, first, second = chain
    world.conn.execute(
        "update authz.delegations set parent_id = %s, depth = 2, delegator_id = %s, may_redelegate = true"
        " where id = %s",
        [second, cy, first],
    )
    world.conn.execute("update authz.delegations set may_redelegate = true where id = %s", [second])
    assert world.decide(cy, READ).reason == "deny_depth"


def test_who_acts_for_another_needs_a_grant_that_covers_it(world):
    ada, bob = world.user(), world.user()
    doc = world.resource()
    world.say(ada, READ)
    for_her = {"actor_id": bob}
    assert world.decide(ada, READ, **for_her).effect == "deny"
    grant = world.insert(
        "authz.proxy_grants", user_id=ada, actor_id=bob, permission_id=READ, resource_id=doc,
        valid_until=NOON + timedelta(hours=1),
    )  # fmt: skip
    found = world.decide(ada, READ, doc, **for_her)
    assert (found.effect, found.expires_at) == ("allow", NOON + timedelta(hours=1))
    assert grant in found.rule_ids
    assert world.decide(ada, READ, **for_her).effect == "deny"
    assert world.decide(ada, READ, world.resource(), **for_her).effect == "deny"
    assert world.decide(ada, READ, doc, at=NOON + timedelta(hours=1), **for_her).reason == "deny_expired"
    assert world.decide(bob, READ, doc).effect == "deny"  # by himself he may nothing more


@pytest.mark.parametrize("loss", ["user", "actor", "denied"])
def test_who_acts_for_another_is_held_to_both(world, loss):
    ada, bob = world.user(), world.user()
    world.say(ada, READ)
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, all_permissions=True)
    assert world.decide(ada, READ, actor_id=bob).effect == "allow"
    assert world.decide(ada, "document.update", actor_id=bob).effect == "deny"
    if loss == "denied":
        world.say(bob, READ, effect="deny")
    else:
        world.conn.execute(
            "update identity.users set status = 'suspended' where id = %s", [ada if loss == "user" else bob]
        )
    reason = "deny_explicit" if loss == "denied" else "deny_subject_inactive"
    assert world.decide(ada, READ, actor_id=bob).reason == reason


def test_acting_for_others_does_not_chain(world):
    ada, bob, cy = (world.user() for _ in range(3))
    world.say(ada, READ)
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, all_permissions=True)
    world.insert("authz.proxy_grants", user_id=bob, actor_id=cy, all_permissions=True)
    assert world.decide(ada, READ, actor_id=cy).effect == "deny"
