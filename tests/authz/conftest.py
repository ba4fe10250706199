"""A database with a tenant that is there already: to make one takes longer than a test.

Tests that commit take the database with two tenants and logins that the tests of identity have.
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
def _shared_database(
    server: Server, superuser: psycopg.Connection, migrator: str, template: str
) -> Iterator[str]:
    with new_database(superuser, migrator, template) as name:
        with psycopg.connect(server.url(name, migrator)) as conn:
            conn.execute("select identity.create_tenant(%s, 'Ready')", [READY])
        yield name
