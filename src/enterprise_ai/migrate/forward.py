"""How the pending files of a directory are brought into a database: look, lock, look again, check all, run each."""

from __future__ import annotations

from . import journal as _journal
from .compare import Comparison
from .results import Done, MigrateResult
from .runner import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .checks import Checked
    from .connection import Connection
    from .files import MigrationFile
    from .history import History
    from .migrator import Migrator
    from .runner import Run


class Forward:
    """What `migrate` does, up to and with the file `last` (None: all of them)."""

    def __init__(
        self, migrator: Migrator, connection: Connection, last: MigrationFile | None, allow_out_of_order: bool
    ) -> None:
        self._migrator = migrator
        self._connection = connection
        self._last = last
        self._allow_out_of_order = allow_out_of_order

    def pending(self, history: History) -> tuple[list[MigrationFile], list[str]]:
        """Return what is to run, and notes; raise `HistoryDisagrees` when files and history tell different stories."""
        comparison = Comparison(self._migrator.files, history.applied)
        problems = [
            one
            for one in comparison.problems
            if not (self._allow_out_of_order and one.kind == "out of order")
        ]
        if problems:
            from .diff import explain

            raise explain(self._connection, history, comparison, problems)
        notes = []
        if comparison.ahead:
            notes.append(
                "the database is ahead of these files: it also has {}".format(", ".join(comparison.ahead))
            )
        last = self._last
        return [file for file in comparison.pending if last is None or file.number <= last.number], notes

    def left(self, history: History) -> tuple[str, ...]:
        """Name what this history has not run, in order, beyond `last` too."""
        return tuple(file.name for file in Comparison(self._migrator.files, history.applied).pending)

    def check(self, pending: list[MigrationFile]) -> list[Checked]:
        """Read the pending files; raise `FileError` for what cannot run."""
        return check(pending, self._connection)

    def run(self, history: History) -> MigrateResult:
        """Run what is pending with the lock held; all is read again, another runner may have been here."""
        from .pooler import refuse_untransacted

        pooled = history.backend != self._connection.pid
        run = self._migrator._new_run(pooled)
        try:
            history = run.lock_history(history, self._connection)
            pending, notes = self.pending(history)
            names = [file.name for file in self._migrator.files]
            killed = _journal.refuse_strays(self._connection, history, names)
            checked = self.check(pending)
            if pooled:
                refuse_untransacted(checked)
            history = run.prepare(history, self._connection) if pending else history
            done = self._each(run, checked, history, killed)
            left = self.left(history)[len(checked) :]
            return MigrateResult(self._migrator.database, tuple(done), left, tuple(notes))
        finally:
            run.close()

    def _each(self, run: Run, checked: list[Checked], history: History, killed: bool) -> list[Done]:
        """Run the files one after the other, and keep the state of the catalogue however it ends."""
        from .fingerprints import Watch

        done: list[Done] = []
        watch = Watch(self._connection, history, self._migrator.say, killed)
        try:
            for one, following in zip(checked, [*checked[1:], None]):
                run.listener.started(one.script.file.name, one.statements)
                milliseconds = run.apply(one, history, following)
                if milliseconds is None:
                    continue
                done.append(Done(one.script.file.name, milliseconds, one.statements))
                run.listener.finished(done[-1])
        finally:
            run.session.leave()
            if done or not all(one.directives.transaction for one in checked):
                watch.after(run)
        return done
