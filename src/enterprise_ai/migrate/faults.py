"""Which place in a file an error of the server belongs to, inside DO blocks and function bodies too."""

from __future__ import annotations

import re

from .advice import advice_for
from .errors import MigrationFailed
from .locate import line_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .batches import Batch
    from .errors import ServerError
    from .lexer import Statement
    from .script import Script

# A frame of a PL/pgSQL context, in any language of the server: what runs (an inline block, a signature, or
# a quoted name while it is compiled), then its line.
_FRAME = re.compile(
    r"PL/pgSQL[^\n]*?(?:(inline_code_block)|([^\s\"»«„“]+)\([^)\n]*\)|[\"»«„“]([^\n\"»«„“”]+)[\"»«“”])[^\d\n]*(\d+)"
)
_INLINE = "inline_code_block"
_QUOTE = re.compile(r"\$(?:[^\W\d]\w*)?\$|'")
_COPY_LINE = re.compile(r"COPY .+?, \S+ (\d+)")
_OCTETS = re.compile(r"0x[0-9a-f]{2}(?: 0x[0-9a-f]{2})*")
_LINE = re.compile(r"[^\n]*\n")


def explain(script: Script, batch: Batch, error: ServerError, number: int, encoding: str) -> MigrationFailed:
    """Turn an error in a batch into a failure with its place; its first statement has this `number`."""
    index = min(error.completed, len(batch.statements) - 1)
    statement = batch.statements[index]
    offset = _offset(script, batch, statement, error, encoding)
    failure = MigrationFailed(
        error.fields.get("message", str(error)),
        place=script.place(batch.offset + statement.start if offset is None else offset),
        server=error,
        advice=advice_for(error.fields) or "Correct the file and run again.",
    )
    failure.statement = (number + index, _first_line(batch.text, statement)) if offset is None else None
    return failure


def _offset(
    script: Script, batch: Batch, statement: Statement, error: ServerError, encoding: str
) -> int | None:
    """Return the offset in the file of the character at fault, or None when only the statement is known."""
    position = error.fields.get("position")
    if position is not None:
        at = int(position) - 1
        if encoding == "SQL_ASCII":  # such a server counts bytes
            at = len(batch.text.encode("utf-8")[:at].decode("utf-8", "ignore"))
        return batch.offset + at
    if statement.copies:
        return _in_copy_data(script, batch, statement, error)
    text = batch.text[statement.start : statement.end]
    if error.sqlstate == "22P05" and error.completed == 0:
        return _untranslatable(batch, error)
    inside = (
        _inside(text, error.fields.get("context", ""), _INLINE, error)
        if statement.words[:1] == ("do",)
        else None
    )
    if inside is not None:
        return batch.offset + statement.start + inside
    return _in_earlier_function(batch, statement, error)


def _in_copy_data(script: Script, batch: Batch, statement: Statement, error: ServerError) -> int | None:
    """Find the line of the data that the server names in its context; the data begins below the statement."""
    found = _COPY_LINE.search(error.fields.get("context", ""))
    if found is None:
        return None
    return line_start(script.pieces(), batch.line_at(statement.end) + int(found.group(1)))


def _untranslatable(batch: Batch, error: ServerError) -> int | None:
    """Find the character that the database's encoding lacks; the server says its bytes before it reads a statement."""
    octets = _OCTETS.search(error.fields.get("message", ""))
    if octets is None:
        return None
    found = batch.text.find(bytes.fromhex(octets.group().replace("0x", "")).decode("utf-8", "replace"))
    return batch.offset + found if found >= 0 else None


def _in_earlier_function(batch: Batch, statement: Statement, error: ServerError) -> int | None:
    """Find the fault in the body of a function that the same file made and the failing statement called."""
    context = error.fields.get("context", "")
    for name, _ in _frames(context):
        for earlier in reversed([one for one in batch.statements if one.start < statement.start]):
            text = batch.text[earlier.start : earlier.end]
            if earlier.words[:1] == ("create",) and _makes(text, name):
                inside = _inside(text, context, name, error)
                return None if inside is None else batch.offset + earlier.start + inside
    return None


def _frames(context: str) -> Iterator[tuple[str, int]]:
    for match in _FRAME.finditer(context):
        yield match.group(1) or match.group(2) or match.group(3), int(match.group(4))


def _makes(text: str, name: str) -> bool:
    plain = re.escape(name.split(".")[-1].strip('"'))
    pattern = rf"create\s+(?:or\s+replace\s+)?(?:function|procedure)\s+(?:[^\s(]+\.)?\"?{plain}\"?\s*\("
    return re.match(pattern, text, re.IGNORECASE) is not None


def _inside(text: str, context: str, name: str, error: ServerError) -> int | None:
    """Return the offset of the fault in the body that a statement holds, from the context of `name`."""
    quote = _QUOTE.search(text, text.lower().find(" as ") if name != _INLINE else 0)
    body = quote.end() if quote else 0
    frames = list(_frames(context))
    line = next((line for function, line in frames if function == name), None)
    at = _line_start(text, body, line) if line is not None else body
    query = error.fields.get("internal_query")
    if query and (not frames or frames[0][0] == name):
        position = int(error.fields.get("internal_position", "1")) - 1
        # PL/pgSQL writes SELECT for PERFORM, and before 14 in front of every expression.
        for cut in (0, len("SELECT ")) if query.startswith("SELECT ") else (0,):
            found = _find(query[cut:], text, at) or _find(query[cut:], text, body)
            if found is not None:
                return found.start() + max(0, position - cut)
    if line is None:
        return None
    return at + len(text[at:]) - len(text[at:].lstrip(" \t"))


def _find(query: str, text: str, at: int) -> re.Match[str] | None:
    """Find a query of PL/pgSQL in its source, where INTO and its targets stand in place of some spaces."""
    pattern = re.sub(r"(?:\\ ){2,}", lambda run: f".{{{len(run.group()) // 2}}}", re.escape(query))
    return re.compile(pattern, re.DOTALL).search(text, at)


def _line_start(text: str, body: int, line: int) -> int:
    """Return where line `line` of a body begins; its first line is the rest of the line with the quote."""
    at = body
    for _ in range(line - 1):
        match = _LINE.match(text, at)
        if match is None:
            break
        at = match.end()
    return at


def _first_line(text: str, statement: Statement) -> str:
    line = text[statement.start : statement.end].splitlines()[0]
    return line if len(line) <= 100 else line[:99] + "…"
