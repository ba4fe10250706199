"""The engine as a library: one object for one database and one directory of files."""

from __future__ import annotations

import os

from . import history as _history
from .arguments import shown
from .connection import wait_for
from .errors import UsageError, read_only
from .files import ReadAhead, discover
from .target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .connection import Connection
    from .files import MigrationFile
    from .history import Applied, History
    from .interrupts import Interrupts
    from .listener import Listener
    from .results import (
        AcceptResult,
        BaselineResult,
        MigrateResult,
        ResolveResult,
        RollbackResult,
        StatusResult,
    )
    from .runner import Run


#: From so many files on it is quicker to read them while the server answers.
_MANY = 50


def _silent(_: str) -> None:
    pass


class Migrator:
    """Runs the numbered SQL files of a directory against a database, each once.

    `url` is anything that psql takes; None means what PG* variables and libpq's defaults say.  Times are in
    seconds: `wait` bounds waiting for a server that is not up yet (not at all unless told) and for another
    runner (five minutes unless told); `lock_timeout` and `statement_timeout` are the server's, 0 switches
    them off, and None leaves what the login's own settings say.  `say` hears remarks while a command runs,
    `listener` hears progress and the server's notices.  With `signals`, SIGINT, SIGTERM and SIGHUP end a run
    in order (main thread only).  Every failure is a `MigrateError`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        migrations: str | os.PathLike[str],
        wait: float | None = None,
        lock_timeout: float | None = 2.0,
        statement_timeout: float | None = None,
        lock_attempts: int = 10,
        say: Callable[[str], None] = _silent,
        listener: Listener | None = None,
        signals: bool = False,
    ) -> None:
        self.migrations = os.fspath(migrations)
        self._target = Target(url)
        self._wait = wait
        self._lock_timeout = _milliseconds(lock_timeout)
        self._statement_timeout = _milliseconds(statement_timeout)
        self._lock_attempts = lock_attempts
        self._say = say
        self._listener = listener
        self._signals = signals
        self._interrupts: Interrupts | None = None
        self._files: list[MigrationFile] | None = None
        self._reading: ReadAhead | None = None

    @property
    def database(self) -> str:
        """The database that is meant, in words that hold no secret."""
        return self._target.describe()

    @property
    def files(self) -> list[MigrationFile]:
        """The migrations of the directory, in number order."""
        if self._files is None:
            self._files = discover(self.migrations, self._say)
            if not self._files:
                raise UsageError(f"there are no migration files (NNN_description.sql) in {self.migrations}")
        if self._reading is not None:
            self._reading.wait()
            self._reading = None
        return self._files

    def migrate(
        self, *, target: str | None = None, dry_run: bool = False, allow_out_of_order: bool = False
    ) -> MigrateResult:
        """Run every pending file, up to and with `target`; what ran before a failure stays."""
        from .results import MigrateResult

        last = self._file(target) if target else None
        connection = self._connect_and_read()
        try:
            if _history.is_exactly(connection, lambda: self.files):
                return MigrateResult(self.database, (), (), ())
            history = _history.look(connection)
            pending, notes = self._pending(connection, history, last, allow_out_of_order)
            if dry_run:
                from .runner import check

                check(pending, connection)
                return MigrateResult(self.database, (), tuple(file.name for file in pending), tuple(notes))
            if not pending:
                return MigrateResult(self.database, (), self._left(history), tuple(notes))
            if history.read_only:
                raise read_only(len(pending))
            if not self._signals:
                return self._run(connection, history, last, allow_out_of_order)
            from .interrupts import Interrupts

            with Interrupts() as self._interrupts:
                return self._run(connection, history, last, allow_out_of_order)
        finally:
            connection.close()

    def at(
        self,
        target: Target,
        say: Callable[[str], None],
        listener: Listener,
        interrupts: Interrupts | None,
    ) -> Migrator:
        """Return a migrator of the same files and options for another place, stopped by somebody else's signals."""
        import copy

        self.files  # noqa: B018  read once, for all of them
        other = copy.copy(self)
        other._target, other._say, other._listener = target, say, listener
        other._signals, other._interrupts = False, interrupts
        return other

    def status(self) -> StatusResult:
        """Compare history and files; writes nothing and waits for nobody."""
        from . import journal as _journal
        from .compare import Comparison
        from .lock import running
        from .results import StatusResult

        connection = self._connect_and_read()
        try:
            connection.preface = "set local lock_timeout = 2000; set local statement_timeout = 30000; "
            history = _history.look(connection)
            comparison = Comparison(self.files, history.applied)
            return StatusResult(
                self.database,
                tuple(history.applied),
                tuple(file.name for file in comparison.pending),
                tuple(comparison.problems),
                tuple(comparison.ahead),
                running(connection, history.schema),
                _journal.half_done(_journal.read(connection, history)),
            )
        finally:
            connection.close()

    def rollback(self, name: str, *, execute: bool = False, reason: str | None = None) -> RollbackResult:
        """Take the records of a file and of everything applied after it out of the history.

        With `execute`, run the files' own `-- rollback:` blocks, newest first, one transaction each, and take
        a record away only together with its schema; without it no SQL of theirs runs.
        """
        if execute:
            return self._roll_back_schema(name, reason)
        from .settle import remove_records

        return remove_records(self, name, reason)

    def baseline(self, name: str) -> BaselineResult:
        """Adopt a database that was built otherwise: record every file up to this one, run nothing."""
        from .settle import baseline

        return baseline(self, name)

    def accept(self, name: str, *, reason: str | None = None) -> AcceptResult:
        """Take an edited or renamed file as the one that ran; the former record is kept with who and why."""
        from .settle import accept

        return accept(self, name, reason)

    def resolve(self, name: str, *, applied: bool) -> ResolveResult:
        """Say whether the statement at which a no-transaction file stopped took effect."""
        from .settle import resolve

        return resolve(self, name, applied=applied)

    def differences(self, name: str) -> str:
        """Return how an edited file differs from the text that ran, as a unified diff; empty if not known."""
        from .diff import difference

        connection = self._connect()
        try:
            return difference(connection, _history.look(connection), self._file(name))
        finally:
            connection.close()

    @property
    def _lock_wait(self) -> float:
        return 300.0 if self._wait is None else self._wait

    def _connect(self) -> Connection:
        return wait_for(self._target, self._wait or 0.0, self._say)

    def _connect_and_read(self) -> Connection:
        """Connect, and read the files meanwhile when they are many."""
        if len(self.files) > _MANY and not self.files[-1].is_read:
            self._reading = ReadAhead(self.files)
        return self._connect()

    def _roll_back_schema(self, name: str, reason: str | None) -> RollbackResult:
        from .interrupts import Interrupts
        from .results import RollbackResult
        from .undo import execute

        connection = self._connect()
        try:
            history = _history.look(connection)
            if history.read_only:
                raise read_only()
            if not self._signals:
                return RollbackResult(self.database, execute(self, connection, name, reason), True)
            with Interrupts() as self._interrupts:
                return RollbackResult(self.database, execute(self, connection, name, reason), True)
        finally:
            connection.close()

    def _new_run(self, pooled: bool) -> Run:
        from .listener import Listener
        from .runner import Run, Settings

        settings = Settings(
            wait=self._lock_wait,
            lock_timeout=self._lock_timeout,
            statement_timeout=self._statement_timeout,
            lock_attempts=self._lock_attempts,
        )
        listener = self._listener or Listener()
        return Run(self._target, settings, listener, self._say, self._interrupts, pooled)

    def _run(
        self, connection: Connection, history: History, last: MigrationFile | None, allow_out_of_order: bool
    ) -> MigrateResult:
        """Run what is pending with the lock held; all is read again, another runner may have been here."""
        from . import journal as _journal
        from .fingerprints import Watch
        from .pooler import refuse_untransacted
        from .results import Done, MigrateResult
        from .runner import check

        pooled = history.backend != connection.pid
        run = self._new_run(pooled)
        listener = run.listener
        try:
            history = run.lock_history(history, connection)
            pending, notes = self._pending(connection, history, last, allow_out_of_order)
            killed = _journal.refuse_strays(connection, history, [file.name for file in self.files])
            checked = check(pending, connection)
            if pooled:
                refuse_untransacted(checked)
            history = run.prepare(history, connection) if pending else history
            done: list[Done] = []
            watch = Watch(connection, history, self._say, killed)
            try:
                for one, following in zip(checked, [*checked[1:], None]):
                    listener.started(one.script.file.name, one.statements)
                    milliseconds = run.apply(one, history, following)
                    if milliseconds is None:
                        continue
                    result = Done(one.script.file.name, milliseconds, one.statements)
                    done.append(result)
                    listener.finished(result)
            finally:
                run.session.leave()
                if done or not all(one.directives.transaction for one in checked):
                    watch.after(run)
            return MigrateResult(
                self.database, tuple(done), self._left(history)[len(checked) :], tuple(notes)
            )
        finally:
            run.close()

    def _pending(
        self, connection: Connection, history: History, last: MigrationFile | None, allow_out_of_order: bool
    ) -> tuple[list[MigrationFile], list[str]]:
        """Return what is to run; raise `HistoryDisagrees` when files and history tell different stories."""
        from .compare import Comparison

        comparison = Comparison(self.files, history.applied)
        problems = [
            one for one in comparison.problems if not (allow_out_of_order and one.kind == "out of order")
        ]
        if problems:
            from .diff import explain

            raise explain(connection, history, comparison, problems)
        notes = []
        if comparison.ahead:
            notes.append(
                "the database is ahead of these files: it also has {}".format(", ".join(comparison.ahead))
            )
        return [file for file in comparison.pending if last is None or file.number <= last.number], notes

    def _left(self, history: History) -> tuple[str, ...]:
        """Name what this history has not run, in order."""
        from .compare import Comparison

        return tuple(file.name for file in Comparison(self.files, history.applied).pending)

    def _file(self, name: str) -> MigrationFile:
        for file in self.files:
            if name in (file.name, file.name[: -len(".sql")]):
                return file
        raise UsageError(
            f"there is no migration {shown(name)} in {self.migrations}",
            advice=_did_you_mean(name, [file.name for file in self.files]),
        )

    def _rows_from(self, name: str, applied: list[Applied]) -> list[Applied]:
        for index, row in enumerate(applied):
            if row.name == name:
                return applied[index:]
        known = any(file.name == name for file in self.files)
        raise UsageError(
            f"{name} has no record in {self.database}: it never ran there, or was rolled back already"
            if known
            else f"{shown(name)} is neither a file in {self.migrations} nor in the history",
            state="Nothing was changed.",
            advice="" if known else _did_you_mean(name, [row.name for row in applied]),
        )


def _milliseconds(seconds: float | None) -> int | None:
    # Never rounded to 0, which would mean to wait for ever.
    return None if seconds is None else round(seconds * 1000) or int(seconds > 0)


def _did_you_mean(name: str, names: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"Did you mean {near[0]}?" if near else "`status` lists the files."
