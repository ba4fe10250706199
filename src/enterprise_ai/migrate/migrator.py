"""The engine as a library: one object for one database and one directory of files."""

from __future__ import annotations

import os

from . import history as _history
from .connection import Connection
from .errors import read_only
from .files import Folder
from .target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .files import MigrationFile
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


#: Whoever holds a lock on the history is not waited for in silence.
_BRIEFLY = "set local lock_timeout = 2000; "


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
        self.say = say
        self._listener = listener
        self._signals = signals
        self._interrupts: Interrupts | None = None
        #: The directory as the running command sees it.
        self.folder = Folder(self.migrations, say)
        self._keeps_folder = False

    @property
    def database(self) -> str:
        """The database that is meant, in words that hold no secret."""
        return self._target.describe()

    @property
    def files(self) -> list[MigrationFile]:
        """The migrations of the directory, in number order."""
        return self.folder.files

    def migrate(
        self, *, target: str | None = None, dry_run: bool = False, allow_out_of_order: bool = False
    ) -> MigrateResult:
        """Run every pending file, up to and with `target`; what ran before a failure stays."""
        from .results import MigrateResult

        self._look_anew()
        last = self.folder.file(target) if target else None
        connection = self._connect_and_read()
        try:
            connection.preface = _BRIEFLY
            if _history.is_exactly(connection, lambda: self.files):
                return MigrateResult(self.database, (), (), ())
            from .forward import Forward

            forward = Forward(self, connection, last, allow_out_of_order)
            history = _history.look(connection)
            connection.preface = ""
            pending, notes = forward.pending(history)
            if dry_run:
                forward.check(pending)
                return MigrateResult(self.database, (), tuple(file.name for file in pending), tuple(notes))
            if not pending:
                return MigrateResult(self.database, (), forward.left(history), tuple(notes))
            if history.read_only:
                raise read_only(len(pending))
            if not self._signals:
                return forward.run(history)
            from .interrupts import Interrupts

            with Interrupts() as self._interrupts:
                return forward.run(history)
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
        other._keeps_folder = True
        other._target, other.say, other._listener = target, say, listener
        other._signals, other._interrupts = False, interrupts
        return other

    def status(self) -> StatusResult:
        """Compare history and files; writes nothing and waits for nobody."""
        from . import journal as _journal
        from .compare import Comparison
        from .lock import running
        from .results import StatusResult

        self._look_anew()
        connection = self._connect_and_read()
        try:
            connection.preface = _BRIEFLY + "set local statement_timeout = 30000; "
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
        self._look_anew()
        if execute:
            from .undo import roll_back_schema

            return roll_back_schema(self, name, reason)
        from .settle import remove_records

        return remove_records(self, name, reason)

    def baseline(self, name: str) -> BaselineResult:
        """Adopt a database that was built otherwise: record every file up to this one, run nothing."""
        from .settle import baseline

        self._look_anew()
        return baseline(self, name)

    def accept(self, name: str, *, reason: str | None = None) -> AcceptResult:
        """Take an edited or renamed file as the one that ran; the former record is kept with who and why."""
        from .settle import accept

        self._look_anew()
        return accept(self, name, reason)

    def resolve(self, name: str, *, applied: bool) -> ResolveResult:
        """Say whether the statement at which a no-transaction file stopped took effect."""
        from .settle import resolve

        self._look_anew()
        return resolve(self, name, applied=applied)

    def differences(self, name: str) -> str:
        """Return how an edited file differs from the text that ran, as a unified diff; empty if not known."""
        from .diff import difference

        self._look_anew()
        connection = self._connect()
        try:
            return difference(connection, _history.look(connection), self.folder.file(name))
        finally:
            connection.close()

    @property
    def _lock_wait(self) -> float:
        return 300.0 if self._wait is None else self._wait

    def _connect(self) -> Connection:
        if not self._wait:
            return Connection(self._target)
        from .waiting import wait_for

        return wait_for(self._target, self._wait, self.say)

    def _connect_and_read(self) -> Connection:
        """Connect, and read the files meanwhile when they are many."""
        self.folder.read_ahead()
        return self._connect()

    def _look_anew(self) -> None:
        """See the directory as it is now: an earlier command of this object may have seen it otherwise."""
        if not self._keeps_folder:
            self.folder = Folder(self.migrations, self.say)

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
        return Run(self._target, settings, listener, self.say, self._interrupts, pooled)


def _milliseconds(seconds: float | None) -> int | None:
    # Never rounded to 0, which would mean to wait for ever.
    return None if seconds is None else round(seconds * 1000) or int(seconds > 0)
