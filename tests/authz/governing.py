"""What the tests of governance share: people with roles, and what is refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.authz.world import World


def refused(world: World, state: str, query: str, *values: Any) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        world.conn.execute(query, values)
    assert caught.value.sqlstate == state, caught.value
    return caught.value


def holder_of(world: World, name: str) -> UUID:
    user = world.user()
    of_tenant = "select id from authz.roles where tenant_id = %s and name = %s"
    world.give(user, world.one(of_tenant, world.tenant_id, name))
    return user


def name_of(world: World, role: UUID) -> str:
    return world.one("select name from authz.roles where id = %s", role)


def set_to(world: World, key: str, value: str) -> None:
    world.conn.execute(
        "insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, %s)"
        " on conflict (tenant_id, key) do update set value = excluded.value",
        [world.tenant_id, key, value],
    )
