"""What is promised of `rollback --execute`: files undone by their own blocks, newest first, with their records."""

from __future__ import annotations

import signal

from tests.migrate.conftest import history, query, sleeping, tables, value, wait_until
from tests.migrate.test_no_transaction import HEAD, indexes, steps

A = "create table a (id int);\n\n-- rollback:\n--   drop table a;\n"
B = "create table b (id int);\n\n-- rollback:\n--   drop table b;\n"
C = "create table c (id int);\n\n-- rollback:\n--   drop table c;\n"


def migrated(project, *texts):
    for number, text in enumerate(texts or (A, B, C), 1):
        project.add(f"00{number}_x.sql", text)
    project.ok("migrate")


def test_execute_runs_the_blocks_newest_first_and_removes_the_records(project):
    migrated(project)
    done = project.ok("rollback", "002_x.sql", "--execute", "--reason", "too early")
    assert done.out.index("003_x.sql  rolled back") < done.out.index("002_x.sql  rolled back")
    assert tables(project.url) == ["a"]
    assert history(project.url) == ["001_x.sql"]
    assert query(
        project.url,
        "select migration_name, reason, removed_by = session_user from schema_migrations_removed order by id",
    ) == [
        ("003_x.sql", "its rollback block was executed: too early", True),
        ("002_x.sql", "its rollback block was executed: too early", True),
    ]
    project.ok("migrate")
    assert tables(project.url) == ["a", "b", "c"]


def test_each_block_is_one_transaction_with_its_record(project):
    migrated(project, A, B.replace("drop table b;", "drop table b; select nope;"), C)
    done = project.run("rollback", "001_x.sql", "--execute")
    assert done.code == 1
    assert "002_x.sql:4:27" in done.err
    assert (
        "Rolled back with their records: 003_x.sql. 002_x.sql is as it was, and so is its record." in done.err
    )
    assert tables(project.url) == ["a", "b"]
    assert history(project.url) == ["001_x.sql", "002_x.sql"]


def test_a_file_without_a_block_is_refused_before_anything_runs(project):
    migrated(project, "create table a (id int);\n", B)
    done = project.run("rollback", "001_x.sql", "--execute")
    assert done.code == 1
    assert "001_x.sql has no rollback block" in done.err
    assert tables(project.url) == ["a", "b"]
    assert history(project.url) == ["001_x.sql", "002_x.sql"]


def test_a_block_without_a_statement_is_refused(project):
    migrated(project, "create table a (id int);\n-- rollback:\n--   -- nothing yet\n")
    done = project.run("rollback", "001_x.sql", "--execute")
    assert done.code == 1
    assert "holds no statement" in done.err
    assert history(project.url) == ["001_x.sql"]


def test_an_edited_file_is_not_undone_by_a_block_that_may_not_fit(project):
    migrated(project)
    project.add("003_x.sql", C.replace("drop table c", "drop table b"))
    done = project.run("rollback", "003_x.sql", "--execute")
    assert done.code == 6
    assert tables(project.url) == ["a", "b", "c"]
    project.add("003_x.sql", C)
    project.ok("rollback", "003_x.sql", "--execute")


def test_a_missing_file_is_undone_by_the_text_that_ran(project):
    migrated(project)
    (project.folder / "003_x.sql").unlink()
    project.ok("rollback", "003_x.sql", "--execute")
    assert tables(project.url) == ["a", "b"]


def test_a_block_that_ends_its_transaction_is_refused_before_anything_runs(project):
    migrated(project, A, B.replace("drop table b;", "drop table b; commit;"))
    done = project.run("rollback", "001_x.sql", "--execute")
    assert done.code == 1
    assert "002_x.sql:4:20" in done.err
    assert tables(project.url) == ["a", "b"]


def test_a_block_restores_a_function_body_to_the_letter(project):
    before = "create or replace function f() returns text language sql as $$\n    select 'one'\n\n    -- end\n$$;\n"
    migrated(project, before + "-- rollback:\n--   drop function f();\n")
    source = value(project.url, "select prosrc from pg_proc where proname = 'f'")
    block = "".join(("--   " + line).rstrip() + "\n" for line in before.splitlines())
    project.add("002_x.sql", before.replace("one", "two") + "\n-- rollback:\n" + block)
    project.ok("migrate")
    assert value(project.url, "select f()") == "two"
    project.ok("rollback", "002_x.sql", "--execute")
    assert value(project.url, "select prosrc from pg_proc where proname = 'f'") == source


def test_a_block_may_stand_on_the_line_of_its_mark_and_in_crlf(project):
    migrated(
        project,
        "create table a (id int);\r\ncreate table b (id int);\r\n-- rollback: drop table a;\r\n-- rollback: drop table b;\r\n",
    )
    project.ok("rollback", "001_x.sql", "--execute")
    assert tables(project.url) == []


def test_a_mark_inside_a_literal_is_no_block(project):
    migrated(project, "create table a (t text default '\n-- rollback:\n-- drop table a;\n');\n")
    assert "has no rollback block" in project.run("rollback", "001_x.sql", "--execute").err


def test_a_block_that_damages_the_history_is_undone(project):
    migrated(project, A, "select 1;\n-- rollback:\n--   delete from schema_migrations where id = 1;\n")
    done = project.run("rollback", "002_x.sql", "--execute")
    assert done.code == 1
    assert "the history of migrations" in done.err
    assert history(project.url) == ["001_x.sql", "002_x.sql"]


def test_unknown_and_never_applied_files_are_refused(project):
    migrated(project)
    project.ok("rollback", "003_x.sql", "--execute")
    assert project.run("rollback", "003_x.sql", "--execute").code == 2
    assert project.run("rollback", "009_x.sql", "--execute").code == 2
    assert history(project.url) == ["001_x.sql", "002_x.sql"]


def no_transaction(project, last="drop table b;"):
    migrated(
        project,
        "create table t (id int);\n-- rollback:\n--   drop table t;\n",
        HEAD
        + "create table b (id int);\ncreate index concurrently t_id on t (id);\n"
        + f"-- rollback:\n--   drop index concurrently t_id;\n--   {last}\n",
    )


def test_a_no_transaction_file_is_undone_statement_by_statement(project):
    no_transaction(project)
    project.ok("rollback", "002_x.sql", "--execute")
    assert indexes(project.url) == []
    assert tables(project.url) == ["t"]
    assert history(project.url) == ["001_x.sql"]
    assert steps(project.url) == []
    project.ok("migrate")
    assert indexes(project.url) == [("t_id", True)]


def test_a_half_done_rollback_is_resumed_and_keeps_its_record_until_then(project):
    no_transaction(project)
    query(project.url, "create view v as select * from b")
    done = project.run("rollback", "001_x.sql", "--execute")
    assert done.code == 1
    assert "002_x.sql:6:6" in done.err
    assert "Statement 1 of the rollback of 002_x.sql is done" in done.err
    assert history(project.url) == ["001_x.sql", "002_x.sql"]
    assert "half done: the rollback of 002_x.sql" in project.run("status").out
    project.add("003_x.sql", C)
    refused = project.migrate()
    assert refused.code == 6
    assert "rollback 002_x.sql --execute" in refused.err
    query(project.url, "drop view v")
    project.ok("rollback", "001_x.sql", "--execute")
    assert tables(project.url) == []
    assert history(project.url) == []
    assert steps(project.url) == []


def test_the_record_only_rollback_forgets_a_half_done_one_too(project):
    no_transaction(project, last="select nope;")
    assert project.run("rollback", "002_x.sql", "--execute").code == 1
    project.ok("rollback", "002_x.sql")
    assert steps(project.url) == []
    assert history(project.url) == ["001_x.sql"]


def test_execute_takes_the_same_lock_as_migrate(project):
    migrated(project)
    project.add("004_x.sql", "select pg_sleep(20), 'mark-4';\n-- rollback:\n--   select 1;\n")
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-4"))
    done = project.run("rollback", "003_x.sql", "--execute", "--wait", "0.2")
    assert done.code == 5
    running.signal(signal.SIGTERM)
    running.wait()
    assert history(project.url) == ["001_x.sql", "002_x.sql", "003_x.sql"]


def test_rollback_execute_is_in_the_library(project):
    from enterprise_ai.migrate import Migrator

    migrated(project)
    result = Migrator(project.url, migrations=project.folder).rollback("002_x.sql", execute=True)
    assert result.removed == ("003_x.sql", "002_x.sql")
    assert result.executed


def test_a_notice_of_a_block_comes_with_its_line_in_the_file(project):
    project.add(
        "001_x.sql",
        "create table a (id int);\n\n\n-- rollback:\n--   drop table a;\n--   do $$ begin\n"
        "--     raise notice 'gone'; end $$;\n",
    )
    project.ok("migrate")
    assert "001_x.sql:6: NOTICE: gone" in project.ok("rollback", "001_x.sql", "--execute").err
