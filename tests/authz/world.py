"""Verbs to say who holds what in a tenant, and to ask for decisions at any moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
READY = "ready"
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@dataclass
class Decision:
    effect: str
    reason: str
    rule_ids: list[UUID]
    obligations: dict[str, Any]
    missing: list[str]
    expires_at: datetime | None


class World:
    """One tenant on one connection, as the owner of the tables."""

    def __init__(self, conn: psycopg.Connection, slug: str | None = None) -> None:
        """Take the tenant that is there already, or make one of that name."""
        self.conn = conn
        if slug is None:
            self.tenant_id = self.one(
                "select tenant_id from identity.tenant_directory where slug = %s", READY
            )
        else:
            self.tenant_id = self.one("select identity.create_tenant(%s, %s)", slug, slug)
        self.enter()
        self.permissions = dict(conn.execute("select name, id from authz.permissions").fetchall())

    def enter(self) -> None:
        self.conn.execute(CONTEXT, [self.tenant_id])

    def one(self, query: str, *values: Any) -> Any:
        return self.conn.execute(query, values).fetchone()[0]

    def insert(self, table: str, **columns: Any) -> UUID:
        columns = {"tenant_id": self.tenant_id, **columns}
        if isinstance(columns.get("permission_id"), str):
            columns["permission_id"] = self.permissions[columns["permission_id"]]
        marks = ", ".join(["%s"] * len(columns))
        values = [
            json.dumps(v) if isinstance(v, dict) or (k == "windows" and v) else v for k, v in columns.items()
        ]
        key = "" if table in ("identity.group_members", "authz.role_inheritance") else " returning id"
        cursor = self.conn.execute(
            f"insert into {table} ({', '.join(columns)}) values ({marks}){key}", values
        )
        return cursor.fetchone()[0] if key else None

    def user(self, status: str = "active") -> UUID:
        email = f"{uuid4().hex}@example.com"
        return self.insert("identity.users", email=email, display_name="Ada", status=status)

    def group(self, parent: UUID | None = None, *members: UUID) -> UUID:
        group = self.insert("identity.groups", display_name=uuid4().hex, parent_id=parent)
        for member in members:
            self.join(group, member)
        return group

    def join(self, group: UUID, member: UUID) -> None:
        self.insert("identity.group_members", group_id=group, user_id=member)

    def role(self, *parents: UUID, **columns: Any) -> UUID:
        role = self.insert("authz.roles", name="r" + uuid4().hex, display_name="R", **columns)
        for parent in parents:
            self.inherit(role, parent)
        return role

    def inherit(self, heir: UUID, parent: UUID, **when: Any) -> None:
        self.insert("authz.role_inheritance", role_id=heir, parent_id=parent, **when)

    def carry(self, role: UUID, permission: str, **how: Any) -> UUID:
        return self.insert("authz.role_permissions", role_id=role, permission_id=permission, **how)

    def give(self, user: UUID, role: UUID, **how: Any) -> UUID:
        return self.insert("authz.user_roles", user_id=user, role_id=role, **how)

    def say(self, user: UUID, permission: str, **how: Any) -> UUID:
        return self.insert("authz.user_permissions", user_id=user, permission_id=permission, **how)

    def resource(self, parent: UUID | None = None, kind: str = "document", **columns: Any) -> UUID:
        return self.insert("authz.resources", resource_type=kind, parent_id=parent, **columns)

    def delegate(self, giver: UUID, taker: UUID, permission: str | None = None, **how: Any) -> UUID:
        how.setdefault("valid_from", datetime(2020, 1, 1, tzinfo=UTC))
        how.setdefault("valid_until", datetime(2030, 1, 1, tzinfo=UTC))
        return self.insert(
            "authz.delegations", delegator_id=giver, delegate_id=taker, permission_id=permission, **how
        )

    def decide(
        self,
        user: UUID,
        permission: str,
        resource: UUID | None = None,
        *,
        at: datetime = NOON,
        request: dict[str, Any] | None = None,
        **context: Any,
    ) -> Decision:
        """The whole decision, as in a context of that user, at any moment."""
        fields = {"tenant_id": str(self.tenant_id), "user_id": str(user), **context}
        row = self.conn.execute(
            "select d.* from authz._evaluate(%s, %s, %s, %s, %s, %s) as d",
            [json.dumps(fields, default=str), user, permission, resource, json.dumps(request or {}), at],
        ).fetchone()
        return Decision(*row)

    def ask_as(self, user: UUID, **fields: Any) -> None:
        """Open the context of the user."""
        fields = {"tenant_id": self.tenant_id, "user_id": user, **fields}
        self.conn.execute("select platform._seal_context(%s)", [json.dumps(fields, default=str)])
