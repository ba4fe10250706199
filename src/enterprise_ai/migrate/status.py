"""How `status` shows a history: for a person and for a program."""

from __future__ import annotations

from .report import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .results import HalfDone, StatusResult


def lines(result: StatusResult) -> list[str]:
    """One line for each file, then what is not as it should be, then the sum."""
    shown = [result.database]
    wrong = {problem.name: problem.kind for problem in result.problems}
    wrong.update(dict.fromkeys(result.ahead, "applied (no such file here: the database is ahead)"))
    width = max([len(row.name) for row in result.applied] + [len(name) for name in result.pending] + [10])
    for row in result.applied:
        word, when = wrong.get(row.name, "applied"), f"{row.executed_at[:10]} {row.executed_at[11:19]}"
        shown.append(f"  {row.name:<{width}}  {word}  {when} UTC  {duration(row.execution_time_ms)}")
    shown += [f"  {name:<{width}}  {wrong.get(name, 'pending')}" for name in result.pending]
    shown += [_half_done(file) for file in result.half_done]
    shown += ["problem: " + problem.message for problem in result.problems]
    if result.running is not None:
        from .lock import describe

        shown.append("another runner is at work: " + describe(result.running))
    return [*shown, f"{len(result.applied)} applied, {len(result.pending)} pending."]


def _half_done(file: HalfDone) -> str:
    what = f"the rollback of {file.name}" if file.is_rollback else file.name
    count = "1 statement is" if file.done == 1 else f"{file.done} statements are"
    text = f"half done: {what}, {count} done"
    if file.number is not None:
        text += f"; statement {file.number} " + ("failed: " if file.error else "was started")
    return text + (file.error or "")


def document(result: StatusResult, code: int) -> dict[str, Any]:
    """The same for a program."""
    return {
        "command": "status",
        "exit_code": code,
        "database": result.database,
        "applied": [row._asdict() for row in result.applied],
        "pending": list(result.pending),
        "problems": [problem._asdict() for problem in result.problems],
        "ahead": list(result.ahead),
        "running": result.running._asdict() if result.running is not None else None,
        "half_done": [one._asdict() for one in result.half_done],
        "error": None,
    }
