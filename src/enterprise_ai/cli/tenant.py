"""`enterprise-ai tenant …`: the tenants of the installation."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli import tenant_files
from enterprise_ai.cli.output import add_json_option, confirmed, print_facts, print_rows

if TYPE_CHECKING:
    import psycopg

# Verb, what it says of itself, what it says when it is done.
_VERBS = (
    ("suspend", "keep everybody of a tenant out for the time being", "suspended"),
    ("archive", "put a tenant away whose data is to be kept", "archived"),
    ("reactivate", "let a suspended or archived tenant work again", "active"),
)


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    group = groups.add_parser(
        "tenant", help="tenants: create, list, suspend, archive, delete, export, import"
    )
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, work: Any, *, of_one: bool = True) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
        if of_one:
            parser.add_argument("tenant", metavar="SLUG|ID")
        add_database_option(parser)
        parser.set_defaults(func=reporting(work))
        return parser

    create = command("create", "make a tenant with the default roles and cost centres", _create, of_one=False)
    create.add_argument("slug", help="its name in addresses and on the command line")
    create.add_argument("--name", required=True, help="what people call it")
    create.add_argument("--region", help="where its data has to stay, as you name your regions")
    listing = command("list", "show every tenant", _list, of_one=False)
    show = command("show", "show one tenant", _show)
    for verb, text, state in _VERBS:
        command(verb, text, _change).set_defaults(verb=verb, state=state)
    delete = command("delete", "delete a tenant with all its data; goes on with what broke off", _delete)
    delete.add_argument("--reason", help="why, for the receipt; needed to begin")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    deletions = command("deletions", "show the receipts of deleted tenants", _deletions, of_one=False)
    for parser in (create, listing, show, deletions):
        add_json_option(parser)
    tenant_files.add_commands(commands)


def _create(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    tenant_id = Tenants(conn).create(options.slug, options.name, region=options.region)
    print_facts(options, {"id": tenant_id, "slug": options.slug})
    return 0


def _list(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    tenants = list(page := Tenants(conn).list())
    while page:
        tenants += (page := Tenants(conn).list(after=tenants[-1].slug))
    print_rows(options, tenants, ("slug", "id", "display_name", "status", "region"), "There are no tenants.")
    return 0


def _show(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    print_facts(options, asdict(Tenants(conn).get(options.tenant)))
    return 0


def _change(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    tenants = Tenants(conn)
    tenant = tenants.get(options.tenant)
    getattr(tenants, options.verb)(tenant.id)
    print(f"Tenant {tenant.slug} is {options.state}.")
    return 0


def _delete(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    tenants = Tenants(conn)
    tenant = tenants.get(options.tenant)
    if tenant.status != "deleting":
        if not options.reason:
            print("enterprise-ai: to begin a deletion, say why with --reason.", file=sys.stderr)
            return 2
        if not confirmed(options, f"Delete tenant {tenant.slug} ({tenant.display_name}) with all its data"):
            return 2
        tenants.begin_deletion(tenant.id, options.reason)
    rows = sum(tenants.delete_rest(tenant.id))
    print(f"Tenant {tenant.slug} is deleted: {rows} rows in batches, and what they took along.")
    print("The receipt: enterprise-ai tenant deletions")
    return 0


def _deletions(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants

    columns = ("slug", "tenant_id", "reason", "started_by", "started_at", "finished_at")
    print_rows(options, Tenants(conn).deletions(), columns, "No tenant has been deleted.")
    return 0
