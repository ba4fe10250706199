"""How a server that is not up yet is waited for."""

from __future__ import annotations

import time

from .connection import Connection
from .errors import ConnectionFailed
from .target import LASTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .target import Target


def wait_for(target: Target, seconds: float, say: Callable[[str], None]) -> Connection:
    """Connect, trying again for so long while the server is not up yet."""
    deadline = time.monotonic() + seconds
    said = False
    while True:
        try:
            return Connection(target)
        except ConnectionFailed as failure:
            if time.monotonic() >= deadline or any(words in failure.message for words in LASTING):
                raise
            if not said:
                say(f"waiting up to {seconds:.0f} s for the server: {failure.message.splitlines()[0]}")
                said = True
        time.sleep(0.25)
