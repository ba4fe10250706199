# ruff: noqa: S608  only numbers are put into these queries
"""How one runner at a time is let in: an advisory lock on a connection that does nothing else."""

from __future__ import annotations

import os
import time

from . import sql
from .connection import Connection
from .digest import sha256
from .errors import (
    ConnectionFailed,
    ConnectionLost,
    LockNotObtained,
    MigrateError,
    ServerError,
    read_only,
)
from .history import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Union

    from .files import MigrationFile
    from .history import History
    from .interrupts import Interrupts
    from .pooler import TransactionLock
    from .results import Running
    from .target import Target

    #: What keeps other runners out, with or without a pooler in between.
    Lock = Union["RunnerLock", TransactionLock]

#: `application_name` of the lock's connection; `status` reads the running file out of it.
NAME = "enterprise-ai migrate"
#: A small file needs no second proof, within so many seconds, that the lock is held, and is not announced.
_RECENT = 0.5


def key_of(schema: str) -> int:
    """Return the lock's key: PostgreSQL keeps advisory locks per database, we keep them per history table."""
    digest = sha256(f"enterprise-ai {schema}.{TABLE}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def jitter() -> float:
    """Return a number from 0.5 to 1 by chance (`random` would cost a tenth of a no-op run to import)."""
    return 0.5 + os.urandom(1)[0] / 510


class RunnerLock:
    """The lock, held from `acquire` until `release` or the end of its connection."""

    def __init__(self, target: Target, interrupts: Interrupts | None = None) -> None:
        # Interrupts are left out: a signal must not cancel the lock's own short queries.
        self._connection = Connection(target)
        self._interrupts = interrupts
        self._asked = False
        self._asked_at = 0.0
        self._what = ""  # runs now, and nobody was told yet
        self.schema = ""
        session, standby = self._connection.query(
            "select pg_catalog.pg_backend_pid()::text, pg_catalog.pg_is_in_recovery()::text"
        )[0]
        if int(session or 0) != self._connection.pid:
            self._connection.close()
            raise _behind_pooler(target)
        if standby == "true":  # one of several hosts: a lock would be had there, and would keep nobody out
            self._connection.close()
            raise read_only()
        settings = f"set search_path = pg_catalog; set application_name = '{NAME}'"
        if self._connection.version >= 140000:
            settings += "; set idle_session_timeout = 0"
        self._connection.query(settings)

    def acquire(self, schema: str, wait: float, say: Callable[[str], None]) -> None:
        """Take the lock for the history in this schema; raise `LockNotObtained` after `wait` seconds."""
        deadline = time.monotonic() + wait
        pause, told = 0.02, False
        while not self._try(key_of(schema)):
            found = running(self._connection, schema)
            holder = describe(found) if found is not None else "it just ended"
            if time.monotonic() >= deadline:
                raise LockNotObtained(
                    f"another runner held the migration lock for more than {wait:.0f} s: {holder}",
                    state="Nothing was run.",
                    advice="Run again later, or wait longer with --wait SECONDS.",
                )
            if found is not None and not told:
                told = True
                say(f"waiting for another runner: {holder}")
            # Jitter, so that many waiters do not ask in step; a blocking lock would hold a snapshot and
            # so deadlock with CREATE INDEX CONCURRENTLY in the other runner.
            self._sleep(min(2 * pause * jitter(), max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 0.5)
        self.schema = schema

    def move(self, schema: str, wait: float, say: Callable[[str], None]) -> None:
        """Give the lock up for the one of another schema."""
        self._connection.query(f"select pg_advisory_unlock({key_of(self.schema)})")
        self.acquire(schema, wait, say)

    def announce(self, what: str) -> None:
        """Note what runs now; others read it when it takes longer than a moment, or nobody was told for one."""
        self._what = what
        if time.monotonic() - self._asked_at > _RECENT:
            self.tell()
        else:
            self.confirm()

    def tell(self) -> None:
        """Begin to say, for others to read, what runs now; proves the lock as `ask` does."""
        if self._what:
            self._ask(f"select set_config('application_name', {sql.quote(NAME + ' ' + self._what)}, false)")
            self._what = ""

    def ask(self) -> None:
        """Begin to ask whether the lock's session is alive, and with it the lock; a question just asked will do."""
        if time.monotonic() - self._asked_at > _RECENT:
            self._ask("select 1")

    def confirm(self) -> None:
        """Wait for the answer, or see that the server has not ended the session; raise `MigrateError` when it has."""
        try:
            if self._asked:
                self._asked = False
                self._connection.gather()
            elif not self._connection.is_open():
                raise ConnectionLost("the server has ended its session")
        except (ConnectionLost, ServerError) as error:
            raise lost(error) from error

    def release(self) -> None:
        """Let the next one in."""
        self._connection.close()

    def begin(self, connection: Connection) -> None:
        """Nothing to do before a change of the history: the session holds the lock."""

    end = begin

    def claim(self) -> str:
        """SQL that is 'true': a transaction of a file needs no lock of its own."""
        return "'true'"

    def check(self, connection: Connection, before: History, file: MigrationFile) -> None:
        """Nothing can have moved on while the session holds the lock."""

    def pause(self, connection: Connection) -> None:
        """Nobody is waited for while the session holds the lock."""

    def lend(self) -> Connection | None:
        """Lend the connection, which is idle, for a short query; raise `MigrateError` when it is lost."""
        self.tell()
        self.confirm()
        return self._connection

    def _ask(self, text: str) -> None:
        self.confirm()
        try:
            self._connection.send(text)
            self._asked = True
            self._asked_at = time.monotonic()
        except ConnectionLost as error:
            raise lost(error) from error

    def _try(self, key: int) -> bool:
        return self._connection.query(f"select pg_try_advisory_lock({key})::text")[0][0] == "true"

    def _sleep(self, seconds: float) -> None:
        if self._interrupts is None:
            time.sleep(seconds)
        else:
            self._interrupts.sleep(seconds)
            self._interrupts.check("Nothing was run.")


def _behind_pooler(target: Target) -> MigrateError:
    from .pooler import DIRECT

    return ConnectionFailed(
        f"{target.describe()} is a connection pooler, through which this command is not safe: "
        "the lock that lets one runner in at a time would not hold",
        state="Nothing was run.",
        advice=DIRECT,
    )


def lost(error: Exception) -> MigrateError:
    """Say that the lock's connection broke."""
    return MigrateError(
        f"the connection that holds the migration lock was lost: {error}",
        state="The running file was rolled back; the ones before it are done.",
        advice="Run again.",
    )


def running(connection: Connection, schema: str) -> Running | None:
    """Return who holds the lock of this history, as far as the login may see it; None when nobody does."""
    key = key_of(schema) & 0xFFFFFFFFFFFFFFFF
    held = (
        "pg_locks as l where l.locktype = 'advisory' and l.granted and l.objsubid = 1 "
        f"and l.classid::bigint = {key >> 32} and l.objid::bigint = {key & 0xFFFFFFFF} "
        "and l.database = (select oid from pg_database where datname = current_database())"
    )
    # Mostly nobody does, and who works on the server costs the server more to put together than its locks.
    if not connection.query(f"set local search_path = pg_catalog; select 1 from {held}"):
        return None
    from .results import Running

    rows = connection.query(
        "set local search_path = pg_catalog; "
        "select a.pid::text, a.usename::text, a.application_name, a.client_addr::text, "
        "floor(extract(epoch from clock_timestamp() - coalesce(a.state_change, a.backend_start)))::text "
        f"from pg_stat_activity as a where a.pid in (select l.pid from {held})"
    )
    if not rows:
        return None
    pid, user, application, address, seconds = rows[0]
    application = application or ""
    what = application[len(NAME) :].strip() if application.startswith(NAME) else ""
    return Running(int(pid or 0), user or "", what, int(seconds) if seconds else None, address)


def describe(holder: Running) -> str:
    """Put the holder of the lock into words."""
    text = f"pid {holder.pid}, user {holder.user}"
    if holder.address:
        text += " at " + holder.address
    if holder.file:
        text += ", running " + holder.file
        if holder.seconds is not None:
            text += f" for {holder.seconds} s"
    return text
