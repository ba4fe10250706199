"""`enterprise-ai sso domain|role`: whose people a provider signs in, and the roles that its claims stand for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import print_facts
from enterprise_ai.cli.tenancy import as_uuid

if TYPE_CHECKING:
    import psycopg


def add_parsers(commands: Any) -> None:
    """Add the commands."""
    from enterprise_ai.cli.sso import finish, named

    domains = commands.add_parser("domain", help="e-mail domains whose people a provider signs in")
    of_domain = domains.add_subparsers(metavar="COMMAND", required=True)
    add = named(of_domain, "add", "claim a domain; prints the TXT record that shows that it is yours")
    add.add_argument("domain")
    finish(add, _add_domain)
    verify = of_domain.add_parser("verify", help="look the TXT record up; if it is there the domain counts")
    verify.add_argument("domain")
    verify.add_argument(
        "--enforce",
        action=argparse.BooleanOptionalAction,
        help="whether people of the domain sign in through the provider only",
    )
    verify.add_argument(
        "--nameserver", metavar="ADDRESS[:PORT]", help="ask this one in place of the system's"
    )
    finish(verify, _verify_domain, json=False)
    release = of_domain.add_parser("release", help="give a domain up")
    release.add_argument("domain")
    finish(release, _release_domain, json=False)

    roles = commands.add_parser("role", help="the roles that the claims of a provider stand for")
    of_role = roles.add_subparsers(metavar="COMMAND", required=True)
    mapping = named(of_role, "add", "give a role to those who come with a claim")
    mapping.add_argument("--claim", required=True, help="its name, such as groups or realm_access.roles")
    mapping.add_argument("--value", required=True, help="what it has or contains")
    mapping.add_argument("--role", required=True, help="the role's name")
    finish(mapping, _add_role)
    unmapping = of_role.add_parser("remove", help="take a mapping away, and its role at once")
    unmapping.add_argument("mapping", metavar="ID", help="as sso show says it")
    finish(unmapping, _remove_role, json=False)


def _add_domain(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers

    kept = providers(conn)
    text = kept.claim_domain(kept.get(options.provider).id, options.domain)
    print_facts(options, {"domain": options.domain.lower(), "type": "TXT", "text": text})
    return 0


def _verify_domain(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers
    from enterprise_ai.identity.sso.dns import texts_of

    found = texts_of(options.domain, nameserver=options.nameserver)
    if not providers(conn).verify_domain(options.domain, found, is_enforced=options.enforce):
        print(
            f"enterprise-ai: {options.domain} does not have the TXT record; nothing has been changed.",
            "  A new record may take a while to be seen; --nameserver asks the domain's own.",
            sep="\n",
            file=sys.stderr,
        )
        return 1
    print(f"Domain {options.domain.lower()} is verified.")
    return 0


def _release_domain(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers

    if not providers(conn).release_domain(options.domain):
        print(f"enterprise-ai: the tenant has no domain {options.domain}.", file=sys.stderr)
        return 1
    print(f"Domain {options.domain.lower()} is released.")
    return 0


def _add_role(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers

    kept = providers(conn)
    provider = kept.get(options.provider)
    mapping_id = kept.map_role(provider.id, options.claim, options.value, options.role)
    print_facts(options, {"id": mapping_id, "role": options.role})
    return 0


def _remove_role(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers

    mapping_id = as_uuid(options.mapping)
    if mapping_id is None or not providers(conn).unmap_role(mapping_id):
        print(f"enterprise-ai: there is no mapping {options.mapping} in the tenant.", file=sys.stderr)
        return 1
    print(f"Mapping {mapping_id} is removed.")
    return 0
