"""The argument parser of every command group except the migrations', which have their own."""

from __future__ import annotations

import argparse

from enterprise_ai import __version__
from enterprise_ai.cli import apikey, authz, doctor, partitions, server, sso, tenant, user
from enterprise_ai.cli.connection import add_database_option
from enterprise_ai.migrate.cli import COMMANDS


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command sets `func`, which takes the parsed options and returns an exit code."""
    parser = argparse.ArgumentParser(
        prog="enterprise-ai",
        description="The database that an enterprise AI system stands on.",
        epilog=f"Migrations: enterprise-ai {{{','.join(COMMANDS)}}} --help tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"enterprise-ai {__version__}")
    add_database_option(parser, before_command=True)
    groups = parser.add_subparsers(metavar="COMMAND", required=True)
    for group in (server, partitions, doctor, tenant, user, apikey, authz, sso):
        group.add_parser(groups)
    return parser
