"""Access reviews: who decides on what, what a decision does, and what time does when nobody decides."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.authz.governing import holder_of, refused
from tests.authz.world import World

READ = "document.read"
OPEN = "select authz.open_access_review('Q3', %s, scope => %s, reviewers => %s, auto_revoke => %s)"
DECIDE = "select authz.decide_review_item(%s, %s)"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def boss(world):
    return holder_of(world, "security_admin")


def of(*users: object) -> str:
    return '{"user_ids": [' + ", ".join(f'"{u}"' for u in users) + "]}"


def open_review(world: World, boss: object, scope: str = "{}", reviewers: str = "named", auto: bool = False):
    world.ask_as(boss, authentication_level=2)
    return world.one(OPEN, boss, scope, reviewers, auto)


def items(world: World, review: object) -> dict[object, object]:
    """The item of each assignment."""
    query = "select assignment_id, id from authz.access_review_items where review_id = %s"
    return dict(world.conn.execute(query, [review]).fetchall())


def manage(world: World, manager: object, *users: object) -> None:
    for user in users:
        world.conn.execute(
            "insert into identity.user_profiles (tenant_id, user_id, manager_id) values (%s, %s, %s)",
            [world.tenant_id, user, manager],
        )


def test_a_review_lists_all_that_was_given_by_hand_and_has_not_ended(world, boss):
    ada, team = world.user(), world.group()
    role = world.role()
    kept = {
        world.give(ada, role),
        world.insert("authz.group_roles", group_id=team, role_id=role),
        world.say(ada, READ),
        world.insert("authz.group_permissions", group_id=team, permission_id=READ),
        world.delegate(boss, ada, READ),
        world.insert("authz.proxy_grants", user_id=boss, actor_id=ada, all_permissions=True),
        world.one("select id from authz.user_roles where user_id = %s", boss),
    }
    world.give(ada, role, valid_from="2020-01-01", valid_until="2020-02-01")
    world.give(ada, role, source="sso", source_id=uuid4())
    manage(world, world.user(), boss)
    review = open_review(world, boss)
    assert set(items(world, review)) == kept
    what = "select assignment ->> 'role' from authz.access_review_items where review_id = %s and assignment_kind = 'group_role'"
    assert world.one(what, review).startswith("r")


@pytest.mark.parametrize(
    ("scope", "kinds"),
    [
        ('{"kinds": ["user_permission"]}', ["user_permission"]),
        ('{"user_ids": ["ADA"]}', ["user_permission", "user_role"]),
        ('{"group_ids": ["TEAM"]}', ["group_role"]),
        ('{"role_ids": ["ROLE"]}', ["group_role", "user_role"]),
        ('{"role_ids": ["ROLE"], "user_ids": ["ADA"]}', ["user_role"]),
        ('{"kinds": []}', []),
    ],
)
def test_a_review_has_a_scope(world, boss, scope, kinds):
    ada, team, role = world.user(), world.group(), world.role()
    world.give(ada, role)
    world.say(ada, READ)
    world.insert("authz.group_roles", group_id=team, role_id=role)
    for name, value in (("ADA", ada), ("TEAM", team), ("ROLE", role)):
        scope = scope.replace(name, str(value))
    review = open_review(world, boss, scope)
    query = "select coalesce(array_agg(assignment_kind order by assignment_kind), '{}') from authz.access_review_items where review_id = %s"
    assert world.one(query, review) == kinds
    closed = world.one("select status from authz.access_reviews where id = %s", review) == "closed"
    assert closed is (not kinds)  # nothing to decide is decided


def test_each_kind_of_reviewer_is_found_and_nobody_reviews_themselves(world, boss):
    manager, owner, ada, chief = (world.user() for _ in range(4))
    manage(world, manager, ada)
    manage(world, chief, boss)
    document = world.resource(owner_id=owner)
    on_document, role = world.say(ada, READ, resource_id=document), world.give(ada, world.role())
    bosses = world.one("select id from authz.user_roles where user_id = %s", boss)
    expected = {
        "manager": {on_document: manager, role: manager, bosses: chief},
        "owner": {on_document: owner, role: boss, bosses: chief},
        "named": {on_document: boss, role: boss, bosses: chief},
    }
    for reviewers, who in expected.items():
        review = open_review(world, boss, of(ada, boss), reviewers)
        query = "select assignment_id, reviewer_id from authz.access_review_items where review_id = %s"
        assert dict(world.conn.execute(query, [review]).fetchall()) == who, reviewers


def test_a_review_that_somebody_would_have_to_do_of_themselves_does_not_open(world, boss):
    team = world.group(None, boss)
    world.insert("authz.group_roles", group_id=team, role_id=world.role())
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA021", OPEN, boss, f'{{"group_ids": ["{team}"]}}', "named", False)
    refused(world, "ZA021", OPEN, boss, of(boss), "named", False)
    gone = world.user("suspended")
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA021", OPEN, gone, of(boss), "named", False)
    refused(world, "ZA009", OPEN, boss, '{"users": []}', "named", False)
    refused(world, "ZA009", OPEN, boss, '{"user_ids": "all"}', "named", False)
    refused(world, "ZA009", OPEN, boss, '{"kinds": ["user_role", "userrole"]}', "named", False)
    refused(world, "23514", OPEN, boss, of(), "anybody", False)
    refused(world, "23503", OPEN, uuid4(), of(), "named", False)
    world.ask_as(world.user())
    refused(world, "ZA010", OPEN, boss, of(), "named", False)
    assert world.one("select count(*) from authz.access_reviews") == 0


def test_keeping_keeps_and_revoking_withdraws_at_once(world, boss):
    ada = world.user()
    kept, lost = world.say(ada, READ), world.say(ada, "document.export")
    review = open_review(world, boss, of(ada))
    of_it = items(world, review)
    progress = "select total, kept, revoked, undecided, is_overdue from authz.access_review_progress(%s)"
    assert world.conn.execute(progress, [review]).fetchone() == (2, 0, 0, 2, False)
    refused(world, "23514", DECIDE, of_it[kept], "perhaps")
    assert world.one(DECIDE, of_it[kept], "keep") is False
    assert world.one(DECIDE, of_it[lost], "revoke") is True
    assert world.conn.execute(progress, [review]).fetchone() == (2, 1, 1, 0, False)
    assert world.one("select status from authz.access_reviews where id = %s", review) == "closed"
    assert [world.decide(ada, p).effect for p in (READ, "document.export")] == ["allow", "deny"]
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA022", DECIDE, of_it[kept], "revoke")


def test_what_is_gone_already_is_decided_all_the_same(world, boss):
    ada = world.user()
    given = world.say(ada, READ)
    review = open_review(world, boss, of(ada))
    world.conn.execute("delete from authz.user_permissions where id = %s", [given])
    world.ask_as(boss, authentication_level=2)
    assert world.one(DECIDE, items(world, review)[given], "revoke") is False
    assert world.one("select revoked_at is null from authz.access_review_items where review_id = %s", review)


def test_who_may_decide(world, boss):
    ada, named, other = world.user(), world.user(), holder_of(world, "compliance_officer")
    given = [world.say(ada, p) for p in (READ, "document.export", "permission.review")]
    world.ask_as(boss, authentication_level=2)
    review = world.one(OPEN, named, of(ada), "named", False)
    of_it = items(world, review)
    for nobody in (ada, world.user()):  # ada may review, but not what she has
        world.ask_as(nobody)
        refused(world, "ZA010", DECIDE, of_it[given[0]], "keep")
    world.insert("authz.proxy_grants", user_id=named, actor_id=ada, all_permissions=True)
    world.ask_as(named, actor_id=ada)
    refused(world, "ZA010", DECIDE, of_it[given[0]], "keep")
    for somebody, what in ((named, given[0]), (other, given[1])):
        world.ask_as(somebody)
        world.one(DECIDE, of_it[what], "keep")
    team = world.group(None, other)
    shared = world.insert("authz.group_permissions", group_id=team, permission_id=READ)
    world.ask_as(boss, authentication_level=2)
    review = world.one(OPEN, named, f'{{"group_ids": ["{team}"]}}', "named", False)
    world.ask_as(other)
    refused(world, "ZA010", DECIDE, items(world, review)[shared], "keep")


def test_what_was_decided_stays(world, boss):
    ada = world.user()
    given, other = world.say(ada, READ), world.say(ada, "document.export")
    review = open_review(world, boss, of(ada))
    of_it = items(world, review)
    world.one(DECIDE, of_it[given], "keep")
    for statement in (
        "update authz.access_review_items set decision = 'revoke'",
        "update authz.access_review_items set comment = 'x' where decided_at is not null",
        "update authz.access_review_items set assignment = '{}'",
        "update authz.access_review_items set reviewer_id = subject_id",
        "delete from authz.access_review_items",
        "update authz.access_reviews set scope = '{}'",
        "delete from authz.access_reviews",
    ):
        refused(world, "ZA020", statement)
    assert world.one("select authz.cancel_access_review(%s)", review) is True
    assert world.one("select authz.cancel_access_review(%s)", review) is False
    refused(world, "ZA022", DECIDE, of_it[other], "keep")
    refused(world, "ZA020", "update authz.access_reviews set status = 'open', closed_at = null")


def test_what_nobody_confirmed_in_time_is_withdrawn_in_every_tenant(database):
    with psycopg.connect(database) as conn:
        worlds, reviews = [], []
        for slug in ("one", "two", "three"):
            world = World(conn, slug)
            boss, ada = holder_of(world, "security_admin"), world.user()
            kept, _ = world.say(ada, READ), world.say(ada, "document.export")
            review = open_review(world, boss, of(ada), auto=slug != "three")
            world.one(DECIDE, items(world, review)[kept], "keep")
            conn.execute("alter table authz.access_reviews disable trigger _100_keep")
            conn.execute(
                "update authz.access_reviews set opened_at = now() - interval '2 days', due_at = now() - interval '1 day'"
            )
            conn.execute("alter table authz.access_reviews enable trigger _100_keep")
            worlds.append((world, ada))
            reviews.append(review)
        conn.execute("select set_config('enterprise_ai.context', '', true)")
        due = "select review_id, withdrawn, error from authz.close_due_reviews()"
        assert sorted(conn.execute(due).fetchall()) == sorted([(r, 1, None) for r in reviews[:2]])
        assert conn.execute(due).fetchall() == []
        for world, ada in worlds[:2]:
            world.enter()
            assert [world.decide(ada, p).effect for p in (READ, "document.export")] == ["allow", "deny"]
        worlds[0][0].enter()
        query = "select decision, decided_by is null, revoked_at is not null from authz.access_review_items order by decision"
        assert conn.execute(query).fetchall() == [("keep", False, False), ("revoke", True, True)]
        worlds[2][0].enter()
        assert conn.execute(
            "select is_overdue from authz.access_review_progress(%s)", [reviews[2]]
        ).fetchone() == (True,)


def test_operators_close_reviews_and_see_nothing_of_them(admin):
    world = World(admin, "w" + uuid4().hex[:12])
    review = open_review(world, holder_of(world, "security_admin"), of(world.user()))
    admin.execute("set local role enterprise_ai_operator")
    assert review not in [row[1] for row in admin.execute("select * from authz.close_due_reviews()")]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute("select * from authz.access_review_items")
