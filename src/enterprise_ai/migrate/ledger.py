# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""How records get into the history and out of it, and how a change to it by a file is noticed."""

from __future__ import annotations

from . import sql
from .errors import ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .connection import Connection
    from .files import MigrationFile
    from .history import Applied, History


def fingerprint(history: History) -> str:
    """SQL for what a file must not change: the table itself, and how many of its rows were written."""
    oid = history.oid
    counter = "pg_catalog.pg_stat_get_xact_tuples_"
    return (
        "pg_catalog.concat_ws('/', (select pg_catalog.concat_ws(' ', c.oid, c.relname, c.relnamespace, "
        "c.relnatts, c.relkind, pg_catalog.pg_relation_filenode(c.oid)) from pg_catalog.pg_class as c "
        f"where c.oid operator(pg_catalog.=) {oid}), "
        f"{counter}inserted({oid}), {counter}updated({oid}), {counter}deleted({oid}))"
    )


def insert(history: History, file: MigrationFile, milliseconds: int, transaction: str, before: str) -> str:
    """SQL that records a file, but only in the transaction begun for it and with the history intact."""
    return (
        f"insert into {history.table} (migration_name, checksum, execution_time_ms) "
        f"select {sql.quote(file.name)}, {sql.quote(file.checksum)}, {milliseconds} "
        f"where pg_catalog.txid_current()::text = {sql.quote(transaction)} "
        f"and {fingerprint(history)} = {sql.quote(before)}"
    )


def insert_text(history: History, checksum: str, part: int, content: str, transaction: str) -> str:
    """SQL that keeps a part of a file's text, under the same condition."""
    return (
        f"insert into {history.texts} (checksum, part, content) "
        f"select {sql.quote(checksum)}, {part}, {sql.quote(content)} "
        f"where pg_catalog.txid_current()::text = {sql.quote(transaction)} on conflict do nothing"
    )


def stored_text(connection: Connection, history: History, checksum: str) -> str | None:
    """Return the text that ran under this checksum, when it was kept and may be read."""
    try:
        rows = connection.query(
            f"select content from {history.texts} "
            f"where checksum operator(pg_catalog.=) {sql.quote(checksum)} order by part"
        )
    except ServerError:
        return None
    return "".join(row[0] or "" for row in rows) if rows else None


def remove(connection: Connection, history: History, rows: Iterable[Applied], reason: str | None) -> None:
    """Take records out of the history and keep them, with who, when and why."""
    keys = ", ".join(str(row.id) for row in rows)
    kept = "migration_name, executed_at, checksum, execution_time_ms, executed_by"
    connection.query(
        "begin; set local search_path = pg_catalog; "
        f"insert into {history.removed} (reason, {kept}) "
        f"select {sql.quote(reason) if reason else 'null'}, {kept} "
        f"from {history.table} where id in ({keys}) order by id; "
        f"delete from {history.table} where id in ({keys}); commit"
    )
