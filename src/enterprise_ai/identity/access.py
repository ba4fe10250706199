"""What lets the current user in: their sessions and API keys, to list and to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class Session:
    """A live session; `is_current` when the context was opened by it."""

    id: UUID
    is_current: bool
    authentication_level: int
    ip_address: IPv4Address | IPv6Address | None
    user_agent: str | None
    started_at: datetime
    last_seen_at: datetime
    idle_expires_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class ApiKey:
    """An API key, without the key."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class NewApiKey:
    """A key just made; it is not to be had again."""

    id: UUID
    key: str


class Sessions:
    """The sessions of the context's user."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def list(self) -> Sequence[Session]:
        """The live ones, the last used first."""
        with translated(), self._conn.cursor(row_factory=class_row(Session)) as cursor:
            return cursor.execute(_sql["list_my_sessions"]).fetchall()

    def revoke(self, session_id: UUID) -> bool:
        """End one of them with its refresh family; False when there is no such live session."""
        with translated():
            row = self._conn.execute(_sql["revoke_session"], {"session_id": session_id}).fetchone()
        return bool(row and row[0])


class ApiKeys:
    """The API keys of the context's user."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
        user_id: UUID | None = None,
    ) -> NewApiKey:
        """Make a key; raise `ApiKeyNameTaken`, `ApiKeyTooLong`, `ApiKeyNotAllowed`, `QuotaReached`."""
        values = {"name": name, "scopes": list(scopes), "expires_at": expires_at, "user_id": user_id}
        with translated(), self._conn.cursor(row_factory=class_row(NewApiKey)) as cursor:
            key = cursor.execute(_sql["create_api_key"], values).fetchone()
        assert key is not None
        return key

    def list(self) -> Sequence[ApiKey]:
        """All of them, the newest first."""
        with translated(), self._conn.cursor(row_factory=class_row(ApiKey)) as cursor:
            return cursor.execute(_sql["list_my_api_keys"]).fetchall()

    def revoke(self, key_id: UUID) -> bool:
        """End one; False when there is no such live key."""
        with translated():
            row = self._conn.execute(_sql["revoke_api_key"], {"key_id": key_id}).fetchone()
        return bool(row and row[0])
