"""The connection that files run on, and how each file finds it as if it were new."""

from __future__ import annotations

import re

from . import ledger as _ledger
from . import libpq
from .connection import Connection
from .errors import ConnectionLost, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .connection import Row
    from .history import History
    from .interrupts import Interrupts
    from .target import Target

# What DISCARD ALL does; that command itself is refused in a message with others.  Most of it comes before the
# COMMIT, so that the next transaction begins with fresh defaults.  Prepared statements of a file are counted
# instead (`ledger.STATE`), for two are ours and are used again; advisory locks are freed by `ledger.mark`.
_BEFORE = ["reset all", "close all", "unlisten *", "discard sequences"]
_AFTER = ["discard temp"]
_UNLOCK = "select pg_catalog.pg_advisory_unlock_all()"
_AFTER_POOLED = ["reset session authorization", *_BEFORE, *_AFTER, _UNLOCK, "deallocate all", "discard plans"]

# What even DISCARD ALL leaves behind: a custom setting goes on existing (empty), a loaded library and a
# random seed stay.  A file that mentions one of these makes the next one start on a new connection.
_LASTING = re.compile(
    r"set_config|setseed|\bload\b|\bset\s+(?:session\s+|local\s+)?[a-z_]\w*\s*\."
    r"|\balter\s+(?:role|user|database|system)\b",
    re.IGNORECASE,
)
# The same without the care for words and case: in megabytes of data this is found, or not, ten times as fast.
_PERHAPS = (
    re.compile("set_config"),
    re.compile("setseed"),
    re.compile(r"load\b"),
    re.compile(r"set\s"),
    re.compile(r"alter\s"),
)


class Session:
    """A connection for files, replaced by a new one when the old one could still show where it has been."""

    def __init__(self, target: Target, interrupts: Interrupts | None) -> None:
        self.target = target
        self._interrupts = interrupts
        #: Behind a pooler the server's session outlives ours, and is left as it was found.
        self.pooled = False
        #: Whether the engine's statements are to be prepared, and whether they are.
        self.prepares = True
        self.is_prepared = False
        self._connection: Connection | None = None
        self._state: str | None = None
        self._marked = False
        self._opened: tuple[str, Row] | None = None

    def adopt(self, connection: Connection) -> None:
        """Use a connection that is open already and as good as new."""
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The connection, opened when there is none."""
        if self._connection is None:
            self._connection = Connection(self.target, interrupts=self._interrupts)
            self._state, self._opened = None, None
            self._marked = self.is_prepared = False
        return self._connection

    def saw(self, text: str) -> None:
        """Look through a text that is about to run for what a reset cannot undo."""
        lower = text.lower()
        if "deallocate" in lower or "discard" in lower:  # takes ours away too
            self._marked, self.is_prepared = True, False
        if not self._marked and any(one.search(lower) for one in _PERHAPS) and _LASTING.search(text):
            self._marked = True

    def begin(self, opening: str, history: History, claim: str) -> Row:
        """Begin a transaction, unless `finish` did so already; return what `ledger.mark` says of it."""
        if self._opened is not None:
            (begun, row), self._opened = self._opened, None
            if begun == opening:
                return row
            self.connection.query("rollback")
        connection, prepared = self.connection, ""
        if self.prepares and not self.pooled and not self.is_prepared:
            self.is_prepared, prepared = True, _ledger.prepare(history) + "; "
        return connection.query(f"{prepared}{opening}; {self.mark(history, claim)}")[0]

    def mark(self, history: History, claim: str) -> str:
        """SQL for what tells the transaction from every other one."""
        return f"execute {_ledger.MARK}" if self.is_prepared else _ledger.mark(history, claim)

    def begins_with(self, state: str | None) -> None:
        """Note what the session holds when the file's transaction begins."""
        self._state = state

    def finish(self, statements: Sequence[str], following: str | None, history: History) -> None:
        """Run the last statements of a transaction and commit, make the session fresh, begin the next: one message.

        The last of the statements returns the state of the session; raise what one of them or the COMMIT raises.
        """
        connection = self.connection
        chained = following is not None and self.is_prepared and not self._marked
        if self.pooled:
            sent = [*statements, "commit", *_AFTER_POOLED]
        elif self._marked:
            sent = [*statements, "commit"]
        else:
            sent = [*statements, *_BEFORE, "commit", *_AFTER]
            sent += [following or "", self.mark(history, "")] if chained else [_UNLOCK]
        try:
            rows = connection.query_each(sent)
            if rows[len(statements) - 1][0][0] != self._state:
                self._marked = True  # what the file changed there, the next one must start with
        except ServerError as error:
            if error.completed <= sent.index("commit"):
                raise
            self._marked = True  # committed, but not clean
        if self._marked:
            self.close()
        elif chained:
            self._opened = (following or "", rows[-1][0])

    def leave(self) -> None:
        """End a transaction that `finish` began for a file that does not come."""
        if self._opened is not None:
            self.rollback()

    def rollback(self) -> None:
        """Undo what is open and leave the session behind; nothing to do when the connection is gone."""
        if self._connection is not None and not self._connection.is_lost:
            try:
                if self._connection.transaction_status != libpq.IDLE:
                    self._connection.query("; ".join(("rollback", *(_AFTER_POOLED if self.pooled else ()))))
            except (ConnectionLost, ServerError):
                pass  # the server rolls back by itself when the session ends
        self.close()

    def close(self) -> None:
        """End the session; the next file begins with a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection, self._opened = None, None
