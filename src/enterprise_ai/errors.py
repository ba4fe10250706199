"""Every error that the typed faces of the database raise on purpose.

A class names the SQLSTATE or the constraint it stands for; `translated` does the rest. Each domain defines its own
classes beside its functions, on the base that is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import psycopg


class Error(Exception):
    """Base of them all: catch this to catch everything we raise."""

    constraint: ClassVar[str | None] = None
    sqlstate: ClassVar[str | None] = None
    known: ClassVar[dict[str, type[Error]]] = {}

    hint: str | None = None
    """What to do next, where the database says so."""

    def __init_subclass__(cls) -> None:
        for key in (cls.__dict__.get("constraint"), cls.__dict__.get("sqlstate")):
            if key:
                Error.known[key] = cls


@contextmanager
def translated() -> Iterator[None]:
    """Turn a database error we know into our own class; let the rest through."""
    try:
        yield
    except psycopg.Error as error:
        # The SQLSTATE is reliable everywhere; a constraint's name has a suffix on a shard.
        raised = Error.known.get(error.sqlstate or "")
        ours = raised or Error.known.get(error.diag.constraint_name or "")
        if ours is None:
            raise
        # What the server says of a constraint is not for people; what our class stands for is.
        translation = ours(error.diag.message_primary if raised else (ours.__doc__ or "").splitlines()[0])
        translation.hint = error.diag.message_hint
        raise translation from error
