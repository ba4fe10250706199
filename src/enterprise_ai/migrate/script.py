"""What a migration file says: its text, byte for byte, and the batches in which it is sent."""

from __future__ import annotations

import codecs

from .batches import Batch
from .cutter import Cutter
from .errors import FileError
from .files import BOM, MigrationFile
from .locate import Place, place_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

#: Statements are sent together up to about so many characters: larger messages only cost the server memory.
BATCH = 128 * 1024
#: A file up to this size is kept and sent as one message, if nothing in it forbids that.
WHOLE = 256 * 1024


class Script:
    """A file read as SQL, from its start, any number of times."""

    def __init__(self, file: MigrationFile, *, backslashes: bool = False) -> None:
        self.file = file
        self.backslashes = backslashes  # whether plain strings have escapes when the file begins
        self._kept: list[bytes] | None = None
        self._cut: list[Batch] | None = None

    def keep(self, size: int) -> int:
        """Keep the content when it is no longer than `size` bytes; return how many bytes that takes."""
        kept, length = [], 0
        for chunk in self.file.chunks():
            kept.append(chunk)
            length += len(chunk)
            if length > size:
                return 0
        self._kept = kept
        self.file.remember(kept)
        return length

    @property
    def is_kept(self) -> bool:
        """True when the content is held in memory, so that it cannot change any more."""
        return self._kept is not None

    def chunks(self) -> Iterator[bytes]:
        """Read the bytes of the file."""
        return iter(self._kept) if self._kept is not None else self.file.chunks()

    def pieces(self) -> Iterator[str]:
        """Read the text piece by piece, strictly UTF-8, without its BOM; raise `FileError`."""
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        line, position, first = 1, 0, True
        for chunk in self.chunks():
            if first and chunk.startswith(BOM):
                chunk, position = chunk[len(BOM) :], len(BOM)
            first = False
            nul = chunk.find(b"\0")
            if nul >= 0:
                raise self._bad_byte("a NUL byte", line + count_lines_bytes(chunk[:nul]), position + nul)
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                pending = len(error.object) - len(chunk)
                raise self._bad_byte(
                    f"not UTF-8 (byte 0x{error.object[error.start]:02X})",
                    line + count_lines_bytes(error.object[: error.start]),
                    position - pending + error.start,
                ) from None
            line += count_lines_bytes(chunk)
            position += len(chunk)
            if text:
                yield text
        if decoder.getstate()[0]:
            raise self._bad_byte("not UTF-8 (the last character is cut off)", line, position)

    def batches(self) -> Iterator[Batch]:
        """Cut the file into batches; raise `FileError` where it cannot be cut."""
        if not self.is_kept:
            return Cutter(self, self.pieces(), BATCH).batches()
        if self._cut is not None:
            return iter(self._cut)
        return self._cut_once()

    def singles(self) -> Iterator[Batch]:
        """Cut the file into single statements."""
        for batch in self.batches():
            yield from batch.singles()

    def _cut_once(self) -> Iterator[Batch]:
        """Cut what is kept, and keep the cut when it is a single batch, so that a small file is read once."""
        found = []
        for batch in Cutter(self, self.pieces(), WHOLE).batches():
            found.append(batch)
            yield batch
        if len(found) < 2 and all(batch.data is None for batch in found):
            self._cut = found

    def line_of(self, batch: Batch, offset: int) -> int:
        """Return the line of an offset inside a batch, in the file that a person reads."""
        return batch.line_at(offset)

    def place(self, offset: int) -> Place:
        """Name the place of a character of the file, for a person."""
        return place_in(self.file.name, self.pieces(), offset)

    def _bad_byte(self, what: str, line: int, position: int) -> FileError:
        return FileError(
            f"{self.file.name}:{line}: {what} at byte offset {position}",
            state="Nothing of this file was run.",
            advice="Save the file as UTF-8.",
        )


class Text(Script):
    """A text that is not read from the disk."""

    def __init__(self, name: str, text: bytes) -> None:
        super().__init__(MigrationFile(name, 0, name))
        self._kept = [text]


def count_lines_bytes(data: bytes) -> int:
    """Count the line ends in bytes; CR, LF and CRLF are one each."""
    lines = data.count(b"\n")
    if b"\r" in data:
        lines += data.count(b"\r") - data.count(b"\r\n")
    return lines
