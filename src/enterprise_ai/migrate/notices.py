"""Which statement of a message a notice belongs to."""

from __future__ import annotations

from . import libpq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .connection import Watcher


class Notices:
    """Keeps the notices of a connection until they can be told."""

    def __init__(self, library: Any, handle: Any, completed: Callable[[], int]) -> None:
        self._library = library
        self._completed = completed
        self.wanted = False
        # Pairs: the fields, and the statement's index or None while it is open which one sent the notice.
        self._kept: list[tuple[dict[str, str], int | None]] = []
        # The callback object must outlive the connection, or the library would call into freed memory.
        self._receiver = libpq.NoticeReceiver(self._receive)
        library.PQsetNoticeReceiver(handle, self._receiver, None)
        self._handle = handle

    def clear(self) -> None:
        """Forget what was not told."""
        self._kept.clear()

    def tell(self, watcher: Watcher, index: int) -> None:
        """Hand on the notices kept so far; those whose statement was open belong to `index`."""
        for notice, known in self._kept:
            watcher.notice(index if known is None else known, notice)
        self._kept.clear()

    def _receive(self, _: Any, result: int) -> None:
        """Keep a notice, and find out whose it is.

        libpq hands over a notice that follows a finished statement before that statement's result was
        fetched.  Asking for single-row mode is accepted only while the statement is still running, so the
        answer tells the two cases apart; in the other one the next result decides (`tell`).
        """
        if self.wanted:
            still_running = self._library.PQsetSingleRowMode(self._handle)
            self._kept.append(
                (libpq.fields(self._library, result), self._completed() if still_running else None)
            )
