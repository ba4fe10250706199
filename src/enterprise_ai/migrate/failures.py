"""How an error is put before a program: the document of `--json`."""

from __future__ import annotations

from .arguments import COMMANDS
from .errors import FileError, MigrateError, MigrationFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .report import Printer


def unforeseen(error: Exception) -> MigrateError:
    """Turn an error that nobody thought of into ours; its text may quote anything, so only its place is told."""
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return MigrateError(f"{error.strerror or type(error).__name__}{where}")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "{}:{}".format(trace.tb_frame.f_globals.get("__name__"), trace.tb_lineno) if trace else "?"
    return MigrateError(
        f"this is a defect of the engine: {type(error).__name__} at {place}",
        state="Whatever was not committed is rolled back; the next run begins where this one stopped.",
        advice="Please report it, with what --debug shows.",
    )


def document(error: MigrateError, argv: list[str], printer: Printer) -> dict[str, Any]:
    """Describe an error for a program: the same facts that a person gets."""
    place = error.place if isinstance(error, FileError) else None
    server = error.server if isinstance(error, MigrationFailed) else None
    return {
        "command": next((word for word in argv if word in COMMANDS), None),
        "exit_code": error.exit_code,
        "done": [one._asdict() for one in printer.done],
        "error": {
            "message": error.message,
            "state": error.state,
            "advice": error.advice,
            "place": place._asdict() if place is not None else None,
            "blockers": [one._asdict() for one in error.blockers]
            if isinstance(error, MigrationFailed)
            else [],
            "server": server.fields if server is not None else None,
        },
    }
