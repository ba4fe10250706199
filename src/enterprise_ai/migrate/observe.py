"""What a statement did to relations that were there before: the locks it took, rewrites, whole-table reads.

It is asked in the statement's own transaction, which alone can see it: `pg_locks`, the file of each locked
relation, and the count of sequential scans.  The lock names nothing that the statement could hide in a DO
block or a function.  Every name is qualified, since the file may have set any search path.
"""

from __future__ import annotations

from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Connection

#: The modes of a lock on a relation, from weak to strong, and what others must wait for meanwhile.
BLOCKS = {
    "AccessShareLock": "",
    "RowShareLock": "",
    "RowExclusiveLock": "",
    "ShareUpdateExclusiveLock": "VACUUM and other changes of the schema",
    "ShareLock": "writes",
    "ShareRowExclusiveLock": "writes",
    "ExclusiveLock": "writes",
    "AccessExclusiveLock": "reads and writes",
}
STRENGTH = {mode: number for number, mode in enumerate(BLOCKS)}

#: What one statement did to one relation that existed before the files ran.
Effect = NamedTuple(
    "Effect",
    [
        ("relation", str),
        ("kind", str),  # "table", "index", …
        ("lock", str),  # the strongest held on it by now, as the manual writes it: "ACCESS EXCLUSIVE"
        ("blocks", str),
        ("held_already", bool),  # an earlier statement of the file took it
        ("rewritten", bool),
        ("scanned", bool),
    ],
)

_KINDS = {"r": "table", "p": "table", "i": "index", "I": "index", "v": "view", "m": "materialized view"}
_KINDS.update({"S": "sequence", "f": "foreign table", "t": "toast table", "c": "type"})

_BASE = """
select c.oid::text, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::text,
       coalesce(c.relfilenode, 0)::text, coalesce(i.indrelid, 0)::text
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
left join pg_catalog.pg_index as i on i.indexrelid operator(pg_catalog.=) c.oid
where n.nspname operator(pg_catalog.!~) '^pg_' and n.nspname operator(pg_catalog.<>) 'information_schema'
  and not c.relname operator(pg_catalog.~) '^schema_migrations(_|$)'
"""

_LOOK = """
select l.relation::text, l.mode, coalesce(pg_catalog.pg_relation_filenode(l.relation), 0)::text,
       coalesce(pg_catalog.pg_stat_get_xact_numscans(l.relation), 0)::text
from pg_catalog.pg_locks as l
where l.locktype operator(pg_catalog.=) 'relation' and l.granted
  and l.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()
  and l.relation::int8 operator(pg_catalog.>=) 16384
"""

_SCANS = """
select c.oid::text, pg_catalog.pg_stat_get_xact_numscans(c.oid)::text from pg_catalog.pg_class as c
where c.relkind operator(pg_catalog.=) any ('{r,m,p}')
  and pg_catalog.pg_stat_get_xact_numscans(c.oid) operator(pg_catalog.>) 0
"""


class Observer:
    """Watches one session against the relations that were there when it began."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names: dict[str, tuple[str, str, str]] = {}  # oid: name, kind, oid of the index's table
        self._files: dict[str, str] = {}
        for oid, name, kind, node, table in connection.query(_BASE):
            self._names[oid or ""] = (name or "", _KINDS.get(kind or "", "relation"), table or "0")
            self._files[oid or ""] = node or "0"
        self._held: dict[str, str] = {}  # the strongest mode on each relation
        self._scans: dict[str, int] = {}

    def begin(self) -> None:
        """Hear that a transaction is about to begin: no lock is held, and scans count from here."""
        self._held.clear()
        # The server adds up a session's scans over several transactions before it reports them.
        self._scans = {oid or "": int(scans or 0) for oid, scans in self._connection.query(_SCANS)}

    def look(self) -> list[Effect]:
        """Return what came about since the last look in this transaction, by relation."""
        if not self._names:
            return []
        stronger, rewritten, scanned = set(), set(), set()
        for oid, mode, node, scans in self._connection.query(_LOOK):
            if oid is None or mode is None or oid not in self._names:
                continue
            if STRENGTH.get(mode, 0) > STRENGTH.get(self._held.get(oid, ""), -1):
                self._held[oid] = mode
                stronger.add(oid)
            if node != "0" and node != self._files[oid]:
                self._files[oid] = node or "0"
                rewritten.add(oid)
            if int(scans or 0) > self._scans.get(oid, 0):
                self._scans[oid] = int(scans or 0)
                scanned.add(oid)
        touched = {oid for oid in stronger | scanned if BLOCKS.get(self._held[oid])} | rewritten
        # What happens to an index because of what happens to its table goes without saying.
        touched -= {oid for oid in touched if self._is_index(oid) and self._goes_along(oid, rewritten)}
        return [
            self._effect(oid, oid not in stronger, oid in rewritten, oid in scanned)
            for oid in sorted(touched, key=int)
        ]

    def _is_index(self, oid: str) -> bool:
        return self._names[oid][1] == "index"

    def _goes_along(self, oid: str, rewritten: set[str]) -> bool:
        table = self._names[oid][2]
        return table in rewritten or (
            oid not in rewritten and STRENGTH[self._held[oid]] <= STRENGTH.get(self._held.get(table, ""), 0)
        )

    def _effect(self, oid: str, held_already: bool, rewritten: bool, scanned: bool) -> Effect:
        name, kind, _ = self._names[oid]
        mode = self._held[oid]
        return Effect(
            name,
            kind,
            _manual(mode),
            BLOCKS.get(mode, ""),
            held_already,
            rewritten,
            scanned and kind != "index",
        )


def _manual(mode: str) -> str:
    """Write a lock's mode as the manual does."""
    words = ""
    for char in mode[: -len("Lock")]:
        words += (" " if char.isupper() and words else "") + char.upper()
    return words
