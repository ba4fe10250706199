"""Where everything of the embedded server lies, and whether a folder is really ours to use."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from enterprise_ai.embedded.errors import EmbeddedError

APP = "enterprise-ai"
LONGEST_SOCKET_FOLDER = 85  # a socket's whole path may have 107 bytes on Linux, 103 on macOS
PLAIN = re.compile(r"[A-Za-z0-9/._+~@-]+")  # needs no quoting in a configuration file or a URL
OUTSIDE_QUOTES = re.compile(r'["$`\\\n\r\0]')  # pg_ctl hands its folder to a shell, within double quotes


@dataclass(frozen=True)
class Layout:
    """The files and folders of one embedded server."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def unfinished(self) -> Path:
        return self.root / "data.new"

    @property
    def discarded(self) -> Path:
        return self.root / "data.old"

    @property
    def runtime(self) -> Path:
        return self.root / "runtime"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def older_log(self) -> Path:
        return self.root / "server.log.1"

    @property
    def kept(self) -> Path:
        return self.root / "kept"

    @property
    def start_lock(self) -> Path:
        return self.root / "start.lock"

    @property
    def lease_lock(self) -> Path:
        return self.root / "lease.lock"

    @property
    def alive_lock(self) -> Path:
        return self.root / "alive.lock"

    def sockets(self, uid: int) -> Path:
        """Return the socket folder: beside the data, or a short one in /tmp where that path would not do."""
        beside = self.root / "s"
        if len(os.fsencode(beside)) <= LONGEST_SOCKET_FOLDER and PLAIN.fullmatch(str(beside)):
            return beside
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path("/tmp") / f"{APP}-{uid}-{name}"


def chosen_root(asked: Path | None) -> Path:
    """Return the absolute folder: as asked, else EMBEDDED_PG_ROOT, else where user data belongs."""
    named = asked or os.environ.get("EMBEDDED_PG_ROOT")
    root = (Path(named) if named else _default_root()).resolve()  # one folder has one name
    if OUTSIDE_QUOTES.search(str(root)):
        raise EmbeddedError(
            f"The data folder {str(root)!r} has a quote, dollar sign, backquote, backslash or line break in "
            "its name, which PostgreSQL's tools cannot take. Choose another --data-dir."
        )
    return root


def _default_root() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib") / APP / "pg"
    xdg = os.environ.get("XDG_DATA_HOME", "")
    if xdg.startswith("/"):  # a relative one is to be ignored, says the specification
        return Path(xdg) / APP / "pg"
    share = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return Path.home() / share / APP / "pg"


def make_root(layout: Layout) -> None:
    """Create the root folder, or make sure that the one there is ours; raise `EmbeddedError` if it is not.

    Raises `FileNotFoundError` when another process removes it meanwhile: try again.
    """
    try:
        for folder in [*reversed(layout.root.parents), layout.root]:
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                if os.geteuid() == 0:  # the server's account must come through, whatever our umask
                    folder.chmod(0o755)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot create the data folder {layout.root}: {error.strerror}. "
            "Choose another with --data-dir or EMBEDDED_PG_ROOT, or set DATABASE_URL."
        ) from error
    refuse_foreign(layout)
    own_folder(layout.root, 0o711 if os.geteuid() == 0 else 0o700, os.geteuid(), os.getegid())


def present(layout: Layout) -> bool:
    """True when the root folder is there and ours; raise `EmbeddedError` when it is not ours."""
    try:
        refuse_foreign(layout)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise EmbeddedError(f"Cannot look into {layout.root}: {error.strerror}.") from error
    return True


def refuse_foreign(layout: Layout) -> None:
    """Raise `EmbeddedError` for a folder that belongs to somebody else or holds something else."""
    if layout.root.stat().st_uid != os.geteuid():
        raise EmbeddedError(_not_ours(layout.root))
    names = {entry.name for entry in layout.root.iterdir()}
    if names and layout.start_lock.name not in names:  # always the first file we make
        raise EmbeddedError(
            f"The folder {layout.root} is not empty and holds no embedded server. "
            "It was left alone: choose an empty --data-dir."
        )


def own_folder(path: Path, mode: int, uid: int, gid: int) -> None:
    """Make sure of a folder with this owner and mode; never follow a link or take over a stranger's."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EACCES):
            raise
        raise EmbeddedError(_not_ours(path)) from error
    try:
        owner = os.fstat(folder).st_uid
        if owner == 0 == os.geteuid() and uid != 0:  # made just now, or by a run that was killed right here
            os.fchown(folder, uid, gid)
        elif owner != uid:
            raise EmbeddedError(_not_ours(path))
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def _not_ours(path: Path) -> str:
    return (
        f"{path} is not a folder of ours (it is a link, a file, or belongs to somebody else), so it is not "
        "used. Remove it if it should not be there, or choose another --data-dir."
    )
