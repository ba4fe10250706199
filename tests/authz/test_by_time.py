"""What is given for a time counts in it, whoever asks and however."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.authz.world import World

READ = "document.read"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def ada(world):
    return world.user()


BY_TIME = [
    (None, -1, False),
    (None, 1, True),
    (1, None, False),
    (-1, None, True),
    (-2, -1, False),
    (-1, 1, True),
]


@pytest.mark.parametrize("effect", ["allow", "deny"])
@pytest.mark.parametrize("said_of", ["type", "resource", "ancestor"])
@pytest.mark.parametrize("said_to", ["user", "group"])
@pytest.mark.parametrize(("since", "until", "holds"), BY_TIME)
def test_what_is_given_directly_for_a_time_counts_in_it(
    world, ada, since, until, holds, said_to, said_of, effect
):
    now = world.one("select now()")
    top = world.resource()
    leaf = world.resource(top)
    group = world.group(None, ada)
    scope = {"type": None, "resource": leaf, "ancestor": top}[said_of]
    holder = {"user_id": ada} if said_to == "user" else {"group_id": group}
    if effect == "deny":
        world.say(ada, READ)
    world.insert(
        f"authz.{said_to}_permissions",
        permission_id=READ,
        effect=effect,
        resource_id=scope,
        valid_from=since and now + timedelta(hours=since),
        valid_until=until and now + timedelta(hours=until),
        **holder,
    )
    right = holds if effect == "allow" else not holds
    assert world.one("select (authz.evaluate(%s, %s, %s)).effect = 'allow'", READ, leaf, ada) == right
    assert world.one("select authz.check(%s, %s, %s)", READ, leaf, ada) == right
    assert world.one("select authz.check_many(array[%s], array[%s], array[%s])", READ, leaf, ada) == [right]
    listed = world.conn.execute("select authz.list_resources(%s, user_id => %s)", [READ, ada]).fetchall()
    assert ((leaf,) in listed) == right
    world.ask_as(ada)
    shown, hidden = world.conn.execute(
        "select authz.visible_scopes(%(p)s), authz.hidden_scopes(%(p)s)", {"p": READ}
    ).fetchone()
    assert (bool({world.tenant_id, leaf} & set(shown)) and leaf not in hidden) == right


@pytest.mark.parametrize("effect", ["allow", "deny"])
@pytest.mark.parametrize("held_by", ["user", "group", "group above"])
@pytest.mark.parametrize(("since", "until", "holds"), BY_TIME)
def test_a_role_that_is_given_for_a_time_counts_in_it_whoever_asks(
    world, ada, since, until, holds, held_by, effect
):
    now = world.one("select now()")
    validity = {
        name: now + timedelta(hours=hours)
        for name, hours in (("valid_from", since), ("valid_until", until))
        if hours
    }
    role = world.role()
    world.carry(role, READ, effect=effect)
    if effect == "deny":
        world.say(ada, READ)
    if held_by == "user":
        world.insert("authz.user_roles", user_id=ada, role_id=role, **validity)
    else:
        group = world.group()
        world.join(group if held_by == "group" else world.group(group), ada)
        world.insert("authz.group_roles", group_id=group, role_id=role, **validity)
    right = holds if effect == "allow" else not holds
    assert world.one("select (authz.evaluate(%s, null, %s)).effect = 'allow'", READ, ada) == right
    assert world.one("select authz.check(%s, null, %s)", READ, ada) == right
    assert world.one("select authz.check_many(array[%s], array[null]::uuid[], array[%s])", READ, ada) == [
        right
    ]
    assert (ada in [row[0] for row in world.conn.execute("select authz.list_subjects(%s)", [READ])]) == right
    world.ask_as(ada)
    assert bool(world.one("select authz.visible_scopes(%s)", READ)) == right
