"""Relationship tuples as OpenFGA writes them, as far as the relations are permissions, memberships and roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from enterprise_ai.operations.rights_import import Grant, Holder, NotExpressible, Rights


def read(path: Path, relations: dict[str, list[str]] | None = None) -> Rights:
    """Return what tuples say; raise `NotExpressible`, `OSError`. `relations` says which actions a relation stands for.

    `user:ada@… read document:ID` is a grant; `… member group:NAME` a membership; `… assignee role:NAME` a role held;
    `group:NAME#member` and `role:NAME#assignee` in the place of the user are a grant to all of them.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise NotExpressible(f"{path} is no JSON: {error}") from error
    if isinstance(found, dict):
        found = found.get("tuples", found.get("tuple_keys"))
    if not isinstance(found, list):
        raise NotExpressible(f"{path} is no list of tuples")
    rights = Rights()
    for entry in found:
        _add(rights, entry, relations or {})
    return rights


def _add(rights: Rights, entry: Any, relations: dict[str, list[str]]) -> None:
    key = entry.get("key", entry) if isinstance(entry, dict) else {}
    try:
        user, relation, thing = (str(key[name]) for name in ("user", "relation", "object"))
    except KeyError:
        raise NotExpressible(f"{json.dumps(entry)} is no tuple of user, relation and object") from None
    said = f"{user} {relation} {thing}"
    if key.get("condition"):
        raise NotExpressible(f"{said} has a condition, which is written in another language than ours")
    kind, holder = _holder(user, said)
    of, _, name = thing.partition(":")
    if (of, relation) in (("group", "member"), ("role", "assignee")):
        if kind == "user":
            (rights.members if of == "group" else rights.held).add((holder, name))
        elif kind == of == "role":
            rights.inherits.add((holder, name))
        else:
            raise NotExpressible(f"{said}: only people are members of groups and hold roles by tuples")
        return
    try:
        resource_id = UUID(name)
    except ValueError:
        raise NotExpressible(f"{said} is about nothing that has an id of ours") from None
    for action in relations.get(relation, [relation]):
        rights.grants.add(Grant(kind, holder, f"{of}.{action}", "allow", resource_id))


def _holder(user: str, said: str) -> tuple[Holder, str]:
    kind, _, rest = user.partition(":")
    name, _, relation = rest.partition("#")
    if kind == "user" and name and name != "*" and not relation:
        return "user", name
    if kind == "group" and relation == "member":
        return "group", name
    if kind == "role" and relation == "assignee":
        return "role", name
    raise NotExpressible(f"{said}: it can be given to user:…, group:…#member and role:…#assignee")
