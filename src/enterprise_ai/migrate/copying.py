"""How the data of a COPY goes to the server and comes from it, while signals are heeded."""

from __future__ import annotations

import ctypes
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

    from .connection import _Wait


class Copy:
    """The data of one COPY; libpq would block on it for as long as the server takes, whatever signal comes."""

    def __init__(self, library: Any, handle: Any, wait: _Wait) -> None:
        self._library = library
        self._handle = handle
        self._wait = wait

    def feed(self, data: Iterable[bytes] | None) -> None:
        """Send the data, and say that it ends; a signal ends it early."""
        # When this raises, the connection is closed or about to be: nothing is set back then.
        self._library.PQsetnonblocking(self._handle, 1)
        refusal = None if data is not None else b"the file holds no data for this COPY"
        for piece in data or ():
            if self._library.PQputCopyData(self._handle, piece, len(piece)) != 1:
                break
            self._flush()
            if self._wait.is_cancelled:
                refusal = b"stopped by a signal"
                break
        self._library.PQputCopyEnd(self._handle, refusal)
        self._flush()
        self._library.PQsetnonblocking(self._handle, 0)

    def drain(self) -> None:
        """Take and drop what the server sends."""
        buffer = ctypes.c_void_p()
        while True:
            length = self._library.PQgetCopyData(self._handle, ctypes.byref(buffer), 1)
            if length > 0:
                self._library.PQfreemem(buffer)
            elif length < 0:
                return
            else:
                self._wait.step()
                if not self._library.PQconsumeInput(self._handle):
                    return

    def _flush(self) -> None:
        """Wait until the server has taken what was sent; what it sends meanwhile is read, or both would wait."""
        while self._library.PQflush(self._handle) == 1:
            self._wait.step(select.POLLIN | select.POLLOUT)
            if not self._library.PQconsumeInput(self._handle):
                return
