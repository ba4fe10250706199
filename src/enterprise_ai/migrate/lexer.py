"""Where one SQL statement ends and the next begins, by the rules of PostgreSQL's own lexer."""

from __future__ import annotations

import re

from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


#: A statement: text[start:end] with its semicolon, its first words in lower case, and whether data follows.
Statement = NamedTuple(
    "Statement", [("start", int), ("end", int), ("words", "tuple[str, ...]"), ("copies", bool)]
)


class LexError(Exception):
    """The text cannot be cut into statements: what is wrong, and the offset where it begins."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class NeedMore(Exception):
    """The statement goes on beyond the text that was given."""


class MetaCommand(Exception):
    """A psql command (backslash) stands at this offset."""

    def __init__(self, offset: int, in_statement: bool) -> None:
        super().__init__(offset)
        self.offset = offset
        self.in_statement = in_statement


_SPACE = re.compile(r"[ \t\n\r\f\v;]*")
_LINE_COMMENT = re.compile(r"--[^\n\r]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
# Letters, _ and every character beyond ASCII; the rest of a name has digits too, and $ unless it is a tag.
# The classes are written by what they leave out: a range up to U+10FFFF takes 20 ms to compile.
_WORD = re.compile(r"[^\x00-@\[-^`{-\x7f][^\x00-#%-/:-@\[-^`{-\x7f]*")
_TAG_BEGINS = r"\$(?:[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)?"
_DOLLAR_TAG = re.compile(_TAG_BEGINS + r"\$")
_OPEN_TAG = re.compile(_TAG_BEGINS + r"\Z")
_PARAMETER = re.compile(r"\$[0-9]+")
_ESCAPED = re.compile(r"(?:[^'\\]|\\.|'')*'", re.DOTALL)
# A string goes on after white space that holds a line end, in the same manner in which it began.
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'")
_DULL = re.compile(r"[\x00-\x20!#%&*+,0-9:<=>?@\[\]^`{|}~\x7f]*")

# A run of what is not difficult, at the speed of C: no dollar sign, backslash or block comment.  A quoted
# string without a backslash ends alike whatever its kind.  Bounded: each round costs the matcher memory.
_PLAIN = re.compile(
    r"""[^'";$\\/-]*(?:(?:'[^'\\]*'|"[^"]*"|--[^\n\r]*|-(?!-)|/(?!\*))[^'";$\\/-]*){0,1000}"""
)
# Words that begin a statement which needs the careful way: what may hold `;` inside or data behind, and
# those whose following words matter to the engine.
_CAREFUL = frozenset(
    [
        "abort",
        "alter",
        "begin",
        "cluster",
        "commit",
        "copy",
        "create",
        "discard",
        "drop",
        "end",
        "prepare",
        "reindex",
    ]
    + ["rollback", "set", "start", "vacuum"]
)


def next_start(text: str, position: int, final: bool) -> int:
    """Skip white space, comments and empty statements; return where the next statement starts, or the end."""
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if text.startswith("--", position):
            position = _LINE_COMMENT.match(text, position).end()  # type: ignore[union-attr]
        elif text.startswith("/*", position):
            position = _block_comment(text, position, final)
        elif not final and position >= len(text) - 1:
            raise NeedMore  # a comment may start with the very last character
        else:
            return position


def scan(text: str, start: int, final: bool, backslashes: bool = False) -> Statement:
    """Read the statement that starts at `start`; raise `NeedMore`, `LexError` or `MetaCommand`.

    `final` says that the text goes no further; `backslashes` that plain strings have escapes
    (standard_conforming_strings is off).
    """
    if text.startswith("\\", start):
        raise MetaCommand(start, in_statement=False)
    word = _WORD.match(text, start)
    if word is not None and not backslashes:
        first = word.group().lower()
        if first not in _CAREFUL:
            end = _plain_end(text, word.end(), final)
            if end is not None:
                return tuple.__new__(Statement, (start, end, (first,), False))  # there may be very many
    return _Careful(text, start, final, backslashes).scan()


def _plain_end(text: str, position: int, final: bool) -> int | None:
    """Return where a statement ends that holds nothing difficult, or None when it does; raise `NeedMore`."""
    while True:
        reached = _PLAIN.match(text, position).end()  # type: ignore[union-attr]
        if text.startswith(";", reached):
            return reached + 1
        if reached == position:
            break
        position = reached
    if not final and _is_cut_off(text, reached):
        raise NeedMore  # to look at each token of a huge statement first would take ten times as long
    return None


def _is_cut_off(text: str, position: int) -> bool:
    """Tell whether the text ends here, or in a quoted string or name that begins here."""
    quote = text[position : position + 1]
    return not quote or (quote in "'\"" and text.find(quote, position + 1) < 0)


class _Careful:
    """The whole grammar of tokens, one token at a time."""

    def __init__(self, text: str, start: int, final: bool, backslashes: bool) -> None:
        self.text = text
        self.start = start
        self.final = final
        self.backslashes = backslashes
        self.position = start
        self.words: tuple[str, ...] = ()
        self.parentheses = 0
        self.atomic = 0  # how many BEGIN ATOMIC and CASE are open
        self.previous = ""  # the word or character before
        self.copies = False

    def scan(self) -> Statement:
        text = self.text
        while True:
            self.position = _DULL.match(text, self.position).end()  # type: ignore[union-attr]
            if self.position >= len(text):
                return self._finish(len(text))
            char = text[self.position]
            if char == ";":
                self.position += 1
                if self.parentheses <= 0 and not self.atomic:
                    return Statement(self.start, self.position, self.words, self.copies)
                self.previous = char
            elif char in "'\"$-/\\":
                self._quoted_or_comment(char)
            elif char in "().":
                self.parentheses += (char == "(") - (char == ")")
                self.position += 1
                self.previous = char
            else:
                self._word()

    def _finish(self, end: int) -> Statement:
        if not self.final:
            raise NeedMore
        return Statement(self.start, end, self.words, self.copies)

    def _word(self) -> None:
        match = _WORD.match(self.text, self.position)
        assert match is not None
        word = match.group().lower()
        self.position = match.end()
        if self.position == len(self.text) and not self.final:
            raise NeedMore
        if word == "e" and self.text.startswith("'", self.position):
            self._string(escapes=True)
            return
        if len(self.words) < 16:
            self.words += (word,)
        self._nesting(word)
        if word == "stdin" and self.previous == "from" and self.words[0] == "copy":
            self.copies = True
        self.previous = word

    def _nesting(self, word: str) -> None:
        """Follow BEGIN ATOMIC … END with CASE … END inside: semicolons between do not end the statement."""
        if self.atomic:
            if self.previous in ("as", "."):
                return  # a label or a column may bear any name
            if word == "case":
                self.atomic += 1
            elif word == "end":
                self.atomic -= 1
        elif word == "atomic" and self.previous == "begin" and self._makes_a_routine():
            self.atomic = 1

    def _makes_a_routine(self) -> bool:
        words = self.words
        kind = words[3:4] if words[1:3] == ("or", "replace") else words[1:2]
        return words[0] == "create" and kind in (("function",), ("procedure",))

    def _quoted_or_comment(self, char: str) -> None:
        text, at = self.text, self.position
        if char == "'":
            self._string(escapes=self.backslashes)
        elif char == '"':
            self.position = self._closing('"', at + 1, at, "quoted name")
            self.previous = char
        elif char == "$":
            self._dollar()
        elif char == "\\":
            raise MetaCommand(at, in_statement=True)
        elif text.startswith("--", at):
            self.position = _LINE_COMMENT.match(text, at).end()  # type: ignore[union-attr]
        elif text.startswith("/*", at):
            self.position = _block_comment(text, at, self.final)
        elif at + 1 == len(text) and not self.final:
            raise NeedMore
        else:
            self.position = at + 1

    def _string(self, escapes: bool) -> None:
        """Pass over a string; the position is at its opening quote."""
        opening = self.position
        while True:
            if escapes:
                match = _ESCAPED.match(self.text, self.position + 1)
                end = match.end() if match else self._unended("quoted string", opening)
            else:
                end = self._closing("'", self.position + 1, opening, "quoted string")
            if end >= len(self.text) and not self.final:
                raise NeedMore
            self.position = end
            again = _CONTINUED.match(self.text, end) if escapes else None
            if again is None:
                break
            self.position = again.end() - 1
        self.previous = "'"

    def _dollar(self) -> None:
        text, at = self.text, self.position
        parameter = _PARAMETER.match(text, at)
        tag = None if parameter else _DOLLAR_TAG.match(text, at)
        if parameter is not None:
            self.position = parameter.end()
        elif tag is not None:
            self.position = self._closing(tag.group(), tag.end(), at, "dollar-quoted string")
        elif not self.final and _OPEN_TAG.match(text, at):
            raise NeedMore  # the tag may go on
        else:
            self.position = at + 1
        self.previous = "$"

    def _closing(self, quote: str, position: int, opening: int, what: str) -> int:
        end = self.text.find(quote, position)
        return end + len(quote) if end >= 0 else self._unended(what, opening)

    def _unended(self, what: str, opening: int) -> int:
        if not self.final:
            raise NeedMore
        raise LexError(f"unterminated {what}", opening)


def _block_comment(text: str, start: int, final: bool) -> int:
    """Pass over a comment, nested ones included."""
    depth, position = 0, start
    while True:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            if final:
                raise LexError("unterminated /* comment", start)
            raise NeedMore
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
        if depth == 0:
            return position
