"""A private PostgreSQL for a machine on which no DATABASE_URL was given.

    from enterprise_ai.embedded import EmbeddedServer

    with EmbeddedServer().lease() as server:      # started when it was not running, left as it was found
        connect(server.url())

Data lies in the platform's user data folder, access is by Unix socket alone, writes are durable.
"""

from __future__ import annotations

import sys

from enterprise_ai.embedded.errors import EmbeddedError, ServerInUse

if sys.platform == "win32":

    class EmbeddedServer:
        """Stands in for the server where there is none, so that importing works everywhere."""

        def __init__(self, *_: object, **__: object) -> None:
            """Raise `EmbeddedError`: there is no embedded server on Windows."""
            raise EmbeddedError(
                "The embedded PostgreSQL does not run on Windows. Set DATABASE_URL to a server of your own "
                "(or work in WSL)."
            )

else:
    from enterprise_ai.embedded.server import EmbeddedServer
    from enterprise_ai.embedded.status import Status

    __all__ = ["EmbeddedError", "EmbeddedServer", "ServerInUse", "Status"]
