"""Users of SCIM out of rows, and what the database is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from scim2_models import InvalidValueException, Meta, Reference

from enterprise_ai.identity.scim.schemas import (
    PROVIDER,
    Email,
    EnterpriseUser,
    Manager,
    Membership,
    Name,
)

_Model: Any = PROVIDER.model_for("User")


@dataclass(frozen=True)
class UserRow:
    """A row of `find_users`."""

    id: UUID
    external_id: str | None
    user_name: str
    email: str
    display_name: str
    is_active: bool
    given_name: str | None
    family_name: str | None
    job_title: str | None
    locale: str | None
    time_zone: str | None
    department: str | None
    manager_id: UUID | None
    created_at: datetime
    updated_at: datetime
    version: str
    groups: Sequence[dict[str, str]] | None


def resource(row: UserRow) -> Any:
    """Return the user that a row describes."""
    user = _Model(
        id=str(row.id),
        external_id=row.external_id,
        meta=Meta(
            resource_type="User",
            created=row.created_at,
            last_modified=row.updated_at,
            version=f'W/"{row.version}"',
        ),
        user_name=row.user_name,
        display_name=row.display_name,
        name=_name(row),
        title=row.job_title,
        locale=row.locale,
        timezone=row.time_zone,
        active=row.is_active,
        emails=[Email(value=row.email, type="work", primary=True)],
        groups=[_membership(group) for group in row.groups] if row.groups else None,
    )
    if row.department is not None or row.manager_id is not None:
        user[EnterpriseUser] = EnterpriseUser(department=row.department, manager=_manager(row))
    return user


def attributes(user: Any) -> Jsonb:
    """Return what `identity.scim_save_user` takes; raise `InvalidValueException`."""
    email = address(user)
    company = user[EnterpriseUser] or EnterpriseUser()
    name = user.name or Name()
    return Jsonb(
        {
            "user_name": None if user.user_name == email else user.user_name,
            "email": email,
            "display_name": user.display_name or user.user_name,
            "external_id": user.external_id,
            "is_active": user.active,
            "profile": {
                "given_name": name.given_name,
                "family_name": name.family_name,
                "job_title": user.title,
                "locale": user.locale,
                "time_zone": user.timezone,
                "department": company.department,
                "manager_id": _manager_id(company.manager),
            },
        }
    )


def address(user: Any) -> str:
    """Return the one address to keep: the primary one, that at work, or the first; raise `InvalidValueException`."""
    values = [email for email in user.emails or () if email.value]
    ranked = sorted(values, key=lambda email: (not email.primary, email.type != "work"))
    if ranked:
        return str(ranked[0].value)
    raise InvalidValueException(detail="A user has an address, in emails or as the userName")


def _name(row: UserRow) -> Name | None:
    if row.given_name is None and row.family_name is None:
        return None
    return Name(given_name=row.given_name, family_name=row.family_name)


def _membership(group: dict[str, str]) -> Membership:
    return Membership(
        value=group["value"],
        ref=Reference(f"Groups/{group['value']}"),
        display=group["display"],
        type="direct",
    )


def _manager(row: UserRow) -> Manager | None:
    if row.manager_id is None:
        return None
    return Manager(value=str(row.manager_id), ref=Reference(f"Users/{row.manager_id}"))


def _manager_id(manager: Manager | None) -> str | None:
    """The id of a manager, who may be given by reference only; an empty one is none."""
    if manager is None:
        return None
    value = manager.value or (str(manager.ref).rpartition("/")[2] if manager.ref else "")
    if not value:
        return None
    try:
        return str(UUID(value))
    except ValueError:
        raise InvalidValueException(detail=f"There is no user {value}, who would be the manager") from None
