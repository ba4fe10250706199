"""Whether a database is as its migrations left it, and which object is not."""

from __future__ import annotations

from . import catalogue as _catalogue
from . import fingerprints as _fingerprints
from . import history as _history
from .drift import differences, sentence, tell
from .errors import DONE, DRIFT, HistoryDisagrees, LockNotObtained, MigrateError, ServerError
from .lock import RunnerLock, describe, running
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .connection import Connection
    from .drift import Drift as Drift
    from .history import History
    from .migrator import Migrator
    from .report import Printer

#: What `verify` found: how many objects are right, after which migration all should be, and what is not.
VerifyResult = NamedTuple(
    "VerifyResult",
    [
        ("database", str),
        ("migration", str),
        ("objects", int),
        ("drift", "tuple[Drift, ...]"),
        ("notes", "tuple[str, ...]"),
    ],
)


def verify(migrator: Migrator) -> VerifyResult:
    """Compare the live catalogue with the state kept after the newest migration; writes nothing."""
    connection = migrator._connect()
    try:
        history = _history.look(connection)
        _refuse_while_running(connection, history)
        kept = _fingerprints.kept(connection, history)
        if kept is None:
            raise _nothing_kept(history)
        live = _catalogue.read(connection, history)
        other_major = kept.differs_in_major(connection.version)
        found = differences(kept.objects, live, other_major=other_major)
        notes = []
        if other_major:
            notes.append(
                f"the state was kept on PostgreSQL {kept.version // 10000} and this is "
                f"{connection.version // 10000}: expressions and views were compared without qualifiers, "
                "parentheses and white space; versions of extensions were not compared"
            )
        drift = tell(found, kept.objects, live, kept.since, kept.migration)
        wrong = len([key for key, change in found if change != "added"])
        return VerifyResult(
            migrator.database, kept.migration, len(kept.objects) - wrong, tuple(drift), tuple(notes)
        )
    except ServerError as error:
        raise MigrateError(
            f"the catalogue could not be read: {error} ({error.sqlstate})",
            state="Nothing was compared.",
            advice="Somebody holds a lock on a table or view; try again."
            if error.sqlstate == "55P03"
            else "",
        ) from error
    finally:
        connection.close()


def accept(migrator: Migrator) -> str:
    """Take the catalogue as it is now for what the newest migration left; return that migration."""
    connection = migrator._connect()
    try:
        history = _history.look(connection)
        lock = RunnerLock(migrator._target)
        try:
            lock.acquire(history.schema, migrator._lock_wait, migrator.say)
            history = _history.look(connection)
            if not history.applied:
                raise _nothing_kept(history)
            _fingerprints.keep(connection, history)
        finally:
            lock.release()
        return history.applied[-1].name
    finally:
        connection.close()


def _refuse_while_running(connection: Connection, history: History) -> None:
    found = running(connection, history.schema)
    if found is not None:
        raise LockNotObtained(
            f"another runner is changing the database: {describe(found)}",
            state="Nothing was compared.",
            advice="Run verify again when it has ended.",
        )


def _nothing_kept(history: History) -> HistoryDisagrees:
    if not history.applied:
        return HistoryDisagrees(
            "no migration has run in this database: there is nothing to compare it with",
            state="Nothing was compared.",
        )
    return HistoryDisagrees(
        f"the state of the catalogue after {history.applied[-1].name} was not kept "
        "(its run was killed at the end, records were rolled back to it, or it ran before states were kept)",
        state="Nothing was compared.",
        advice="When the database is right as it is:  verify --accept",
    )


def command(migrator: Migrator, printer: Printer, *, accepts: bool, json: bool) -> tuple[int, dict[str, Any]]:
    """Run the command: print for a person unless `json`; return the exit code and the document."""
    if accepts:
        name = accept(migrator)
        if not json:
            printer.line(f"The catalogue as it is now counts as right after {name}.")
        return DONE, {"database": migrator.database, "accepted_after": name}
    result = verify(migrator)
    code = DRIFT if result.drift else DONE
    for note in result.notes:
        printer.say("note: " + note)
    if not json:
        for one in result.drift:
            for line in sentence(one):
                printer.line(line)
        right = f"{result.objects} objects are as {result.migration} left them"
        wrong = len(result.drift)
        printer.line(f"{right}; {wrong} {'is' if wrong == 1 else 'are'} not." if wrong else right + ".")
    return code, {
        "database": result.database,
        "after": result.migration,
        "right": result.objects,
        "drift": [one._asdict() for one in result.drift],
        "notes": list(result.notes),
    }
