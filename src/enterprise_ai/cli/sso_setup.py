"""`enterprise-ai sso add|change`: the settings of a provider."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enterprise_ai.cli.output import print_facts

if TYPE_CHECKING:
    import psycopg

    from enterprise_ai.identity.sso.providers import Provider

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
# Options that are settings of the same name.
_PLAIN = (
    "display_name", "client_id", "issuer", *_ENDPOINTS, "scopes", "links_verified_email", "creates_users",
    "linking_domain", "authentication_level",
)  # fmt: skip


def add_parsers(commands: Any) -> None:
    """Add the commands."""
    add = commands.add_parser("add", help="set up a provider; it is not enabled yet")
    protocols = add.add_subparsers(metavar="PROTOCOL", required=True, dest="protocol")
    for protocol, text in (
        ("oidc", "OpenID Connect, by what the provider publishes"),
        ("oauth2", "plain OAuth 2.0, where a provider has no more"),
        ("saml", "SAML 2.0, by the provider's metadata"),
    ):
        _add(protocols, protocol, text)
    _change(commands)


def _add(protocols: Any, protocol: str, text: str) -> None:
    from enterprise_ai.cli.sso import finish, named

    parser = named(protocols, protocol, text)
    if protocol == "saml":
        parser.add_argument("--entity-id", dest="client_id", required=True, help="what we are called there")
        _add_metadata_option(parser, required=True)
        parser.add_argument(
            "--sign-requests", action="store_true", help="make a key and a certificate, and sign requests"
        )
    else:
        from enterprise_ai.cli.sso import add_secret_option

        parser.add_argument("--issuer", required=True, metavar="URL", help="exactly as the provider says it")
        parser.add_argument("--client-id", required=True)
        add_secret_option(parser)
        for name in _ENDPOINTS:
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="URL", required=protocol == "oauth2")
    _add_common_options(parser)
    finish(parser, _do_add)


def _change(commands: Any) -> None:
    from enterprise_ai.cli.sso import finish, named

    parser = named(commands, "change", "change what is named of a provider's settings")
    parser.add_argument("--client-id", "--entity-id", dest="client_id")
    parser.add_argument("--issuer", metavar="URL", help="only while nobody signs in through it")
    for name in _ENDPOINTS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="URL")
    _add_metadata_option(parser)
    _add_common_options(parser)
    finish(parser, _do_change)


def _add_metadata_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    from enterprise_ai.cli.sso import add_web_options

    parser.add_argument(
        "--metadata", required=required, metavar="URL|FILE", help="the metadata of a SAML provider"
    )
    add_web_options(parser)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--display-name", metavar="TEXT", help="what people read on the button")
    parser.add_argument("--scope", action="append", dest="scopes", metavar="SCOPE", help="may be given again")
    parser.add_argument(
        "--creates-users", action=argparse.BooleanOptionalAction, help="make users of those who are new"
    )
    parser.add_argument(
        "--links-verified-email",
        action=argparse.BooleanOptionalAction,
        help="join users who are there by an address that is verified",
    )
    parser.add_argument("--linking-domain", metavar="NAME", help="join users of providers of the same name")
    parser.add_argument(
        "--claim", action="append", type=_pair, default=[], dest="claims", metavar="FIELD=CLAIM",
        help="where a field of the profile comes from, such as external_id=oid; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--require", action="append", type=_pair, default=[], dest="required", metavar="CLAIM=VALUE",
        help="sign in only who brings it, such as hd=example.com; given again for one claim, either will do",
    )  # fmt: skip
    parser.add_argument(
        "--level", type=int, choices=(1, 2, 3), dest="authentication_level", help="what a sign-in counts as"
    )
    parser.add_argument(
        "--level-for", action="append", type=_level, default=[], dest="levels", metavar="VALUE=LEVEL",
        help="by acr, amr or the authentication context, such as mfa=2; may be given again",
    )  # fmt: skip


def _do_add(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers, read_secret

    secret_file = getattr(options, "client_secret_file", None)
    signs = getattr(options, "sign_requests", False)
    kept = providers(conn, opens_secrets=bool(secret_file or signs))
    if options.provider in {provider.name for provider in kept.list()}:
        print(
            f"enterprise-ai: there is a provider {options.provider}; nothing has been changed.",
            f"  enterprise-ai sso change {options.provider} changes it.",
            sep="\n",
            file=sys.stderr,
        )
        return 1
    settings = _settings(options, None) | {"protocol": options.protocol}
    secrets: dict[str, str] = {}
    if secret_file:
        secrets["client_secret"] = read_secret(secret_file)
    if signs:
        from enterprise_ai.identity.sso.certificates import new_key_and_certificate

        secrets["signing_key"], settings["signing_certificate"] = new_key_and_certificate(options.provider)
    provider_id = kept.save(options.provider, **secrets, **settings)
    print_facts(options, {"id": provider_id, "name": options.provider, "is_enabled": False})
    return 0


def _do_change(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.cli.sso import providers

    kept = providers(conn)
    settings = _settings(options, kept.get(options.provider))
    kept.save(options.provider, **settings)
    print_facts(options, {"name": options.provider, "changed": sorted(settings)})
    return 0


def _settings(options: argparse.Namespace, before: Provider | None) -> dict[str, Any]:
    """The settings that the options name."""
    given = {name: getattr(options, name, None) for name in _PLAIN}
    settings = {name: value for name, value in given.items() if value is not None}
    if getattr(options, "metadata", None):
        settings |= _of_metadata(options)
    if options.claims:
        names = (before.claim_names if before else _CLAIM_NAMES) | dict(options.claims)
        settings["claim_names"] = {field: claim for field, claim in names.items() if claim}
    if options.required:
        settings["required_claims"] = _required(options.required, before.required_claims if before else {})
    if options.levels:
        settings["authentication_levels"] = (before.authentication_levels if before else {}) | dict(
            options.levels
        )
    return settings


# What a provider has by default; docs/reference/schema.md.
_CLAIM_NAMES = {
    "email": "email",
    "email_verified": "email_verified",
    "display_name": "name",
    "given_name": "given_name",
    "family_name": "family_name",
}


def _required(
    pairs: Sequence[tuple[str, str]], before: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """What was required before, but of the claims that are named now the values named; without a value none."""
    named: dict[str, list[str]] = {}
    for claim, value in pairs:
        named.setdefault(claim, []).extend([value] if value else [])
    return {claim: values for claim, values in {**before, **named}.items() if values}


def _of_metadata(options: argparse.Namespace) -> dict[str, Any]:
    from enterprise_ai.cli.sso import web
    from enterprise_ai.identity.sso.saml_metadata import settings_of

    where = options.metadata
    if where.startswith(("https://", "http://")):
        return settings_of(web(options).get_text(where))
    return settings_of(Path(where).read_text(encoding="utf-8"))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=VALUE")
    return name, value


def _level(text: str) -> tuple[str, int]:
    # The value may be an address with = in it.
    value, _, level = text.rpartition("=")
    if not value or level not in ("1", "2", "3"):
        raise argparse.ArgumentTypeError(f"{text} is not VALUE=LEVEL, with a level from 1 to 3")
    return value, int(level)
