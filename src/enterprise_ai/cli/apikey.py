"""`enterprise-ai apikey …`: the API keys of a tenant's people and service accounts."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import add_json_option, print_facts, print_rows
from enterprise_ai.cli.tenancy import add_tenant_option, as_uuid, find_user, in_tenant

if TYPE_CHECKING:
    import psycopg


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    group = groups.add_parser("apikey", help="API keys: create, list, revoke")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    create = commands.add_parser("create", help="make a key for a user; it is printed once")
    create.add_argument("name", help="what the key is for")
    create.add_argument("--user", required=True, metavar="EMAIL|ID", help="as whom it acts")
    create.add_argument(
        "--scope", action="append", default=[], metavar="SCOPE", dest="scopes",
        help="a permission (type.action) to confine it to, or scim for provisioning; may be given again",
    )  # fmt: skip
    create.add_argument("--days", type=_days, metavar="N", help="how long it works (else as long as it may)")
    create.set_defaults(func=reporting(in_tenant(_create)))

    listing = commands.add_parser("list", help="show keys, never the keys themselves")
    listing.add_argument("--user", metavar="EMAIL|ID", help="of one user only")
    listing.set_defaults(func=reporting(in_tenant(_list)))

    revoke = commands.add_parser("revoke", help="end a key")
    revoke.add_argument("key", metavar="ID")
    revoke.set_defaults(func=reporting(in_tenant(_revoke)))
    for parser in (create, listing, revoke):
        add_tenant_option(parser)
        add_database_option(parser)
    for parser in (create, listing):
        add_json_option(parser)


def _create(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import ApiKeys

    user = find_user(conn, options.user)
    expires_at = datetime.now(UTC) + timedelta(days=options.days) if options.days else None
    made = ApiKeys(conn).create(options.name, scopes=options.scopes, expires_at=expires_at, user_id=user.id)
    print_facts(options, {"id": made.id, "key": made.key})
    return 0


def _list(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    user_id = find_user(conn, options.user).id if options.user else None
    columns = ("id", "name", "prefix", "scopes", "user_id", "expires_at", "last_used_at", "revoked_at")
    print_rows(options, Users(conn).api_keys(user_id), columns, "There are no keys.")
    return 0


def _revoke(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import ApiKeys

    key_id = as_uuid(options.key)
    if key_id is None or not ApiKeys(conn).revoke(key_id):
        print(f"enterprise-ai: there is no live key {options.key} in the tenant.", file=sys.stderr)
        return 1
    print(f"Key {key_id} is revoked.")
    return 0


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError("a number of days from 1 to 36500")
    return int(text)
