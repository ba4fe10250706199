"""How a file is tried statement by statement, with a look at its locks after each."""

from __future__ import annotations

import time

from .batches import Batch
from .checks import Checked, needs_no_transaction
from .connection import Watcher
from .errors import ConnectionLost, MigrationFailed, ServerError
from .faults import explain
from .observe import Effect, Observer
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Connection

#: A statement that does something to relations which are there already.
Step = NamedTuple(
    "Step",
    [
        ("line", int),
        ("statement", str),  # its first line
        ("milliseconds", int),
        ("effects", "tuple[Effect, ...]"),
        ("advice", "tuple[str, ...]"),
    ],
)

#: How a file would fare: its steps, and the failure if there was one.
FilePlan = NamedTuple(
    "FilePlan",
    [
        ("name", str),
        ("transaction", bool),
        ("statements", int),
        ("milliseconds", int),
        ("steps", "tuple[Step, ...]"),
        ("failure", "MigrationFailed | None"),
    ],
)

# Catalogues that all databases of a server share: what is committed to them in a scratch copy is real.
# pg_authid, pg_auth_members, pg_tablespace.
_SHARED = " + ".join(
    f"pg_catalog.pg_stat_get_xact_tuples_{what}({oid})"
    for oid in (1260, 1261, 1213)
    for what in ("inserted", "updated", "deleted")
)


class TouchesSharedObjects(Exception):
    """A file changed roles or tablespaces, which are not part of the scratch copy."""


class Rehearsal:
    """Tries files one after the other on one connection."""

    def __init__(
        self, connection: Connection, lock_timeout: int | None, *, commits: bool, shared: bool = False
    ) -> None:
        self._connection = connection
        self._shared = shared  # whether what all databases of the server share may change
        self._commits = commits  # each file of its own, or all in one transaction that the caller ends
        self._lock_timeout = lock_timeout
        self._open = False

    def run(self, checked: Checked, observer: Observer) -> FilePlan:
        """Try one file; raise `TouchesSharedObjects` when it cannot stay."""
        steps: list[Step] = []
        started = time.monotonic()
        number = 0
        failure = None
        whole = checked.directives.transaction
        if whole:
            self._begin(observer)
        try:
            for batch in checked.script.batches():
                for single in batch.singles():
                    number += 1
                    step = self._statement(checked, single, number, observer, whole)
                    if step.effects:
                        steps.append(step)
            if whole and self._commits:
                self._end()
        except MigrationFailed as error:
            failure = error
            self._rollback()
        milliseconds = int((time.monotonic() - started) * 1000)
        return FilePlan(checked.script.file.name, whole, number, milliseconds, tuple(steps), failure)

    def _statement(
        self, checked: Checked, single: Batch, number: int, observer: Observer, whole: bool
    ) -> Step:
        words = single.statements[0].words
        alone = not whole and needs_no_transaction(words) is not None
        if not whole and not alone:
            self._begin(observer)
        started = time.monotonic()
        try:
            self._connection.run(single.text.encode("utf-8"), Watcher(), single.data)
        except ServerError as error:
            encoding = self._connection.parameter("server_encoding")
            raise explain(checked.script, single, error, number, encoding) from error
        milliseconds = int((time.monotonic() - started) * 1000)
        effects = _by_the_manual(words) if alone else self._look(observer, words)
        if not whole and not alone:
            self._end()
        first = next((line.strip() for line in single.text.splitlines() if line.strip()), "")
        return Step(
            single.line, first, milliseconds, tuple(effects), tuple(advice(words, single.text, effects))
        )

    def _look(self, observer: Observer, words: tuple[str, ...]) -> list[Effect]:
        # SET TRANSACTION must come before every query, ours too.
        return [] if words[:1] in (("set",), ("show",)) else observer.look()

    def _begin(self, observer: Observer) -> None:
        if self._open:
            return
        timeout = "" if self._lock_timeout is None else f"; set local lock_timeout = {self._lock_timeout}"
        observer.begin()
        self._connection.query("begin" + timeout)
        self._open = not self._commits

    def _end(self) -> None:
        """Commit what is only in the scratch copy; undo what is not."""
        if not self._shared and self._connection.query(f"select ({_SHARED})::text")[0][0] != "0":
            self._rollback()
            raise TouchesSharedObjects()
        try:
            self._connection.query("commit; reset session authorization; reset all; discard temp")
        except ServerError as error:
            raise MigrationFailed(f"at COMMIT: {error}", server=error) from error

    def _rollback(self) -> None:
        try:
            self._connection.query("rollback; reset session authorization; reset all")
        except (ConnectionLost, ServerError):
            pass  # the session ends with the rehearsal
        self._open = False


def _by_the_manual(words: tuple[str, ...]) -> list[Effect]:
    """Say what the manual says of a statement whose locks are gone when it is over."""
    if words[:1] not in (("create",), ("drop",), ("reindex",), ("vacuum",), ("alter",), ("cluster",)):
        return []
    if words[:2] in (("create", "database"), ("drop", "database"), ("alter", "system")):
        return []
    table = "(its table, by the manual)"
    if words[:2] == ("vacuum", "full") or words[:1] == ("cluster",):
        return [Effect(table, "table", "ACCESS EXCLUSIVE", "reads and writes", False, True, True)]
    blocks = "VACUUM and other changes of the schema"
    return [Effect(table, "table", "SHARE UPDATE EXCLUSIVE", blocks, False, False, False)]


def advice(words: tuple[str, ...], text: str, effects: list[Effect]) -> list[str]:
    """Say how the same can be had with less waiting, from what was measured."""
    said = []
    lowered = " ".join(text.lower().split())
    blocking = [one for one in effects if one.blocks in ("writes", "reads and writes")]
    rewritten = [one for one in effects if one.rewritten and one.kind == "table"]
    scanned = [one for one in blocking if one.scanned and not one.rewritten]
    if words[:1] == ("truncate",) or "cluster" in words[:1]:
        return []
    if rewritten and words[:1] == ("alter",):
        said.append(
            "rewrites the whole table under this lock: add a new column, fill it in batches, then swap the names"
        )
    if words[:1] == ("create",) and "index" in words[1:3] and scanned:
        said.append(
            "CREATE INDEX CONCURRENTLY, in a file of its own that begins with `-- migrate: no-transaction`"
        )
    elif "foreign key" in lowered or " references " in lowered:
        if scanned:
            said.append(
                "reads both tables under locks: ADD CONSTRAINT … NOT VALID here, VALIDATE CONSTRAINT in the next file"
            )
    elif "set not null" in lowered and scanned:
        said.append(
            "reads the whole table under this lock: ADD CHECK (… IS NOT NULL) NOT VALID, VALIDATE it in the next "
            "file, then SET NOT NULL"
        )
    elif "constraint" in lowered and "validate" not in lowered and scanned:
        said.append(
            "reads the whole table under this lock: add it NOT VALID here, VALIDATE CONSTRAINT in the next file"
        )
    elif scanned:
        said.append("reads the whole table under this lock: the wait grows with its size")
    if not said and any(one.blocks == "reads and writes" and not one.held_already for one in blocking):
        said.append("short by itself, but it waits for the longest transaction that uses the table")
    return said
