"""The server's log: bounded at each start, and its last lines for every failure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from enterprise_ai.embedded.paths import Layout

LARGEST = 10 * 1024 * 1024
SHOWN = 3000


def rotate(layout: Layout) -> None:
    """Keep one older log when the present one has grown large; no server has it open now."""
    try:
        if layout.log.stat().st_size > LARGEST:
            layout.log.replace(layout.older_log)
    except FileNotFoundError:
        pass


def opened(layout: Layout) -> IO[bytes]:
    """Open the log for the server to append to."""
    return os.fdopen(os.open(layout.log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")


def tail(layout: Layout, since: int = 0) -> str:
    """Return the last lines of the log, with its name, ready to end a message; `since` is where to begin."""
    return f"\nLast lines of {layout.log}:\n{_last(layout.log, since) or '(nothing was written)'}"


def _last(path: Path, since: int) -> str:
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(since, size - SHOWN))
            return log.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
