"""How the server is brought up and down; the caller holds `start.lock`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from enterprise_ai.embedded import accounts, cluster, discovery, locks, logfile, overlay, paths, process
from enterprise_ai.embedded.accounts import Account
from enterprise_ai.embedded.errors import EmbeddedError
from enterprise_ai.embedded.installation import Installation
from enterprise_ai.embedded.paths import Layout

READY_WAIT = 600.0  # crash recovery replays what was written since the last checkpoint
ORPHAN_WAIT = 75.0  # for queries that outlive their server; one that lost its pid file ends itself in 60 s
ANSWER_WAIT = 2.0  # a server that answers so long and cannot be seen is in another container
STOP_WAITS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 30.0))  # the second without a checkpoint
NOBODY = "999999999"  # a process number beyond every system's limit


def bring_up(layout: Layout, account: Account, fast: bool) -> bool:
    """Have the server ready, made and started if need be; return whether we started it."""
    patience = _Patience()
    while True:
        running = process.postmaster(layout, account.uid)
        if running and running.ready:
            return False
        if running:  # left starting by somebody who was killed, or still stopping
            patience.spend(READY_WAIT, f"The embedded server stays {running.phase!r}.", layout)
            continue
        if process.answers(layout.sockets(account.uid)):  # as a killed one does for a moment
            patience.spend(ANSWER_WAIT, _unseen(layout), layout)
            continue
        alive = locks.try_lock(layout.alive_lock)
        if alive is None:
            patience.spend(ORPHAN_WAIT, _unseen(layout), layout)
            continue
        try:
            _start(layout, account, fast, alive)
        finally:
            os.close(alive)  # the server has it open now
        return True


def halt(layout: Layout, account: Account) -> bool:
    """Stop the server if it is provably ours; return whether one ran. Raise `EmbeddedError` if it stays."""
    if process.postmaster(layout, account.uid) is None:
        if not _within(ANSWER_WAIT, lambda: not locks.is_held(layout.alive_lock)):
            raise EmbeddedError(_unseen(layout))
        return False
    for signum, wait in STOP_WAITS:
        process.send(layout, account.uid, signum)
        if _within(wait, lambda: process.postmaster(layout, account.uid) is None):
            # The pid file goes a moment before the process does.
            _within(1, lambda: not locks.is_held(layout.alive_lock))
            return True
    raise EmbeddedError(f"The embedded server does not stop.{logfile.tail(layout)}")


def _start(layout: Layout, account: Account, fast: bool, alive: int) -> None:
    """Start the server, which inherits `alive`; the cluster is made first where there is none."""
    sockets = layout.sockets(account.uid)
    server = discovery.choose(account, layout, cluster.major_of(layout.data))
    overlay.prune(layout.runtime, keep=server.bindir)
    shutil.rmtree(layout.discarded, ignore_errors=True)  # left by a destroy that was killed
    if not layout.data.exists():
        cluster.create(layout, account, server, fast, (alive,))
    paths.own_folder(sockets, 0o700, account.uid, account.gid)
    cluster.configure(layout.data, sockets, account, fast)
    layout.kept.unlink(missing_ok=True)  # said of the server that ran before
    _bury_dead_pids(layout, account)
    _run_pg_ctl(layout, account, server, alive)


def _run_pg_ctl(layout: Layout, account: Account, server: Installation, alive: int) -> None:
    logfile.rotate(layout)
    options: list[str | Path] = ["start", "-D", layout.data, "-w", "-t", str(int(READY_WAIT))]
    with logfile.opened(layout) as log:
        mark = log.seek(0, os.SEEK_END)
        try:
            done = accounts.run(
                account,
                server.bindir / "pg_ctl",
                *options,
                output=log,
                keep_open=(alive,),
                timeout=READY_WAIT * 2,
            )
        except BaseException:  # interrupted: do not leave behind what we found stopped
            with suppress(EmbeddedError):
                halt(layout, account)
            raise
    if done.returncode:
        raise EmbeddedError(
            f"The embedded server (PostgreSQL {server.version}) did not start; its data in {layout.data} is "
            f"untouched.{cluster.disk_hint(layout.root)}{logfile.tail(layout, mark)}"
        )


def _bury_dead_pids(layout: Layout, account: Account) -> None:
    """Replace the process number in left-over lock files by a dead one.

    The server takes a zombie, or a stranger who got the same number, for a running server, and a file of
    garbage for damage. Nothing of ours is alive, `alive.lock` has proved that. The other lines stay: the
    server checks the old shared memory by them.
    """
    for lock in (layout.data / "postmaster.pid", layout.sockets(account.uid) / f"{process.SOCKET}.lock"):
        if lock.is_symlink() or lock.exists():
            accounts.replace_first_line(account, lock, NOBODY)


def _unseen(layout: Layout) -> str:
    return (
        f"The server on {layout.data} cannot be seen, but processes of it still run "
        f"({locks.described(layout.alive_lock)}): it died before them, or it runs in another container that "
        "shares the folder. Nothing was started or stopped. Wait for them or end them, then try again."
    )


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Wait for something to happen; return whether it did."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(locks.PAUSE / 2)
    return True


class _Patience:
    """How long one bring-up has waited already."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def spend(self, limit: float, reason: str, layout: Layout) -> None:
        """Wait a moment; raise `EmbeddedError` with the reason when that makes more than `limit` seconds."""
        if time.monotonic() - self._since > limit:
            raise EmbeddedError(f"{reason}{logfile.tail(layout)}")
        time.sleep(locks.PAUSE)
