"""What the comments at the head of a file tell the engine (`-- migrate: lock-timeout=5s`)."""

from __future__ import annotations

import re

from .errors import FileError
from .lexer import LexError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .script import Script

_DIRECTIVE = re.compile(r"--[ \t]*migrate:[ \t]*(.*?)[ \t]*$")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*(ms|s|min|h)?$")
_MILLISECONDS = {"ms": 1, "s": 1000, None: 1000, "min": 60000, "h": 3600000}
_HEAD = re.compile(r"(?:[ \t\r\n\f\v]+|--[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_KNOWN = "no-transaction, lock-timeout=5s, statement-timeout=10min"


class Directives:
    """The settings that a file asks for itself; None where it leaves the choice to the command line."""

    def __init__(self) -> None:
        self.transaction = True
        self.lock_timeout: int | None = None  # milliseconds
        self.statement_timeout: int | None = None


def read(script: Script) -> Directives:
    """Read the directives of a file's leading comments; raise `FileError` for one that is not known."""
    found = Directives()
    text = next(script.pieces(), "")
    head = _HEAD.match(text)
    offset = 0
    for line in re.split("(\r\n|\r|\n)", head.group() if head else ""):
        directive = _DIRECTIVE.match(line.lstrip())
        if directive is not None:
            try:
                _apply(found, directive.group(1))
            except LexError as error:
                raise FileError(
                    error.message,
                    place=script.place(offset + line.index("migrate")),
                    state="Nothing was run.",
                    advice=f"Known directives: {_KNOWN}.",
                ) from None
        offset += len(line)
    return found


def _apply(found: Directives, text: str) -> None:
    name, equals, value = (part.strip() for part in text.partition("="))
    if name == "no-transaction" and not equals:
        found.transaction = False
    elif name == "lock-timeout" and equals:
        found.lock_timeout = milliseconds(value)
    elif name == "statement-timeout" and equals:
        found.statement_timeout = milliseconds(value)
    else:
        raise LexError(f'unknown directive "{text}"', 0)


def milliseconds(text: str) -> int:
    """Read a duration such as `5s`, `250ms`, `10min` or plain seconds; raise `LexError`."""
    match = _DURATION.match(text)
    if match is None:
        raise LexError(f'"{text}" is not a duration', 0)
    return int(float(match.group(1)) * _MILLISECONDS[match.group(2)])
