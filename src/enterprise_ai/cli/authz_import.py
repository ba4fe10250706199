"""`enterprise-ai authz import casbin|openfga`: bring rights along from elsewhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import print_facts

if TYPE_CHECKING:
    import psycopg


def add_commands(command: Any) -> None:
    """Add the command to the group; `command` makes its parser."""
    parser = command("import", "add the roles and grants of a Casbin policy or of OpenFGA tuples", _import)
    parser.add_argument("kind", choices=("casbin", "openfga"))
    parser.add_argument("file", type=Path, help="policy.csv of Casbin, or tuples of OpenFGA as JSON")
    parser.add_argument("--model", type=Path, help="model.conf of Casbin (default: beside the policy)")
    parser.add_argument("--domain", metavar="NAME", help="the Casbin domain that the tenant is")
    parser.add_argument("--relation", action="append", default=[], type=_relation, metavar="NAME=ACTION,…",
                        help="the actions that a relation of OpenFGA stands for (else that of its name)")  # fmt: skip
    parser.add_argument(
        "--role-prefix", default="", metavar="TEXT", help="what the new roles' names begin with"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it would come to, and make nothing")


def _import(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from psycopg import Rollback

    from enterprise_ai.operations import casbin_policy, openfga_tuples
    from enterprise_ai.operations.rights_import import NotExpressible, add_rights

    others = {"--relation": options.relation} if options.kind == "casbin" else {
        "--model": options.model, "--domain": options.domain
    }  # fmt: skip
    if unfit := [name for name, value in others.items() if value]:
        print(f"enterprise-ai: {', '.join(unfit)} means nothing for {options.kind}", file=sys.stderr)
        return 2
    relations: dict[str, list[str]] = {}
    for name, actions in options.relation:
        relations.setdefault(name, []).extend(actions)
    try:
        if options.kind == "casbin":
            model = options.model or options.file.with_name("model.conf")
            rights = casbin_policy.read(model, options.file, domain=options.domain)
        else:
            rights = openfga_tuples.read(options.file, relations)
        with conn.transaction() as transaction:
            summary = add_rights(conn, rights, role_prefix=options.role_prefix)
            if options.dry_run:
                raise Rollback(transaction)
    except NotExpressible as error:
        print(f"enterprise-ai: {error}; nothing has been changed", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"enterprise-ai: {error}", file=sys.stderr)
        return 2
    print_facts(options, {"dry_run": options.dry_run, **summary})
    return 0


def _relation(text: str) -> tuple[str, list[str]]:
    name, separator, actions = text.partition("=")
    if not separator or not actions:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=ACTION,…")
    return name, actions.split(",")
