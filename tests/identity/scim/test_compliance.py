"""A public client checks the service against RFC 7643 and 7644, and a public contract checks what lies under it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import ScimProvider
from scim2_server.testing import SEARCH_USERS, ScimStorageContract
from scim2_tester import Status, check_server

from enterprise_ai.client import Client, connect
from enterprise_ai.identity.scim.dialects import completed
from enterprise_ai.identity.scim.schemas import PROVIDER
from enterprise_ai.identity.scim.storage import Storage
from tests.identity.conftest import Tenant, World
from tests.identity.scim.conftest import Directory


def test_a_public_client_finds_no_fault(directory: Directory) -> None:
    headers = {"Authorization": f"Bearer {directory.key}"}
    with httpx2.Client(base_url=directory.url, headers=headers, timeout=60) as http:
        results = check_server(SyncSCIMClient(http))

    assert {result.title for result in results if result.status is Status.SUCCESS} >= {
        "object_creation", "object_query", "object_replacement", "object_deletion", "check_add_attribute",
        "check_replace_attribute", "check_remove_attribute", "access_schema_by_id", "random_url",
    }  # fmt: skip
    faults = [
        result for result in results if result.status in (Status.ERROR, Status.CRITICAL, Status.DEVIATION)
    ]
    assert [fault.reason for fault in faults if not _is_the_only_address(fault.reason)] == []


def _is_the_only_address(reason: str | None) -> bool:
    """The client may say that the one address is not the primary one; here it always is."""
    return "'emails'" in (reason or "") and "primary=False" in (reason or "")


_numbers = itertools.count(1)


class Committing:
    """Calls a storage as requests do: each call in a transaction of its own."""

    supports_cursors = False
    _search_takes_position = _get_takes_response_parameters = True

    def __init__(self, client: Client, tenant: Tenant) -> None:
        self._client, self._tenant = client, tenant

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            with PROVIDER, self._client.as_service(self._tenant.id) as tx:
                return getattr(Storage(tx.conn), name)(*map(_addressed, arguments), **options)

        return call

    @contextmanager
    def operation(self) -> Iterator[None]:
        yield


class TestStorage(ScimStorageContract):
    """What scim2-server asks of a storage; among it that filters and orders are those of its own evaluator."""

    supports_root_search = False

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, world: World) -> Iterator[Client]:
        with connect(world.server.url(world.name, "gateway_login")) as client:
            yield client

    @pytest.fixture
    def provider(self) -> ScimProvider:
        return PROVIDER

    @pytest.fixture(scope="class")
    @classmethod
    def tenant(cls, world: World) -> Tenant:
        return world.new_tenant("contract")

    @pytest.fixture
    def storage(self, world: World, tenant: Tenant, client: Client) -> Committing:
        with world.owner(tenant) as conn:
            conn.execute("delete from identity.users")
            conn.execute("delete from identity.groups")
        return Committing(client, tenant)

    # It writes members' names, which are not stored; test_protocol says what is left out of responses.
    test_get_keeps_what_the_response_returns = None

    def create_users(self, storage: Any, user_type: Any, user_model: Any, *user_names: str) -> list[Any]:
        return [storage.create(user_type, user_model.model_validate(_user(name))) for name in user_names]

    def search_users(self) -> list[dict[str, Any]]:
        return [_user(user["userName"]) | _kept(user) for user in SEARCH_USERS]


def _addressed(argument: Any) -> Any:
    """A user of the contract has a name only; here they have an address too."""
    if getattr(argument, "user_name", None) is None or argument.emails:
        return argument
    return type(argument).model_validate(argument.model_dump() | _user(argument.user_name))


def _user(name: str) -> dict[str, Any]:
    return completed(
        {
            "userName": name,
            "emails": [{"value": f"{name}.{next(_numbers)}@work.example", "type": "work", "primary": True}],
        },
        is_active=True,
    )


def _kept(user: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in user.items() if name != "emails" and not name.startswith("urn:")}
