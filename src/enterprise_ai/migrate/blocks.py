"""Where the rollback block of a file stands, and what SQL it holds."""

from __future__ import annotations

import re

from .errors import FileError
from .files import MigrationFile
from .locate import Place, place_in
from .script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .batches import Batch

_MARK = re.compile(r"--[ \t]*rollback:", re.IGNORECASE)
#: How a rollback block is written.
NOTE = (
    "A file ends with the SQL that undoes it, in comments:\n"
    "    -- rollback:\n"
    "    --   drop table …;\n"
    "Where nothing is to be undone, that is:  select 1;"
)


class Block(Script):
    """The rollback block of a file, read as SQL; places are those in the file."""

    def __init__(self, name: str, text: str, *, backslashes: bool = False) -> None:
        super().__init__(MigrationFile(name, 0, name), backslashes=backslashes)
        self._whole = text
        #: Where each line of the block begins: in the block, and in the file.
        self._lines: list[tuple[int, int]] = []
        self._kept = [self._block().encode("utf-8")]

    def place(self, offset: int) -> Place:
        """Name the place in the file of a character of the block."""
        block, file = max((line for line in self._lines if line[0] <= offset), default=(0, 0))
        return place_in(self.file.name, iter([self._whole]), file + offset - block)

    def line_of(self, batch: Batch, offset: int) -> int:
        """Return the line in the file."""
        return self.place(batch.offset + offset).line

    def _block(self) -> str:
        """Take the block out of the comments at the end of the file; raise `FileError` when there is none."""
        found = list(_lines_of_block(self._whole))
        if not found:
            raise FileError(
                f"{self.file.name} has no rollback block",
                state="Nothing was rolled back.",
                advice=NOTE,
            )
        indents = [len(line) - len(line.lstrip(" \t")) for _, line in found if line.strip()]
        cut = min(indents, default=0)
        block = ""
        for offset, line in found:
            self._lines.append((len(block), offset + cut))
            block += line[cut:] + "\n"
        return block


def _lines_of_block(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines behind the mark, without their dashes, each with its offset in the file."""
    lines = []
    end = len(text)
    for line in reversed(text.split("\n")):
        start = end - len(line)
        if line.strip() and not line.startswith("--"):
            break
        lines.append((start, line))
        end = start - 1
    marked = False
    for offset, line in reversed(lines):
        mark = _MARK.match(line)
        marked = marked or mark is not None
        if marked:
            dashes = mark.end() if mark is not None else len(line) - len(line[2:])
            if mark is None or line[dashes:].strip():
                yield offset + dashes, line[dashes:]
