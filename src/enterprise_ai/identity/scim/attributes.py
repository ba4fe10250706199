"""Where each attribute that can be filtered and sorted by is to be found in the tables, by its name in lower case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"


@dataclass(frozen=True)
class Column:
    """An expression over the rows of `queries.sql`."""

    expression: LiteralString
    kind: type[str | bool | UUID | datetime] = str
    is_exact: bool = False
    """Whether case matters."""
    folded: LiteralString | None = None
    """A column that holds the same in lower case, for its index."""
    rows: LiteralString | None = None
    """For one of many values: what selects them, to be continued with a condition."""


_GROUPS_OF: LiteralString = (
    "select from identity.group_members as gm"
    " join identity.groups as gg on gg.tenant_id = gm.tenant_id and gg.id = gm.group_id"
    " where gm.tenant_id = u.tenant_id and gm.user_id = u.id and "
)
_MEMBERS_OF: LiteralString = (
    "select from identity.group_members as gm where gm.tenant_id = g.tenant_id and gm.group_id = g.id and "
)

USER: Mapping[str, Column] = {
    "id": Column("u.id", UUID, is_exact=True),
    "externalid": Column("u.external_id", is_exact=True),
    "username": Column("coalesce(u.user_name, u.email)", folded="u.user_name_key"),
    "displayname": Column("u.display_name"),
    "active": Column("u.status <> 'deactivated'", bool),
    "emails.value": Column("u.email", folded="u.email_key"),
    "emails.type": Column("'work'::text"),
    "emails.primary": Column("true", bool),
    "name.givenname": Column("p.given_name"),
    "name.familyname": Column("p.family_name"),
    "title": Column("p.job_title"),
    "locale": Column("p.locale"),
    "timezone": Column("p.time_zone"),
    f"{ENTERPRISE}:department": Column("p.department"),
    f"{ENTERPRISE}:manager.value": Column("p.manager_id", UUID, is_exact=True),
    "groups.value": Column("gm.group_id", UUID, is_exact=True, rows=_GROUPS_OF),
    "groups.display": Column("gg.display_name", rows=_GROUPS_OF),
    "groups.type": Column("'direct'::text", rows=_GROUPS_OF),
    "meta.resourcetype": Column("'User'::text", is_exact=True),
    "meta.created": Column("u.created_at", datetime),
    "meta.lastmodified": Column("greatest(u.updated_at, p.updated_at)", datetime),
}

GROUP: Mapping[str, Column] = {
    "id": Column("g.id", UUID, is_exact=True),
    "externalid": Column("g.external_id", is_exact=True),
    "displayname": Column("g.display_name", is_exact=True),
    "members.value": Column("gm.user_id", UUID, is_exact=True, rows=_MEMBERS_OF),
    "members.type": Column("'User'::text", rows=_MEMBERS_OF),
    "meta.resourcetype": Column("'Group'::text", is_exact=True),
    "meta.created": Column("g.created_at", datetime),
    "meta.lastmodified": Column("g.updated_at", datetime),
}
