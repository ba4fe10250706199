"""Whether a signal has asked the run to stop, in a form that a wait on a socket can watch."""

from __future__ import annotations

import os
import select
import signal

from .errors import Interrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, SIGINT, SIGTERM and SIGHUP only leave a note, which is read where the run can stop.

    A second signal of the same kind acts at once, as if we were not there.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._read, self._write = os.pipe()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # nohup asked us not to mind
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Become readable once a signal came."""
        return self._read

    def sleep(self, seconds: float) -> None:
        """Sleep, or return early when a signal comes."""
        select.select([self._read], [], [], seconds)

    def check(self, state: str = "") -> None:
        """Raise `Interrupted` when a signal came."""
        if self.requested:
            name = signal.Signals(self.requested).name
            raise Interrupted(f"stopped by {name}", signal=self.requested, state=state)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.requested = number
        signal.signal(number, signal.SIG_DFL)
        os.write(self._write, b"!")
