"""Groups of SCIM out of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from scim2_models import InvalidValueException, Meta, Reference

from enterprise_ai.identity.scim.schemas import Group, Member


@dataclass(frozen=True)
class GroupRow:
    """A row of `find_groups`."""

    id: UUID
    external_id: str | None
    display_name: str
    created_at: datetime
    updated_at: datetime
    version: str
    members: Sequence[str] | None


def resource(row: GroupRow) -> Group:
    """Return the group that a row describes."""
    return Group(
        id=str(row.id),
        external_id=row.external_id,
        meta=Meta(
            resource_type="Group",
            created=row.created_at,
            last_modified=row.updated_at,
            version=f'W/"{row.version}"',
        ),
        display_name=row.display_name,
        members=[_member(member) for member in row.members] if row.members else None,
    )


def member_ids(group: Any) -> set[UUID]:
    """Return who is in a group; raise `InvalidValueException` for what is no user's id."""
    return {member_id(member.value, member.type) for member in group.members or ()}


def _member(user_id: str) -> Member:
    return Member(value=user_id, ref=Reference(f"Users/{user_id}"), type="User")


def member_id(value: str | None, type: str | None = None) -> UUID:
    """Return who a member is; raise `InvalidValueException` for what is no user's id."""
    if (type or "User").casefold() != "user":
        raise InvalidValueException(detail="The members of a group are users")
    try:
        return UUID(value or "")
    except ValueError:
        raise InvalidValueException(detail=f"There is no user {value}") from None
