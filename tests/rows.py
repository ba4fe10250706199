"""Make a valid row for any table from what the catalogue says of its columns, keys and checks."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

# What a check wants that cannot be read off the catalogue: table -> column -> SQL expression.
SPECIAL: dict[str, dict[str, str]] = {}

BY_TYPE = {
    "uuid": "platform.new_id()",
    "text": "'x' || replace(platform.new_id()::text, '-', '')",
    "text[]": "array['x']",
    "bytea": "decode(repeat('ab', 32), 'hex')",
    "boolean": "false",
    "jsonb": "'{}'",
    "jsonpath": "'strict $.a == 1'",
    "inet": "'127.0.0.1'",
    "date": "date_trunc('month', now() at time zone 'UTC')::date",
    "interval": "'1 hour'",
    "timestamp with time zone": "now()",
    "tstzrange": "tstzrange(now(), null)",
}


class Generator:
    """Rows for the tables of one database; the connection must be allowed to write all of them."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self._conn = conn
        self._made: dict[tuple[str, Any], dict[str, Any]] = {}

    def ensure_row(self, table: str, tenant_id: Any = None) -> dict[str, Any]:
        """Return the row made for the table and tenant, making it and all that it refers to when needed."""
        made = self._made.get((table, tenant_id)) or self._existing(table, tenant_id) or self._insert(table, tenant_id)
        self._made[table, tenant_id] = made
        return made

    def _existing(self, table: str, tenant_id: Any) -> dict[str, Any] | None:
        where, params = "true", []
        if "tenant_id" in self._columns(table) and tenant_id is not None:
            where, params = "tenant_id = %s", [tenant_id]
        elif table == "identity.tenants":
            where, params = "id = %s", [tenant_id]
        cursor = self._conn.execute(f"select * from {table} where {where} limit 1", params)  # noqa: S608
        row = cursor.fetchone()
        return dict(zip([column.name for column in cursor.description], row, strict=True)) if row else None

    def _insert(self, table: str, tenant_id: Any) -> dict[str, Any]:
        columns, values, params = [], [], []
        foreign = self._foreign_values(table, tenant_id)
        special = SPECIAL.get(table, {})
        for name, type_name, is_needed in self._writable(table):
            if name in special:
                value = special[name]
            elif name == "tenant_id" and tenant_id is not None:
                value, params = "%s", [*params, tenant_id]
            elif name in foreign:
                value, params = "%s", [*params, foreign[name]]
            elif is_needed:
                value = self._from_checks(table, name) or BY_TYPE.get(type_name, "1")
            else:
                continue
            columns.append(sql.Identifier(name))
            values.append(sql.SQL(value))
        cursor = self._conn.execute(
            sql.SQL("insert into {} ({}) values ({}) returning *").format(
                sql.SQL(table), sql.SQL(", ").join(columns), sql.SQL(", ").join(values)
            ),
            params,
        )
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))

    def _columns(self, table: str) -> list[str]:
        return [name for name, _, _ in self._writable(table)]

    def _writable(self, table: str) -> list[tuple[str, str, bool]]:
        """(name, type, must be given) of each column that an insert may name."""
        return self._conn.execute(
            """
            select a.attname::text, format_type(a.atttypid, null), a.attnotnull and not a.atthasdef and a.attidentity = ''
            from pg_attribute as a
            where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
              and a.attgenerated = '' and a.attidentity <> 'a'
            order by a.attnum
            """,
            [table],
        ).fetchall()

    def _foreign_values(self, table: str, tenant_id: Any) -> dict[str, Any]:
        """The values of the columns that must refer to another table's row, whose rows are made first."""
        needed = {name for name, _, is_needed in self._writable(table) if is_needed}
        values: dict[str, Any] = {}
        for target, columns, target_columns in self._conn.execute(
            """
            select c.confrelid::regclass::text,
                   array(select a.attname::text from unnest(c.conkey) with ordinality as k (num, place)
                         join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.num order by k.place),
                   array(select a.attname::text from unnest(c.confkey) with ordinality as k (num, place)
                         join pg_attribute as a on a.attrelid = c.confrelid and a.attnum = k.num order by k.place)
            from pg_constraint as c
            where c.conrelid = %s::regclass and c.contype = 'f' and c.confrelid <> c.conrelid
            """,
            [table],
        ).fetchall():
            if set(columns) <= needed:
                row = self.ensure_row(target, tenant_id)
                values.update({c: row[t] for c, t in zip(columns, target_columns, strict=True)})
        return values

    def _from_checks(self, table: str, column: str) -> str | None:
        """The first of the values that a check lists for the column."""
        for (definition,) in self._conn.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'c'",
            [table],
        ):
            found = re.match(rf"CHECK \(\(\(?{column}\)?(?:::text)? = (?:ANY \(ARRAY\[)?('(?:[^']|'')*')", definition)
            if found:
                return found[1]
        return None
