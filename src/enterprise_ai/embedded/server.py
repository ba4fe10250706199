"""The embedded server as a whole: who may use it, when it starts, and when it stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from enterprise_ai.embedded import accounts, database, lifecycle, locks, paths, process, removal, status
from enterprise_ai.embedded.cluster import DATABASE, SUPERUSER
from enterprise_ai.embedded.errors import EmbeddedError, ServerInUse
from enterprise_ai.embedded.paths import Layout


class EmbeddedServer:
    """One private PostgreSQL, shared by every process that names the same root folder."""

    def __init__(self, root: Path | None = None, *, fast: bool = False) -> None:
        """Choose folder and account without touching anything; `fast` gives up durability, for tests only."""
        process.require_process_list()
        accounts.calling_user()
        self._layout = Layout(paths.chosen_root(root))
        self._account = accounts.server_account(self._layout.data)
        self._fast = fast

    @property
    def root(self) -> Path:
        return self._layout.root

    @contextmanager
    def lease(self) -> Iterator[EmbeddedServer]:
        """Use the server: it runs within the block, and is left afterwards as it was found.

        The last process out stops it, unless `start` was called. Raises `EmbeddedError` when it cannot start.
        """
        with locks.gate(self._layout):
            self._bring_up()
            lease = locks.try_lock(self._layout.lease_lock, shared=True)
        if lease is None:
            raise EmbeddedError(f"{self._layout.lease_lock} is held exclusively by a stranger.")
        try:
            yield self
        finally:
            with locks.gate(self._layout):
                os.close(lease)
                if not self._layout.kept.exists() and not locks.is_held(self._layout.lease_lock):
                    lifecycle.halt(self._layout, self._account)

    def start(self) -> bool:
        """Have the server run until `stop`; return whether it had to be started."""
        with locks.gate(self._layout):
            started = self._bring_up()
            self._layout.kept.touch(mode=0o600)
        return started

    def stop(self) -> bool:
        """Stop the server; return False when none ran. Raises `ServerInUse`: then the last user stops it."""
        if not paths.present(self._layout):
            return False
        with locks.gate(self._layout):
            self._layout.kept.unlink(missing_ok=True)
            self._refuse_when_leased("It stops when the last of them ends.")
            return lifecycle.halt(self._layout, self._account)

    def destroy(self) -> bool:
        """Stop the server and remove all its data; return False when there was none. Raises `ServerInUse`."""
        if not paths.present(self._layout):
            return False
        with locks.gate(self._layout):
            self._refuse_when_leased("Nothing was removed.")
            lifecycle.halt(self._layout, self._account)
            removal.remove(self._layout, self._account)
        return True

    def status(self) -> status.Status:
        """Return what is known about the server without changing anything."""
        paths.present(self._layout)
        return status.read(self._layout, self._account)

    def url(self, dbname: str = DATABASE) -> str:
        """Return the libpq URL of a database, over the socket; the server need not be running."""
        folder = quote(str(self._layout.sockets(self._account.uid)), safe="/")
        return f"postgresql:///{quote(dbname, safe='')}?host={folder}&port=5432&user={SUPERUSER}"

    def environment(self, dbname: str = DATABASE) -> dict[str, str]:
        """Return our environment with the libpq variables that lead client programs to the database."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        folder = str(self._layout.sockets(self._account.uid))
        return {**ours, "PGHOST": folder, "PGPORT": "5432", "PGUSER": SUPERUSER, "PGDATABASE": dbname}

    def ensure_database(self, name: str = DATABASE) -> bool:
        """Create the database when it is absent, on the running server; return whether it was."""
        return database.ensure(self.url("postgres"), name)

    def _bring_up(self) -> bool:
        self._account = accounts.server_account(self._layout.data)  # another process may have made the data
        return lifecycle.bring_up(self._layout, self._account, self._fast)

    def _refuse_when_leased(self, consequence: str) -> None:
        if locks.is_held(self._layout.lease_lock):
            raise ServerInUse(
                f"The embedded server is in use ({locks.described(self._layout.lease_lock)}). {consequence}"
            )
