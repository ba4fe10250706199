"""Where in a migration something lies, as an editor would show it."""

from __future__ import annotations

import re

from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator


#: A line and column (from one, in characters), the text of that line, and the section it stands in.
Place = NamedTuple(
    "Place", [("file", str), ("line", int), ("column", int), ("text", str), ("section", "str | None")]
)

_SECTION = re.compile(r"(?:\A|(?<=[\r\n]))--- +([^\r\n]*?) *-*(?=[\r\n]|\Z)")
_LINE_END = re.compile(r"\r\n|\r|\n")


def place_in(name: str, pieces: Iterator[str], offset: int) -> Place:
    """Find the place of the character at `offset` in a text that comes in pieces."""
    line, section, carry = 1, None, ""
    for piece in pieces:
        text = carry + piece
        if offset < len(text):
            break
        # Keep the unfinished last line (and a lone CR, which may be half of a CRLF).
        keep = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        head, carry = text[:keep], text[keep:]
        line += len(_LINE_END.findall(head))
        section = _last_section(head, section)
        offset -= keep
    else:
        text = carry
    text += next(pieces, "")  # the rest of the line, when it goes on in the next piece
    offset = min(offset, len(text))
    begin = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    line += len(_LINE_END.findall(text[:begin]))
    end = _LINE_END.search(text, begin)
    section = _last_section(text[:begin], section)
    return Place(name, line, offset - begin + 1, text[begin : end.start() if end else len(text)], section)


def line_start(pieces: Iterator[str], number: int) -> int:
    """Return the offset at which a line begins in a text that comes in pieces, or that of its end."""
    offset, line, carry = 0, 1, ""
    for piece in pieces:
        text, carry = carry + piece, ""
        if text.endswith("\r"):  # which may be half of a CRLF
            text, carry = text[:-1], "\r"
        for end in _LINE_END.finditer(text):
            line += 1
            if line == number:
                return offset + end.end()
        offset += len(text)
    return offset + len(carry)


def _last_section(text: str, before: str | None) -> str | None:
    """Return the last `--- title -----` header of a text."""
    found = before
    for match in _SECTION.finditer(text):
        found = match.group(1) or found
    return found
