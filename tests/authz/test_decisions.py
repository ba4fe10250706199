"""What somebody may do: each rule of the semantics with its corners."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tests.authz.world import NOON, World

READ, WRITE = "document.read", "document.update"
FORGE = "alter table authz.{0} disable trigger _100_check_criteria"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def ada(world):
    return world.user()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_what_nothing_allows_is_denied(world, ada):
    found = world.decide(ada, READ)
    assert (found.effect, found.reason, found.rule_ids) == ("deny", "deny_default", [])


def test_a_role_allows_and_the_decision_names_the_rule(world, ada):
    role = world.role()
    rule = world.carry(role, READ)
    world.give(ada, role)
    found = world.decide(ada, READ, world.resource())
    assert (found.effect, found.reason, found.rule_ids, found.expires_at) == ("allow", "allow", [rule], None)
    assert world.decide(ada, WRITE).effect == "deny"


@pytest.mark.parametrize("denied", ["type", "resource", "ancestor"])
@pytest.mark.parametrize("allowed", ["type", "resource", "ancestor"])
@pytest.mark.parametrize("path", ["own", "role", "inherited", "group", "everyone"])
def test_one_deny_beats_every_allow(world, ada, allowed, denied, path):
    top = world.resource()
    leaf = world.resource(top)
    scope = {"type": None, "resource": leaf, "ancestor": top}
    world.say(ada, READ, resource_id=scope[allowed])
    assert world.decide(ada, READ, leaf).effect == "allow"
    deny = {"effect": "deny", "resource_id": scope[denied]}
    if path == "own":
        rule = world.say(ada, READ, **deny)
    elif path == "group":
        group = world.group()
        world.join(world.group(group), ada)
        rule = world.insert("authz.group_permissions", group_id=group, permission_id=READ, **deny)
    else:
        role = world.role(for_everyone=path == "everyone")
        rule = world.carry(role, READ, **deny)
        if path != "everyone":
            world.give(ada, world.role(role) if path == "inherited" else role)
    found = world.decide(ada, READ, leaf)
    assert (found.effect, found.reason, found.rule_ids) == ("deny", "deny_explicit", [rule])


@pytest.mark.parametrize("status", ["invited", "locked", "suspended", "deactivated"])
def test_who_is_not_active_may_nothing(world, ada, status):
    world.say(ada, READ)
    lock = "now()" if status == "locked" else "null"
    world.conn.execute(
        f"update identity.users set status = %s, locked_until = {lock} where id = %s", [status, ada]
    )
    assert world.decide(ada, READ).reason == "deny_subject_inactive"
    world.conn.execute(
        "update identity.users set status = 'active', locked_until = null where id = %s", [ada]
    )
    assert world.decide(ada, READ).effect == "allow"
    world.conn.execute("update identity.users set deleted_at = now() where id = %s", [ada])
    assert world.decide(ada, READ).reason == "deny_subject_inactive"


def test_nobody_in_a_suspended_tenant_may_anything(world, ada):
    world.say(ada, READ)
    world.conn.execute("update identity.tenants set status = 'suspended' where id = %s", [world.tenant_id])
    assert world.decide(ada, READ).reason == "deny_subject_inactive"


def test_validity_is_half_open_and_the_decision_says_how_long_it_holds(world, ada):
    start, end = NOON, NOON + timedelta(hours=1)
    world.say(ada, READ, valid_from=start, valid_until=end)
    tick = timedelta(microseconds=1)
    for at, reason, edge in (
        (start - tick, "deny_not_yet_valid", start),
        (start, "allow", end),
        (end - tick, "allow", end),
        (end, "deny_expired", None),
    ):
        found = world.decide(ada, READ, at=at)
        assert (found.reason, found.expires_at) == (reason, edge)


def test_an_edge_between_roles_counts_in_its_time_only(world, ada):
    top = world.role()
    world.carry(top, READ)
    heir = world.role()
    world.inherit(heir, top, valid_from=NOON, valid_until=NOON + timedelta(hours=1))
    world.give(ada, heir, valid_until=NOON + timedelta(minutes=30))
    assert world.decide(ada, READ, at=NOON - timedelta(seconds=1)).reason == "deny_not_yet_valid"
    assert world.decide(ada, READ).expires_at == NOON + timedelta(minutes=30)
    assert world.decide(ada, READ, at=NOON + timedelta(minutes=30)).reason == "deny_expired"


RISK = "strict $.env.risk < 3"


@pytest.mark.parametrize("request_", [{}, {"risk": None}, {"risk": "low"}, {"risk": [1]}, {"other": 1}])
def test_a_condition_that_cannot_be_decided_allows_nothing_and_denies(world, ada, request_):
    world.say(ada, READ, condition=RISK)
    found = world.decide(ada, READ, request=request_)
    assert (found.effect, found.reason) == ("deny", "deny_condition_unknown")
    assert found.missing == ([] if request_.get("risk") else ["env.risk"])
    bob = world.user()
    world.say(bob, READ)
    world.say(bob, READ, effect="deny", condition=RISK)
    assert world.decide(bob, READ, request=request_).reason == "deny_condition_unknown"
    assert world.decide(bob, READ, request={"risk": 5}).effect == "allow"
    assert world.decide(bob, READ, request={"risk": 1}).reason == "deny_explicit"
    assert world.decide(ada, READ, request={"risk": 1}).effect == "allow"
    assert world.decide(ada, READ, request={"risk": 5}).reason == "deny_default"


def test_a_negation_over_what_is_missing_is_not_true(world, ada):
    world.say(ada, READ, condition='strict !($.env.place == "abroad")')
    assert world.decide(ada, READ).reason == "deny_condition_unknown"
    assert world.decide(ada, READ, request={"place": "home"}).effect == "allow"


def test_what_the_database_knows_is_not_taken_from_the_caller(world, ada):
    doc = world.resource(attributes={"secret": True, "id": "forged"})
    world.say(ada, READ, condition="strict $.resource.secret == false", resource_id=doc)
    world.say(ada, WRITE, networks=["10.0.0.0/8"])
    spoof = {"resource": {"secret": False}, "ip_address": "10.1.1.1", "authentication_level": 3}
    assert world.decide(ada, READ, doc, request=spoof).effect == "deny"
    found = world.decide(ada, WRITE, request=spoof)
    assert (found.reason, found.missing) == ("deny_condition_unknown", ["env.ip_address"])
    assert world.decide(ada, WRITE, request=spoof, ip_address="192.0.2.1").effect == "deny"
    assert world.decide(ada, WRITE, ip_address="10.1.1.1").effect == "allow"
    world.say(ada, "document.share", condition=f'strict $.subject.id == "{ada}" && $.resource.id == "{doc}"')
    assert world.decide(ada, "document.share", doc).effect == "allow"


def test_a_permission_asks_for_a_level_of_authentication(world, ada):
    world.say(ada, "system.configure")
    found = world.decide(ada, "system.configure")
    assert (found.reason, found.obligations) == ("deny_condition_unknown", {"authentication_level": 2})
    found = world.decide(ada, "system.configure", authentication_level=1)
    assert (found.effect, found.obligations) == ("deny", {"authentication_level": 2})
    assert world.decide(ada, "system.configure", authentication_level=2).effect == "allow"


PARIS = {"days": [1, 2, 3, 4, 5], "from": "09:00", "until": "17:00", "time_zone": "Europe/Paris"}
NIGHT = {
    "days": [5],
    "from": "22:00",
    "until": "06:00",
    "time_zone": "Europe/Paris",
    "except": ["2026-07-10"],
}
EARLY = {"from": "02:00", "until": "03:00", "time_zone": "Europe/Paris"}


@pytest.mark.parametrize(
    ("window", "at", "inside"),
    [
        (PARIS, utc(2026, 7, 1, 6, 59, 59), False),
        (PARIS, utc(2026, 7, 1, 7), True),
        (PARIS, utc(2026, 7, 1, 14, 59, 59), True),
        (PARIS, utc(2026, 7, 1, 15), False),
        (PARIS, utc(2026, 12, 1, 7), False),  # in winter an hour later
        (PARIS, utc(2026, 12, 1, 8), True),
        (PARIS, utc(2026, 7, 4, 10), False),  # a Saturday
        (NIGHT, utc(2026, 7, 3, 19, 59), False),
        (NIGHT, utc(2026, 7, 3, 20), True),  # Friday, 22:00
        (NIGHT, utc(2026, 7, 4, 3, 59), True),  # Saturday morning belongs to Friday
        (NIGHT, utc(2026, 7, 4, 4), False),
        (NIGHT, utc(2026, 7, 4, 20), False),
        (NIGHT, utc(2026, 7, 10, 20), False),  # the exception
        (NIGHT, utc(2026, 7, 11, 3), False),
        (EARLY, utc(2026, 3, 29, 0, 59), False),  # 01:59, then the clock goes to 03:00
        (EARLY, utc(2026, 3, 29, 1), False),
        (EARLY, utc(2026, 3, 29, 1, 30), False),
        (EARLY, utc(2026, 10, 24, 23, 59), False),
        (EARLY, utc(2026, 10, 25, 0), True),  # 02:00 in summer time
        (EARLY, utc(2026, 10, 25, 1), True),  # and 02:00 again
        (EARLY, utc(2026, 10, 25, 1, 59, 59), True),
        (EARLY, utc(2026, 10, 25, 2), False),
    ],
)
def test_windows_follow_the_clock_on_the_wall(world, ada, window, at, inside):
    world.say(ada, READ, windows=[window])
    found = world.decide(ada, READ, at=at)
    assert found.reason == ("allow" if inside else "deny_outside_window")
    # Until it says, the answer stays the same.
    assert at < found.expires_at <= at + timedelta(hours=49)
    steps = (found.expires_at - at) / 7
    for step in range(7):
        assert world.decide(ada, READ, at=at + step * steps).effect == found.effect


def test_what_is_marked_so_stops_at_the_role_that_holds_it(world, ada):
    top = world.role()
    world.carry(top, READ, inheritable=False)
    world.carry(top, WRITE)
    world.give(ada, world.role(world.role(top)))
    assert [world.decide(ada, p).effect for p in (READ, WRITE)] == ["deny", "allow"]
    world.give(ada, top)
    assert world.decide(ada, READ).effect == "allow"


def test_children_inherit_and_what_cuts_allows_off_does_not_cut_denies(world, ada):
    top = world.resource()
    middle = world.resource(top, inherits=False)
    leaf = world.resource(middle)
    world.say(ada, READ, resource_id=top)
    world.say(ada, WRITE, resource_id=middle)
    assert [world.decide(ada, READ, r).effect for r in (top, middle, leaf)] == ["allow", "deny", "deny"]
    assert [world.decide(ada, WRITE, r).effect for r in (top, middle, leaf)] == ["deny", "allow", "allow"]
    world.say(ada, WRITE, effect="deny", resource_id=top)
    assert world.decide(ada, WRITE, leaf).reason == "deny_explicit"
    assert world.decide(ada, READ).effect == "deny"  # on one resource is not on the type


def test_a_role_held_on_a_resource_reaches_what_lies_below(world, ada):
    chat = world.resource(kind="conversation")
    message = world.resource(chat, kind="message")
    role = world.role()
    world.carry(role, "message.read")
    world.give(ada, role, resource_id=chat)
    assert world.decide(ada, "message.read", message).effect == "allow"
    assert world.decide(ada, "message.read", chat).effect == "allow"
    assert world.decide(ada, "message.read").effect == "deny"
    assert world.decide(ada, "message.read", world.resource(kind="conversation")).effect == "deny"


def test_what_is_only_on_ones_own_is_about_the_owner(world, ada):
    role = world.role()
    world.carry(role, "message.create", only_own=True)
    world.give(ada, role)
    mine, theirs = (world.resource(kind="conversation", owner_id=o) for o in (ada, world.user()))
    assert [world.decide(ada, "message.create", r).effect for r in (mine, theirs, None)] == [
        "allow",
        "deny",
        "deny",
    ]


def test_what_one_grants_counts_only_once_another_approves(world, ada):
    boss, other = world.user(), world.user()
    grant = world.say(ada, "user.delete", granted_by=boss)
    plain = world.say(ada, READ, granted_by=boss)
    assert world.decide(ada, "user.delete", authentication_level=2).effect == "deny"
    assert world.decide(ada, READ).rule_ids == [plain]
    world.conn.execute(
        "update authz.user_permissions set approved_by = %s, approved_at = now() where id = %s",
        [other, grant],
    )
    assert world.decide(ada, "user.delete", authentication_level=2).effect == "allow"


@pytest.mark.parametrize("permission", ["document.fly", "", "nonsense", "';--", "document.read "])
def test_unknown_things_are_denied_and_not_raised(world, ada, permission):
    world.say(ada, READ)
    assert world.decide(ada, permission).reason == "deny_not_found"
    assert world.decide(ada, READ, uuid4()).reason == "deny_not_found"
    assert world.decide(ada, READ, world.resource(kind="conversation")).reason == "deny_not_found"
    assert world.decide(uuid4(), READ).reason == "deny_subject_inactive"


def test_an_id_of_another_tenant_is_one_that_does_not_exist(db, world, ada):
    other = World(db, "o" + uuid4().hex[:12])
    stranger, theirs = other.user(), other.resource()
    other.say(stranger, READ)
    world.enter()
    world.say(ada, READ)
    assert world.decide(ada, READ, theirs) == world.decide(ada, READ, uuid4())
    assert world.decide(stranger, READ) == world.decide(uuid4(), READ)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("condition", "strict $.env.a == $nothing"),
        ("condition", "lax !($.env.a == 1)"),
        ("windows", [{"from": "09:00", "until": "17:00", "time_zone": "Nowhere"}]),
        ("windows", [{"from": "never"}]),
        ("windows", ["always"]),
    ],
)
def test_a_malformed_rule_allows_nothing_and_denies(world, ada, column, value):
    world.conn.execute(FORGE.format("user_permissions"))
    world.conn.execute(
        "alter table authz.user_permissions drop constraint user_permissions_condition_is_strict"
    )
    world.say(ada, READ, **{column: value})
    assert world.decide(ada, READ, request={"a": 2}).reason == "error_malformed_policy"
    bob = world.user()
    world.say(bob, READ)
    world.say(bob, READ, effect="deny", **{column: value})
    found = world.decide(bob, READ, request={"a": 2})
    assert (found.effect, found.reason) == ("deny", "error_malformed_policy")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("condition", "strict $.env.a"),
        ("condition", "strict ($.env.a > 1) is unknown"),
        ("condition", "strict $.env.a == $v"),
        ("condition", "strict $.envelope.a == 1"),
        ("condition", "strict $ == 1"),
        ("windows", [{"from": "09:00", "until": "17:00", "time_zone": "Mars/Base"}]),
        ("windows", [{"from": "9", "until": "17:00", "time_zone": "UTC"}]),
        ("windows", [{"from": "09:00", "until": "09:00", "time_zone": "UTC"}]),
        ("windows", [{"from": "09:00", "until": "17:00", "time_zone": "UTC", "days": [0]}]),
        ("windows", [{"from": "09:00", "until": "17:00", "time_zone": "UTC", "except": ["tomorrow"]}]),
        ("windows", [{"from": "09:00", "until": "17:00", "time_zone": "UTC", "when": 1}]),
    ],
)
def test_a_rule_that_could_never_be_evaluated_is_refused(world, ada, column, value):
    with pytest.raises(psycopg.Error) as caught:
        world.say(ada, READ, **{column: value})
    assert caught.value.sqlstate == "ZA006"


def test_a_condition_may_hold_any_text(world, ada):
    world.say(ada, READ, condition='strict $.env.a == "$x is unknown \\" $y"')
    assert world.decide(ada, READ, request={"a": '$x is unknown " $y'}).effect == "allow"


def test_who_holds_a_rule_is_not_changed_in_place(world, ada):
    grant = world.say(ada, READ)
    with pytest.raises(psycopg.Error) as caught:
        world.conn.execute(
            "update authz.user_permissions set user_id = %s where id = %s", [world.user(), grant]
        )
    assert caught.value.sqlstate == "ZA008"


def test_groups_that_move_take_their_members_along(world, ada):
    role = world.role()
    world.carry(role, READ)
    top = world.group()
    team = world.group(None, ada)
    world.insert("authz.group_roles", group_id=top, role_id=role)
    assert world.decide(ada, READ).effect == "deny"
    world.conn.execute("update identity.groups set parent_id = %s where id = %s", [top, team])
    assert world.decide(ada, READ).effect == "allow"
    world.conn.execute("delete from identity.group_members where user_id = %s", [ada])
    assert world.decide(ada, READ).effect == "deny"


def test_an_emergency_counts_while_it_lasts_and_is_marked(world, ada):
    role = world.role()
    world.carry(role, READ)
    event = world.insert(
        "authz.break_glass_events", user_id=ada, role_id=role, reason="The building is on fire.",
        started_at=NOON, expires_at=NOON + timedelta(hours=1),
    )  # fmt: skip
    found = world.decide(ada, READ)
    assert (found.effect, found.obligations) == ("allow", {"break_glass": [str(event)]})
    assert world.decide(ada, READ, at=NOON + timedelta(hours=1)).reason == "deny_expired"
    world.say(ada, READ)
    assert world.decide(ada, READ).obligations == {}


def test_the_scopes_of_a_key_limit_what_its_user_may(world, ada):
    world.say(ada, READ)
    assert world.decide(ada, READ, scopes=[READ]).effect == "allow"
    assert world.decide(ada, READ, scopes=[WRITE]).effect == "deny"
    assert world.decide(ada, READ, scopes=[]).effect == "deny"
