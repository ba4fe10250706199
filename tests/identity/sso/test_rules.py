"""Providers, their domains, requests under way, and sessions that end with the provider's."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading

import psycopg
import pytest
from psycopg.types.json import Jsonb

from enterprise_ai.identity import errors as e
from enterprise_ai.identity import open_session
from tests.identity.sso.conftest import Gate

SAVE = "select identity.save_sso_provider(%s, %s)"


@contextlib.contextmanager
def refused(sqlstate):
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.sqlstate == sqlstate


# Providers


def test_a_provider_is_made_and_changed_by_its_name(gate):
    made = gate.call(
        SAVE, ["okta", Jsonb({"protocol": "oidc", "issuer": "https://x.okta.com", "client_id": "c"})]
    )[0]
    assert gate.call(SAVE, ["okta", Jsonb({"display_name": "Okta", "scopes": ["openid"]})])[0] == made
    assert gate.owner("select display_name, scopes, is_enabled, client_id from identity.sso_providers") == [
        ("Okta", ["openid"], False, "c")
    ]


@pytest.mark.parametrize("settings", [{"client_secret": "x"}, {"tenant_id": "x"}, {"colour": "red"}])
def test_what_a_provider_does_not_have_is_refused(gate, settings):
    with refused("ZI037"):
        gate.call(SAVE, ["okta", Jsonb(settings)])


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"issuer": "http://login.example.com"}, "addresses_are_safe"),
        ({"issuer": "http://localhost.example.com"}, "addresses_are_safe"),
        ({"issuer": "file:///etc/passwd"}, "addresses_are_safe"),
        ({"token_endpoint": "http://169.254.169.254/"}, "addresses_are_safe"),
        ({"claim_names": {"mail": "email"}}, "claim_names_are_known"),
        ({"claim_names": []}, "claim_names_are_known"),
        ({"authentication_levels": {"mfa": 4}}, "authentication_levels_are_known"),
        ({"authentication_levels": {"mfa": "2"}}, "authentication_levels_are_known"),
        ({"required_claims": ["hd"]}, "required_claims_are_lists_of_text"),
        ({"required_claims": {"hd": "corp.test"}}, "required_claims_are_lists_of_text"),
        ({"required_claims": {"hd": []}}, "required_claims_are_lists_of_text"),
        ({"required_claims": {"hd": [None]}}, "required_claims_are_lists_of_text"),
        ({"required_claims": {"hd": ["corp.test", ""]}}, "required_claims_are_lists_of_text"),
        ({"required_claims": {"hd": ["corp.test"], "tid": [["x"]]}}, "required_claims_are_lists_of_text"),
        ({"protocol": "saml", "issuer": "urn:x"}, "have_what_their_protocol_needs"),
    ],
)
def test_values_that_do_not_fit_are_refused(gate, settings, rule):
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        gate.provider(**settings)
    assert rule in caught.value.diag.constraint_name


def test_a_provider_with_accounts_does_not_become_another(gate):
    provider = gate.provider()
    ((name,),) = gate.owner("select name from identity.sso_providers")
    elsewhere = Jsonb({"issuer": "https://elsewhere.example.com"})
    gate.call(SAVE, [name, elsewhere])
    gate.sign_in(provider, "s1", email="a@corp.test")
    with refused("ZI038"):
        gate.call(SAVE, [name, Jsonb({"issuer": "https://login.example.com"})])
    gate.call(SAVE, [name, elsewhere])


def test_secrets_are_read_by_those_who_sign_in_only(gate):
    provider = gate.provider()
    gate.call("select identity.set_sso_secrets(%s, 'sealed', null)", [provider])
    gate.call("select identity.set_sso_secrets(%s, null, 'key')", [provider])
    assert gate.call("select * from identity.sso_secrets(%s)", [provider]) == (b"sealed", b"key")
    for login in ("app", "operator"):
        for text in (
            "select client_secret from identity.sso_providers",
            "select * from identity.sso_secrets(null)",
        ):
            with gate.world.connect(login) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(text)
    with gate.world.connect("gateway") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select client_secret from identity.sso_providers")


# Domains


def claim(gate, provider, domain="corp.test"):
    return gate.call("select identity.claim_sso_domain(%s, %s)", [domain, provider])[0]


def verify(gate, texts, domain="corp.test", is_enforced=None):
    return gate.call("select identity.verify_sso_domain(%s, %s, %s)", [domain, texts, is_enforced])[0]


def route(gate, email):
    return gate.call("select * from identity.route_sso(%s)", [email])


def other_tenant(gate, slug):
    return Gate(gate.world, gate.world.new_tenant(slug))


@pytest.fixture
def domain(gate):
    """A domain that no other test has: they are unique across tenants."""
    return f"{gate.tenant.slug}.test"


def test_an_address_is_sent_to_its_domains_provider_once_the_domain_is_verified(gate, domain):
    provider = gate.provider()
    text = claim(gate, provider, domain.upper())
    assert route(gate, f"ada@{domain}") is None
    assert not verify(gate, ["something else"], domain)
    assert not verify(gate, None, domain)
    assert verify(gate, [text], domain)
    assert route(gate, f"Ada@{domain.upper()}") == (gate.tenant.id, provider, False)
    for email in (f"ada@sub.{domain}", f"ada@{domain}.evil", domain, f"@{domain}@x", "", None):
        assert route(gate, email) is None
    other = gate.provider()
    assert claim(gate, other, domain) == text
    assert route(gate, f"ada@{domain}").provider_id == other
    assert gate.call("select * from identity.sso_domains_of(%s)", [other]).domain == domain
    assert gate.call("select identity.release_sso_domain(%s)", [domain])[0]
    assert route(gate, f"ada@{domain}") is None
    with refused("ZI036"):
        verify(gate, [text], domain)


def test_a_domain_belongs_to_the_tenant_that_shows_it(gate, domain):
    squatter = other_tenant(gate, "squatter")
    theirs = claim(squatter, squatter.provider(), domain)
    text = claim(gate, gate.provider(), domain)
    assert text != theirs
    assert verify(gate, [text], domain)
    with pytest.raises(psycopg.errors.UniqueViolation):
        verify(squatter, [theirs], domain)
    with refused("ZI035"):
        claim(squatter, squatter.provider(), domain)
    assert route(gate, f"x@{domain}").tenant_id == gate.tenant.id


def test_people_of_an_enforced_domain_do_not_sign_in_by_password(gate, domain):
    provider = gate.provider()
    user = gate.call("select * from identity.invite_user(%s, 'Ada')", [f"ada@{domain}"]).user_id
    gate.call("select identity.activate_user(%s)", [user])
    gate.call("select identity.set_password(%s, '$argon2id$v=19$x')", [user])
    verify(gate, [claim(gate, provider, domain)], domain)
    begin = "select * from identity.begin_login(%s)"
    assert gate.call(begin, [f"ada@{domain}"]).password_hash is not None
    verify(gate, [claim(gate, provider, domain)], domain, is_enforced=True)
    attempt = gate.call(begin, [f"ada@{domain}"])
    assert attempt.password_hash is None
    assert (
        gate.call("select * from identity.finish_login(%s, true)", [attempt.attempt_id]).outcome == "refused"
    )
    gate.owner("update identity.sso_providers set is_enabled = false")
    assert gate.call(begin, [f"ada@{domain}"]).password_hash is not None


# Requests under way

BEGIN = "select * from identity.begin_sso_request(%s, 'https://app.test/back', %s, 'nonce', 'verifier')"
TAKE = "select * from identity.take_sso_request(%s, %s)"


def test_a_request_comes_back_once(gate):
    provider = gate.provider()
    begun = gate.call(BEGIN, [provider, "/inbox"])
    assert len(begun.state) == 64
    with gate.world.connect("gateway", row_factory=psycopg.rows.namedtuple_row) as conn:  # no context
        taken = conn.execute(TAKE, begun).fetchone()
        assert conn.execute("select platform.context()").fetchone() == (None,)
    assert taken[:6] == (gate.tenant.id, provider, "https://app.test/back", "/inbox", "nonce", "verifier")
    with refused("ZI032"):
        gate.call(TAKE, begun)


def test_a_request_comes_back_to_its_own_browser_and_in_time_only(gate):
    provider = gate.provider()
    one, two = gate.call(BEGIN, [provider, "/"]), gate.call(BEGIN, [provider, "/"])
    for values in ([one.state, two.browser_token], [one.state, None], [one.state, ""], [None, one.browser_token],
                   ["x" * 64, one.browser_token], ["short", one.browser_token]):  # fmt: skip
        with refused("ZI032"):
            gate.call(TAKE, values)
    assert gate.call(TAKE, one).return_to == "/"
    gate.owner("update identity.sso_requests set expires_at = now() - interval '1 second'")
    with refused("ZI032"):
        gate.call(TAKE, two)
    gate.call(BEGIN, [provider, "/"])
    assert gate.owner("select count(*) from identity.sso_requests") == [(1,)]  # what is over is swept


def test_of_many_who_come_back_at_once_one_goes_on(gate):
    begun = gate.call(BEGIN, [gate.provider(), "/"])
    barrier = threading.Barrier(10)

    def take(_):
        with gate.world.connect("gateway", row_factory=psycopg.rows.namedtuple_row) as conn:
            barrier.wait(60)
            with contextlib.suppress(psycopg.Error):
                return conn.execute(TAKE, begun).fetchone().return_to
            return conn.info.error_message

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(take, range(10)))
    assert answers.count("/") == 1
    assert sum("was not begun in this browser" in answer for answer in answers) == 9


@pytest.mark.parametrize(
    "page", ["https://evil.test", "//evil.test", "/\\evil.test", "\\", "inbox", "", "/a\nb", "/\t/evil.test"]
)
def test_nobody_is_sent_on_to_somewhere_else(gate, page):
    with pytest.raises(psycopg.errors.CheckViolation, match="return_to_our_own"):
        gate.call(BEGIN, [gate.provider(), page])


def test_nothing_begins_with_a_provider_that_is_not_enabled(gate):
    with refused("ZI031"):
        gate.call(BEGIN, [gate.provider(is_enabled=False), "/"])


def test_an_assertion_is_accepted_once(gate):
    provider, other = gate.provider(), gate.provider()
    use = "select identity.use_sso_id(%s, 'id1', now() + %s)"
    gate.call(use, [provider, "5 minutes"])
    gate.call(use, [other, "5 minutes"])
    with refused("ZI033"):
        gate.call(use, [provider, "5 minutes"])
    gate.owner("update identity.sso_used_ids set expires_at = now() - interval '1 second'")
    gate.call(use, [provider, "5 minutes"])


# Sessions


def test_sessions_end_when_the_provider_says_so(gate):
    provider, other = gate.provider(), gate.provider()
    ada = gate.sign_in(provider, "ada", email="a@corp.test")
    bob = gate.sign_in(provider, "bob", email="b@corp.test")
    tokens = {}
    for person, answer, sid in (("ada", ada, "x"), ("ada2", ada, "y"), ("bob", bob, "z")):
        session = gate.call("select * from identity.start_session(%s)", [answer.user_id])
        gate.call(
            "select identity.note_sso_session(%s, %s, %s, 'sealed')",
            [session.session_id, answer.account_id, sid],
        )
        tokens[person] = session
    local = gate.call("select * from identity.start_session(%s)", [ada.user_id])

    def living():
        found = set()
        for name, session in {**tokens, "local": local}.items():
            with gate.world.connect("app") as conn, contextlib.suppress(e.SessionOver):
                open_session(conn, session.session_token)
                found.add(name)
        return found

    assert gate.call("select * from identity.sso_session(%s)", [tokens["bob"].session_id]) == (
        provider,
        "bob",
        "z",
        b"sealed",
    )
    assert gate.call("select * from identity.sso_session(%s)", [local.session_id]) is None
    end = "select identity.end_sso_sessions(%s, %s, %s)"
    with refused("ZI034"):
        gate.call(end, [provider, None, None])
    assert gate.call(end, [other, "ada", None])[0] == 0
    assert gate.call(end, [provider, "bob", "x"])[0] == 0
    assert gate.call(end, [provider, None, "y"])[0] == 1
    assert living() == {"ada", "bob", "local"}
    assert gate.call(end, [provider, "ada", None])[0] == 1
    assert living() == {"bob", "local"}
    gate.call("select identity.delete_sso_provider(%s)", [provider])
    assert living() == {"local"}
    with refused("ZI030"):
        gate.call("select identity.delete_sso_provider(%s)", [provider])
