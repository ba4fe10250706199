"""`enterprise-ai doctor`: say what is wrong with an installation and what to do about it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


def add_parser(groups: Any) -> None:
    """Add the command."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    command = groups.add_parser("doctor", help="look for what is missing or unsafe; changes nothing")
    command.add_argument("--json", action="store_true", help="one JSON document")
    add_database_option(command)
    command.set_defaults(func=reporting(_examine))


def _examine(options: argparse.Namespace, conn: psycopg.Connection) -> int:
    from enterprise_ai.operations.doctor import examine

    findings = examine(conn)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    elif not findings:
        print("Nothing is wrong.")
    for finding in [] if options.json else findings:
        print(f"{finding.check}: {finding.problem}\n  {finding.advice}")
    return 1 if findings else 0
