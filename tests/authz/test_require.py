"""`Opened.require`: a permission before the function of a route runs."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from enterprise_ai.client import Transaction, connect
from enterprise_ai.fastapi import Opened
from tests.authz.people import House


@pytest.fixture(scope="module")
def house(world):
    with connect(world.server.url(world.name, "app_login")) as client:
        yield House(world, client)


@pytest.fixture(scope="module")
def browser(house):
    opened = Opened(house.client)
    app = FastAPI()

    reader = opened.require("document.read", resource="document_id")
    exporter = opened.require("document.export", resource="document_id", record=True)
    assigner = opened.require("role.assign")

    @app.get("/documents/{document_id}")
    def show(tx: Transaction = reader) -> str:
        return str(tx.context.user_id)

    @app.post("/documents/{document_id}")
    def export(tx: Transaction = opened.transaction, same: Transaction = exporter) -> bool:
        return tx is same

    @app.get("/roles")
    def roles(tx: Transaction = assigner) -> str:
        return "roles"

    @app.get("/misnamed/{document}")
    def misnamed(tx: Transaction = reader) -> str:
        return "served"

    return TestClient(app)


@pytest.fixture
def sign_in(house):
    def token(person, level=2):
        started = house.world.new_session(house.tenant, person, level=level)
        return {"Authorization": f"Bearer {started.session_token}"}

    return token


def test_who_may_is_served_and_who_may_not_is_told_why(house, browser, sign_in):
    ada, bob = house.person("viewer"), house.person()
    document = house.document()
    served = browser.get(f"/documents/{document}", headers=sign_in(ada))
    assert (served.status_code, served.json()) == (200, str(ada))
    refused = browser.get(f"/documents/{document}", headers=sign_in(bob))
    assert (refused.status_code, refused.json()["detail"]["reason"]) == (403, "deny_default")
    assert browser.get(f"/documents/{document}").status_code == 401


def test_what_is_not_there_is_refused_and_no_id_is_not_found(house, browser, sign_in):
    headers = sign_in(house.person("viewer"))
    refused = browser.get(f"/documents/{uuid4()}", headers=headers)
    assert (refused.status_code, refused.json()["detail"]["reason"]) == (403, "deny_not_found")
    assert browser.get("/documents/17", headers=headers).status_code == 404


def test_a_refusal_says_what_it_would_take(house, browser, sign_in):
    boss = house.person()
    # Whoever has such a role already signs in with a second factor only.
    by_password = sign_in(boss, level=1)
    house.give(boss, "manager")
    assert browser.get("/roles", headers=sign_in(boss)).status_code == 200
    refused = browser.get("/roles", headers=by_password)
    assert (refused.status_code, refused.json()["detail"]["obligations"]) == (
        403,
        {"authentication_level": 2},
    )


def test_acts_are_recorded_in_the_same_transaction(house, browser, sign_in):
    boss = house.person("super_admin")
    document = house.document()
    with house.as_(boss) as tx:
        tx.authz.policies.separate("apart", "dynamic", permissions=["document.export", "document.update"],
                                   counted_per="resource")  # fmt: skip
    answer = browser.post(f"/documents/{document}", headers=sign_in(boss))
    assert (answer.status_code, answer.json()) == (200, True)
    with house.world.owner(house.tenant) as conn:
        (acts,) = conn.execute("select count(*) from authz.duty_acts where person_id = %s", [boss]).fetchone()
    assert acts == 1
    with house.as_(boss) as tx:
        assert tx.authz.policies.delete_separation("apart")


def test_a_parameter_that_the_path_does_not_have_is_named(house, browser, sign_in):
    with pytest.raises(LookupError, match="/misnamed/x has no parameter document_id"):
        browser.get("/misnamed/x", headers=sign_in(house.person("super_admin")))
