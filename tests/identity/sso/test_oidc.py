"""OpenID Connect and OAuth 2.0 against a certified provider on loopback."""

from __future__ import annotations

import contextlib
import http.server
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import psycopg
import pytest

from enterprise_ai.identity import Request, open_for, open_session
from enterprise_ai.identity import errors as e
from enterprise_ai.identity.sso import Providers, SingleSignOn, Web
from enterprise_ai.identity.sso.errors import AnswerRefused, SignInRefused
from tests.identity.sso.browser import CALLBACK, Browser
from tests.identity.sso.conftest import Gate
from tests.identity.sso.node import free_port, running

LEFT = "http://127.0.0.1:9/left"


@dataclass
class OpenIdProvider:
    """The provider as it runs, and the logout tokens it has sent."""

    issuer: str
    client_id: str
    client_secret: str
    logout_tokens: queue.Queue[str]
    groups: Path


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, queue.Queue[str]]]:
    """An address that keeps the logout tokens posted to it."""
    tokens: queue.Queue[str] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(200)
            self.end_headers()
            tokens.put(parse_qs(body)["logout_token"][0])

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/logout", tokens
        server.shutdown()


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    port, groups = free_port(), tmp_path_factory.mktemp("directory") / "groups.json"
    groups.write_text("{}")
    with listening() as (address, tokens):
        client = {
            "client_id": "app", "client_secret": "a secret of theirs and ours",
            "redirect_uris": [CALLBACK], "post_logout_redirect_uris": [LEFT],
            "backchannel_logout_uri": address, "backchannel_logout_session_required": True,
            "scope": "openid profile email groups",
        }  # fmt: skip
        with running("oidc.mjs", str(port), json.dumps(client), str(groups)):
            yield OpenIdProvider(
                f"http://127.0.0.1:{port}", "app", str(client["client_secret"]), tokens, groups
            )


@pytest.fixture(scope="module")
def sso(secrets):
    return SingleSignOn(secrets, web=Web(allow_loopback=True))


@pytest.fixture
def conn(gate):
    with contextlib.closing(gate.world.connect("gateway")) as connection:
        yield connection


def add(gate, secrets, op, **settings):
    """The provider of the tenant; returns its id."""
    values = {
        "protocol": "oidc", "issuer": op.issuer, "client_id": op.client_id, "is_enabled": True, "creates_users": True,
        "links_verified_email": True, "scopes": ["openid", "profile", "email", "groups"], **settings,
    }  # fmt: skip
    with gate.world.connect("gateway") as conn:
        open_for(conn, gate.tenant.id)
        return Providers(conn, secrets).save("okta", client_secret=op.client_secret, **values)


@pytest.fixture
def provider(gate, secrets, op):
    return add(gate, secrets, op)


def begin(sso, conn, gate, **options):
    return sso.begin(conn, gate.tenant.id, "okta", redirect_uri=CALLBACK, return_to="/inbox", **options)


def sign_in(sso, conn, gate, browser=None, name="ada", **options):
    begun = begin(sso, conn, gate, **options)
    answer = (browser or Browser()).go(begun.url, name)
    return sso.complete(conn, answer, begun.browser_token, request=Request(ip_address="192.0.2.1"))


def is_alive(gate, token):
    with gate.world.connect("app") as conn:
        try:
            open_session(conn, token)
        except e.SessionOver:
            return False
        return True


def test_somebody_signs_in_and_has_a_session(gate, sso, conn, provider):
    signed_in = sign_in(sso, conn, gate)
    assert (signed_in.tenant_id, signed_in.return_to, signed_in.authentication_level) == (
        gate.tenant.id,
        "/inbox",
        1,
    )
    session = sso.start_session(conn, signed_in, is_refreshable=True)
    with gate.world.connect("app") as app:
        assert open_session(app, session.token).user_id == signed_in.user_id
    assert session.refresh_token is not None
    assert gate.owner(
        "select id, email, display_name, email_verified_at is not null from identity.users"
    ) == [(signed_in.user_id, "ada@corp.test", "ada of the directory", True)]
    assert gate.owner("select method, outcome, host(ip_address) from identity.login_attempts") == [
        ("sso", "success", "192.0.2.1")
    ]
    assert sign_in(sso, conn, gate).user_id == signed_in.user_id
    assert sign_in(sso, conn, gate, name="bob").user_id != signed_in.user_id


def test_the_request_is_what_the_protocol_wants(gate, sso, conn, provider):
    query = dict(
        parse_qsl(
            urlsplit(
                begin(sso, conn, gate, max_age=timedelta(0), acr_values=["x", "y"], login_hint="a@b").url
            ).query
        )
    )
    assert query.pop("state")
    assert query.pop("nonce")
    assert len(query.pop("code_challenge")) == 43
    assert query == {
        "response_type": "code", "client_id": "app", "redirect_uri": CALLBACK, "scope": "openid profile email groups",
        "code_challenge_method": "S256", "max_age": "0", "acr_values": "x y", "login_hint": "a@b",
    }  # fmt: skip


def test_groups_become_roles(gate, op, sso, conn, provider):
    gate.call("select identity.map_sso_role(%s, 'groups', 'leads', 'manager')", [provider])
    op.groups.write_text('{"ada": ["staff", "leads"]}')
    user = sign_in(sso, conn, gate).user_id
    assert gate.roles_of(user) == {"manager"}
    op.groups.write_text("{}")
    assert sign_in(sso, conn, gate).user_id == user
    assert gate.roles_of(user) == set()


def test_an_unverified_address_takes_nobody_over(gate, sso, conn, provider):
    gate.call("select * from identity.invite_user('ada@corp.test', 'Ada')")
    with pytest.raises(SignInRefused) as refused:
        sign_in(sso, conn, gate, name="unverified-ada")
    assert refused.value.outcome == "address_taken"
    assert gate.owner("select outcome from identity.login_attempts") == [("refused",)]  # committed


def test_an_answer_works_once_and_in_its_own_browser_only(gate, sso, conn, provider):
    begun, other = begin(sso, conn, gate), begin(sso, conn, gate)
    answer = Browser().go(begun.url)
    for token in (None, "", other.browser_token):
        with pytest.raises(e.SsoRequestNotFound):
            sso.complete(conn, answer, token)
    sso.complete(conn, answer, begun.browser_token)
    with pytest.raises(e.SsoRequestNotFound):
        sso.complete(conn, answer, begun.browser_token)


def test_a_code_works_once_and_for_its_own_sign_in_only(gate, sso, conn, provider):
    begun, other, third = (begin(sso, conn, gate) for _ in range(3))
    answer = Browser().go(begun.url)
    stolen = Browser().go(other.url)
    # One's own state with another's code: the code was made for another code verifier.
    with pytest.raises(AnswerRefused, match="does not accept the code"):
        sso.complete(conn, {**stolen, "code": answer["code"]}, other.browser_token)
    with pytest.raises(AnswerRefused, match="has no code"):
        sso.complete(conn, {**Browser().go(third.url), "code": ""}, third.browser_token)
    assert gate.owner("select id from identity.users") == []
    sso.complete(conn, answer, begun.browser_token)


def test_an_answer_of_another_provider_is_not_taken_here(gate, sso, conn, provider):
    begun = begin(sso, conn, gate)
    answer = Browser().go(begun.url)
    assert answer["iss"]
    with pytest.raises(AnswerRefused, match=r"is of https://evil\.test"):
        sso.complete(conn, {**answer, "iss": "https://evil.test"}, begun.browser_token)
    begun = begin(sso, conn, gate)
    answer = Browser().go(begun.url)
    del answer["iss"]  # the provider says that it always gives it
    with pytest.raises(AnswerRefused, match="does not say which provider"):
        sso.complete(conn, answer, begun.browser_token)


def test_a_refusal_at_the_provider_is_told(gate, sso, conn, provider):
    begun = begin(sso, conn, gate)
    state = dict(parse_qsl(urlsplit(begun.url).query))["state"]
    with pytest.raises(AnswerRefused, match="access_denied"):
        sso.complete(conn, {"state": state, "error": "access_denied"}, begun.browser_token)
    with pytest.raises(e.SsoRequestNotFound):
        sso.complete(conn, {"error": "access_denied"}, None)


def test_another_tenant_neither_has_the_provider_nor_its_answers(gate, world, sso, conn, provider):
    with pytest.raises(e.SsoProviderNotFound):
        sso.begin(conn, world.there.id, "okta", redirect_uri=CALLBACK)
    # The state leads to the tenant that began, whoever brings it.
    assert sign_in(sso, conn, gate).tenant_id == gate.tenant.id
    assert Gate(world, world.there).owner("select id from identity.user_sso_accounts") == []


def test_a_sign_in_too_long_ago_is_done_again(gate, sso, conn, provider):
    browser = Browser()
    first = sign_in(sso, conn, gate, browser)
    again = sign_in(sso, conn, gate, browser, max_age=timedelta(0))
    assert again.proved.claims["auth_time"] >= first.proved.claims["iat"] - 1


def test_who_must_have_a_second_factor_is_told_so(gate, sso, conn, provider):
    gate.owner(
        "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.mfa_requirement', '\"all\"')",
        [gate.tenant.id],
    )
    signed_in = sign_in(sso, conn, gate)
    assert signed_in.requires_second_factor
    with pytest.raises(e.SecondFactorRequired):
        sso.start_session(conn, signed_in)
    assert is_alive(gate, sso.start_session(conn, signed_in, authentication_level=2).token)


# Signing out


def test_signing_out_here_signs_out_at_the_provider(gate, op, sso, conn, provider):
    browser = Browser()
    signed_in = sign_in(sso, conn, gate, browser)
    session = sso.start_session(conn, signed_in)
    ((sealed,),) = gate.owner("select id_token from identity.sso_sessions")
    assert signed_in.proved.id_token.encode() not in sealed
    url = sso.sign_out.of_session(conn, gate.tenant.id, signed_in.user_id, session.id, return_to=LEFT)
    assert not is_alive(gate, session.token)
    assert (
        sso.sign_out.of_session(conn, gate.tenant.id, signed_in.user_id, session.id, return_to=LEFT) is None
    )
    assert url.startswith(op.issuer)
    assert browser.go(url, until=LEFT) == {}
    # The provider asks who it is again: another name is signed in.
    assert sign_in(sso, conn, gate, browser, name="bob").user_id != signed_in.user_id


def test_signing_out_at_the_provider_signs_out_here_once(gate, op, sso, conn, provider):
    browser = Browser()
    signed_in = sign_in(sso, conn, gate, browser)
    session = sso.start_session(conn, signed_in, is_refreshable=True)
    other = sso.start_session(conn, sign_in(sso, conn, gate, name="ada"))
    op.logout_tokens.queue.clear()  # those of other tests
    browser.go(f"{op.issuer}/session/end?client_id=app&post_logout_redirect_uri={LEFT}", until=LEFT)
    token = op.logout_tokens.get(timeout=20)
    assert is_alive(gate, session.token)
    assert sso.sign_out.by_back_channel(conn, gate.tenant.id, "okta", token) == 1
    assert not is_alive(gate, session.token)
    assert is_alive(gate, other.token)  # another session at the provider
    with pytest.raises(e.SsoReplay):
        sso.sign_out.by_back_channel(conn, gate.tenant.id, "okta", token)
    with pytest.raises(AnswerRefused):
        sso.sign_out.by_back_channel(conn, gate.tenant.id, "okta", signed_in.proved.id_token)


def test_the_front_channel_ends_the_providers_session(gate, op, sso, conn, provider):
    signed_in = sign_in(sso, conn, gate)
    session = sso.start_session(conn, signed_in)
    sid = signed_in.proved.provider_session_id
    with pytest.raises(AnswerRefused):
        sso.sign_out.by_front_channel(conn, gate.tenant.id, "okta", iss="https://evil.test", sid=sid)
    assert sso.sign_out.by_front_channel(conn, gate.tenant.id, "okta", iss=op.issuer, sid="other") == 0
    assert sso.sign_out.by_front_channel(conn, gate.tenant.id, "okta", iss=op.issuer, sid=sid) == 1
    assert not is_alive(gate, session.token)


# OAuth 2.0 without OpenID Connect


def test_a_provider_with_a_profile_only(gate, secrets, op, sso, conn):
    add(
        gate, secrets, op, protocol="oauth2", authorization_endpoint=f"{op.issuer}/auth",
        token_endpoint=f"{op.issuer}/token", userinfo_endpoint=f"{op.issuer}/me",
    )  # fmt: skip
    signed_in = sign_in(sso, conn, gate)
    assert (signed_in.proved.subject, signed_in.proved.id_token) == ("ada", None)
    assert gate.owner("select email from identity.users") == [("ada@corp.test",)]
    session = sso.start_session(conn, signed_in)
    assert (
        sso.sign_out.of_session(conn, gate.tenant.id, signed_in.user_id, session.id, return_to=LEFT) is None
    )
    assert not is_alive(gate, session.token)


# Secrets


def test_secrets_are_sealed_for_their_provider_and_resealed_under_a_new_key(gate, secrets, provider):
    from enterprise_ai.secrets import SecretBox, SecretNotGenuine

    ((sealed,),) = gate.owner("select client_secret from identity.sso_providers")
    assert b"theirs and ours" not in sealed
    both = SecretBox({"k2": bytes(32), "k1": bytes(range(32))})
    with gate.world.connect("gateway") as conn:
        open_for(conn, gate.tenant.id)
        assert (Providers(conn, both).reseal(), Providers(conn, both).reseal()) == (1, 0)
        alone = Providers(conn, SecretBox({"k2": bytes(32)}))
        assert alone.secrets_of(alone.get("okta")).client_secret == "a secret of theirs and ours"
        # Copied to another provider it does not open.
        other = alone.save("other", protocol="oidc", issuer="https://x.test", client_id="x")
    gate.owner(
        "update identity.sso_providers set client_secret = (select client_secret from identity.sso_providers where name = 'okta') where id = %s",
        [other],
    )
    with gate.world.connect("gateway") as conn:
        open_for(conn, gate.tenant.id)
        with pytest.raises(SecretNotGenuine):
            alone = Providers(conn, SecretBox({"k2": bytes(32)}))
            alone.secrets_of(alone.get("other"))


def test_signing_in_refuses_a_transaction_that_could_take_it_back(gate, sso, conn, provider):
    conn.execute("select 1")
    with pytest.raises(e.TransactionOpen):
        begin(sso, conn, gate)
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
