"""How the faces of the domain call its functions: one statement, one value, errors of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from enterprise_ai._queries import queries
from enterprise_ai.authz import errors as _errors  # noqa: F401  their SQLSTATEs are known once it is loaded
from enterprise_ai.errors import translated

_sql = queries("enterprise_ai.authz")
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When and where something that is given counts; nothing: always and everywhere."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None
    condition: str | None = None
    """A predicate in strict SQL/JSON path over $.subject, $.resource and $.env."""
    networks: Sequence[str] | None = None
    windows: Sequence[Mapping[str, Any]] | None = None


ALWAYS = Limits()


class Calls:
    """Calls the statements of the domain's queries.sql by their name."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def _value(self, query: str, **values: Any) -> Any:
        with translated():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]

    def _id(self, query: str, **values: Any) -> UUID:
        value = self._value(query, **values)
        assert isinstance(value, UUID)
        return value

    def _values(self, query: str, **values: Any) -> list[Any]:
        with translated():
            return [row[0] for row in self._conn.execute(_sql[query], values)]

    def _rows(self, kind: type[Row], query: str, **values: Any) -> Sequence[Row]:
        with translated(), self._conn.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(_sql[query], values).fetchall()


def limiting(limits: Limits) -> dict[str, Any]:
    """The parameters that say when and where something counts."""
    return {
        "valid_from": limits.valid_from,
        "valid_until": limits.valid_until,
        "condition": limits.condition,
        "networks": None if limits.networks is None else list(limits.networks),
        "windows": None if limits.windows is None else Jsonb([dict(window) for window in limits.windows]),
    }
