"""What one folder of PostgreSQL programs is, and whether it will do for our server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from enterprise_ai.embedded import accounts
from enterprise_ai.embedded.accounts import Account

OLDEST = 12
PROGRAMS = ("initdb", "pg_ctl", "postgres")
EXTENSIONS = ("uuid-ossp", "pgcrypto")


@dataclass(frozen=True)
class Installation:
    """Server programs that the account can run and that bring the needed extensions."""

    bindir: Path
    version: str
    share: Path

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def stand_in(self) -> bool:
        """True when its uuid-ossp is our stand-in in SQL, not PostgreSQL's own."""
        return "stand-in" in self._control("uuid-ossp").read_text()

    def lacking(self) -> list[str]:
        """Name the needed extensions that are not there."""
        return [name for name in EXTENSIONS if not self._control(name).is_file()]

    def _control(self, extension: str) -> Path:
        return self.share / "extension" / f"{extension}.control"


class Unsuitable(Exception):
    """These programs will not do; the message is the reason, for the list shown to the user."""


def inspect(account: Account, bindir: Path, major: int | None = None) -> Installation:
    """Return what lies in `bindir`; raise `Unsuitable` when it will not do or is of another major."""
    missing = [name for name in PROGRAMS if not os.access(bindir / name, os.X_OK)]
    if missing:
        raise Unsuitable(
            f"{', '.join(missing)} not there" if os.access(bindir, os.R_OK) else "no such folder"
        )
    found = _asked(account, bindir)
    if found.major < OLDEST:
        raise Unsuitable(f"PostgreSQL {found.version}, older than {OLDEST}")
    if major not in (None, found.major):
        raise Unsuitable(f"PostgreSQL {found.version}, not {major}")
    if found.lacking():
        raise Unsuitable(
            f"PostgreSQL {found.version} without {' and '.join(found.lacking())} (in its contrib package)"
        )
    return found


def _asked(account: Account, bindir: Path) -> Installation:
    """Let initdb say what it is and where its files are; that also proves that the account can run it."""
    try:
        said = accounts.run(account, bindir / "initdb", "--show", "-D", "/nonexistent").stdout.decode()
    except OSError as error:  # for instance below /root, where the account cannot go
        raise Unsuitable(f"cannot be run by {account.name!r}: {error.strerror}") from error
    facts = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    version = re.match(r"\d+(\.\d+)?", facts.get("VERSION", ""))
    if not version:
        raise Unsuitable(f"does not run: {said.strip()[-300:]}")
    return Installation(bindir, version[0], Path(facts["share_path"]))
