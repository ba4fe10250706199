# ruff: noqa: PTH118, PTH208  pathlib would cost a tenth of a no-op run
"""Which files are migrations, in which order, and what their content is to the last byte."""

from __future__ import annotations

import os

from .arguments import shown
from .digest import sha256
from .errors import FileError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator

BOM = b"\xef\xbb\xbf"
CHUNK = 256 * 1024
#: From so many files on it is quicker to read them while the server answers.
_MANY = 50


class MigrationFile:
    """One numbered file; its checksum is read from the disk the first time it is asked for."""

    __slots__ = ("_checksum", "name", "number", "path")

    def __init__(self, name: str, number: int, path: str) -> None:
        self.name = name
        self.number = number
        self.path = path
        self._checksum: str | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 over the canonical bytes: no BOM, line ends LF, one final newline."""
        if self._checksum is None:
            self.remember(self.chunks())
        return self._checksum or ""

    @property
    def is_read(self) -> bool:
        """True once the checksum is known."""
        return self._checksum is not None

    def remember(self, chunks: Iterable[bytes]) -> None:
        """Take the checksum from content that was read already."""
        digest = sha256()
        for piece in canonical(chunks):
            digest.update(piece)
        self._checksum = digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """Read the file piece by piece; raise `FileError` when it cannot be read."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                while True:
                    chunk = os.read(descriptor, CHUNK)
                    if not chunk:
                        return
                    yield chunk
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FileError(f"cannot read {self.path}: {error.strerror}") from error


def canonical(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Fold what editors and git change by themselves (BOM, line ends, the last newline) and nothing else."""
    held = b""  # line ends that may turn out to be the last ones
    first = True
    for chunk in chunks:
        data = held + chunk
        if first:
            first = False
            if data.startswith(BOM):
                data = data[len(BOM) :]
        held = b""
        if data.endswith(b"\r"):
            data, held = data[:-1], b"\r"
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        inner = data.rstrip(b"\n")
        held = data[len(inner) :] + held
        yield inner
    yield b"\n"


class ReadAhead:
    """Reads the checksums of many files in a thread of its own, while the caller waits for the server."""

    def __init__(self, files: list[MigrationFile]) -> None:
        import _thread  # `threading` would have to be loaded

        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        _thread.start_new_thread(self._read, (files,))

    def _read(self, files: list[MigrationFile]) -> None:
        try:
            for file in files:
                file.checksum  # noqa: B018  read, and kept
        except FileError:
            pass  # whoever asks for that checksum hears it
        finally:
            self._ended.release()

    def wait(self) -> None:
        """Return when the thread has ended."""
        with self._ended:
            pass


class Folder:
    """A directory of migrations as one command sees it: each file is read at most once."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._files: list[MigrationFile] | None = None
        self._reading: ReadAhead | None = None

    @property
    def files(self) -> list[MigrationFile]:
        """The migrations, in number order; raise `UsageError`."""
        if self._files is None:
            self._files = discover(self.path, self._warn)
            if not self._files:
                raise UsageError(f"there are no migration files (NNN_description.sql) in {self.path}")
        if self._reading is not None:
            self._reading.wait()
            self._reading = None
        return self._files

    def read_ahead(self) -> None:
        """Begin to read the files when they are many, so that they are read while the server answers."""
        if len(self.files) > _MANY and not self.files[-1].is_read:
            self._reading = ReadAhead(self.files)

    def file(self, name: str) -> MigrationFile:
        """Return the file of this name, with or without its ending; raise `UsageError`."""
        for file in self.files:
            if name in (file.name, file.name[: -len(".sql")]):
                return file
        raise UsageError(
            f"there is no migration {shown(name)} in {self.path}",
            advice=did_you_mean(name, [file.name for file in self.files]),
        )


def did_you_mean(name: str, names: list[str]) -> str:
    """Suggest the nearest name."""
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"Did you mean {near[0]}?" if near else "`status` lists the files."


def discover(folder: str, warn: Callable[[str], None]) -> list[MigrationFile]:
    """List the migrations of a directory in number order; raise `UsageError` for what cannot be ordered."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(
            f"cannot read the migrations directory {folder}: {error.strerror}",
            advice="Name another with --migrations DIR.",
        ) from error
    found: list[MigrationFile] = []
    start = os.path.join(folder, "")
    for name in names:
        number = number_of(name)
        if number is not None:
            found.append(MigrationFile(name, number, start + name))
        elif name.lower().endswith(".sql") and not name.startswith("."):
            shown = name if name.isprintable() else repr(name)
            warn(f"{shown} is not a migration and is left out: a name must be NNN_description.sql")
    found.sort(key=lambda file: file.number)
    for earlier, later in zip(found, found[1:]):
        if earlier.number == later.number:
            raise UsageError(
                f"two files bear the number {later.number}: {earlier.name} and {later.name}",
                state="Nothing was run.",
                advice="Give one of them the next free number.",
            )
    return found


def number_of(name: str) -> int | None:
    """Return the number of a migration's file name, or None when it is not one."""
    digits, underscore, rest = name.partition("_")
    numbered = underscore and digits.isdecimal() and digits.isascii()
    # A name with control characters, or with bytes that are no text, could not be told or kept as it is.
    if numbered and rest.endswith(".sql") and len(rest) > 4 and name.isprintable():
        return int(digits)
    return None
