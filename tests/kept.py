"""Connections that stay between tests, and with them the plans they have made: to make those takes longer than a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row


class Kept:
    """The idle connections to each URL."""

    def __init__(self) -> None:
        self._idle: dict[str, list[psycopg.Connection[Any]]] = {}

    @contextmanager
    def lend(self, url: str) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection for as long as the block lasts; what was not committed by then is rolled back."""
        idle = self._idle.setdefault(url, [])
        conn = idle.pop() if idle else psycopg.connect(url)
        try:
            yield conn
            if conn.closed or conn.autocommit:
                return
            conn.rollback()
            conn.row_factory = tuple_row
            idle.append(conn)
        finally:
            if conn not in idle:
                conn.close()

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
