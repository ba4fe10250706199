"""The file locks, which vanish with their holder: who starts and stops, who uses the server, does it live.

`start.lock`  held exclusively around everything that creates, starts, stops or removes the server;
`lease.lock`  held shared by every process that uses the server;
`alive.lock`  held by the server itself: every server process inherits the open file from whoever started it,
              so the lock is free exactly when none is left, whatever the pid file says, across containers
              that share the folder, and with zombies and reused process numbers left out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from enterprise_ai.embedded import paths
from enterprise_ai.embedded.errors import EmbeddedError
from enterprise_ai.embedded.paths import Layout

PAUSE = 0.02
GATE_WAIT = 660.0  # a start may have to recover for long; one that is stuck is named in the end
BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def gate(layout: Layout) -> Iterator[None]:
    """Be the only one who makes, starts, stops or removes the server; the root folder is made if need be."""
    deadline = time.monotonic() + GATE_WAIT
    while (held := _try_gate(layout)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"Another process is starting or stopping the embedded server since {GATE_WAIT:.0f} s "
                f"({described(layout.start_lock)}). Wait for it or end it, then try again."
            )
        time.sleep(PAUSE)
    try:
        yield
    finally:
        os.close(held)


def _try_gate(layout: Layout) -> int | None:
    try:
        paths.make_root(layout)
        held = try_lock(layout.start_lock)
    except FileNotFoundError:  # a destroy removed the folder just now
        return None
    if held is not None and not _same_file(held, layout.start_lock):  # or the file: this one locks nothing
        os.close(held)
        return None
    return held


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Return an open, locked file descriptor, or None when somebody else holds the lock."""
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(held, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        if error.errno in BUSY:
            return None
        raise EmbeddedError(
            f"The file system of {path.parent} cannot lock files ({error.strerror}). "
            "Choose a --data-dir on a local disk, or set DATABASE_URL."
        ) from error
    return held


def is_held(path: Path) -> bool:
    """True when any process holds this lock exclusively or shared."""
    if not path.exists():
        return False
    held = try_lock(path)
    if held is None:
        return True
    os.close(held)
    return False


def described(path: Path) -> str:
    """Name the processes that have the file open, as far as the system lets us see them."""
    seen = [f"process {pid}: {_command(pid)}" for pid in _holders(path)]
    return "; ".join(seen) or "by a process that cannot be seen from here"


def _holders(path: Path) -> list[int]:
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            if str(link.readlink()) == str(path):
                found.add(int(link.parts[2]))
    return sorted(found - {os.getpid()})


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "ended meanwhile"
    line = b" ".join(words).decode(errors="replace").strip()
    return re.sub(r"://[^@\s]*@", "://…@", line)[:120]  # no password in an error


def _same_file(held: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(held), path.stat())
    except FileNotFoundError:
        return False
