"""Roles by rule: given when the rule or the person changes, withdrawn when it no longer holds, never by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest

from tests.authz.governing import holder_of, name_of, refused
from tests.authz.world import CONTEXT, World

FINANCE = 'strict $.subject.department == "Finance"'
SAVE = "select authz.save_assignment_rule(%s, %s, %s)"


@pytest.fixture
def world(db):
    return World(db)


@pytest.fixture
def role(world):
    return world.role()


def rule(world: World, role: object, condition: str = FINANCE, **columns: object):
    return world.insert(
        "authz.assignment_rules", name=uuid4().hex, role_id=role, condition=condition, **columns
    )


def person(world: World, **profile: object):
    user = world.user()
    columns = ", ".join(["tenant_id", "user_id", *profile])
    values = [world.tenant_id, user, *profile.values()]
    world.conn.execute(
        f"insert into identity.user_profiles ({columns}) values ({', '.join(['%s'] * len(values))})", values
    )
    return user


def moved(world: World, user: object, department: str | None) -> None:
    world.conn.execute(
        "update identity.user_profiles set department = %s where user_id = %s", [department, user]
    )


def has(world: World, user: object) -> list[str]:
    query = "select source from authz.user_roles where user_id = %s order by source"
    return [row[0] for row in world.conn.execute(query, [user])]


def test_a_role_comes_and_goes_with_what_somebody_is(world, role):
    world.carry(role, "document.read")
    rule(world, role)
    ada, bob = person(world, department="Finance"), person(world, department="Legal")
    nobody = world.user()
    assert [has(world, u) for u in (ada, bob, nobody)] == [["rule"], [], []]
    assert world.decide(ada, "document.read").effect == "allow"
    moved(world, ada, "Legal")
    moved(world, bob, "Finance")
    assert [has(world, u) for u in (ada, bob)] == [[], ["rule"]]
    moved(world, bob, None)
    assert has(world, bob) == []
    moved(world, ada, "Finance")
    world.conn.execute("delete from identity.user_profiles where user_id = %s", [ada])
    assert has(world, ada) == []
    assert world.decide(ada, "document.read").effect == "deny"


def test_a_rule_that_changes_is_applied_to_everybody_at_once(world, role):
    people = [person(world, department=d) for d in ("Finance", "Finance", "Legal")]
    made, other = rule(world, role), world.role()
    assert [has(world, u) for u in people] == [["rule"], ["rule"], []]
    for column, value, expected in (
        ("condition", 'strict $.subject.department == "Legal"', [[], [], ["rule"]]),
        ("condition", FINANCE, [["rule"], ["rule"], []]),
        ("is_enabled", False, [[], [], []]),
        ("is_enabled", True, [["rule"], ["rule"], []]),
        ("role_id", other, [["rule"], ["rule"], []]),
        ("resource_id", world.resource(), [["rule"], ["rule"], []]),
    ):
        world.conn.execute(f"update authz.assignment_rules set {column} = %s where id = %s", [value, made])
        assert [has(world, u) for u in people] == expected, (column, value)
    of_rule = "select count(*) from authz.user_roles where role_id = %s and resource_id is not null"
    assert world.one(of_rule, other) == 2
    world.conn.execute("delete from authz.assignment_rules")
    assert [has(world, u) for u in people] == [[], [], []]


def test_what_was_given_by_hand_stays(world, role):
    ada = person(world, department="Finance")
    world.give(ada, role)
    made = rule(world, role)
    assert has(world, ada) == ["manual", "rule"]
    moved(world, ada, "Legal")
    assert has(world, ada) == ["manual"]
    moved(world, ada, "Finance")
    world.conn.execute("delete from authz.assignment_rules where id = %s", [made])
    assert has(world, ada) == ["manual"]


def test_addresses_managers_and_titles_count_and_what_is_missing_does_not(world, role):
    boss = world.user()
    rule(
        world, role, 'strict $.subject.email like_regex "@example[.]org$" && $.subject.email_verified == true'
    )
    rule(world, role, f'strict $.subject.manager_id == "{boss}"')
    rule(world, role, 'strict !($.subject.job_title == "Trainee")')
    ada = world.user()
    assert has(world, ada) == []  # who has no title is not known not to be a trainee
    world.conn.execute("update identity.users set email = 'ada@example.org' where id = %s", [ada])
    assert has(world, ada) == []
    world.conn.execute("update identity.users set email_verified_at = now() where id = %s", [ada])
    assert has(world, ada) == ["rule"]
    bob = person(world, manager_id=boss, job_title="Lead")
    assert has(world, bob) == ["rule", "rule"]
    world.conn.execute("update identity.users set deleted_at = now() where id = %s", [bob])
    assert has(world, bob) == []


def test_somebody_who_may_not_have_it_keeps_nobody_else_from_it(world, role):
    other = world.role()
    policy = world.insert("authz.access_policies", name="apart", kind="static")
    for r in (role, other):
        world.conn.execute(
            "insert into authz.access_policy_roles values (%s, %s, %s)", [world.tenant_id, policy, r]
        )
    ada, bob = person(world, department="Finance"), person(world, department="Finance")
    world.give(ada, other)
    rule(world, role)
    assert [has(world, u) for u in (ada, bob)] == [["manual"], ["rule"]]
    moved(world, bob, "Legal")
    world.give(bob, other)
    moved(world, bob, "Finance")  # the move itself is not refused
    assert has(world, bob) == ["manual"]
    boss = holder_of(world, "super_admin")
    world.ask_as(boss, authentication_level=2)
    withheld = world.conn.execute(
        "select message from authz.lint() where finding = 'rule_withheld'"
    ).fetchall()
    assert sorted(str(u) for u in (ada, bob)) == sorted(m.split()[1] for (m,) in withheld)


def test_a_role_is_not_given_to_more_than_it_may_have(world):
    role = world.role(holders_limit=2)
    for _ in range(3):
        person(world, department="Finance")
    rule(world, role)
    assert world.one("select count(*) from authz.user_roles where role_id = %s", role) == 2


@pytest.mark.parametrize(
    "condition",
    [
        "strict $.env.risk < 3",
        'strict $.resource.region == "eu"',
        'strict ($.subject.department == "x") is unknown',
        "strict $.subject.department",
        "strict $",
    ],
)
def test_a_rule_is_a_predicate_about_the_person(world, role, condition):
    with pytest.raises(psycopg.Error) as caught:
        rule(world, role, condition)
    assert caught.value.sqlstate == "ZA006"


def test_rules_are_made_by_who_could_give_the_role(world, role):
    world.carry(role, "document.read")
    name = name_of(world, role)
    boss, half = holder_of(world, "super_admin"), world.user()
    world.say(half, "permission.manage_policies")
    world.say(half, "role.assign")
    world.ask_as(half, authentication_level=2)
    refused(world, "ZA010", SAVE, "finance", name, FINANCE)
    world.ask_as(world.user(), authentication_level=2)
    refused(world, "ZA010", SAVE, "finance", name, FINANCE)
    refused(world, "ZA010", "select authz.delete_assignment_rule('finance')")
    ada = person(world, department="Finance")
    world.ask_as(boss, authentication_level=2)
    refused(world, "ZA011", SAVE, "finance", "no_such", FINANCE)
    refused(world, "ZA006", SAVE, "finance", name, "strict $.env.risk < 3")
    made = world.one(SAVE, "finance", name, FINANCE)
    assert world.one(SAVE, "finance", name, FINANCE) == made
    assert has(world, ada) == ["rule"]
    assert world.one("select authz.delete_assignment_rule('finance')") is True
    assert world.one("select authz.delete_assignment_rule('finance')") is False
    assert has(world, ada) == []


@pytest.mark.parametrize("first_rule", [True, False])
def test_a_move_and_a_rule_made_at_once_do_not_miss_each_other(database, first_rule):
    with psycopg.connect(database) as conn:
        world = World(conn, "at-once")
        role, ada = world.role(), person(world, department="Legal")
        if not first_rule:
            rule(world, role, 'strict $.subject.department == "Nobody"')
    barrier = Barrier(2)

    def change(which: int) -> None:
        with psycopg.connect(database) as conn:
            conn.execute(CONTEXT, [world.tenant_id])
            barrier.wait()
            if which:
                conn.execute("update identity.user_profiles set department = 'Finance'")
            else:
                conn.execute(
                    "insert into authz.assignment_rules (tenant_id, name, role_id, condition) values (%s, 'x', %s, %s)",
                    [world.tenant_id, role, FINANCE],
                )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, range(2)))
    with psycopg.connect(database) as conn:
        conn.execute(CONTEXT, [world.tenant_id])
        assert conn.execute("select user_id from authz.user_roles where source = 'rule'").fetchall() == [
            (ada,)
        ]


AT_FINANCE = 'strict $.subject.email like_regex "finance"'
NEW_PERSON = "insert into identity.users (tenant_id, email, display_name) values (%s, 'ada@finance.test', 'Ada') returning id"
NEW_RULE = "insert into authz.assignment_rules (tenant_id, name, role_id, condition) values (%s, 'x', %s, %s)"


def begun(database: str, world: World, isolation: str = "read committed") -> psycopg.Connection:
    conn = psycopg.connect(database)
    conn.execute("set transaction isolation level " + isolation)
    conn.execute(CONTEXT, [world.tenant_id])
    return conn


@pytest.mark.parametrize("rule_first", [True, False])
def test_who_is_made_while_a_rule_is_made_gets_the_role(database, superuser, rule_first):
    with psycopg.connect(database) as conn:
        world = World(conn, "meeting")
        role = world.role()
    statements = [(NEW_RULE, [world.tenant_id, role, AT_FINANCE]), (NEW_PERSON, [world.tenant_id])]
    if not rule_first:
        statements.reverse()
    with begun(database, world) as first, begun(database, world) as second, ThreadPoolExecutor(1) as pool:
        first.execute(*statements[0])
        later = pool.submit(second.execute, *statements[1])
        blockers = "select pg_blocking_pids(%s)"
        while superuser.execute(blockers, [second.info.backend_pid]).fetchone() != (
            [first.info.backend_pid],
        ):
            assert not later.done(), "it did not wait"
        first.commit()
        later.result()
    with psycopg.connect(database) as conn:
        conn.execute(CONTEXT, [world.tenant_id])
        assert len(conn.execute("select from authz.user_roles where source = 'rule'").fetchall()) == 1


def test_who_is_made_with_a_snapshot_older_than_a_rule_is_made_again(database):
    with psycopg.connect(database) as conn:
        world = World(conn, "snapshot")
        role = world.role()
    with begun(database, world, "repeatable read") as maker:
        with begun(database, world) as ruler:
            ruler.execute(NEW_RULE, [world.tenant_id, role, AT_FINANCE])
        with pytest.raises(psycopg.errors.SerializationFailure):
            maker.execute(NEW_PERSON, [world.tenant_id])
        maker.rollback()


def test_a_tenant_with_rules_can_be_deleted(database):
    with psycopg.connect(database) as conn:
        world = World(conn, "going")
        rule(world, world.role(), 'strict !($.subject.email == "nobody")')
        person(world, department="x")
        conn.execute("select identity.begin_tenant_deletion(%s, 'test')", [world.tenant_id])
        while conn.execute("select identity.delete_tenant_batch(%s)", [world.tenant_id]).fetchone()[0]:
            pass
        assert conn.execute("select finished_at is not null from identity.tenant_deletions").fetchone() == (
            True,
        )
