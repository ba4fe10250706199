# ruff: noqa: S608  only numbers, names of catalogues and quoted literals are put into these queries
"""What became of a statement that ran outside a transaction, as far as the catalogue can tell."""

from __future__ import annotations

import re

from . import sql
from .checks import needs_no_transaction
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Connection
    from .journal import Step

#: Can run in a transaction, with the note that it is done: never in doubt.
ATOMIC = "atomic"
#: Changes the session only, so it runs again whenever the file is resumed.
SETTING = "setting"
#: May run any number of times.
REPEATABLE = "repeatable"
#: Only a person can tell whether it took effect.
UNKNOWN = "unknown"

#: Whether a statement took effect (None: unknown), and what must be run to complete or to clean up.
Verdict = NamedTuple("Verdict", [("done", "bool | None"), ("mend", "str | None")])

_SETTINGS = frozenset(["set", "reset", "discard", "load", "listen", "unlisten", "prepare", "deallocate"])
_REPEATABLE = frozenset(["vacuum", "reindex", "cluster", "alter"])
_ENDS_TRANSACTION = re.compile(r"\b(?:commit|rollback|call)\b", re.IGNORECASE)

# What a name is not made of is ASCII: a range of all other characters takes re 20 ms to compile, each time anew.
_NAME = r'(?:"(?:[^"]|"")+"|[^\x00-@\[-^`{-\x7f][^\x00-#%-/:-@\[-^`{-\x7f]*)'
_QUALIFIED = rf"({_NAME}(?:\s*\.\s*{_NAME})*)"
_COMMENT = re.compile(r"(\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)
_SUBJECTS = {
    "create index": re.compile(
        rf"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?({_NAME})\s+on\s+"
        rf"(?:only\s+)?{_QUALIFIED}",
        re.IGNORECASE,
    ),
    "drop index": re.compile(
        rf"drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?{_QUALIFIED}", re.IGNORECASE
    ),
    "detach partition": re.compile(
        rf"alter\s+table\s+(?:if\s+exists\s+)?{_QUALIFIED}\s+detach\s+partition\s+{_QUALIFIED}",
        re.IGNORECASE,
    ),
    "create database": re.compile(rf"create\s+database\s+({_NAME})", re.IGNORECASE),
    "drop database": re.compile(rf"drop\s+database\s+(?:if\s+exists\s+)?({_NAME})", re.IGNORECASE),
    "create tablespace": re.compile(rf"create\s+tablespace\s+({_NAME})", re.IGNORECASE),
    "drop tablespace": re.compile(rf"drop\s+tablespace\s+(?:if\s+exists\s+)?({_NAME})", re.IGNORECASE),
}
_CATALOGUES = {"database": ("pg_database", "datname"), "tablespace": ("pg_tablespace", "spcname")}


def kind_of(words: tuple[str, ...], text: str) -> str:
    """Tell how a statement has to be run, and how its outcome can be found out."""
    first = words[0] if words else ""
    if first in _SETTINGS:
        return SETTING
    if not words or needs_no_transaction(words) is None:
        ends = first == "call" or (first == "do" and _ENDS_TRANSACTION.search(text))
        return UNKNOWN if ends else ATOMIC
    for kind in _SUBJECTS:
        if _subject(kind, text) is not None:
            return kind
    return REPEATABLE if first in _REPEATABLE else UNKNOWN


def relation_of(session: Connection, kind: str, text: str) -> str | None:
    """Return the oid of the relation that a statement is about, as the file's own search path finds it."""
    subject = _subject(kind, text)
    if subject is None or not kind.endswith(("index", "partition")):
        return None
    rows = session.query(f"select pg_catalog.to_regclass({sql.quote(subject[-1])})::oid::text")
    return rows[0][0]


def object_of(connection: Connection, kind: str, text: str, relation: str | None) -> str | None:
    """Return the oid of what a statement makes, drops or detaches; None when there is none now."""
    found = _look(connection, kind, text, relation)
    return found[0] if found else None


def decide(connection: Connection, step: Step) -> Verdict:
    """Find out whether a statement that was started, and is not known to be done, took effect."""
    if step.kind in (ATOMIC, SETTING, REPEATABLE):
        return Verdict(False, None)
    if step.kind == UNKNOWN:
        return Verdict(None if step.error is None else False, None)
    found = _look(connection, step.kind, step.statement, step.relation)
    if step.kind == "detach partition":
        return _detached(step, found)
    if step.kind.startswith("drop"):
        return Verdict(step.before is not None and found is None, None)
    if found is None or found[0] == step.before:
        return Verdict(False, None)
    if found[1] == "false":
        return Verdict(False, f"drop index concurrently {found[2]}")
    return Verdict(True, None)


def passed_over(connection: Connection, step: Step) -> str | None:
    """Name the invalid index that CREATE INDEX IF NOT EXISTS took for the one it should make."""
    if step.kind != "create index":
        return None
    found = _look(connection, step.kind, step.statement, step.relation)
    return found[2] if found and found[1] == "false" else None


def invalid_indexes(connection: Connection) -> dict[str, str]:
    """Return the invalid indexes by oid, without those being built and those of partitioned tables."""
    rows = connection.query(
        "select c.oid::text, format('%I.%I', n.nspname, c.relname) "
        "from pg_index as i join pg_class as c on c.oid = i.indexrelid "
        "join pg_namespace as n on n.oid = c.relnamespace "
        "where not i.indisvalid and c.relkind = 'i' and not exists "
        "(select from pg_stat_progress_create_index as p where p.index_relid = c.oid) order by 2"
    )
    return {row[0] or "": row[1] or "" for row in rows}


def _subject(kind: str, text: str) -> tuple[str, ...] | None:
    pattern = _SUBJECTS.get(kind)
    match = pattern.match(_COMMENT.sub(lambda found: found.group(1) or " ", text)) if pattern else None
    return match.groups() if match else None


def _look(connection: Connection, kind: str, text: str, relation: str | None) -> list[str | None] | None:
    """Return oid, validity and name of a statement's object as it is now; the search path is pg_catalog."""
    subject = _subject(kind, text)
    if subject is None:
        return None
    name = f"(parse_ident({sql.quote(subject[0])}))[1]::name"
    if kind.endswith("index"):
        which = f"c.oid = {relation or 0}"
        if kind.startswith("create"):
            which = f"i.indrelid = {relation or 0} and c.relname = {name}"
        rows = connection.query(
            "select c.oid::text, i.indisvalid::text, format('%I.%I', n.nspname, c.relname) "
            "from pg_index as i join pg_class as c on c.oid = i.indexrelid "
            f"join pg_namespace as n on n.oid = c.relnamespace where {which}"
        )
    elif kind == "detach partition":
        pending = "i.inhdetachpending" if connection.version >= 140000 else "false"
        rows = connection.query(
            f"select i.inhrelid::text, (not {pending})::text, "
            "format('alter table %s detach partition %s finalize', "
            "i.inhparent::regclass, i.inhrelid::regclass) "
            f"from pg_inherits as i where i.inhrelid = {relation or 0}"
        )
    else:
        catalogue, column = _CATALOGUES[kind.split()[1]]
        rows = connection.query(
            f"select oid::text, 'true', {column} from {catalogue} where {column} = {name}"
        )
    return rows[0] if rows else None


def _detached(step: Step, found: list[str | None] | None) -> Verdict:
    if found is None:
        return Verdict(step.before is not None, None)
    return Verdict(found[1] == "false", found[2] if found[1] == "false" else None)
