"""A process of its own that uses the embedded server as it is told, one JSON line after another.

It can be killed at any moment, can belong to another account, and can live in a world that differs from the
test's: with folders hidden, with process numbers of its own, with no account but root, or never reaping.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path

NEW_MOUNTS, NEW_IPC, NEW_USERS, NEW_PIDS = 0x20000, 0x8000000, 0x10000000, 0x20000000
PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(kind: str, target: str, options: str = "") -> None:
    check(libc.mount(b"none", target.encode(), kind.encode(), 0, options.encode()))


def enter(world: dict) -> None:
    """Change what this process, and nobody else, sees."""
    if world.get("only_root"):
        check(libc.unshare(NEW_USERS))
        Path("/proc/self/uid_map").write_text("0 0 1")
    if world.get("hide") or world.get("own_pids"):
        check(libc.unshare(NEW_MOUNTS))
        check(libc.mount(b"none", b"/", None, PRIVATE, None))
    if world.get("own_pids"):
        check(libc.unshare(NEW_PIDS | NEW_IPC))
        child = os.fork()
        if child:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        mount("proc", "/proc")
    for folder in world.get("hide", ()):
        mount("tmpfs", folder)
    if world.get("never_reap"):
        check(libc.prctl(36, 1, 0, 0, 0))  # PR_SET_CHILD_SUBREAPER: orphans become ours, and stay zombies


class Agent:
    """What can be asked for; each answer goes back as JSON."""

    def __init__(self, root: str, fast: bool) -> None:
        from enterprise_ai.embedded import EmbeddedServer

        self._server = EmbeddedServer(Path(root), fast=fast)
        self._leases: list = []
        self._connection = None

    def lease(self) -> dict:
        lease = self._server.lease()
        lease.__enter__()
        self._leases.append(lease)
        return self.status()

    def release(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
        self._leases.pop().__exit__(None, None, None)

    def sql(self, text: str) -> list:
        import psycopg

        if self._connection is None:
            self._connection = psycopg.connect(self._server.url(), autocommit=True)
        cursor = self._connection.execute(text)
        return [[str(value) for value in row] for row in cursor.fetchall()] if cursor.description else []

    def send(self, text: str) -> int:
        """Have the server begin a statement and do not wait for its end; gives the process at work."""
        import psycopg

        self._connection = psycopg.connect(self._server.url(), autocommit=True)
        self._connection.pgconn.send_query(text.encode())
        self._connection.pgconn.flush()
        return self._connection.info.backend_pid

    def start(self) -> bool:
        return self._server.start()

    def stop(self) -> bool:
        return self._server.stop()

    def destroy(self) -> bool:
        return self._server.destroy()

    def url(self) -> str:
        return self._server.url()

    def status(self) -> dict:
        status = self._server.status()
        return {name: getattr(status, name) for name in status.__dataclass_fields__}


def main() -> None:
    root, fast, world = sys.argv[1], sys.argv[2] == "fast", json.loads(sys.argv[3])
    enter(world)
    agent = None
    for line in sys.stdin:
        verb, *words = json.loads(line)
        began = time.monotonic()
        try:
            agent = agent or Agent(root, fast)
            answer = {"value": getattr(agent, verb)(*words)}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        answer["seconds"] = time.monotonic() - began
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
