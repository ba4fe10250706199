"""The application on a socket of its own, and what directories hold: a key of a tenant with the scope scim."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from enterprise_ai.client import connect
from enterprise_ai.identity.scim import ScimApp
from tests.identity.conftest import Tenant, World

_numbers = itertools.count(1)


@dataclass
class Directory:
    """A tenant as its directory sees it: over HTTP, with an API key."""

    world: World
    tenant: Tenant
    keeper: UUID
    """The user whose key it is."""
    key: str
    url: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Send a request as directories do; header names are given with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", f"Bearer {self.key}")
        if body is not None:
            sent.setdefault("Content-Type", "application/scim+json")
        return requests.request(method, self.url + path, json=body, headers=sent, timeout=60)

    def get(self, path: str, **headers: str) -> Any:
        response = self.call("GET", path, **headers)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: Any) -> Any:
        response = self.call("POST", path, body)
        assert response.status_code == 201, response.text
        return response.json()

    def patch(self, path: str, *operations: dict[str, Any], **headers: str) -> requests.Response:
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
        return self.call("PATCH", path, body, **headers)

    def new_user(self, name: str, /, **attributes: Any) -> Any:
        """Make a user with an address of its own."""
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": f"{name}@{self.tenant.slug}.test",
        }
        return self.post("/Users", body | attributes)

    def new_group(self, name: str, /, *members: str, **attributes: Any) -> Any:
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "members": [{"value": member} for member in members],
        }
        return self.post("/Groups", body | attributes)

    def owner(self, text: str, values: Any = ()) -> list[Any]:
        """Rows as the owner of the tables sees them in the tenant; commits."""
        with self.world.owner(self.tenant) as conn:
            cursor = conn.execute(text, values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[str]:
    """The address of the application, served by a real server under a path."""
    with connect(world.server.url(world.name, "gateway_login")) as client:
        app = Starlette(routes=[Mount("/scim/v2", ScimApp(client))])
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # As with sockets that asyncio makes itself; else the body waits for the receipt of the headers, 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/scim/v2"
            server.should_exit = True
            thread.join()


def new_key(world: World, tenant: Tenant, keeper: UUID, *scopes: str) -> str:
    """An API key, as a service that was opened for nobody makes it."""
    with world.gateway() as cursor:
        cursor.execute("select platform.open_context(%s)", [tenant.id])
        return cursor.execute(
            "select key from identity.create_api_key(%s, %s, user_id => %s)",
            [f"key{next(_numbers)}", list(scopes), keeper],
        ).fetchone()[0]


def new_directory(world: World, url: str) -> Directory:
    """A tenant of its own with a directory."""
    tenant = world.new_tenant(f"company{next(_numbers)}")
    keeper = world.new_person(tenant, "keeper")
    with world.owner(tenant) as conn:
        conn.execute(
            """insert into authz.user_roles (tenant_id, user_id, role_id)
               select tenant_id, %s, id from authz.roles where tenant_id = %s and name = 'super_admin'""",
            [keeper, tenant.id],
        )
    return Directory(world, tenant, keeper, new_key(world, tenant, keeper, "scim"), url)


@pytest.fixture
def directory(world: World, service: str) -> Directory:
    return new_directory(world, service)


@pytest.fixture
def other(world: World, service: str) -> Directory:
    """A directory of another tenant."""
    return new_directory(world, service)
