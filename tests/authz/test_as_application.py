"""Governance as an application meets it: its role can call all of it, and reaches nothing next door by it."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.authz.governing import holder_of, refused
from tests.authz.world import World

READ = "document.read"


@pytest.fixture
def worlds(admin):
    """A tenant and the one next door, on one connection that may become an application."""
    return [World(admin, "w" + uuid4().hex[:12]) for _ in range(2)]


def become_app(world: World, user: object) -> None:
    world.conn.execute("reset role")
    world.ask_as(user, authentication_level=2)
    world.conn.execute("set local role enterprise_ai_app")


def test_an_application_governs_with_its_own_role(worlds):
    world, _ = worlds
    world.enter()
    boss, reviewer, ada = holder_of(world, "super_admin"), holder_of(world, "security_admin"), world.user()
    given = world.say(ada, READ)
    become_app(world, boss)
    one = world.one
    one("select authz.save_access_policy('x', 'dynamic', %s, counted_per => 'resource')", [READ])
    assert one("select (authz.authorize(%s)).effect", READ) == "allow"
    delegated = one("select authz.delegate(%s, %s, now() + interval '1 hour')", ada, "document.update")
    acting = one("select authz.grant_proxy(%s, %s)", ada, READ)
    event = one("select authz.break_glass('viewer', 'The building is on fire')")
    assert one("select authz.end_break_glass(%s)", event) is True
    review = one("select authz.open_access_review('Q', %s, scope => %s)", boss, f'{{"user_ids": ["{ada}"]}}')
    item = one(
        "select id from authz.access_review_items where review_id = %s and assignment_id = %s", review, given
    )
    assert one("select authz.decide_review_item(%s, 'revoke')", item) is True
    assert one("select undecided from authz.access_review_progress(%s)", review) == 2
    assert one("select authz.cancel_access_review(%s)", review) is True
    assert one("select authz.revoke_delegation(%s)", delegated) is True
    assert one("select authz.revoke_proxy(%s)", acting) is True
    one("select authz.save_assignment_rule('r', 'viewer', 'strict $.subject.department == \"x\"')")
    one("select authz.save_policy_test('t', %s, %s, 'deny')", ada, READ)
    assert one("select is_passed from authz.run_policy_tests()") is True
    assert one("select jsonb_array_length(authz.simulate(%s) -> 'flips')",
               f'[{{"do": "grant_permission", "user_id": "{ada}", "permission": "{READ}"}}]') == 1  # fmt: skip
    assert one("select count(*) > 0 from authz.lint()") is True
    for name, what in (("access_policy", "x"), ("assignment_rule", "r"), ("policy_test", "t")):
        assert one(f"select authz.delete_{name}(%s)", what) is True
    become_app(world, reviewer)
    assert one("select count(*) from authz.list_break_glass_reviews()") == 1
    assert one("select authz.review_break_glass(%s, 'justified')", event) is True


def test_what_is_next_door_is_not_there(worlds):
    world, door = worlds
    door.enter()
    there, document, role = door.user(), door.resource(), door.role()
    delegation = door.delegate(door.user(), there, READ)
    acting = door.insert("authz.proxy_grants", user_id=there, actor_id=door.user(), all_permissions=True)
    event = door.insert(
        "authz.break_glass_events", user_id=there, role_id=role, reason="The house is on fire",
        started_at="2020-01-01 10:00+00", expires_at="2020-01-01 11:00+00",
    )  # fmt: skip
    review = door.insert("authz.access_reviews", name="Q", reviewer_id=there, due_at="2090-01-01")
    item = door.insert(
        "authz.access_review_items", review_id=review, assignment_kind="user_role", assignment_id=uuid4(),
        subject_id=door.user(), assignment={}, reviewer_id=there,
    )  # fmt: skip
    door.insert("authz.policy_tests", name="t", user_id=there, permission=READ, expected_effect="deny")
    name = door.one("select name from authz.roles where id = %s", role)
    world.enter()
    boss, ada = holder_of(world, "super_admin"), world.user()
    become_app(world, boss)
    for nothing in (
        f"authz.revoke_delegation('{delegation}')", f"authz.revoke_proxy('{acting}')",
        f"authz.end_break_glass('{event}')", f"authz.review_break_glass('{event}', 'justified')",
        f"authz.cancel_access_review('{review}')", "authz.delete_policy_test('t')",
    ):  # fmt: skip
        assert world.one(f"select {nothing}") is False, nothing
    for empty in (
        f"authz.access_review_progress('{review}')",
        "authz.list_break_glass_reviews()",
        "authz.run_policy_tests()",
    ):
        assert world.one(f"select count(*) from {empty}") == 0, empty
    for state, query in (
        ("ZA022", f"authz.decide_review_item('{item}', 'revoke')"),
        ("23503", f"authz.delegate('{there}', '{READ}', now() + interval '1 hour')"),
        ("ZA010", f"authz.delegate('{ada}', '{READ}', now() + interval '1 hour', '{document}')"),
        (
            "ZA018",
            f"authz.delegate('{ada}', '{READ}', now() + interval '1 hour', parent_id => '{delegation}')",
        ),
        ("23503", f"authz.grant_proxy('{there}', '{READ}')"),
        ("ZA011", f"authz.break_glass('{name}', 'The building is on fire')"),
        ("ZA011", f"authz.break_glass('viewer', 'The building is on fire', 5, '{document}')"),
        ("23503", f"authz.open_access_review('Q', '{there}')"),
        ("ZA011", f"authz.save_access_policy('x', 'static', role_names => '{{{name}}}')"),
        ("ZA011", f"authz.save_assignment_rule('r', '{name}', 'strict $.subject.department == 1')"),
        ("23503", f"authz.save_policy_test('t', '{there}', '{READ}', 'deny')"),
    ):
        refused(world, state, f"select {query}")
    assert world.one("select (authz.authorize(%s, %s)).reason", READ, document) == "deny_not_found"
    result = world.one(
        "select authz.simulate(%s, %s)",
        f'[{{"do": "grant_permission", "user_id": "{there}", "permission": "{READ}"}}]',
        f'[{{"user_id": "{there}", "permission": "{READ}"}}]',
    )
    assert result["changes"][0]["sqlstate"] == "23503"
    assert result["flips"] == []


def test_an_application_cannot_write_the_record_itself(worlds):
    world, _ = worlds
    world.enter()
    boss = holder_of(world, "super_admin")
    become_app(world, boss)
    for table in (
        "access_policies", "access_policy_roles", "access_policy_permissions", "duty_acts", "delegations",
        "proxy_grants", "break_glass_events", "break_glass_uses", "decision_log", "access_reviews",
        "access_review_items", "assignment_rules", "policy_tests",
    ):  # fmt: skip
        for statement in (f"insert into authz.{table} default values", f"delete from authz.{table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), world.conn.transaction():
                world.conn.execute(statement)
    refused(world, "42501", "select authz._apply_change(%s, '{}')", world.tenant_id)
    refused(world, "42501", "select * from authz.close_due_reviews()")
