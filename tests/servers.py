"""Scratch PostgreSQL servers for tests: any major, any account, gone when the tests are."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# An interpreter keeps byte code unless it is told not to, as containers like to. Then each command that a test runs
# would compile the engine anew, which takes longer than the command.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class Server(NamedTuple):
    """A running server; `postgres` is its superuser, and whoever asks is trusted."""

    bindir: Path
    socket_dir: Path
    port: int

    def url(self, dbname: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql:///{dbname}?host={self.socket_dir}&port={self.port}&user={user}"


def bindir_of(major: int) -> Path:
    """The server binaries of a major from the pinned test matrix, installed when missing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "pg_matrix.py"), str(major)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"PostgreSQL {major} for tests could not be installed:\n{done.stdout}{done.stderr}"
        )
    return Path(done.stdout.strip())


def _account() -> dict[str, Any]:
    """How to run as an account that PostgreSQL accepts: ourselves, or `postgres`/`nobody` when we are root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    uid, gid = entry.pw_uid, entry.pw_gid

    def become() -> None:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)

    return {"preexec_fn": become}


def _run(argv: list[str], account: dict[str, Any]) -> None:
    # Output goes to a file: a server started by pg_ctl would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            **account,
        )
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(argv)} failed:\n{output.read().decode(errors='replace')}")


def new_folder(name: str) -> Path:
    """Make a folder that every account can pass through, in memory where a few gigabytes of it can be had.

    A database copied from the template is 1,700 files. On a disk that discards what is deleted, copying them takes
    seconds, in memory a fifth of one. A container's own /dev/shm of 64 MiB is too small for that.
    """
    memory = Path("/dev/shm")
    roomy = (
        memory.is_dir() and os.access(str(memory), os.W_OK) and shutil.disk_usage(str(memory)).free > 4 << 30
    )
    folder = Path(tempfile.mkdtemp(prefix=f"eai-test-{name}-", dir=str(memory) if roomy else "/tmp"))
    folder.chmod(0o711)
    return folder


@contextlib.contextmanager
def scratch_server(bindir: Path, settings: dict[str, str] | None = None) -> Iterator[Server]:
    """Run a fresh server with its own data folder; stop it and remove the folder at the end."""
    account = _account()
    root = new_folder("server")
    work = root / "server"
    work.mkdir(mode=0o700)
    if account:
        entry = pwd.getpwnam("postgres" if any(p.pw_name == "postgres" for p in pwd.getpwall()) else "nobody")
        os.chown(str(work), entry.pw_uid, entry.pw_gid)
        work.chmod(0o711)
    data = work / "data"
    values = {
        "listen_addresses": "",
        "unix_socket_directories": str(work),
        "port": "5432",
        "max_connections": "100",
        "timezone": "UTC",
        "shared_buffers": "64MB",
        # Nothing here outlives the tests, so nothing needs to reach the disk.
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "max_wal_size": "256MB",
        # Tests in which sessions lock each other out wait for this.
        "deadlock_timeout": "100ms",
    }
    values.update(settings or {})
    try:
        _run(
            [
                str(bindir / "initdb"),
                "-D",
                str(data),
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-A",
                "trust",
                "-N",
            ],
            account,
        )
        conf = "".join(f"{name} = '{value}'\n" for name, value in values.items())
        with (data / "postgresql.conf").open("a") as file:
            file.write(conf)
        control = [str(bindir / "pg_ctl"), "-D", str(data), "-w", "-t", "60"]
        _run([*control, "-l", str(work / "server.log"), "start"], account)
        try:
            yield Server(bindir, work, int(values["port"]))
        finally:
            _run([*control, "-m", "immediate", "stop"], account)
    finally:
        shutil.rmtree(str(root), ignore_errors=True)
