# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""How records get into the history and out of it, and how a change to it by a file is noticed."""

from __future__ import annotations

import codecs

from . import sql
from .errors import ServerError
from .files import CHUNK, canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Sequence

    from .connection import Connection
    from .history import Applied, History
    from .script import Script


_WRITES = "pg_catalog.pg_stat_get_xact_tuples_{}('pg_catalog.pg_db_role_setting'::regclass)"
#: SQL for what the next file must not find: settings of database and role, which a session reads only when it
#: starts, show in how often they were written; prepared statements are counted.
STATE = (
    "pg_catalog.concat_ws('/', {}, {}, {}, (select count(*) from pg_catalog.pg_prepared_statement()))".format(
        _WRITES.format("inserted"), _WRITES.format("updated"), _WRITES.format("deleted")
    )
)


def fingerprint(history: History) -> str:
    """SQL for what a file must not change: the table itself, and how many of its rows were written.

    Little of the catalogue is read: this runs twice for each file.  A row of nulls shows the columns; owner and
    grants are left out, for GRANT … ON ALL TABLES is what files do.
    """
    oid = history.oid
    counter = "pg_catalog.pg_stat_get_xact_tuples_"
    return (
        f"pg_catalog.concat_ws('/', pg_catalog.to_regclass({sql.quote(history.table)})::oid, "
        f"pg_catalog.pg_relation_filenode({oid}), "
        f"{counter}inserted({oid}), {counter}updated({oid}), {counter}deleted({oid}), "
        f"pg_catalog.to_jsonb(pg_catalog.jsonb_populate_record(null::{history.table}, '{{}}')), "
        "(select pg_catalog.concat_ws('/', relchecks, relhastriggers, relhasrules, relrowsecurity) "
        f"from pg_catalog.pg_class where oid operator(pg_catalog.=) {oid}))"
    )


def guard(history: History, transaction: str, before: str) -> str:
    """SQL that is true, or raises what `broken_by` knows: the transaction must be ours, the history intact.

    It raises, so that what follows in the same message, the COMMIT above all, does not happen.
    """
    return (
        f"1 / (pg_catalog.txid_current()::text = {transaction})::integer = 1 "
        f"and pg_catalog.ln(({fingerprint(history)} = {before})::integer) = 0"
    )


#: What a broken guard raises (division by zero, logarithm of zero), and what a file then did.
BROKEN = {
    "22012": "ended the transaction in which it ran",
    "2201E": "changed {table}, the history of migrations",
}


def mark(history: History, claim: str = "'true'") -> str:
    """SQL for what tells a transaction from every other one, and what it found when it began."""
    return (
        f"select pg_catalog.txid_current()::text, {fingerprint(history)}, {STATE}, "
        f"{claim}, pg_catalog.pg_backend_pid()::text"
    )


def record(history: History, values: Sequence[str]) -> str:
    """SQL that records a file and a part of its text, provided that the guard holds.

    The values are SQL too: name, checksum, milliseconds, transaction, fingerprint, part, content.
    """
    name, checksum, milliseconds, transaction, before, part, content = values
    return (
        f"with kept as (insert into {history.texts} (checksum, part, content) "
        f"values ({checksum}, {part}, {content}) on conflict do nothing) "
        f"insert into {history.table} (migration_name, checksum, execution_time_ms) "
        f"select {name}, {checksum}, {milliseconds} where {guard(history, transaction, before)} "
        f"returning {STATE}"
    )


#: What `prepare` makes: begun and recorded in the words of a prepared statement, a file costs the server less.
MARK, RECORD = "enterprise_ai_mark", "enterprise_ai_record"


def prepare(history: History) -> str:
    """SQL that prepares the two statements which run for each file."""
    values = [f"${number}" for number in range(1, 8)]
    # Each under the search path with which it runs: under another one the server would analyse it anew.
    return (
        f"begin; prepare {MARK} as {mark(history)}, pg_catalog.pg_advisory_unlock_all()::text; "
        "set local search_path = pg_catalog; "
        f"prepare {RECORD} (text, text, bigint, text, text, integer, text) as {record(history, values)}; commit"
    )


def insert_text(history: History, checksum: str, part: int, content: str, transaction: str) -> str:
    """SQL that keeps a part of a file's text, but only in the transaction begun for it."""
    return (
        f"insert into {history.texts} (checksum, part, content) "
        f"select {sql.quote(checksum)}, {part}, {sql.quote(content)} "
        f"where pg_catalog.txid_current()::text = {sql.quote(transaction)} on conflict do nothing"
    )


def texts(history: History, script: Script, transaction: str) -> Iterator[str]:
    """Make the SQL that keeps the whole text of a file."""
    for part, content in enumerate(parts(script)):
        yield insert_text(history, script.file.checksum, part, content, transaction)


def parts(script: Script) -> Iterator[str]:
    """Cut a file's text into parts of bounded size."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    content = ""
    for piece in canonical(script.chunks()):
        content += decoder.decode(piece)
        if len(content) >= CHUNK:
            yield content
            content = ""
    yield content


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
    """SQL that takes a record out, provided that the guard holds."""
    ours = guard(history, sql.quote(transaction), sql.quote(before))
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
