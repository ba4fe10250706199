"""What became of a transaction whose connection broke during COMMIT."""

from __future__ import annotations

import time

from . import history as _history
from .connection import Connection
from .errors import ConnectionFailed, ConnectionLost, ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .files import MigrationFile
    from .interrupts import Interrupts
    from .target import Target

#: How long a server may take to recover before the question is left to the next run.
_PATIENCE = 60.0


def was_committed(
    target: Target,
    transaction: str,
    file: MigrationFile,
    say: Callable[[str], None],
    interrupts: Interrupts | None,
) -> bool | None:
    """Ask the server itself, waiting for it to recover; None when it does not answer in time.

    A backend can outlive its connection, and even the postmaster, and still commit: so a transaction that
    is in progress is waited for, and only then the history is read.
    """
    say(f"the connection was lost during COMMIT of {file.name}; asking the server what became of it")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and not (interrupts is not None and interrupts.requested):
        try:
            connection = Connection(target)
            try:
                status = connection.query(f"select pg_catalog.txid_status({transaction})")[0][0]
                if status != "in progress":
                    rows = _history.look(connection).applied
                    return any(row.name == file.name and row.checksum == file.checksum for row in rows)
            finally:
                connection.close()
        except (ConnectionFailed, ConnectionLost, ServerError):
            pass  # still recovering
        if interrupts is not None:
            interrupts.sleep(0.25)
        else:
            time.sleep(0.25)
    return None
