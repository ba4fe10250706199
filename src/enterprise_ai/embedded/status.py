"""What can be said about the server without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enterprise_ai.embedded import locks, process
from enterprise_ai.embedded.accounts import Account
from enterprise_ai.embedded.cluster import major_of
from enterprise_ai.embedded.installation import Unsuitable, inspect
from enterprise_ai.embedded.paths import Layout


@dataclass(frozen=True)
class Status:
    """A moment in the server's life.

    `state` is absent (no data yet), stopped, starting, running, stopping, or orphaned: the server died and
    some process of it goes on, or it runs where its process cannot be seen (another container).
    """

    state: str
    version: str | None
    pid: int | None
    data_dir: Path
    socket_dir: Path
    bindir: Path | None
    uuid_ossp_stand_in: bool | None
    kept: bool
    log_path: Path

    @property
    def running(self) -> bool:
        return self.state == "running"


def read(layout: Layout, account: Account) -> Status:
    """Return the status; version and stand-in are known in full only while the server runs."""
    server = process.postmaster(layout, account.uid)
    major = major_of(layout.data)
    version, stand_in = (str(major) if major else None), None
    if server:
        try:
            installed = inspect(account, server.bindir)
            version, stand_in = installed.version, installed.stand_in
        except Unsuitable:  # its programs were removed or replaced while it runs
            pass
    return Status(
        state=_state(layout, server, major),
        version=version,
        pid=server.pid if server else None,
        data_dir=layout.data,
        socket_dir=layout.sockets(account.uid),
        bindir=server.bindir if server else None,
        uuid_ossp_stand_in=stand_in,
        kept=server is not None and layout.kept.exists(),
        log_path=layout.log,
    )


def _state(layout: Layout, server: process.Postmaster | None, major: int | None) -> str:
    if server:
        return "running" if server.ready else server.phase
    if locks.is_held(layout.alive_lock):
        return "orphaned"
    return "stopped" if major else "absent"
