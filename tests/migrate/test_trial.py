"""What is promised of `migrations test`: each file up, down and up again, on a server where nothing can break."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.migrate.conftest import query, wait_until

GOOD = "create table a (id int primary key);\n\n-- rollback:\n-- drop table a;\n"


def findings(project, *options, code=0):
    done = project.run("migrations", "test", "--database-url", project.url, "--json", *options)
    assert done.code == code, done
    return [
        (one["level"], one["line"], one["title"], one["message"])
        for one in done.json["findings"]
        if not one["title"].startswith("squawk")
    ]


def errors(project):
    return [one for one in findings(project, code=1) if one[0] == "error"]


def test_files_that_run_go_back_and_run_again_pass(project):
    project.add("001_a.sql", GOOD)
    project.add("002_b.sql", "create index i on a (id);\n\n-- rollback:\n-- drop index i;\n")
    done = project.ok("migrations", "test", "--database-url", project.url)
    assert "2 files: every file runs, goes back and runs again; " in done.out
    assert query(project.url, "select 1 from pg_class where relname in ('a', 'schema_migrations')") == []
    assert query(project.url, "select 1 from pg_database where datname like 'enterprise_ai_scratch%'") == []


def test_the_locks_of_each_file_are_reported_at_their_line(project):
    project.add("001_a.sql", GOOD)
    project.add("002_b.sql", "select 1;\ncreate index i on a (id);\n\n-- rollback:\n-- drop index i;\n")
    (found,) = [one for one in findings(project) if one[0] == "notice"]
    assert found[:3] == ("notice", 2, "locks")
    assert "public.a - read from end to end; SHARE: blocks writes until the file commits" in found[3]


def test_a_missing_rollback_block_is_an_error(project):
    project.add("001_a.sql", "create table a (id int);\n")
    (found,) = errors(project)
    assert "has no rollback block" in found[3]


def test_a_rollback_block_that_fails_is_an_error_at_its_line(project):
    project.add("001_a.sql", "create table a (id int);\n\n-- rollback:\n-- drop table b;\n")
    (found,) = errors(project)
    assert found[1] == 4
    assert 'table "b" does not exist' in found[3]


def test_a_rollback_block_that_takes_too_much_is_an_error(project):
    project.add("001_a.sql", GOOD)
    project.add(
        "002_b.sql",
        "create index i on a (id);\n\n-- rollback:\n-- alter table a drop constraint a_pkey;\n-- drop index i;\n",
    )
    assert ("error", 3, "rollback takes too much") in [one[:3] for one in errors(project)]


def test_what_a_rollback_block_leaves_behind_is_a_warning(project):
    project.add(
        "001_a.sql",
        "create table a (id int);\ncreate schema if not exists s;\n\n-- rollback:\n-- drop table a;\n",
    )
    (found,) = findings(project)
    assert found[:3] == ("warning", 4, "left behind")
    assert "added: schema s" in found[3]


def test_a_file_that_cannot_run_again_after_its_rollback_is_an_error(project):
    project.add("001_a.sql", "create table a (id int);\n\n-- rollback:\n-- select 1;\n")
    assert [one[2] for one in errors(project)] == ["cannot be run again after its rollback block"]


def test_up_down_up_must_give_the_same_catalogue(project):
    project.add(
        "001_a.sql",
        "create schema if not exists s;\n"
        "do $$ begin execute case when to_regclass('s.mark') is null then 'create table a (id int)' "
        "else 'create table a (id bigint)' end; end $$;\n\n"
        "-- rollback:\n-- drop table a;\n-- create table s.mark (id int);\n",
    )
    assert "up, down, up: not the same" in [one[2] for one in errors(project)]


def test_an_error_in_a_file_stands_at_its_place(project):
    project.add("001_a.sql", "create table a (id int);\ncreat table b (id int);\n")
    (found, *_) = errors(project)
    assert found[1] == 2
    assert "syntax error" in found[3]


def test_ci_prints_annotations_of_github_actions(project):
    project.add("001_a.sql", "create table a (id int);\n\n-- rollback:\n-- drop table b; -- 100%\n")
    done = project.run("migrations", "test", "--ci", "--database-url", project.url)
    assert done.code == 1
    (line,) = [one for one in done.out.split("\n") if one.startswith("::error ")]
    assert "/001_a.sql,line=4,title=cannot be rolled back::" in line
    assert "%0A" in line
    assert "100%25" in line


def test_test_and_migrations_test_are_one_command_that_ignores_DATABASE_URL(project):
    """DATABASE_URL may be production: only a server that is named on the command line gets scratch databases."""
    if sys.version_info < (3, 9):
        done = project.run("test")
        assert done.code == 2
        assert "--database-url URL" in done.err
        return
    pytest.importorskip("enterprise_ai.embedded")
    project.add("001_a.sql", GOOD)
    done = project.ok("test", environment={"DATABASE_URL": "postgresql://nowhere.invalid/x"})
    assert "starting a scratch server" in done.err


def test_a_signal_leaves_no_scratch_server(project):
    if sys.version_info < (3, 9):
        pytest.skip("the embedded PostgreSQL needs Python 3.9")
    pytest.importorskip("enterprise_ai.embedded")
    project.add("001_a.sql", "select pg_sleep(30);\n-- rollback:\n--   select 1;\n")
    folder = Path(tempfile.mkdtemp(prefix="eai-trial-", dir="/tmp"))
    try:
        folder.chmod(0o711)  # the account that runs the server must get through
        running = project.start("test", environment={"TMPDIR": str(folder)})
        wait_until(lambda: list(folder.glob("*/pg/data/base/*")), 60)
        time.sleep(2)
        running.signal(signal.SIGTERM)
        done = running.wait()
        assert done.code == 128 + signal.SIGTERM, done
        assert list(folder.iterdir()) == []
        assert (
            str(folder)
            not in subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, check=True).stdout.decode()
        )
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)
