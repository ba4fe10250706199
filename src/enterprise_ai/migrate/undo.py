"""How the SQL of a file's `-- rollback:` block runs, and takes the file's record away with what it undoes."""

from __future__ import annotations

from . import directives as _directives
from . import history as _history
from . import ledger as _ledger
from .apply import AS_OURSELVES, FileRun
from .blocks import NOTE, Block
from .checks import Checked
from .compare import Comparison
from .diff import explain
from .errors import FileError, MigrateError, MigrationFailed, ServerError, read_only
from .files import canonical
from .fingerprints import Watch, kept
from .interrupts import Interrupts
from .results import RollbackResult
from .script import Text
from .settle import because, rows_from
from .steps import StepRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .batches import Batch
    from .connection import Connection
    from .history import Applied, History
    from .migrator import Migrator
    from .runner import Run


class CheckedUndo(Checked):
    """A rollback block that may run, and the record that it takes away."""

    def __init__(self, row: Applied, text: str, reason: str, backslashes: bool) -> None:
        self.row = row
        self.reason = reason
        own = _directives.read(Text(row.name, text.encode("utf-8")))
        undo = Block(row.name, text, backslashes=backslashes)
        super().__init__(undo, own)
        if not self.statements:
            raise FileError(
                f"the rollback block of {row.name} holds no statement",
                place=undo.place(0),
                state="Nothing was rolled back.",
                advice=NOTE,
            )

    def run_class(self) -> type[FileRun]:
        """Return how it is run: as the file itself was."""
        return UndoRun if self.directives.transaction else UndoSteps


class _Removal(FileRun):
    """What a rollback has in place of the record of a run."""

    removes = True

    def state(self) -> str:
        return f"{self.file.name} is as it was, and so is its record."

    def _run(self, batch: Batch, meanwhile: Callable[[], None] | None = None) -> None:
        try:
            super()._run(batch, meanwhile)
        except MigrationFailed as failure:
            name = self.file.name
            failure.advice = (
                f"Clear what stands in the way, and run again. Where the block itself is wrong: correct it,\n"
                f"accept {name}, and run again; or undo the file by hand and remove its record:  rollback {name}"
            )
            raise

    def _finish(self, milliseconds: int) -> None:
        """Take the record away, provided that the transaction is the one we began, and commit."""
        assert isinstance(self.checked, CheckedUndo)
        removal = _ledger.remove_in(
            self.history, self.checked.row, self.checked.reason, self._transaction, self._before
        )
        try:
            rows = self.session.connection.query("; ".join((*AS_OURSELVES, removal + " returning 1")))
        except ServerError as error:
            raise self._record_failed(error, fires=True) from error
        if not rows:
            raise self._broken(f"changed {self.history.table}, the history of migrations")
        self._commit([*self._last_words(), f"select {_ledger.STATE}"])


class UndoRun(_Removal):
    """One attempt at a rollback block, in one transaction."""


class UndoSteps(_Removal, StepRun):
    """One attempt at the rollback block of a no-transaction file."""

    is_rollback = True

    def state(self) -> str:
        return StepRun.state(self) + " Its record is still there."


def roll_back_schema(migrator: Migrator, name: str, reason: str | None) -> RollbackResult:
    """Undo a file and everything applied after it, newest first."""
    connection = migrator._connect()
    try:
        if _history.look(connection).read_only:
            raise read_only()
        if not migrator._signals:
            return RollbackResult(migrator.database, _execute(migrator, connection, name, reason), True)
        with Interrupts() as migrator._interrupts:
            return RollbackResult(migrator.database, _execute(migrator, connection, name, reason), True)
    finally:
        connection.close()


def _execute(migrator: Migrator, connection: Connection, name: str, reason: str | None) -> tuple[str, ...]:
    run = migrator._new_run(pooled=False)  # behind a pooler its lock refuses
    try:
        history = run.lock_history(_history.look(connection), connection)
        watch = Watch(connection, history, migrator.say)
        try:
            return tuple(_undo_all(migrator, run, connection, history, name, reason))
        finally:
            # A state that was kept when these files were not there yet shows whether their blocks undid all.
            if kept(connection, _history.look(connection)) is None:
                watch.after(run)
    finally:
        run.close()


def _undo_all(
    migrator: Migrator, run: Run, connection: Connection, history: History, name: str, reason: str | None
) -> list[str]:
    rows = rows_from(migrator, name, history.applied)
    backslashes = connection.parameter("standard_conforming_strings") == "off"
    why = because("its rollback block was executed", reason)
    _refuse_edited(migrator, connection, history, rows)
    undos = [
        CheckedUndo(row, _text_of(migrator, connection, history, row), why, backslashes)
        for row in reversed(rows)
    ]
    done: list[str] = []
    for undo in undos:
        try:
            run.apply(undo, history)
        except MigrateError as error:
            if done:
                error.state = "Rolled back with their records: {}. {}".format(", ".join(done), error.state)
            raise
        done.append(undo.row.name)
    return done


def _refuse_edited(migrator: Migrator, connection: Connection, history: History, rows: list[Applied]) -> None:
    """Raise `HistoryDisagrees` when a file no longer says what ran: its block may not fit."""
    comparison = Comparison(migrator.files, history.applied)
    names = [row.name for row in rows]
    problems = [one for one in comparison.problems if one.name in names and one.kind in ("edited", "swapped")]
    if problems:
        raise explain(connection, history, comparison, problems)


def _text_of(migrator: Migrator, connection: Connection, history: History, row: Applied) -> str:
    """Return the text that ran, from the history or else from the file of the same content."""
    text = _ledger.stored_text(connection, history, row.checksum)
    if text is not None:
        return text
    file = next((one for one in migrator.files if one.checksum == row.checksum), None)
    if file is None:
        raise FileError(
            f"the text of {row.name} is neither in the history nor in {migrator.migrations}",
            state="Nothing was rolled back.",
            advice="Bring the file back, then run again.",
        )
    return b"".join(canonical(file.chunks())).decode("utf-8")
