"""What usually helps against an error of the server, by its SQLSTATE."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

_QUOTED = re.compile('["«»„“”]([^"«»„“”]+)["«»„“”]')

_EXISTS = "It exists already. Was it made by hand, or was this migration's record removed by `rollback`?"
_BY_STATE = {
    "25001": "This command cannot run in a transaction: move it to a file that begins with\n"
    "-- migrate: no-transaction",
    "25006": "The server is read-only (a standby, or default_transaction_read_only): connect to the primary.",
    "2D000": "A file runs in one transaction: take COMMIT and ROLLBACK out of the block or procedure.",
    "40P01": "Another session locked the same objects in another order. Run again, when it is less busy.",
    "42710": _EXISTS,
    "42P07": _EXISTS,
    "53100": "The server's disk is full. Free space or grow the disk, then run again.",
    "53200": "The server ran out of memory or of lock slots (max_locks_per_transaction).",
    "55P03": "Another session holds a lock on it. Run again, or allow more time with --lock-timeout SECONDS.",
    "55P04": "A new enum value can be used only after it is committed: move its use to the next file.",
    "57014": "Somebody cancelled it, or it took longer than statement_timeout allows: run again, or allow more time\n"
    "with --statement-timeout SECONDS, or in the file:  -- migrate: statement-timeout=10min",
    "57P01": "The server was shut down, or an administrator ended the session. Run again.",
}

_PACKAGES = {
    "uuid-ossp": "postgresql-contrib",
    "pgcrypto": "postgresql-contrib",
    "vector": "postgresql-NN-pgvector",
    "pg_partman": "postgresql-NN-partman",
    "citus": "postgresql-NN-citus",
}


def advice_for(fields: dict[str, str]) -> str:
    """Return a line that says what to do, or nothing when we know no better than the message."""
    state, message = fields.get("sqlstate", ""), fields.get("message", "")
    quoted = _QUOTED.search(message)
    name = quoted.group(1) if quoted else ""
    if state == "42501":
        return _permission(message, name)
    if state in ("58P01", "0A000") and "extension" in message:
        name = re.sub(r"^.*/([^/]+)\.control$", r"\1", name)
        return _extension(name)
    if state == "22P05" and "0x" in message:
        return "The database's encoding has no such character: leave it out, or use a database in UTF-8."
    return _BY_STATE.get(state, "")


def _extension(name: str) -> str:
    package = _PACKAGES.get(name)
    where = f"the package {package} holds it" if package else "install its package"
    return (
        f'The extension "{name}" is not on the server: {where}. Then, as superuser:\n'
        f'CREATE EXTENSION IF NOT EXISTS "{name}";'
    )


def _permission(message: str, name: str) -> str:
    if "extension" in message:
        return f'Ask a superuser to run, in this database:  CREATE EXTENSION IF NOT EXISTS "{name}";'
    words = message.split()
    if name or len(words) > 4:
        name = name or words[-1]
        if "database" in message:
            return f'As owner of the database:  GRANT CREATE ON DATABASE "{name}" TO <this user>;'
        if "schema" in message:
            return f'As owner of the schema:  GRANT CREATE, USAGE ON SCHEMA "{name}" TO <this user>;'
    return "Let the owner of the object run the migrations, or grant this user what the message names."
