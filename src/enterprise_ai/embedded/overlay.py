"""Our own copy of the wheel's server, with the stand-in for the one extension that no wheel brings.

The wheel itself stays as it is. The copy also lies where the account that runs the server can read it, which
a virtual environment below /root does not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from enterprise_ai.embedded import paths
from enterprise_ai.embedded.errors import EmbeddedError

SHIMS = Path(__file__).with_name("ext_shims")


def overlay(wheel_bindir: Path, runtime: Path) -> Path:
    """Return the bindir of our copy of the wheel's tree, made when it is not there yet."""
    tree = runtime / _name(wheel_bindir)
    if not tree.exists():
        paths.own_folder(runtime, 0o755, os.geteuid(), os.getegid())
        try:
            _copy(wheel_bindir.parent, tree)
        except OSError as error:
            shutil.rmtree(tree.with_suffix(".new"), ignore_errors=True)
            raise EmbeddedError(
                f"PostgreSQL could not be copied to {runtime}, and nothing was left there: {_reason(error)}. "
                "It takes 50 MB, and a database 100 MB more."
            ) from error
    return tree / "bin"


def _reason(error: OSError) -> str:
    # One for each file, when it is a whole tree that could not be copied.
    first = error.args[0][0][2] if isinstance(error, shutil.Error) else str(error)
    return str(first).partition(": ")[0]


def prune(runtime: Path, keep: Path) -> None:
    """Remove the copies that are unfinished or of an earlier wheel; the caller knows that no server runs."""
    for tree in runtime.iterdir() if runtime.exists() else ():
        if tree not in keep.parents:
            shutil.rmtree(tree)


def _name(wheel_bindir: Path) -> str:
    """Name the copy after what it is made of, so that a new wheel or a new stand-in gives a new copy."""
    server = (wheel_bindir / "postgres").stat()
    made_of = hashlib.sha256(f"{wheel_bindir} {server.st_mtime_ns} {server.st_size}".encode())
    for shim in sorted(SHIMS.glob("uuid-ossp*")):
        made_of.update(shim.read_bytes())
    return made_of.hexdigest()[:16]


def _copy(source: Path, tree: Path) -> None:
    work = tree.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, symlinks=True, copy_function=_copy_readable)
    for folder in [work, *(path for path in work.rglob("*") if path.is_dir() and not path.is_symlink())]:
        folder.chmod(0o755)
    extensions = work / "share" / "extension"
    if not (extensions / "uuid-ossp.control").exists():
        for shim in SHIMS.glob("uuid-ossp*"):
            _copy_readable(str(shim), str(extensions / shim.name))
    work.rename(tree)


def _copy_readable(source: str, target: str) -> str:
    """Copy a file so that every account may read it, and run it if it is a program."""
    shutil.copy2(source, target)
    program = Path(source).stat().st_mode & stat.S_IXUSR
    Path(target).chmod(0o755 if program else 0o644)
    return target
