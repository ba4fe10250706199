"""The database that a command works on: the one named, or else the embedded server's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg


def add_database_option(parser: argparse.ArgumentParser, *, before_command: bool = False) -> None:
    """Add `--database-url`, which is taken before the command and after it."""
    parser.add_argument(
        "--database-url",
        metavar="URL",
        # Suppressed after the command, so that a value given before it is not overwritten by a default.
        default=None if before_command else argparse.SUPPRESS,
        help="the database; else DATABASE_URL, else libpq's own variables, else the embedded PostgreSQL",
    )


def _named(options: argparse.Namespace) -> str | None:
    """The database that was named, with an option or in the environment; None when none was."""
    url: str | None = options.database_url or os.environ.get("DATABASE_URL")
    return url


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[psycopg.Connection]:
    """Yield an autocommit connection to the database of the options."""
    url = _named(options)
    if url is not None or os.environ.get("PGHOST") or os.environ.get("PGSERVICE"):
        with psycopg.connect(url or "", autocommit=True) as conn:
            yield conn
        return

    from enterprise_ai.embedded import EmbeddedServer

    print("No DATABASE_URL: using the embedded PostgreSQL.", file=sys.stderr)
    with EmbeddedServer().lease() as server, psycopg.connect(server.url(), autocommit=True) as conn:
        yield conn


def reporting(
    work: Callable[[argparse.Namespace, psycopg.Connection], int],
) -> Callable[[argparse.Namespace], int]:
    """Wrap a command's work: connect, run it, and turn what PostgreSQL refuses into a sentence and an exit code."""

    def run(options: argparse.Namespace) -> int:
        from enterprise_ai.embedded import EmbeddedError
        from enterprise_ai.migrate.target import Target

        try:
            with connected(options) as conn:
                return work(options, conn)
        except (psycopg.OperationalError, EmbeddedError) as error:
            said = Target(_named(options)).redact(str(error).strip())
            print(f"enterprise-ai: cannot connect: {said}", file=sys.stderr)
            return 4
        except psycopg.Error as error:
            print(f"enterprise-ai: {error.diag.message_primary or error} ({error.sqlstate})", file=sys.stderr)
            if error.diag.message_hint:
                print(f"  {error.diag.message_hint}", file=sys.stderr)
            return 1

    return run
