"""Rights that come from elsewhere: roles, who holds them, and grants, added to the tenant of the context."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation

from enterprise_ai.authz.calls import Calls
from enterprise_ai.errors import translated

Holder = Literal["user", "group", "role"]


class NotExpressible(Exception):
    """Something that the tenant cannot be given as it was meant; the text says what and why."""


@dataclass(frozen=True)
class Grant:
    """One permission, allowed or denied to a user, a group or a role; on a resource or on the type."""

    kind: Holder
    holder: str
    permission: str
    effect: str = "allow"
    resource_id: UUID | None = None


@dataclass
class Rights:
    """What is to be added; people by their address or id, roles and groups by their name."""

    grants: set[Grant] = field(default_factory=set)
    inherits: set[tuple[str, str]] = field(default_factory=set)
    """(heir, parent)"""
    held: set[tuple[str, str]] = field(default_factory=set)
    """(user, role)"""
    members: set[tuple[str, str]] = field(default_factory=set)
    """(user, group)"""

    def roles(self) -> set[str]:
        """Every role that is spoken of."""
        named = {grant.holder for grant in self.grants if grant.kind == "role"}
        return named | {name for pair in self.inherits for name in pair} | {role for _, role in self.held}

    def groups(self) -> set[str]:
        """Every group that is spoken of."""
        return {grant.holder for grant in self.grants if grant.kind == "group"} | {g for _, g in self.members}

    def people(self) -> set[str]:
        """Everybody who is spoken of."""
        named = {grant.holder for grant in self.grants if grant.kind == "user"}
        return named | {user for user, _ in self.held} | {user for user, _ in self.members}


_PEOPLE = """
select asked.name, u.id from unnest(%s::text[]) as asked (name)
join identity.users as u on u.deleted_at is null
    and (lower(u.email) = lower(asked.name) or u.id::text = lower(asked.name))
"""
_GROUPS = "select display_name, id from identity.groups where display_name = any (%s::text[])"
_TAKEN = "select name, id from authz.roles where name = any (%s::text[])"
_NEW_ROLE = """
insert into authz.roles (tenant_id, name, display_name) values (platform.current_tenant_id(), %(name)s, %(name)s)
returning id
"""
_NEW_GROUP = """
insert into identity.groups (tenant_id, display_name) values (platform.current_tenant_id(), %(name)s) returning id
"""
_INHERIT = """
insert into authz.role_inheritance (tenant_id, role_id, parent_id)
values (platform.current_tenant_id(), %(heir)s, %(parent)s)
"""
_HOLD = """
insert into authz.user_roles (tenant_id, user_id, role_id) values (platform.current_tenant_id(), %(user)s, %(role)s)
"""
_JOIN = """
insert into identity.group_members (tenant_id, group_id, user_id)
values (platform.current_tenant_id(), %(group)s, %(user)s) on conflict do nothing
"""
_GRANT: dict[str, LiteralString] = {
    "user": """
insert into authz.user_permissions (tenant_id, user_id, permission_id, effect, resource_id)
values (platform.current_tenant_id(), %(holder)s, %(permission)s, %(effect)s, %(resource)s)
""",
    "group": """
insert into authz.group_permissions (tenant_id, group_id, permission_id, effect, resource_id)
values (platform.current_tenant_id(), %(holder)s, %(permission)s, %(effect)s, %(resource)s)
""",
    "role": """
insert into authz.role_permissions (tenant_id, role_id, permission_id, effect, resource_id)
values (platform.current_tenant_id(), %(holder)s, %(permission)s, %(effect)s, %(resource)s)
""",
}


def add_rights(conn: Connection[Any], rights: Rights, *, role_prefix: str = "") -> dict[str, int]:
    """Add all of it or nothing, and count it; raise `NotExpressible`, and what refuses it in the database.

    As the owner of the tables, in a transaction with the context of the tenant.
    """
    return _Addition(conn, role_prefix).make(rights)


class _Addition(Calls):
    def __init__(self, conn: Connection[Any], role_prefix: str) -> None:
        super().__init__(conn)
        self._prefix = role_prefix

    def make(self, rights: Rights) -> dict[str, int]:
        people = self._pairs(_PEOPLE, rights.people())
        self._refuse(
            "Nobody in the tenant is", rights.people() - people.keys(), " (people go by address or id)"
        )
        permissions = dict(self._conn.execute("select name, id from authz.permissions").fetchall())
        self._refuse("There is no permission", {g.permission for g in rights.grants} - permissions.keys())
        self._refuse_unknown_resources(rights.grants)
        names = {self._prefix + role for role in rights.roles()}
        unfit = {name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name)}
        self._refuse("Names of roles are of small letters, digits and _, unlike", unfit)
        taken = self._pairs(_TAKEN, names)
        self._refuse("The tenant has already, with rights of its own, the role", set(taken))

        with translated():
            roles = {role: self._made(_NEW_ROLE, self._prefix + role) for role in sorted(rights.roles())}
            groups = self._pairs(_GROUPS, rights.groups())
            groups |= {name: self._made(_NEW_GROUP, name) for name in sorted(rights.groups() - groups.keys())}
            for user, group in sorted(rights.members):
                self._conn.execute(_JOIN, {"user": people[user], "group": groups[group]})
            for heir, parent in sorted(rights.inherits):
                self._conn.execute(_INHERIT, {"heir": roles[heir], "parent": roles[parent]})
            for user, role in sorted(rights.held):
                self._conn.execute(_HOLD, {"user": people[user], "role": roles[role]})
            ids = {"user": people, "group": groups, "role": roles}
            for grant in sorted(rights.grants, key=repr):
                values = {
                    "holder": ids[grant.kind][grant.holder],
                    "permission": permissions[grant.permission],
                    "effect": grant.effect,
                    "resource": grant.resource_id,
                }
                try:
                    self._conn.execute(_GRANT[grant.kind], values)
                except UniqueViolation:
                    where = f" on {grant.resource_id}" if grant.resource_id else ""
                    said = f"The {grant.kind} {grant.holder} has already {grant.effect} of {grant.permission}{where}"
                    raise NotExpressible(said) from None
        return {
            "roles": len(roles),
            "inheritances": len(rights.inherits),
            "assignments": len(rights.held),
            "members": len(rights.members),
            "grants": len(rights.grants),
        }

    def _made(self, query: LiteralString, name: str) -> UUID:
        row = self._conn.execute(query, {"name": name}).fetchone()
        assert row is not None
        made = row[0]
        assert isinstance(made, UUID)
        return made

    def _pairs(self, query: LiteralString, names: set[str]) -> dict[str, UUID]:
        return dict(self._conn.execute(query, [sorted(names)]).fetchall())

    def _refuse_unknown_resources(self, grants: Iterable[Grant]) -> None:
        wanted = {(g.resource_id, g.permission.split(".")[0]) for g in grants if g.resource_id is not None}
        found = self._conn.execute(
            "select id, resource_type from authz.resources where id = any (%s)",
            [[resource_id for resource_id, _ in wanted]],
        )
        self._refuse("There is no", {f"{kind} {id_}" for id_, kind in wanted - set(found.fetchall())})

    @staticmethod
    def _refuse(said: str, names: set[str], hint: str = "") -> None:
        if names:
            shown = sorted(names)
            more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
            raise NotExpressible(f"{said} {', '.join(shown[:5])}{more}{hint}")
