"""How one file becomes part of the database: its statements and its record in one transaction."""

from __future__ import annotations

import time

from . import ledger as _ledger
from .connection import Watcher
from .contention import Patience
from .errors import ConnectionLost, FileError, MigrationFailed, ServerError
from .faults import explain
from .files import MigrationFile
from .pooler import Occupied
from .session import ROLE_SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .checks import Checked
    from .contention import Lookout
    from .history import History
    from .interrupts import Interrupts
    from .listener import Listener
    from .lock import Lock
    from .script import Batch
    from .session import Session


class CommitUnknown(Exception):
    """The connection broke while the server was committing this transaction."""

    def __init__(self, transaction: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.transaction = transaction


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
        self._transaction = ""
        self._before = ""  # fingerprint of the history when the transaction began

    def run(self) -> int:
        """Run, record, commit; return milliseconds; raise `FileError`, `ConnectionLost`, `CommitUnknown`."""
        started = time.monotonic()
        self.lock.announce(self.file.name)
        try:
            self._statements()
            self._check_unchanged()
            self.lock.ask()
            milliseconds = int((time.monotonic() - started) * 1000)
            self._record(milliseconds)
            self.lock.confirm()
            self._commit()
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
        head, rest = _transaction_settings(first)
        self._begin(head)
        if rest is not None:
            self._run(rest)
        for batch in batches:
            self._run(batch)

    def _begin(self, head: Batch | None) -> None:
        """Begin the transaction and remember what tells it from every other one.

        `head` are SET TRANSACTION statements of the file: they must come before any query, before ours too.
        """
        lock_timeout, statement_timeout = self.timeouts
        text = "begin"
        if lock_timeout is not None:
            text += f"; set local lock_timeout = {lock_timeout}"
        if statement_timeout is not None:
            text += f"; set local statement_timeout = {statement_timeout}"
        mark = (
            f"select pg_catalog.txid_current()::text, {_ledger.fingerprint(self.history)}, {ROLE_SETTINGS}, "
            f"{self.lock.claim()}, pg_catalog.pg_backend_pid()::text"
        )
        connection = self.session.connection
        if head is None:
            row = connection.query(text + "; " + mark)[0]
        else:
            connection.query(text)
            self._run(head)
            row = connection.query(mark)[0]
        self._transaction, self._before = row[0] or "", row[1] or ""
        self.session.begins_with(row[2])
        if row[3] != "true":
            raise Occupied(self.file.name)
        self.lock.check(connection, self.history, self.file)
        if self.lookout is not None:
            self.lookout.pid = int(row[4] or 0)

    def _run(self, batch: Batch) -> None:
        if self.interrupts is not None:
            self.interrupts.check(f"{self.file.name} was rolled back.")
        connection = self.session.connection
        self.session.saw(batch.text)
        try:
            self.done += connection.run(batch.text.encode("utf-8"), _Watch(self, batch), batch.data)
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

    def _record(self, milliseconds: int) -> None:
        """Write the record in the file's transaction, provided that it is still the one we began."""
        query = self.session.connection.query
        insert = _ledger.insert(self.history, self.file, milliseconds, self._transaction, self._before)
        # One part of the text a message, whatever its length; the last one goes with the record.
        texts = _ledger.texts(self.history, self.checked.script, self._transaction)
        before, text = _AS_OURSELVES + "; ", next(texts)
        try:
            for following in texts:
                query(before + text)
                before, text = "", following
            rows = query(f"{before}{text}; {insert} returning {ROLE_SETTINGS}")
        except ServerError as error:
            raise self._record_failed(error, fired=not before) from error
        if not rows:
            raise self._not_ours()
        self.session.saw_role_settings(rows[0][0])

    def _commit(self) -> None:
        try:
            self.session.commit()
        except ServerError as error:
            raise self._deferred(error) from error
        except ConnectionLost as error:
            raise CommitUnknown(self._transaction, error) from error

    def _record_failed(self, error: ServerError, fired: bool) -> FileError:
        """Tell a deferred constraint of the file from a history that the file has damaged."""
        if not fired and error.completed == 0 and error.sqlstate not in ("25P02", "42P01"):
            return self._deferred(error)
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

    def _not_ours(self) -> FileError:
        """Find out why the record was refused: another transaction, or a changed history."""
        now = self.session.connection.query("select pg_catalog.txid_current()::text")[0][0]
        if now != self._transaction:
            return self._broken("ended the transaction in which it ran")
        return self._broken(f"changed {self.history.table}, the history of migrations")

    def state(self) -> str:
        """Say what a failed attempt leaves in the database."""
        return f"Nothing of {self.file.name} stays in the database; the files before it are done."

    def _broken(self, what: str) -> FileError:
        return FileError(f"{self.file.name} {what}", state=self.state())


# What the file has left set must not decide how its record is written.  Deferred constraints fire first, with
# the file's role still in force: they belong to the file.
_AS_OURSELVES = (
    "set constraints all immediate; "
    "reset session authorization; reset role; set local search_path = pg_catalog"
)


class _Watch(Watcher):
    """Passes on what happens in a batch, in terms of the file."""

    def __init__(self, run: FileRun, batch: Batch) -> None:
        self._run = run
        self._batch = batch
        self._before = run.done
        self.patience = Patience(run.lookout.look) if run.lookout is not None else None

    def done(self, completed: int) -> None:
        self._run.listener.progress(
            self._run.file.name, self._before + completed, self._run.checked.statements
        )

    def notice(self, index: int, notice: dict[str, str]) -> None:
        statements = self._batch.statements
        line = self._batch.line_at(statements[min(index, len(statements) - 1)].start)
        self._run.listener.notice(self._run.file.name, line, notice)


def _transaction_settings(batch: Batch) -> tuple[Batch | None, Batch | None]:
    """Cut leading SET TRANSACTION statements off a file's first batch."""
    count = 0
    for statement in batch.statements:
        words = [word for word in statement.words[1:3] if word not in ("local", "session")]
        if statement.words[:1] != ("set",) or not words or not words[0].startswith("transaction"):
            break
        count += 1
    return batch.split(count) if count else (None, batch)


def _silent(_: str) -> None:
    pass
