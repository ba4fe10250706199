"""Break-glass access: taken with a reason, for a while, counted, and reviewed by somebody else."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.authz.governing import holder_of, refused
from tests.authz.world import World

READ = "document.read"
BREAK = "select authz.break_glass(%s, 'The building is on fire')"
REVIEW = "select authz.review_break_glass(%s, %s, 'seen')"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def admin(world):
    return holder_of(world, "admin")


def over(world: World, event: object) -> None:
    """Let so much time pass that the emergency is over."""
    world.conn.execute("alter table authz.break_glass_events disable trigger _100_keep")
    world.conn.execute(
        "update authz.break_glass_events set started_at = started_at - interval '1 day',"
        " expires_at = expires_at - interval '1 day' where id = %s",
        [event],
    )
    world.conn.execute("alter table authz.break_glass_events enable trigger _100_keep")


def test_an_emergency_gives_the_role_at_once_and_says_so(world, admin):
    assert world.decide(admin, READ).effect == "deny"
    world.ask_as(admin, authentication_level=2)
    event = world.one(BREAK, "viewer")
    assert world.one("select authz.check(%s)", READ) is True
    assert world.one("select obligations from authz.evaluate(%s)", READ) == {"break_glass": [str(event)]}
    over(world, event)
    assert world.one("select authz.check(%s)", READ) is False
    assert world.one("select (authz.evaluate(%s)).reason", READ) == "deny_expired"


def test_it_is_for_whoever_may_with_a_reason_and_for_a_while(world, admin):
    world.ask_as(holder_of(world, "user"), authentication_level=2)
    refused(world, "ZA010", BREAK, "viewer")
    world.ask_as(admin, authentication_level=1)
    refused(world, "ZA010", BREAK, "viewer")
    world.ask_as(admin, authentication_level=2)
    refused(world, "ZA011", BREAK, "no_such")
    refused(world, "23514", "select authz.break_glass('viewer', '  help    ')")
    refused(world, "ZA011", "select authz.break_glass('viewer', 'The building is on fire', 5, %s)", uuid4())
    for minutes in (0, -1, 61):
        refused(world, "ZA016", "select authz.break_glass('viewer', 'The building is on fire', %s)", minutes)
    event = world.one("select authz.break_glass('viewer', 'The building is on fire', 5)")
    lasts = (
        "select expires_at - started_at = interval '5 minutes' from authz.break_glass_events where id = %s"
    )
    assert world.one(lasts, event) is True
    bob = world.user()
    world.insert("authz.proxy_grants", user_id=admin, actor_id=bob, all_permissions=True)
    world.ask_as(admin, actor_id=bob, authentication_level=2)
    refused(world, "ZA015", BREAK, "viewer")


def test_on_a_resource_it_is_for_that_and_what_lies_below(world, admin):
    place, other = world.resource(), world.resource()
    world.ask_as(admin, authentication_level=2)
    world.one("select authz.break_glass('viewer', 'The building is on fire', 5, %s)", place)
    may = [world.one("select authz.check(%s, %s)", READ, r) for r in (place, world.resource(place), other)]
    assert may == [True, True, False]


def test_those_who_listen_hear_of_it(database):
    with psycopg.connect(database) as conn, psycopg.connect(database, autocommit=True) as ears:
        ears.execute("listen enterprise_ai_break_glass")
        world = World(conn, "heard")
        world.ask_as(holder_of(world, "admin"), authentication_level=2)
        event = world.one(BREAK, "viewer")
        conn.commit()
        heard = next(ears.notifies(timeout=5))
        assert heard.payload == f"{world.tenant_id} {event}"


def test_each_use_of_it_is_counted_and_nothing_else(world, admin):
    document = world.resource()
    world.ask_as(admin, authentication_level=2)
    event = world.one(BREAK, "viewer")
    world.conn.execute("select authz.authorize('user.read')")  # which the role of an admin gives as well
    world.conn.execute("select authz.check(%s)", [READ])  # asking is not doing
    world.conn.execute("select authz.authorize('document.delete')")
    for _ in range(2):
        assert world.one("select (authz.authorize(%s, %s)).effect", READ, document) == "allow"
    uses = world.conn.execute(
        "select event_id, permission, resource_id from authz.break_glass_uses"
    ).fetchall()
    assert uses == [(event, READ, document)] * 2


def test_it_ends_before_its_time(world, admin):
    other = holder_of(world, "super_admin")
    for who in (admin, other):
        world.ask_as(admin, authentication_level=2)
        event = world.one(BREAK, "viewer")
        world.ask_as(world.user())
        refused(world, "ZA010", "select authz.end_break_glass(%s)", event)
        world.ask_as(who, authentication_level=2)
        assert world.one("select authz.end_break_glass(%s)", event) is True
        assert world.one("select authz.end_break_glass(%s)", event) is False
    world.ask_as(admin)
    assert world.one("select authz.check(%s)", READ) is False


def test_it_waits_for_a_review_by_somebody_else(world, admin):
    reviewer = holder_of(world, "security_admin")
    world.say(admin, "permission.review")
    world.ask_as(admin, authentication_level=2)
    event = world.one(BREAK, "viewer")
    world.conn.execute("select authz.authorize(%s)", [READ])
    waiting = "select event_id, user_id, role_name, uses from authz.list_break_glass_reviews()"
    assert world.conn.execute(waiting).fetchall() == []
    world.ask_as(reviewer, authentication_level=2)
    refused(world, "ZA019", REVIEW, event, "justified")
    over(world, event)
    assert world.conn.execute(waiting).fetchall() == [(event, admin, "viewer", 1)]
    world.ask_as(admin, authentication_level=2)
    refused(world, "ZA010", REVIEW, event, "justified")
    bob = world.user()
    world.insert("authz.proxy_grants", user_id=reviewer, actor_id=admin, all_permissions=True)
    world.ask_as(reviewer, actor_id=admin, authentication_level=2)
    refused(world, "ZA010", REVIEW, event, "justified")
    world.ask_as(bob)
    refused(world, "ZA010", REVIEW, event, "justified")
    world.ask_as(reviewer, authentication_level=2)
    refused(world, "23514", REVIEW, event, "fine")
    assert world.one(REVIEW, event, "justified") is True
    assert world.one(REVIEW, event, "unjustified") is False
    assert world.conn.execute(waiting).fetchall() == []


def test_the_record_stays_as_it_is(world, admin):
    world.ask_as(admin, authentication_level=2)
    event = world.one(BREAK, "viewer")
    world.conn.execute("select authz.authorize(%s)", [READ])
    for statement in (
        "update authz.break_glass_events set reason = 'There was nothing wrong'",
        "update authz.break_glass_events set expires_at = expires_at + interval '1 hour'",
        "delete from authz.break_glass_events",
        "update authz.break_glass_uses set permission = 'user.read'",
        "delete from authz.break_glass_uses",
    ):
        refused(world, "ZA020", statement)
    over(world, event)
    world.ask_as(holder_of(world, "security_admin"), authentication_level=2)
    world.one(REVIEW, event, "unjustified")
    refused(world, "ZA020", "update authz.break_glass_events set review_outcome = 'justified'")
