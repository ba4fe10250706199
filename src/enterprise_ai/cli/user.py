"""`enterprise-ai user …`: the people of a tenant."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import add_json_option, confirmed, print_facts, print_rows
from enterprise_ai.cli.tenancy import add_tenant_option, as_uuid, find_user, in_tenant

if TYPE_CHECKING:
    import psycopg

# Verb, what it says of itself, what it says when it is done.
_VERBS = (
    ("activate", "let an invited user in", "active"),
    ("suspend", "keep a user out for the time being", "suspended"),
    ("deactivate", "put a user who has left out of work", "deactivated"),
    ("reactivate", "let a suspended or deactivated user in again", "active"),
    ("unlock", "end a lock-out before its time", "active"),
    ("remove", "deactivate for good; address and name can be given out again", "removed"),
    ("erase", "remove for good what is known of the person", "erased"),
)
_STATUSES = ("invited", "active", "locked", "suspended", "deactivated")


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    group = groups.add_parser("user", help="the people of a tenant: invite, list, suspend, end sessions …")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, work: Any, operand: str = "user") -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
        if operand:
            parser.add_argument(operand, metavar="EMAIL" if operand == "email" else "EMAIL|ID")
        add_tenant_option(parser)
        add_database_option(parser)
        parser.set_defaults(func=reporting(in_tenant(work)))
        return parser

    invite = command(
        "invite", "make a user who becomes active by a token, which is printed", _invite, "email"
    )
    create = command(
        "create", "make a user who is active at once, such as a service account", _create, "email"
    )
    for parser in (invite, create):
        parser.add_argument("--name", required=True, help="what people call them")
        parser.add_argument("--external-id", metavar="ID", help="what the tenant's directory calls them")
    listing = command("list", "show the users in the order they were made", _list, "")
    listing.add_argument("--status", choices=_STATUSES)
    listing.add_argument("--limit", type=_positive, default=100, help="how many at most (default 100)")
    listing.add_argument("--after", type=_uuid, metavar="ID", help="go on after this user")
    show = command("show", "show one user", _show)
    for verb, text, state in _VERBS:
        parser = command(verb, text, _change)
        parser.set_defaults(verb=verb, state=state)
        if verb in ("remove", "erase"):
            parser.add_argument("--yes", action="store_true", help="do not ask")
    reset = command("reset-password", "print a token with which the user sets a new password", _reset)
    sessions = command("sessions", "show the live sessions of a user, or end them", _sessions)
    sessions.add_argument("--end", action="store_true", help="end all of them")
    command("appoint", "make an active user the first super_admin of a tenant that has none", _appoint)
    for parser in (invite, create, listing, show, reset, sessions):
        add_json_option(parser)


def _invite(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    invitation = Users(conn).invite(options.email, options.name, external_id=options.external_id)
    print_facts(options, {"id": invitation.user_id, "token": invitation.token})
    return 0


def _create(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    user_id = Users(conn).create(options.email, options.name, external_id=options.external_id)
    print_facts(options, {"id": user_id, "email": options.email})
    return 0


def _list(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    users = Users(conn).list(status=options.status, after=options.after, limit=options.limit)
    columns = ("id", "email", "display_name", "status", "last_login_at")
    print_rows(options, users, columns, "There are no such users.")
    if len(users) == options.limit and not options.json:
        print(f"There may be more: add --after {users[-1].id}")
    return 0


def _show(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    print_facts(options, asdict(find_user(conn, options.user)))
    return 0


def _change(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    user = find_user(conn, options.user)
    verb = options.verb
    if verb in ("remove", "erase") and not confirmed(options, f"{verb.capitalize()} {user.email} for good"):
        return 2
    getattr(Users(conn), verb)(user.id)
    print(f"{user.email} is {options.state}.")
    return 0


def _reset(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    user = find_user(conn, options.user)
    token = Users(conn).issue_token(user.id, "reset_password")
    print_facts(options, {"id": user.id, "token": token})
    return 0


def _sessions(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Users

    user = find_user(conn, options.user)
    if options.end:
        ended = Users(conn).revoke_sessions(user.id, "ended by an administrator")
        print_facts(options, {"id": user.id, "ended": ended})
        return 0
    columns = ("id", "ip_address", "started_at", "last_seen_at", "expires_at", "user_agent")
    print_rows(options, Users(conn).sessions(user.id), columns, f"{user.email} has no live session.")
    return 0


def _appoint(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity import Tenants, current

    context = current(conn)
    assert context is not None
    user = find_user(conn, options.user)
    Tenants(conn).appoint_administrator(context.tenant_id, user.id)
    print(f"{user.email} has the role super_admin.")
    return 0


def _uuid(text: str) -> Any:
    if (value := as_uuid(text)) is None:
        raise argparse.ArgumentTypeError(f"{text} is no id")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000")
    return int(text)
