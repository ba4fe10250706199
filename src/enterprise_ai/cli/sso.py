"""`enterprise-ai sso …`: the identity providers of a tenant."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import add_json_option, confirmed, print_facts, print_rows
from enterprise_ai.cli.tenancy import add_tenant_option, in_tenant

if TYPE_CHECKING:
    import psycopg

    from enterprise_ai.identity.sso import Providers, Web


def add_parser(groups: Any) -> None:
    """Add the group's commands."""
    from enterprise_ai.cli import sso_domains, sso_setup

    group = groups.add_parser("sso", help="single sign-on: providers, their domains, the roles of claims")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    finish(commands.add_parser("list", help="show the providers"), _list)
    finish(named(commands, "show", "show a provider with its domains and the roles of its claims"), _show)
    sso_setup.add_parsers(commands)
    trial = named(commands, "test", "look at what a provider publishes, and at its secrets and certificates")
    add_web_options(trial)
    finish(trial, _test)
    enable = named(commands, "enable", "let people sign in through a provider")
    enable.set_defaults(is_enabled=True)
    disable = named(commands, "disable", "let nobody sign in through a provider; sessions go on")
    disable.set_defaults(is_enabled=False)
    for parser in (enable, disable):
        finish(parser, _switch, json=False)
    delete = named(
        commands, "delete", "remove a provider, its accounts, their sessions and roles; users stay"
    )
    delete.add_argument("--yes", action="store_true", help="do not ask")
    finish(delete, _delete, json=False)
    secret = named(commands, "secret", "replace the client secret of a provider")
    add_secret_option(secret, required=True)
    finish(secret, _secret, json=False)
    finish(
        commands.add_parser(
            "reseal", help="seal all secrets anew with the first of ENTERPRISE_AI_SECRET_KEYS"
        ),
        _reseal,
        json=False,
    )
    metadata = named(commands, "metadata", "print what a SAML provider is to know of us")
    metadata.add_argument("--acs-url", required=True, metavar="URL", help="where its answers are posted to")
    finish(metadata, _metadata, json=False)
    sso_domains.add_parsers(commands)


def named(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command on one provider."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    parser.add_argument("provider", metavar="NAME", help="what the provider is called here")
    return parser


def finish(parser: argparse.ArgumentParser, work: Any, *, json: bool = True) -> None:
    """Add what all commands of the group have, and say what a command does."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    add_tenant_option(parser)
    add_database_option(parser)
    if json:
        add_json_option(parser)
    parser.set_defaults(func=reporting(_with_extra(in_tenant(work))))


def add_web_options(parser: argparse.ArgumentParser) -> None:
    """Add what widens the addresses that providers are reached at."""
    parser.add_argument(
        "--allow-loopback", action="store_true", help="for trials: a provider on this machine"
    )
    parser.add_argument("--allow-private", action="store_true", help="a provider in one's own network")


def add_secret_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add `--client-secret-file`: a secret among the arguments would be seen by everybody on the machine."""
    parser.add_argument(
        "--client-secret-file",
        required=required,
        metavar="FILE",
        help="where the client secret is read from; - is standard input",
    )


def read_secret(path: str) -> str:
    """Return the text of a file, or of standard input, without the line break at its end."""
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    return text.rstrip("\r\n")


def providers(conn: psycopg.Connection[Any], *, opens_secrets: bool = False) -> Providers:
    """Return the tenant's providers, with the keys to their secrets where these are needed."""
    from enterprise_ai.identity.sso import Providers
    from enterprise_ai.secrets import SecretBox

    return Providers(conn, SecretBox.from_environment() if opens_secrets else None)


def web(options: argparse.Namespace) -> Web:
    """Return how providers are reached."""
    from enterprise_ai.identity.sso import Web

    return Web(allow_loopback=options.allow_loopback, allow_private=options.allow_private)


def _with_extra(work: Any) -> Any:
    def run(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
        try:
            return int(work(options, conn))
        except ModuleNotFoundError as error:
            print(
                f"enterprise-ai: single sign-on needs the package {error.name}.",
                "  pip install 'enterprise-ai-db[sso]'",
                sep="\n",
                file=sys.stderr,
            )
            return 1
        except OSError as error:
            print(
                f"enterprise-ai: {error.filename}: {error.strerror}; nothing has been changed.",
                file=sys.stderr,
            )
            return 1

    return run


def _list(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    columns = ("name", "protocol", "is_enabled", "issuer", "client_id")
    print_rows(options, providers(conn).list(), columns, "There are no providers.")
    return 0


def _show(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    kept = providers(conn)
    provider = kept.get(options.provider)
    domains, mappings = kept.domains_of(provider.id), kept.role_mappings_of(provider.id)
    facts = asdict(provider)
    if options.json:
        facts |= {"domains": [asdict(d) for d in domains], "roles": [asdict(m) for m in mappings]}
        print_facts(options, facts)
        return 0
    print_facts(options, facts)
    print()
    print_rows(options, domains, ("domain", "verified_at", "is_enforced"), "It has no domains.")
    print()
    print_rows(
        options, mappings, ("id", "claim_name", "claim_value", "role"), "Its claims stand for no roles."
    )
    return 0


def _test(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity.sso.trial import findings

    kept = providers(conn, opens_secrets=True)
    found = findings(kept, kept.get(options.provider), web(options))
    print_rows(options, found, ("what", "is_good", "found"), "")
    return 0 if all(finding.is_good for finding in found) else 1


def _switch(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    kept = providers(conn)
    kept.get(options.provider)
    kept.save(options.provider, is_enabled=options.is_enabled)
    print(f"Provider {options.provider} is {'enabled' if options.is_enabled else 'disabled'}.")
    return 0


def _delete(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    kept = providers(conn)
    provider = kept.get(options.provider)
    if not confirmed(options, f"Delete the provider {provider.name} with the accounts at it"):
        return 2
    kept.delete(provider.id)
    print(f"Provider {provider.name} is deleted.")
    return 0


def _secret(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    kept = providers(conn, opens_secrets=True)
    kept.get(options.provider)
    kept.save(options.provider, client_secret=read_secret(options.client_secret_file))
    print(f"The client secret of {options.provider} is replaced.")
    return 0


def _reseal(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    print(f"{providers(conn, opens_secrets=True).reseal()} providers were sealed anew.")
    return 0


def _metadata(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.identity.sso.saml import SamlFlow

    kept = providers(conn, opens_secrets=True)
    provider = kept.get(options.provider)
    if provider.protocol != "saml":
        print(f"enterprise-ai: {provider.name} does not speak SAML.", file=sys.stderr)
        return 1
    print(SamlFlow(provider, kept.secrets_of(provider).signing_key).metadata(options.acs_url))
    return 0
