"""What is promised on a standby: status works, whatever would write is refused in time and in words."""

from __future__ import annotations

import os
import subprocess
import tempfile

import pytest

from enterprise_ai.migrate import MigrateError
from enterprise_ai.migrate.lock import RunnerLock
from enterprise_ai.migrate.target import Target
from tests.migrate.conftest import (
    Project,
    bindir_of,
    connect,
    query,
    scratch_server,
    tables,
    value,
    wait_until,
)
from tests.migrate.conftest import _system_bindir as system_bindir


def _as_owner(folder, argv):
    """Run a server program as the account that owns the server's files."""
    owner = folder.stat()

    def become():
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)

    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
            preexec_fn=become if os.geteuid() == 0 else None,
        )
        output.seek(0)
        assert done.returncode == 0, output.read().decode()


def _copy(primary, data):
    """Make a copy of a running server's data that can follow it.

    With `pg_basebackup` where there is one; the test matrix has only servers, and there the primary is stopped
    for as long as it takes to copy its files.
    """
    program = primary.bindir / "pg_basebackup"
    if program.exists():
        _as_owner(
            primary.socket_dir,
            [
                program,
                "-D",
                data,
                "-h",
                primary.socket_dir,
                "-p",
                primary.port,
                "-U",
                "postgres",
                "-c",
                "fast",
            ],
        )
        return
    root = primary.socket_dir
    control = [primary.bindir / "pg_ctl", "-D", root / "data", "-w"]
    _as_owner(root, [*control, "-m", "fast", "stop"])
    _as_owner(root, ["cp", "-a", root / "data", data])
    _as_owner(root, [*control, "-l", root / "server.log", "start"])


@pytest.fixture(scope="module")
def pair(request):
    """A primary and a streaming standby of it: the URLs of a database on each."""
    major = os.environ.get("TEST_PG") or request.config.getoption("--pg", default=None)
    bindir = bindir_of(int(major)) if major else system_bindir()
    with scratch_server(
        bindir, {"wal_level": "replica", "max_wal_senders": "4", "synchronous_commit": "on"}
    ) as primary:
        folder = primary.socket_dir / "standby"
        _copy(primary, folder)
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write(
                f"primary_conninfo = 'host={primary.socket_dir} port={primary.port} user=postgres'\nport = '{primary.port + 1}'\n"
            )
        _as_owner(primary.socket_dir, ["touch", folder / "standby.signal"])
        control = [bindir / "pg_ctl", "-D", folder, "-w", "-t", "60"]
        _as_owner(primary.socket_dir, [*control, "-l", primary.socket_dir / "standby.log", "start"])
        try:
            replica = primary.url("postgres").replace(f"port={primary.port}", f"port={primary.port + 1}")
            yield primary.url("postgres"), replica
        finally:
            _as_owner(primary.socket_dir, [*control, "-m", "immediate", "stop"])


@pytest.fixture
def project(tmp_path, pair):
    folder = tmp_path / "migrations"
    folder.mkdir()
    project = Project(folder, pair[0])
    yield project
    query(pair[0], "drop schema public cascade; create schema public")


def _caught_up(pair):
    last = value(pair[0], "select pg_current_wal_flush_lsn()")
    wait_until(lambda: value(pair[1], f"select pg_last_wal_replay_lsn() >= '{last}'"))


def test_status_works_on_a_standby(project, pair):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    project.add("002_b.sql", "create table b (id int);\n")
    _caught_up(pair)
    assert "1 applied, 1 pending" in project.ok("status", url=pair[1]).out
    assert project.run("status", "--check", url=pair[1]).code == 3
    assert project.ok("status", "--json", url=pair[1]).json["pending"] == ["002_b.sql"]


def test_migrate_on_a_standby_is_refused_before_anything_runs(project, pair):
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.migrate(url=pair[1])
    assert done.code == 1
    assert "the server is read-only (a standby" in done.err
    assert "Connect to the primary" in done.err
    assert tables(pair[0]) == []


def test_migrate_on_a_standby_with_nothing_to_do_is_done(project, pair):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    _caught_up(pair)
    assert "up to date" in project.ok("migrate", url=pair[1]).out
    project.add("002_b.sql", "create table b (id int);\n")
    assert "002_b.sql  would run" in project.ok("migrate", "--dry-run", url=pair[1]).out


def test_rollback_on_a_standby_is_refused(project, pair):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    _caught_up(pair)
    done = project.run("rollback", "001_a.sql", url=pair[1])
    assert done.code == 1
    assert "read-only" in done.err
    assert query(pair[0], "select migration_name from schema_migrations") == [("001_a.sql",)]


def test_with_several_hosts_the_primary_is_found(project, pair):
    """As the advice says: the standby comes first, and target_session_attrs passes it over."""
    project.add("001_a.sql", "create table a (id int);\n")
    folder, port = query(
        pair[0], "select current_setting('unix_socket_directories'), current_setting('port')"
    )[0]
    url = f"postgresql:///postgres?host={folder},{folder}&port={int(port) + 1},{port}&user=postgres"
    assert project.migrate(url=url).code == 1
    project.ok("migrate", url=url + "&target_session_attrs=read-write")
    assert tables(pair[0]) == ["a"]


def test_status_on_the_primary_does_not_disturb_and_the_standby_follows(project, pair):
    """While a file runs the standby shows the history without it, and with it once it is committed."""
    project.add("001_a.sql", "create table a (id int);\nselect pg_advisory_xact_lock(99);\n")
    gate = connect(pair[0])
    gate.cursor().execute("select pg_advisory_lock(99)")
    running = project.start("migrate", "--lock-timeout", "0")
    wait_until(lambda: value(pair[0], "select count(*) from pg_locks where not granted") > 0)
    _caught_up(pair)
    status = project.ok("status", url=pair[1])
    gate.close()
    assert "0 applied, 1 pending" in status.out
    assert running.wait().code == 0
    _caught_up(pair)
    assert "1 applied, 0 pending" in project.ok("status", url=pair[1]).out


def test_a_server_that_becomes_read_only_in_the_middle_keeps_what_was_done(project, pair):
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "set transaction read only;\ncreate table b (id int);\n")
    done = project.migrate()
    assert done.code == 1
    assert "002_b.sql:2:1" in done.err
    assert "25006" in done.err
    assert tables(pair[0]) == ["a"]


def test_the_lock_is_not_taken_on_a_standby(pair):
    """Several hosts may lead each connection to another server, and there the lock keeps nobody out."""
    with pytest.raises(MigrateError, match="read-only"):
        RunnerLock(Target(pair[1]))
    RunnerLock(Target(pair[0])).release()
