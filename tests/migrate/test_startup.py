"""What is promised of a run with nothing to do: it loads next to nothing, and reads every file all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.migrate.conftest import ROOT, history, query

#: Standard modules that take longer to load than the run has time for, and the drivers.
HEAVY = {"argparse", "collections", "enum", "hashlib", "inspect", "json", "pathlib", "psycopg", "psycopg2"}
HEAVY |= {"random", "re", "signal", "subprocess", "tempfile", "threading", "typing", "urllib"}

ASK = """
import sys
before = set(sys.modules)
sys.path.insert(0, {src!r})
from enterprise_ai.migrate.cli import main
code = main({arguments!r}, "enterprise-ai")
print(",".join(sorted(set(sys.modules) - before)), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def many(project):
    """More files than are read one after the other, all of them applied."""
    for number in range(1, 121):
        project.add(f"{number:03d}_step.sql", f"select {number};\n")
    project.ok("migrate")
    return project


def loaded(project, command):
    arguments = [command, "--database-url", project.url, "--migrations", str(project.folder)]
    text = ASK.format(src=str(ROOT / "src"), arguments=arguments)
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, check=False)
    assert done.returncode == 0, done
    return set(done.stderr.decode().strip().split(","))


@pytest.mark.parametrize("command", ["migrate", "status"])
def test_a_run_with_nothing_to_do_loads_no_heavy_module(project, command):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    found = loaded(project, command)
    assert "enterprise_ai.migrate.migrator" in found
    assert not found & HEAVY
    assert not found & {"enterprise_ai.migrate.lexer", "enterprise_ai.migrate.runner"}


def test_many_files_with_nothing_to_do(many):
    assert "up to date" in many.ok("migrate").out
    assert "120 applied, 0 pending" in many.ok("status").out


@pytest.mark.parametrize("number", [1, 60, 120])
def test_one_edited_file_among_many_is_named(many, number):
    name = f"{number:03d}_step.sql"
    many.add(name, "select 0;\n")
    done = many.migrate()
    assert done.code == 6, done
    assert f"{name} was edited after it ran" in done.err


def test_one_missing_record_among_many_is_pending(many):
    query(many.url, "delete from schema_migrations where migration_name = '120_step.sql'")
    assert "1 file done" in many.ok("migrate").out
    assert len(history(many.url)) == 120


def test_a_file_among_many_that_cannot_be_read_is_named(many):
    path = many.folder / "060_step.sql"
    path.unlink()
    path.mkdir()
    done = many.migrate()
    assert done.code == 1, done
    assert "cannot read" in done.err
    assert "060_step.sql" in done.err
