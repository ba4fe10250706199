"""Passkeys: registered once, verified by signature, and refused where anything is not as it was asked."""

from __future__ import annotations

import concurrent.futures
import threading

import psycopg
import pytest

from enterprise_ai.identity import errors as e
from enterprise_ai.identity import open_for, open_session
from enterprise_ai.identity.second_factors import SecondFactors
from enterprise_ai.identity.webauthn import RelyingParty, WebAuthn
from tests.identity.authenticator import Authenticator

PARTY = RelyingParty("example.test", "Example", ("https://example.test",))


@pytest.fixture
def person(world):
    return world.new_person(world.here)


@pytest.fixture
def ceremonies(world, gateway):
    return WebAuthn(gateway, PARTY, tenant_id=world.here.id)


def registered(ceremonies, person, name="key", **traits):
    device = Authenticator(**traits)
    begun = ceremonies.begin_registration(person)
    factor_id = ceremonies.register(begun.challenge_id, name, device.create(begun.options))
    return device, factor_id


def signed_in(ceremonies, device, person=None):
    begun = ceremonies.begin_authentication(person)
    return ceremonies.authenticate(begun.challenge_id, device.get(begun.options))


@pytest.mark.parametrize(("traits", "level"), [
    ({}, 3), ({"is_synced": True}, 2), ({"verifies_users": False}, 2), ({"counts": False}, 3),
])  # fmt: skip
def test_a_key_is_worth_what_it_can_do(ceremonies, person, traits, level):
    device, _ = registered(ceremonies, person, **traits)
    for _ in range(2):
        accepted = signed_in(ceremonies, device, person)
        assert (accepted.user_id, accepted.authentication_level) == (person, level)


def test_a_passkey_alone_signs_in_when_it_verifies_its_user(ceremonies, person):
    device, _ = registered(ceremonies, person)
    assert signed_in(ceremonies, device).user_id == person
    device.verifies_users = False
    with pytest.raises(e.SecondFactorRefused):
        signed_in(ceremonies, device)


def test_several_keys_and_none_twice(world, ceremonies, person):
    first, _ = registered(ceremonies, person, "first")
    second, _ = registered(ceremonies, person, "second")
    assert signed_in(ceremonies, second, person) == signed_in(ceremonies, first, person)
    begun = ceremonies.begin_registration(person)
    assert all(device.create(begun.options)["id"] in begun.options for device in (first, second))  # excluded
    with pytest.raises(e.PasskeyKnown):
        ceremonies.register(begun.challenge_id, "again", first.create(begun.options))
    begun = ceremonies.begin_registration(person)
    with pytest.raises(e.SecondFactorNameTaken):
        ceremonies.register(begun.challenge_id, "first", Authenticator().create(begun.options))


def test_a_counter_that_goes_back_is_a_copy(world, ceremonies, person):
    device, _ = registered(ceremonies, person)
    signed_in(ceremonies, device, person)
    signed_in(ceremonies, device, person)
    device.sign_count -= 1  # the next answer has the count of the last
    with pytest.raises(e.SecondFactorRefused):
        signed_in(ceremonies, device, person)
    device.counts, device.sign_count = False, 0
    with pytest.raises(e.SecondFactorRefused):
        signed_in(ceremonies, device, person)
    with world.owner(world.here) as conn:
        outcomes = conn.execute(
            "select method, outcome from identity.login_attempts where user_id = %s order by id", [person]
        ).fetchall()
    assert outcomes == [("webauthn", "success")] * 2 + [("webauthn", "mfa_failed")] * 2


def test_failed_signatures_do_not_lock_the_account(world, ceremonies, person):
    device, _ = registered(ceremonies, person)
    for _ in range(8):
        begun = ceremonies.begin_authentication(person)
        with pytest.raises(e.SecondFactorRefused):
            ceremonies.authenticate(begun.challenge_id, device.get(begun.options, challenge="AAAA"))
    assert signed_in(ceremonies, device, person).user_id == person


def test_what_is_not_as_asked_is_refused(ceremonies, person):
    for traits in ({"origin": "https://example.test.evil.test"}, {"origin": "http://example.test"}):
        with pytest.raises(e.PasskeyRefused):
            registered(ceremonies, person, **traits)
    device, _ = registered(ceremonies, person)
    begun = ceremonies.begin_authentication(person)
    stranger = Authenticator(
        credential_id=device.credential_id, user_handle=device.user_handle
    )  # another key
    device.origin = "https://evil.test"
    for answer in (device.get(begun.options), stranger.get(begun.options), {"id": "x"}, "no JSON"):
        begun = ceremonies.begin_authentication(person)
        with pytest.raises(e.SecondFactorRefused):
            ceremonies.authenticate(begun.challenge_id, answer)


def test_somebody_elses_key_is_refused(world, gateway, ceremonies, person):
    mine, _ = registered(ceremonies, person)
    theirs, _ = registered(ceremonies, world.here.people["bob"], "bobs")
    with pytest.raises(e.SecondFactorRefused):
        signed_in(ceremonies, theirs, person)
    mine.user_handle = world.here.people["bob"].bytes
    with pytest.raises(e.SecondFactorRefused):
        signed_in(ceremonies, mine)
    elsewhere = WebAuthn(gateway, PARTY, tenant_id=world.there.id)
    mine.user_handle = person.bytes
    with pytest.raises(e.SecondFactorRefused):
        signed_in(elsewhere, mine)


def test_a_challenge_is_answered_once_and_for_its_purpose(world, ceremonies, person):
    device, _ = registered(ceremonies, person)
    begun = ceremonies.begin_authentication(person)
    answer = device.get(begun.options)
    ceremonies.authenticate(begun.challenge_id, answer)
    with pytest.raises(e.SecondFactorRefused, match="begin again"):
        ceremonies.authenticate(begun.challenge_id, answer)

    begun = ceremonies.begin_registration(person)
    with pytest.raises(e.SecondFactorRefused, match="begin again"):
        ceremonies.authenticate(
            begun.challenge_id, device.get(ceremonies.begin_authentication(person).options)
        )
    ceremonies.register(begun.challenge_id, "other", Authenticator().create(begun.options))

    begun = ceremonies.begin_authentication(person)
    age = "update identity.webauthn_challenges set created_at = created_at - interval '1 hour', expires_at = expires_at - interval '6 minutes'"
    with world.owner(world.here) as conn:
        conn.execute(age)
    with pytest.raises(e.SecondFactorRefused, match="begin again"):
        ceremonies.authenticate(begun.challenge_id, device.get(begun.options))
    ceremonies.begin_authentication(person)
    with world.owner(world.here) as conn:
        assert conn.execute("select count(*) from identity.webauthn_challenges").fetchone() == (1,)


def test_twenty_answers_at_once_have_one_winner(world, ceremonies, person):
    device, _ = registered(ceremonies, person)
    begun = ceremonies.begin_authentication(person)
    answer = device.get(begun.options)
    barrier = threading.Barrier(20)

    def answered(_):
        with world.connect("gateway", autocommit=True) as conn:
            barrier.wait(60)
            try:
                WebAuthn(conn, PARTY, tenant_id=world.here.id).authenticate(begun.challenge_id, answer)
            except e.SecondFactorRefused:
                return False
            return True

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(answered, range(20))) == 1


# What may be changed, and by whom


@pytest.fixture
def mfa_for_all(world):
    values = [world.here.id, '"all"']
    with world.owner(world.here) as conn:
        conn.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.mfa_requirement', %s)", values)  # fmt: skip
    yield
    with world.owner(world.here) as conn:
        conn.execute("delete from platform.tenant_settings")


def test_the_last_factor_stays_where_one_is_required(world, gateway, ceremonies, person, mfa_for_all):
    _, first = registered(ceremonies, person, "first")
    _, second = registered(ceremonies, person, "second")
    open_for(gateway, world.here.id)
    factors = SecondFactors(gateway, person)
    assert [factor.name for factor in factors.list()] == ["first", "second"]
    assert factors.remove(first)
    assert not factors.remove(first)
    with pytest.raises(e.LastSecondFactor), gateway.transaction():
        factors.remove(second)
    assert [factor.name for factor in factors.list()] == ["second"]


def test_two_who_remove_one_each_at_once_leave_one(world, ceremonies, person, mfa_for_all):
    ids = [registered(ceremonies, person, name)[1] for name in ("first", "second")]
    with world.connect("gateway") as one, world.connect("gateway") as two:
        open_for(one, world.here.id)
        open_for(two, world.here.id)
        assert SecondFactors(one, person).remove(ids[0])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit(SecondFactors(two, person).remove, ids[1])
            with pytest.raises(concurrent.futures.TimeoutError):
                other.result(0.3)
            one.commit()
            with pytest.raises(e.LastSecondFactor):
                other.result(10)


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_no_snapshot_is_old_enough_to_remove_the_last_one(world, ceremonies, person, isolation):
    _, factor_id = registered(ceremonies, person)
    with world.connect("gateway") as conn:
        conn.execute(f"set transaction isolation level {isolation}")
        open_for(conn, world.here.id)
        with pytest.raises(e.CannotMoveInThisTransaction):
            SecondFactors(conn, person).remove(factor_id)


def test_whoever_has_lost_them_all_begins_anew(world, gateway, ceremonies, person):
    registered(ceremonies, person)
    session = world.new_session(world.here, person, level=2)
    open_for(gateway, world.here.id)
    assert SecondFactors(gateway, person).reset() == 1
    gateway.commit()
    with pytest.raises(e.SessionOver):
        open_session(gateway, session.session_token)
    gateway.rollback()
    open_for(gateway, world.here.id, person)
    with pytest.raises(e.ApiKeyNotAllowed):
        SecondFactors(gateway, person).reset()  # one's own, without the right


def test_who_may_reset_second_factors_resets_those_of_others_only(world, gateway, ceremonies, person):
    registered(ceremonies, person)
    helper = world.new_person(world.here)
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into authz.user_roles (tenant_id, user_id, role_id)"
            " select r.tenant_id, %s, r.id from authz.roles as r where r.name = 'security_admin'",
            [helper],
        )
    gateway.execute("select platform.open_context(%s, %s)", [world.here.id, helper])
    with pytest.raises(e.ApiKeyNotAllowed), gateway.transaction():
        SecondFactors(gateway, person).reset()  # the right takes a second factor
    gateway.execute(
        "select platform.open_context(%s, %s, authentication_level => 2::smallint)", [world.here.id, helper]
    )
    with pytest.raises(e.ApiKeyNotAllowed), gateway.transaction():
        SecondFactors(gateway, helper).reset()
    assert SecondFactors(gateway, person).reset() == 1


def test_a_session_alone_cannot_make_itself_a_second_factor(world, gateway, ceremonies, person):
    session = world.new_session(world.here, person)
    mine = WebAuthn(gateway, PARTY, session_token=session.session_token)
    device, factor_id = registered(mine, person, "first")  # the first one may come so
    begun = mine.begin_registration(person)
    with pytest.raises(e.StepUpRequired):
        mine.register(begun.challenge_id, "second", Authenticator().create(begun.options))
    open_session(gateway, session.session_token)
    with pytest.raises(e.StepUpRequired), gateway.transaction():
        SecondFactors(gateway, person).remove(factor_id)
    gateway.rollback()
    assert signed_in(mine, device).authentication_level == 3
    registered(mine, person, "second")


def test_applications_see_their_users_factors_and_change_none(world, app, ceremonies, person):
    _, factor_id = registered(ceremonies, person)
    registered(ceremonies, world.here.people["ada"], "adas")
    session = world.new_session(world.here, person)
    open_session(app, session.session_token)
    assert [f.name for f in SecondFactors(app, world.here.people["ada"]).list()] == [
        "key"
    ]  # one's own all the same
    for call in (
        "identity.remove_second_factor(%s, %s)", "identity.begin_webauthn('authenticate', %s)", "identity.reset_second_factors(%s)",
        "identity.finish_webauthn(%s, %s, true, 9, true, false)", "identity.webauthn_credentials(%s)",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
            app.execute(f"select {call}", [person, factor_id][: call.count("%s")])
