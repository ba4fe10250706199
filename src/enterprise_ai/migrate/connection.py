"""One connection to the server: send text as it is, get one result per statement, notices as they come."""

from __future__ import annotations

import select
import time

from . import libpq
from .errors import ConnectionLost, ServerError
from .notices import Notices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Optional, Sequence

    from .canceller import Canceller
    from .contention import Patience
    from .interrupts import Interrupts
    from .target import Target

    Row = List[Optional[str]]
    Notice = Dict[str, str]

#: How long a cancelled statement may take to end before the connection is given up.
_GRACE = 5.0


class Watcher:
    """What a caller of `Connection.run` is told while the server works; override what is of use."""

    #: Called while nothing comes, at the times that it names itself.
    patience: Patience | None = None

    def done(self, completed: int) -> None:
        """Hear that so many statements of the message are done."""

    def notice(self, index: int, notice: Notice) -> None:
        """Hear a notice of the statement with this index in the message."""


class Connection:
    """A libpq connection in autocommit: what is sent is exactly what runs."""

    def __init__(self, target: Target, *, interrupts: Interrupts | None = None) -> None:
        self._library = libpq.load()
        self._interrupts = interrupts
        self._completed = 0
        self._canceller: Canceller | None = None
        #: SQL that goes before each of the engine's own queries, in the same message.
        self.preface = ""
        #: The schema that is meant to be a place of its own, if one is.
        self.schema = target.schema
        self._handle = target.connect(self._library)
        self._notices = Notices(self._library, self._handle, lambda: self._completed)
        self.pid: int = self._library.PQbackendPID(self._handle)
        self.version: int = self._library.PQserverVersion(self._handle)

    def parameter(self, name: str) -> str:
        """Return a setting that the server reports by itself, such as `server_encoding`."""
        value = self._library.PQparameterStatus(self._handle, name.encode())
        return value.decode() if value else ""

    @property
    def transaction_status(self) -> int:
        """One of `libpq.IDLE`, `IN_TRANSACTION`, `IN_ERROR`, `UNKNOWN` …"""
        status: int = self._library.PQtransactionStatus(self._handle)
        return status

    @property
    def is_lost(self) -> bool:
        """True once the connection is known to be broken."""
        return not self._handle or self._library.PQstatus(self._handle) != libpq.CONNECTION_OK

    def query(self, sql: str) -> list[Row]:
        """Run the engine's own SQL and return the rows of its last result; raise `ServerError`."""
        self.send(sql)
        return self.gather()

    def query_each(self, statements: Sequence[str]) -> list[list[Row]]:
        """Run the engine's own statements in one message and return the rows of each; raise `ServerError`."""
        self.send("; ".join(statements))
        return self._collect(None, None)

    def send(self, sql: str) -> None:
        """Start the engine's own SQL without waiting for it; `gather` brings the rows."""
        self._send((self.preface + sql).encode("utf-8"))

    def gather(self) -> list[Row]:
        """Wait for what `send` started and return the rows of its last result."""
        return self._collect(None, None)[-1]

    def is_open(self) -> bool:
        """Look, without asking the server anything, whether it has ended this idle session."""
        if not self.is_lost:
            poll = select.poll()
            poll.register(self._library.PQsocket(self._handle), select.POLLIN)
            if poll.poll(0):
                self._library.PQconsumeInput(self._handle)
        return not self.is_lost

    def answers_within(self, seconds: float) -> bool:
        """Tell whether the answer to what `send` started is there in time."""
        deadline = time.monotonic() + seconds
        while self._library.PQisBusy(self._handle):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._poll(None, remaining)
            if not self._library.PQconsumeInput(self._handle):
                return True
        return True

    def run(
        self,
        text: bytes,
        watcher: Watcher,
        copy_data: Iterable[bytes] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Run a piece of a file; return how many statements were done; raise `ServerError` at a bad one.

        `meanwhile` is called once while the server works.
        """
        self._send(text)
        # Rows of a SELECT are of no use here: one at a time keeps memory flat, and see `Notices`.
        self._library.PQsetSingleRowMode(self._handle)
        if meanwhile is not None:
            meanwhile()
        self._collect(watcher, copy_data)
        return self._completed

    def cancel(self) -> None:
        """Ask the server to stop the running statement; never waits for a network that does not answer."""
        from .canceller import Canceller

        if self._canceller is None:
            self._canceller = Canceller(self._library)
        self._canceller.ask(self._handle)

    def close(self) -> None:
        """End the session; the server rolls back whatever is open."""
        if self._canceller is not None:
            self._canceller.join()
        if self._handle:
            self._library.PQfinish(self._handle)
            self._handle = None

    def _send(self, text: bytes) -> None:
        self._notices.clear()
        self._completed = 0
        if not self._handle or not self._library.PQsendQuery(self._handle, text):
            raise ConnectionLost(self._message())

    def _collect(self, watcher: Watcher | None, copy_data: Iterable[bytes] | None) -> list[list[Row]]:
        """Take results until the server is ready for the next message; return the rows of the engine's own."""
        rows: list[list[Row]] = []
        error: ServerError | None = None
        self._notices.wanted = watcher is not None
        try:
            while True:
                self._await_result(watcher)
                result = self._library.PQgetResult(self._handle)
                status = self._library.PQresultStatus(result) if result else None
                if watcher is not None:
                    self._notices.tell(
                        watcher, self._completed + (status in (libpq.COMMAND_OK, libpq.TUPLES_OK))
                    )
                if not result:
                    break
                try:
                    if status in (libpq.COMMAND_OK, libpq.TUPLES_OK):
                        self._completed += 1
                        if watcher is None:
                            rows.append(self._rows(result))
                        else:
                            watcher.done(self._completed)
                    elif status == libpq.FATAL_ERROR:
                        error = error or ServerError(libpq.fields(self._library, result), self._completed)
                    elif status in (libpq.COPY_IN, libpq.COPY_OUT):
                        self._copy(status, copy_data, watcher)
                finally:
                    self._library.PQclear(result)
        except KeyboardInterrupt:
            self._abandon()
            raise
        if self.is_lost:
            raise ConnectionLost(str(error) if error else self._message()) from error
        if error is not None:
            raise error
        return rows or [[]]

    def _await_result(self, watcher: Watcher | None) -> None:
        """Wait until a result can be taken without blocking; a signal cancels the statement."""
        if not self._library.PQisBusy(self._handle):
            return  # of many short statements, most results are here already
        wait = _Wait(self, watcher)
        while self._library.PQisBusy(self._handle):
            if watcher is not None:
                self._notices.tell(watcher, self._completed)
            wait.step()
            if not self._library.PQconsumeInput(self._handle):
                return

    def _poll(self, deadline: float | None, pause: float | None = None, events: int = select.POLLIN) -> None:
        poll = select.poll()
        poll.register(self._library.PQsocket(self._handle), events)
        if self._interrupts is not None and deadline is None:
            poll.register(self._interrupts.fileno(), select.POLLIN)
        if deadline is None:
            poll.poll(None if pause is None else pause * 1000 + 1)
        elif not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self.close()
            raise ConnectionLost(f"the server did not end the statement within {_GRACE:.0f} s of being asked")

    def _abandon(self) -> None:
        """Cancel and wait a little, so that Ctrl-C in a library caller leaves nothing running."""
        self.cancel()
        deadline = time.monotonic() + _GRACE
        try:
            while self._library.PQisBusy(self._handle):
                self._poll(deadline)
                if not self._library.PQconsumeInput(self._handle):
                    return
        except ConnectionLost:
            pass

    def _rows(self, result: int) -> list[Row]:
        library = self._library
        columns = range(library.PQnfields(result))
        if not columns:
            return []
        return [
            [
                None
                if library.PQgetisnull(result, row, column)
                else library.PQgetvalue(result, row, column).decode("utf-8", "replace")
                for column in columns
            ]
            for row in range(library.PQntuples(result))
        ]

    def _copy(self, status: int, data: Iterable[bytes] | None, watcher: Watcher | None) -> None:
        """Give a COPY its data, or take what it sends."""
        from .copying import Copy

        copy = Copy(self._library, self._handle, _Wait(self, watcher))
        if status == libpq.COPY_IN:
            copy.feed(data)
        else:
            copy.drain()

    def _message(self) -> str:
        if not self._handle:
            return "the connection is closed"
        return str(self._library.PQerrorMessage(self._handle).decode("utf-8", "replace")).strip()


class _Wait:
    """A wait for the server: a signal cancels what runs there, and meanwhile somebody may look for blockers."""

    def __init__(self, connection: Connection, watcher: Watcher | None) -> None:
        self._connection = connection
        self._interrupts = connection._interrupts
        self._patience = watcher.patience if watcher is not None else None
        self._deadline: float | None = None
        if self._patience is not None:
            self._patience.restart()

    @property
    def is_cancelled(self) -> bool:
        """True once a signal came."""
        return self._deadline is not None

    def step(self, events: int = select.POLLIN) -> None:
        """Wait for something to happen; raise `ConnectionLost` when a cancelled statement does not end."""
        if self._deadline is None and self._interrupts is not None and self._interrupts.requested:
            self._deadline = time.monotonic() + _GRACE
            self._connection.cancel()
        if self._deadline is None and self._patience is not None:
            self._connection._poll(None, self._patience.remaining(), events)
            self._patience.look()
        else:
            self._connection._poll(self._deadline, events=events)
