"""What Squawk, the linter of migrations, says of files; only where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import MigrationFile

#: One remark of Squawk's.
Remark = NamedTuple("Remark", [("file", str), ("line", int), ("rule", str), ("message", str), ("help", str)])

# The engine sets the timeouts itself, and its history makes IF NOT EXISTS needless.
_NOT_OURS = "require-timeout-settings,prefer-robust-stmts"


def program() -> str | None:
    """Find Squawk beside this Python or on the PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "squawk")  # noqa: PTH118, PTH120
    return beside if os.access(beside, os.X_OK) else shutil.which("squawk")


def remarks(files: list[MigrationFile], version: int) -> tuple[Remark, ...] | None:
    """Ask Squawk about files; None when it is not installed or cannot answer."""
    found = program()
    if found is None or not files:
        return None
    done = subprocess.run(
        [
            found,
            "--reporter=json",
            "--assume-in-transaction",
            f"--exclude={_NOT_OURS}",
            f"--pg-version={version // 10000}.0",
            *[file.path for file in files],
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    try:
        said = json.loads(done.stdout.decode("utf-8"))
    except ValueError:
        return None
    names = {file.path: file.name for file in files}
    return tuple(
        Remark(
            names.get(one["file"], one["file"]),
            int(one["line"]) + 1,
            one["rule_name"],
            one["message"],
            one.get("help") or "",
        )
        for one in said
    )
