"""The order of a whole run: look, take the lock, check every pending file, then one after the other."""

from __future__ import annotations

import time

from . import history as _history
from .aftermath import was_committed
from .apply import CommitUnknown, Unprepared
from .checks import Checked
from .contention import Lookout, describe, report
from .errors import ConnectionLost, FileError, MigrateError, MigrationFailed
from .history_tables import create
from .lock import RunnerLock, jitter
from .opening import begin, starts_plainly
from .pooler import Occupied, Overtaken, TransactionLock
from .script import WHOLE, Script
from .session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .apply import FileRun
    from .connection import Connection
    from .files import MigrationFile
    from .history import History
    from .interrupts import Interrupts
    from .listener import Listener
    from .lock import Lock
    from .target import Target

#: How much of the pending files is kept in memory between checking and running them.
_KEEP = 32 * 1024 * 1024
#: Errors of a busy server, after which the same file can succeed: lock timeout and deadlock.
_BUSY = ("55P03", "40P01")


class Settings:
    """How a run behaves; times in seconds, timeouts in milliseconds (None: what the login's settings say)."""

    def __init__(
        self,
        *,
        wait: float = 300.0,
        lock_timeout: int | None = 2000,
        statement_timeout: int | None = None,
        lock_attempts: int = 10,
    ) -> None:
        self.wait = wait
        self.lock_timeout = lock_timeout
        self.statement_timeout = statement_timeout
        self.lock_attempts = lock_attempts


class Run:
    """One run of pending files against one database, with the lock held."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        listener: Listener,
        say: Callable[[str], None],
        interrupts: Interrupts | None,
        pooled: bool = False,
    ) -> None:
        self.target = target
        self.settings = settings
        self.listener = listener
        self.say = say
        self.interrupts = interrupts
        self.session = Session(target, interrupts)
        self.pooled = pooled
        self.session.pooled = pooled
        self.lock: Lock = TransactionLock(interrupts) if pooled else RunnerLock(target, interrupts)

    def lock_history(self, history: History, connection: Connection) -> History:
        """Take the lock of the history's place, and read it again now that nobody else can write."""
        if not self.pooled and connection.version >= 140000:
            connection.query("set idle_session_timeout = 0")  # it idles while others have their turn
        self.lock.acquire(history.schema, self.settings.wait, self.say)
        while True:
            history = _history.look(connection)
            if history.schema == self.lock.schema:
                return history
            self.lock.move(history.schema, self.settings.wait, self.say)

    def prepare(self, history: History, connection: Connection) -> History:
        """Make the history table when there is none."""
        if history.exists:
            return history
        self.lock.begin(connection)
        if not _history.look(connection).exists:
            if history.makes_schema:
                self.say(
                    f"{history.user} may not create tables in the schemas of its search_path; "
                    f'the history goes to the schema "{history.schema}"'
                )
            create(history, connection)
        self.lock.end(connection)
        return _history.look(connection)

    def apply(self, checked: Checked, history: History, following: Checked | None = None) -> int | None:
        """Bring one file into the database; return the milliseconds it took, None when another runner did it.

        The transaction of the file that follows begins in the message with which this one ends.
        """
        file = checked.script.file
        attempt = 1
        while True:
            self._stop_here()
            lookout = Lookout(self.lock, self.target)
            try:
                return self._attempt(checked, history, lookout, following)
            except Unprepared:
                self.session.prepares = False
            except Overtaken:
                self.say(f"{file.name} was run by another runner meanwhile")
                return None
            except Occupied:
                self.lock.pause(self.session.connection)
            except MigrationFailed as failure:
                self._explain_interrupt(failure)
                busy = failure.server is not None and failure.server.sqlstate in _BUSY
                if not busy:
                    raise
                failure.blockers = lookout.seen
                if attempt >= self.settings.lock_attempts:
                    failure.advice = "\n".join(
                        [f"Tried {attempt} times.", *report(lookout.seen), failure.advice]
                    )
                    raise
                self._back_off(file, failure, attempt)
                attempt += 1
            finally:
                lookout.close()

    def close(self) -> None:
        """Give back the lock and the connections."""
        self.session.close()
        self.lock.release()

    def _timeouts(self, checked: Checked) -> tuple[int | None, int | None]:
        own = checked.directives
        return (
            self.settings.lock_timeout if own.lock_timeout is None else own.lock_timeout,
            self.settings.statement_timeout if own.statement_timeout is None else own.statement_timeout,
        )

    def _attempt(
        self, checked: Checked, history: History, lookout: Lookout, following: Checked | None
    ) -> int:
        file = checked.script.file
        run = checked.run_class()(
            checked,
            self.session,
            history,
            self.lock,
            self._timeouts(checked),
            self.listener,
            self.interrupts,
            lookout,
        )
        if following is not None and following.directives.transaction and starts_plainly(following):
            run.following = begin(self._timeouts(following))
        run.say, run.wait = self.say, self.settings.wait
        started = time.monotonic()
        try:
            return run.run()
        except CommitUnknown as unknown:
            return self._after_commit(run, unknown, started)
        except ConnectionLost as error:
            self._explain_interrupt(None)
            raise FileError(
                f"the connection was lost while {file.name} ran: {self.target.redact(str(error))}",
                state=f"The server rolls back what was running. {run.state()}",
                advice="Run again.",
            ) from error

    def _after_commit(self, run: FileRun, unknown: CommitUnknown, started: float) -> int:
        """Report the truth about a COMMIT whose answer never came."""
        file = run.file
        outcome = was_committed(self.target, unknown.transaction, file, self.say, self.interrupts)
        if run.removes and outcome is not None:
            outcome = not outcome
        if outcome:
            self.say(f"{file.name} is committed; only the server's answer was lost")
            milliseconds = int((time.monotonic() - started) * 1000)
            self._renew()
            return milliseconds
        if outcome is None:
            raise MigrateError(
                f"the connection was lost during COMMIT of {file.name} and the server does not answer",
                state="Whether it is in the database is not known yet; if it is, its record is too.",
                advice="Run `status` when the server is back; `migrate` then does what is left.",
            )
        raise FileError(
            f"the connection was lost during COMMIT of {file.name}, and the server rolled it back",
            state=run.state(),
            advice="Run again.",
        )

    def _renew(self) -> None:
        """Take the lock again when its connection broke with the other one."""
        try:
            self.lock.ask()
            self.lock.confirm()
        except MigrateError:
            schema = self.lock.schema
            self.lock.release()
            self.lock = RunnerLock(self.target, self.interrupts)
            self.lock.acquire(schema, self.settings.wait, self.say)

    def _back_off(self, file: MigrationFile, failure: MigrationFailed, attempt: int) -> None:
        pause = min(0.25 * 2**attempt, 15.0) * jitter()
        blocked = "".join(f"; blocked by {describe(one)}" for one in failure.blockers[:1])
        self.say(
            f"{file.name}: {failure.message}{blocked}; "
            f"attempt {attempt + 1} of {self.settings.lock_attempts} in {pause:.1f} s"
        )
        if self.interrupts is not None:
            self.interrupts.sleep(pause)
        else:
            time.sleep(pause)

    def _stop_here(self) -> None:
        if self.interrupts is not None:
            self.interrupts.check("The files before it are done; nothing else was started.")

    def _explain_interrupt(self, failure: MigrationFailed | None) -> None:
        """A statement that failed because of a signal is an interruption, not an error of the file."""
        cancelled = failure is None or (failure.server is not None and failure.server.sqlstate == "57014")
        if cancelled and self.interrupts is not None:
            state = failure.state if failure is not None else "The server rolls back what was running."
            self.interrupts.check(state)


def check(files: list[MigrationFile], connection: Connection) -> list[Checked]:
    """Read every pending file once before anything runs; raise `FileError` for what cannot work."""
    backslashes = connection.parameter("standard_conforming_strings") == "off"
    checked, room = [], _KEEP
    for file in files:
        script = Script(file, backslashes=backslashes)
        room -= script.keep(min(room, WHOLE))
        checked.append(Checked(script))
    return checked
