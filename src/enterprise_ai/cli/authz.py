"""`enterprise-ai authz …`: who may do what in a tenant, why, and what a change would turn."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli import authz_import, authz_policies
from enterprise_ai.cli.output import add_json_option, print_facts
from enterprise_ai.cli.permissions import warn_of_unknown
from enterprise_ai.cli.tenancy import add_tenant_option, as_uuid, find_user, in_tenant

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg

#: What a request cannot say, since the context of a signed-in user does; `authz.evaluate` drops it.
_OF_THE_CONTEXT = ("ip_address", "authentication_level", "user_agent", "session_id", "actor_id", "scopes")


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    group = groups.add_parser("authz", help="who may do what: check, explain, diff, test, lint, import …")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, work: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
        add_tenant_option(parser)
        add_database_option(parser)
        add_json_option(parser)
        parser.set_defaults(func=reporting(in_tenant(work)))
        return parser

    check = command("check", "say whether somebody may do something; exits with 1 when not", _check)
    explain = command("explain", "say why, with every rule that could bear on it", _explain)
    who = command("who-can", "list the people who may do something", _who)
    what = command("what-can", "list what somebody may do", _what)
    for parser in (check, explain, what):
        parser.add_argument("user", metavar="EMAIL|ID")
    for parser in (check, explain, who):
        parser.add_argument("permission", metavar="TYPE.ACTION")
    for parser in (check, explain, who, what):
        parser.add_argument(
            "resource", metavar="RESOURCE", nargs="?", type=_uuid, help="its id; else the type"
        )
        parser.add_argument("--fact", metavar="NAME=VALUE", action="append", default=[], type=_fact, dest="facts",
                            help="what conditions find in $.env; a value is JSON or else text")  # fmt: skip
        parser.add_argument("--level", type=int, choices=(1, 2, 3), help="as if signed in at this level")
    authz_policies.add_commands(command)
    authz_import.add_commands(command)


def _check(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Authz

    user_id = _asked_about(options, conn)
    decision = Authz(conn).evaluate(
        options.permission, options.resource, user_id=user_id, request=dict(options.facts)
    )
    facts: dict[str, Any] = {"effect": decision.effect, "reason": decision.reason}
    if decision.missing:
        facts["missing"] = decision.missing
    if decision.obligations:
        facts["obligations"] = decision.obligations if options.json else json.dumps(decision.obligations)
    if decision.expires_at:
        facts["expires_at"] = decision.expires_at
    print_facts(options, facts)
    if decision.reason == "deny_not_found":
        warn_of_unknown(conn, [options.permission])
    return 0 if decision.is_allowed else 1


def _explain(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Authz

    user_id = _asked_about(options, conn)
    asked = (options.permission, options.resource)
    if options.json:
        print(json.dumps(Authz(conn).explain(*asked, user_id=user_id, request=dict(options.facts))))
    else:
        print(Authz(conn).explain_text(*asked, user_id=user_id, request=dict(options.facts)))
    warn_of_unknown(conn, [options.permission])
    return 0


def _who(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Authz
    from enterprise_ai.identity import Users

    _signed_in(options, conn)
    users, found = Users(conn), 0
    pages = Authz(conn).list_subjects(
        options.permission, options.resource, request=dict(options.facts), page_size=1000
    )
    people = []
    for page in pages:
        for user_id in page:
            found += 1
            if options.json:
                people.append(str(user_id))
            else:
                print(user_id, users.get(user_id).email, sep="  ")
    if options.json:
        print(json.dumps(people))
    elif not found:
        print("Nobody.")
    if not found:
        warn_of_unknown(conn, [options.permission])
    return 0


def _what(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.authz import Authz, Question

    user_id = _asked_about(options, conn)
    authz, request = Authz(conn), dict(options.facts)
    if options.resource:
        names = list(authz.list_actions(options.resource, user_id=user_id, request=request))
    else:
        all_names = [row[0] for row in conn.execute("select name from authz.permissions order by id")]
        asked = [Question(name, None, user_id) for name in all_names]
        answers = authz.check_many(asked, request=request)
        names = [name for name, is_allowed in zip(all_names, answers, strict=True) if is_allowed]
    print(json.dumps(names) if options.json else "\n".join(names) or "Nothing.")
    return 0


def _asked_about(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> UUID:
    user_id = find_user(conn, options.user).id
    _signed_in(options, conn)
    return user_id


def _signed_in(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> None:
    """Have the context say the level that `--level` names; decisions about others take it from there."""
    from enterprise_ai.identity import current, open_for

    context = current(conn)
    assert context is not None
    if options.level:
        open_for(conn, context.tenant_id, authentication_level=options.level)


def _uuid(text: str) -> UUID:
    if (value := as_uuid(text)) is None:
        raise argparse.ArgumentTypeError(f"{text} is no id")
    return value


def _fact(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    if name in _OF_THE_CONTEXT:
        raise argparse.ArgumentTypeError(
            f"{name} is never taken from who asks, only from the context (--level gives the level)"
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
