"""Whether the postmaster named in our pid file is provably ours, and the only place that signals one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from enterprise_ai.embedded.errors import EmbeddedError
from enterprise_ai.embedded.paths import Layout

SOCKET = ".s.PGSQL.5432"
UP = ("ready", "standby")


@dataclass(frozen=True)
class Postmaster:
    """A running server on our data folder; `phase` is what it wrote itself: starting, ready, stopping."""

    pid: int
    phase: str
    bindir: Path

    @property
    def ready(self) -> bool:
        return self.phase in UP


def require_process_list() -> None:
    """Raise `EmbeddedError` on a Linux without /proc, where no process could be proved to be ours."""
    if sys.platform == "linux" and not Path("/proc/self").is_dir():
        raise EmbeddedError(
            "/proc is not mounted, so the embedded PostgreSQL cannot tell its own processes from others. "
            "Mount it (mount -t proc proc /proc), or set DATABASE_URL."
        )


def postmaster(layout: Layout, uid: int) -> Postmaster | None:
    """Return our postmaster: the pid file names it, `uid` owns it, and its command is a server on our data.

    A zombie, a process number used again by a stranger and a garbage pid file all give None.
    """
    lines = pid_lines(layout)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    command = _command(pid, uid)
    if len(command) < 2 or Path(command[0]).name not in ("postgres", "postmaster"):
        return None
    if str(layout.data) not in command[1:] and not _works_in(pid, layout.data):
        return None
    phase = lines[7].strip() if len(lines) > 7 else "starting"
    return Postmaster(pid, phase or "starting", Path(command[0]).parent)


def pid_lines(layout: Layout) -> list[str]:
    """Return the lines of postmaster.pid, or none when there is no such file."""
    try:
        return (layout.data / "postmaster.pid").read_text(errors="replace").split("\n")
    except OSError:
        return []


def answers(folder: Path) -> bool:
    """True when some server accepts connections on our socket, for instance one in another container."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(folder / SOCKET))
        except (FileNotFoundError, NotADirectoryError, PermissionError, ConnectionRefusedError):
            return False  # nobody, or a folder closed to us, which is then not ours
        except OSError:  # its queue is full, or it is slow: it is there
            return True
    return True


def send(layout: Layout, uid: int, signum: signal.Signals) -> None:
    """Signal our postmaster and nobody else: the handle is taken first and the proof made after it."""
    found = postmaster(layout, uid)
    if found is None:
        return
    handle = _handle(found.pid)
    try:
        if postmaster(layout, uid) != found:  # ended, and the number may be a stranger's by now
            return
        if handle is None:
            os.kill(found.pid, signum)
        else:
            signal.pidfd_send_signal(handle, signum)
    except ProcessLookupError:
        return
    finally:
        if handle is not None:
            os.close(handle)


def _handle(pid: int) -> int | None:
    """Return a handle that keeps meaning this process, where the kernel has such handles."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _command(pid: int, uid: int) -> list[str]:
    """Return the process's words if it runs and belongs to `uid`, else an empty list."""
    if sys.platform == "linux":
        try:
            if Path(f"/proc/{pid}").stat().st_uid != uid:
                return []
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        except OSError:
            return []
    line = subprocess.run(
        ["ps", "-o", "uid=", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(None, 1)
    if len(line) != 2 or line[0] != str(uid):
        return []
    server, _, folder = line[1].strip().partition(" -D ")
    return [server, folder]


def _works_in(pid: int, data: Path) -> bool:
    """True when the process's working folder is our data, as a server's is however it was started."""
    try:
        return data.samefile(f"/proc/{pid}/cwd")
    except OSError:
        return False
