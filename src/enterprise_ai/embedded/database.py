"""How a database is created on the running server, through whichever driver is installed."""

from __future__ import annotations

from typing import Any

from enterprise_ai.embedded.errors import EmbeddedError


def ensure(url: str, name: str) -> bool:
    """Create the database when it is absent; return whether it was. Raise `EmbeddedError` if that fails."""
    driver = _driver()
    try:
        connection = driver.connect(url)
        try:
            connection.autocommit = True  # create database refuses to run in a transaction
            return _create(driver, connection.cursor(), name)
        finally:
            connection.close()
    except driver.Error as error:
        raise EmbeddedError(f"The database {name} could not be created: {str(error).strip()}") from error


def _create(driver: Any, cursor: Any, name: str) -> bool:
    quoted = '"' + name.replace('"', '""') + '"'
    if _exists(cursor, name):
        return False
    try:
        cursor.execute(f"create database {quoted}")
    except driver.Error:
        if _exists(cursor, name):  # another process was quicker
            return False
        raise
    return True


def _exists(cursor: Any, name: str) -> bool:
    cursor.execute("select from pg_catalog.pg_database where datname = %s", (name,))
    return cursor.fetchone() is not None


def _driver() -> Any:
    """Return psycopg 3 or psycopg2; both have `connect`, `Error` and `autocommit`."""
    try:
        import psycopg

        return psycopg
    except ImportError:
        pass
    try:
        import psycopg2

        return psycopg2
    except ImportError:
        raise EmbeddedError(
            "No PostgreSQL driver is installed: pip install 'psycopg[binary]' (or psycopg2-binary)."
        ) from None
