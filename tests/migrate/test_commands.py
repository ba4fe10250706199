"""What the commands promise: migrate, status, rollback, their options and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.migrate.conftest import ROOT, RUNNER, history, query, tables, value


def two(project):
    project.add("001_one.sql", "create table one (id int);\n")
    project.add("002_two.sql", "create table two (id int);\n")


def test_migrate_runs_every_pending_file_once(project):
    two(project)
    first = project.ok("migrate")
    assert tables(project.url) == ["one", "two"]
    assert history(project.url) == ["001_one.sql", "002_two.sql"]
    assert "001_one.sql  done" in first.out
    second = project.ok("migrate")
    assert "up to date" in second.out
    assert history(project.url) == ["001_one.sql", "002_two.sql"]


def test_target_is_the_last_file_to_run(project):
    two(project)
    project.ok("migrate", "--target", "001_one.sql")
    assert history(project.url) == ["001_one.sql"]
    project.ok("migrate", "--target", "001_one.sql")
    assert history(project.url) == ["001_one.sql"]


def test_an_unknown_target_is_refused_with_the_nearest_name(project):
    two(project)
    done = project.migrate("--target", "002_tow.sql")
    assert done.code == 2
    assert "Did you mean 002_two.sql?" in done.err
    assert tables(project.url) == []


def test_dry_run_changes_nothing(project):
    two(project)
    done = project.ok("migrate", "--dry-run")
    assert "001_one.sql  would run" in done.out
    assert value(project.url, "select to_regclass('schema_migrations')") is None


def test_dry_run_finds_what_cannot_run(project):
    project.add("001_one.sql", "create table one (id int);\nvacuum;\n")
    done = project.migrate("--dry-run")
    assert done.code == 1
    assert "001_one.sql:2:1" in done.err


def test_the_history_is_read_as_documented(project):
    two(project)
    project.ok("migrate")
    rows = query(
        project.url,
        "select id, migration_name, executed_at is not null, length(checksum), execution_time_ms >= 0 "
        "from schema_migrations order by id",
    )
    assert rows == [(1, "001_one.sql", True, 64, True), (2, "002_two.sql", True, 64, True)]


def test_status_lists_applied_and_pending_and_writes_nothing(project):
    two(project)
    before = project.ok("status")
    assert "001_one.sql" in before.out
    assert "0 applied, 2 pending." in before.out
    assert value(project.url, "select to_regclass('schema_migrations')") is None
    project.ok("migrate", "--target", "001_one.sql")
    after = project.ok("status")
    assert "1 applied, 1 pending." in after.out


def test_status_check_exits_3_when_something_is_pending(project):
    two(project)
    assert project.run("status", "--check").code == 3
    project.ok("migrate")
    assert project.run("status", "--check").code == 0


def test_status_needs_only_select_on_the_history(project, login):
    two(project)
    project.ok("migrate", "--target", "001_one.sql")
    _, reader = login("grant select on schema_migrations to {}")
    done = project.ok("status", url=reader)
    assert "1 applied, 1 pending." in done.out


def test_status_without_select_says_what_to_grant(project, login):
    two(project)
    project.ok("migrate")
    _, stranger = login()
    done = project.run("status", url=stranger)
    assert done.code == 1
    assert "GRANT SELECT ON" in done.err


def test_rollback_removes_the_records_from_the_file_on(project):
    two(project)
    project.ok("migrate")
    done = project.ok("rollback", "001_one.sql")
    assert "no SQL ran" in done.out
    assert history(project.url) == []
    assert tables(project.url) == ["one", "two"]


def test_rollback_keeps_the_removed_records_with_who_when_and_why(project):
    two(project)
    project.ok("migrate")
    project.ok("rollback", "002_two.sql", "--reason", "it's wrong; $q$ \\")
    assert history(project.url) == ["001_one.sql"]
    rows = query(
        project.url,
        "select migration_name, reason, removed_by = session_user, removed_at >= executed_at, length(checksum) "
        "from schema_migrations_removed",
    )
    assert rows == [("002_two.sql", "it's wrong; $q$ \\", True, True, 64)]


def test_rollback_of_an_unknown_file_is_refused(project):
    two(project)
    project.ok("migrate")
    done = project.run("rollback", "003_three.sql")
    assert done.code == 2
    assert history(project.url) == ["001_one.sql", "002_two.sql"]


def test_rollback_of_a_file_that_never_ran_is_refused(project):
    two(project)
    project.ok("migrate", "--target", "001_one.sql")
    done = project.run("rollback", "002_two.sql")
    assert done.code == 2
    assert "never ran" in done.err
    assert history(project.url) == ["001_one.sql"]


def test_a_rolled_back_file_is_pending_again(project):
    project.add("001_one.sql", "create table if not exists one (id int);\n")
    project.ok("migrate")
    project.ok("rollback", "001_one.sql")
    project.ok("migrate")
    assert history(project.url) == ["001_one.sql"]


def test_options_stand_before_or_after_the_command(project):
    two(project)
    for arguments in (
        ["--database-url", project.url, "--migrations", str(project.folder), "status"],
        ["status", "--migrations=" + str(project.folder), "--database-url=" + project.url],
    ):
        done = subprocess.run(
            [sys.executable, str(RUNNER), *arguments],
            stdout=subprocess.PIPE,
            env={name: text for name, text in os.environ.items() if name != "DATABASE_URL"},
            check=True,
        )
        assert b"2 pending" in done.stdout


def test_an_unknown_option_is_refused_without_its_value(project):
    done = project.run("status", "--databse-url=postgresql://u:secret@h/d")
    assert done.code == 2
    assert "Did you mean --database-url?" in done.err
    assert "secret" not in done.text


def test_no_command_and_unknown_commands_exit_2(project):
    assert project.run().code == 2
    assert "Did you mean migrate?" in project.run("migrat").err


def test_help_names_commands_options_and_exit_codes(project):
    done = project.ok("--help")
    for word in ("migrate", "status", "rollback", "--database-url", "Exit codes"):
        assert word in done.out
    assert "--target" in project.ok("migrate", "--help").out


def test_json_is_one_document_on_stdout(project):
    two(project)
    project.add("002_two.sql", "do $$ begin raise notice 'hello'; end $$;\n")
    done = project.ok("migrate", "--json")
    document = done.json
    assert [one["name"] for one in document["done"]] == ["001_one.sql", "002_two.sql"]
    assert document["pending"] == []
    assert "hello" in done.err
    status = project.ok("status", "--json").json
    assert [row["name"] for row in status["applied"]] == ["001_one.sql", "002_two.sql"]
    assert project.ok("rollback", "002_two.sql", "--json").json["removed"] == ["002_two.sql"]


def test_json_of_a_failure_says_what_was_done_and_where_it_failed(project):
    project.add("001_one.sql", "create table one (id int);\n")
    project.add("002_two.sql", "create table two (id int);\nselect 1 fromm one;\n")
    done = project.migrate("--json")
    assert done.code == 1
    document = done.json
    assert [one["name"] for one in document["done"]] == ["001_one.sql"]
    assert document["error"]["place"]["line"] == 2
    assert document["error"]["server"]["sqlstate"] == "42601"


def test_an_empty_directory_is_refused(project):
    assert project.migrate().code == 2


def test_a_missing_directory_is_refused(project):
    project.folder.rmdir()
    done = project.migrate()
    assert done.code == 2
    assert "--migrations DIR" in done.err


def test_the_engine_is_a_library(project):
    from enterprise_ai.migrate import Migrator

    two(project)
    migrator = Migrator(project.url, migrations=project.folder)
    result = migrator.migrate(target="001_one.sql")
    assert [one.name for one in result.done] == ["001_one.sql"]
    assert result.pending == ("002_two.sql",)
    status = migrator.status()
    assert [row.name for row in status.applied] == ["001_one.sql"]
    assert status.pending == ("002_two.sql",)
    assert migrator.rollback("001_one.sql").removed == ("001_one.sql",)


def test_the_runner_is_executable():
    assert os.access(str(RUNNER), os.X_OK)
    assert RUNNER.read_text().startswith("#!/usr/bin/env python3\n")
    assert ROOT in RUNNER.parents


def test_a_target_below_what_is_pending_does_not_count_as_up_to_date(project):
    for number in (1, 2, 3):
        project.add(f"00{number}_x.sql", f"create table t{number} (id int);\n")
    project.ok("migrate", "--target", "001_x.sql")
    done = project.ok("migrate", "--target", "001_x.sql")
    assert "up to date" not in done.out
    assert "2 pending" in done.out
    assert project.ok("migrate", "--target", "001_x.sql", "--json").json["pending"] == [
        "002_x.sql",
        "003_x.sql",
    ]


def test_a_target_is_named_as_a_person_names_a_file(project):
    project.add("001_x.sql", "select 1;\n")
    project.add("002_x.sql", "select 2;\n")
    project.ok("migrate", "--target", str(project.folder / "001_x.sql"))
    assert history(project.url) == ["001_x.sql"]
    project.ok("migrate", "--target", "./002_x")
    assert history(project.url) == ["001_x.sql", "002_x.sql"]


def test_the_library_sees_the_files_as_they_are_at_each_call(project):
    from enterprise_ai.migrate import MigrationFailed, Migrator

    project.add("001_a.sql", "create table a (id int); selec\n")
    migrator = Migrator(project.url, migrations=project.folder)
    with pytest.raises(MigrationFailed):
        migrator.migrate()
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    assert [one.name for one in migrator.migrate().done] == ["001_a.sql", "002_b.sql"]
    project.add("001_a.sql", "create table a (id bigint);\n")
    project.add("003_c.sql", "create table c (id int);\n")
    status = migrator.status()
    assert [one.kind for one in status.problems] == ["edited"]
    assert status.pending == ("003_c.sql",)
    assert migrator.accept("001_a.sql").name == "001_a.sql"
