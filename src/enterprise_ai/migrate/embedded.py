# ruff: noqa: PTH101  pathlib is not loaded by the engine
"""How the engine comes by the embedded PostgreSQL, which only newer Pythons have."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from .errors import ConnectionFailed, UsageError
from .interrupts import Unwinding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator


@contextmanager
def leased(say: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL of the embedded server, running for as long as the block does."""
    _refuse_old_python('export DATABASE_URL="postgresql://USER:PASSWORD@HOST:5432/DATABASE"')
    from enterprise_ai.embedded import EmbeddedError, EmbeddedServer

    with Unwinding("The embedded PostgreSQL was left as it was found."):
        try:
            with EmbeddedServer().lease() as server:
                say("no DATABASE_URL is set: using the embedded PostgreSQL")
                yield server.url()
        except EmbeddedError as error:
            raise ConnectionFailed(str(error)) from error


@contextmanager
def scratch_server(say: Callable[[str], None]) -> Iterator[str]:
    """Run an embedded server of our own for the length of a trial, with nothing in it."""
    _refuse_old_python("Name a server on which scratch databases may be made:  test --database-url URL")
    import tempfile
    from pathlib import Path

    from enterprise_ai.embedded import EmbeddedError, EmbeddedServer

    with tempfile.TemporaryDirectory(prefix="enterprise-ai-") as folder:
        os.chmod(folder, 0o711)  # the account that runs the server must get through
        server = EmbeddedServer(Path(folder) / "pg", fast=True)
        say("starting a scratch server")
        try:
            with server.lease():
                yield server.url("postgres")
        except EmbeddedError as error:
            raise ConnectionFailed(str(error)) from error
        finally:
            server.destroy()


def _refuse_old_python(advice: str) -> None:
    if sys.version_info < (3, 9):
        raise UsageError("no database was named, and the embedded PostgreSQL needs Python 3.9", advice=advice)
