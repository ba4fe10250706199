"""Contexts through a real PgBouncer in transaction mode: many clients on few connections, and none has another's."""

from __future__ import annotations

import concurrent.futures

import psycopg
import pytest

from enterprise_ai.identity import Sessions, open_session
from tests.migrate.pooling import pooler_before


@pytest.fixture
def pooled(world):
    """The URL of the world's database for the application's login, through two connections."""
    with pooler_before(world.server, "transaction", 2, user="app_login") as url_of:
        yield url_of(world.name)


def test_many_on_few_connections_are_each_themselves(world, pooled):
    people = [(tenant, world.new_person(tenant)) for tenant in (world.here, world.there) for _ in range(5)]
    tokens = [world.new_session(tenant, person).session_token for tenant, person in people]

    def client(number):
        (tenant, person), token = people[number], tokens[number]
        seen = set()
        with psycopg.connect(pooled, prepare_threshold=None) as conn:
            for _ in range(20):
                seen.add(("left over", conn.execute("select platform.context()").fetchone()[0]))
                context = open_session(conn, token)
                (users,) = conn.execute("select array_agg(distinct tenant_id) from identity.users").fetchone()
                seen.add((context.user_id, *users, len(Sessions(conn).list())))
                conn.commit()
        return seen == {("left over", None), (person, tenant.id, 1)}

    with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
        assert all(pool.map(client, range(len(people))))
