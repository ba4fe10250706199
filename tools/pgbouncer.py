#!/usr/bin/env python3
"""Print the command that runs PgBouncer, from this machine or unpacked from its distribution's package.

    pgbouncer.py        -> /usr/sbin/pgbouncer
                        -> env LD_LIBRARY_PATH=/var/cache/pgbouncer/1/… /var/cache/pgbouncer/1/usr/sbin/pgbouncer

For tests and CI only.  The package is unpacked instead of installed: that needs no root, and starts no service.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def cache() -> Path:
    """A place that the unprivileged server user can also read (root's home usually is not)."""
    if os.geteuid() == 0:
        return Path("/var/cache/pgbouncer")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgbouncer"


def missing_packages() -> list[str]:
    """PgBouncer's package and those of its libraries that this machine lacks, as apt would install them."""
    simulate = ["apt-get", "install", "--simulate", "--no-install-recommends", "pgbouncer"]
    plan = subprocess.run(simulate, capture_output=True, text=True, check=False)
    if plan.returncode and os.geteuid() == 0:  # a fresh container has no package lists yet
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        plan = subprocess.run(simulate, capture_output=True, text=True, check=False)
    if plan.returncode:
        sys.exit(f"pgbouncer: apt cannot install it (is `apt-get update` needed?):\n{plan.stderr}")
    return [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]


def unpack(root: Path) -> None:
    """Download the packages and unpack them into `root`, which appears complete or not at all."""
    with tempfile.TemporaryDirectory(dir=root.parent) as work:
        # The sandbox account of apt could not write here.
        download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root"]
        subprocess.run([*download, *missing_packages()], cwd=work, check=True)
        tree = Path(work) / "tree"
        for package in Path(work).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
        tree.chmod(0o755)
        tree.rename(root)


def command() -> list[str]:
    """Return the words that run PgBouncer; exit with the reason when that is not possible here."""
    installed = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if installed:
        return [installed]
    if not shutil.which("apt-get"):
        sys.exit("pgbouncer: it is not installed, and this machine has no apt-get to bring it")
    root = cache() / "1"
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unpack(root)
    libraries = sorted({str(path.parent) for path in root.rglob("*.so.*")})
    return ["env", "LD_LIBRARY_PATH=" + ":".join(libraries), str(root / "usr/sbin/pgbouncer")]


if __name__ == "__main__":
    print(" ".join(command()))
