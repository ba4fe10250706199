"""How an error is put before a program: the document of `--json`."""

from __future__ import annotations

from .arguments import COMMANDS
from .errors import FileError, MigrationFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .errors import MigrateError
    from .report import Printer


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
