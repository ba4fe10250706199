"""Whom a provider's account signs in: found by subject, joined by a verified address where that is allowed, or made."""

from __future__ import annotations

import concurrent.futures
import threading

import psycopg
import pytest
from psycopg.types.json import Jsonb

from enterprise_ai.identity import ApiKeys, open_api_key, open_for, open_session
from enterprise_ai.identity import errors as e

ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"


def verified(email, **claims):
    return {"email": email, "email_verified": True, **claims}


def test_a_first_sign_in_makes_a_user_and_the_next_ones_find_it(gate):
    provider = gate.provider()
    first = gate.sign_in(provider, "s1", **verified("ada@corp.test", name="Ada", given_name="Ada"))
    assert (first.outcome, first.authentication_level) == ("success", 1)
    assert gate.owner("select email, display_name, status, email_verified_at is not null, external_id from identity.users") == [
        ("ada@corp.test", "Ada", "active", True, None)
    ]  # fmt: skip
    assert gate.owner("select given_name from identity.user_profiles") == [("Ada",)]

    # By subject, whatever the address; what the provider says now is kept, but the user's own address is not changed.
    again = gate.sign_in(provider, "s1", **verified("ada.lovelace@corp.test", name="Ada Lovelace"))
    assert (again.user_id, again.account_id) == (first.user_id, first.account_id)
    assert gate.owner("select email, display_name from identity.users") == [("ada@corp.test", "Ada Lovelace")]
    assert gate.owner("select email, email_verified from identity.user_sso_accounts") == [
        ("ada.lovelace@corp.test", True)
    ]
    assert gate.owner("select method, outcome, email from identity.login_attempts order by id") == [
        ("sso", "success", "ada@corp.test"), ("sso", "success", "ada.lovelace@corp.test"),
    ]  # fmt: skip


def test_nobody_is_made_where_the_provider_may_not(gate):
    provider = gate.provider(creates_users=False)
    answer = gate.sign_in(provider, "s1", **verified("ada@corp.test"))
    assert (answer.outcome, answer.user_id, answer.account_id) == ("not_invited", None, None)
    assert gate.owner("select id from identity.users") == []
    assert gate.owner("select outcome from identity.login_attempts") == [("refused",)]


@pytest.mark.parametrize(
    "claims", [{}, {"email": "no address"}, {"email": " "}, {"email": 7}, {"email": None}]
)
def test_nobody_is_made_without_an_address(gate, claims):
    assert gate.sign_in(gate.provider(), "s1", **claims).outcome == "no_address"


def test_a_disabled_provider_signs_nobody_in(gate):
    provider = gate.provider()
    gate.sign_in(provider, "s1", **verified("ada@corp.test"))
    gate.owner("update identity.sso_providers set is_enabled = false")
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test")).outcome == "provider_disabled"


def test_who_was_removed_comes_back_as_somebody_else(gate):
    provider = gate.provider()
    claims = verified("ada@corp.test")
    removed = gate.sign_in(provider, "s1", **claims).user_id
    gate.call("select identity.remove_user(%s)", [removed])
    gate.owner("update identity.sso_providers set creates_users = false")
    assert gate.sign_in(provider, "s1", **claims).outcome == "not_invited"
    gate.owner("update identity.sso_providers set creates_users = true")
    new = gate.sign_in(provider, "s1", **claims)
    assert (new.outcome, new.user_id == removed) == ("success", False)
    assert gate.owner("select status, deleted_at is null from identity.users order by created_at") == [
        ("deactivated", False),
        ("active", True),
    ]


def test_a_provider_of_another_tenant_is_not_there(world, gate):
    other = type(gate)(world, world.here)
    provider = other.provider()
    with pytest.raises(psycopg.Error) as refused:
        gate.sign_in(provider, "s1", **verified("ada@corp.test"))
    assert refused.value.sqlstate == "ZI030"
    # Nor does an account there count here.
    other.sign_in(provider, "s1", **verified("ada@corp.test"))
    assert gate.owner("select id from identity.user_sso_accounts") == []


# Who may come at all


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"hd": "corp.test"}, "success"),
        ({"hd": "corp.example"}, "success"),
        ({"hd": ["other.test", "corp.test"]}, "success"),
        ({}, "claims_refused"),  # an account of nobody's company, with whatever address
        ({"hd": None}, "claims_refused"),
        ({"hd": ""}, "claims_refused"),
        ({"hd": "evil.test"}, "claims_refused"),
        ({"hd": "corp.test.evil"}, "claims_refused"),
        ({"hd": "CORP.test"}, "claims_refused"),
        ({"hd": []}, "claims_refused"),
        ({"hd": {"corp.test": "corp.test"}}, "claims_refused"),
        ({"HD": "corp.test"}, "claims_refused"),
    ],
)
def test_only_who_brings_a_required_claim_comes_in(gate, claims, outcome):
    provider = gate.provider(required_claims={"hd": ["corp.test", "corp.example"]})
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test", **claims)).outcome == outcome


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"tid": "t1", "realm": {"roles": ["staff", "x"]}, "mfa": True}, "success"),
        ({"tid": "t1", "realm": {"roles": ["guest"]}, "mfa": True}, "claims_refused"),
        ({"tid": "t1", "realm": {"roles": ["staff"]}, "mfa": False}, "claims_refused"),
        ({"realm": {"roles": ["staff"]}, "mfa": True}, "claims_refused"),
    ],
)
def test_all_the_claims_that_are_required_must_be_there(gate, claims, outcome):
    provider = gate.provider(required_claims={"tid": ["t1"], "realm.roles": ["staff"], "mfa": ["true"]})
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test", **claims)).outcome == outcome


def test_who_does_not_bring_the_claim_changes_nothing(gate):
    """An address of somebody here neither joins nor disowns them, though the provider has verified it."""
    provider = gate.provider(required_claims={"hd": ["corp.test"]}, links_verified_email=True)
    bob = gate.world.new_person(gate.tenant, "bob")
    session = gate.world.new_session(gate.tenant, bob)
    answer = gate.sign_in(provider, "s1", **verified(f"bob@{gate.tenant.slug}.test"))
    assert (answer.outcome, answer.user_id, answer.account_id) == ("claims_refused", None, None)
    assert gate.owner("select id from identity.user_sso_accounts") == []
    assert gate.owner("select email_verified_at, status from identity.users") == [(None, "active")]
    assert gate.owner("select outcome, user_id from identity.login_attempts where method = 'sso'") == [
        ("refused", None)
    ]
    with gate.world.connect("app") as conn:
        conn.execute("select platform.open_session_context(%s)", [session.session_token])


def test_the_claim_is_asked_for_at_each_sign_in(gate):
    provider = gate.provider()
    gate.sign_in(provider, "s1", **verified("ada@corp.test"))
    gate.owner('update identity.sso_providers set required_claims = \'{"hd": ["corp.test"]}\'')
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test")).outcome == "claims_refused"
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test", hd="corp.test")).outcome == "success"


# Joining an account that is there


def invite(gate, email="ada@corp.test"):
    return gate.call("select * from identity.invite_user(%s, 'Ada')", [email]).user_id


def local(gate, email="ada@corp.test", *, is_verified=True):
    """A user with a password, a session, an API key and a second factor."""
    user = invite(gate, email)
    gate.call("select identity.activate_user(%s)", [user])
    gate.call("select identity.set_password(%s, %s)", [user, ARGON])
    gate.owner(
        "update identity.users set email_verified_at = case when %s then now() end where id = %s",
        [is_verified, user],
    )
    gate.owner(
        "insert into identity.mfa_factors (tenant_id, user_id, kind, name, totp_secret) values (%s, %s, 'totp', 'phone', %s)",
        [gate.tenant.id, user, b"\x01" * 60],
    )
    return user


def session_of(gate, user):
    return gate.call("select * from identity.start_session(%s)", [user]).session_token


def lives(gate, token):
    with gate.world.connect("app") as conn:
        try:
            open_session(conn, token)
        except e.SessionOver:
            return False
        return True


def test_a_verified_address_joins_where_the_provider_may(gate):
    user = local(gate)
    token = session_of(gate, user)
    answer = gate.sign_in(gate.provider(links_verified_email=True), "s1", **verified("ADA@corp.test"))
    assert (answer.outcome, answer.user_id) == ("success", user)
    # The owner of a verified address keeps what they had.
    assert lives(gate, token)
    assert len(gate.owner("select 1 from identity.user_passwords")) == 1


def test_an_invited_user_comes_in_by_the_address(gate):
    user = invite(gate)
    answer = gate.sign_in(gate.provider(links_verified_email=True), "s1", **verified("ada@corp.test"))
    assert (answer.outcome, answer.user_id) == ("success", user)
    assert gate.owner("select status, email_verified_at is not null from identity.users") == [
        ("active", True)
    ]


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ada@corp.test"},
        {"email": "ada@corp.test", "email_verified": False},
        {"email": "ada@corp.test", "email_verified": "false"},
        {"email": "ada@corp.test", "email_verified": "yes"},
        {"email": "ada@corp.test", "email_verified": 1},
        {"email": "ada@corp.test", "email_verified": None},
        {"email": "ada@corp.test", "email_verified": {}},
    ],
)
def test_an_unverified_address_takes_nobody_over(gate, claims):
    user = local(gate)
    answer = gate.sign_in(gate.provider(links_verified_email=True), "s1", **claims)
    assert (answer.outcome, answer.user_id) == ("address_taken", None)
    assert gate.owner("select user_id from identity.user_sso_accounts") == []
    assert len(gate.owner("select 1 from identity.user_passwords where user_id = %s", [user])) == 1


def test_a_verified_address_does_not_join_where_the_provider_may_not(gate):
    local(gate)
    assert gate.sign_in(gate.provider(), "s1", **verified("ada@corp.test")).outcome == "address_taken"


def test_an_account_whose_address_was_never_verified_loses_what_lets_in_before_it_is_joined(gate):
    user = local(gate, is_verified=False)
    token = session_of(gate, user)
    with gate.world.connect("gateway") as conn:
        open_for(conn, gate.tenant.id, user)
        key = ApiKeys(conn).create("robot").key
        conn.execute("select platform.open_context(%s)", [gate.tenant.id])
        assert len(conn.execute("select identity.new_recovery_codes(%s)", [user]).fetchall()) == 10
    answer = gate.sign_in(gate.provider(links_verified_email=True), "s1", **verified("ada@corp.test"))
    assert (answer.outcome, answer.user_id) == ("success", user)
    assert not lives(gate, token)
    with gate.world.connect("app") as conn, pytest.raises(e.ApiKeyNotValid):
        open_api_key(conn, key)
    for table in ("user_passwords", "mfa_factors", "mfa_recovery_codes"):
        assert gate.owner(f"select user_id from identity.{table}") == []
    assert gate.owner("select email_verified_at is not null from identity.users") == [(True,)]


def test_an_account_planted_through_a_provider_is_taken_from_who_planted_it(gate):
    """Before the owner of the address comes: an account of it, made by another who could not verify it."""
    shared = {"linking_domain": "social", "links_verified_email": True}
    careless, careful = gate.provider(**shared), gate.provider(**shared)
    planted = gate.sign_in(careless, "mallory", email="ada@corp.test")
    token = session_of(gate, planted.user_id)
    answer = gate.sign_in(careful, "ada", **verified("ada@corp.test"))
    assert answer.user_id == planted.user_id
    assert not lives(gate, token)
    assert gate.owner("select subject from identity.user_sso_accounts") == [("ada",)]
    assert gate.sign_in(careless, "mallory", email="ada@corp.test").outcome == "address_taken"


def test_providers_join_each_others_accounts_within_a_linking_domain_only(gate):
    shared = {"linking_domain": "social", "links_verified_email": True}
    one, two = gate.provider(**shared), gate.provider(**shared)
    elsewhere = gate.provider(linking_domain="partners", links_verified_email=True)
    alone, alone_too = gate.provider(links_verified_email=True), gate.provider(links_verified_email=True)
    first = gate.sign_in(one, "s1", **verified("ada@corp.test"))
    assert gate.sign_in(two, "t1", **verified("ada@corp.test")).user_id == first.user_id
    assert gate.sign_in(elsewhere, "u1", **verified("ada@corp.test")).outcome == "address_taken"
    assert gate.sign_in(alone, "v1", **verified("ada@corp.test")).outcome == "address_taken"
    # Each enterprise provider is a linking domain of its own.
    gate.sign_in(alone, "v2", **verified("bob@corp.test"))
    assert gate.sign_in(alone_too, "w2", **verified("bob@corp.test")).outcome == "address_taken"
    assert gate.sign_in(one, "s2", **verified("bob@corp.test")).outcome == "address_taken"


@pytest.mark.parametrize("linking_domain", [None, "social"])
def test_an_address_given_to_somebody_else_leads_to_nobodys_account(gate, linking_domain):
    provider = gate.provider(links_verified_email=True, linking_domain=linking_domain)
    gate.sign_in(provider, "ada", **verified("a@corp.test"))
    assert gate.sign_in(provider, "alan", **verified("a@corp.test")).outcome == "address_taken"


def test_addresses_in_a_verified_domain_of_the_provider_count_as_verified(gate):
    provider = gate.provider(links_verified_email=True)
    user = local(gate)
    text = gate.call("select identity.claim_sso_domain('Corp.Test', %s)", [provider])[0]
    assert gate.sign_in(provider, "s1", email="ada@corp.test").outcome == "address_taken"
    assert gate.call("select identity.verify_sso_domain('corp.test', %s)", [["v=spf1", text]])[0]
    assert (
        gate.sign_in(provider, "s1", email="ada@corp.test", email_verified=False).outcome == "address_taken"
    )
    assert gate.sign_in(provider, "s1", email="ada@sub.corp.test").user_id != user
    assert gate.sign_in(provider, "s2", email="ada@corp.test").user_id == user


def test_a_domain_counts_for_the_provider_that_has_it_and_for_nobody_else(gate):
    """Neither for another provider of the tenant nor for one of another tenant."""
    domain = f"{gate.tenant.slug}.test"
    owner, other = gate.provider(links_verified_email=True), gate.provider(links_verified_email=True)
    text = gate.call("select identity.claim_sso_domain(%s, %s)", [domain, owner])[0]
    assert gate.call("select identity.verify_sso_domain(%s, %s)", [domain, [text]])[0]
    user = local(gate, f"ada@{domain}")
    assert gate.sign_in(other, "s1", email=f"ada@{domain}").outcome == "address_taken"
    elsewhere = type(gate)(gate.world, gate.world.new_tenant(f"{gate.tenant.slug}-too"))
    local(elsewhere, f"ada@{domain}")
    stranger = elsewhere.provider(links_verified_email=True)
    assert elsewhere.sign_in(stranger, "s1", email=f"ada@{domain}").outcome == "address_taken"
    assert gate.sign_in(owner, "s1", email=f"ada@{domain}").user_id == user


def test_the_directorys_own_id_joins_the_user_it_has_provisioned(gate):
    user = gate.call("select * from identity.invite_user('ada@corp.test', 'Ada', 'oid-1')").user_id
    stranger = gate.provider()
    assert gate.sign_in(stranger, "s1", oid="oid-1", email="x@corp.test").user_id != user
    directory = gate.provider(claim_names={"email": "email", "external_id": "oid"}, creates_users=False)
    assert gate.sign_in(directory, "s1", oid="oid-2", email="ada@corp.test").outcome == "address_taken"
    assert gate.sign_in(directory, "s1", oid="oid-1").user_id == user
    assert gate.sign_in(directory, "s1").user_id == user


@pytest.mark.parametrize("change", ["suspend_user", "deactivate_user"])
def test_who_was_put_out_stays_out_and_is_not_made_again(gate, change):
    provider = gate.provider(links_verified_email=True)
    user = gate.sign_in(provider, "s1", **verified("ada@corp.test")).user_id
    gate.call(f"select identity.{change}(%s)", [user])
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test")).outcome == "inactive"
    # Nor through another account or another provider.
    assert gate.sign_in(provider, "s2", **verified("ada@corp.test")).outcome == "inactive"
    assert (
        gate.sign_in(gate.provider(links_verified_email=True), "s1", **verified("ada@corp.test")).outcome
        == "inactive"
    )
    assert len(gate.owner("select 1 from identity.users")) == 1
    assert gate.owner("select distinct outcome from identity.login_attempts where outcome <> 'success'") == [
        ("inactive",)
    ]


def test_a_lock_out_by_guessed_passwords_keeps_nobody_from_single_sign_on(gate):
    provider = gate.provider()
    user = gate.sign_in(provider, "s1", **verified("ada@corp.test")).user_id
    gate.owner(
        "update identity.users set status = 'locked', locked_until = now() + interval '1 hour' where id = %s",
        [user],
    )
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test")).user_id == user


def test_accounts_are_linked_and_unlinked_by_hand(gate):
    provider = gate.provider(creates_users=False)
    user = local(gate)
    account = gate.call("select identity.link_sso_account(%s, %s, 's1')", [user, provider])[0]
    answer = gate.sign_in(provider, "s1", email="other@corp.test")
    assert (answer.user_id, answer.account_id) == (user, account)
    with pytest.raises(psycopg.errors.UniqueViolation, match="user_sso_accounts_subject_key"):
        gate.call("select identity.link_sso_account(%s, %s, 's1')", [invite(gate, "b@corp.test"), provider])
    assert gate.call("select identity.unlink_sso_account(%s)", [account])[0]
    assert not gate.call("select identity.unlink_sso_account(%s)", [account])[0]
    assert gate.sign_in(provider, "s1", email="other@corp.test").outcome == "not_invited"


def at_once(gate, calls):
    barrier = threading.Barrier(len(calls))

    def one(call):
        with gate.world.connect("gateway", row_factory=psycopg.rows.namedtuple_row) as conn:
            conn.execute("select platform.open_context(%s)", [gate.tenant.id])
            barrier.wait(60)
            provider, subject, claims = call
            return conn.execute(
                "select * from identity.sign_in_with_sso(%s, %s, %s)", [provider, subject, Jsonb(claims)]
            ).fetchone()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_twenty_first_sign_ins_at_once_make_one_user(gate):
    provider = gate.provider()
    answers = at_once(gate, [(provider, "s1", verified("ada@corp.test"))] * 20)
    assert {answer.outcome for answer in answers} == {"success"}
    assert len({(answer.user_id, answer.account_id) for answer in answers}) == 1
    assert len(gate.owner("select 1 from identity.users")) == 1


def test_first_sign_ins_of_one_address_through_many_providers_at_once_make_one_user(gate):
    shared = {"linking_domain": "social", "links_verified_email": True}
    calls = [(gate.provider(**shared), "s1", verified("ada@corp.test")) for _ in range(8)]
    answers = at_once(gate, calls)
    assert {answer.outcome for answer in answers} == {"success"}
    assert len({answer.user_id for answer in answers}) == 1
    assert len({answer.account_id for answer in answers}) == 8


# The level of a sign-in


@pytest.mark.parametrize(
    ("claims", "level"),
    [({}, 1), ({"amr": ["pwd"]}, 1), ({"amr": ["pwd", "mfa"]}, 2), ({"acr": "phrh"}, 3), ({"acr": "phrh", "amr": ["mfa"]}, 3),
     ({"acr": 2}, 1), ({"amr": {"mfa": 1}}, 1), ({"amr": "mfa"}, 2)],
)  # fmt: skip
def test_the_level_follows_what_the_provider_says_of_the_sign_in(gate, claims, level):
    provider = gate.provider(authentication_levels={"mfa": 2, "phrh": 3})
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test"), **claims).authentication_level == level


def test_a_second_factor_is_asked_for_where_the_settings_want_one(gate):
    provider = gate.provider(authentication_levels={"mfa": 2})
    gate.owner(
        "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.mfa_requirement', '\"all\"')",
        [gate.tenant.id],
    )
    assert gate.sign_in(provider, "s1", **verified("ada@corp.test")).requires_second_factor
    assert not gate.sign_in(provider, "s1", **verified("ada@corp.test"), amr=["mfa"]).requires_second_factor
