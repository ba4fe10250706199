"""The people and groups of a tenant, for services that keep them (`enterprise_ai_gateway`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.access import ApiKey, Session
from enterprise_ai.identity.errors import UserNotFound

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class User:
    """A person or a service account; `locked_until` counts while `status` is locked and it lies ahead."""

    id: UUID
    email: str
    email_verified_at: datetime | None
    display_name: str
    status: str
    external_id: str | None
    locked_until: datetime | None
    last_login_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class Invitation:
    """A user just made, and the token to send to their address."""

    user_id: UUID
    token: str


class Users:
    """The users of the context's tenant."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def get(self, user_id: UUID) -> User:
        """Return a user; raise `UserNotFound`."""
        return self._find("find_user", user_id=user_id)

    def get_by_email(self, email: str) -> User:
        """Return the living user who has the address; raise `UserNotFound`."""
        return self._find("find_user_by_email", email=email)

    def list(
        self, *, status: str | None = None, after: UUID | None = None, limit: int = 100
    ) -> Sequence[User]:
        """Users by id, which is the order they were made in, from the one after `after` on."""
        values = {"status": status, "after": after, "limit": limit}
        with translated(), self._conn.cursor(row_factory=class_row(User)) as cursor:
            return cursor.execute(_sql["list_users"], values).fetchall()

    def create(self, email: str, display_name: str, *, external_id: str | None = None) -> UUID:
        """Make a user who is active at once, such as a service account; raise `EmailTaken`."""
        user_id = self._call("create_user", email=email, display_name=display_name, external_id=external_id)
        assert isinstance(user_id, UUID)
        return user_id

    def invite(self, email: str, display_name: str, *, external_id: str | None = None) -> Invitation:
        """Make a user who becomes active by the invitation's token; raise `EmailTaken`."""
        values = {"email": email, "display_name": display_name, "external_id": external_id}
        with translated(), self._conn.cursor(row_factory=class_row(Invitation)) as cursor:
            invitation = cursor.execute(_sql["invite_user"], values).fetchone()
        assert invitation is not None
        return invitation

    def activate(self, user_id: UUID) -> None:
        """Let an invited user in; raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("activate_user", user_id=user_id)

    def suspend(self, user_id: UUID) -> None:
        """Keep a user out for the time being; raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("suspend_user", user_id=user_id)

    def deactivate(self, user_id: UUID) -> None:
        """Put a user who has left out of work; raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("deactivate_user", user_id=user_id)

    def reactivate(self, user_id: UUID) -> None:
        """Let a user in again, without what ended before; raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("reactivate_user", user_id=user_id)

    def unlock(self, user_id: UUID) -> None:
        """End a lock-out before its time; raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("unlock_user", user_id=user_id)

    def remove(self, user_id: UUID) -> None:
        """Deactivate for good; address and name are free again. Raise `UserNotFound`, `StatusCannotFollow`."""
        self._call("remove_user", user_id=user_id)

    def erase(self, user_id: UUID) -> None:
        """Remove for good what is known of a person; raise `UnderLegalHold`, `UserNotFound`, `StatusCannotFollow`."""
        self._call("erase_user", user_id=user_id)

    def save_profile(self, user_id: UUID, **changes: Any) -> None:
        """Change fields of a profile; raise `UnknownProfileField`, `WouldBeCircle` (the manager)."""
        plain = {name: str(value) if isinstance(value, UUID) else value for name, value in changes.items()}
        self._call("save_profile", user_id=user_id, changes=Jsonb(plain))

    def revoke_sessions(self, user_id: UUID, reason: str) -> int:
        """End all sessions of a user; return how many were alive."""
        return int(self._call("revoke_sessions_of", user_id=user_id, reason=reason))

    def sessions(self, user_id: UUID) -> Sequence[Session]:
        """The live sessions of a user, the last used first; none of them is the caller's own."""
        with translated(), self._conn.cursor(row_factory=class_row(Session)) as cursor:
            return cursor.execute(_sql["list_sessions_of"], {"user_id": user_id}).fetchall()

    def api_keys(self, user_id: UUID | None = None) -> Sequence[ApiKey]:
        """The API keys of a user, or of everybody, the newest first."""
        with translated(), self._conn.cursor(row_factory=class_row(ApiKey)) as cursor:
            return cursor.execute(_sql["list_api_keys"], {"user_id": user_id}).fetchall()

    def issue_token(self, user_id: UUID, purpose: str, *, email: str | None = None) -> str:
        """A token to send: `verify_email` (with the address), `reset_password` or `invite`."""
        return str(self._call("issue_one_time_token", user_id=user_id, purpose=purpose, email=email))

    def new_recovery_codes(self, user_id: UUID) -> Sequence[str]:
        """Recovery codes in the place of all earlier ones."""
        with translated():
            return [row[0] for row in self._conn.execute(_sql["new_recovery_codes"], {"user_id": user_id})]

    def _find(self, query: str, **values: Any) -> User:
        with translated(), self._conn.cursor(row_factory=class_row(User)) as cursor:
            user = cursor.execute(_sql[query], values).fetchone()
        if user is None:
            raise UserNotFound(f"There is no user {next(iter(values.values()))}")
        return user

    def _call(self, query: str, **values: Any) -> Any:
        with translated():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]


class Groups:
    """The groups of the context's tenant."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn

    def create(
        self, display_name: str, *, parent_id: UUID | None = None, external_id: str | None = None
    ) -> UUID:
        """Make a group and return its id; raise `GroupExists`."""
        values = {"display_name": display_name, "parent_id": parent_id, "external_id": external_id}
        group_id = self._call("create_group", **values)
        assert isinstance(group_id, UUID)
        return group_id

    def move(self, group_id: UUID, parent_id: UUID | None) -> None:
        """Put a group within another or within none; raise `GroupNotFound`, `WouldBeCircle`."""
        self._call("move_group", group_id=group_id, parent_id=parent_id)

    def delete(self, group_id: UUID) -> None:
        """Delete a group with its memberships; raise `GroupNotFound`."""
        self._call("delete_group", group_id=group_id)

    def add(self, group_id: UUID, user_id: UUID) -> bool:
        """Put a user into a group; False when they were in it."""
        return bool(self._call("add_group_member", group_id=group_id, user_id=user_id))

    def remove(self, group_id: UUID, user_id: UUID) -> bool:
        """Take a user out of a group; False when they were not in it."""
        return bool(self._call("remove_group_member", group_id=group_id, user_id=user_id))

    def of(self, user_id: UUID) -> set[UUID]:
        """The groups that a user is in, and those that these lie within."""
        with translated():
            return {row[0] for row in self._conn.execute(_sql["groups_of"], {"user_id": user_id})}

    def _call(self, query: str, **values: Any) -> Any:
        with translated():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]


def redeem(conn: Connection[Any], token: str, purpose: str, *, password_hash: str | None = None) -> UUID:
    """Do what a one-time token was sent for and return the user; raise `OneTimeTokenNotValid`."""
    values = {"token": token, "purpose": purpose, "password_hash": password_hash}
    with translated():
        row = conn.execute(_sql["redeem_one_time_token"], values).fetchone()
    assert row is not None
    user_id = row[0]
    assert isinstance(user_id, UUID)
    return user_id
