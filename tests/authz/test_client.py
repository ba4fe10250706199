"""The typed face of authorization, as an application's login uses it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from enterprise_ai.authz import Limits, Question
from enterprise_ai.authz.errors import (
    ArgumentRefused,
    ConditionRefused,
    DutiesSeparated,
    EmergencyNotOver,
    LastsTooLong,
    MayNotAsk,
    MayNotGive,
    NameUnknown,
    NothingToDecide,
)
from enterprise_ai.client import connect
from tests.authz.people import House

READ, UPDATE = "document.read", "document.update"


@pytest.fixture(scope="module")
def house(world):
    with connect(world.server.url(world.name, "app_login")) as client:
        yield House(world, client)


@pytest.fixture(scope="module")
def boss(house):
    return house.person("super_admin")


def in_minutes(count: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=count)


def test_a_decision_comes_with_its_reasons(house, boss):
    ada = house.person("viewer")
    document = house.document()
    with house.as_(ada) as tx:
        assert tx.authz.check(READ, document)
        assert not tx.authz.check(UPDATE, document)
        allowed, denied = tx.authz.evaluate(READ, document), tx.authz.evaluate(UPDATE, document)
        assert (allowed.is_allowed, allowed.reason, len(allowed.rule_ids)) == (True, "allow", 1)
        assert (denied.is_allowed, denied.reason, denied.expires_at) == (False, "deny_default", None)
        assert tx.authz.explain(READ, document)["decision"]["reason"] == "allow"
        assert "* true: allow by user role viewer" in tx.authz.explain_text(READ, document)
        assert tx.authz.authorize(READ, document).is_allowed
        assert tx.authz.check_and_hold(READ, document)
        assert not tx.authz.check_and_hold(UPDATE, document)
        with pytest.raises(MayNotAsk):
            tx.authz.check(READ, document, user_id=boss)


def test_many_answers_come_in_the_order_of_the_questions(house, boss):
    ada, bob = house.person("viewer"), house.person()
    document = house.document(bob)
    asked = [
        Question(READ, document, ada),
        Question(READ, document, bob),
        Question("no.such", None, ada),
        Question(READ),
    ]
    with house.as_(boss) as tx:
        assert tx.authz.check_many(asked) == [
            tx.authz.check(q.permission, q.resource_id, user_id=q.user_id) for q in asked
        ]
        assert tx.authz.check_many(asked)[:3] == [True, False, False]
        assert tx.authz.check_many([]) == []


def test_lists_come_in_pages_that_join_without_a_gap(house, boss):
    ada = house.person()
    documents = [house.document() for _ in range(5)]
    with house.as_(boss) as tx:
        for document in documents:
            tx.authz.grants.grant(ada, READ, resource_id=document)
        pages = list(tx.authz.list_resources(READ, user_id=ada, page_size=2))
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [item for page in pages for item in page] == sorted(documents)
        after = pages[0][-1]
        assert next(tx.authz.list_resources(READ, user_id=ada, after=after, page_size=2)) == pages[1]
        assert list(tx.authz.list_resources("no.such", user_id=ada)) == []
        subjects = [who for page in tx.authz.list_subjects(READ, documents[0], page_size=1) for who in page]
        assert {ada, boss} <= set(subjects)
        assert len(set(subjects)) == len(subjects)
        assert tx.authz.list_actions(documents[0], user_id=ada) == [READ]
        with pytest.raises(ArgumentRefused):
            next(tx.authz.list_resources(READ, page_size=0))


def test_what_is_given_is_taken_back(house, boss):
    ada = house.person()
    document = house.document()
    with house.as_(boss) as tx:
        given = tx.authz.grants.assign(ada, "viewer", resource_id=document)
        assert tx.authz.check(READ, document, user_id=ada)
        denied = tx.authz.grants.grant(ada, READ, effect="deny")
        assert not tx.authz.check(READ, document, user_id=ada)
        assert tx.authz.grants.revoke(denied)
        assert not tx.authz.grants.revoke(denied)
        assert tx.authz.check(READ, document, user_id=ada)
        assert tx.authz.grants.unassign(given)
        assert not tx.authz.check(READ, document, user_id=ada)
        assert not tx.authz.grants.approve("user_role", uuid4())
    with house.as_(ada) as tx, pytest.raises(MayNotGive) as caught:
        tx.authz.grants.assign(ada, "viewer")
    assert caught.value.hint == "It takes role.assign."
    with house.as_(boss) as tx, pytest.raises(NameUnknown):
        tx.authz.grants.assign(ada, "no such role")


def test_limits_say_when_and_where_it_counts(house, boss):
    ada = house.person()
    until = in_minutes(5)
    office = Limits(
        valid_until=until,
        condition="strict $.env.risk < 3",
        networks=["10.0.0.0/8", "::/0", "0.0.0.0/0"],
        windows=[{"days": [1, 2, 3, 4, 5, 6, 7], "from": "00:00", "until": "24:00", "time_zone": "UTC"}],
    )
    with house.as_(boss) as tx:
        tx.authz.grants.grant(ada, READ, limits=Limits(condition="strict $.env.risk < 3", valid_until=until))
        assert tx.authz.check(READ, user_id=ada, request={"risk": 1})
        assert not tx.authz.check(READ, user_id=ada, request={"risk": 4})
        decision = tx.authz.evaluate(READ, user_id=ada)
        assert (decision.reason, decision.missing) == ("deny_condition_unknown", ["env.risk"])
        assert decision.expires_at == until
    with house.as_(boss) as tx, pytest.raises(ConditionRefused):
        tx.authz.grants.grant(ada, UPDATE, limits=Limits(condition="strict $.env.risk"))
    with house.as_(boss) as tx:
        tx.authz.grants.grant(ada, UPDATE, limits=office)
        found = tx.authz.explain(UPDATE, user_id=ada)["rules"]
        assert [rule["state"] for rule in found] == ["unknown"]


def test_rights_are_passed_on_and_others_act_on_behalf(house, boss):
    ada = house.person("viewer")
    with house.as_(boss) as tx:
        passed = tx.authz.delegations.give(ada, UPDATE, in_minutes(60), reason="holiday")
        assert tx.authz.check(UPDATE, user_id=ada)
        assert tx.authz.delegations.revoke(passed)
        assert not tx.authz.check(UPDATE, user_id=ada)
        acting = tx.authz.proxies.grant(ada, READ)
        assert tx.authz.proxies.revoke(acting)
        assert not tx.authz.proxies.revoke(acting)
    with house.as_(boss) as tx, pytest.raises(LastsTooLong):
        tx.authz.delegations.give(ada, UPDATE, in_minutes(60 * 24 * 1000))


def test_an_emergency_is_answered_for(house, boss):
    reviewer = house.person("security_admin")
    with house.as_(boss) as tx:
        event = tx.authz.emergencies.take("viewer", "The building is on fire", minutes=5)
    with house.as_(reviewer) as tx, pytest.raises(EmergencyNotOver):
        tx.authz.emergencies.review(event, "justified")
    with house.as_(boss) as tx:
        assert tx.authz.emergencies.end(event)
    with house.as_(reviewer) as tx:
        (waiting,) = tx.authz.emergencies.waiting()
        assert (waiting.id, waiting.role, waiting.user_id, waiting.uses) == (event, "viewer", boss, 0)
        assert tx.authz.emergencies.review(event, "justified", "It was")
        assert tx.authz.emergencies.waiting() == []


def test_a_review_withdraws_what_nobody_needs(house, boss):
    ada = house.person("viewer")
    with house.as_(boss) as tx:
        review = tx.authz.reviews.open(
            "Q3", boss, due_at=in_minutes(60), scope={"user_ids": [str(ada)], "kinds": ["user_role"]}
        )
        assert [found.id for found in tx.authz.reviews.list()] == [review]
        (item,) = tx.conn.execute(
            "select id from authz.access_review_items where review_id = %s", [review]
        ).fetchone()
        assert tx.authz.reviews.progress(review).undecided == 1
        assert tx.authz.reviews.decide(item, "revoke", "left the team")
        progress = tx.authz.reviews.progress(review)
        assert (progress.revoked, progress.undecided) == (1, 0)
        assert not tx.authz.check(READ, user_id=ada)
        assert not tx.authz.reviews.cancel(review)
    with house.as_(boss) as tx, pytest.raises(NothingToDecide):
        tx.authz.reviews.decide(item, "keep")
    with house.as_(boss) as tx, pytest.raises(NothingToDecide):
        tx.authz.reviews.progress(uuid4())


def test_policies_are_made_tried_and_deleted(house, boss):
    ada = house.person("viewer")
    with house.as_(boss) as tx:
        policies = tx.authz.policies
        policies.separate("apart", "static", roles=["viewer", "analyst"])
        found = policies.simulate([{"do": "assign_role", "user_id": ada, "role": "analyst"}])
        assert found.changes[0]["sqlstate"] == DutiesSeparated.sqlstate
        found = policies.simulate(
            [{"do": "grant_permission", "user_id": ada, "permission": UPDATE}],
            [{"user_id": ada, "permission": UPDATE}],
        )
        assert (found.changes[0]["outcome"], found.checked, len(found.flips)) == ("applied", 1, 1)
        assert policies.delete_separation("apart")
        policies.save_test("ada reads", ada, READ, "deny", env={"risk": 1})
        (test,) = policies.run_tests()
        assert (test.name, test.is_passed, test.reason) == ("ada reads", False, "allow")
        assert policies.delete_test("ada reads")
        policies.assign_by_rule("finance", "viewer", 'strict $.subject.department == "Finance"')
        assert policies.delete_rule("finance")
        assert not policies.delete_rule("finance")
        assert "role_unheld" in {finding.finding for finding in policies.lint()}
