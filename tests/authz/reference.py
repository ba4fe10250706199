"""A slow decision in plain Python, straight from the tables: what the database's answers are compared with."""

from __future__ import annotations

from typing import Any

TABLES = (
    "identity.users", "identity.groups", "identity.group_members", "authz.resources", "authz.roles",
    "authz.role_inheritance", "authz.role_permissions", "authz.user_roles", "authz.group_roles",
    "authz.user_permissions", "authz.group_permissions",
)  # fmt: skip


class Reference:
    """All rows of a tenant, and decisions about them at one moment, in one request."""

    def __init__(self, conn: Any, tenant_id: Any, at: Any, request: dict[str, Any]) -> None:
        self.at, self.request = at, request
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for table in TABLES:
            cursor = conn.execute(f"select * from {table} where tenant_id = %s", [tenant_id])
            names = [column.name for column in cursor.description]
            self.rows[table] = [dict(zip(names, row, strict=True)) for row in cursor]
        cursor = conn.execute(
            "select p.name, p.id, p.requires_approval, p.minimum_authentication_level, p.resource_type, t.parent_type"
            " from authz.permissions as p join authz.resource_types as t on t.name = p.resource_type"
        )
        self.permissions = {row[0]: row[1:] for row in cursor}
        self.resources = {row["id"]: row for row in self.rows["authz.resources"]}

    def allows(self, user: Any, permission: str, resource: Any) -> bool:
        person = next((u for u in self.rows["identity.users"] if u["id"] == user), None)
        if person is None or person["status"] != "active" or permission not in self.permissions:
            return False
        number, needs_approval, level, kind, parent_kind = self.permissions[permission]
        if resource is not None and (
            resource not in self.resources
            or self.resources[resource]["resource_type"] not in (kind, parent_kind)
        ):
            return False
        allowed = False
        for rule in self.candidates(user, number):
            truth = True
            for part in rule["parts"]:
                truth = both(truth, self.truth(part))
            if not all(self.covers(scope, resource, rule["effect"]) for scope in rule["scopes"]):
                continue
            if rule["only_own"] and (resource is None or self.resources[resource]["owner_id"] != user):
                continue
            if rule["effect"] == "deny":
                if truth is not False:
                    return False
            elif truth is True and (rule["approved"] or not needs_approval):
                allowed = True
        return allowed and level == 1

    def candidates(self, user: Any, number: int) -> Any:
        groups = self.groups(user)
        held = [(a, a["role_id"]) for a in self.rows["authz.user_roles"] if a["user_id"] == user]
        held += [(a, a["role_id"]) for a in self.rows["authz.group_roles"] if a["group_id"] in groups]
        held += [({}, r["id"]) for r in self.rows["authz.roles"] if r["for_everyone"]]
        for assignment, role in held:
            for carrier, edges in self.above(role, []):
                for rule in self.rows["authz.role_permissions"]:
                    if rule["role_id"] != carrier or rule["permission_id"] != number:
                        continue
                    if not rule["inheritable"] and carrier != role:
                        continue
                    yield {
                        "effect": rule["effect"],
                        "only_own": rule["only_own"],
                        "scopes": [rule["resource_id"], assignment.get("resource_id")],
                        "parts": [rule, assignment, *edges],
                        "approved": approved(assignment),
                    }
        direct = [r for r in self.rows["authz.user_permissions"] if r["user_id"] == user]
        direct += [r for r in self.rows["authz.group_permissions"] if r["group_id"] in groups]
        for rule in direct:
            if rule["permission_id"] == number:
                yield {
                    "effect": rule["effect"],
                    "only_own": False,
                    "scopes": [rule["resource_id"]],
                    "parts": [rule],
                    "approved": approved(rule),
                }

    def groups_there(self) -> set[Any]:
        return {g["id"] for g in self.rows["identity.groups"]}

    def groups(self, user: Any) -> set[Any]:
        parents = {g["id"]: g["parent_id"] for g in self.rows["identity.groups"]}
        found: set[Any] = set()
        for member in self.rows["identity.group_members"]:
            group = member["group_id"] if member["user_id"] == user else None
            while group is not None and group not in found:
                found.add(group)
                group = parents[group]
        return found

    def above(self, role: Any, edges: list[Any]) -> Any:
        yield role, edges
        for edge in self.rows["authz.role_inheritance"]:
            if edge["role_id"] == role:
                yield from self.above(edge["parent_id"], [*edges, edge])

    def covers(self, scope: Any, resource: Any, effect: str) -> bool:
        if scope is None:
            return True
        while resource is not None:
            if resource == scope:
                return True
            row = self.resources[resource]
            resource = row["parent_id"] if row["inherits"] or effect == "deny" else None
        return False

    def truth(self, part: dict[str, Any]) -> bool | None:
        """True, False or, where what is asked for is not known, None."""
        if part.get("valid_from") and self.at < part["valid_from"]:
            return False
        if part.get("valid_until") and self.at >= part["valid_until"]:
            return False
        if part.get("minimum_authentication_level"):
            return None  # the request does not say
        if part.get("condition"):
            assert part["condition"] == 'strict ($."env"."risk" < 3)'
            risk = self.request.get("risk")
            return risk < 3 if isinstance(risk, int) else None
        return True


def both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def approved(row: dict[str, Any]) -> bool:
    return row.get("granted_by") is None or row.get("approved_by") is not None
