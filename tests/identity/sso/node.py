"""Identity providers that others wrote, from npm, run on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVERS = Path(__file__).parent / "servers"


def modules() -> Path:
    """The folder with the packages that package.json names, installed where they are not there yet."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("node and npm are not on this machine")
    wanted = (SERVERS / "package.json").read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "enterprise-ai-tests"
    root = home / f"providers-{hashlib.sha256(wanted).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=home) as work:
                (Path(work) / "tree").mkdir()
                (Path(work) / "tree" / "package.json").write_bytes(wanted)
                command = [
                    "npm",
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                    "--loglevel=error",
                ]
                done = subprocess.run(
                    command, cwd=Path(work) / "tree", capture_output=True, text=True, timeout=300, check=False
                )
                if done.returncode:
                    missing(f"npm could not install the providers:\n{done.stderr[-2000:]}")
                (Path(work) / "tree").rename(root)
    return root


def missing(reason: str) -> None:
    """Skip on a developer's machine; in CI a test that does not run is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[None]:
    """Run one of the servers until the end of the block; it says when it is ready."""
    environment = {**os.environ, "PROVIDER_MODULES": str(modules()), "NODE_NO_WARNINGS": "1"}
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            ["node", str(SERVERS / script), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process:
            try:
                if process.stdout.readline() != "ready\n":
                    errors.seek(0)
                    pytest.fail(f"{script} did not start: {errors.read().decode()[-2000:]}")
                yield
            finally:
                process.kill()
