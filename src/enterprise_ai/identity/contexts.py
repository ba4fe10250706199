"""Whom a transaction runs for, and how that is proved."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class Request:
    """Where a request comes from; it is carried in the context and recorded with attempts to sign in."""

    id: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None

    @classmethod
    def received(cls, id: str | None, address: object, user_agent: str | None) -> Request:
        """What a web server knows of a request: headers are cut, and on a socket file there is no address."""
        try:
            known = str(ipaddress.ip_address(str(address)))
        except ValueError:
            known = None
        return cls((id or "")[:200] or None, known, (user_agent or "")[:500] or None)


@dataclass(frozen=True)
class Context:
    """The verified context of a transaction."""

    tenant_id: UUID
    user_id: UUID | None
    actor_id: UUID | None
    session_id: UUID | None
    api_key_id: UUID | None
    scopes: tuple[str, ...]
    """What an API key confines the transaction to; empty when to nothing."""
    authentication_level: int | None
    request: Request


NO_REQUEST = Request()


def open_session(conn: Connection[Any], token: str, request: Request = NO_REQUEST) -> Context:
    """Open the context for whoever has the session; raise `SessionOver`, `UserNotActive`, `TenantNotActive`."""
    return _opened(conn, "open_session", {"token": token}, request)


def open_api_key(conn: Connection[Any], key: str, request: Request = NO_REQUEST) -> Context:
    """Open the transaction's context by an API key; raise `ApiKeyNotValid`, `UserNotActive`, `TenantNotActive`."""
    return _opened(conn, "open_api_key", {"key": key}, request)


def open_scim(conn: Connection[Any], key: str, request: Request = NO_REQUEST) -> Context:
    """Open the context for a directory; only gateways may. Raise as `open_api_key`, and `ProvisioningRefused`."""
    return _opened(conn, "open_scim", {"key": key}, request)


def open_for(
    conn: Connection[Any],
    tenant_id: UUID,
    user_id: UUID | None = None,
    *,
    actor_id: UUID | None = None,
    authentication_level: int | None = None,
    request: Request = NO_REQUEST,
) -> Context:
    """Open the context for somebody whom this service has authenticated itself; only gateways may."""
    values = {
        "tenant_id": tenant_id, "user_id": user_id, "actor_id": actor_id, "authentication_level": authentication_level,
    }  # fmt: skip
    with translated():
        conn.execute(_sql["open_for"], _request_values(request) | values)
    context = current(conn)
    assert context is not None
    return context


def current(conn: Connection[Any]) -> Context | None:
    """The context of the current transaction; None when none is open."""
    row = conn.execute(_sql["context"]).fetchone()
    return context_of(row[0]) if row and row[0] is not None else None


def _opened(conn: Connection[Any], query: str, values: dict[str, Any], request: Request) -> Context:
    with translated():
        row = conn.execute(_sql[query], _request_values(request) | values).fetchone()
    assert row is not None
    return context_of(row[0])


def _request_values(request: Request) -> dict[str, Any]:
    return {"request_id": request.id, "ip_address": request.ip_address, "user_agent": request.user_agent}


def context_of(fields: dict[str, Any]) -> Context:
    """The context that the fields of `platform.context()` say."""

    def uuid(name: str) -> UUID | None:
        return UUID(fields[name]) if name in fields else None

    return Context(
        tenant_id=UUID(fields["tenant_id"]),
        user_id=uuid("user_id"),
        actor_id=uuid("actor_id") or uuid("user_id"),
        session_id=uuid("session_id"),
        api_key_id=uuid("api_key_id"),
        scopes=tuple(fields.get("scopes", ())),
        authentication_level=fields.get("authentication_level"),
        request=Request(fields.get("request_id"), fields.get("ip_address"), fields.get("user_agent")),
    )
