"""What one transaction may use of the cache of decisions, and what it may add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache as once
from typing import Any, cast
from uuid import UUID

from psycopg import Connection
from psycopg.pq import TransactionStatus

from enterprise_ai._queries import queries
from enterprise_ai.authz.cache import DecisionCache, Key, facts_key, who_asks
from enterprise_ai.authz.decisions import Decision
from enterprise_ai.identity.contexts import Context, context_of

_sql = queries("enterprise_ai.authz")


class Memory:
    """The decisions of one context, until its transaction changes rights itself.

    From then on it neither uses nor adds any: nobody else sees yet what this transaction sees. What its statements did
    is asked of the database, once after any number of them.
    """

    def __init__(self, cache: DecisionCache, began: int, conn: Connection[Any], context: Context) -> None:
        self._cache, self._began, self._conn, self._context = cache, began, conn, context
        self._tenant = cache.tenant(context.tenant_id)
        self._who = who_asks(context)
        self._is_usable = True
        self.statements = self.settled = 0

    def key(
        self, permission: str, resource_id: UUID | None, user_id: UUID | None, request: Mapping[str, Any]
    ) -> Key | None:
        """The key of a question; None when its answer hangs on more than is known here."""
        # Whether somebody may ask about another is a decision of its own, which the answer does not tell of.
        if user_id is not None and self._context.user_id is not None and user_id != self._context.user_id:
            return None
        return (self._who, permission, resource_id, user_id, facts_key(request) if request else None)

    def find(self, key: Key) -> Decision | None:
        """What is remembered, if this transaction may use it; after `settle`, where statements were run since."""
        return self._cache.find(key, self._tenant) if self._is_usable else None

    def ask(self, key: Key, values: Mapping[str, Any]) -> Decision:
        """Ask the database, and remember the answer where that is right."""
        asked_at = self._cache.clock()
        row = self._conn.execute(_sql["evaluate_with_time"], values).fetchone()
        assert row is not None
        decision = Decision(*row[:-1])
        if self._is_usable:
            self.settled = self.statements  # that one was only a question
            self._cache.keep(key, self._began, asked_at, decision, row[-1])
        return decision

    def settle(self) -> None:
        """Find out what the statements since the last time have done."""
        if self._is_usable:
            row = self._conn.execute(
                _sql["has_changed_rights"], {"tenant_id": self._context.tenant_id}
            ).fetchone()
            assert row is not None
            has_changed, fields = row
            self._is_usable = not has_changed and fields is not None and context_of(fields) == self._context
        self.settled = self.statements

    def end(self) -> bool:
        """Whether what this transaction is about to commit changes rights, or may."""
        if self._conn.info.transaction_status != TransactionStatus.INTRANS:
            return False  # it has failed, and will be rolled back
        if self.statements != self.settled:
            self.settle()
        return not self._is_usable

    def forget(self) -> None:
        """The changes of this transaction are made: what others remember of before is not right any more."""
        self._cache.forget(self._context.tenant_id)

    def distrust(self) -> None:
        """Use the cache no more in this transaction: something runs that cannot be followed."""
        self._is_usable = False


@contextmanager
def watched(conn: Connection[Any], memory: Memory) -> Iterator[None]:
    """Count the statements of a connection's cursors for a memory."""
    cursors, server_cursors = conn.cursor_factory, conn.server_cursor_factory
    counting = _counting(cast(Any, cursors))

    def counted(*arguments: Any, **options: Any) -> Any:
        cursor = counting(*arguments, **options)
        cursor.memory = memory
        return cursor

    def uncounted(*arguments: Any, **options: Any) -> Any:
        memory.distrust()
        return server_cursors(*arguments, **options)

    conn.cursor_factory, conn.server_cursor_factory = counted, uncounted  # type: ignore[assignment]
    try:
        yield
    finally:
        conn.cursor_factory, conn.server_cursor_factory = cursors, server_cursors


@once
def _counting(base: type[Any]) -> type[Any]:
    """The class of cursors like those of the connection, which count what they run."""

    class Counting(base):  # type: ignore[misc]
        memory: Memory

        def execute(self, *arguments: Any, **options: Any) -> Any:
            self.memory.statements += 1
            return super().execute(*arguments, **options)

        def executemany(self, *arguments: Any, **options: Any) -> Any:
            self.memory.statements += 1
            return super().executemany(*arguments, **options)

        def stream(self, *arguments: Any, **options: Any) -> Any:
            self.memory.distrust()
            return super().stream(*arguments, **options)

        def copy(self, *arguments: Any, **options: Any) -> Any:
            self.memory.statements += 1
            return super().copy(*arguments, **options)

    return Counting
