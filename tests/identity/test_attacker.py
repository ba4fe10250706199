"""An attacker who can run any SQL as an application's login, with a session of their own in one tenant.

Each test is something such a person would try to reach the rows of another tenant, to become another user, or to
read a secret. The login is a member of enterprise_ai_app alone; what makes it worse than a deployment's is meant:
it may create objects in `public`, as everybody can where nobody has taken that away.
"""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg import sql

OPEN = "select platform.open_session_context(%s)"
SECRET = "there"  # in every row of the other tenant that is looked for


@pytest.fixture(scope="module")
def tokens(world):
    return {
        tenant.slug: world.new_session(tenant, tenant.people["ada"]).session_token
        for tenant in (world.here, world.there)
    }


@pytest.fixture
def attacker(app, tokens):
    """A connection with the attacker's own context open."""
    app.execute(OPEN, [tokens["here"]])
    return app


def tenants_seen(conn):
    return {row[0] for row in conn.execute("select tenant_id from identity.users")}


def refused(conn, statement, params=None, sqlstate="42501"):
    """The error with which the server refuses the statement; the transaction goes on."""
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        cursor = conn.execute(statement, params, prepare=False)
        pytest.fail(
            f"{statement} went through: {cursor.fetchall() if cursor.description else cursor.statusmessage}"
        )
    assert caught.value.sqlstate == sqlstate, caught.value
    return caught.value


# The setting


def test_set_in_all_its_forms_forges_nothing(world, app):
    there = str(world.there.id)
    forged = "0" * 64 + "00000000" + there + '{"tenant_id": "' + there + '"}'
    for statement in (
        "set enterprise_ai.context = {}", "set local enterprise_ai.context = {}", "set session enterprise_ai.context = {}",
        "select set_config('enterprise_ai.context', {}, true)", "select set_config('enterprise_ai.context', {}, false)",
        "do $$ begin perform set_config('enterprise_ai.context', {}, false); end $$",
    ):  # fmt: skip
        for value in (forged, there, forged[:72] + there.upper(), "x", "", forged[64:]):
            app.execute(statement.format("'" + value + "'"), prepare=False)
            assert app.execute("select platform.context(), platform.current_tenant_id()").fetchone() == (
                None,
                None,
            )
            assert tenants_seen(app) == set()
            app.rollback()


def test_what_is_planted_in_the_session_does_not_outlive_an_opening(world, app, tokens):
    app.execute("select set_config('enterprise_ai.context', 'planted', false)")
    app.commit()
    app.execute(OPEN, [tokens["here"]])
    assert tenants_seen(app) == {world.here.id}
    app.commit()
    assert app.execute("select platform.context()").fetchone() == (None,)


def test_an_own_context_cannot_be_turned_into_another(world, attacker):
    sealed = attacker.execute("select current_setting('enterprise_ai.context')").fetchone()[0]
    here, there = str(world.here.id), str(world.there.id)
    bob = str(world.here.people["bob"])
    ada = str(world.here.people["ada"])
    changed = [
        sealed.replace(here, there), sealed[:72] + there + sealed[108:], sealed[:108] + sealed[108:].replace(here, there),
        sealed.replace(ada, bob), sealed[:108] + sealed[108:].replace('"authentication_level": 1', '"authentication_level": 3'),
        sealed + " ", sealed[:-1], sealed.upper(), sealed[:64] + "ffffffff" + sealed[72:], ("0" if sealed[0] != "0" else "1") + sealed[1:],
    ]  # fmt: skip
    for value in changed:
        assert value != sealed
        attacker.execute("select set_config('enterprise_ai.context', %s, true)", [value])
        assert attacker.execute("select platform.context(), platform.current_user_id()").fetchone() == (
            None,
            None,
        )
        assert tenants_seen(attacker) == set()
    attacker.execute("select set_config('enterprise_ai.context', %s, true)", [sealed])
    assert tenants_seen(attacker) == {world.here.id}


def test_a_context_works_in_no_other_transaction_and_no_other_backend(world, app, tokens):
    with world.connect("app") as victim:
        victim.execute(OPEN, [tokens["there"]])
        stolen = victim.execute("select current_setting('enterprise_ai.context')").fetchone()[0]
        app.execute("select set_config('enterprise_ai.context', %s, true)", [stolen])
        assert tenants_seen(app) == set()
        victim.commit()
        victim.execute("select set_config('enterprise_ai.context', %s, true)", [stolen])
        assert tenants_seen(victim) == set()


def test_a_failed_opening_leaves_nothing_of_the_tenant_it_named(world, attacker, tokens):
    """The functions look around in the tenant that a token names before they know it to be true."""
    false_token = "eai_s_" + world.there.id.hex + "_" + "A" * 43
    attacker.execute(
        sql.SQL("""do $$ begin
            perform platform.open_session_context({token});
        exception when others then
            perform set_config('test.seen', (select count(*) from identity.users where tenant_id = {there})::text, true);
        end $$""").format(token=sql.Literal(false_token), there=sql.Literal(world.there.id)), prepare=False
    )  # fmt: skip
    assert attacker.execute("select current_setting('test.seen')").fetchone() == ("0",)
    assert tenants_seen(attacker) == {world.here.id}
    refused(attacker, OPEN, [false_token], "ZI004")
    assert tenants_seen(attacker) == {world.here.id}


def test_savepoints_bring_back_only_what_was_there(world, attacker):
    attacker.execute("savepoint one")
    attacker.execute("select set_config('enterprise_ai.context', '', true)")
    assert tenants_seen(attacker) == set()
    attacker.execute("rollback to one")
    assert tenants_seen(attacker) == {world.here.id}


def test_nobody_can_be_named_without_proof(world, attacker):
    for statement in (
        "select platform.open_context(%s)", "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))",
        "select identity.start_session(%s)", "select identity._tenant_of_token(%s::text, 's')",
        "select identity._revoke_sessions(array[%s::uuid], 'x')", "select identity._issue_tokens(%s, null, null, null)",
        "select identity.revoke_sessions_of(%s, 'x')",
    ):  # fmt: skip
        refused(attacker, statement, [world.there.id], "42501")


# Roles


def test_the_login_cannot_become_more(attacker):
    for role in ("enterprise_ai_gateway", "enterprise_ai_operator", "enterprise_ai_auditor", "enterprise_ai_reader",
                 "migrator", "postgres"):  # fmt: skip
        refused(attacker, f"set role {role}")
        refused(attacker, f"set session authorization {role}")
        refused(attacker, f"grant {role} to app_login")
    refused(attacker, "alter table identity.users disable row level security")
    refused(attacker, "alter table identity.users no force row level security")
    refused(attacker, "drop policy users_of_my_tenant on identity.users")
    refused(attacker, "create policy mine on identity.users using (true)")
    refused(attacker, "set session_replication_role = replica")
    refused(attacker, "create or replace function platform.current_tenant_id() returns uuid language sql as 'select null::uuid'",
            sqlstate="42501")  # fmt: skip


def test_switching_row_security_off_shows_nothing(attacker):
    attacker.execute("set local row_security = off")
    refused(attacker, "select * from identity.users")


def test_the_secrets_are_granted_to_nobody(attacker):
    for table in ("platform.context_keys", "identity.user_passwords", "identity.user_sessions", "identity.refresh_tokens",
                  "identity.api_keys", "identity.mfa_factors", "identity.mfa_recovery_codes", "identity.one_time_tokens",
                  "identity.login_attempts", "identity.tenant_directory", "pg_catalog.pg_authid"):  # fmt: skip
        refused(attacker, f"select * from {table}")
        refused(attacker, f"select count(*) from {table}")
        refused(attacker, f"copy {table} to stdout")
        refused(attacker, f"delete from {table}")


# The search path, and things of the attacker's own


def test_own_operators_on_the_path_change_no_answer(world, attacker):
    """Every operator, function and cast that the readers of the context could resolve, planted ahead of the real one."""
    there, bob = world.there.id, world.here.people["bob"]
    attacker.execute(
        sql.SQL("""
        create function public.lie(jsonb, text) returns text language sql as $$ select case when $2 = 'tenant_id' then {there} else {bob} end $$;
        create operator public.->> (leftarg = jsonb, rightarg = text, function = public.lie);
        create function public.yes(text, text) returns boolean language sql as 'select true';
        create operator public.= (leftarg = text, rightarg = text, function = public.yes);
        create function public.yes(uuid, uuid) returns boolean language sql as 'select true';
        create operator public.= (leftarg = uuid, rightarg = uuid, function = public.yes);
        create function public.yes(integer, integer) returns boolean language sql as 'select true';
        create operator public.> (leftarg = integer, rightarg = integer, function = public.yes);
        create function public.substr(text, integer, integer) returns text language sql as $$ select {there}::text $$;
        create function public.left(text, integer) returns text language sql as 'select null::text';
        create function public.current_setting(text, boolean) returns text language sql as $$ select {there}::text $$;
        create function public.sha256(bytea) returns bytea language sql as 'select $1';
        create function public.encode(bytea, text) returns text language sql as 'select $2';
        create function public.transaction_timestamp() returns timestamptz language sql as 'select now() - interval ''1 day''';
        create function public.pg_backend_pid() returns integer language sql as 'select 1';
        """).format(there=sql.Literal(str(there)), bob=sql.Literal(str(bob))), prepare=False
    )  # fmt: skip
    before = attacker.execute(
        "select platform.context(), platform.current_user_id(), platform.current_actor_id()"
    ).fetchone()
    for path in ("public, pg_catalog", "public, pg_temp, pg_catalog", "pg_temp, public"):
        attacker.execute(f"set local search_path = {path}", prepare=False)
        assert attacker.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
        assert (
            attacker.execute(
                "select platform.context(), platform.current_user_id(), platform.current_actor_id()"
            ).fetchone()
            == before
        )
        # The attacker's own `=` lies in the attacker's own predicates; the policy's is the server's.
        rows = attacker.execute(
            "select t.tenant_id from identity.users as t where t.tenant_id operator(public.=) %s", [there]
        ).fetchall()
        assert {row[0] for row in rows} == {world.here.id}


def test_temporary_tables_do_not_stand_in_for_ours(world, attacker, tokens):
    """Definer functions find their own tables, whatever the caller's session has of the same name."""
    attacker.execute(
        """
        create temp table context_keys (id text, secret bytea, retired_at timestamptz);
        insert into pg_temp.context_keys values ('00000000', sha256('x'), null);
        create temp table user_sessions (id uuid); create temp table users (id uuid); create temp table tenants (id uuid);
        create temp view api_keys as select 1 as one;
        create domain pg_temp.uuid as pg_catalog.uuid check (value is null);
        create domain pg_temp.text as pg_catalog.text check (value is null);
        create domain pg_temp.jsonb as pg_catalog.jsonb check (value is null);
        """,
        prepare=False,
    )
    attacker.execute("set local search_path = pg_temp, platform, identity, pg_catalog", prepare=False)
    attacker.execute("select platform.open_session_context($$" + tokens["here"] + "$$)", prepare=False)
    assert attacker.execute("select platform.current_tenant_id()").fetchone() == (world.here.id,)
    refused(attacker, "select platform.open_api_key_context('x')", sqlstate="ZI005")


def test_own_definer_functions_and_views_gain_nothing(world, attacker):
    attacker.execute(
        "create function public.all_users() returns setof identity.users language sql security definer"
        " as 'select * from identity.users'; create view public.all_users as select * from identity.users",
        prepare=False,
    )
    for source in ("public.all_users()", "public.all_users"):
        assert {row[0] for row in attacker.execute(f"select tenant_id from {source}")} == {world.here.id}


def test_a_view_of_one_tenant_shows_the_next_reader_only_their_own(world, app, tokens):
    app.execute(OPEN, [tokens["here"]])
    app.execute("create temp view mine as select * from identity.users")
    assert {row[0] for row in app.execute("select tenant_id from mine")} == {world.here.id}
    app.commit()
    assert app.execute("select * from mine").fetchall() == []
    app.execute(OPEN, [tokens["there"]])
    assert {row[0] for row in app.execute("select tenant_id from mine")} == {world.there.id}


# Predicates, plans, errors


LEAKS = """
create function public.peek(text) returns boolean language plpgsql cost 0.0000001 as
$$ begin raise notice 'seen: %', $1; return true; end $$;
create function public.peek_row(anyelement) returns boolean language plpgsql cost 0.0000001 as
$$ begin raise notice 'seen: %', $1; return true; end $$;
create function public.peek2(text, text) returns boolean language plpgsql cost 0.0000001 as
$$ begin raise notice 'seen: %', $1; return true; end $$;
create operator public.<<<< (leftarg = text, rightarg = text, function = public.peek2);
"""


@pytest.mark.parametrize("query", [
    "select * from identity.users where public.peek(email)",
    "select * from identity.users as u where public.peek_row(u)",
    "select * from identity.users where email operator(public.<<<<) 'x'",
    "select * from identity.users where public.peek(email) or true order by email",
    "select * from identity.users as u join identity.tenants as t on public.peek(u.email)",
    "select * from identity.users group by tenant_id, id having public.peek(email)",
    "select count(*) filter (where public.peek(email)) from identity.users",
    "select (select public.peek(u.email)) from identity.users as u",
    "select * from identity.users, lateral (select public.peek(email)) as leak",
    "select * from identity.users tablesample bernoulli (100) where public.peek(email)",
    "select * from identity.users where ctid = any (array(select format('(0,%s)', n)::tid from generate_series(1, 50) as n))"
    " and public.peek(email)",
    "update analytics.cost_centers as c set display_name = c.display_name from identity.users as u where public.peek(u.email)",
    "delete from analytics.allocation_rules as g using identity.users as u where public.peek(u.email)",
    "explain (analyze, verbose) select * from identity.users where public.peek(email)",
    "declare c cursor for select * from identity.users where public.peek(email); move all in c",
    "select query_to_xml('select * from identity.users where public.peek(email)', true, false, '')",
    "select table_to_xml('identity.users', true, false, '')",
    "select * from ts_stat('select to_tsvector(email) from identity.users where public.peek(email)')",
    "copy (select * from identity.users where public.peek(email)) to stdout",
    "create temp table loot as select * from identity.users where public.peek(email); select * from loot",
])  # fmt: skip
def test_leaky_functions_are_only_shown_rows_of_the_own_tenant(world, attacker, query):
    notices = []
    attacker.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    attacker.execute(LEAKS, prepare=False)
    shown = ""
    if query.startswith("copy"):
        with attacker.cursor() as cursor, cursor.copy(query) as copy:
            shown = b"".join(copy).decode()
    else:
        cursor = attacker.execute(query, prepare=False)
        while cursor is not None:
            shown += str(cursor.fetchall()) if cursor.description else ""
            cursor = cursor if cursor.nextset() else None
    told = "\n".join(notices) + shown
    assert f"@{SECRET}.test" not in told
    assert str(world.there.id) not in told
    assert "@here.test" in told or query.startswith(("update", "select count", "delete"))


@pytest.mark.parametrize("predicate", [
    "1 / (case when email like '%@there.test' then 0 else 1 end) = 1",
    "(case when email like '%@there.test' then email else '1' end)::integer = 1",
    "substring(email for (case when email like '%@there.test' then -1 else 1 end)) is not null",
    "repeat(email, (case when email like '%@there.test' then 1000000000 else 1 end)) is not null",
    "to_date((case when email like '%@there.test' then email else '2020-01-01' end), 'YYYY-MM-DD') is not null",
])  # fmt: skip
def test_errors_tell_nothing_of_rows_next_door(attacker, predicate):
    """A predicate that fails on a row of the other tenant, and would show it, never meets one."""
    assert (
        attacker.execute(f"select count(*) from identity.users where {predicate}", prepare=False).fetchone()[
            0
        ]
        >= 0
    )


def test_the_same_predicates_fail_where_such_a_row_is_met(world, app, tokens):
    """What the test above relies on."""
    app.execute(OPEN, [tokens["there"]])
    error = refused(app, "select count(*) from identity.users where (case when email like '%@there.test' then email else '1' end)::integer = 1",
                    sqlstate="22P02")  # fmt: skip
    assert "@there.test" in error.diag.message_primary


def test_prepared_statements_follow_the_context_of_whoever_runs_them(world, app, tokens):
    app.execute("prepare all_users as select tenant_id from identity.users", prepare=False)
    app.execute("set plan_cache_mode = force_generic_plan", prepare=False)
    for tenant in (world.here, world.there, world.here):
        app.execute(OPEN, [tokens[tenant.slug]])
        assert {row[0] for row in app.execute("execute all_users", prepare=False)} == {tenant.id}
        app.commit()
    assert app.execute("execute all_users", prepare=False).fetchall() == []


def test_an_open_cursor_does_not_change_sides(world, app, tokens):
    """Two contexts in one transaction: what was verified when the cursor opened holds for it, and nothing else."""
    app.execute(OPEN, [tokens["here"]])
    app.execute("declare c cursor for select tenant_id from identity.users")
    app.execute("select set_config('enterprise_ai.context', '', true)")
    assert {row[0] for row in app.execute("fetch all from c")} <= {world.here.id}
    assert tenants_seen(app) == set()


def test_explain_and_the_statistics_views_show_no_values(world, attacker):
    with world.owner() as conn:
        conn.execute("analyze identity.users")
    assert attacker.execute(
        "select count(*) from pg_stats where schemaname = 'identity' and tablename = 'users'"
    ).fetchone() == (0,)
    refused(attacker, "select * from pg_statistic")
    refused(attacker, "select * from pg_statistic_ext_data")
    plan = "\n".join(
        row[0] for row in attacker.execute("explain (analyze, verbose, buffers) select * from identity.users")
    )
    assert SECRET not in plan.replace("there is", "")
    assert str(world.there.id) not in plan


def test_plans_that_the_server_prints_hold_no_secrets(world, app, tokens):
    """Whoever likes may have every plan printed, and with it the values that functions hand to their statements."""
    printed = []
    app.add_notice_handler(lambda diag: printed.append(f"{diag.message_primary} {diag.message_detail}"))
    for setting in ("debug_print_parse = on", "debug_print_rewritten = on", "debug_print_plan = on", "debug_pretty_print = off",
                    "client_min_messages = debug5", "plan_cache_mode = force_custom_plan"):  # fmt: skip
        app.execute(f"set {setting}", prepare=False)
    app.execute(OPEN, [tokens["here"]])
    for query in ("select * from identity.users", "select platform.current_user_id()", "select * from identity.list_my_sessions()",
                  "select * from identity.list_my_api_keys()", "select * from identity.quota_usage()",
                  "select authz.check('conversation.read')", "select platform.count_against_limit('limits.requests_per_minute')"):  # fmt: skip
        app.execute(query)
    with pytest.raises(psycopg.Error):
        app.execute(OPEN, ["eai_s_" + world.there.id.hex + "_" + "A" * 43])
    told = "\n".join(printed)

    def as_printed(value):
        """Bytes as a constant in a plan."""
        return " ".join(str(byte - 256 if byte > 127 else byte) for byte in value)

    assert as_printed(world.here.id.bytes) in told  # values are printed, and so they are looked for
    with psycopg.connect(world.server.url(world.name)) as superuser:
        keys = superuser.execute("select substr(secret, 20, 20) from platform.context_keys").fetchall()
        hashes = superuser.execute("select substr(token_hash, 1, 20) from identity.user_sessions where tenant_id = %s", [world.there.id]).fetchall()  # fmt: skip
    assert keys
    assert hashes
    for (value,) in keys + hashes:
        assert as_printed(value) not in told
        assert value.hex() not in told


def test_settings_of_the_session_change_no_answer(world, app, tokens):
    """What a session may say of how literals and values are read and written is not what our functions go by."""
    ask = (
        "select platform.context() - 'request_id', platform.current_actor_id(), authz.check('conversation.read'),"
        " platform.setting('security.step_up_minutes')"
    )
    app.execute(OPEN, [tokens["here"]])
    expected = app.execute(ask).fetchone()
    with world.connect("app") as hostile:
        for setting in ("standard_conforming_strings = off", "escape_string_warning = off", "transform_null_equals = on",
                        "bytea_output = escape", "datestyle = 'german, dmy'", "intervalstyle = sql_standard",
                        "timezone = '<a>0<b>-00:00:30,J2/0,J365/0'", "extra_float_digits = -15", "array_nulls = off", "quote_all_identifiers = on",
                        "xmlbinary = hex", "client_encoding = sql_ascii", "plpgsql.extra_errors = none"):  # fmt: skip
            hostile.execute(f"set {setting}", prepare=False)
        cursor = psycopg.ClientCursor(hostile)
        cursor.execute("select platform.open_session_context(E%s)", [tokens["here"]])
        assert app.execute(ask).fetchone() == expected
        assert cursor.execute(ask).fetchone() == expected
        assert cursor.execute("select distinct tenant_id from identity.users").fetchall() == [
            (world.here.id,)
        ]
        with pytest.raises(psycopg.Error) as caught:
            cursor.execute(f"select platform.open_session_context('eai_s_{world.there.id.hex}_{'A' * 43}')")
        assert caught.value.sqlstate == "ZI004"


def test_what_others_are_doing_is_seen_without_their_tokens(world, attacker, tokens):
    """Sessions of the same login see each other's statements; with parameters, there is nothing in them."""
    with world.connect("app") as victim:
        victim.execute(OPEN, [tokens["there"]])
        victim.execute("select * from identity.users where email = %s", ["ada@there.test"])
        seen = str(
            attacker.execute("select query from pg_stat_activity where usename = current_user").fetchall()
        )
    assert "select * from identity.users where email = $1" in seen
    assert tokens["there"] not in seen
    assert "ada@there.test" not in seen


# Writing


def test_rows_cannot_be_written_or_moved_next_door(world, attacker):
    here, there = world.here, world.there
    new = "insert into llm.conversations (tenant_id, user_id, title) values (%s, %s, 'x')"
    refused(attacker, new, [there.id, there.people["ada"]], "42501")
    attacker.execute(new, [here.id, here.people["ada"]])
    refused(attacker, "update analytics.cost_centers set tenant_id = %s", [there.id], "42501")
    for statement in ("update analytics.cost_centers set display_name = 'x' where tenant_id = %s",
                      "delete from analytics.allocation_rules where tenant_id = %s"):  # fmt: skip
        assert attacker.execute(statement, [there.id]).rowcount == 0
    refused(attacker, "copy analytics.cost_centers from stdin", sqlstate="0A000")
    refused(attacker, "truncate analytics.cost_centers")


def test_unique_and_foreign_keys_are_no_oracles(world, attacker):
    """Whether an id exists next door makes no difference to any answer."""
    here, there = world.here, world.there
    new = "insert into llm.conversations (tenant_id, id, user_id, title) values (%s, %s, %s, 'x')"
    with world.owner(there) as conn:
        (taken,) = conn.execute(
            "insert into llm.conversations (tenant_id, user_id, title) values (%s, %s, 'x') returning id",
            [there.id, there.people["ada"]],
        ).fetchone()
    attacker.execute(new, [here.id, taken, here.people["ada"]])  # the same id is free here
    for tenant_id, sqlstate in ((here.id, "23503"), (there.id, "42501")):
        answers = set()
        for user_id in (there.people["ada"], there.id):  # one exists next door, the other nowhere
            error = refused(attacker, new, [tenant_id, world.here.id, user_id], sqlstate)
            answers.add(
                (
                    error.diag.constraint_name,
                    error.diag.message_primary,
                    str(error.diag.message_detail).replace(str(user_id), "?"),
                )
            )
        assert len(answers) == 1


def test_people_cannot_be_taken_over_within_the_own_tenant(world, attacker):
    """An address is what a password is reset by, an external id what single sign-on finds: neither is the application's."""
    bob = world.here.people["bob"]
    for assignment in ("email = 'mine@evil.test'", "external_id = 'mine'", "status = 'suspended'", "locked_until = now()",
                       "email_verified_at = now()", "display_name = 'Ada'"):  # fmt: skip
        refused(attacker, f"update identity.users set {assignment} where id = %s", [bob])
    refused(
        attacker,
        "insert into identity.users (tenant_id, email, display_name) values (%s, 'x@y.test', 'X')",
        [world.here.id],
        "42501",
    )
    for table in (
        "user_profiles",
        "groups",
        "group_members",
        "user_sso_accounts",
        "sso_providers",
        "sso_role_mappings",
    ):
        refused(attacker, f"insert into identity.{table} default values")
        refused(attacker, f"delete from identity.{table}")
    assert attacker.execute(
        "select identity.revoke_session(%s)", [world.new_session(world.here, bob).session_id]
    ).fetchone() == (False,)
    with world.owner(world.here) as conn:
        conn.execute(
            "insert into identity.mfa_factors (tenant_id, user_id, kind, name, totp_secret) values (%s, %s, 'totp', 'phone', %s)",
            [world.here.id, bob, b"\x01" * 60],
        )
    assert attacker.execute("select * from identity.list_second_factors(%s)", [bob]).fetchall() == []


# Side channels that must stay empty


def test_large_objects_sequences_and_transaction_ids_give_no_rows(world, attacker):
    assert attacker.execute("select count(*) from pg_largeobject_metadata").fetchone() == (0,)
    refused(attacker, "select * from pg_largeobject")
    assert attacker.execute(
        "select count(*) from pg_class as c where c.relnamespace::regnamespace::name = any (%s)"
        " and case when c.relkind = 'S' then has_sequence_privilege(c.oid, 'usage, select, update') end",
        [["platform", "identity", "authz", "llm", "analytics", "security", "audit"]],
    ).fetchone() == (0,)
    assert {
        row[0]
        for row in attacker.execute("select tenant_id from identity.users where xmin::text is not null")
    } == {world.here.id}
    for function in (
        "pg_read_file('pg_hba.conf')",
        "pg_ls_dir('.')",
        "lo_import('/etc/passwd')",
        "pg_read_binary_file('PG_VERSION')",
    ):
        refused(attacker, f"select {function}")
    refused(attacker, "copy identity.groups to program 'cat'")
    refused(attacker, "copy identity.groups to '/tmp/loot'")


def test_partitions_are_not_reached_around_their_parent(attacker):
    parts = attacker.execute(
        "select c.oid::regclass::text from pg_class as c where c.relispartition and c.relkind = 'r' limit 20"
    ).fetchall()
    assert parts
    for (part,) in parts:
        refused(attacker, f"select * from {part}")


# Everything at once


def test_every_definer_function_within_reach_keeps_to_the_context(world, attacker):
    """With nothing but nulls and the other tenant's ids as arguments, none of them gives a row of it away."""
    functions = attacker.execute(
        """
        select p.oid::regprocedure::text, array(select format_type(t, null) from unnest(p.proargtypes) as t)
        from pg_proc as p
        where p.pronamespace::regnamespace::name = any (%s) and p.prokind = 'f' and p.prosecdef
          and has_function_privilege(p.oid, 'execute')
        """,
        [["platform", "identity", "authz", "llm", "analytics", "security", "audit"]],
    ).fetchall()
    assert len(functions) >= 5
    ids = [world.there.id, world.there.people["ada"], world.there.people["bob"]]
    for signature, types in functions:
        name = re.match(r"[^(]+", signature).group()
        for one in ids:
            values = [one if kind == "uuid" else ([one] if kind == "uuid[]" else None) for kind in types]
            try:
                with attacker.transaction():
                    casts = ", ".join(f"%s::{kind}" for kind in types)
                    shown = str(attacker.execute(f"select {name}({casts})", values).fetchall())
                    raise psycopg.Rollback
            except psycopg.Error as error:
                shown = f"{error.diag.message_primary} {error.diag.message_detail}"
            assert f"@{SECRET}.test" not in shown, signature
            assert f"of {SECRET}" not in shown, signature
        assert tenants_seen(attacker) == {world.here.id}, signature
