"""How the engine comes by the embedded PostgreSQL, which only newer Pythons have."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator


@contextmanager
def leased(say: Callable[[str], None]) -> Iterator[str]:
    """Yield the URL of the embedded server, running for as long as the block does."""
    from enterprise_ai.embedded import EmbeddedServer

    with EmbeddedServer().lease() as server:
        say("no DATABASE_URL is set: using the embedded PostgreSQL")
        yield server.url()
