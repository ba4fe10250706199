"""Sessions and their refresh families: listed, limited, revoked, and never refreshed twice by two."""

from __future__ import annotations

import concurrent.futures
import threading

import psycopg
import pytest

from enterprise_ai.identity import ApiKeys, Sessions, open_api_key, open_for, open_session
from enterprise_ai.identity import errors as e
from enterprise_ai.identity.signin import refresh


@pytest.fixture
def person(world):
    return world.new_person(world.here)


@pytest.fixture
def session(world, person):
    return world.new_session(world.here, person, refreshable=True)


def lives(world, token):
    with world.connect("app") as conn:
        try:
            open_session(conn, token)
        except e.SessionOver:
            return False
        return True


def age_refresh(world, seconds):
    """Let the last use of every refresh token lie further back."""
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.refresh_tokens set used_at = used_at - make_interval(secs => %s) where used_at is not null",
            [seconds],
        )


def test_people_list_and_revoke_their_own_sessions(world, app, person):
    first, second = world.new_session(world.here, person), world.new_session(world.here, person)
    of_bob = world.new_session(world.here, world.here.people["bob"])
    open_session(app, second.session_token)
    sessions = Sessions(app)
    assert [(s.id, s.is_current) for s in sessions.list()] == [
        (second.session_id, True),
        (first.session_id, False),
    ]
    assert not sessions.revoke(of_bob.session_id)
    assert sessions.revoke(first.session_id)
    assert not sessions.revoke(first.session_id)
    assert [s.id for s in sessions.list()] == [second.session_id]
    app.commit()
    assert not lives(world, first.session_token)
    assert lives(world, of_bob.session_token)


def test_the_longest_unused_session_gives_way(world, person):
    sessions = [world.new_session(world.here, person) for _ in range(11)]
    assert [lives(world, s.session_token) for s in sessions] == [False] + [True] * 10


def test_limits_are_those_of_the_settings(world, person, session):
    plain = world.new_session(world.here, person)
    with world.owner(world.here) as conn:
        spans = conn.execute(
            "select idle_timeout, expires_at - started_at from identity.user_sessions where id = any (%s) order by expires_at",
            [[plain.session_id, session.session_id]],
        ).fetchall()
    assert [(idle.total_seconds() / 60, total.total_seconds() / 3600) for idle, total in spans] == [
        (30, 12),
        (15, 30 * 24),
    ]


def test_refreshing_gives_new_tokens_and_ends_the_old_ones(world, app, session):
    new = refresh(app, session.refresh_token)
    assert (new.id, new.is_repeated) == (session.session_id, False)
    assert len({session.session_token, session.refresh_token, new.token, new.refresh_token}) == 4
    assert lives(world, new.token)
    assert not lives(world, session.session_token)
    newest = refresh(app, new.refresh_token)
    assert lives(world, newest.token)
    assert newest.expires_at == session.expires_at  # an absolute lifetime


def test_a_session_idle_for_too_long_is_refreshed(world, app, session):
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.user_sessions set idle_expires_at = now() - interval '1 hour' where id = %s",
            [session.session_id],
        )
    assert not lives(world, session.session_token)
    assert lives(world, refresh(app, session.refresh_token).token)


def test_the_same_token_within_the_grace_gives_the_same_successors(world, app, session):
    first, second = refresh(app, session.refresh_token), refresh(app, session.refresh_token)
    assert second.is_repeated
    assert (second.token, second.refresh_token) == (first.token, first.refresh_token)
    assert lives(world, second.token)


def test_reuse_after_the_grace_ends_the_family_although_the_request_fails(world, app, session):
    new = refresh(app, session.refresh_token)
    age_refresh(world, 11)
    with pytest.raises(e.RefreshTokenReused):
        refresh(app, session.refresh_token)
    assert not lives(world, new.token)
    with pytest.raises(e.RefreshTokenNotValid):
        refresh(app, new.refresh_token)
    with world.owner(world.here) as conn:
        assert conn.execute("select revoked_reason from identity.user_sessions where id = %s", [session.session_id]).fetchone() == (
            "refresh token used twice",)  # fmt: skip
        assert conn.execute(
            "select count(*) from identity.refresh_tokens where session_id = %s and revoked_at is null",
            [session.session_id],
        ).fetchone() == (0,)
        assert [
            row[0]
            for row in conn.execute(
                "select outcome from identity.login_attempts where method = 'refresh_token'"
                " and user_id = (select user_id from identity.user_sessions where id = %s)"
                " order by attempted_at, id",
                [session.session_id],
            )
        ] == ["success", "refused", "refused"]


def test_fifty_uses_of_one_refresh_token_at_once_make_one_successor(world, session):
    barrier = threading.Barrier(50)

    def use(_):
        with world.connect("app", autocommit=True) as conn:
            barrier.wait(60)
            return refresh(conn, session.refresh_token)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(use, range(50)))
    assert [answer.is_repeated for answer in answers].count(False) == 1
    assert len({(answer.token, answer.refresh_token) for answer in answers}) == 1
    with world.owner(world.here) as conn:
        assert conn.execute(
            "select count(*) from identity.refresh_tokens where session_id = %s", [session.session_id]
        ).fetchone() == (2,)


@pytest.mark.parametrize("change", [
    "update identity.users set status = 'suspended' where id = %(user)s",
    "update identity.user_sessions set revoked_at = now(), revoked_reason = 'x' where user_id = %(user)s",
    "update identity.refresh_tokens set issued_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
    " where session_id = %(session)s",
])  # fmt: skip
def test_nothing_is_refreshed_for_somebody_who_is_out(world, app, person, session, change):
    check_that_nothing_is_refreshed(world, app, world.here, person, session, change)


@pytest.mark.parametrize("status", ["suspended", "archived", "deleting"])
def test_nothing_is_refreshed_in_a_tenant_that_is_not_active(world, app, status):
    tenant = world.new_tenant(f"refresh-{status}")
    person = world.new_person(tenant)
    session = world.new_session(tenant, person, refreshable=True)
    change = f"update identity.tenants set status = '{status}' where %(user)s is not null"
    check_that_nothing_is_refreshed(world, app, tenant, person, session, change)


def check_that_nothing_is_refreshed(world, app, tenant, person, session, change):
    with world.owner(tenant) as conn:
        assert conn.execute(change, {"user": person, "session": session.session_id}).rowcount
    with pytest.raises(e.RefreshTokenNotValid):
        refresh(app, session.refresh_token)


@pytest.mark.parametrize(
    "change", [lambda t: t + "x", lambda t: "", lambda t: None, lambda t: t[:6] + "0" * 32 + t[38:]]
)
def test_anything_else_is_no_refresh_token(app, session, change):
    with pytest.raises(e.RefreshTokenNotValid):
        refresh(app, change(session.refresh_token))
    assert app.execute("select platform.context()").fetchone() == (None,)


def test_refreshing_leaves_the_callers_context_alone(world, app, session):
    other = world.new_session(world.there, world.there.people["ada"])
    open_session(app, other.session_token)
    assert app.execute(
        "select outcome from identity.refresh_session(%s)", [session.refresh_token]
    ).fetchone() == ("refreshed",)
    assert app.execute("select platform.current_tenant_id()").fetchone() == (world.there.id,)


def test_refreshing_refuses_a_transaction_that_could_take_the_revocation_back(app, session):
    app.execute("select 1")
    with pytest.raises(e.TransactionOpen):
        refresh(app, session.refresh_token)


# API keys


def test_people_make_list_and_revoke_their_own_keys(world, app, person, session):
    open_session(app, session.session_token)
    keys = ApiKeys(app)
    made = keys.create("robot", scopes=["document.read"])
    with pytest.raises(e.ApiKeyNameTaken), app.transaction():
        keys.create("robot")
    (listed,) = keys.list()
    assert (listed.id, listed.name, listed.scopes, listed.revoked_at) == (
        made.id,
        "robot",
        ["document.read"],
        None,
    )
    assert listed.prefix.startswith("eai_k_")
    assert made.key not in str(listed)
    app.commit()

    context = open_api_key(app, made.key)
    assert (context.user_id, context.scopes, context.session_id) == (person, ("document.read",), None)
    with pytest.raises(e.ApiKeyNotAllowed, match="cannot make another"), app.transaction():
        ApiKeys(app).create("child")
    app.commit()

    open_session(app, session.session_token)
    with pytest.raises(e.ApiKeyNotAllowed), app.transaction():
        keys.create("theirs", user_id=world.here.people["bob"])
    with pytest.raises(e.ApiKeyTooLong), app.transaction():
        keys.create("eternal", expires_at=app.execute("select now() + interval '10 years'").fetchone()[0])
    assert keys.revoke(made.id)
    assert not keys.revoke(made.id)
    app.commit()
    with pytest.raises(e.ApiKeyNotValid):
        open_api_key(app, made.key)


def test_a_key_of_somebody_else_is_out_of_reach(world, app, gateway, session):
    bob = world.here.people["bob"]
    open_for(gateway, world.here.id, bob)
    made = ApiKeys(gateway).create("bobs")
    gateway.commit()
    open_session(app, session.session_token)
    assert ApiKeys(app).list() == []
    assert not ApiKeys(app).revoke(made.id)
    app.rollback()
    assert open_api_key(app, made.key).user_id == bob


def test_no_token_is_stored(world, session):
    with psycopg.connect(world.server.url(world.name)) as conn:
        stored = str(conn.execute("select * from identity.user_sessions").fetchall()) + str(
            conn.execute("select * from identity.refresh_tokens").fetchall()
        )
    assert session.session_token not in stored
    assert session.session_token[39:] not in stored
    assert session.refresh_token[39:] not in stored


def test_an_access_token_ends_used_or_not_and_the_session_goes_on(world, app, person):
    session = world.new_session(world.here, person, refreshable=True)
    with world.owner(world.here) as conn:
        conn.execute("update identity.user_sessions set last_seen_at = last_seen_at - interval '5 minutes'")
        (before,) = conn.execute(
            "select token_expires_at from identity.user_sessions where id = %s", [session.session_id]
        ).fetchone()
    assert lives(world, session.session_token)  # a use that keeps sessions alive
    with world.owner(world.here) as conn:
        row = conn.execute(
            "select last_seen_at > now() - interval '1 minute', token_expires_at, idle_expires_at"
            " from identity.user_sessions where id = %s",
            [session.session_id],
        ).fetchone()
        assert row == (True, before, before)
        conn.execute(
            "update identity.user_sessions set token_expires_at = now(), idle_expires_at = now() where id = %s",
            [session.session_id],
        )
    assert not lives(world, session.session_token)
    assert lives(world, refresh(app, session.refresh_token).token)


def test_a_session_without_refresh_is_drawn_out_by_use(world, person):
    session = world.new_session(world.here, person)
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.user_sessions set last_seen_at = last_seen_at - interval '20 minutes',"
            " idle_expires_at = idle_expires_at - interval '20 minutes' where id = %s",
            [session.session_id],
        )
    assert lives(world, session.session_token)
    with world.owner(world.here) as conn:
        query = (
            "select idle_expires_at > now() + interval '29 minutes' from identity.user_sessions where id = %s"
        )
        assert conn.execute(query, [session.session_id]).fetchone() == (True,)
