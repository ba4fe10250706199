# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""How a history is settled by hand: adopt a database, accept an edit, answer for a half-done file."""

from __future__ import annotations

from contextlib import contextmanager

from . import fingerprints as _fingerprints
from . import history as _history
from . import journal as _journal
from . import ledger as _ledger
from . import sql
from .arguments import shown
from .backends import still_running
from .checks import Checked
from .compare import Comparison
from .diff import difference, explain
from .doubts import half_done
from .errors import LockNotObtained, UsageError, read_only
from .files import did_you_mean
from .history_tables import create
from .journal import Journal
from .lock import RunnerLock
from .results import AcceptResult, BaselineResult, ResolveResult, RollbackResult
from .script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .compare import Problem
    from .connection import Connection
    from .files import MigrationFile
    from .history import Applied, History
    from .lock import Lock
    from .migrator import Migrator


def baseline(migrator: Migrator, name: str) -> BaselineResult:
    """Record every file up to this one without running it: the database has it all already."""
    last = migrator.folder.file(name)
    with _locked(migrator) as (connection, history):
        for step in _journal.read(connection, history):
            raise half_done(step)
        comparison = Comparison(migrator.files, history.applied)
        problems = [one for one in comparison.problems if one.kind != "out of order"]
        if problems:
            raise explain(connection, history, comparison, problems)
        files = [file for file in comparison.pending if file.number <= last.number]
        scripts = [_readable(file) for file in files]
        if not history.exists:
            create(history, connection)
            history = _history.look(connection)
        transaction = _begin(connection)
        for script in scripts:
            for text in _ledger.texts(history, script, transaction):
                connection.query(text)
            connection.query(
                f"insert into {history.table} (migration_name, checksum, execution_time_ms) "
                f"values ({sql.quote(script.file.name)}, {sql.quote(script.file.checksum)}, 0)"
            )
        connection.query("commit")
        if files:
            _fingerprints.adopt(connection, history, migrator.say)
        return BaselineResult(migrator.database, tuple(file.name for file in files))


def accept(migrator: Migrator, name: str, reason: str | None) -> AcceptResult:
    """Take an edited or renamed file as the one that ran; the record as it was is kept, with who and why."""
    file = migrator.folder.file(name)
    with _locked(migrator) as (connection, history):
        comparison = Comparison(migrator.files, history.applied)
        kinds = ("edited", "swapped", "renamed")
        found = [one for one in comparison.problems if one.kind in kinds and _concerns(one, file.name)]
        if not found:
            raise UsageError(
                f"{file.name} is just as it ran: there is nothing to accept"
                if file.name in comparison.applied
                else f"{file.name} has not run: there is nothing to accept",
                state="Nothing was changed.",
            )
        row = comparison.applied[found[0].name]
        shown = difference(connection, history, file) if found[0].kind != "renamed" else ""
        transaction = _begin(connection)
        for text in _ledger.texts(history, _readable(file), transaction):
            connection.query(text)
        connection.query(
            _ledger.keep(history, [row.id], because(f"accept {file.name}", reason))
            + f"; update {history.table} set checksum = {sql.quote(file.checksum)}, "
            f"migration_name = {sql.quote(file.name)} where id = {row.id}; commit"
        )
        return AcceptResult(migrator.database, file.name, row.name, shown)


def resolve(migrator: Migrator, name: str, *, applied: bool) -> ResolveResult:
    """Answer whether the statement at which a no-transaction file stopped took effect."""
    file = migrator.folder.file(name)
    with _locked(migrator) as (_, history), Journal(migrator._target, history) as journal:
        steps = journal.steps(file.name)
        if not steps:
            raise UsageError(
                f"{file.name} is not half done: there is nothing to resolve", state="Nothing was changed."
            )
        step = next((one for one in steps if not one.is_done), None)
        if step is None:
            raise UsageError(
                f"no statement of {file.name} is in doubt: {len(steps)} are done, the rest was not started",
                state="Nothing was changed.",
                advice="Run migrate: it goes on where it stopped.",
            )
        if step.error is None and still_running(journal.connection, step):
            raise LockNotObtained(
                f"statement {step.number} of {file.name} still runs on the server (pid {step.pid})",
                state="Nothing was changed.",
                advice=f"Wait for its end, or end it:  SELECT pg_terminate_backend({step.pid});",
            )
        if applied:
            journal.done(step)
        else:
            journal.drop(step)
        first_pending = next(iter(Comparison(migrator.files, history.applied).pending), None)
    recorded = False
    was_last = applied and not step.is_rollback and Checked(Script(file)).statements <= step.number
    if was_last and first_pending is file:  # all that is missing is the record
        recorded = bool(migrator.migrate(target=file.name).done)
    answer = "applied" if applied else "pending"
    return ResolveResult(
        migrator.database, file.name, step.is_rollback, step.number, step.statement, answer, recorded
    )


def because(what: str, reason: str | None) -> str:
    """Say why a record was removed or changed."""
    return f"{what}: {reason}" if reason else what


@contextmanager
def _locked(migrator: Migrator) -> Iterator[tuple[Connection, History]]:
    """Hold the lock of the history, on a server that can be written to."""
    connection = migrator._connect()
    try:
        lock = RunnerLock(migrator._target)
        try:
            lock.acquire(_history.look(connection).schema, migrator._lock_wait, migrator.say)
            history = _history.look(connection)
            if history.read_only:
                raise read_only()
            yield connection, history
        finally:
            lock.release()
    finally:
        connection.close()


def _begin(connection: Connection) -> str:
    """Begin a transaction in which names are safe, and return what it is called."""
    return (
        connection.query("begin; set local search_path = pg_catalog; select txid_current()::text")[0][0] or ""
    )


def _readable(file: MigrationFile) -> Script:
    """Read a file once from end to end; raise `FileError` when it is not text."""
    script = Script(file)
    for _ in script.pieces():
        pass
    return script


def _concerns(problem: Problem, name: str) -> bool:
    return name in (problem.other if problem.kind == "renamed" else problem.name, problem.name)


def remove_records(migrator: Migrator, name: str, reason: str | None) -> RollbackResult:
    """Take the records of a file and of everything applied after it out of the history; no SQL of theirs runs."""
    from .pooler import TransactionLock

    connection = migrator._connect()
    try:
        history = _history.look(connection)
        if history.read_only:
            raise read_only()
        lock: Lock = (
            TransactionLock(migrator._interrupts)
            if history.backend != connection.pid
            else RunnerLock(migrator._target)
        )
        try:
            lock.acquire(history.schema, migrator._lock_wait, migrator.say)
            lock.begin(connection)
            history = _history.look(connection)
            steps = [step for step in _journal.read(connection, history) if step.name == name]
            if steps and not steps[0].is_rollback:
                _journal.abandon(connection, history, steps, reason)
                names = [name]
            else:
                rows = rows_from(migrator, name, history.applied)
                _ledger.remove(connection, history, rows, reason)
                names = [row.name for row in reversed(rows)]
                _journal.forget_all(connection, history, names)
            lock.end(connection)
        finally:
            lock.release()
        return RollbackResult(migrator.database, tuple(names), False)
    finally:
        connection.close()


def rows_from(migrator: Migrator, name: str, applied: list[Applied]) -> list[Applied]:
    """Return the records of a file and of everything applied after it; raise `UsageError`."""
    for index, row in enumerate(applied):
        if row.name == name:
            return applied[index:]
    known = any(file.name == name for file in migrator.files)
    raise UsageError(
        f"{name} has no record in {migrator.database}: it never ran there, or was rolled back already"
        if known
        else f"{shown(name)} is neither a file in {migrator.migrations} nor in the history",
        state="Nothing was changed.",
        advice="" if known else did_you_mean(name, [row.name for row in applied]),
    )
