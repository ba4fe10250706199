"""Which operating system account runs the server, and how a command is run as that account."""

from __future__ import annotations

import errno
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from enterprise_ai.embedded.errors import EmbeddedError

BORROWED = ("enterprise-ai", "postgres", "nobody")  # tried in this order when we are root
NO_OTHER_ACCOUNT = (
    "PostgreSQL refuses to run as root, and this system does not let root run a program as {name!r} "
    "(usual in rootless containers). Run this command as an ordinary user, or set DATABASE_URL."
)


@dataclass(frozen=True)
class Account:
    """The account that owns the data and runs the server; `caller` is who may connect beside it."""

    name: str
    uid: int
    gid: int
    home: str
    caller: str

    @property
    def borrowed(self) -> bool:
        """True when we are root and the server runs as somebody else."""
        return os.geteuid() != self.uid


def server_account(data: Path) -> Account:
    """Return the account for this data folder: its owner, else the caller, else one that root borrows."""
    caller = calling_user()
    if caller.pw_uid != 0:
        return _account(caller, caller)
    wanted = os.environ.get("EMBEDDED_PG_USER")
    owner = _owner(data)
    if owner is None:
        return _account(_first_of((wanted,) if wanted else BORROWED), caller)
    if wanted and wanted != owner.pw_name:
        raise EmbeddedError(
            f"The data in {data} belongs to {owner.pw_name!r}, and EMBEDDED_PG_USER says {wanted!r}. "
            "Unset it, or choose another --data-dir."
        )
    return _account(owner, caller)


def calling_user() -> pwd.struct_passwd:
    """Return who we are; raise `EmbeddedError` for a number without a name, as in some containers."""
    return _by_uid(os.geteuid())


def run(
    account: Account,
    *argv: str | Path,
    text: str = "",
    output: IO[bytes] | None = None,
    keep_open: tuple[int, ...] = (),
    timeout: float = 660,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as the account, in its own session and a clean environment; output is kept or sent on."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": account.home, "TZ": "UTC", "LC_ALL": "C"}
    try:
        return subprocess.run(
            [str(word) for word in argv],
            input=text.encode(),
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,  # nothing like PGDATA or PGOPTIONS leaks in
            cwd="/",
            umask=0o077,
            start_new_session=True,  # Ctrl-C reaches us, not the server
            pass_fds=keep_open,
            timeout=timeout,
            check=False,
            user=account.uid if account.borrowed else None,
            group=account.gid if account.borrowed else None,
            extra_groups=[] if account.borrowed else None,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(f"{argv[0]} did not end within {timeout:.0f} s and was given up.") from error
    except OSError as error:
        if account.borrowed and error.errno in (errno.EPERM, errno.EINVAL):
            raise EmbeddedError(NO_OTHER_ACCOUNT.format(name=account.name)) from error
        raise


# Files in the server's own folders are read and written by its account alone: root would follow any link
# that somebody planted there, and could overwrite or give away what the account has no right to.


def write(account: Account, path: Path, text: str) -> None:
    """Replace a file in the server's folders, as its account."""
    _edit(account, path, 'cat > "$1.tmp" && mv -f "$1.tmp" "$1"', text)


def append(account: Account, path: Path, text: str) -> None:
    """Add to the end of a file in the server's folders, as its account."""
    _edit(account, path, 'cat >> "$1"', text)


def replace_first_line(account: Account, path: Path, line: str) -> None:
    """Replace the first line of a file in the server's folders, as its account."""
    _edit(account, path, '{ cat; tail -n +2 "$1"; } > "$1.tmp" && mv -f "$1.tmp" "$1"', line + "\n")


def _edit(account: Account, path: Path, script: str, text: str) -> None:
    done = run(account, "/bin/sh", "-c", script, "sh", path, text=text)
    if done.returncode:
        raise EmbeddedError(f"Cannot write {path}: {done.stdout.decode(errors='replace').strip()}")


def check_reach(account: Account, folder: Path) -> None:
    """Raise `EmbeddedError` naming the first folder on the way that the account may not enter."""
    for part in [*reversed(folder.parents), folder]:
        if run(account, "/bin/sh", "-c", 'test -x "$1"', "sh", part).returncode:
            raise EmbeddedError(
                f"The server runs as {account.name!r}, which may not enter {part}. "
                "Choose a --data-dir (or EMBEDDED_PG_ROOT) that it can reach."
            )


def _account(user: pwd.struct_passwd, caller: pwd.struct_passwd) -> Account:
    return Account(user.pw_name, user.pw_uid, user.pw_gid, user.pw_dir, caller.pw_name)


def _by_uid(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedError(
            f"User number {uid} has no entry in the user database (/etc/passwd), and PostgreSQL cannot run "
            "without one. Run as a user that has one, or set DATABASE_URL."
        ) from None


def _owner(data: Path) -> pwd.struct_passwd | None:
    try:
        return _by_uid(data.lstat().st_uid)
    except FileNotFoundError:
        return None


def _first_of(names: tuple[str, ...]) -> pwd.struct_passwd:
    users = {user.pw_name: user for user in pwd.getpwall() if user.pw_uid != 0}
    for name in names:
        if name in users:
            return users[name]
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and there is no account to run it as: looked for "
        f"{', '.join(names)}. Set EMBEDDED_PG_USER to an unprivileged account, or set DATABASE_URL."
    )
