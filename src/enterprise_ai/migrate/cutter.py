"""How a text of any length is cut into batches, while no more of it is in memory than a statement needs."""

from __future__ import annotations

import re

from . import lexer
from .batches import Batch, count_lines
from .errors import FileError
from .files import CHUNK
from .lexer import LexError, MetaCommand, NeedMore, Statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .script import Script

_LINE_END = re.compile(r"\r\n|\r|\n")
_END_OF_DATA = re.compile(r"(?:\A|(?<=[\r\n]))\\\.[ \t]*(?:\r\n|\r|\n|\Z)")


class Cutter:
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
            # To try the pattern at each character takes twenty times as long as to see that there is no such pair.
            end = _END_OF_DATA.search(self.window) if "\\." in self.window else None
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
