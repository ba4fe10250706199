"""How a running statement is stopped on the server."""

from __future__ import annotations

import ctypes
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How long a request is waited for before its sender ends: PgBouncer 1.18 dies of one that breaks off.
_PATIENCE = 1.0


class Canceller:
    """Asks the server to stop what one connection runs; the network that does not answer is not waited for."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._asked_at: float | None = None
        self._thread: threading.Thread | None = None

    def ask(self, handle: Any) -> None:
        """Ask, once for a while: what is sent after it, a ROLLBACK above all, shall not be stopped too."""
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at < _PATIENCE:
            return
        self._asked_at = now
        library, request = self._library, self._library.PQgetCancel(handle)

        def send() -> None:
            library.PQcancel(request, ctypes.create_string_buffer(256), 256)
            library.PQfreeCancel(request)

        if request:
            self._thread = threading.Thread(target=send, daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait a little for a request that is still under way."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            self._thread = None
