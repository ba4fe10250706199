"""How everything of a stopped server is removed, and nothing else."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from enterprise_ai.embedded.accounts import Account
from enterprise_ai.embedded.paths import Layout


def remove(layout: Layout, account: Account) -> None:
    """Remove the data and all our files; the caller holds `start.lock`, which goes last."""
    if layout.data.exists():
        shutil.rmtree(layout.discarded, ignore_errors=True)
        layout.data.rename(layout.discarded)  # at once: half a cluster is never found under its name
    for folder in (layout.discarded, layout.unfinished, layout.runtime):
        if folder.exists():
            shutil.rmtree(folder)
    _remove_sockets(layout.sockets(account.uid), account.uid)
    locks = (layout.alive_lock, layout.lease_lock, layout.start_lock)
    for file in (layout.log, layout.older_log, layout.kept, *locks):
        file.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: what else is in there is not ours
        layout.root.rmdir()


def _remove_sockets(folder: Path, uid: int) -> None:
    """Remove the socket folder, unless somebody put another thing in its place."""
    with suppress(FileNotFoundError):
        if folder.lstat().st_uid == uid and not folder.is_symlink():
            shutil.rmtree(folder)
