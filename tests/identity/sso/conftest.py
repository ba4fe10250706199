"""A tenant with a provider, and sign-ins as the service that has verified the claims makes them."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.identity.conftest import Tenant, World

_numbers = itertools.count(1)
ENDPOINTS = {
    "oidc": {"issuer": "https://login.example.com"},
    "oauth2": {
        "issuer": "https://login.example.com",
        "authorization_endpoint": "https://login.example.com/authorize",
        "token_endpoint": "https://login.example.com/token",
        "userinfo_endpoint": "https://login.example.com/user",
    },
}


class Gate:
    """What a gateway does in one tenant, each call a transaction of its own."""

    def __init__(self, world: World, tenant: Tenant) -> None:
        self.world, self.tenant = world, tenant

    def call(self, text: str, values: Any = ()) -> Any:
        """The first row of a statement in the tenant's context; commits."""
        with self.world.gateway() as cursor:
            cursor.execute("select platform.open_context(%s)", [self.tenant.id])
            return cursor.execute(text, values).fetchone()

    def provider(self, protocol: str = "oidc", **settings: Any) -> UUID:
        """A new provider, enabled, that makes users unless the settings say otherwise."""
        name = f"provider-{next(_numbers)}"
        values = ENDPOINTS.get(protocol, {}) | {
            "protocol": protocol, "client_id": name, "is_enabled": True, "creates_users": True, **settings,
        }  # fmt: skip
        return self.call("select identity.save_sso_provider(%s, %s)", [name, Jsonb(values)])[0]

    def sign_in(self, provider: UUID, subject: str, **claims: Any) -> Any:
        return self.call(
            "select * from identity.sign_in_with_sso(%s, %s, %s)", [provider, subject, Jsonb(claims)]
        )

    def owner(self, text: str, values: Any = ()) -> list[Any]:
        """Rows as the owner of the tables sees them in the tenant; commits."""
        with self.world.owner(self.tenant) as conn:
            cursor = conn.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def roles_of(self, user: UUID) -> set[str]:
        return {
            row[0]
            for row in self.owner(
                "select r.name from authz.user_roles as a join authz.roles as r on r.id = a.role_id where a.user_id = %s",
                [user],
            )
        }


@pytest.fixture
def gate(world: World) -> Gate:
    """A new tenant for each test."""
    return Gate(world, world.new_tenant(f"tenant{next(_numbers)}"))
