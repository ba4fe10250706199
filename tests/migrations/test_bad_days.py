"""What goes wrong on the first day: a broken file, a login that may too little, two people at once, a sudden end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.conftest import MIGRATIONS, new_database
from tests.disks import small_disk

COMMAND = [sys.executable, str(MIGRATIONS / "run_migrations.py")]
ROLES = (
    "enterprise_ai_app",
    "enterprise_ai_auditor",
    "enterprise_ai_decider",
    "enterprise_ai_definer",
    "enterprise_ai_gateway",
    "enterprise_ai_operator",
    "enterprise_ai_reader",
)


def run(url: str, *arguments: str, migrations: Path = MIGRATIONS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments, "--database-url", url, "--migrations", str(migrations)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip


def applied(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [row[0] for row in conn.execute("select migration_name from schema_migrations order by id")]


@pytest.fixture
def copies(tmp_path):
    """A copy of the migrations to break."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def test_a_broken_statement_is_named_at_its_place_and_nothing_is_half_done(empty_database, copies):
    third = copies / "003_analytics_security_audit.sql"
    lines = third.read_text().splitlines(keepends=True)
    line = next(
        number for number, text in enumerate(lines, 1) if text.startswith("create table analytics.budgets")
    )
    lines[line - 1] = lines[line - 1].replace("create table", "create tabel")
    third.write_text("".join(lines))

    done = run(empty_database, "migrate", migrations=copies)
    assert done.returncode == 1
    assert f"{third.name}:{line}:8" in done.stdout
    assert "create tabel analytics.budgets" in done.stdout
    assert "42601" in done.stdout
    assert applied(empty_database) == ["001_initial_schema.sql", "002_sso_and_llm_domain.sql"]
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("select to_regclass('analytics.cost_centers')").fetchone() == (None,)

    shutil.copy(MIGRATIONS / third.name, third)
    assert run(empty_database, "migrate", migrations=copies).returncode == 0
    assert len(applied(empty_database)) >= 4


@pytest.fixture
def modest(server, superuser, migrator, server_version):
    """The URL of a database on which the login may CREATE and nothing more, with what 12 needs of a superuser."""
    superuser.execute("drop role if exists modest")
    superuser.execute("create role modest login")
    with new_database(superuser, "postgres") as name:
        superuser.execute(sql.SQL("grant create on database {} to modest").format(sql.Identifier(name)))
        if server_version < 13:
            with psycopg.connect(server.url(name)) as conn:
                conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
        yield server.url(name, "modest")
    superuser.execute("drop owned by modest; drop role modest")


def test_a_login_with_create_on_the_database_alone_can_migrate(modest, superuser, template):
    """The group roles are there (another database of the server made them), and one is granted."""
    done = run(modest, "migrate")
    assert done.returncode == 1
    assert "grant enterprise_ai_definer to modest" in done.stdout
    superuser.execute("grant enterprise_ai_definer to modest")
    done = run(modest, "migrate")
    assert done.returncode == 0, done.stdout
    done = run(modest, "status", "--check")
    assert done.returncode == 0, done.stdout
    assert len(applied(modest)) >= 4
    with psycopg.connect(modest) as conn:
        assert conn.execute("select count(*) from llm_usage_logs").fetchone() == (0,)


def test_missing_group_roles_are_named_with_the_statement_that_makes_them(server, superuser, modest):
    """On a server of its own, since other databases here rely on the roles."""
    from tests.servers import scratch_server

    with scratch_server(server.bindir) as other:
        with psycopg.connect(other.url(), autocommit=True) as conn:
            conn.execute("create role modest login")
            conn.execute("grant create on database postgres to modest")
            conn.execute("grant create on schema public to modest")
        done = run(other.url(user="modest"), "migrate")
        assert done.returncode == 1
        assert all(role in done.stdout for role in ROLES)
        assert "create role enterprise_ai_app" in done.stdout
        with psycopg.connect(other.url(user="modest")) as conn:
            assert conn.execute("select to_regnamespace('platform')").fetchone() == (None,)
        with psycopg.connect(other.url(), autocommit=True) as conn:
            (said,) = re.findall(r"Let an administrator run: (.*;)", done.stdout)
            conn.execute(said)
            if conn.info.server_version < 130000:
                conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
        done = run(other.url(user="modest"), "migrate")
        assert done.returncode == 0, done.stdout


@pytest.mark.pg("< 13")
def test_an_extension_that_needs_a_superuser_is_said_with_its_cure(server, superuser, modest, template):
    with psycopg.connect(server.url(psycopg.conninfo.conninfo_to_dict(modest)["dbname"])) as conn:
        conn.execute("drop extension pgcrypto")
    superuser.execute("grant enterprise_ai_definer to modest")
    done = run(modest, "migrate")
    assert done.returncode == 1
    assert "pgcrypto" in done.stdout
    assert "superuser" in done.stdout
    assert applied(modest) == []


def test_a_login_that_may_not_create_is_told_the_grant(server, superuser, migrator):
    superuser.execute("drop role if exists stranger")
    superuser.execute("create role stranger login")
    with new_database(superuser, "postgres") as name:
        with psycopg.connect(server.url(name)) as conn:
            conn.execute("revoke create on schema public from public")
        done = run(server.url(name, "stranger"), "migrate")
        assert done.returncode == 1
        assert f"GRANT CREATE ON DATABASE {name} TO stranger" in done.stdout.replace('"', "")
    superuser.execute("drop role stranger")


def test_two_runners_at_once_do_the_work_once(empty_database):
    runners = [
        subprocess.Popen([*COMMAND, "migrate", "--database-url", empty_database], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]  # fmt: skip
    outputs = [runner.communicate(timeout=120)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], outputs
    names = applied(empty_database)
    assert names == sorted(path.name for path in MIGRATIONS.glob("0*.sql"))


def test_a_runner_killed_in_the_middle_leaves_nothing_to_mend(empty_database):
    runner = subprocess.Popen([*COMMAND, "migrate", "--database-url", empty_database], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 60
    with psycopg.connect(empty_database, autocommit=True) as conn:
        while conn.execute("select to_regclass('identity.users') is null").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    done = run(empty_database, "migrate")
    assert done.returncode == 0, done.stdout
    assert applied(empty_database) == sorted(path.name for path in MIGRATIONS.glob("0*.sql"))


@pytest.fixture
def cramped(server, superuser, migrator, server_version):
    """The URL of a database whose disk will be full before it is migrated, and what makes the disk larger."""
    place = server.socket_dir / "small"
    place.mkdir()
    with small_disk(place, "22m") as resize:
        owner = server.socket_dir.stat()
        os.chown(place, owner.st_uid, owner.st_gid)
        superuser.execute(sql.SQL("create tablespace small location {}").format(sql.Literal(str(place))))
        with new_database(superuser, migrator) as name:
            superuser.execute(sql.SQL("alter database {} set tablespace small").format(sql.Identifier(name)))
            if server_version < 13:
                with psycopg.connect(server.url(name)) as conn:
                    conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
            yield server.url(name, migrator), lambda: resize("400m")
        superuser.execute("drop tablespace small")


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to mount a small disk")
def test_a_full_disk_is_said_and_the_next_run_goes_on(cramped):
    url, enlarge = cramped
    done = run(url, "migrate")
    assert done.returncode == 1, done.stdout
    assert "The server's disk is full. Free space or grow the disk, then run again." in done.stdout
    assert re.search(r"00\d_\w+\.sql:\d+:\d+", done.stdout), done.stdout
    said = [
        name
        for name in sorted(path.name for path in MIGRATIONS.glob("0*.sql"))
        if f"{name}  done in" in done.stdout
    ]
    assert applied(url) == said, done.stdout

    enlarge()
    done = run(url, "migrate")
    assert done.returncode == 0, done.stdout
    assert applied(url) == sorted(path.name for path in MIGRATIONS.glob("0*.sql"))
