"""Opening a context by proving who one is: with a session's token or an API key."""

from __future__ import annotations

import concurrent.futures
import itertools

import psycopg
import pytest

numbers = itertools.count(1)
OPEN = "select platform.open_session_context(%s)"
WHO = "select platform.current_tenant_id(), platform.current_user_id(), platform.current_actor_id()"


@pytest.fixture
def session(world):
    return world.new_session(world.here, world.here.people["ada"])


def change_session(world, session, assignment):
    with world.owner(world.here) as conn:
        assert conn.execute(
            f"update identity.user_sessions set {assignment} where id = %s", [session.session_id]
        ).rowcount


def test_a_session_token_opens_its_own_context(world, app, session):
    (fields,) = app.execute(
        "select platform.open_session_context(%s, 'r-1', '192.0.2.7', 'curl')", [session.session_token]
    ).fetchone()
    ada = world.here.people["ada"]
    assert fields == {
        "tenant_id": str(world.here.id), "user_id": str(ada), "session_id": str(session.session_id),
        "request_id": "r-1", "ip_address": "192.0.2.7", "user_agent": "curl", "authentication_level": 1,
    }  # fmt: skip
    assert app.execute("select platform.context()").fetchone()[0] == fields
    assert app.execute(WHO).fetchone() == (world.here.id, ada, ada)
    assert {row[0] for row in app.execute("select email from identity.users")} >= {
        "ada@here.test",
        "bob@here.test",
    }
    assert not [
        row for row in app.execute("select email from identity.users") if row[0].endswith("@there.test")
    ]


@pytest.mark.parametrize("ending", [
    "revoked_at = now(), revoked_reason = 'test'",
    "started_at = now() - interval '2 days', last_seen_at = now() - interval '2 days',"
    " idle_expires_at = now() - interval '1 day', token_expires_at = now() - interval '1 day',"
    " expires_at = now() - interval '1 day'",
    "idle_expires_at = now() - interval '1 second'",
])  # fmt: skip
def test_a_session_that_is_over_opens_nothing(world, app, session, ending):
    change_session(world, session, ending)
    with pytest.raises(psycopg.Error, match="over or never was") as caught:
        app.execute(OPEN, [session.session_token])
    assert caught.value.sqlstate == "ZI004"


def test_any_other_token_is_told_the_same(world, app, session):
    token = session.session_token
    refreshable = world.new_session(world.here, world.here.people["ada"], refreshable=True)
    others = [
        None, "", "x", token[:-1], token + "x", token.upper(), token.replace("eai_s_", "eai_k_"), token[:-1] + "!",
        token.replace(world.here.id.hex, world.there.id.hex), token.replace(world.here.id.hex, "0" * 32),
        refreshable.refresh_token, "eai_s_" + refreshable.refresh_token[6:],
    ]  # fmt: skip
    messages = set()
    for other in others:
        with pytest.raises(psycopg.Error) as caught, app.transaction():
            app.execute(OPEN, [other])
        messages.add(
            (caught.value.sqlstate, caught.value.diag.message_primary, caught.value.diag.message_hint)
        )
        assert app.execute("select platform.context()").fetchone() == (None,)
    assert len(messages) == 1
    assert messages.pop()[0] == "ZI004"


def test_use_keeps_a_session_alive_no_more_than_once_a_minute(world, session):
    def seen():
        with world.owner(world.here) as conn:
            return conn.execute(
                "select last_seen_at, idle_expires_at from identity.user_sessions where id = %s",
                [session.session_id],
            ).fetchone()

    first = seen()
    with world.connect("app") as conn:
        conn.execute(OPEN, [session.session_token])
    assert seen() == first
    change_session(
        world,
        session,
        "last_seen_at = now() - interval '61 seconds', idle_expires_at = now() + interval '1 second'",
    )
    with world.connect("app") as conn:
        conn.execute(OPEN, [session.session_token])
    assert seen()[0] >= first[0]
    assert (seen()[1] - seen()[0]).total_seconds() == pytest.approx(30 * 60, abs=1)


def test_sliding_ends_at_the_sessions_absolute_limit(world, session):
    change_session(
        world,
        session,
        "last_seen_at = now() - interval '10 minutes', expires_at = now() + interval '5 minutes',"
        " token_expires_at = now() + interval '5 minutes', idle_expires_at = now() + interval '1 minute'",
    )
    with world.connect("app") as conn:
        conn.execute(OPEN, [session.session_token])
    with world.owner(world.here) as conn:
        assert conn.execute(
            "select idle_expires_at = expires_at from identity.user_sessions where id = %s",
            [session.session_id],
        ).fetchone() == (True,)


def test_requests_of_one_session_do_not_wait_for_each_other(world, session):
    change_session(world, session, "last_seen_at = now() - interval '10 minutes'")
    with world.connect("app") as first, world.connect("app") as second:
        first.execute(OPEN, [session.session_token])
        second.execute("set lock_timeout = '1s'")
        second.execute(OPEN, [session.session_token])
        assert second.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)


def test_a_session_opens_in_a_read_only_transaction(world, session):
    change_session(world, session, "last_seen_at = now() - interval '10 minutes'")
    with world.connect("app") as conn:
        conn.read_only = True
        conn.execute(OPEN, [session.session_token])
        assert conn.execute("select count(*) > 0 from identity.users").fetchone() == (True,)


@pytest.mark.parametrize("status", ["invited", "suspended", "deactivated"])
def test_people_who_may_not_work_get_no_context(world, app, session, status):
    person = world.new_person(world.here)
    token = world.new_session(world.here, person).session_token
    with world.owner(world.here) as conn:
        conn.execute("update identity.users set status = %s where id = %s", [status, person])
    with pytest.raises(psycopg.Error, match=f"is {status}") as caught:
        app.execute(OPEN, [token])
    assert caught.value.sqlstate == "ZI002"


def test_a_lock_out_does_not_end_what_is_going_on(world, app):
    person = world.new_person(world.here)
    token = world.new_session(world.here, person).session_token
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.users set status = 'locked', locked_until = now() + interval '1 hour' where id = %s",
            [person],
        )
    app.execute(OPEN, [token])
    assert app.execute(WHO).fetchone() == (world.here.id, person, person)


def test_a_tenant_that_is_not_active_gets_no_context(world, app):
    tenant = world.new_tenant("closed")
    token = world.new_session(tenant, world.new_person(tenant)).session_token
    with world.owner(tenant) as conn:
        conn.execute("update identity.tenants set status = 'suspended'")
    with pytest.raises(psycopg.Error, match="is suspended") as caught:
        app.execute(OPEN, [token])
    assert caught.value.sqlstate == "ZI001"


def test_the_context_survives_set_local_role_and_ends_with_the_transaction(world, app, session):
    app.execute(OPEN, [session.session_token])
    app.execute("set local role enterprise_ai_app")
    assert app.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
    assert app.execute("select count(*) from identity.tenants").fetchone() == (1,)
    app.commit()
    assert app.execute("select platform.current_tenant_id()").fetchone() == (None,)
    assert app.execute("select count(*) from identity.tenants").fetchone() == (0,)


def test_a_backend_shared_by_transactions_of_many_hands_nothing_on(world, app):
    """What a pooler in transaction mode does: one backend, one tenant after the other, prepared statements kept."""
    tokens = {
        tenant.id: world.new_session(tenant, tenant.people["ada"]).session_token
        for tenant in (world.here, world.there)
    }
    for tenant_id in [world.here.id, world.there.id] * 3:
        with app.transaction():
            app.execute(OPEN, [tokens[tenant_id]], prepare=True)
            rows = app.execute("select id from identity.tenants", prepare=True).fetchall()
            assert rows == [(tenant_id,)]
        with app.transaction():
            assert app.execute("select id from identity.tenants", prepare=True).fetchall() == []


def test_parallel_workers_see_the_context_that_the_leader_verified(world, app, session):
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into identity.login_attempts (tenant_id, email, method, outcome)"
            " select %s, n || '@here.test', 'password', 'success' from generate_series(1, 5000) as n",
            [world.here.id],
        )
        conn.execute("grant select on identity.login_attempts to app_login")
    app.execute(OPEN, [session.session_token])
    app.execute(
        "set local min_parallel_table_scan_size = 0; set local parallel_setup_cost = 0;"
        " set local parallel_tuple_cost = 0; set local enable_indexscan = off; set local enable_bitmapscan = off;"
        " set local enable_indexonlyscan = off; set local max_parallel_workers_per_gather = 2"
    )
    query = "select count(*) from identity.login_attempts"
    plan = "\n".join(row[0] for row in app.execute(f"explain (analyze, costs off, timing off) {query}"))
    assert "Workers Launched: " in plan
    assert "Workers Launched: 0" not in plan
    assert app.execute(query).fetchone() == (5000,)


def test_one_verification_a_statement(world, app, session):
    """Counted by the server: 500 rows, several tables, one call of the verifying function for each reference to a policy."""
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into identity.users (tenant_id, email, display_name) select %s, n || '@many.test', 'N'"
            " from generate_series(1, 500) as n",
            [world.here.id],
        )
    with psycopg.connect(world.server.url(world.name)) as conn:
        conn.execute("set track_functions = 'all'")
        conn.execute("select platform.open_session_context(%s)", [session.session_token])
        conn.execute("set local role enterprise_ai_app")
        calls = "select calls from pg_stat_xact_user_functions where funcname = 'current_tenant_id'"
        (before,) = conn.execute(calls).fetchone()
        assert len(conn.execute("select * from identity.users").fetchall()) > 500
        assert conn.execute(calls).fetchone() == (before + 1,)


# API keys


@pytest.fixture
def api_key(world):
    with world.owner(world.here) as conn:
        conn.execute("delete from identity.api_keys")
        (key,) = conn.execute(
            "select identity._token('k', %s, platform.random_bytes(32))", [world.here.id]
        ).fetchone()
        conn.execute(
            "insert into identity.api_keys (tenant_id, user_id, name, prefix, key_hash, scopes)"
            " values (%s, %s, 'robot', left(%s, 12), identity._token_hash(%s), '{document.read}')",
            [world.here.id, world.here.people["ada"], key, key],
        )
    return key


def test_an_api_key_opens_a_context_confined_to_its_scopes(world, app, api_key):
    (fields,) = app.execute("select platform.open_api_key_context(%s, 'r-2')", [api_key]).fetchone()
    assert fields["scopes"] == ["document.read"]
    assert fields["user_id"] == str(world.here.people["ada"])
    assert fields["request_id"] == "r-2"
    assert set(fields) == {
        "tenant_id",
        "user_id",
        "api_key_id",
        "scopes",
        "request_id",
        "authentication_level",
    }
    app.commit()
    with world.owner(world.here) as conn:
        assert conn.execute("select last_used_at is not null from identity.api_keys").fetchone() == (True,)


@pytest.mark.parametrize(
    "ending",
    ["revoked_at = now()", "created_at = now() - interval '2 days', expires_at = now() - interval '1 day'"],
)
def test_an_api_key_that_is_over_opens_nothing(world, app, api_key, ending):
    with world.owner(world.here) as conn:
        conn.execute(f"update identity.api_keys set {ending}")
    for key in (api_key, api_key + "x", None, api_key.replace("_k_", "_s_")):
        with pytest.raises(psycopg.Error) as caught, app.transaction():
            app.execute("select platform.open_api_key_context(%s)", [key])
        assert caught.value.sqlstate == "ZI005"


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [
        ("update identity.users set status = 'suspended'", "ZI002"),
        ("update identity.users set status = 'deactivated'", "ZI002"),
        ("update identity.tenants set status = 'suspended'", "ZI001"),
        ("update identity.tenants set status = 'deleting'", "ZI001"),
        ("update identity.users set status = 'locked', locked_until = now() + interval '1 hour'", None),
    ],
)
def test_an_api_key_is_worth_no_more_than_its_user_and_tenant(world, app, change, sqlstate):
    tenant = world.new_tenant(f"robots{next(numbers)}")
    person = world.new_person(tenant)
    with world.connect("gateway") as conn:
        conn.execute("select platform.open_context(%s, %s)", [tenant.id, person])
        (key,) = conn.execute("select key from identity.create_api_key('robot')").fetchone()
    with world.owner(tenant) as conn:
        conn.execute(change)
    if sqlstate is None:
        app.execute("select platform.open_api_key_context(%s)", [key])
        assert app.execute(WHO).fetchone() == (tenant.id, person, person)
        return
    with pytest.raises(psycopg.Error) as caught:
        app.execute("select platform.open_api_key_context(%s)", [key])
    assert caught.value.sqlstate == sqlstate


# The key that seals


def test_keys_rotate_under_open_transactions(world, session):
    with world.connect("app") as running, world.connect("operator", autocommit=True) as operator:
        running.execute(OPEN, [session.session_token])
        assert operator.execute("select platform.rotate_context_key()").fetchone() == (0,)
        assert running.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
        running.execute(OPEN, [session.session_token])  # sealed with the new key
        assert operator.execute("select platform.rotate_context_key()").fetchone() == (0,)
        assert running.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
        # After a leak: everything sealed with a retired key counts no more.
        assert operator.execute("select platform.rotate_context_key('0')").fetchone()[0] >= 2
        assert running.execute("select platform.current_tenant_id()").fetchone() == (None,)
        running.execute(OPEN, [session.session_token])
        assert running.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)


def test_readers_never_notice_a_rotation(world, session):
    """Contexts are opened all the time while keys rotate all the time: none fails, none is lost."""

    def read(times):
        with world.connect("app") as conn:
            for _ in range(times):
                conn.execute(OPEN, [session.session_token])
                assert conn.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
                conn.commit()
        return True

    def rotate(times):
        with world.connect("operator", autocommit=True) as conn:
            for _ in range(times):
                conn.execute("select platform.rotate_context_key('5 seconds')")
        return True

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(read, 40) for _ in range(3)] + [pool.submit(rotate, 20) for _ in range(2)]
        assert all(job.result(60) for job in jobs)


@pytest.mark.parametrize("login", ["app", "gateway"])
def test_only_operators_rotate(world, login):
    with world.connect(login) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("select platform.rotate_context_key()")
