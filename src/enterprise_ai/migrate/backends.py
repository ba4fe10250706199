# ruff: noqa: S608  only numbers and quoted literals are put into these queries
"""Server sessions that outlive the runner which began a statement in them."""

from __future__ import annotations

import time

from . import sql
from .errors import LockNotObtained

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .connection import Connection
    from .interrupts import Interrupts
    from .journal import Journal, Step


def await_backend(
    journal: Journal, step: Step, seconds: float, say: Callable[[str], None], interrupts: Interrupts | None
) -> Step:
    """Wait for the server session that ran a statement to end; return what the journal says then."""
    deadline, told = time.monotonic() + seconds, False
    while step.error is None and still_running(journal.connection, step):
        what = f"statement {step.number} of {step.name} still runs on the server (pid {step.pid})"
        if time.monotonic() >= deadline:
            raise LockNotObtained(
                f"{what}, begun by a runner that is gone",
                state="Nothing was run.",
                advice=f"Run again when it has ended, or end it:  SELECT pg_terminate_backend({step.pid});",
            )
        if not told and time.monotonic() > deadline - seconds + 0.5:
            told = True
            say(f"{what}, begun by a runner that is gone; waiting for its end")
        if interrupts is not None:
            interrupts.sleep(0.2)
            interrupts.check("Nothing was run.")
        else:
            time.sleep(0.2)
    return next(one for one in journal.steps(step.name) if one.number == step.number)


def still_running(connection: Connection, step: Step) -> bool:
    """Tell whether the server session that started a statement is still there."""
    return bool(
        connection.query(
            f"select 1 from pg_catalog.pg_stat_activity where pid operator(pg_catalog.=) {step.pid} "
            f"and coalesce(backend_start, {sql.quote(step.backend_start)}::timestamptz) operator(pg_catalog.<=) "
            f"{sql.quote(step.backend_start)}::timestamptz"
        )
    )
