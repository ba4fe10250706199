"""What is sent to the server as one message: whole statements of a file, and where in it they stand."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .lexer import Statement


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
