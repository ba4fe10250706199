"""What `migrate` and the commands that settle a history say when they are done: to a program and to a person."""

from __future__ import annotations

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from .arguments import Arguments
    from .migrator import Migrator

    Said = Tuple[Dict[str, Any], List[str]]


def migrate(migrator: Migrator, arguments: Arguments) -> Said:
    """Run the pending files, and say what is left."""
    dry_run = arguments.is_set("--dry-run")
    result = migrator.migrate(
        target=arguments.text("--target"),
        dry_run=dry_run,
        allow_out_of_order=arguments.is_set("--allow-out-of-order"),
    )
    for note in result.notes:
        migrator.say("note: " + note)
    left = f"{len(result.pending)} pending" if result.pending else "nothing is pending"
    if dry_run:
        lines = [f"{name}  would run" for name in result.pending]
        lines.append(f"{_files(len(result.pending))} would run; nothing was changed.")
    elif result.done:
        lines = [f"{_files(len(result.done))} done; {left}."]
    elif result.pending:
        lines = [f"Nothing to do up to the target; {left}."]
    else:
        lines = [f"Nothing to do: {result.database} is up to date."]
    document = {**result._asdict(), "dry_run": dry_run, "done": [one._asdict() for one in result.done]}
    return document, lines


def rollback(migrator: Migrator, arguments: Arguments) -> Said:
    """Remove records, with or without the schema, and say which of the two it was."""
    result = migrator.rollback(
        arguments.file, execute=arguments.is_set("--execute"), reason=arguments.text("--reason")
    )
    if result.executed:
        lines = [f"{name}  rolled back, record removed" for name in result.removed]
        lines.append("The schema is as it was before these files; migrate would run them again.")
    else:
        lines = [f"{name}  record removed" for name in result.removed]
        lines.append(
            "Only records were removed: no SQL ran; everything these files made is still in the database.\n"
            "status now shows them as pending, and migrate would run them again; undo their schema first\n"
            "(each file ends with its rollback instructions; rollback FILE --execute runs them)."
        )
    return result._asdict(), lines


def baseline(migrator: Migrator, arguments: Arguments) -> Said:
    """Record the files up to one, and say what must be true of the database."""
    result = migrator.baseline(arguments.file)
    lines = [f"{name}  recorded, not run" for name in result.recorded]
    if result.recorded:
        lines.append(
            f"{_files(len(result.recorded))} recorded in {result.database}; no SQL ran.\n"
            "The engine takes it from here that the database has all they make. migrate runs what comes after."
        )
    else:
        lines.append(f"Nothing to record: {arguments.file} and what comes before it are in the history.")
    return {"database": result.database, "recorded": list(result.recorded)}, lines


def accept(migrator: Migrator, arguments: Arguments) -> Said:
    """Accept an edited file, and show the edit."""
    result = migrator.accept(arguments.file, reason=arguments.text("--reason"))
    lines = ["    " + line for line in result.difference.split("\n") if line]
    if result.was != result.name:
        lines.append(f"{result.name}  accepted as the new name of {result.was}")
    else:
        lines.append(f"{result.name}  accepted as it is now")
    lines.append("Only its record changed: no SQL ran. The former record is kept, with who and why.")
    return result._asdict(), lines


def resolve(migrator: Migrator, arguments: Arguments) -> Said:
    """Settle a half-done file, and say how it goes on."""
    answer = arguments.text("--as")
    if answer is None:
        raise UsageError(
            "resolve needs --as applied or --as pending",
            advice="applied: the statement at which the file stopped took effect; pending: it did not.",
        )
    result = migrator.resolve(arguments.file, applied=answer == "applied")
    again = f"rollback {result.name} --execute" if result.is_rollback else "migrate"
    if result.recorded:
        lines = [f"{result.name}  statement {result.number} was its last one: the file is applied"]
    elif answer == "applied":
        lines = [
            f"{result.name}  statement {result.number} counts as done",
            f"{again} goes on behind it.",
        ]
    else:
        lines = [
            f"{result.name}  statement {result.number} counts as not done",
            f"{again} goes on with it.",
        ]
    return result._asdict(), lines


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
