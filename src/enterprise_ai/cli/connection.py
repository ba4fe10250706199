"""The database that a command works on: the one named, or else the embedded server's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from enterprise_ai.cli.refusals import advice_on, refusal, without_waiting
from enterprise_ai.embedded import EmbeddedError
from enterprise_ai.errors import Error
from enterprise_ai.migrate import ConnectionFailed
from enterprise_ai.migrate.embedded import leased
from enterprise_ai.migrate.target import Target

#: Variables that name a server to libpq; when one is set, the embedded server is not meant.
_NAMES_A_SERVER = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPORT", "PGDATABASE")

Work = Callable[[argparse.Namespace, psycopg.Connection], int]


def add_database_option(parser: argparse.ArgumentParser, *, before_command: bool = False) -> None:
    """Add `--database-url`, which is taken before the command and after it."""
    parser.add_argument(
        "--database-url",
        metavar="URL",
        # Suppressed after the command, so that a value given before it is not overwritten by a default.
        default=None if before_command else argparse.SUPPRESS,
        help="the database; else DATABASE_URL, else libpq's own variables, else the embedded PostgreSQL",
    )


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[psycopg.Connection]:
    """Yield an autocommit connection; raises `ConnectionFailed`, or `EmbeddedError` when our own cannot start."""
    url = options.database_url or os.environ.get("DATABASE_URL")
    if url is not None or any(os.environ.get(name) for name in _NAMES_A_SERVER):
        with _connect(url) as conn:
            yield conn
        return
    with leased(lambda said: print(said, file=sys.stderr)) as url, _connect(url) as conn:
        yield conn


def reporting(work: Work) -> Callable[[argparse.Namespace], int]:
    """Wrap a command's work: connect, run it, and turn what fails into a sentence and an exit code."""

    def run(options: argparse.Namespace) -> int:
        try:
            with connected(options) as conn:
                return work(options, conn)
        except ConnectionFailed as error:
            return _say(error.message, error.advice, 4)
        except EmbeddedError as error:
            return _say(str(error), "", 4)
        except Error as error:
            return _say(str(error), error.hint or "", 1)
        except psycopg.errors.InsufficientPrivilege as error:
            return _say(
                f"{error.diag.message_primary}: this login may not do that; nothing has been changed",
                "Connect as the owner of the database, or as a member of the group roles that this takes"
                " (enterprise_ai_operator for tenants, enterprise_ai_gateway for people and keys).",
                1,
            )
        except psycopg.IntegrityError as error:
            return _say(refusal(error), "", 1)
        except psycopg.Error as error:
            message = str(error.diag.message_primary or error)
            message += f" ({error.sqlstate})" if error.sqlstate else ""
            return _say(message, error.diag.message_hint or advice_on(error), 1)

    return run


def _connect(url: str | None) -> psycopg.Connection:
    try:
        return psycopg.connect(url or "", autocommit=True)
    except psycopg.Error as error:
        failure = Target(url).failure(str(error))
        failure.advice = without_waiting(failure.advice)
        raise failure from None


def _say(message: str, advice: str, code: int) -> int:
    print(f"enterprise-ai: {message}", *([f"  {advice}"] if advice else []), sep="\n", file=sys.stderr)
    return code
