"""What the commands return to a caller: immutable records."""

from __future__ import annotations

from .compare import Problem
from .history import Applied
from .records import NamedTuple

__all__ = ["Applied", "Done", "MigrateResult", "Problem", "RollbackResult", "Running", "StatusResult"]

#: A file that this run brought into the database.
Done = NamedTuple("Done", [("name", str), ("execution_time_ms", int), ("statements", int)])

#: What `migrate` did; with dry_run, `pending` is what it would do.
MigrateResult = NamedTuple(
    "MigrateResult",
    [
        ("database", str),
        ("done", "tuple[Done, ...]"),
        ("pending", "tuple[str, ...]"),
        ("notes", "tuple[str, ...]"),
    ],
)

#: Another runner at work: what it says it runs, for how many seconds (None when this login may not see it).
Running = NamedTuple(
    "Running",
    [("pid", int), ("user", str), ("file", str), ("seconds", "int | None"), ("address", "str | None")],
)

#: How a database and the files relate.
StatusResult = NamedTuple(
    "StatusResult",
    [
        ("database", str),
        ("applied", "tuple[Applied, ...]"),
        ("pending", "tuple[str, ...]"),
        ("problems", "tuple[Problem, ...]"),
        ("ahead", "tuple[str, ...]"),
        ("running", "Running | None"),
    ],
)

#: Which records a rollback took out, newest first.
RollbackResult = NamedTuple("RollbackResult", [("database", str), ("removed", "tuple[str, ...]")])
