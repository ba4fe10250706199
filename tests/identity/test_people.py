"""The status of people, and what is above whom."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading

import psycopg
import pytest

from enterprise_ai.identity import ApiKeys, Users, open_api_key, open_for, open_session
from enterprise_ai.identity import errors as e
from enterprise_ai.identity.signin import refresh

STATUSES = ("invited", "active", "locked", "suspended", "deactivated", "erased")
# What each verb makes of each status; everything else is refused.
LEADS_TO = {
    "activate": {"invited": "active"},
    "suspend": dict.fromkeys(("invited", "active", "locked"), "suspended"),
    "deactivate": dict.fromkeys(("invited", "active", "locked", "suspended"), "deactivated"),
    "reactivate": dict.fromkeys(("suspended", "deactivated"), "active"),
    "erase": dict.fromkeys(("invited", "active", "locked", "suspended", "deactivated"), "erased"),
}


@pytest.fixture
def keeper(world, gateway):
    """A service that keeps people, in the context of the tenant."""
    open_for(gateway, world.here.id)
    return Users(gateway)


def set_status(world, person, status):
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.users set status = %(to)s, locked_until = case when %(to)s = 'locked' then now() + interval '1 hour' end,"
            " deleted_at = case when %(to)s = 'erased' then now() end where id = %(id)s", {"to": status, "id": person})  # fmt: skip


@pytest.mark.parametrize(("verb", "status"), list(itertools.product(LEADS_TO, STATUSES)))
def test_the_status_machine(world, keeper, verb, status):
    person = world.new_person(world.here)
    set_status(world, person, status)
    if status in LEADS_TO[verb]:
        getattr(keeper, verb)(person)
        assert keeper.get(person).status == LEADS_TO[verb][status]
    else:
        with pytest.raises(e.StatusCannotFollow, match=f"is {status}") as caught, keeper._conn.transaction():
            getattr(keeper, verb)(person)
        assert "possible from" in caught.value.hint
        assert keeper.get(person).status == status


@pytest.mark.parametrize("verb", LEADS_TO)
def test_somebody_of_another_tenant_is_not_there(world, keeper, verb):
    with pytest.raises(e.UserNotFound):
        getattr(keeper, verb)(world.there.people["bob"])


@pytest.fixture
def everything(world):
    """A person with all that lets somebody in: (person, session, API key, one-time token)."""
    person = world.new_person(world.here)
    session = world.new_session(world.here, person, refreshable=True)
    with world.connect("gateway") as conn:
        open_for(conn, world.here.id, person)
        key = ApiKeys(conn).create("robot").key
        open_for(conn, world.here.id)
        token = Users(conn).issue_token(person, "reset_password")
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into authz.delegations (tenant_id, delegator_id, delegate_id, permission_id, valid_until)"
            " select %s, d.a, d.b, (select min(id) from authz.permissions), now() + interval '1 day'"
            " from (values (%s::uuid, %s::uuid), (%s, %s)) as d (a, b)",
            [world.here.id, person, world.here.people["bob"], world.here.people["bob"], person],
        )
    return person, session, key, token


def delegations(world, person):
    with world.owner(world.here) as conn:
        return conn.execute("select count(*) from authz.delegations where %s in (delegator_id, delegate_id)"
                            " and valid_until > clock_timestamp()", [person]).fetchone()[0]  # fmt: skip


@pytest.mark.parametrize("verb", ["suspend", "deactivate"])
def test_whoever_is_out_loses_all_that_let_them_in_for_good(world, app, keeper, everything, verb):
    person, session, key, token = everything
    open_session(app, session.session_token)
    app.rollback()
    assert delegations(world, person) == 2
    getattr(keeper, verb)(person)
    keeper.reactivate(person)
    keeper._conn.commit()
    with pytest.raises(e.SessionOver):
        open_session(app, session.session_token)
    app.rollback()
    with pytest.raises(e.ApiKeyNotValid):
        open_api_key(app, key)
    app.rollback()
    with pytest.raises(e.RefreshTokenNotValid):
        refresh(app, session.refresh_token)
    with pytest.raises(psycopg.Error) as caught:
        app.execute("select identity.redeem_one_time_token(%s, 'reset_password', '$argon2id$x')", [token])
    assert caught.value.sqlstate == "ZI008"
    assert delegations(world, person) == 0


def test_all_of_it_or_nothing(world, app, keeper, everything):
    """What ends with a status ends in its transaction: taken back, everything is as it was."""
    person, session, key, _ = everything
    keeper.deactivate(person)
    keeper._conn.rollback()
    open_session(app, session.session_token)
    open_api_key(app, key)
    assert delegations(world, person) == 2


def test_erasing_leaves_nothing_of_the_person(world, keeper, everything):
    person, *_ = everything
    email = keeper.get(person).email
    keeper.save_profile(person, given_name="Grace", department="Navy")
    keeper.new_recovery_codes(person)
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address)"
            " values (%s, %s, %s, 'password', 'success', '192.0.2.1')",
            [world.here.id, person, email],
        )
        conn.execute(
            "insert into identity.login_attempts (tenant_id, email, method, outcome, ip_address)"
            " values (%s, %s, 'sso', 'refused', '192.0.2.1')",
            [world.here.id, email.upper()],
        )
    keeper.erase(person)
    keeper._conn.commit()
    with world.owner(world.here) as conn:
        row = conn.execute(
            "select status, email, display_name, deleted_at is not null from identity.users where id = %s",
            [person],
        ).fetchone()
        assert row == ("erased", f"{person}@erased.invalid", "Erased user", True)
        for table in (
            "user_profiles",
            "user_passwords",
            "user_sessions",
            "user_sso_accounts",
            "api_keys",
            "one_time_tokens",
            "mfa_factors",
            "mfa_recovery_codes",
            "group_members",
        ):
            assert conn.execute(
                f"select count(*) from identity.{table} where user_id = %s", [person]
            ).fetchone() == (0,), table
        assert conn.execute("select count(*) from identity.login_attempts where lower(email) = lower(%s) or user_id = %s and ip_address is not null",
                            [email, person]).fetchone() == (0,)  # fmt: skip
    open_for(keeper._conn, world.here.id)
    assert keeper.invite(email, "Somebody else").user_id != person  # the address is free again


@pytest.mark.parametrize("custodian", ["themselves", "everybody", "somebody else"])
def test_a_legal_hold_keeps_people_from_being_erased(world, keeper, custodian):
    person = world.new_person(world.here)
    with world.owner(world.here) as conn:
        (hold,) = conn.execute(
            "insert into security.legal_holds (tenant_id, matter, reason, placed_by) values (%s, %s, 'x', %s) returning id",
            [world.here.id, f"case {person}", world.here.people["bob"]],
        ).fetchone()
        if custodian != "everybody":
            conn.execute(
                "insert into security.legal_hold_custodians (tenant_id, hold_id, user_id) values (%s, %s, %s)",
                [world.here.id, hold, person if custodian == "themselves" else world.here.people["bob"]],
            )
    try:
        if custodian == "somebody else":
            keeper.erase(person)
        else:
            with pytest.raises(e.UnderLegalHold, match="nothing was erased"), keeper._conn.transaction():
                keeper.erase(person)
            assert keeper.get(person).status == "active"
    finally:
        with world.owner(world.here) as conn:
            conn.execute(
                "update security.legal_holds set released_at = now(), released_by = placed_by, release_reason = 'x' where id = %s",
                [hold],
            )


# Who is above whom


def test_profiles_change_by_what_is_named(world, keeper):
    person = world.new_person(world.here)
    keeper.save_profile(person, given_name="Ada", manager_id=world.here.people["bob"])
    keeper.save_profile(person, department="Engines", manager_id=None)
    with world.owner(world.here) as conn:
        keeper._conn.commit()
        assert conn.execute("select given_name, department, manager_id, locale from identity.user_profiles where user_id = %s",
                            [person]).fetchone() == ("Ada", "Engines", None, None)  # fmt: skip
    open_for(keeper._conn, world.here.id)
    with pytest.raises(e.UnknownProfileField, match="tenant_id"):
        keeper.save_profile(person, tenant_id=world.there.id)


def test_nobody_is_their_own_managers_manager(world, keeper):
    a, b, c = (world.new_person(world.here) for _ in range(3))
    keeper.save_profile(a, manager_id=b)
    keeper.save_profile(b, manager_id=c)
    for manager in (a, c):
        with pytest.raises(e.WouldBeCircle), keeper._conn.transaction():
            keeper.save_profile(c, manager_id=manager)


def test_two_who_would_close_a_circle_together_do_not(world):
    """Each alone would be fine; of any two at once, one is refused, in a hundred tries."""
    barrier = threading.Barrier(2)

    def manage(person, manager):
        with world.connect("gateway") as conn:
            open_for(conn, world.here.id)
            barrier.wait(30)
            try:
                Users(conn).save_profile(person, manager_id=manager)
            except e.WouldBeCircle:
                conn.rollback()
                return False
            return True

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            a, b = world.new_person(world.here), world.new_person(world.here)
            done = [pool.submit(manage, a, b), pool.submit(manage, b, a)]
            assert sorted(job.result(30) for job in done) == [False, True]


def test_an_older_snapshot_is_not_trusted(world):
    a, b = world.new_person(world.here), world.new_person(world.here)
    with world.connect("gateway") as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        open_for(conn, world.here.id)
        with pytest.raises(e.CannotMoveInThisTransaction, match="repeatable read"):
            Users(conn).save_profile(a, manager_id=b)


def test_groups_lie_within_each_other_without_a_circle(world):
    """Also when the owner of the table writes it without any function."""
    with world.owner(world.here) as conn:
        a, b, c = (conn.execute("insert into identity.groups (tenant_id, display_name) values (%s, %s) returning id",
                                [world.here.id, f"group {n} of circle"]).fetchone()[0] for n in "abc")  # fmt: skip
        move = "update identity.groups set parent_id = %s where id = %s"
        conn.execute(move, [b, a])
        conn.execute(move, [c, b])
        with pytest.raises(psycopg.Error) as caught, conn.transaction():
            conn.execute(move, [a, c])
        assert caught.value.sqlstate == "ZI013"
        with pytest.raises(psycopg.Error) as caught, conn.transaction():
            conn.execute(
                "update identity.groups set parent_id = case id when %s then %s::uuid else %s end where id = any (%s)",
                [c, a, c, [a, c]],
            )
        assert caught.value.sqlstate in ("ZI013", "23514")


def test_own_preferences_are_the_persons_to_write(world, app):
    person = world.new_person(world.here)
    open_session(app, world.new_session(world.here, person).session_token)
    app.execute("""select identity.save_my_preferences('{"chat.theme": "dark"}')""")
    app.execute("""select identity.save_my_preferences('{"chat.theme": "light"}')""")
    assert app.execute(
        "select preferences from identity.user_profiles where user_id = %s", [person]
    ).fetchone() == ({"chat.theme": "light"},)
