"""How what happens is put before a person."""

from __future__ import annotations

from .errors import FileError, MigrationFailed
from .listener import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from .errors import MigrateError
    from .locate import Place
    from .results import Done

#: The longest piece of a line that is shown around a caret.
_WIDTH = 110


class Printer(Listener):
    """Prints a line when a file is done; on a terminal also how far the running one is."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._live = err is not None and err.isatty()  # None: stderr is closed
        self._shown = ""
        self.done: list[Done] = []

    def say(self, text: str) -> None:
        """Print a remark."""
        self._erase()
        print(text, file=self._err, flush=True)

    def line(self, text: str) -> None:
        """Print a line of the result."""
        self._erase()
        print(text, file=self._out, flush=True)

    def started(self, name: str, statements: int) -> None:
        if not statements:
            self.say(f"{name} holds no statement; it is recorded all the same")
        self._show(f"{name}: {statements} statements")

    def progress(self, name: str, done: int, total: int) -> None:
        if self._live and done < total:
            self._show(f"{name}: statement {done + 1} of {total}")

    def notice(self, name: str, line: int, notice: dict[str, str]) -> None:
        text = "{}:{}: {}: {}".format(name, line, notice.get("severity", "NOTICE"), notice.get("message", ""))
        for field in ("detail", "hint"):
            if notice.get(field):
                text += f"\n    {field.upper()}: {notice[field]}"
        self.say(text)

    def finished(self, done: Done) -> None:
        self.done.append(done)
        self.line(f"{done.name}  done in {duration(done.execution_time_ms)}")

    def failure(self, error: MigrateError) -> None:
        """Print an error: what happened, what state things are in, what to do next."""
        self.say(render(error))

    def _show(self, text: str) -> None:
        if self._live and text != self._shown:
            self._err.write("\r\x1b[K" + text)
            self._err.flush()
            self._shown = text

    def _erase(self) -> None:
        if self._shown:
            self._err.write("\r\x1b[K")
            self._shown = ""


def render(error: MigrateError) -> str:
    """Put an error into the lines a person needs."""
    lines: list[str] = []
    if isinstance(error, FileError) and error.place is not None:
        lines += place_lines(error.place)
    statement = error.statement if isinstance(error, MigrationFailed) else None
    if statement is not None:
        lines.append("statement {}: {}".format(*statement))
    server = error.server if isinstance(error, MigrationFailed) else None
    if server is None:
        lines.append("error: " + error.message)
    else:
        lines.append(f"error: {error.message} ({server.sqlstate})")
        for field in ("detail", "hint", "context", "constraint"):
            if server.fields.get(field):
                lines.append("{}: {}".format(field.upper(), server.fields[field].replace("\n", "\n    ")))
    if error.state:
        lines.append(error.state)
    lines += [line for line in error.advice.split("\n") if line]
    return "\n".join(lines)


def place_lines(place: Place) -> list[str]:
    """Show a place: `file:line:column`, the section, the line, and a caret under the character."""
    head = f"{place.file}:{place.line}:{place.column}"
    if place.section:
        head += f', in "{place.section}"'
    text, column = place.text, place.column - 1
    start = max(0, column - _WIDTH // 2) if len(text) > _WIDTH else 0
    shown = text[start : start + _WIDTH]
    before = shown[: column - start]
    if start:
        shown, before = "…" + shown, "…" + before
    if start + _WIDTH < len(text):
        shown += "…"
    return [head, "    " + shown, "    " + "".join(_blank(char) for char in before) + "^"]


def _blank(char: str) -> str:
    """Return a space exactly as wide as a character: one for one, so that the caret counts characters too."""
    import unicodedata

    if char == "\t":
        return char
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me", "Mn"):
        return "\u200b"
    return "\u3000" if unicodedata.east_asian_width(char) in "WF" else " "


def duration(milliseconds: int) -> str:
    """Write a time as a person would."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds // 60000} min {milliseconds % 60000 // 1000} s"
