"""What is promised of files that run outside a transaction: the journal, the resume, and every doubt settled."""

from __future__ import annotations

import signal

import pytest

from tests.migrate.conftest import connect, history, query, sleeping, tables, value, wait_until

HEAD = "-- migrate: no-transaction\n"


def filled(project, rows="(1), (2)"):
    project.add("001_t.sql", f"create table t (id int);\ninsert into t values {rows};\n")
    project.ok("migrate")


def indexes(url):
    """Name the indexes of table t, each with whether it is valid."""
    return query(
        url,
        "select indexrelid::regclass::text, indisvalid from pg_index where indrelid = 't'::regclass order by 1",
    )


def steps(url):
    """Return number and state of each journaled statement."""
    return query(url, "select step, done_at is not null, error from schema_migrations_steps order by step")


def building(url):
    return bool(
        query(
            url, "select 1 from pg_stat_activity where state = 'active' and query ilike 'create index conc%'"
        )
    )


def test_a_no_transaction_file_runs_statement_by_statement_and_is_recorded(project):
    filled(project)
    project.add(
        "002_i.sql",
        HEAD + "create index concurrently t_id on t (id);\nvacuum t;\nalter table t add column b int;\n"
        "copy t from stdin;\n3\t4\n\\.\ndo $$ begin perform 1; end $$;\n",
    )
    done = project.ok("migrate")
    assert "002_i.sql  done" in done.out
    assert indexes(project.url) == [("t_id", True)]
    assert value(project.url, "select b from t where id = 3") == 4
    assert history(project.url) == ["001_t.sql", "002_i.sql"]
    assert steps(project.url) == []
    assert (
        value(
            project.url,
            "select count(*) from schema_migrations join schema_migrations_texts using (checksum)",
        )
        == 2
    )
    project.ok("status", "--check")


def test_the_next_run_resumes_at_the_statement_that_failed(project):
    filled(project)
    broken = (
        HEAD
        + "insert into t values (3);\ninsert into t values (4);\nselect nope;\ninsert into t values (5);\n"
    )
    project.add("002_i.sql", broken)
    done = project.migrate()
    assert done.code == 1
    assert "002_i.sql:4:8" in done.err
    assert "Statements 1 to 2 of 002_i.sql are done" in done.err
    assert "it goes on at statement 3" in done.err
    assert history(project.url) == ["001_t.sql"]
    assert [step[:2] for step in steps(project.url)] == [(1, True), (2, True), (3, False)]
    assert "half done: 002_i.sql, 2 statements are done; statement 3 failed" in project.run("status").out
    assert project.run("status", "--check").code == 3
    project.add("002_i.sql", broken.replace("nope", "1"))
    project.ok("migrate")
    assert value(project.url, "select array_agg(id order by id) from t") == [1, 2, 3, 4, 5]
    assert history(project.url) == ["001_t.sql", "002_i.sql"]
    assert steps(project.url) == []


def test_an_edit_of_a_statement_that_ran_already_is_refused(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\nselect nope;\n")
    project.migrate()
    project.add("002_i.sql", HEAD + "insert into t values (33);\nselect 1;\n")
    done = project.migrate()
    assert done.code == 6
    assert "statement 1, which ran already, was edited" in done.err
    assert "insert into t values (3);" in done.err
    project.add(
        "002_i.sql", HEAD + "-- a comment between statements is free\ninsert into t values (3);\nselect 1;\n"
    )
    project.ok("migrate")
    assert value(project.url, "select count(*) from t") == 3


def test_a_removed_statement_that_ran_already_is_refused(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\ninsert into t values (4);\nselect nope;\n")
    project.migrate()
    project.add("002_i.sql", HEAD + "insert into t values (3);\n")
    done = project.migrate()
    assert done.code == 6
    assert "statement 2, which ran already, was removed" in done.err
    assert history(project.url) == ["001_t.sql"]


def test_line_ends_are_no_edit(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t\nvalues (3);\nselect nope;\n")
    project.migrate()
    project.add("002_i.sql", (HEAD + "insert into t\nvalues (3);\nselect 1;\n").replace("\n", "\r\n"))
    project.ok("migrate")
    assert value(project.url, "select count(*) from t") == 3


def test_session_settings_are_set_again_on_resume(project):
    filled(project)
    text = (
        HEAD
        + "create schema s;\nset search_path = s;\ncreate table a (id int);\nselect nope;\ncreate table b (id int);\n"
    )
    project.add("002_s.sql", text)
    project.migrate()
    project.add("002_s.sql", text.replace("nope", "1"))
    project.ok("migrate")
    assert tables(project.url, "s") == ["a", "b"]
    project.add("003_p.sql", "create table p (id int);\n")
    project.ok("migrate")
    assert tables(project.url) == ["p", "t"]


def test_the_role_of_the_file_does_not_write_the_journal(project, login):
    name, _ = login("create schema authorization {}")
    project.add(
        "001_r.sql",
        HEAD + f"set role {name};\ncreate table {name}.a (id int);\ncreate table {name}.b (id int);\n",
    )
    project.ok("migrate")
    assert query(project.url, f"select distinct tableowner from pg_tables where schemaname = '{name}'") == [
        (name,)
    ]


def test_a_failed_concurrent_index_is_reported_and_mended_by_the_next_run(project):
    filled(project, "(1), (1)")
    project.add("002_i.sql", HEAD + "create unique index concurrently t_id on t (id);\n")
    done = project.migrate()
    assert done.code == 1
    assert "23505" in done.err
    assert "left the invalid index public.t_id" in done.err
    assert "DROP INDEX CONCURRENTLY public.t_id;" in done.err
    assert indexes(project.url) == [("t_id", False)]
    query(project.url, "delete from t where ctid = (select min(ctid) from t)")
    done = project.ok("migrate")
    assert "drop index concurrently public.t_id" in done.err
    assert indexes(project.url) == [("t_id", True)]


def test_an_unnamed_invalid_index_is_reported_with_how_to_mend_it(project):
    filled(project, "(1), (1)")
    project.add("002_i.sql", HEAD + "create unique index concurrently on t (id);\n")
    done = project.migrate()
    assert "DROP INDEX CONCURRENTLY public.t_id_idx;" in done.err


def test_an_invalid_index_that_if_not_exists_passes_over_is_refused(project):
    filled(project, "(1), (1)")
    connection = connect(project.url)
    with connection.cursor() as cursor, pytest.raises(Exception, match="could not create unique index"):
        cursor.execute("create unique index concurrently t_id on t (id)")
    connection.close()
    project.add("002_i.sql", HEAD + "create unique index concurrently if not exists t_id on t (id);\n")
    done = project.migrate()
    assert done.code == 1
    assert "IF NOT EXISTS passed over it" in done.err
    assert "DROP INDEX CONCURRENTLY public.t_id;" in done.err
    assert history(project.url) == ["001_t.sql"]


def test_a_concurrent_index_waits_without_the_short_lock_timeout(project):
    filled(project)
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\n")
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("insert into t values (9)")
            running = project.start("migrate", "--lock-timeout", "0.1", "--lock-attempts", "1")
            wait_until(lambda: building(project.url))
            assert running.process.poll() is None
            wait_until(
                lambda: value(
                    project.url,
                    "select clock_timestamp() - max(query_start) > '0.5 s' from pg_stat_activity where query ilike 'create index conc%'",
                )
            )
            assert running.process.poll() is None
            cursor.execute("commit")
    done = running.wait()
    assert done.code == 0, done
    assert indexes(project.url) == [("t_id", True)]


def test_an_ordinary_statement_of_such_a_file_keeps_the_short_lock_timeout(project):
    filled(project)
    project.add("002_i.sql", HEAD + "select 1;\nalter table t add column b int;\n")
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("lock table t")
            done = project.migrate("--lock-timeout", "0.1", "--lock-attempts", "2")
            assert done.code == 1
            assert "55P03" in done.err
            assert "attempt 2 of 2" in done.err
            cursor.execute("rollback")
    project.ok("migrate")


def test_a_file_sets_its_own_lock_timeout(project):
    filled(project)
    project.add(
        "002_i.sql", "-- migrate: lock-timeout=100ms\n" + HEAD + "create index concurrently t_id on t (id);\n"
    )
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("insert into t values (9)")
            done = project.migrate("--lock-attempts", "1")
            assert done.code == 1
            assert "55P03" in done.err
            cursor.execute("rollback")
    project.ok("migrate")
    assert indexes(project.url) == [("t_id", True)]


def test_a_finished_index_of_a_killed_runner_is_found_in_the_catalogue(project):
    filled(project)
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect 1;\n")
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("insert into t values (9)")
            first = project.start("migrate")
            wait_until(lambda: building(project.url))
            first.kill()
            first.wait()
            again = project.migrate("--wait", "0.3")
            assert again.code == 5
            assert "still runs on the server" in again.err
            second = project.start("migrate")
            lines = iter(second.process.stderr.readline, b"")
            assert any(b"waiting for its end" in line for line in lines)
            cursor.execute("commit")
    done = second.wait()
    assert done.code == 0, done
    assert "turned out to be done" in done.err
    assert indexes(project.url) == [("t_id", True)]
    assert history(project.url) == ["001_t.sql", "002_i.sql"]


def test_an_unfinished_index_of_a_killed_runner_is_dropped_and_built_again(project):
    filled(project)
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\n")
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("insert into t values (9)")
            first = project.start("migrate")
            wait_until(lambda: indexes(project.url) == [("t_id", False)])
            first.kill()
            first.wait()
            query(
                project.url,
                "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'create index conc%'",
            )
            cursor.execute("commit")
    done = project.ok("migrate")
    assert "drop index concurrently public.t_id" in done.err
    assert indexes(project.url) == [("t_id", True)]


def in_doubt(project):
    """Kill a runner and its server session within a procedure that commits, which nobody can decide afterwards."""
    project.add(
        "001_p.sql",
        "create table t (id int);\n"
        "create procedure p() language plpgsql as $$\n"
        "begin insert into t values (1); commit; perform pg_sleep(20), 'mark-p'; end $$;\n",
    )
    project.ok("migrate")
    project.add("002_c.sql", HEAD + "insert into t values (0);\ncall p();\n")
    running = project.start("migrate")
    wait_until(lambda: value(project.url, "select count(*) from t") == 2)
    running.kill()
    running.wait()
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%call p()%' and pid <> pg_backend_pid()",
    )
    done = project.migrate()
    assert done.code == 1
    assert "whether statement 2 of 002_c.sql took effect is not known" in done.err
    assert "resolve 002_c.sql --as applied" in done.err
    assert "002_c.sql:3:1" in done.err
    assert "half done: 002_c.sql, 1 statement is done; statement 2 was started" in project.run("status").out


def test_resolve_as_applied_goes_on_behind_the_statement_in_doubt(project):
    in_doubt(project)
    project.add("002_c.sql", HEAD + "insert into t values (0);\ncall p();\ninsert into t values (2);\n")
    done = project.ok("resolve", "002_c.sql", "--as", "applied")
    assert "statement 2 counts as done" in done.out
    assert history(project.url) == ["001_p.sql"]
    project.ok("migrate")
    assert value(project.url, "select array_agg(id order by id) from t") == [0, 1, 2]
    assert history(project.url) == ["001_p.sql", "002_c.sql"]


def test_resolve_as_applied_of_the_last_statement_records_the_file(project):
    in_doubt(project)
    done = project.ok("resolve", "002_c.sql", "--as", "applied", "--json")
    assert done.json["recorded"] is True
    assert history(project.url) == ["001_p.sql", "002_c.sql"]
    assert value(project.url, "select array_agg(id order by id) from t") == [0, 1]


def test_resolve_as_pending_runs_the_statement_in_doubt_again(project):
    in_doubt(project)
    query(project.url, "create or replace procedure p() language sql as $$ insert into t values (7) $$")
    project.ok("resolve", "002_c.sql", "--as", "pending")
    project.ok("migrate")
    assert value(project.url, "select array_agg(id order by id) from t") == [0, 1, 7]


def test_resolve_without_a_half_done_file_is_refused(project):
    filled(project)
    assert project.run("resolve", "001_t.sql", "--as", "applied").code == 2
    assert project.run("resolve", "009_x.sql", "--as", "applied").code == 2
    assert project.run("resolve", "001_t.sql").code == 2
    assert project.run("resolve", "001_t.sql", "--as", "maybe").code == 2


def test_an_ordinary_statement_is_never_in_doubt(project):
    filled(project)
    project.add("002_i.sql", HEAD + "select 1;\ninsert into t select 5 from pg_sleep(20) as mark_i;\n")
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark_i"))
    running.kill()
    running.wait()
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%mark_i%' and pid <> pg_backend_pid()",
    )
    project.add("002_i.sql", HEAD + "select 1;\ninsert into t values (5);\n")
    project.ok("migrate")
    assert value(project.url, "select count(*) from t where id = 5") == 1


def test_a_signal_names_what_is_done_and_what_is_not(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\nselect pg_sleep(20), 'mark-s';\n")
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-s"))
    running.signal(signal.SIGTERM)
    done = running.wait()
    assert done.code == 143
    assert "Statement 1 of 002_i.sql is done" in done.err
    assert [step[:2] for step in steps(project.url)] == [(1, True), (2, False)]


@pytest.mark.parametrize("statement", ["begin", "commit", "rollback", "start transaction"])
def test_transaction_commands_are_refused_there_too(project, statement):
    project.add("001_a.sql", HEAD + f"create table a (id int);\n{statement};\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:3:1" in done.err
    assert tables(project.url) == []


def test_a_statement_that_turns_out_to_need_no_transaction_runs_without(project):
    project.add("001_p.sql", "create procedure p() language plpgsql as $$ begin commit; end $$;\n")
    project.ok("migrate")
    project.add(
        "002_d.sql", HEAD + "create table a (id int);\ndo $$ begin execute 'ca' || 'll p()'; end $$;\n"
    )
    done = project.migrate()
    # What PL/pgSQL cannot do in an EXECUTE it cannot do here either; but nothing before it is lost.
    assert done.code == 1
    assert tables(project.url) == ["a"]
    project.add("002_d.sql", HEAD + "create table a (id int);\ndo $$ begin call p(); end $$;\n")
    project.ok("migrate")


def test_a_detached_partition_is_finished_by_the_next_run(project, version):
    if version < 14:
        pytest.skip("DETACH … CONCURRENTLY came with PostgreSQL 14")
    project.add(
        "001_t.sql",
        "create table t (id int) partition by list (id);\ncreate table t1 partition of t for values in (1);\n",
    )
    project.ok("migrate")
    project.add("002_d.sql", HEAD + "alter table t detach partition t1 concurrently;\n")
    with connect(project.url) as blocker:
        with blocker.cursor() as cursor:
            cursor.execute("begin")
            cursor.execute("select * from t")
            running = project.start("migrate")
            wait_until(
                lambda: value(
                    project.url,
                    "select bool_or(inhdetachpending) from pg_inherits where inhparent = 't'::regclass",
                )
            )
            running.signal(signal.SIGINT)
            assert running.wait().code == 130
            cursor.execute("commit")
    done = project.ok("migrate")
    assert "finalize" in done.err
    assert value(project.url, "select count(*) from pg_inherits where inhparent = 't'::regclass") == 0


def test_a_database_that_was_created_by_a_killed_runner_is_found(project, url):
    name = value(url, "select current_database()") + "_made"
    project.add("001_d.sql", HEAD + f"create database {name};\nselect nope;\n")
    try:
        assert project.migrate().code == 1
        query(url, "update schema_migrations_steps set done_at = null where step = 1")
        query(url, "delete from schema_migrations_steps where step = 2")
        project.add("001_d.sql", HEAD + f"create database {name};\nselect 1;\n")
        done = project.ok("migrate")
        assert "statement 1 turned out to be done" in done.err
    finally:
        query(url, f"drop database if exists {name}")


def test_a_statement_that_damages_the_history_is_undone(project):
    filled(project)
    project.add("002_i.sql", HEAD + "select 1;\ndrop table schema_migrations;\n")
    done = project.migrate()
    assert done.code == 1
    assert "the history of migrations" in done.err
    assert history(project.url) == ["001_t.sql"]


def test_a_half_done_file_that_is_missing_is_named(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\nselect nope;\n")
    project.migrate()
    (project.folder / "002_i.sql").rename(project.folder / "002_other.sql")
    done = project.migrate()
    assert done.code == 6
    assert "002_i.sql is half done" in done.err
    assert value(project.url, "select count(*) from t") == 3


def test_rollback_forgets_a_half_done_file_and_keeps_who_and_why(project):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\nselect nope;\n")
    project.migrate()
    project.ok("rollback", "002_i.sql", "--reason", "begin anew")
    assert steps(project.url) == []
    assert query(project.url, "select migration_name, reason from schema_migrations_removed") == [
        ("002_i.sql", "half done, 1 of its statements had run: begin anew")
    ]
    assert history(project.url) == ["001_t.sql"]


def test_two_runners_at_once_run_each_statement_once(project):
    filled(project)
    text = "".join(f"insert into t values ({number});\n" for number in range(3, 9))
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\n" + text)
    both = [project.start("migrate") for _ in range(2)]
    assert [one.wait().code for one in both] == [0, 0]
    assert value(project.url, "select count(*) from t") == 8


def test_status_of_a_login_with_only_select_on_the_history_works_while_a_file_is_half_done(project, login):
    filled(project)
    project.add("002_i.sql", HEAD + "insert into t values (3);\nselect nope;\n")
    project.migrate()
    _, reader = login("grant select on schema_migrations to {}")
    assert "1 applied, 1 pending" in project.ok("status", url=reader).out


def test_what_a_half_done_file_made_is_no_drift(project):
    filled(project)
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect nope;\n")
    project.migrate()
    project.ok("verify")
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect 1;\n")
    assert "not as" not in project.ok("migrate").err
    project.ok("verify")


def test_what_a_killed_run_made_is_no_drift(project):
    filled(project)
    project.add(
        "002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect pg_sleep(20), 'mark-k';\n"
    )
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-k"))
    running.kill()
    running.wait()
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%mark-k%' and pid <> pg_backend_pid()",
    )
    project.add("002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect 1;\n")
    project.ok("migrate")
    project.ok("verify")


def test_a_rollback_block_is_checked_by_verify(project):
    filled(project)
    project.add(
        "002_i.sql",
        "create table u (id int);\nalter table t add column b int;\n-- rollback:\n--   drop table u;\n",
    )
    project.ok("migrate")
    project.ok("rollback", "002_i.sql", "--execute")
    done = project.run("verify")
    assert done.code == 7
    assert "t.b" in done.out


def test_a_login_that_works_in_another_role_runs_such_files_too(project, login):
    """ALTER ROLE … SET role: the history is the other role's, and sessions of the login are not for it to see."""
    owner, _ = login("create schema of_{0} authorization {0}")
    name, url = login(f"grant {owner} to {{}}")
    query(project.url, f"alter role {name} noinherit; alter role {name} set role = {owner}")
    query(project.url, f"alter role {name} set search_path = of_{owner}")
    project.add("001_t.sql", "create table t (id int);\n")
    project.add(
        "002_i.sql",
        HEAD + "set role none;\nset role " + owner + ";\ncreate index concurrently t_id on t (id);\n"
        "insert into t values (1);\nselect 1 / count(*) from t where id = 2;\n",
    )
    done = project.migrate(url=url)
    assert done.code == 1, done
    assert "goes on at statement 5" in done.err
    project.add(
        "002_i.sql",
        HEAD + "set role none;\nset role " + owner + ";\ncreate index concurrently t_id on t (id);\n"
        "insert into t values (1);\nselect 1 / count(*) from t where id = 1;\n",
    )
    project.ok("migrate", url=url)
    assert query(
        project.url, f"select migration_name, executed_by from of_{owner}.schema_migrations order by id"
    ) == [("001_t.sql", name), ("002_i.sql", name)]
    assert value(project.url, f"select count(*) from of_{owner}.t") == 1
    owners = f"select distinct relowner::regrole::text from pg_class where relnamespace = 'of_{owner}'::regnamespace"
    assert query(project.url, owners) == [(owner,)]


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres"])
def test_the_times_of_the_journal_are_read_as_they_were_written(project, login, style):
    name, url = login("grant all on schema public to {}")
    query(
        project.url,
        f"alter role {name} set datestyle = '{style}'; alter role {name} set timezone = 'Asia/Kolkata'",
    )
    project.add("001_t.sql", "create table t (id int);\n")
    project.add(
        "002_i.sql", HEAD + "create index concurrently t_id on t (id);\nselect pg_sleep(20), 'mark-1';\n"
    )
    running = project.start("migrate", url=url)
    wait_until(lambda: sleeping(project.url, "mark-1"))
    running.kill()
    running.wait()
    done = project.run("resolve", "002_i.sql", "--as", "pending", url=url)
    assert done.code == 5, done
    assert "still runs on the server" in done.err
