"""Two tenants with people in a database of the module's own, and logins that are members of one group role."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest

from enterprise_ai.secrets import SecretBox
from tests.conftest import new_database
from tests.kept import Kept
from tests.servers import Server

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
# Logins as a deployment has them: an application, a service that signs people in, an operator. The one for the
# application may create in public, as everybody could before PostgreSQL 15 where nobody took that away.
LOGINS = {
    "app": "enterprise_ai_app",
    "gateway": "enterprise_ai_gateway",
    "operator": "enterprise_ai_operator",
}


@dataclass
class Tenant:
    """A tenant of the world and its people by name."""

    id: UUID
    slug: str
    people: dict[str, UUID] = field(default_factory=dict)


class World:
    """A database that two tenants share."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.kept = Kept()
        self._made = 0
        with self.owner() as conn:  # all of them come from one address
            conn.execute(
                "update platform.configuration_settings set value = '6000' where key = 'limits.sign_ins_per_minute'"
            )
        self.here, self.there = self.new_tenant("here"), self.new_tenant("there")
        for tenant in (self.here, self.there):
            for person in ("ada", "bob"):
                self.new_person(tenant, person)

    @contextlib.contextmanager
    def owner(self, tenant: Tenant | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of the owner of the tables, in a tenant's context where one is given; commits."""
        with self.kept.lend(self.server.url(self.name, "migrator")) as conn:
            if tenant is not None:
                conn.execute(CONTEXT, [tenant.id])
            yield conn
            conn.commit()

    @contextlib.contextmanager
    def gateway(self) -> Iterator[psycopg.Cursor[Any]]:
        """A transaction of a service that signs people in; commits. Its rows have names."""
        with (
            self.kept.lend(self.server.url(self.name, "gateway_login")) as conn,
            conn.cursor(row_factory=psycopg.rows.namedtuple_row) as cursor,
        ):
            yield cursor
            conn.commit()

    def connect(self, login: str, **options: Any) -> psycopg.Connection[Any]:
        """A connection as one of LOGINS."""
        return psycopg.connect(self.server.url(self.name, f"{login}_login"), **options)

    def new_tenant(self, slug: str) -> Tenant:
        with self.owner() as conn:
            return Tenant(
                conn.execute("select identity.create_tenant(%s, %s)", [slug, slug.title()]).fetchone()[0],
                slug,
            )

    def new_person(self, tenant: Tenant, name: str | None = None, status: str = "active") -> UUID:
        self._made += 1
        name = name or f"person{self._made}"
        with self.owner(tenant) as conn:
            (tenant.people[name],) = conn.execute(
                "insert into identity.users (tenant_id, email, display_name, status) values (%s, %s, %s, %s) returning id",
                [tenant.id, f"{name}@{tenant.slug}.test", f"{name.title()} of {tenant.slug}", status],
            ).fetchone()
        return tenant.people[name]

    def new_session(self, tenant: Tenant, person: UUID, *, refreshable: bool = False, level: int = 1) -> Any:
        """Start a session as the gateway would; returns the row of identity.start_session()."""
        with self.gateway() as cursor:
            cursor.execute("select platform.open_context(%s, %s)", [tenant.id, person])
            return cursor.execute(
                "select * from identity.start_session(%s, %s::smallint, is_refreshable => %s)",
                [person, level, refreshable],
            ).fetchone()


@pytest.fixture(scope="module")
def world(
    server: Server, superuser: psycopg.Connection[Any], migrator: str, template: str
) -> Iterator[World]:
    for login, role in LOGINS.items():
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            superuser.execute(f"create role {login}_login login in role {role}")
    with new_database(superuser, migrator, template) as name:
        with psycopg.connect(server.url(name)) as conn:
            conn.execute("grant create on schema public to app_login")
        world = World(server, name)
        yield world
        world.kept.close()


@pytest.fixture(scope="session")
def secrets() -> SecretBox:
    """What a service seals secrets with."""
    return SecretBox({"k1": bytes(range(32))})


@pytest.fixture
def app(world: World) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a login that is a member of enterprise_ai_app and of nothing else; rolled back."""
    with contextlib.closing(world.connect("app")) as conn:
        yield conn


@pytest.fixture
def gateway(world: World) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a login that signs people in; rolled back."""
    with contextlib.closing(world.connect("gateway")) as conn:
        yield conn
