"""What the lint finds, and that it finds nothing where nothing is wrong."""

from __future__ import annotations

import pytest

from tests.authz.governing import holder_of
from tests.authz.world import World

READ = "document.read"


@pytest.fixture
def world(db):
    return World(db)


def lint(world: World, boss: object) -> set[tuple[str, object]]:
    """Each finding with what it is about, without the notes on what a new tenant has and does not use."""
    world.ask_as(boss, authentication_level=2)
    rows = world.conn.execute("select finding, id from authz.lint()").fetchall()
    return {(f, i) for f, i in rows if f not in ("role_unheld", "permission_unused")}


def redundant(w):
    w.carry(role := w.role(), READ)
    w.give(ada := w.user(), role)
    return w.say(ada, READ)


def everyone_is_root(w):
    role = w.role(for_everyone=True)
    w.carry(role, "user.delete")
    return role


def denied_by_role(w):
    w.carry(role := w.role(), READ, effect="deny")
    w.give(ada := w.user(), role)
    return w.say(ada, READ)


def denied_within_a_role(w):
    w.carry(parent := w.role(), READ, effect="deny")
    return w.carry(w.role(parent), READ)


def expired_within_a_role(w):
    return w.carry(w.role(), READ, valid_until="2020-01-01")


def held_together(w):
    ada, roles = w.user(), [w.role(), w.role()]
    policy = w.insert("authz.access_policies", name="apart", kind="static", enforcement="report")
    for role in roles:
        w.conn.execute(
            "insert into authz.access_policy_roles values (%s, %s, %s)", [w.tenant_id, policy, role]
        )
        w.give(ada, role)
    return policy


def never_recorded(w):
    return w.insert(
        "authz.access_policies", name="idle", kind="dynamic", counted_per="resource", created_at="2020-01-01"
    )


def overdue(w):
    return w.insert(
        "authz.access_reviews", name="late", reviewer_id=w.user(), opened_at="2020-01-01", due_at="2020-02-01"
    )


def no_review_for_long(w):
    w.conn.execute("update identity.tenants set created_at = '2020-01-01'")
    return w.tenant_id


def unreviewed(w):
    return w.insert(
        "authz.break_glass_events", user_id=w.user(), role_id=w.role(), reason="The house is on fire",
        started_at="2020-01-01 10:00+00", expires_at="2020-01-01 11:00+00",
    )  # fmt: skip


WRONG = {
    "expired": lambda w: w.say(w.user(), READ, valid_until="2020-01-01"),
    "expired ": expired_within_a_role,
    "inactive_subject": lambda w: w.give(w.user("deactivated"), w.role()),
    "denied_anyway": denied_by_role,
    "denied_anyway ": denied_within_a_role,
    "redundant": redundant,
    "over_broad": everyone_is_root,
    "over_broad ": lambda w: w.say(w.user(), "document.delete"),
    "separation_broken": held_together,
    "separation_unrecorded": never_recorded,
    "review_overdue": overdue,
    "review_overdue ": no_review_for_long,
    "emergency_unreviewed": unreviewed,
}


@pytest.mark.parametrize("finding", WRONG)
def test_it_finds(world, finding):
    boss = holder_of(world, "super_admin")
    assert lint(world, boss) == set()
    about = WRONG[finding](world)
    assert lint(world, boss) == {(finding.strip(), about)}


def test_it_lists_what_nobody_uses(world):
    boss = holder_of(world, "super_admin")
    parent, unheld = world.role(), world.role()
    world.give(world.user(), world.role(parent))
    world.conn.execute(
        "delete from authz.role_permissions where permission_id = %s", [world.permissions[READ]]
    )
    world.ask_as(boss, authentication_level=2)
    found = world.conn.execute("select id, message from authz.lint() where severity = 'note'").fetchall()
    assert unheld in [i for i, _ in found]
    assert parent not in [i for i, _ in found]
    assert (None, f"No role allows {READ}") in found


def test_what_is_narrow_timed_or_under_a_condition_is_not_found(world):
    boss, ada = holder_of(world, "super_admin"), world.user()
    world.carry(role := world.role(), READ, condition="strict $.env.risk < 3")
    world.give(ada, role)
    world.say(ada, READ, resource_id=world.resource())
    world.say(ada, "document.delete", resource_id=world.resource())
    world.say(ada, "document.export", valid_until="2090-01-01")
    assert lint(world, boss) == set()
