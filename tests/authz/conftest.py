"""A database with a tenant that is there already, and a connection that stays: to make either takes longer than a test.

Each test has the connection to itself, in a transaction that is rolled back. Tests that commit take the database with
two tenants and logins that the tests of identity have.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.authz.world import READY
from tests.conftest import new_database
from tests.identity.conftest import world  # noqa: F401
from tests.servers import Server


@pytest.fixture(scope="session")
def _ready_database(
    server: Server, superuser: psycopg.Connection, migrator: str, template: str
) -> Iterator[str]:
    with new_database(superuser, migrator, template) as name:
        with psycopg.connect(server.url(name, migrator)) as conn:
            conn.execute("select identity.create_tenant(%s, 'Ready')", [READY])
        yield name


@pytest.fixture(scope="session")
def _kept() -> Iterator[list[psycopg.Connection]]:
    """The connection that the last test has left, if it is as it was."""
    kept: list[psycopg.Connection] = []
    yield kept
    for conn in kept:
        conn.close()


@pytest.fixture
def db(
    server: Server, _ready_database: str, migrator: str, _kept: list[psycopg.Connection]
) -> Iterator[psycopg.Connection]:
    """A connection as the owner of a database with a tenant, in a transaction that is rolled back."""
    conn = _kept.pop() if _kept else psycopg.connect(server.url(_ready_database, migrator))
    yield conn
    if not conn.closed and not conn.autocommit:
        conn.rollback()
        _kept.append(conn)
