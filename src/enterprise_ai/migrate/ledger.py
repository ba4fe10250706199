# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""How records get into the history and out of it, and how a change to it by a file is noticed."""

from __future__ import annotations

import codecs

from . import sql
from .errors import ServerError
from .files import CHUNK, canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator

    from .connection import Connection
    from .files import MigrationFile
    from .history import Applied, History
    from .script import Script


def fingerprint(history: History) -> str:
    """SQL for what a file must not change: the table itself, and how many of its rows were written.

    Functions alone, without a query of the catalogue: this runs twice for each file.  A row of nulls shows
    the columns.
    """
    oid = history.oid
    counter = "pg_catalog.pg_stat_get_xact_tuples_"
    return (
        f"pg_catalog.concat_ws('/', pg_catalog.to_regclass({sql.quote(history.table)})::oid, "
        f"pg_catalog.pg_relation_filenode({oid}), "
        f"{counter}inserted({oid}), {counter}updated({oid}), {counter}deleted({oid}), "
        f"pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(null::{history.table}, '{{}}')))"
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


def texts(history: History, script: Script, transaction: str) -> Iterator[str]:
    """Make the SQL that keeps a file's text, in parts of bounded size."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    part, content, checksum = 0, "", script.file.checksum
    for piece in canonical(script.chunks()):
        content += decoder.decode(piece)
        if len(content) >= CHUNK:
            yield insert_text(history, checksum, part, content, transaction)
            part, content = part + 1, ""
    yield insert_text(history, checksum, part, content, transaction)


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
    keys = [row.id for row in rows]
    connection.query(
        f"set local search_path = pg_catalog; {keep(history, keys, reason)}; "
        f"delete from {history.table} where id in ({_list(keys)})"
    )


def remove_in(history: History, row: Applied, reason: str, transaction: str, before: str) -> str:
    """SQL that takes a record out, but only in the transaction begun for it and with the history intact."""
    ours = (
        f"pg_catalog.txid_current()::text = {sql.quote(transaction)} "
        f"and {fingerprint(history)} = {sql.quote(before)}"
    )
    return f"{keep(history, [row.id], reason)}; delete from {history.table} where id = {row.id} and {ours}"


def keep(history: History, keys: list[int], reason: str | None) -> str:
    """SQL that keeps records as they are, before they are removed or changed; the path must be pg_catalog."""
    kept = "migration_name, executed_at, checksum, execution_time_ms, executed_by"
    return (
        f"insert into {history.removed} (reason, {kept}) "
        f"select {sql.quote(reason) if reason else 'null'}, {kept} "
        f"from {history.table} where id in ({_list(keys)}) order by id"
    )


def _list(keys: list[int]) -> str:
    return ", ".join(str(key) for key in keys)
