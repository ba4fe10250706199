"""Fixtures of the whole suite: a server a session, a migrated template on it, a database or transaction a test."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from enterprise_ai.migrate import Migrator
from tests.kept import Kept
from tests.servers import Server, bindir_of, scratch_server

ROOT = Path(__file__).resolve().parents[1]
MIGRATIONS = ROOT / "migrations"
TEMPLATE = "enterprise_ai_template"

# How quick a machine is says nothing of what is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pg", type=int, help="the PostgreSQL major to test on; else whatever the machine has")


def _default_bindir(folder: Path) -> Path:
    """The programs that `enterprise-ai server start` would choose on this machine."""
    from enterprise_ai.embedded import accounts, discovery, paths

    layout = paths.Layout(folder / "pg")
    paths.make_root(layout)
    return discovery.choose(accounts.server_account(layout.data), layout, None).bindir


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    major = request.config.getoption("--pg") or os.environ.get("TEST_PG")
    # Not under pytest's own folders: the server's account could not reach them.
    with tempfile.TemporaryDirectory(prefix="enterprise-ai-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        bindir = bindir_of(int(major)) if major else _default_bindir(Path(folder))
        with scratch_server(bindir) as running:
            yield running


@pytest.fixture(scope="session")
def server_version(server: Server) -> int:
    """The major of the server under test."""
    with psycopg.connect(server.url()) as conn:
        return conn.info.server_version // 10000


@pytest.fixture(autouse=True)
def _only_on_fitting_servers(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("pg")
    if marker is None:
        return
    operator, major = re.fullmatch(r"(>=|<) (\d+)", marker.args[0]).groups()
    version = request.getfixturevalue("server_version")
    if (version >= int(major)) != (operator == ">="):
        pytest.skip(f"for PostgreSQL {marker.args[0]}, this is {version}")


@pytest.fixture(scope="session")
def superuser(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def migrator(superuser: psycopg.Connection, server_version: int) -> str:
    """The login that migrates: no superuser, as in production; on 12 the extensions come from an administrator."""
    superuser.execute("create role migrator login createrole")
    return "migrator"


@contextmanager
def new_database(superuser: psycopg.Connection, owner: str, template: str = "template0") -> Iterator[str]:
    name = "test_" + uuid4().hex[:16]
    # Copying files is quicker than logging pages, which is what servers since 15 do unless told.
    strategy = sql.SQL("strategy file_copy" if superuser.info.server_version >= 150000 else "")
    superuser.execute(
        sql.SQL("create database {} owner {} template {} {}").format(
            *map(sql.Identifier, (name, owner, template)), strategy
        )
    )
    try:
        yield name
    finally:
        superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
            [name],
        )
        superuser.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


@pytest.fixture
def empty_database(server: Server, superuser: psycopg.Connection, migrator: str) -> Iterator[str]:
    """The URL of a database with nothing in it but, on 12, the extensions that only a superuser may install."""
    with new_database(superuser, migrator) as name:
        with psycopg.connect(server.url(name)) as conn:
            if conn.info.server_version < 130000:
                conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
        yield server.url(name, migrator)


@pytest.fixture(scope="session")
def template(server: Server, superuser: psycopg.Connection, migrator: str) -> str:
    """The name of a database with all migrations, to copy from; nobody stays connected to it."""
    superuser.execute(
        sql.SQL("create database {} owner {} template template0").format(
            *map(sql.Identifier, (TEMPLATE, migrator))
        )
    )
    with psycopg.connect(server.url(TEMPLATE)) as conn:
        if conn.info.server_version < 130000:
            conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
    Migrator(server.url(TEMPLATE, migrator), migrations=MIGRATIONS).migrate()
    return TEMPLATE


@pytest.fixture
def database(server: Server, superuser: psycopg.Connection, migrator: str, template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own: for tests that commit."""
    with new_database(superuser, migrator, template) as name:
        yield server.url(name, migrator)


@pytest.fixture(scope="session")
def _shared_database(
    server: Server, superuser: psycopg.Connection, migrator: str, template: str
) -> Iterator[str]:
    with new_database(superuser, migrator, template) as name:
        yield name


@pytest.fixture(scope="session")
def _kept() -> Iterator[Kept]:
    kept = Kept()
    yield kept
    kept.close()


@pytest.fixture
def db(server: Server, _shared_database: str, migrator: str, _kept: Kept) -> Iterator[psycopg.Connection]:
    """A connection as the owner of a migrated database, in a transaction that is rolled back."""
    with _kept.lend(server.url(_shared_database, migrator)) as conn:
        yield conn


@pytest.fixture
def admin(server: Server, _shared_database: str, _kept: Kept) -> Iterator[psycopg.Connection]:
    """The same as `db` for a superuser, whom row security does not bind."""
    with _kept.lend(server.url(_shared_database)) as conn:
        yield conn


@pytest.fixture
def tenant(db: psycopg.Connection) -> Callable[[str], object]:
    """Make a tenant by its slug within the test's transaction; returns its id."""

    def make(slug: str) -> object:
        return db.execute("select identity.create_tenant(%s, %s)", [slug, slug.title()]).fetchone()[0]

    return make
