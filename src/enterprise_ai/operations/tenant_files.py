"""What an exported tenant consists of: which tables, in which order, and what stays where it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection

from enterprise_ai.errors import Error

FORMAT = 1
MANIFEST = "manifest.json"

#: Tables that are not in the files, and why: what is derived comes about again, what belongs to the installation stays.
LEFT_OUT = {
    "authz.epochs": "derived from the rights",
    "authz.holders": "derived from the rights",
    "authz.role_rights": "derived from the rights",
    "authz.role_sets": "derived from the rights",
    "identity.mfa_recovery_codes": "hashed under a key of the installation: users make new ones",
    "identity.one_time_tokens": "good where they were sent from: send new ones",
    "identity.quota_slots": "counted from the rows",
    "identity.refresh_tokens": "good where they were given out: users sign in again",
    "identity.sso_requests": "good for the sign-in that is going on",
    "identity.sso_sessions": "good where they were given out: users sign in again",
    "identity.sso_used_ids": "good where they were used",
    "identity.user_sessions": "good where they were given out: users sign in again",
    "identity.webauthn_challenges": "good for five minutes",
    "llm.document_queue_turns": "whose turn it is in the installation",
    "platform.rate_counts": "good for a minute",
}

#: Catalogues whose keys are numbers of the installation; in the files stands the name.
_NAMED_BY = {"authz.permissions": "name"}


class TenantFilesError(Error):
    """The tenant was not exported or imported; the message says why, and nothing was left behind."""


@dataclass(frozen=True)
class Table:
    """A table that holds rows of tenants."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    refers_to: frozenset[str]
    parent_columns: tuple[tuple[str, str], ...]
    """Where it refers to itself and rows have to come after those above them: its columns, and what they point to."""
    names: dict[str, str]
    """Columns with the numbers of a catalogue: the catalogue."""
    month_column: str | None
    """What its partitions are cut by."""

    @property
    def path(self) -> str:
        """Its file in the export."""
        return f"data/{self.name}.csv"


@dataclass(frozen=True)
class Summary:
    """What was exported or imported: rows by table, without the empty ones."""

    slug: str
    rows: dict[str, int]


_TABLES = """
select t.name::text,
       array(select a.attname::text from pg_attribute as a
             where a.attrelid = t.name and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
             order by a.attnum),
       array(select a.attname::text from pg_index as i
             cross join unnest(i.indkey::int2[]) with ordinality as k (num, place)
             join pg_attribute as a on a.attrelid = t.name and a.attnum = k.num
             where i.indrelid = t.name and i.indisprimary order by k.place),
       array(select distinct c.confrelid::regclass::text from pg_constraint as c
             where c.conrelid = t.name and c.contype = 'f' and c.confrelid <> c.conrelid),
       (select array_agg(array[own.attname::text, theirs.attname::text] order by k.place)
        from pg_constraint as c
        cross join unnest(c.conkey, c.confkey) with ordinality as k (own, theirs, place)
        join pg_attribute as own on own.attrelid = t.name and own.attnum = k.own
        join pg_attribute as theirs on theirs.attrelid = t.name and theirs.attnum = k.theirs
        where c.conrelid = t.name and c.contype = 'f' and c.confrelid = c.conrelid
          -- A trigger before each row, which may look at the row above.
          and exists (select from pg_trigger as g where g.tgrelid = t.name and g.tgtype & 7 = 7)),
       (select coalesce(jsonb_object_agg(a.attname, c.confrelid::regclass::text), '{}') from pg_constraint as c
        join pg_attribute as a on a.attrelid = t.name and a.attnum = c.conkey[1]
        where c.conrelid = t.name and c.contype = 'f' and c.confrelid::regclass::text = any (%s)),
       (select a.attname::text from pg_partitioned_table as p
        join pg_attribute as a on a.attrelid = t.name and a.attnum = p.partattrs[0] where p.partrelid = t.name)
from identity._tenant_tables() as t
"""


def tables_of(conn: Connection[Any]) -> list[Table]:
    """The tables that are exported, those first that others refer to; by the owner of the schema only."""
    # All names come with their schema, and nothing is compiled, which would take longer than the query.
    conn.execute("set local search_path = pg_catalog; set local jit = off")
    found = [
        Table(name, tuple(columns), tuple(key), frozenset(refers), _pairs(parents), names, month)
        for name, columns, key, refers, parents, names, month in conn.execute(_TABLES, [list(_NAMED_BY)])
    ]
    return sorted((table for table in found if table.name not in LEFT_OUT), key=lambda table: table.name)


def groups_of(tables: Iterable[Table]) -> list[list[Table]]:
    """The tables in the order in which rows can be added; those that refer to each other together."""
    left = {table.name: table for table in tables}
    reach = {name: _reachable(name, left) for name in left}
    order: list[list[Table]] = []
    while left:
        ready = min(
            name for name in left if all(name in reach[other] for other in reach[name] if other in left)
        )
        together = {ready, *(other for other in reach[ready] if other in left)}
        order.append([left.pop(name) for name in sorted(together)])
    return order


def name_column(catalogue: str) -> str:
    """The column that names a row of a catalogue whose keys are numbers."""
    return _NAMED_BY[catalogue]


def migrations_of(conn: Connection[Any]) -> list[str]:
    """The migrations that the database has, in order."""
    return [
        row[0] for row in conn.execute("select migration_name from schema_migrations order by migration_name")
    ]


def sha256_of(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reachable(name: str, tables: dict[str, Table]) -> set[str]:
    found: set[str] = set()
    todo = [name]
    while todo:
        for other in tables[todo.pop()].refers_to:
            if other in tables and other not in found:
                found.add(other)
                todo.append(other)
    return found


def _pairs(parents: list[list[str]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((own, theirs) for own, theirs in parents or ())
