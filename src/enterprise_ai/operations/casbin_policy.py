"""Casbin policies that say the same here: roles, with domains or without, allows and denies, on types or on things."""

from __future__ import annotations

import configparser
import csv
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from enterprise_ai.operations.rights_import import Grant, NotExpressible, Rights

_ALLOWS = "some(where(p.eft==allow))"
_EFFECTS = {_ALLOWS: False, f"{_ALLOWS}&&!some(where(p.eft==deny))": True}
_PARTS = {"sub", "dom", "obj", "act", "eft"}


@dataclass(frozen=True)
class _Model:
    columns: list[str]
    has_domains: bool
    has_roles: bool
    has_denies: bool


def read(model: Path, policy: Path, *, domain: str | None = None) -> Rights:
    """Return what a policy says, of one domain where it has domains; raise `NotExpressible`, `OSError`."""
    shape = _model(model)
    if shape.has_domains != (domain is not None):
        raise NotExpressible(
            "The model has domains: say with --domain which of them the tenant is"
            if shape.has_domains
            else "The model has no domains"
        )
    lines = _lines(policy)
    return _rights(shape, lines, domain)


def _model(path: Path) -> _Model:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), inline_comment_prefixes=("#",))
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        columns = _words(parser["policy_definition"]["p"])
        effect, matcher = parser["policy_effect"]["e"], parser["matchers"]["m"]
        asked = _words(parser["request_definition"]["r"])
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise NotExpressible(f"{path} is no model of Casbin: {error}") from error
    roles = dict(parser["role_definition"]) if "role_definition" in parser else {}
    more = [
        f"{section}.{key}" for section in parser.sections() for key in parser[section] if key not in "rpgem"
    ]
    if more:
        raise NotExpressible(
            f"The model has {', '.join(more)}; one kind of rules and of roles can be taken over"
        )
    unknown = set(columns) | set(asked)
    if (
        unknown - _PARTS
        or not {"sub", "obj", "act"} <= set(columns)
        or asked != [c for c in columns if c != "eft"]
    ):
        raise NotExpressible("Rules and requests of Casbin have sub, obj and act, perhaps dom, and rules eft")
    plain_effect = re.sub(r"\s", "", effect).replace("p_eft", "p.eft")
    if plain_effect not in _EFFECTS:
        raise NotExpressible(
            f"The effect {effect} cannot be had: here nothing is allowed unless a rule does, and a deny wins"
        )
    has_domains = "dom" in columns
    _refuse_other_matchers(matcher, has_domains, bool(roles))
    return _Model(columns, has_domains, bool(roles), _EFFECTS[plain_effect])


def _refuse_other_matchers(matcher: str, has_domains: bool, has_roles: bool) -> None:
    terms = sorted(re.sub(r"\s", "", term) for term in matcher.split("&&"))
    terms = sorted("==".join(sorted(term.split("=="), reverse=True)) for term in terms)
    subject = "g(r.sub,p.sub,r.dom)" if has_domains else "g(r.sub,p.sub)"
    wanted = {subject if has_roles else "r.sub==p.sub", "r.obj==p.obj", "r.act==p.act"}
    if has_domains:
        wanted.add("r.dom==p.dom")
    if terms != sorted(wanted):
        raise NotExpressible(
            f"The matcher is not {' && '.join(sorted(wanted))}; other functions cannot be taken over"
        )


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            kept = (line for line in file if line.strip() and not line.lstrip().startswith("#"))
            return [[cell.strip() for cell in row] for row in csv.reader(kept, skipinitialspace=True)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise NotExpressible(f"{path} is no policy of Casbin: {error}") from error


def _rights(shape: _Model, lines: list[list[str]], domain: str | None) -> Rights:
    links = {tuple(line[1:]) for line in lines if line[0] == "g"}
    rules = [line[1:] for line in lines if line[0] == "p"]
    other = {line[0] for line in lines} - {"p", "g"}
    if other or (links and not shape.has_roles):
        raise NotExpressible(
            f"The model says nothing of lines that begin with {', '.join(sorted(other or {'g'}))}"
        )
    for link in links:
        if len(link) != (3 if shape.has_domains else 2):
            raise NotExpressible(f"The line g, {', '.join(link)} is too long or too short")
    if shape.has_domains:
        _refuse_patterns({link[2] for link in links})
        _refuse_other_domain(domain, _domains(shape, rules) | {link[2] for link in links})
        links = {link[:2] for link in links if link[2] == domain}

    rights = Rights()
    roles = {parent for _, parent in links}
    for name, parent in links:
        (rights.inherits if name in roles else rights.held).add((name, parent))
    for rule in rules:
        grant = _grant(shape, rule, roles, domain)
        if grant is not None:
            rights.grants.add(grant)
    _refuse_mixed(rights.grants)
    return rights


def _grant(shape: _Model, rule: list[str], roles: set[str], domain: str | None) -> Grant | None:
    if len(rule) != len(shape.columns):
        raise NotExpressible(f"The line p, {', '.join(rule)} is too long or too short")
    cells = dict(zip(shape.columns, rule, strict=True))
    _refuse_patterns(set(rule))
    effect = cells.get("eft", "allow")
    if effect not in ("allow", "deny"):
        raise NotExpressible(f"The line p, {', '.join(rule)} neither allows nor denies")
    # Where a deny has no effect in Casbin it has none here.
    if cells.get("dom", domain) != domain or (effect == "deny" and not shape.has_denies):
        return None
    kind, resource_id = _object(cells["obj"])
    permission = f"{kind}.{cells['act']}"
    holder = cells["sub"]
    return Grant("role" if holder in roles else "user", holder, permission, effect, resource_id)


def _object(text: str) -> tuple[str, UUID | None]:
    kind, separator, name = text.partition(":")
    if not separator:
        return kind, None
    try:
        return kind, UUID(name)
    except ValueError:
        raise NotExpressible(f"The object {text} is neither a type nor type:id") from None


def _domains(shape: _Model, rules: list[list[str]]) -> set[str]:
    at = shape.columns.index("dom")
    return {rule[at] for rule in rules if len(rule) > at}


def _refuse_other_domain(domain: str | None, known: set[str]) -> None:
    if domain not in known:
        raise NotExpressible(
            f"The policy has no domain {domain}, it has {', '.join(sorted(known)) or 'none'}"
        )


def _refuse_patterns(names: set[str]) -> None:
    for name in sorted(names):
        if "*" in name:
            raise NotExpressible(f"{name} stands for many; name each of them")


def _refuse_mixed(grants: set[Grant]) -> None:
    """What is said of a type holds here for everything of the type, and Casbin compares names only."""
    of_types = {grant.permission.split(".")[0] for grant in grants if grant.resource_id is None}
    of_things = {grant.permission.split(".")[0] for grant in grants if grant.resource_id is not None}
    if both := of_types & of_things:
        raise NotExpressible(
            f"There are rules on {', '.join(sorted(both))} and on single ones of it;"
            " here the former would be rules on the latter too"
        )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
