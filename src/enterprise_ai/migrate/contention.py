"""Who stands in the way of a statement that waits for a lock."""

from __future__ import annotations

import time

from .connection import Connection
from .errors import ConnectionLost, MigrateError
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .lock import Lock
    from .target import Target

#: A session that holds what another one waits for; None is what this login may not see.
#: `pid` is 0 for a prepared transaction, which has no session.
Blocker = NamedTuple(
    "Blocker",
    [
        ("pid", int),
        ("user", "str | None"),
        ("application", "str | None"),
        ("state", "str | None"),
        ("transaction_seconds", "int | None"),
        ("query", "str | None"),
    ],
)

#: How long an answer may take: a pooler may have no server session left to give it.
_ANSWER = 0.5
#: How long a statement may take, in seconds, before somebody looks whether it waits; then twice as long, …
FIRST_LOOK, LAST_LOOK = 0.02, 1.0

_QUERY = """
set local search_path = pg_catalog;
select b.pid::text, a.usename::text, a.application_name, a.state,
       floor(extract(epoch from clock_timestamp() - a.xact_start))::bigint::text,
       case when a.query <> '<insufficient privilege>' then left(regexp_replace(a.query, '\\s+', ' ', 'g'), 200) end
from pg_stat_activity as waiting
cross join lateral unnest(pg_blocking_pids(waiting.pid)) as b (pid)
left join pg_stat_activity as a on a.pid = b.pid
where waiting.pid = {pid} and coalesce(waiting.wait_event_type, 'Lock') = 'Lock'  -- null: not for us to see
order by a.xact_start nulls last
"""


def blockers(connection: Connection, pid: int) -> tuple[Blocker, ...]:
    """Return the sessions for which this one waits now, the oldest transaction first; raise `ConnectionLost`."""
    connection.send(_QUERY.format(pid=pid))
    if not connection.answers_within(_ANSWER):
        raise ConnectionLost("no answer in time")
    found = []
    for blocker, user, application, state, seconds, query in connection.gather():
        one = Blocker(
            int(blocker or 0), user, application or None, state, int(seconds) if seconds else None, query
        )
        if one not in found:
            found.append(one)
    return tuple(found)


class Lookout:
    """Looks out, while a statement runs, for whom it waits; what was seen last is kept.

    After a lock timeout the server no longer knows who held the lock, so it must be asked while the statement
    waits: through the connection of the migration lock, which is idle, or one of our own behind a pooler.
    """

    def __init__(self, lock: Lock, target: Target) -> None:
        self._lock = lock
        self._target = target
        self._own: Connection | None = None
        self.pid = 0
        self.seen: tuple[Blocker, ...] = ()

    def look(self) -> None:
        """Ask once; a failure to see is not a failure of the file."""
        if not self.pid:
            return
        try:
            found = blockers(self._connection(), self.pid)
        except MigrateError:
            self.pid = 0
            self.close()
            return
        if found:
            self.seen = found

    def close(self) -> None:
        """End the connection of our own, if there is one."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def _connection(self) -> Connection:
        lent = self._lock.lend()
        if lent is not None:
            return lent
        if self._own is None:
            self._own = Connection(self._target)
        return self._own


class Patience:
    """When to look next: soon at first, then ever less often, for looking costs the server something too."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self.restart()

    def restart(self) -> None:
        """Begin again: something has moved."""
        self._pause = FIRST_LOOK
        self._next = time.monotonic() + self._pause

    def remaining(self) -> float:
        """Return how many seconds are left until the next look."""
        return max(0.0, self._next - time.monotonic())

    def look(self) -> None:
        """Look, if it is time."""
        if self.remaining() > 0:
            return
        self._look()
        self._pause = min(self._pause * 2, LAST_LOOK)
        self._next = time.monotonic() + self._pause


def describe(blocker: Blocker) -> str:
    """Put a blocker into words, and how to end it."""
    if not blocker.pid:
        return "a prepared transaction (see pg_prepared_xacts; COMMIT PREPARED or ROLLBACK PREPARED ends it)"
    words = [f"pid {blocker.pid}"]
    if blocker.user:
        words.append(f"user {blocker.user}")
    if blocker.application:
        words.append(f"application {blocker.application}")
    if blocker.state:
        words.append(blocker.state)
    if blocker.transaction_seconds is not None:
        words.append(f"transaction open for {blocker.transaction_seconds} s")
    if blocker.query:
        words.append(("running: " if blocker.state == "active" else "last query: ") + blocker.query)
    elif not blocker.state:
        words.append("more is shown to members of pg_monitor")
    return ", ".join(words)


def report(seen: tuple[Blocker, ...]) -> list[str]:
    """Name whom a file waited for in vain, in lines for a person."""
    lines = ["Blocked by " + describe(one) for one in seen]
    ends = [f"SELECT pg_terminate_backend({one.pid});" for one in seen if one.pid]
    if ends:
        lines.append("It may be ended with:  " + "  ".join(ends[:3]))
    return lines
