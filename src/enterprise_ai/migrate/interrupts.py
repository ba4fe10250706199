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


class Unwinding:
    """While entered, a signal that would end the process ends the block instead, so that it gives back what it holds.

    Then `Interrupted` is raised, with this `state`.  A second signal of the same kind acts at once.
    """

    def __init__(self, state: str, *, signals: bool = True) -> None:
        self._state = state
        self._signals = _SIGNALS if signals else ()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in self._signals:
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = before
                signal.signal(number, self._stop)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if isinstance(error, _Stopped) and error.number in self._before:
            name = signal.Signals(error.number).name
            raise Interrupted(f"stopped by {name}", signal=error.number, state=self._state) from None

    def _stop(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Stopped(number)


class _Stopped(KeyboardInterrupt):
    """A signal came while a block was entered that unwinds."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
