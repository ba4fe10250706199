# ruff: noqa: S608  names and values are quoted by sql.quote; the rest is constant
"""What makes up a schema: every object of the catalogue with its definition, in terms that survive a restore.

Left out is what differs between two databases that are the same to their users: OIDs, file nodes,
statistics, dropped columns, tablespaces, comments, members of extensions, temporary schemas, the history's
own tables, what the owner may do with their own objects, and the partitions that maintenance makes.  Those
lie in a schema `x_parts` beside a schema `x`, and only what nobody gave their parent is told of them.
"""

from __future__ import annotations

import re

from . import sql
from .catalogue_sql import objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple

    from .connection import Connection
    from .history import History

    Key = Tuple[str, str]
    #: The definition of each object, by its kind and name.
    Objects = Dict[Key, str]

FIELD, CLAUSE, RECORD = "\x1f", "\x1d", "\x1e"

# Expressions are printed by these settings; and a lock that somebody holds must not hold us up for long.
SETTINGS = (
    "set local search_path = pg_catalog; set local lock_timeout = 2000; set local timezone = 'UTC'; "
    "set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; set local bytea_output = 'hex'; "
    "set local extra_float_digits = 1; set local quote_all_identifiers = off; set local jit = off"
)

_RIGHTS = {
    "r": "select",
    "w": "update",
    "a": "insert",
    "d": "delete",
    "D": "truncate",
    "x": "references",
    "t": "trigger",
    "m": "maintain",
    "X": "execute",
    "U": "usage",
    "C": "create",
}
#: What an owner may do with their own object unless it is taken from them.  MAINTAIN (17) is left out.
_OWNERS = {"schema": "UC", "sequence": "rwU", "function": "X", "procedure": "X", "aggregate": "X"}
_OWNERS.update(dict.fromkeys(("table", "view", "materialized view", "foreign table"), "arwdDxt"))
_OWNERS.update(dict.fromkeys(("enum", "domain", "composite type", "range type", "type"), "U"))
#: What everybody may do with an object on which nothing was ever granted or revoked.
_PUBLIC = dict.fromkeys(("function", "procedure", "aggregate"), "X")
_PUBLIC.update(dict.fromkeys(("enum", "domain", "composite type", "range type", "type"), "U"))

_ITEM = re.compile(r'^("(?:[^"]|"")*"|[^"=]*)=([^/]*)/')


def query(connection: Connection, history: History) -> str:
    """SQL for the whole catalogue as one text; of one schema where that is a place of its own."""
    only = sql.quote(connection.schema) if connection.schema else None
    everything = objects(connection.version, sql.quote(history.schema), only)
    return (
        "select string_agg(concat_ws(chr(31), kind, name, definition), chr(30)"
        f' order by kind collate "C", name collate "C") from ({everything}) as o'
    )


def read(connection: Connection, history: History) -> Objects:
    """Read the catalogue of a database; raise `ServerError` when a lock is held for too long."""
    connection.query("begin read only; " + SETTINGS)
    try:
        text = connection.query(query(connection, history))[0][0]
    finally:
        connection.query("rollback")
    return parse(text or "")


def parse(text: str) -> Objects:
    """Take a catalogue out of the one text that the server made of it."""
    found: Objects = {}
    for record in text.split(RECORD) if text else ():
        kind, name, definition = record.split(FIELD)
        found[kind, name] = _canonical(kind, definition)
    return found


def _canonical(kind: str, definition: str) -> str:
    """Put who may use an object into words that do not depend on how it came to be so."""
    clauses = definition.split(CLAUSE)
    owner = next((one[len("owner: ") :] for one in clauses if one.startswith("owner: ")), None)
    rights = next((one[len("grants: ") :] for one in clauses if one.startswith("grants: ")), None)
    clauses = [one for one in clauses if not one.startswith("grants: ")]
    if rights is not None:
        granted = _grants(rights.split("\n"), owner, _OWNERS.get(kind, ""))
    else:
        granted = "public=" + _words(_PUBLIC[kind]) if kind in _PUBLIC else ""
    return CLAUSE.join([*clauses, "grants: " + granted] if granted else clauses)


def _grants(items: list[str], owner: str | None, full: str) -> str:
    """Say who may do what; of the owner, only what they may not do."""
    told, missing = [], full
    for item in items:
        match = _ITEM.match(item)
        if match is None:
            told.append(item)
            continue
        role, letters = match.groups()
        if role == owner:
            missing = "".join(letter for letter in full if letter not in letters)
        elif letters:
            told.append((role or "public") + "=" + _words(letters))
    told.sort()
    if missing and owner is not None:
        told.append("owner without " + _words(missing))
    return "; ".join(told)


def _words(letters: str) -> str:
    words = re.findall(r"([A-Za-z])(\*?)", letters)
    return ",".join(sorted(_RIGHTS.get(letter, letter) + star for letter, star in words))


_QUALIFIER = re.compile(r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")*")\.')
_VOLATILE = re.compile(r"[\s()]+")
_MAINTAIN = re.compile(r"(?<=[=,])maintain\*?,?")


def loose(kind: str, definition: str) -> str:
    """Reduce a definition to what all majors print alike.

    They differ in where they qualify a column and where they put parentheses and line ends; and they come
    with other versions of extensions, another owner of the schema public, and the right MAINTAIN.
    """
    kept = []
    for clause in definition.split(CLAUSE):
        if kind == "extension" and clause.startswith("version: "):
            continue
        if clause.startswith("grants: "):
            clause = _MAINTAIN.sub("", clause).replace(",;", ";").rstrip(",")
        kept.append(_VOLATILE.sub("", _QUALIFIER.sub("", clause)))
    return CLAUSE.join(kept)
