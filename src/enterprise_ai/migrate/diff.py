"""How an edited file differs from the text that ran, and how every disagreement is put into words."""

from __future__ import annotations

from .errors import HistoryDisagrees
from .files import canonical
from .ledger import stored_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .compare import Comparison, Problem
    from .connection import Connection
    from .files import MigrationFile
    from .history import History

#: A longer difference is cut: it is there to recognise the edit, not to replace `git diff`.
_LINES = 60

_ADVICE = {
    "edited": "Restore the file as it was and put the change into a new file, or take it as it is:  accept {name}",
    "swapped": "Give both files their own content back, or take them as they are:  accept {name}",
    "missing": "Bring the file back, or take its record out with:  rollback {name}",
    "renamed": "Give the file its name back ({name}), or take the new one:  accept {other}",
    "out of order": "Give the file the next free number, or allow it with --allow-out-of-order.",
}


def difference(connection: Connection, history: History, file: MigrationFile) -> str:
    """Return a unified diff from the text that ran to the file; empty when the text was not kept."""
    import difflib

    row = next((row for row in history.applied if row.name == file.name), None)
    before = stored_text(connection, history, row.checksum) if row is not None else None
    if before is None:
        return ""
    after = b"".join(canonical(file.chunks())).decode("utf-8", "replace")
    lines = list(
        difflib.unified_diff(
            before.split("\n"),
            after.split("\n"),
            file.name + " as it ran",
            file.name + " now",
            lineterm="",
            n=2,
        )
    )
    if len(lines) > _LINES:
        lines[_LINES:] = [f"… {len(lines) - _LINES} more lines"]
    return "\n".join(lines)


def explain(
    connection: Connection, history: History, comparison: Comparison, problems: list[Problem]
) -> HistoryDisagrees:
    """Put disagreements into one error, with what to do about each kind."""
    parts = []
    for problem in problems:
        text = problem.message
        if problem.kind == "edited":
            shown = difference(connection, history, comparison.files[problem.name])
            text += "\n" + "\n".join("    " + line for line in shown.split("\n")) if shown else ""
        parts.append(text)
    advice = []
    for problem in problems:
        line = _ADVICE[problem.kind].format(name=problem.name, other=problem.other)
        if line not in advice:
            advice.append(line)
    return HistoryDisagrees(
        "the history and the files disagree:\n" + "\n".join(parts),
        state="Nothing was run.",
        advice="\n".join(advice),
    )
