"""The tenants of an installation, for whoever runs it (`enterprise_ai_operator`); no context is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.errors import TenantNotFound

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class Tenant:
    """An organisation whose data is kept apart from every other's."""

    id: UUID
    slug: str
    display_name: str
    status: str
    region: str | None
    created_at: datetime


@dataclass(frozen=True)
class TenantDeletion:
    """The receipt of a deletion; it is finished when `finished_at` is set."""

    tenant_id: UUID
    slug: str
    display_name: str
    reason: str
    row_counts: dict[str, int]
    started_by: str
    started_at: datetime
    finished_at: datetime | None


class Tenants:
    """All tenants of the installation."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def create(self, slug: str, display_name: str, *, region: str | None = None) -> UUID:
        """Make a tenant with the default roles and cost centres; return its id. Raise `TenantExists`."""
        values = {"slug": slug, "display_name": display_name, "region": region}
        tenant_id = self._call("create_tenant", **values)
        assert isinstance(tenant_id, UUID)
        return tenant_id

    def list(self, *, after: str = "", limit: int = 1000) -> Sequence[Tenant]:
        """The tenants by slug, from the one after `after` on."""
        return self._rows(after=after, limit=limit, named=None)

    def get(self, name: str | UUID) -> Tenant:
        """Return the tenant of a slug or an id; raise `TenantNotFound`."""
        found = self._rows(after="", limit=1, named=str(name))
        if not found:
            raise TenantNotFound(f"There is no tenant {name}")
        return found[0]

    def suspend(self, tenant_id: UUID) -> None:
        """Keep everybody of a tenant out for the time being; raise `TenantStatusCannotFollow`."""
        self._call("suspend_tenant", tenant_id=tenant_id)

    def archive(self, tenant_id: UUID) -> None:
        """Put a tenant away whose data is to be kept; raise `TenantStatusCannotFollow`."""
        self._call("archive_tenant", tenant_id=tenant_id)

    def reactivate(self, tenant_id: UUID) -> None:
        """Let a suspended or archived tenant work again; raise `TenantStatusCannotFollow`."""
        self._call("reactivate_tenant", tenant_id=tenant_id)

    def appoint_administrator(self, tenant_id: UUID, user_id: UUID) -> None:
        """Give `super_admin` in a tenant that has nobody who has it; raise `AdministratorExists`."""
        self._call("appoint_first_administrator", tenant_id=tenant_id, user_id=user_id)

    def begin_deletion(self, tenant_id: UUID, reason: str) -> None:
        """Begin to delete a tenant for good; raise `TenantStatusCannotFollow`, `UnderLegalHold`."""
        self._call("begin_tenant_deletion", tenant_id=tenant_id, reason=reason)

    def delete_rest(self, tenant_id: UUID, *, batch_size: int = 5000) -> Iterator[int]:
        """Delete what is left, batch by batch, each in its own transaction; yield how many rows each took.

        Needs an autocommit connection. Raise `TenantNotBeingDeleted`, `TenantStillWrites`, `UnderLegalHold`;
        what broke off goes on when called again.
        """
        while rows := int(self._call("delete_tenant_batch", tenant_id=tenant_id, batch_size=batch_size)):
            yield rows

    def deletions(self) -> Sequence[TenantDeletion]:
        """The receipts, the newest first."""
        with translated(), self._conn.cursor(row_factory=class_row(TenantDeletion)) as cursor:
            return cursor.execute(_sql["list_tenant_deletions"]).fetchall()

    def _rows(self, **values: Any) -> Sequence[Tenant]:
        with translated(), self._conn.cursor(row_factory=class_row(Tenant)) as cursor:
            return cursor.execute(_sql["list_tenants"], values).fetchall()

    def _call(self, query: str, **values: Any) -> Any:
        with translated():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]
