"""Step-up: a second factor raises the level of a session for some minutes, and what asks for a level then has it."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlparse

import pyotp
import pytest

from enterprise_ai.identity import Sessions, Users, open_for, open_session, totp
from enterprise_ai.identity import errors as e
from enterprise_ai.identity.passwords import Passwords
from enterprise_ai.identity.signin import SignIn, refresh
from enterprise_ai.identity.stepup import StepUp
from enterprise_ai.identity.webauthn import WebAuthn
from tests.identity.test_webauthn import PARTY, registered, signed_in


@pytest.fixture
def person(world):
    return world.new_person(world.here)


@pytest.fixture
def generator(world, gateway, person, secrets):
    open_for(gateway, world.here.id)
    made = totp.add_factor(gateway, person, "phone", account="x", issuer="Here", secrets=secrets)
    gateway.commit()
    generator = pyotp.TOTP(parse_qs(urlparse(made.provisioning_uri).query)["secret"][0])
    SignIn(gateway, world.here.id, Passwords(), secrets=secrets).with_totp(
        person, generator.at(time.time() - 30)
    )
    return generator


def level(conn, token):
    with conn.transaction():
        return open_session(conn, token).authentication_level


def let_pass(world, minutes):
    with world.owner(world.here) as conn:
        conn.execute("update identity.user_sessions set stepped_up_until = stepped_up_until - make_interval(mins => %s)", [minutes])  # fmt: skip


def test_a_code_raises_the_level_until_it_falls_back(world, app, gateway, person, generator, secrets):
    session = world.new_session(world.here, person)
    other = world.new_session(world.here, person)
    assert level(app, session.session_token) == 1
    stepped = StepUp(gateway, session.session_token, secrets=secrets).with_totp(generator.now())
    assert stepped.authentication_level == 2
    assert (
        14 * 60
        < (stepped.stepped_up_until - session.idle_expires_at).total_seconds() + 30 * 60
        <= 15 * 60 + 30
    )
    assert (level(app, session.session_token), level(app, other.session_token)) == (2, 1)
    with app.transaction():
        open_session(app, session.session_token)
        assert [s.authentication_level for s in Sessions(app).list() if s.is_current] == [2]
    let_pass(world, 16)
    assert level(app, session.session_token) == 1


def test_an_obligation_of_authz_is_met_by_it(world, app, gateway, person, generator, secrets):
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into authz.user_permissions (tenant_id, user_id, permission_id)"
            " select %s, %s, id from authz.permissions where name = 'audit.read'",
            [world.here.id, person],
        )
        conn.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'security.mfa_requirement', '\"off\"')", [world.here.id])  # fmt: skip
    session = world.new_session(world.here, person)
    with world.owner(world.here) as conn:
        conn.execute("delete from platform.tenant_settings")

    def decided():
        with app.transaction():
            open_session(app, session.session_token)
            return app.execute("select effect, obligations from authz.evaluate('audit.read')").fetchone()

    assert decided() == ("deny", {"authentication_level": 2})
    StepUp(gateway, session.session_token, secrets=secrets).with_totp(generator.now())
    assert decided() == ("allow", {})
    let_pass(world, 16)
    assert decided() == ("deny", {"authentication_level": 2})


def test_a_wrong_or_used_code_raises_nothing_and_is_recorded(world, app, gateway, person, generator, secrets):
    session = world.new_session(world.here, person)
    step_up = StepUp(gateway, session.session_token, secrets=secrets)
    code = generator.now()
    step_up.with_totp(code)
    let_pass(world, 16)
    for wrong in (code, "000000"):
        with pytest.raises(e.SecondFactorRefused):
            step_up.with_totp(wrong)
    assert level(app, session.session_token) == 1
    with world.owner(world.here) as conn:
        query = "select outcome from identity.login_attempts where user_id = %s order by id"
        assert [row[0] for row in conn.execute(query, [person])][-2:] == ["mfa_failed"] * 2


def test_a_weaker_factor_does_not_draw_a_stronger_ones_level_out(world, app, gateway, person, secrets):
    device, _ = registered(WebAuthn(gateway, PARTY, tenant_id=world.here.id), person)
    open_for(gateway, world.here.id)
    codes = Users(gateway).new_recovery_codes(person)
    gateway.commit()
    session = world.new_session(world.here, person)
    signed_in(WebAuthn(gateway, PARTY, session_token=session.session_token), device)
    let_pass(world, 10)
    step_up = StepUp(gateway, session.session_token, secrets=secrets)
    before = step_up.with_recovery_code(codes[0])
    assert before.authentication_level == 3
    let_pass(world, 6)
    assert level(app, session.session_token) == 1
    assert step_up.with_recovery_code(codes[1]).authentication_level == 2


def test_it_outlives_a_refresh_and_not_the_session(world, app, gateway, person, generator, secrets):
    session = world.new_session(world.here, person, refreshable=True)
    StepUp(gateway, session.session_token, secrets=secrets).with_totp(generator.now())
    refreshed = refresh(app, session.refresh_token)
    assert level(app, refreshed.token) == 2
    with app.transaction():
        open_session(app, refreshed.token)
        Sessions(app).revoke(session.session_id)
    with pytest.raises(e.SessionOver):
        StepUp(gateway, refreshed.token, secrets=secrets).with_totp(generator.at(time.time() + 30))


def test_one_person_cannot_step_anothers_session_up(world, gateway, person, generator, secrets):
    bobs = world.new_session(world.here, world.here.people["bob"])
    open_for(gateway, world.here.id)
    (factor,) = totp.factors_of(gateway, person, secrets)
    step = int(time.time()) // 30
    with pytest.raises(e.SessionOver), e_translated():
        gateway.execute(
            "select identity.finish_totp(%s, %s, %s, session_id => %s)",
            [person, factor.id, step, bobs.session_id],
        )


def e_translated():
    from enterprise_ai.errors import translated

    return translated()


# What the settings ask for at sign-in


def with_setting(world, key, value):
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, %s)"
            " on conflict (tenant_id, key) do update set value = excluded.value",
            [world.here.id, key, value],
        )


@pytest.fixture
def settings(world):
    yield lambda key, value: with_setting(world, key, value)
    with world.owner(world.here) as conn:
        conn.execute("delete from platform.tenant_settings")


def required(world, person):
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        return conn.execute("select identity.requires_second_factor(%s)", [person]).fetchone()[0]


def give_role(world, table, column, holder, role):
    with world.owner(world.here) as conn:
        conn.execute(
            f"insert into authz.{table} (tenant_id, {column}, role_id) select %s, %s, id from authz.roles where name = %s",
            [world.here.id, holder, role],
        )


def test_who_needs_a_second_factor(world, gateway, settings):
    plain, user, manager, admin, in_group = (world.new_person(world.here) for _ in range(5))
    give_role(world, "user_roles", "user_id", user, "user")
    give_role(world, "user_roles", "user_id", manager, "manager")  # gives roles
    give_role(world, "user_roles", "user_id", admin, "admin")
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id)
        (outer,) = conn.execute("select identity.create_group('Security')").fetchone()
        (inner,) = conn.execute("select identity.create_group('Security on call', %s)", [outer]).fetchone()
        conn.execute("select identity.add_group_member(%s, %s)", [inner, in_group])
    give_role(world, "group_roles", "group_id", outer, "security_admin")
    people = (plain, user, manager, admin, in_group)
    assert [required(world, person) for person in people] == [False, False, True, True, True]
    settings("security.mfa_requirement", '"all"')
    assert all(required(world, person) for person in people)
    settings("security.mfa_requirement", '"off"')
    assert not any(required(world, person) for person in people)


def test_who_needs_one_starts_no_session_without(world, gateway, person, generator, secrets, settings):
    settings("security.mfa_requirement", '"all"')
    sign_in = SignIn(gateway, world.here.id, Passwords(), secrets=secrets)
    with pytest.raises(e.SecondFactorRequired):
        sign_in.start_session(person)
    sign_in.with_totp(person, generator.now())
    assert sign_in.start_session(person, authentication_level=2).token
