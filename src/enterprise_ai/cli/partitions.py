"""`enterprise-ai partitions`: list the monthly partitions, and make the months to come."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    commands = groups.add_parser("partitions", help="monthly partitions: list them, make those to come")
    commands = commands.add_subparsers(metavar="COMMAND", required=True)

    listing = commands.add_parser("list", help="show every partitioned table and how far its months reach")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(func=reporting(_list))

    maintain = commands.add_parser(
        "maintain", help="make the months that are missing; safe to run at any time"
    )
    maintain.add_argument(
        "--months-ahead",
        type=int,
        default=12,
        choices=range(1, 61),
        metavar="N",
        help="how many months beyond this one (default 12, at most 60)",
    )
    maintain.set_defaults(func=reporting(_maintain))
    for command in (listing, maintain):
        add_database_option(command)


def _list(options: argparse.Namespace, conn: psycopg.Connection) -> int:
    from enterprise_ai.operations.partitions import listing

    tables = listing(conn)
    if options.json:
        print(json.dumps([asdict(table) for table in tables], default=str))
        return 0
    for table in tables:
        reach = (
            f"{table.starts_at:%Y-%m} to {table.ends_at:%Y-%m}"
            if table.starts_at and table.ends_at
            else "none"
        )
        print(
            f"{table.parent:32} {table.partitions:4} partitions, {reach}, {table.months_ahead} months ahead"
        )
    return 0


def _maintain(options: argparse.Namespace, conn: psycopg.Connection) -> int:
    from enterprise_ai.operations.partitions import maintain

    made = maintain(conn, months_ahead=options.months_ahead)
    for parent, count in made.items():
        print(f"{parent}: {count} made" if count else f"{parent}: nothing missing")
    return 0
