"""What the comments at the head of a file tell the engine (`-- migrate: lock-timeout=5s`)."""

from __future__ import annotations

import re

from .errors import FileError
from .lexer import LexError, next_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .script import Script

# One without its colon is found too, if it names a directive: to pass over it would run the file in another way.
_DIRECTIVE = re.compile(
    r"--[ \t]*migrate(:|[ \t]+(?=no-transaction|lock-timeout|statement-timeout))[ \t]*(.*?)[ \t]*$",
    re.IGNORECASE,
)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*(ms|s|min|h)?$")
_MILLISECONDS = {"ms": 1, "s": 1000, None: 1000, "min": 60000, "h": 3600000}
#: The longest time that the server can be told: its timeouts are 32-bit milliseconds.
_LONGEST = 2**31 - 1
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
    offset = 0
    for line in re.split("(\r\n|\r|\n)", text[: _end_of_head(text)]):
        directive = _DIRECTIVE.match(line.lstrip())
        if directive is not None:
            try:
                _apply(found, directive.group(2), directive.group(1))
            except LexError as error:
                raise FileError(
                    error.message,
                    place=script.place(offset + line.lower().index("migrate")),
                    state="Nothing was run.",
                    advice=f"Known directives: {_KNOWN}.",
                ) from None
        offset += len(line)
    return found


def _end_of_head(text: str) -> int:
    """Return where the leading comments end."""
    try:
        return next_start(text, 0, final=True)
    except LexError:
        return 0  # a comment that never ends is refused when the file is cut


def _apply(found: Directives, text: str, colon: str) -> None:
    if colon != ":":
        raise LexError(f'a directive has a colon: "-- migrate: {text}"', 0)
    name, equals, value = (part.strip() for part in text.lower().partition("="))
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
    number = whole(float(match.group(1)) * _MILLISECONDS[match.group(2)])
    if number > _LONGEST:
        raise LexError(f'"{text}" is longer than the server can count (24 days)', 0)
    return number


def whole(milliseconds: float) -> int:
    """Round, but never to 0, which would mean to wait for ever."""
    return round(milliseconds) or int(milliseconds > 0)
