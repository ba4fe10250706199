# ruff: noqa: S608  only numbers and quoted literals are put into these queries
"""How to be safe behind a connection pooler, which may lend another server session to each transaction.

There a lock of the session does not exclude anybody, and what is set for the session stays behind for a
stranger.  So the lock is taken inside the transaction of each file, the history is read again under it, and
everything that is set ends with the transaction.
"""

from __future__ import annotations

import random
import time

from . import history as _history
from . import sql
from .errors import FileError, HistoryDisagrees, LockNotObtained
from .lock import NAME, describe, key_of, running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from .checks import Checked
    from .connection import Connection
    from .files import MigrationFile
    from .history import History
    from .interrupts import Interrupts


class Occupied(Exception):
    """Another runner holds the lock, so this transaction must not go on."""


class Overtaken(Exception):
    """Another runner has run this file in the meantime."""


class TransactionLock:
    """The lock of a run, taken anew in each transaction; it keeps off a `RunnerLock` too: the key is the same."""

    def __init__(self, interrupts: Interrupts | None) -> None:
        self._interrupts = interrupts
        self._wait = 0.0
        self._say: Callable[[str], None] = lambda _: None
        self._deadline: float | None = None
        self._pause = 0.02
        self._what = ""
        self.schema = ""

    def acquire(self, schema: str, wait: float, say: Callable[[str], None]) -> None:
        """Note which lock is meant, and how long each transaction may wait for it."""
        self.schema, self._wait, self._say = schema, wait, say

    move = acquire

    def begin(self, connection: Connection) -> None:
        """Begin a transaction that holds the lock; raise `LockNotObtained`."""
        while connection.query("begin; select " + self.claim())[0][0] != "true":
            connection.query("rollback")
            self.pause(connection)
        self.proven()

    def end(self, connection: Connection) -> None:
        """Commit what `begin` began, and with it give up the lock."""
        connection.query("commit")

    def announce(self, what: str) -> None:
        """Note what runs next; the transaction that runs it says so to others."""
        self._what = what

    def claim(self) -> str:
        """SQL that takes the lock for this transaction, or says false, and tells others what runs in it."""
        name = sql.quote(f"{NAME} {self._what}".strip())
        return (
            f"(select pg_catalog.pg_try_advisory_xact_lock({key_of(self.schema)})::text "
            f"from pg_catalog.set_config('application_name', {name}, true))"
        )

    def check(self, connection: Connection, before: History, file: MigrationFile) -> None:
        """Read the history under the lock: raise `Overtaken` or `HistoryDisagrees` when it moved on."""
        self.proven()
        now = {row.name for row in _history.look(connection).applied}
        removed = [row.name for row in before.applied if row.name not in now]
        if removed:
            raise HistoryDisagrees(
                "another runner took {} out of the history meanwhile".format(", ".join(removed)),
                state=f"{file.name} was not run; the files before it are done.",
                advice="Run again.",
            )
        if file.name in now:
            raise Overtaken(file.name)

    def pause(self, connection: Connection) -> None:
        """Wait a little for the other runner, saying who it is; raise `LockNotObtained` when it takes too long."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._wait
            found = running(connection, self.schema)
            if found is not None:
                self._say("waiting for another runner: " + describe(found))
        if now >= self._deadline:
            found = running(connection, self.schema)
            holder = describe(found) if found is not None else "it just ended"
            raise LockNotObtained(
                f"another runner held the migration lock for more than {self._wait:.0f} s: {holder}",
                state="The file that waited for it was not run; the ones before it are done.",
                advice="Run again later, or wait longer with --wait SECONDS.",
            )
        self._sleep(min(self._pause * random.uniform(0.5, 1.5), max(0.0, self._deadline - now)))
        self._pause = min(self._pause * 1.5, 0.5)

    def proven(self) -> None:
        """Hear that the lock was obtained: the next wait is a new one."""
        self._deadline, self._pause = None, 0.02

    def ask(self) -> None:
        """Nothing needs to be asked or told: the lock lives and dies with the transaction, which tells of itself."""

    confirm = release = tell = ask

    def lend(self) -> Connection | None:
        """There is no connection of the lock's own."""
        return None

    def _sleep(self, seconds: float) -> None:
        if self._interrupts is None:
            time.sleep(seconds)
        else:
            self._interrupts.sleep(seconds)
            self._interrupts.check("The files before it are done; nothing else was started.")


def refuse_untransacted(checked: Sequence[Checked]) -> None:
    """Raise `FileError` for a file that a transaction-scoped lock cannot guard."""
    for one in checked:
        if not one.directives.transaction:
            raise FileError(
                f"{one.script.file.name} runs outside a transaction, which is not safe through a connection pooler",
                state="Nothing was run.",
                advice=DIRECT,
            )


#: What helps everything that a pooler is in the way of.
DIRECT = (
    "Connect to PostgreSQL itself (port 5432 as a rule) instead of the pooler:\n"
    "--database-url postgresql://USER:PASSWORD@HOST:5432/DATABASE"
)
