"""How the data folder is made and configured: reachable over our socket alone, durable, UTF-8."""

from __future__ import annotations

import shutil
from pathlib import Path

from enterprise_ai.embedded import accounts, paths
from enterprise_ai.embedded.accounts import Account
from enterprise_ai.embedded.errors import EmbeddedError
from enterprise_ai.embedded.installation import Installation
from enterprise_ai.embedded.paths import Layout

DATABASE = "enterprise_ai"
SUPERUSER = "postgres"

# `postgres` is whoever owns this server, as the operating system knows them: no password is kept anywhere.
# Other roles, such as an application's, may log in over the socket once they have a password.
ACCESS = f"""\
local  all,replication  {SUPERUSER}  peer  map=embedded
local  all              all       scram-sha-256
"""
INCLUDE = """
# Written anew at each start; settings of your own go below the next line.
include 'embedded.conf'
"""


def major_of(data: Path) -> int | None:
    """Return the major version that made the data folder, or None when there is none."""
    try:
        said = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None
    if not said.isdigit():
        raise EmbeddedError(f"PG_VERSION in {data} is damaged. The data was left alone: restore a backup.")
    return int(said)


def create(
    layout: Layout, account: Account, server: Installation, fast: bool, keep_open: tuple[int, ...]
) -> None:
    """Make the cluster with its database beside its place and move it there when whole, or leave no trace."""
    work = layout.unfinished
    accounts.check_reach(account, layout.root)
    shutil.rmtree(work, ignore_errors=True)
    paths.own_folder(work, 0o700, account.uid, account.gid)
    try:
        _initdb(work, account, server, fast, keep_open)
        accounts.write(account, work / "pg_hba.conf", ACCESS)
        accounts.append(account, work / "postgresql.conf", INCLUDE)
        configure(work, layout.sockets(account.uid), account, fast)
        _create_database(work, account, server, keep_open)
        work.rename(layout.data)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def configure(data: Path, sockets: Path, account: Account, fast: bool) -> None:
    """Write what is ours to decide: the folder may have been moved, and who calls may have changed."""
    settings = [
        "listen_addresses = ''",
        f"unix_socket_directories = '{sockets}'",
        "unix_socket_permissions = 0700",
        "port = 5432",
        "cluster_name = 'enterprise-ai'",
        "password_encryption = 'scram-sha-256'",
        "shared_buffers = '64MB'",
        "max_locks_per_transaction = 256",  # monthly partitions are locked one by one
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        "log_line_prefix = '%m [%p] %q%u@%d '",
    ]
    if fast:
        settings += ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]
    people = "".join(f'embedded "{name}" {SUPERUSER}\n' for name in sorted({account.name, account.caller}))
    accounts.write(account, data / "embedded.conf", "\n".join(settings) + "\n")
    accounts.write(account, data / "pg_ident.conf", people)


def _initdb(
    work: Path, account: Account, server: Installation, fast: bool, keep_open: tuple[int, ...]
) -> None:
    """Run initdb, taking the best UTF-8 locale that this server has: it alone knows which names it takes."""
    if server.major >= 17:
        locales = [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    else:
        locales = [["--locale=C.UTF-8"], ["--locale=C"]]
    fixed = ["-U", SUPERUSER, "-E", "UTF8", "--data-checksums", "--auth=reject"]
    if fast:
        fixed.append("--no-sync")
    said = ""
    for locale in locales:
        done = accounts.run(
            account, server.bindir / "initdb", "-D", work, *fixed, *locale, keep_open=keep_open
        )
        if done.returncode == 0:
            return
        said = done.stdout.decode(errors="replace")
        if "locale" not in said:
            break
    raise EmbeddedError(
        f"A new database folder could not be made in {work.parent} (nothing was left there). "
        f"initdb of PostgreSQL {server.version} said:\n{said[-3000:].strip()}{disk_hint(work.parent)}"
    )


def _create_database(work: Path, account: Account, server: Installation, keep_open: tuple[int, ...]) -> None:
    """Create our database before the server is ever up, so that a cluster without it does not exist."""
    options: list[str | Path] = ["--single", "-D", work, "-c", "exit_on_error=on", "postgres"]
    sql = f"create database {DATABASE}\n"
    done = accounts.run(account, server.bindir / "postgres", *options, text=sql, keep_open=keep_open)
    if done.returncode:
        raise EmbeddedError(
            f"The database {DATABASE} could not be made (nothing was left in {work.parent}):\n"
            f"{done.stdout.decode(errors='replace')[-3000:].strip()}{disk_hint(work.parent)}"
        )


def disk_hint(folder: Path) -> str:
    """Return a line about the disk when it is nearly full: then the log may have had no room to say so."""
    free = shutil.disk_usage(folder).free
    return f"\nOnly {free // 1024} kB are free on the disk of {folder}." if free < 32 * 1024 * 1024 else ""
