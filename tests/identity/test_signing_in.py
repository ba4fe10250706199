"""Signing in with a password and a second factor: what is decided, recorded, and told."""

from __future__ import annotations

import base64
import concurrent.futures
import itertools
import statistics
import threading
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlparse

import psycopg
import pyotp
import pytest
from argon2 import PasswordHasher

from enterprise_ai.identity import Groups, Request, Users, open_for, open_session, redeem, totp
from enterprise_ai.identity import errors as e
from enterprise_ai.identity.passwords import Passwords
from enterprise_ai.identity.signin import SignIn
from enterprise_ai.secrets import SecretBox, SecretKeyMissing, SecretNotGenuine

PASSWORD = "correct horse battery staple"
tenants = itertools.count(1)
REQUEST = Request(ip_address="192.0.2.7", user_agent="pytest")


@pytest.fixture(scope="module")
def passwords():
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1))


@pytest.fixture
def person(world, passwords):
    """An active user with a password: (id, address)."""
    user_id = world.new_person(world.here)
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        passwords.set(conn, user_id, PASSWORD)
        email = Users(conn).get(user_id).email
    return user_id, email


@pytest.fixture
def sign_in(world, gateway, passwords, secrets):
    return SignIn(gateway, world.here.id, passwords, REQUEST, secrets=secrets)


def attempts(world, email):
    with world.owner(world.here) as conn:
        return [row[0] for row in conn.execute(
            "select outcome from identity.login_attempts where lower(email) = lower(%s) order by attempted_at, id", [email])]  # fmt: skip


def user(world, user_id):
    with world.owner(world.here) as conn, conn.cursor(row_factory=psycopg.rows.namedtuple_row) as cursor:
        return cursor.execute("select * from identity.users where id = %s", [user_id]).fetchone()


def test_the_right_password_signs_in_whatever_the_case_of_the_address(world, sign_in, person):
    user_id, email = person
    accepted = sign_in.with_password(email.upper(), PASSWORD)
    assert (accepted.user_id, accepted.must_change, accepted.has_second_factor) == (user_id, False, False)
    assert attempts(world, email) == ["success"]
    session = sign_in.start_session(user_id)
    assert session.refresh_token is None
    with world.connect("app") as conn:
        context = open_session(conn, session.token, Request("r-1"))
        assert (context.tenant_id, context.user_id, context.session_id) == (
            world.here.id,
            user_id,
            session.id,
        )
    assert user(world, user_id).last_login_at is not None


def test_a_wrong_password_an_unknown_address_and_another_tenant_sound_the_same(
    world, gateway, passwords, sign_in, person
):
    _, email = person
    told = set()
    for signing, address, password in (
        (sign_in, email, "wrong"), (sign_in, "nobody@here.test", PASSWORD),
        (SignIn(gateway, world.there.id, passwords), email, PASSWORD),
    ):  # fmt: skip
        with pytest.raises(e.InvalidCredentials) as caught:
            signing.with_password(address, password)
        told.add(str(caught.value))
    assert len(told) == 1
    assert attempts(world, email) == ["wrong_credentials"]
    assert attempts(world, "nobody@here.test")[-1] == "wrong_credentials"


def test_wrong_users_and_wrong_passwords_take_the_same_time(world, gateway, passwords, sign_in, person):
    _, email = person
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.lockout_threshold', '20')"
            " on conflict do nothing",
            [world.here.id],
        )

    def seconds(address):
        start = time.perf_counter()
        with pytest.raises(e.InvalidCredentials):
            sign_in.with_password(address, "wrong")
        return time.perf_counter() - start

    seconds(email), seconds("nobody@here.test")
    known, unknown = zip(*[(seconds(email), seconds("nobody@here.test")) for _ in range(15)], strict=True)
    # Hashing is most of it; what the database does differently for the one is less than the noise.
    assert statistics.median(unknown) == pytest.approx(statistics.median(known), rel=0.5)
    with world.owner(world.here) as conn:
        conn.execute("delete from platform.tenant_settings")


def test_failures_lock_and_each_further_one_locks_for_longer(world, sign_in, person):
    user_id, email = person
    for _ in range(5):
        with pytest.raises(e.InvalidCredentials):
            sign_in.with_password(email, "wrong")
    locked = user(world, user_id)
    assert (locked.status, locked.failed_logins) == ("locked", 5)
    first = locked.locked_until
    with pytest.raises(e.AccountLocked):
        sign_in.with_password(email, PASSWORD)  # the right one, and nobody learns that
    assert user(world, user_id).locked_until == first  # asking during the lock does not draw it out

    durations = []
    for _ in range(3):
        with world.owner(world.here) as conn:
            conn.execute(
                "update identity.users set locked_until = clock_timestamp() - interval '1 second' where id = %s",
                [user_id],
            )
        with pytest.raises(e.InvalidCredentials):
            sign_in.with_password(email, "wrong")
        with world.owner(world.here) as conn:
            durations.append(
                conn.execute(
                    "select extract(epoch from locked_until - clock_timestamp())::float from identity.users"
                    " where id = %s",
                    [user_id],
                ).fetchone()[0]
            )
    assert durations == pytest.approx([120, 240, 480], abs=3)


def test_a_lock_ends_by_itself_and_success_forgets_the_failures(world, sign_in, person):
    user_id, email = person
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.users set status = 'locked', failed_logins = 9, locked_until = now() - interval '1 second'"
            " where id = %s",
            [user_id],
        )
    assert sign_in.with_password(email, PASSWORD).user_id == user_id
    after = user(world, user_id)
    assert (after.status, after.failed_logins, after.locked_until) == ("active", 0, None)


def test_the_last_try_before_the_lock_may_be_right(world, sign_in, person):
    user_id, email = person
    for _ in range(4):
        with pytest.raises(e.InvalidCredentials):
            sign_in.with_password(email, "wrong")
    assert sign_in.with_password(email, PASSWORD).user_id == user_id
    assert user(world, user_id).status == "active"


def test_failures_long_ago_are_forgotten(world, sign_in, person):
    user_id, email = person
    for _ in range(4):
        with pytest.raises(e.InvalidCredentials):
            sign_in.with_password(email, "wrong")
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.login_attempts set attempted_at = attempted_at - interval '16 minutes' where user_id = %s",
            [user_id],
        )
    with pytest.raises(e.InvalidCredentials):
        sign_in.with_password(email, "wrong")
    assert user(world, user_id).failed_logins == 1


def test_many_guesses_at_once_are_all_counted(world, passwords, person):
    _, email = person
    barrier = threading.Barrier(20)

    def guess(number):
        with world.connect("gateway", autocommit=True) as conn:
            barrier.wait(30)
            with pytest.raises(e.InvalidCredentials) as caught:
                SignIn(conn, world.here.id, passwords).with_password(email, f"guess {number}")
            return type(caught.value)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        kinds = list(pool.map(guess, range(20)))
    # Five were let through to be verified; the others met the lock.
    assert kinds.count(e.InvalidCredentials) == 5
    assert kinds.count(e.AccountLocked) == 15
    assert len(attempts(world, email)) == 20


def test_an_attempt_is_recorded_although_the_process_dies(world, sign_in, person, monkeypatch):
    _, email = person
    monkeypatch.setattr(sign_in._passwords, "verify", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sign_in.with_password(email, PASSWORD)
    assert attempts(world, email) == ["started"]
    assert user(world, person[0]).failed_logins == 1


def test_signing_in_refuses_a_transaction_that_could_take_the_record_back(gateway, sign_in, person):
    gateway.execute("select 1")
    with pytest.raises(e.TransactionOpen):
        sign_in.with_password(person[1], PASSWORD)


@pytest.mark.parametrize("status", ["invited", "suspended", "deactivated"])
def test_the_right_password_of_somebody_who_may_not_work_is_not_enough(world, sign_in, person, status):
    user_id, email = person
    with world.owner(world.here) as conn:
        conn.execute("update identity.users set status = %s where id = %s", [status, user_id])
    with pytest.raises(e.InvalidCredentials):
        sign_in.with_password(email, PASSWORD)
    assert attempts(world, email) == ["inactive"]


def test_an_attempt_is_decided_once(world, gateway, person):
    open_for(gateway, world.here.id)
    (attempt,) = gateway.execute("select attempt_id from identity.begin_login(%s)", [person[1]]).fetchone()
    finish = "select outcome from identity.finish_login(%s, %s)"
    assert gateway.execute(finish, [attempt, True]).fetchone() == ("success",)
    assert gateway.execute(finish, [attempt, True]).fetchone() == ("refused",)
    with pytest.raises(psycopg.Error) as caught:
        gateway.execute(finish, [world.here.id, True])
    assert caught.value.sqlstate == "ZI009"


def test_an_attempt_is_not_taken_up_again_later(world, gateway, person):
    open_for(gateway, world.here.id)
    (attempt,) = gateway.execute("select attempt_id from identity.begin_login(%s)", [person[1]]).fetchone()
    gateway.commit()
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.login_attempts set attempted_at = now() - interval '6 minutes' where id = %s",
            [attempt],
        )
    open_for(gateway, world.here.id)
    answer = gateway.execute("select outcome, user_id from identity.finish_login(%s, true)", [attempt])
    assert answer.fetchone() == ("refused", None)


def test_older_parameters_are_upgraded_at_sign_in(world, sign_in, person):
    user_id, email = person
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    stored = "select password_hash from identity.user_passwords where user_id = %s"
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.user_passwords set password_hash = %s where user_id = %s", [old, user_id]
        )
    sign_in.with_password(email, PASSWORD)
    with world.owner(world.here) as conn:
        (new,) = conn.execute(stored, [user_id]).fetchone()
    assert "m=8192" in new
    sign_in.with_password(email, PASSWORD)
    with world.owner(world.here) as conn:
        assert conn.execute(stored, [user_id]).fetchone() == (new,)


@pytest.mark.parametrize("password", ["short", "x" * 129])
def test_passwords_too_short_or_too_long_are_refused(world, gateway, passwords, person, password):
    open_for(gateway, world.here.id)
    with pytest.raises(e.PasswordRefused, match="12 to 128 characters"):
        passwords.set(gateway, person[0], password)


def test_a_new_password_ends_the_other_sessions(world, sign_in, passwords, person):
    session = sign_in.start_session(person[0])
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id, person[0])
        passwords.set(conn, person[0], "another password")
    with world.connect("app") as conn, pytest.raises(e.SessionOver):
        open_session(conn, session.token)


# Second factors


@pytest.fixture
def generator(world, person, secrets):
    """The person's TOTP generator as an app would have it."""
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        made = totp.add_factor(conn, person[0], "phone", account=person[1], issuer="Here", secrets=secrets)
    uri = urlparse(made.provisioning_uri)
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    return pyotp.TOTP(parse_qs(uri.query)["secret"][0])


def test_a_totp_code_works_once_and_no_earlier_one_after_it(world, sign_in, person, generator):
    user_id, email = person
    assert not sign_in.with_password(email, PASSWORD).has_second_factor  # not confirmed yet
    now = time.time()
    sign_in.with_totp(user_id, generator.at(now))
    assert sign_in.with_password(email, PASSWORD).has_second_factor
    for at in (now, now - 30):
        with pytest.raises(e.SecondFactorRefused):
            sign_in.with_totp(user_id, generator.at(at))
    sign_in.with_totp(user_id, generator.at(now + 30))  # a step early is near enough
    assert attempts(world, email)[-3:] == ["mfa_failed", "mfa_failed", "success"]


def test_codes_from_too_far_off_are_refused(sign_in, person, generator):
    for offset in (-120, 120):
        with pytest.raises(e.SecondFactorRefused):
            sign_in.with_totp(person[0], generator.at(time.time() + offset))


def test_steps_are_those_of_the_standard():
    """The test vectors of RFC 6238, appendix B, for SHA-1; six of their eight digits."""
    factor = totp.TotpFactor(id=None, name="rfc", totp_secret=b"12345678901234567890", is_confirmed=True)
    for at, code in (
        (59, "94287082"),
        (1111111109, "07081804"),
        (1234567890, "89005924"),
        (20000000000, "65353130"),
    ):
        assert totp.find_step([factor], code[2:], at=at, tolerance=0) == (None, at // 30)
    assert base64.b32encode(factor.totp_secret)


def test_guessing_codes_locks_the_account(world, sign_in, person, generator):
    sign_in.with_totp(person[0], generator.now())
    for _ in range(5):
        with pytest.raises(e.SecondFactorRefused):
            sign_in.with_totp(person[0], "000000")
    assert user(world, person[0]).status == "locked"
    with pytest.raises(e.SecondFactorRefused):
        sign_in.with_totp(person[0], generator.at(time.time() + 30))  # right, but locked


def test_fifty_uses_of_one_code_at_once_have_one_winner(world, passwords, person, generator, secrets):
    code = generator.now()
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.lockout_threshold', '20')",
            [world.here.id],
        )

    def use(conn):
        SignIn(conn, world.here.id, passwords, secrets=secrets).with_totp(person[0], code)

    assert winners(world, use) == 1
    with world.owner(world.here) as conn:
        conn.execute("delete from platform.tenant_settings")


def test_fifty_uses_of_one_recovery_code_at_once_have_one_winner(world, passwords, person):
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        codes = Users(conn).new_recovery_codes(person[0])
    assert len(set(codes)) == 10
    loose = codes[0].lower().replace("-", " ")
    assert (
        winners(
            world, lambda conn: SignIn(conn, world.here.id, passwords).with_recovery_code(person[0], loose)
        )
        == 1
    )


def winners(world, use, times=50):
    """How many of so many simultaneous uses go through."""
    barrier = threading.Barrier(times)

    def run(_):
        with world.connect("gateway", autocommit=True) as conn:
            barrier.wait(60)
            try:
                use(conn)
            except (e.SecondFactorRefused, e.OneTimeTokenNotValid, e.RefreshTokenNotValid):
                return False
            return True

    with concurrent.futures.ThreadPoolExecutor(times) as pool:
        return sum(pool.map(run, range(times)))


def test_new_recovery_codes_take_the_place_of_the_old(world, sign_in, person):
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        old, new = Users(conn).new_recovery_codes(person[0]), Users(conn).new_recovery_codes(person[0])
    with pytest.raises(e.SecondFactorRefused):
        sign_in.with_recovery_code(person[0], old[0])
    sign_in.with_recovery_code(person[0], new[0])


# What the settings ask for


def test_an_old_password_is_changed_before_a_session_starts(world, sign_in, passwords, person, gateway):
    user_id, email = person
    with world.owner(world.here) as conn:
        conn.execute("update identity.user_passwords set changed_at = now() - interval '91 days' where user_id = %s", [user_id])  # fmt: skip
    assert not sign_in.with_password(email, PASSWORD).must_change  # the default knows no age
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.password_max_age_days', '90')",
            [world.here.id],
        )
    try:
        assert sign_in.with_password(email, PASSWORD).must_change
        with pytest.raises(e.PasswordChangeRequired):
            sign_in.start_session(user_id)
        open_for(gateway, world.here.id)
        passwords.set(gateway, user_id, "another long password")
        gateway.commit()
        assert not sign_in.with_password(email, "another long password").must_change
        assert sign_in.start_session(user_id).token
    finally:
        with world.owner(world.here) as conn:
            conn.execute("delete from platform.tenant_settings")


def test_a_password_set_by_somebody_else_serves_for_a_new_one_only(
    world, sign_in, passwords, person, gateway
):
    user_id, email = person
    open_for(gateway, world.here.id)
    passwords.set(gateway, user_id, "given by an administrator", must_change=True)
    gateway.commit()
    assert sign_in.with_password(email, "given by an administrator").must_change
    with pytest.raises(e.PasswordChangeRequired):
        sign_in.start_session(user_id)


def test_an_address_from_which_too_many_come_gets_no_further(world, gateway, passwords, person):
    limit = "update platform.configuration_settings set value = %s where key = 'limits.sign_ins_per_minute'"
    request = Request(ip_address="198.51.100.9")
    with world.owner() as conn:
        conn.execute(limit, ["8"])
    barrier = threading.Barrier(12)

    def attempt(number):
        with world.connect("gateway", autocommit=True) as conn:
            barrier.wait(60)
            try:
                SignIn(conn, world.here.id, passwords, request).with_password(
                    f"nobody{number}@here.test", "guess"
                )
            except (e.InvalidCredentials, e.SignInsThrottled) as error:
                return type(error)

    try:
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            raised = list(pool.map(attempt, range(12)))
        assert raised.count(e.SignInsThrottled) == 4
        with pytest.raises(e.SignInsThrottled):
            SignIn(gateway, world.here.id, passwords, request).with_password(person[1], PASSWORD)
        elsewhere = SignIn(gateway, world.here.id, passwords, Request(ip_address="198.51.100.10"))
        assert elsewhere.with_password(person[1], PASSWORD).user_id == person[0]
    finally:
        with world.owner() as conn:
            conn.execute(limit, ["6000"])


# Seeds at rest


def test_seeds_are_stored_sealed_and_bound_to_their_user(world, gateway, sign_in, person, generator, secrets):
    with world.owner(world.here) as conn:
        (stored,) = conn.execute("select totp_secret from identity.mfa_factors where user_id = %s", [person[0]]).fetchone()  # fmt: skip
    seed = base64.b32decode(generator.secret)
    assert seed not in stored
    assert secrets.open(stored, world.here.id, person[0], "totp") == seed
    other = world.new_person(world.here)
    with world.owner(
        world.here
    ) as conn:  # somebody who can write rows plants their own seed under another user
        conn.execute(
            "insert into identity.mfa_factors (tenant_id, user_id, kind, name, totp_secret) values (%s, %s, 'totp', 'x', %s)",
            [world.here.id, other, stored],
        )
    with pytest.raises(SecretNotGenuine):
        sign_in.with_totp(other, generator.now())


def test_a_seed_in_clear_is_refused(world, person):
    with pytest.raises(psycopg.errors.CheckViolation) as caught, world.owner(world.here) as conn:
        conn.execute(
            "insert into identity.mfa_factors (tenant_id, user_id, kind, name, totp_secret) values (%s, %s, 'totp', 'y', %s)",
            [world.here.id, person[0], b"12345678901234567890"],
        )
    assert caught.value.diag.constraint_name == "mfa_factors_totp_secrets_are_sealed"


def test_seeds_move_to_a_new_key(world, gateway, passwords, person, generator, secrets):
    newer = SecretBox({"k2": bytes(32), "k1": bytes(range(32))})
    open_for(gateway, world.here.id)
    with world.owner(world.here) as conn:
        conn.execute("delete from identity.mfa_factors where user_id <> %s", [person[0]])
    assert totp.reseal(gateway, newer) == 1
    assert totp.reseal(gateway, newer) == 0
    gateway.commit()
    only_new = SignIn(gateway, world.here.id, passwords, secrets=SecretBox({"k2": bytes(32)}))
    only_new.with_totp(person[0], generator.now())
    with pytest.raises(SecretKeyMissing):
        SignIn(gateway, world.here.id, passwords, secrets=secrets).with_totp(person[0], generator.now())


# One-time tokens


def test_an_invitation_is_accepted_once(world, gateway, app, passwords, sign_in):
    open_for(gateway, world.here.id)
    invitation = Users(gateway).invite("new@here.test", "New")
    hashed = passwords.hash(gateway, PASSWORD)
    gateway.commit()
    with pytest.raises(e.InvalidCredentials):
        sign_in.with_password("new@here.test", PASSWORD)
    assert redeem(app, invitation.token, "invite", password_hash=hashed) == invitation.user_id
    app.commit()
    with pytest.raises(e.OneTimeTokenNotValid):
        redeem(app, invitation.token, "invite", password_hash=hashed)
    assert sign_in.with_password("new@here.test", PASSWORD).user_id == invitation.user_id
    assert user(world, invitation.user_id).email_verified_at is not None


def test_an_address_is_had_by_one_living_person(world, gateway, person):
    open_for(gateway, world.here.id)
    with pytest.raises(e.EmailTaken):
        Users(gateway).invite(person[1].upper(), "Twin")


def test_fifty_uses_of_one_token_at_once_have_one_winner(world, passwords, person):
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        token = Users(conn).issue_token(person[0], "reset_password")
        hashed = passwords.hash(conn, "a brand new password")
    assert winners(world, lambda conn: redeem(conn, token, "reset_password", password_hash=hashed)) == 1


def test_a_password_reset_ends_sessions_and_a_lock_out(world, app, passwords, sign_in, person):
    user_id, email = person
    session = sign_in.start_session(user_id)
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.users set status = 'locked', locked_until = now() + interval '1 hour' where id = %s",
            [user_id],
        )
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        earlier = Users(conn).issue_token(user_id, "reset_password")
        token = Users(conn).issue_token(user_id, "reset_password")
        hashed = passwords.hash(conn, "a brand new password")
    for wrong_token, purpose in (
        (earlier, "reset_password"),
        (token, "invite"),
        (token + "x", "reset_password"),
        ("", "invite"),
    ):
        with pytest.raises(e.OneTimeTokenNotValid), app.transaction():
            redeem(app, wrong_token, purpose, password_hash=hashed)
    redeem(app, token, "reset_password", password_hash=hashed)
    app.commit()
    with pytest.raises(e.SessionOver):
        open_session(app, session.token)
    app.rollback()
    assert sign_in.with_password(email, "a brand new password").user_id == user_id


def test_a_verified_address_becomes_the_persons(world, app, person):
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        token = Users(conn).issue_token(person[0], "verify_email", email="moved@here.test")
    redeem(app, token, "verify_email")
    app.commit()
    after = user(world, person[0])
    assert after.email == "moved@here.test"
    assert after.email_verified_at is not None


@pytest.mark.parametrize("purpose", ["invite", "reset_password", "verify_email"])
def test_a_token_works_for_as_long_as_the_settings_say(world, app, passwords, person, purpose):
    status = "invited" if purpose == "invite" else "active"
    user_id = world.new_person(world.here, status=status)
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        email = f"{user_id}@here.test" if purpose == "verify_email" else None
        token = Users(conn).issue_token(user_id, purpose, email=email)
        hashed = passwords.hash(conn, "a brand new password")
    with world.owner(world.here) as conn:
        (span,) = conn.execute(
            "select expires_at - created_at from identity.one_time_tokens where user_id = %s", [user_id]
        ).fetchone()
        conn.execute(
            "update identity.one_time_tokens set created_at = now() - interval '1 year', expires_at = now()"
            " where user_id = %s",
            [user_id],
        )
    assert span == {
        "invite": timedelta(days=7), "reset_password": timedelta(minutes=30), "verify_email": timedelta(hours=24),
    }[purpose]  # fmt: skip
    with pytest.raises(e.OneTimeTokenNotValid):
        redeem(app, token, purpose, password_hash=hashed)


@pytest.mark.parametrize(
    ("purpose", "change", "error"),
    [
        ("reset_password", "update identity.users set status = 'suspended' where id = %s", e.UserNotActive),
        ("verify_email", "update identity.users set status = 'suspended' where id = %s", e.UserNotActive),
        ("invite", "update identity.tenants set status = 'suspended' where %s is not null", e.TenantNotActive),
        ("verify_email", "update identity.tenants set status = 'suspended' where %s is not null", e.TenantNotActive),
        ("invite", "update identity.users set status = 'deactivated' where id = %s", e.StatusCannotFollow),
    ],
)  # fmt: skip
def test_a_token_lets_nobody_in_who_may_not_work(world, app, passwords, purpose, change, error):
    tenant = world.new_tenant(f"tokens{next(tenants)}")
    user_id = world.new_person(tenant, status="invited" if purpose == "invite" else "active")
    with world.connect("gateway") as conn:
        open_for(conn, tenant.id)
        email = f"{user_id}@here.test" if purpose == "verify_email" else None
        token = Users(conn).issue_token(user_id, purpose, email=email)
        hashed = passwords.hash(conn, "a brand new password")
    with world.owner(tenant) as conn:
        conn.execute(change, [user_id])
    with pytest.raises(error):
        redeem(app, token, purpose, password_hash=hashed)


def test_groups_are_kept_through_the_face(world, gateway, person):
    open_for(gateway, world.here.id)
    groups = Groups(gateway)
    outer = groups.create("Outer")
    inner = groups.create("Inner", parent_id=outer)
    assert groups.add(inner, person[0])
    assert not groups.add(inner, person[0])
    assert groups.of(person[0]) == {inner, outer}
    with pytest.raises(e.GroupExists), gateway.transaction():
        groups.create("Outer")
    with pytest.raises(e.WouldBeCircle), gateway.transaction():
        groups.move(outer, inner)
    assert groups.remove(inner, person[0])
    groups.delete(inner)
    with pytest.raises(e.GroupNotFound), gateway.transaction():
        groups.delete(inner)
