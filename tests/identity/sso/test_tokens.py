"""Which tokens are believed: our own provider on loopback, so that it can sign what no real one would."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from enterprise_ai.identity.sso import Web
from enterprise_ai.identity.sso.errors import AnswerRefused
from enterprise_ai.identity.sso.metadata import Metadata
from enterprise_ai.identity.sso.tokens import LEEWAY_SECONDS, Tokens

EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Publisher:
    """A provider that publishes what it is told to, counts who asks for its keys, and signs anything."""

    def __init__(self, address: str) -> None:
        self.issuer = address
        self.key = self.new_key("first")
        self.published: list[dict[str, Any]] = [self.key.as_dict(private=False)]
        self.metadata = {"issuer": address, "jwks_uri": address + "/keys"}
        self.asked_for_keys = 0

    @staticmethod
    def new_key(name: str) -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            self.asked_for_keys += 1
            return {"keys": self.published}
        return self.metadata

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": "us",
            "exp": now + 300,
            "iat": now,
            "nonce": "n",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, key: Any = None, alg: str = "RS256", **changes: Any) -> str:
        key = key or self.key
        return jwt.encode({"alg": alg, "kid": key.kid}, self.claims(**changes), key, algorithms=[alg])


@pytest.fixture
def provider() -> Iterator[Publisher]:
    made: list[Publisher] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(made[0].answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.append(Publisher(f"http://127.0.0.1:{server.server_port}"))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield made[0]
        server.shutdown()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(provider: Publisher, clock: Clock) -> Tokens:
    return Tokens(Metadata(Web(allow_loopback=True), clock=clock), provider.issuer, "us")


def refused(tokens: Tokens, token: str, match: str | None = None, **options: Any) -> None:
    with pytest.raises(AnswerRefused, match=match):
        tokens.id_token(token, nonce="n", **options)


def test_a_token_in_order_is_believed(provider, tokens):
    assert tokens.id_token(provider.signed(), nonce="n")["sub"] == "ada"
    assert tokens.id_token(provider.signed(aud=["us", "them"], azp="us"), nonce="n")["sub"] == "ada"


@pytest.mark.parametrize("changes", [
    {"iss": "https://evil.test"}, {"aud": "them"}, {"aud": ["us", "them"]}, {"aud": ["us", "them"], "azp": "them"},
    {"azp": "them"}, {"nonce": "another"}, {"nonce": None}, {"sub": None}, {"exp": None}, {"iat": None}, {"aud": None},
    {"exp": "soon"}, {"nbf": 4_000_000_000},
], ids=str)  # fmt: skip
def test_claims_that_are_wrong_or_missing(provider, tokens, changes):
    refused(tokens, provider.signed(**changes))


def test_clocks_may_differ_by_a_minute_and_no_more(provider, tokens):
    now = int(time.time())
    edge = LEEWAY_SECONDS - 20
    assert tokens.id_token(provider.signed(exp=now - edge), nonce="n")
    assert tokens.id_token(provider.signed(iat=now + edge, exp=now + 300), nonce="n")
    refused(tokens, provider.signed(exp=now - LEEWAY_SECONDS - 20))
    refused(tokens, provider.signed(iat=now + LEEWAY_SECONDS + 20, exp=now + 300))


def test_who_signed_in_there_too_long_ago(provider, tokens):
    now, an_hour = int(time.time()), timedelta(hours=1)
    assert tokens.id_token(provider.signed(auth_time=now - 3000), nonce="n", max_age=an_hour)
    for at in (now - 4000, None, True, "now"):
        refused(tokens, provider.signed(auth_time=at), "auth_time", max_age=an_hour)


def test_no_algorithm_but_the_providers_own(provider, tokens):
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    for alg in ("none", "None", "NONE", ""):
        refused(tokens, f"{part({'alg': alg})}.{part(provider.claims())}.", "not accepted")
    # The public key as the secret of a code: whoever verifies carelessly takes it.
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(provider.claims())}"
    code = hmac.digest(provider.key.as_pem(private=False), signed.encode(), "sha256")
    forged = f"{signed}.{base64.urlsafe_b64encode(code).decode().rstrip('=')}"
    refused(tokens, forged, "not accepted")
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "HS256", "none"]
    refused(tokens, forged, "not accepted")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "e30.e30.e30", "null.e30.x", "W10.e30.x"])
def test_what_is_no_token(tokens, token):
    refused(tokens, token)


def test_a_key_that_is_not_the_providers(provider, tokens):
    refused(tokens, provider.signed(provider.new_key("first")))
    refused(tokens, provider.signed(provider.new_key("unheard of")))


def test_keys_roll_over_without_anybody_noticing(provider, tokens, clock):
    old = provider.key
    assert tokens.id_token(provider.signed(), nonce="n")
    provider.key = provider.new_key("second")
    provider.published = [old.as_dict(private=False), provider.key.as_dict(private=False)]
    clock.now += 60
    assert tokens.id_token(provider.signed(), nonce="n")
    assert tokens.id_token(provider.signed(old), nonce="n")
    provider.published = provider.published[1:]
    clock.now += 3601
    assert tokens.id_token(provider.signed(), nonce="n")
    refused(tokens, provider.signed(old))


def test_unknown_keys_make_nobody_ask_again_and_again(provider, tokens, clock):
    assert tokens.id_token(provider.signed(), nonce="n")
    stranger = provider.new_key("made up")
    for _ in range(20):
        refused(tokens, provider.signed(stranger))
    assert provider.asked_for_keys == 1
    clock.now += 31
    refused(tokens, provider.signed(stranger))
    refused(tokens, provider.signed(stranger))
    assert provider.asked_for_keys == 2


def test_a_provider_that_calls_itself_something_else(provider, tokens):
    provider.metadata = {**provider.metadata, "issuer": "https://login.example.com"}
    refused(tokens, provider.signed(), "calls itself")


def test_secret_keys_among_the_published_are_no_keys(provider, tokens):
    secret = OctKey.generate_key(256, {"kid": "shared"})
    private = provider.new_key("private")
    provider.published += [secret.as_dict(private=True), private.as_dict(private=True)]
    refused(tokens, provider.signed(private))
    assert tokens.id_token(provider.signed(), nonce="n")


def logout(provider: Publisher, **changes: Any) -> str:
    return provider.signed(**{"nonce": None, "jti": "1", "sid": "s", "events": {EVENT: {}}, **changes})


def test_a_logout_token_in_order(provider, tokens):
    assert tokens.logout_token(logout(provider))["sid"] == "s"
    assert tokens.logout_token(logout(provider, sub=None))["sid"] == "s"


@pytest.mark.parametrize("changes", [
    {"nonce": "n"}, {"events": {}}, {"events": None}, {"events": [EVENT]}, {"jti": None}, {"sub": None, "sid": None},
    {"aud": "them"}, {"iss": "https://evil.test"}, {"exp": 1}, {"exp": 4_000_000_000}, {"exp": None}, {"iat": None},
], ids=str)  # fmt: skip
def test_a_logout_token_that_is_not(provider, tokens, changes):
    with pytest.raises(AnswerRefused):
        tokens.logout_token(logout(provider, **changes))
