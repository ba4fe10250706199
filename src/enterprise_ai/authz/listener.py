"""The connection that hears of changes to rights, and tells a cache of decisions."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import Connection, Notify

from enterprise_ai.authz.cache import DecisionCache

CHANNEL = "enterprise_ai_authz"


class Listener:
    """Listens in a thread of its own, on a connection of its own, and connects again when that is lost.

    The connection has to reach the server itself: a pooler that hands connections on after each transaction forgets
    who listens.
    """

    def __init__(self, cache: DecisionCache, database: str, *, retry_after: float = 0.5) -> None:
        self._cache, self._database, self._retry_after = cache, database, retry_after
        self._closing = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="enterprise-ai-authz-listener", daemon=True)
        self._heard = threading.Condition()

    def start(self) -> Self:
        """Begin to listen; the cache is used once it does."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening; the cache is not used any more."""
        self._closing.set()
        self._wake.send(b".")
        if self._thread.is_alive():
            self._thread.join()
        self._wake.close()
        self._woken.close()

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until it listens; False when it does not in time."""
        with self._heard:
            return self._heard.wait_for(lambda: self._cache.is_live, timeout)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._connected() as conn:
                    self._listen(conn)
            except (psycopg.Error, OSError):
                pass  # said by the cache not being used; the next attempt follows
            finally:
                self._cache.lose()
            self._closing.wait(self._retry_after)

    def _connected(self) -> Connection[Any]:
        patience = min(max(1, round(self._cache.staleness)), 3600)
        return psycopg.connect(
            self._database,
            autocommit=True,
            connect_timeout=patience,
            tcp_user_timeout=1000 * patience,
            application_name="enterprise-ai decision cache",
        )

    def _listen(self, conn: Connection[Any]) -> None:
        conn.add_notify_handler(self._hear)
        conn.execute(f"listen {CHANNEL}")
        # What was remembered before this moment may have been changed without anybody listening.
        self._cache.forget_all()
        with selectors.DefaultSelector() as selector:
            selector.register(conn.fileno(), selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closing.is_set():
                # Whatever was committed before this statement began has been heard of when it returns.
                asked_at = self._cache.clock()
                conn.execute("select 1")
                self._cache.hear_until(asked_at + self._cache.staleness)
                with self._heard:
                    self._heard.notify_all()
                selector.select(min(self._cache.staleness / 3, 3600))

    def _hear(self, notify: Notify) -> None:
        try:
            tenant_id = UUID(notify.payload.partition(" ")[0])
        except ValueError:
            return  # not sent by the database's own functions
        self._cache.forget(tenant_id)
