"""What is promised of the session: no file finds what another one left behind, nor does the engine."""

from __future__ import annotations

import pytest

from tests.migrate.conftest import history, query, value

LEFT_BEHIND = {
    "search_path": ("set search_path = pg_catalog;", "current_setting('search_path') = '\"$user\", public'"),
    "role": (
        "create role {role}; grant create on schema public to {role}; set role {role};",
        "current_user = session_user",
    ),
    "session user": (
        "create role {role} superuser; set session authorization {role};",
        "session_user = 'postgres'",
    ),
    "timeout": ("set statement_timeout = '77s';", "current_setting('statement_timeout') = '0'"),
    "lock timeout": ("set lock_timeout = '77s';", "current_setting('lock_timeout') = '2s'"),
    "read only": (
        "set default_transaction_read_only = on;",
        "current_setting('transaction_read_only') = 'off'",
    ),
    "isolation": (
        "set default_transaction_isolation = 'serializable';",
        "current_setting('transaction_isolation') = 'read committed'",
    ),
    "strings": ("set standard_conforming_strings = off;", "length('\\n') = 2"),
    "row security": ("set row_security = off;", "current_setting('row_security') = 'on'"),
    "replica": (
        "set session_replication_role = replica;",
        "current_setting('session_replication_role') = 'origin'",
    ),
    "set_config": (
        "select set_config('app.tenant', 'x', false);",
        "current_setting('app.tenant', true) is null",
    ),
    "custom setting": ("set app.tenant = 'x';", "current_setting('app.tenant', true) is null"),
    "temp table": ("create temp table leftover (id int);", "to_regclass('leftover') is null"),
    "prepared": (
        "prepare p as select 1;",
        "not exists (select from pg_prepared_statements where name not like 'enterprise_ai_%')",
    ),
    "listen": ("listen channel;", "not exists (select from pg_listening_channels())"),
    "cursor": ("declare c cursor with hold for select 1;", "not exists (select from pg_cursors)"),
    "advisory lock": (
        "select pg_advisory_lock(42);",
        "not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
    ),
    "time zone": ("set time zone 'Asia/Tokyo';", "current_setting('timezone') <> 'Asia/Tokyo'"),
}


@pytest.mark.parametrize("what", sorted(LEFT_BEHIND))
def test_nothing_of_one_file_reaches_the_next(project, what):
    leave, check = LEFT_BEHIND[what]
    role = "left_" + value(project.url, "select current_database()")
    project.add("001_leave.sql", leave.format(role=role) + "\n")
    project.add("002_look.sql", f"create table public.found as select {check} as fresh;\n")
    try:
        project.ok("migrate")
        assert history(project.url) == ["001_leave.sql", "002_look.sql"]
        assert value(project.url, "select fresh from found") is True
    finally:
        query(project.url, "drop table if exists found")
        if "{role}" in leave:
            query(project.url, f"drop owned by {role} cascade")
            query(project.url, f"drop role {role}")


def test_what_the_last_file_left_set_does_not_disturb_its_record(project):
    project.add(
        "001_a.sql",
        "create table a (id int);\nset search_path = '';\nset standard_conforming_strings = off;\n"
        "set local row_security = off;\nset datestyle = 'German';\nset bytea_output = 'escape';\n"
        "set escape_string_warning = off;\n",
    )
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql"]


def test_new_defaults_of_the_database_hold_from_the_next_file_on(project):
    name = value(project.url, "select current_database()")
    project.add("001_a.sql", f"alter database \"{name}\" set work_mem = '7MB';\n")
    project.add("002_b.sql", "create table b as select current_setting('work_mem') as w;\n")
    project.ok("migrate")
    assert value(project.url, "select w from b") == "7MB"


def test_many_small_files_need_no_new_connection(project):
    for number in range(1, 30):
        project.add(f"{number:03d}_x.sql", f"create table t{number} as select pg_backend_pid() as pid;\n")
    project.ok("migrate")
    pids = query(project.url, " union ".join(f"select pid from t{number}" for number in range(1, 30)))
    assert len(pids) == 1


def test_an_idle_transaction_timeout_of_the_login_does_not_end_the_lock(project, version):
    if version < 14:
        pytest.skip("idle_session_timeout is new in 14")
    name = value(project.url, "select current_database()")
    query(project.url, f'alter database "{name}" set idle_session_timeout = 1000')
    project.add("001_a.sql", "select pg_sleep(1.5);")
    project.add("002_b.sql", "select 1;")
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


@pytest.mark.parametrize("how", ["deallocate all;", "do $$ begin execute 'deal' || 'locate all'; end $$;"])
def test_a_file_may_take_all_prepared_statements_away(project, how):
    """The engine keeps two of its own; a file that drops them, openly or not, is applied all the same, once."""
    query(project.url, "create table ran (file int)")
    project.add("001_a.sql", "insert into ran values (1);\n")
    project.add("002_b.sql", f"insert into ran values (2);\n{how}\n")
    project.add("003_c.sql", "insert into ran values (3);\n")
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_b.sql", "003_c.sql"]
    assert query(project.url, "select file from ran order by file") == [(1,), (2,), (3,)]


def test_each_file_has_a_transaction_of_its_own(project):
    for number in range(1, 6):
        project.add(f"{number:03d}_x.sql", f"create table t{number} as select txid_current() as id;\n")
    project.ok("migrate")
    found = query(project.url, " union ".join(f"select id from t{number}" for number in range(1, 6)))
    assert len(found) == 5
