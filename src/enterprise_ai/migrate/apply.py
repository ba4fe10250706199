"""How one file becomes part of the database: its statements and its record in one transaction."""

from __future__ import annotations

import time

from . import ledger as _ledger
from . import sql
from .contention import FIRST_LOOK
from .errors import ConnectionLost, FileError, MigrationFailed, ServerError
from .faults import explain
from .files import MigrationFile
from .opening import begin, transaction_settings
from .pooler import Occupied
from .progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .batches import Batch
    from .checks import Checked
    from .contention import Lookout
    from .history import History
    from .interrupts import Interrupts
    from .listener import Listener
    from .lock import Lock
    from .session import Session


class CommitUnknown(Exception):
    """The connection broke while the server was committing this transaction."""

    def __init__(self, transaction: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.transaction = transaction


class Unprepared(Exception):
    """The file has taken the engine's prepared statements away, where nobody could foresee it."""


class FileRun:
    """One attempt at one file."""

    #: Whether the record goes away with the transaction, instead of coming with it.
    removes = False

    def __init__(
        self,
        checked: Checked,
        session: Session,
        history: History,
        lock: Lock,
        timeouts: tuple[int | None, int | None],
        listener: Listener,
        interrupts: Interrupts | None = None,
        lookout: Lookout | None = None,
    ) -> None:
        self.checked = checked
        self.file = checked.script.file
        self.session = session
        self.history = history
        self.lock = lock
        self.timeouts = timeouts
        self.listener = listener
        self.interrupts = interrupts
        self.lookout = lookout
        self.done = 0  # statements
        self.say: Callable[[str], None] = _silent
        self.wait = 0.0  # seconds, for what another runner left running
        self.following: str | None = (
            None  # how the transaction of the next file begins, if it can begin at once
        )
        self._started, self.told = time.monotonic(), False
        self._transaction = ""
        self._before = ""  # fingerprint of the history when the transaction began

    def run(self) -> int:
        """Run, record, commit; return milliseconds; raise `FileError`, `ConnectionLost`, `CommitUnknown`."""
        self._started = started = time.monotonic()
        self.lock.announce(self.file.name)
        try:
            self._statements()
            self._check_unchanged()
            self.lock.ask()
            milliseconds = int((time.monotonic() - started) * 1000)
            self.lock.confirm()
            self._finish(milliseconds)
        except BaseException:
            self.session.rollback()
            raise
        return milliseconds

    def _statements(self) -> None:
        batches = self.checked.script.batches()
        first = next(batches, None)
        if first is None:
            self._begin(None)
            return
        head, batch = transaction_settings(first)
        self._begin(head)
        if batch is None:
            batch = next(batches, None)
        ahead: list[Batch | None] = []
        while batch is not None:
            # The next batch is cut while the server works; data of a COPY has to be read first.
            self._run(batch, None if batch.data is not None else lambda: ahead.append(next(batches, None)))
            batch = ahead.pop() if ahead else next(batches, None)

    def _begin(self, head: Batch | None) -> None:
        """Begin the transaction and remember what tells it from every other one.

        `head` are SET TRANSACTION statements of the file: they must come before any query, before ours too.
        """
        connection = self.session.connection
        if head is None:
            row = self.session.begin(begin(self.timeouts), self.history, self.lock.claim())
        else:
            self.session.leave()
            connection.query(begin(self.timeouts))
            self._run(head)
            row = connection.query(self.session.mark(self.history, self.lock.claim()))[0]
        self._transaction, self._before = row[0] or "", row[1] or ""
        self.session.begins_with(row[2])
        if row[3] != "true":
            raise Occupied(self.file.name)
        self.lock.check(self.session.connection, self.history, self.file)
        if self.lookout is not None:
            self.lookout.pid = int(row[4] or 0)

    def _run(self, batch: Batch, meanwhile: Callable[[], None] | None = None) -> None:
        if self.interrupts is not None:
            self.interrupts.check(f"{self.file.name} was rolled back.")
        connection = self.session.connection
        self.session.saw(batch.text)
        try:
            self.done += connection.run(
                batch.text.encode("utf-8"), Progress(self, batch), batch.data, meanwhile
            )
        except ServerError as error:
            encoding = connection.parameter("server_encoding")
            failure = explain(self.checked.script, batch, error, self.done + 1, encoding)
            failure.state = self.state()
            raise failure from error
        encoding = connection.parameter("client_encoding")
        if encoding != "UTF8":
            raise self._broken(f"changed the client encoding to {encoding}; files are UTF-8")

    def _check_unchanged(self) -> None:
        """Make sure that what ran is what was checked, when it was read from the disk a second time."""
        now = MigrationFile(self.file.name, self.file.number, self.file.path)
        if not self.checked.script.is_kept and now.checksum != self.file.checksum:
            raise self._broken("was changed on the disk while it ran")

    def _finish(self, milliseconds: int) -> None:
        """Record the file in its transaction, provided that it is still the one we began, and commit."""
        query = self.session.connection.query
        # One part of the text a message, whatever its length; the last one goes with the record and the COMMIT.
        texts = _ledger.parts(self.checked.script)
        part, content, before = 0, next(texts), [*AS_OURSELVES]
        try:
            for following in texts:
                text = _ledger.insert_text(self.history, self.file.checksum, part, content, self._transaction)
                query("; ".join((*before, text)))
                part, content, before = part + 1, following, []
        except ServerError as error:
            raise self._record_failed(error, fires=bool(before)) from error
        values = [sql.quote(self.file.name), sql.quote(self.file.checksum), str(milliseconds)]
        values += [sql.quote(self._transaction), sql.quote(self._before), str(part), sql.quote(content)]
        if self.session.is_prepared:
            record = "execute {}({})".format(_ledger.RECORD, ", ".join(values))
        else:
            record = _ledger.record(self.history, values)
        self._commit([*before, *self._last_words(), record])

    def _last_words(self) -> list[str]:
        """SQL of ours that goes before the record."""
        return []

    def _commit(self, statements: list[str]) -> None:
        """Run the last statements and commit; the COMMIT fails only for the file's own reasons."""
        try:
            self.session.finish(statements, self.following, self.history)
        except ServerError as error:
            if error.completed >= len(statements):
                raise self._deferred(error) from error
            raise self._record_failed(error, fires=statements[:1] == AS_OURSELVES[:1]) from error
        except ConnectionLost as error:
            raise CommitUnknown(self._transaction, error) from error

    def _record_failed(self, error: ServerError, fires: bool) -> Exception:
        """Tell a deferred constraint of the file from a history that the file has damaged."""
        if fires and error.completed == 0 and error.sqlstate not in ("25P02", "42P01"):
            return self._deferred(error)
        if error.sqlstate == "26000" and self.session.is_prepared:
            return Unprepared(self.file.name)
        if error.sqlstate in _ledger.BROKEN:
            return self._broken(_ledger.BROKEN[error.sqlstate].format(table=self.history.table))
        if error.sqlstate[:2] in ("42", "3F"):
            return self._broken(f"dropped or changed {self.history.table}, the history of migrations")
        return MigrationFailed(
            f"{self.file.name} could not be recorded: {error}", server=error, state=self.state()
        )

    def _deferred(self, error: ServerError) -> MigrationFailed:
        return MigrationFailed(
            "at the end of {}, a deferred check failed: {}".format(
                self.file.name, error.fields.get("message")
            ),
            server=error,
            state=self.state(),
        )

    def tell(self) -> None:
        """Let others read what runs, once it has run for a moment."""
        if time.monotonic() - self._started > FIRST_LOOK:
            self.told = True
            self.lock.tell()

    def state(self) -> str:
        """Say what a failed attempt leaves in the database."""
        return f"Nothing of {self.file.name} stays in the database; the files before it are done."

    def _broken(self, what: str) -> FileError:
        return FileError(f"{self.file.name} {what}", state=self.state())


# What the file has left set must not decide how its record is written.  Deferred constraints fire first, with
# the file's role still in force: they belong to the file.
AS_OURSELVES = [
    "set constraints all immediate",
    "reset session authorization",
    "reset role",
    "set local search_path = pg_catalog",
]


def _silent(_: str) -> None:
    pass
