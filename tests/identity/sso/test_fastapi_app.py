"""The example application over real HTTP, with people who sign in at a certified provider on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin

import psycopg
import pytest
import requests
import uvicorn
from fastapi import FastAPI

from enterprise_ai.client import Transaction, connect
from enterprise_ai.fastapi import Opened
from enterprise_ai.identity import open_for
from enterprise_ai.identity.sso import Providers, SingleSignOn, Web
from examples.fastapi_app.main import create_app
from tests.identity.sso.browser import Browser
from tests.identity.sso.node import free_port, running


@contextlib.contextmanager
def served(app: FastAPI, port: int) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the application did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def url_of(world, login: str) -> str:
    return world.server.url(world.name, f"{login}_login")


@pytest.fixture
def site(gate, secrets, tmp_path) -> Iterator[str]:
    """The example, and a provider for corp.test that knows it."""
    port, provider_port = free_port(), free_port()
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({"ada": ["staff"]}))
    client = {"client_id": "app", "client_secret": "known to both of us",
              "redirect_uris": [f"http://127.0.0.1:{port}/back"],
              "post_logout_redirect_uris": [f"http://127.0.0.1:{port}/"],
              "scope": "openid profile email groups"}  # fmt: skip
    with running("oidc.mjs", str(provider_port), json.dumps(client), str(groups)):
        with gate.world.connect("gateway") as conn:
            open_for(conn, gate.tenant.id)
            providers = Providers(conn, secrets)
            provider = providers.save(
                "corp", client_secret=client["client_secret"], protocol="oidc",
                issuer=f"http://127.0.0.1:{provider_port}", client_id="app", is_enabled=True, creates_users=True,
                scopes=["openid", "profile", "email", "groups"],
            )  # fmt: skip
            providers.map_role(provider, "groups", "staff", "viewer")
            domain = f"{gate.tenant.slug}.corp.test"
            text = providers.claim_domain(provider, domain)
            assert providers.verify_domain(domain, [text])
        sso = SingleSignOn(secrets, web=Web(allow_loopback=True))
        app = create_app(
            connect(url_of(gate.world, "app")), connect(url_of(gate.world, "gateway")), sso, is_secure=False
        )
        with served(app, port) as address:
            yield address


def sign_in(site: str, gate: Any, browser: Browser, name: str) -> requests.Response:
    """Through the whole chain of redirects; returns what /back answers."""
    page = f"{site}/login?email={name}@{gate.tenant.slug}.corp.test"
    started = browser.get(page, allow_redirects=False, timeout=10)
    assert started.status_code == 303, started.text
    answer = browser.go(urljoin(site, started.headers["Location"]), name, until=f"{site}/back")
    return browser.get(f"{site}/back", params=answer, allow_redirects=False, timeout=10)


def test_somebody_signs_in_sees_what_they_may_and_signs_out(site, gate):
    browser = Browser()
    assert browser.get(f"{site}/people", timeout=10).status_code == 401
    back = sign_in(site, gate, browser, "ada")
    assert (back.status_code, back.headers["Location"]) == (303, "/people")
    assert browser.get(f"{site}/people", timeout=10).json() == ["ada@corp.test"]

    left = browser.post(f"{site}/logout", allow_redirects=False, timeout=10)
    assert left.status_code == 303
    assert "/session/end" in left.headers["Location"]
    assert browser.get(f"{site}/people", timeout=10).status_code == 401


def test_who_has_no_role_is_told_what_it_takes(site, gate):
    browser = Browser()
    sign_in(site, gate, browser, "bob")  # in no group
    refused = browser.get(f"{site}/people", timeout=10)
    assert (refused.status_code, refused.json()) == (403, {"detail": "It takes user.read"})


def test_an_address_that_is_nobodys_leads_nowhere(site):
    answer = requests.get(f"{site}/login?email=x@nobody.test", allow_redirects=False, timeout=10)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_another_site_ends_nobodys_session(site, gate, headers):
    browser = Browser()
    sign_in(site, gate, browser, "ada")
    refused = browser.post(f"{site}/logout", headers=headers, allow_redirects=False, timeout=10)
    assert refused.status_code == 403
    assert browser.get(f"{site}/people", timeout=10).status_code == 200


def test_an_answer_does_not_sign_in_another_browser(site, gate):
    browser = Browser()
    started = browser.get(
        f"{site}/login?email=ada@{gate.tenant.slug}.corp.test", allow_redirects=False, timeout=10
    )
    answer = browser.go(started.headers["Location"], "ada", until=f"{site}/back")
    stolen = requests.get(f"{site}/back", params=answer, allow_redirects=False, timeout=10)
    assert stolen.status_code >= 400
    assert "session" not in stolen.cookies


# The dependency by itself


@pytest.fixture
def application(gate) -> Iterator[tuple[FastAPI, Any]]:
    with connect(url_of(gate.world, "app"), max_connections=2) as client:
        opened = Opened(client)
        app = FastAPI()

        @app.get("/me")
        def me(tx: Transaction = opened.transaction) -> str:
            tx.conn.execute("select pg_sleep(0.01)")
            return str(tx.context.user_id)

        @app.get("/lost")
        def lost(tx: Transaction = opened.transaction) -> str:
            # The server goes away behind the function's back: there is nothing left to commit.
            with pytest.raises(psycopg.OperationalError):
                tx.conn.execute("select pg_terminate_backend(pg_backend_pid())")
            return "done"

        yield app, gate


def session_of(gate: Any, name: str) -> tuple[Any, str]:
    person = gate.world.new_person(gate.tenant, name)
    return person, gate.world.new_session(gate.tenant, person).session_token


def test_more_requests_than_connections_all_get_their_turn(application):
    app, gate = application
    person, token = session_of(gate, "busy")
    with served(app, free_port()) as site, ThreadPoolExecutor(60) as pool:

        def ask(_: int) -> str:
            return requests.get(f"{site}/me", headers={"Authorization": f"Bearer {token}"}, timeout=60).json()

        assert set(pool.map(ask, range(120))) == {str(person)}


def test_nobody_is_told_of_success_before_the_commit(application):
    app, gate = application
    _, token = session_of(gate, "unlucky")
    with served(app, free_port()) as site:
        answer = requests.get(f"{site}/lost", headers={"Authorization": f"Bearer {token}"}, timeout=20)
        assert answer.status_code == 500


def test_keys_and_sessions_open_and_nothing_else_does(application):
    app, gate = application
    person, token = session_of(gate, "keyed")
    with gate.world.connect("gateway") as conn:
        conn.execute("select platform.open_context(%s, %s)", [gate.tenant.id, person])
        (key,) = conn.execute("select key from identity.create_api_key('ci')").fetchone()
    with served(app, free_port()) as site:

        def status(value: str) -> int:
            return requests.get(f"{site}/me", headers={"Authorization": value}, timeout=20).status_code

        given = [
            f"Bearer {token}",
            f"bearer {key}",
            f"Bearer {token[:-1]}",
            f"Basic {token}",
            "Bearer",
            "Bearer eai_k_x",
        ]
        assert [status(value) for value in given] == [200, 200, 401, 401, 401, 401]
        gate.owner("update identity.users set status = 'suspended' where id = %s", [person])
        assert status(f"Bearer {key}") == 403
