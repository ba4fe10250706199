"""What the commands return to a caller: immutable records."""

from __future__ import annotations

from .compare import Problem
from .history import Applied
from .records import NamedTuple

__all__ = [
    "AcceptResult",
    "Applied",
    "BaselineResult",
    "Done",
    "HalfDone",
    "MigrateResult",
    "Problem",
    "ResolveResult",
    "RollbackResult",
    "Running",
    "StatusResult",
]

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

#: A no-transaction file that stopped on its way, or on its way back: how many statements are done, and at
#: which one it stopped (None: between two), with the server's error when it gave one.
HalfDone = NamedTuple(
    "HalfDone",
    [("name", str), ("is_rollback", bool), ("done", int), ("number", "int | None"), ("error", "str | None")],
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
        ("half_done", "tuple[HalfDone, ...]"),
    ],
)

#: Which records a rollback took out, newest first, and whether the files' own SQL undid their schema.
RollbackResult = NamedTuple(
    "RollbackResult", [("database", str), ("removed", "tuple[str, ...]"), ("executed", bool)]
)

#: Which files a baseline recorded without running them.
BaselineResult = NamedTuple("BaselineResult", [("database", str), ("recorded", "tuple[str, ...]")])

#: Which file is accepted as it is now, the name its record had, and the edit that was accepted.
AcceptResult = NamedTuple(
    "AcceptResult", [("database", str), ("name", str), ("was", str), ("difference", str)]
)

#: What was answered about which statement of a half-done file, and whether that completed the file.
ResolveResult = NamedTuple(
    "ResolveResult",
    [
        ("database", str),
        ("name", str),
        ("is_rollback", bool),
        ("number", int),
        ("statement", str),
        ("answer", str),
        ("recorded", bool),
    ],
)
