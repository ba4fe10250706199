"""The founding document's Quick Start, word for word: Python 3.8, psycopg2-binary and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT
from tests.servers import bindir_of, scratch_server

pytestmark = pytest.mark.slow
MAJORS = (12, 18)


def python38() -> str | None:
    """An interpreter of the oldest supported version, on PATH or where pyenv keeps its own."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    # pyenv's shims are on PATH for every version it knows, and refuse the ones that are not chosen.
    found = [*map(str, sorted(pyenv.glob("3.8.*/bin/python"))), shutil.which("python3.8")]
    return next(filter(None, found), None)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = python38()
    if python is None:
        pytest.skip("Python 3.8 is not on this machine")
    folder = tmp_path_factory.mktemp("python38")
    subprocess.run([python, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/pip", "install", "--quiet", "psycopg2-binary"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module", params=MAJORS)
def database_url(request: pytest.FixtureRequest):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with scratch_server(
        bindir_of(request.param), {"listen_addresses": "127.0.0.1", "port": str(port)}
    ) as server:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("create role username superuser login password 'password'")
            conn.execute("create database enterprise_ai owner username")
        yield f"postgresql://username:password@localhost:{port}/enterprise_ai"


@pytest.fixture(scope="module")
def shell(interpreter: Path, database_url: str, tmp_path_factory: pytest.TempPathFactory):
    """Run one line of the document in a copy of the migrations directory, as a user's shell would."""
    checkout = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "migrations", checkout / "migrations")
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))

    def run(line: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{interpreter}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "DATABASE_URL": database_url,
        }
        return subprocess.run(
            line,
            shell=True,
            cwd=checkout / "migrations",
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )

    return run


def test_quick_start_word_for_word(shell, database_url):
    """One test, because each step of the document stands on the one before it."""
    assert shell("python3 --version").stdout.startswith("Python 3.8")
    assert shell("chmod +x run_migrations.py").returncode == 0

    # Run migrations up to a specific file
    done = shell("./run_migrations.py migrate --target 002_sso_and_llm_domain.sql")
    assert done.returncode == 0, done.stdout
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM schema_migrations").fetchone() == (2,)

    # Run all pending migrations, naming the database
    done = shell(f'./run_migrations.py migrate --database-url "{database_url}"')
    assert done.returncode == 0, done.stdout
    done = shell(f'./run_migrations.py --database-url "{database_url}" migrate')
    assert done.returncode == 0, done.stdout

    # Check migration status
    done = shell("./run_migrations.py status")
    assert done.returncode == 0, done.stdout
    for path in sorted((ROOT / "migrations").glob("0*.sql")):
        assert re.search(rf"applied.*{path.name}|{path.name}.*applied", done.stdout), done.stdout

    # Check Migration Table
    with psycopg.connect(database_url) as conn:
        names = [row[1] for row in conn.execute("SELECT * FROM schema_migrations ORDER BY id;")]
    assert names[:2] == ["001_initial_schema.sql", "002_sso_and_llm_domain.sql"]

    # Rollback (Record Only)
    done = shell("./run_migrations.py rollback 001_initial_schema.sql")
    assert done.returncode == 0, done.stdout
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM schema_migrations").fetchone() == (0,)
        assert (
            conn.execute("select count(*) from authz.resource_types").fetchone()[0] > 0
        )  # the schema is untouched

    # Reset Migration State
    with psycopg.connect(database_url) as conn:
        conn.execute("DROP TABLE IF EXISTS schema_migrations;")
    done = shell("./run_migrations.py status")
    assert done.returncode == 0, done.stdout
    assert "password" not in done.stdout


def test_connection_timeout_advice(shell, database_url):
    assert (
        "PostgreSQL" in shell('psql $DATABASE_URL -c "SELECT version();"').stdout
        or shutil.which("psql") is None
    )
