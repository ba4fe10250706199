"""The connection that files run on, and how each file finds it as if it were new."""

from __future__ import annotations

import re

from . import libpq
from .connection import Connection
from .errors import ConnectionLost, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .interrupts import Interrupts
    from .target import Target

# What DISCARD ALL does; that command itself is refused in a message with others.
_RESET = (
    "reset session authorization; reset all; close all; unlisten *; deallocate all; "
    "select pg_catalog.pg_advisory_unlock_all(); discard plans; discard sequences; discard temp"
)

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

_WRITES = "pg_catalog.pg_stat_get_xact_tuples_{}('pg_catalog.pg_db_role_setting'::regclass)"
#: SQL for how often the settings of database and role were changed, which a session reads only when it starts.
ROLE_SETTINGS = "pg_catalog.concat_ws('/', {}, {}, {})".format(
    _WRITES.format("inserted"), _WRITES.format("updated"), _WRITES.format("deleted")
)


class Session:
    """A connection for files, replaced by a new one when the old one could still show where it has been."""

    def __init__(self, target: Target, interrupts: Interrupts | None) -> None:
        self.target = target
        self._interrupts = interrupts
        #: Behind a pooler the server's session outlives ours, and is left as it was found.
        self.pooled = False
        self._connection: Connection | None = None
        self._role_settings: str | None = None
        self._marked = False

    def adopt(self, connection: Connection) -> None:
        """Use a connection that is open already and as good as new."""
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The connection, opened when there is none."""
        if self._connection is None:
            self._connection = Connection(self.target, interrupts=self._interrupts)
            self._role_settings = None
            self._marked = False
        return self._connection

    def saw(self, text: str) -> None:
        """Look through a text that is about to run for what a reset cannot undo."""
        if self._marked:
            return
        lower = text.lower()
        if any(one.search(lower) for one in _PERHAPS) and _LASTING.search(text):
            self._marked = True

    def begins_with(self, role_settings: str | None) -> None:
        """Note how often role settings were changed when the file's transaction began."""
        self._role_settings = role_settings

    def saw_role_settings(self, settings: str | None) -> None:
        """Compare with when the transaction began: what the file changed there, the next one must start with."""
        if settings != self._role_settings:
            self._marked = True

    def commit(self) -> None:
        """Commit, and make the session fresh in the same message; raise what the COMMIT itself raises."""
        connection = self.connection
        try:
            connection.query("commit" if self._marked and not self.pooled else "commit; " + _RESET)
        except ServerError as error:
            if error.completed == 0:
                raise
            self._marked = True  # committed, but not clean
        if self._marked:
            self.close()

    def rollback(self) -> None:
        """Undo what is open and leave the session behind; nothing to do when the connection is gone."""
        if self._connection is not None and not self._connection.is_lost:
            try:
                if self._connection.transaction_status != libpq.IDLE:
                    self._connection.query("rollback; " + _RESET if self.pooled else "rollback")
            except (ConnectionLost, ServerError):
                pass  # the server rolls back by itself when the session ends
        self.close()

    def close(self) -> None:
        """End the session; the next file begins with a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
