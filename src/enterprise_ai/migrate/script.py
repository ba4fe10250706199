"""What a migration file says: its text, its directives, and the batches in which it is sent."""

from __future__ import annotations

import codecs
import re

from . import lexer
from .errors import FileError
from .files import BOM, CHUNK
from .lexer import LexError, MetaCommand, NeedMore, Statement
from .locate import Place, place_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .files import MigrationFile

#: Statements are sent together up to about so many characters: larger messages only cost the server memory.
BATCH = 128 * 1024
#: A file up to this size is kept and sent as one message, if nothing in it forbids that.
WHOLE = 256 * 1024

_LINE_END = re.compile(r"\r\n|\r|\n")


class Batch:
    """Whole statements that are sent as one message; for COPY FROM stdin, one statement and its data."""

    __slots__ = ("data", "line", "offset", "statements", "text")

    def __init__(self, text: str, offset: int, line: int, statements: list[Statement]) -> None:
        self.text = text
        self.offset = offset  # of its first character in the file
        self.line = line
        self.statements = statements  # with their offsets inside `text`
        self.data: Iterator[bytes] | None = None

    def split(self, count: int) -> tuple[Batch, Batch | None]:
        """Cut the batch behind its first `count` statements."""
        cut = self.statements[count - 1].end
        head = Batch(self.text[:cut], self.offset, self.line, self.statements[:count])
        rest = [one._replace(start=one.start - cut, end=one.end - cut) for one in self.statements[count:]]
        if not rest:
            return head, None
        tail = Batch(self.text[cut:], self.offset + cut, self.line_at(cut), rest)
        tail.data = self.data
        return head, tail

    def singles(self) -> Iterator[Batch]:
        """Cut the batch into its statements."""
        for one in self.statements:
            text = self.text[one.start : one.end]
            alone = one._replace(start=0, end=len(text))
            single = Batch(text, self.offset + one.start, self.line_at(one.start), [alone])
            single.data = self.data
            yield single

    def line_at(self, offset: int) -> int:
        """Return the line in the file of an offset inside this batch."""
        return self.line + count_lines(self.text, offset)


def count_lines(text: str, end: int) -> int:
    """Count the line ends before `end`; CR, LF and CRLF are one each."""
    lines = text.count("\n", 0, end)
    if "\r" in text:
        lines += text.count("\r", 0, end) - text.count("\r\n", 0, end)
    return lines


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
            return _Cutter(self, self.pieces(), BATCH).batches()
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
        for batch in _Cutter(self, self.pieces(), WHOLE).batches():
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


class _Cutter:
    """The window that slides over a text of any length while it is cut into batches."""

    def __init__(self, script: Script, pieces: Iterator[str], limit: int) -> None:
        self.script = script
        self.pieces = pieces
        self.limit = limit
        self.backslashes = script.backslashes
        self.window = ""
        self.final = False
        self.base = 0  # offset in the file of the window's first character
        self.line = 1  # and its line
        self.position = 0  # how far the window is read
        self.statements: list[Statement] = []

    def batches(self) -> Iterator[Batch]:
        while True:
            try:
                start = lexer.next_start(self.window, self.position, self.final)
                if start >= len(self.window):
                    break
                statement = lexer.scan(self.window, start, self.final, self.backslashes)
            except NeedMore:
                if self.position >= self.limit // 2 and self.statements:
                    yield self._flush()
                self._extend()
                continue
            except MetaCommand as command:
                if self.statements:
                    yield self._flush()
                    continue
                self._skip_restrict(command)
                continue
            except LexError as error:
                raise self._refuse(error.message, error.offset) from None
            if statement.copies:
                if self.statements:
                    yield self._flush()
                    continue
                self.statements.append(statement)
                self.position = statement.end
                yield self._with_data(self._flush())
                continue
            self.statements.append(statement)
            self.position = statement.end
            changed = statement.words[:1] == ("set",) and self._escapes_change(statement)
            if changed or self.position >= self.limit:
                yield self._flush()
        if self.statements:
            self.position = len(self.window)
            yield self._flush()

    def _extend(self) -> None:
        """Read on, at least as much again as is unread, so that a huge statement is not scanned too often."""
        wanted = max(CHUNK, len(self.window) - self.position)
        pieces = [self.window]
        while wanted > 0:
            piece = next(self.pieces, None)
            if piece is None:
                self.final = True
                break
            pieces.append(piece)
            wanted -= len(piece)
        self.window = "".join(pieces)

    def _flush(self) -> Batch:
        """Take what is read off the window as a batch."""
        batch = Batch(self.window[: self.position], self.base, self.line, self.statements)
        self.statements = []
        self._drop(self.position)
        return batch

    def _drop(self, length: int) -> None:
        self.line += count_lines(self.window, length)
        self.base += length
        self.window = self.window[length:]
        self.position = 0

    def _escapes_change(self, statement: Statement) -> bool:
        """Follow SET standard_conforming_strings: what comes after it is read in the other manner."""
        text = self.window[statement.start : statement.end].lower()
        if "standard_conforming_strings" not in text:
            return False
        if "default" in text:
            self.backslashes = self.script.backslashes
        else:
            self.backslashes = re.search(r"\b(off|false|no|0)\b", text) is not None
        return True

    def _skip_restrict(self, command: MetaCommand) -> None:
        """Pass over the \\restrict lines of pg_dump; refuse every other command of psql."""
        self._whole_line(command.offset)
        end = _LINE_END.search(self.window, command.offset)
        line = self.window[command.offset : end.start() if end else len(self.window)]
        if command.in_statement or not line.startswith(("\\restrict ", "\\unrestrict ")):
            raise self._refuse(
                f"{line.split()[0] if line.split() else line} is a command of psql, not SQL",
                command.offset,
                "Remove it; the file's text is sent to the server as it is.",
            )
        self._drop(end.end() if end else len(self.window))

    def _whole_line(self, offset: int) -> None:
        while not self.final and not _LINE_END.search(self.window, offset):
            self._extend()

    def _with_data(self, batch: Batch) -> Batch:
        """Give a COPY its data: the lines that follow, up to a line with only a backslash and a dot."""
        self._whole_line(0)
        end = _LINE_END.search(self.window)
        rest = self.window[: end.start()] if end else self.window
        if rest.strip() and not rest.lstrip().startswith("--"):
            raise self._refuse("COPY FROM stdin must be the last statement on its line", 0)
        self._drop(end.end() if end else len(self.window))
        batch.data = self._data()
        return batch

    def _data(self) -> Iterator[bytes]:
        while True:
            end = _END_OF_DATA.search(self.window)
            if end is not None and (self.final or end.end() < len(self.window)):
                data = self.window[: end.start()]
                self._drop(end.end())
                yield data.encode("utf-8")
                return
            if self.final:
                data = self.window
                self._drop(len(self.window))
                yield data.encode("utf-8")
                return
            # Keep the last line: it may be the beginning of the end mark.
            keep = max(self.window.rfind("\n"), self.window.rfind("\r", 0, -1)) + 1
            if keep:
                data = self.window[:keep]
                self._drop(keep)
                yield data.encode("utf-8")
            self._extend()

    def _refuse(self, message: str, offset: int, advice: str = "") -> FileError:
        return FileError(
            message,
            place=self.script.place(self.base + offset),
            state="Nothing of this file was run.",
            advice=advice,
        )


_END_OF_DATA = re.compile(r"(?:\A|(?<=[\r\n]))\\\.[ \t]*(?:\r\n|\r|\n|\Z)")


def count_lines_bytes(data: bytes) -> int:
    """Count the line ends in bytes; CR, LF and CRLF are one each."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
