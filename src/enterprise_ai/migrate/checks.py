"""What can be known of a file before anything runs: statements that cannot work inside one transaction."""

from __future__ import annotations

import re

from . import directives
from .errors import FileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .apply import FileRun
    from .batches import Batch
    from .directives import Directives
    from .lexer import Statement
    from .script import Script

_OWN_TRANSACTION = (
    "The engine runs the whole file in one transaction and commits it with its record. "
    "Remove the statement, or split the file where it should commit."
)


class Checked:
    """A script that may run, its directives, and how many statements it holds."""

    def __init__(self, script: Script, own: Directives | None = None) -> None:
        self.script = script
        self.directives = own or directives.read(script)
        self.statements = 0
        for batch in script.batches():
            for statement in batch.statements:
                self.statements += 1
                if statement.words[:1] and statement.words[0] in _WATCHED:
                    self._check(batch, statement)
            for _ in batch.data or ():
                pass

    def run_class(self) -> type[FileRun]:
        """Return how it is run: in one transaction, or statement by statement."""
        if self.directives.transaction:
            from .apply import FileRun

            return FileRun
        from .steps import StepRun

        return StepRun

    def _check(self, batch: Batch, statement: Statement) -> None:
        text = batch.text[statement.start : statement.end]
        problem, advice = controls_transaction(statement.words), _OWN_TRANSACTION
        if problem is not None and not self.directives.transaction:
            advice = "Each statement of this file is committed by itself: remove it."
        if problem is None and self.directives.transaction:
            problem = needs_no_transaction(statement.words)
            advice = "Move it to a file of its own that begins with:  -- migrate: no-transaction"
        if problem is None and _sets_encoding(statement.words, text):
            problem, advice = (
                "files are UTF-8; the client encoding cannot be changed",
                "Remove the statement.",
            )
        if problem is not None:
            raise FileError(
                problem,
                place=self.script.place(batch.offset + statement.start),
                state="Nothing was run.",
                advice=advice,
            )


_WATCHED = frozenset(
    ["abort", "alter", "begin", "cluster", "commit", "create", "discard", "drop", "end", "prepare", "reindex"]
    + ["rollback", "set", "start", "vacuum"]
)


def controls_transaction(words: tuple[str, ...]) -> str | None:
    """Name the transaction command that a statement is, unless it is one for savepoints."""
    first, rest = words[0], [word for word in words[1:3] if word not in ("work", "transaction")]
    if first in ("begin", "commit", "end", "abort"):
        return f"{first.upper()} is not possible inside a migration"
    if first == "rollback" and rest[:1] != ["to"]:
        return "ROLLBACK is not possible inside a migration"
    if first in ("start", "prepare") and words[1:2] == ("transaction",):
        return f"{first.upper()} TRANSACTION is not possible inside a migration"
    return None


def needs_no_transaction(words: tuple[str, ...]) -> str | None:
    """Name the command that the server refuses in a transaction."""
    first, second = words[0], words[1:2]
    command = None
    if first in ("create", "drop") and "index" in words[1:3] and "concurrently" in words[2:4]:
        command = f"{first.upper()} INDEX CONCURRENTLY"
    elif first == "reindex" and "concurrently" in words:
        command = "REINDEX CONCURRENTLY"
    elif first == "reindex" and {"database", "system", "schema"}.intersection(words[1:4]):
        command = "REINDEX of a schema or database"
    elif first == "alter" and "detach" in words and words[-1] == "concurrently":
        command = "DETACH PARTITION CONCURRENTLY"
    elif first == "vacuum":
        command = "VACUUM"
    elif first == "cluster" and words[1:] in ((), ("verbose",)):
        command = "CLUSTER of all tables"
    elif first in ("create", "drop") and second in (("database",), ("tablespace",)):
        command = f"{first.upper()} {second[0].upper()}"
    elif first == "alter" and second == ("system",):
        command = "ALTER SYSTEM"
    elif first == "alter" and second == ("database",) and words[3:5] == ("set", "tablespace"):
        command = "ALTER DATABASE … SET TABLESPACE"
    elif first == "discard" and second == ("all",):
        command = "DISCARD ALL"
    return command and f"{command} cannot run inside a transaction"


def _sets_encoding(words: tuple[str, ...], text: str) -> bool:
    names = words[:2] == ("set", "names") or (words[0] == "set" and "client_encoding" in words[1:3])
    return names and re.search(r"utf-?8|unicode", text, re.IGNORECASE) is None
