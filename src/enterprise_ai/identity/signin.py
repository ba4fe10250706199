"""How people sign in: each step commits what it decided, also when it turns somebody away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity import second_factors
from enterprise_ai.identity.contexts import NO_REQUEST, Request, open_for
from enterprise_ai.identity.errors import (
    AccountLocked,
    InvalidCredentials,
    RefreshTokenNotValid,
    RefreshTokenReused,
    SecondFactorRefused,
    SignInsThrottled,
    TransactionOpen,
)
from enterprise_ai.identity.passwords import Passwords
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class PasswordAccepted:
    """Whose password it was, and what is to be done before a session is started."""

    user_id: UUID
    must_change: bool
    """It was set by somebody else or is too old: no session starts before there is a new one."""
    has_second_factor: bool
    requires_second_factor: bool
    """No session starts without a second factor; who has none is to add one now."""


@dataclass(frozen=True)
class NewSession:
    """A session just started; its tokens are not to be had again."""

    id: UUID
    token: str
    refresh_token: str | None
    idle_expires_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class RefreshedSession:
    """The successors of a refresh token."""

    id: UUID
    user_id: UUID
    token: str
    refresh_token: str
    expires_at: datetime
    is_repeated: bool
    """The token had been used seconds before, and these are the successors given then."""


@dataclass(frozen=True)
class _Attempt:
    attempt_id: UUID
    password_hash: str | None


@dataclass(frozen=True)
class _Decision:
    outcome: str
    user_id: UUID | None
    must_change: bool
    has_second_factor: bool
    requires_second_factor: bool


@dataclass(frozen=True)
class _Refreshed:
    outcome: str
    session_id: UUID
    user_id: UUID
    session_token: str
    refresh_token: str
    expires_at: datetime


class SignIn:
    """Sign somebody in to one tenant, through a connection of a service that may (`enterprise_ai_gateway`)."""

    def __init__(
        self,
        conn: Connection[Any],
        tenant_id: UUID,
        passwords: Passwords,
        request: Request = NO_REQUEST,
        *,
        secrets: SecretBox | None = None,
    ) -> None:
        self._conn, self._tenant_id, self._passwords, self._request = conn, tenant_id, passwords, request
        self._secrets = secrets
        self._by_password: UUID | None = None

    def with_password(self, email: str, password: str) -> PasswordAccepted:
        """Verify a password; raise `InvalidCredentials`, or `AccountLocked`, which is one, or `SignInsThrottled`."""
        with self._committed() as conn, conn.cursor(row_factory=class_row(_Attempt)) as cursor:
            attempt = cursor.execute(_sql["begin_login"], self._values(email=email)).fetchone()
        assert attempt is not None
        # No transaction is open while the password is verified, which takes its time.
        matches = self._passwords.verify(attempt.password_hash, password)
        upgraded = self._passwords.upgraded(attempt.password_hash, password) if matches else None
        with self._committed() as conn, conn.cursor(row_factory=class_row(_Decision)) as cursor:
            decided = cursor.execute(
                _sql["finish_login"],
                {"attempt_id": attempt.attempt_id, "password_matches": matches, "upgraded_hash": upgraded},
            ).fetchone()
        assert decided is not None
        if decided.user_id is not None:
            self._by_password = decided.user_id
            return PasswordAccepted(
                decided.user_id,
                decided.must_change,
                decided.has_second_factor,
                decided.requires_second_factor,
            )
        if decided.outcome == "throttled":
            raise SignInsThrottled("Too many have tried to sign in from this address; wait a minute")
        error = AccountLocked if decided.outcome == "locked" else InvalidCredentials
        raise error("The address and the password do not belong together")

    def with_totp(self, user_id: UUID, code: str) -> UUID:
        """Verify a TOTP code and return the factor, which a first code confirms; raise `SecondFactorRefused`."""
        if self._secrets is None:
            raise ValueError("SignIn needs secrets=SecretBox(…) to open the seeds of TOTP codes")
        with self._committed() as conn:
            factor_id = second_factors.accept_totp(conn, user_id, code, self._secrets, self._request)
        if factor_id is None:
            raise SecondFactorRefused("The code is not accepted")
        return factor_id

    def with_recovery_code(self, user_id: UUID, code: str) -> None:
        """Use up a recovery code in place of a second factor; raise `SecondFactorRefused`."""
        with self._committed() as conn:
            accepted = second_factors.accept_recovery_code(conn, user_id, code, self._request)
        if not accepted:
            raise SecondFactorRefused("The code is not accepted")

    def start_session(
        self, user_id: UUID, *, authentication_level: int = 1, is_refreshable: bool = False
    ) -> NewSession:
        """Start a session for somebody who has shown who they are.

        Raise `UserNotActive`, `TenantNotActive`, `SecondFactorRequired`, `PasswordChangeRequired`.
        """
        values = self._values(
            user_id=user_id,
            authentication_level=authentication_level,
            is_refreshable=is_refreshable,
            by_password=user_id == self._by_password,
        )
        with self._committed() as conn, conn.cursor(row_factory=class_row(NewSession)) as cursor:
            session = cursor.execute(_sql["start_session"], values).fetchone()
        assert session is not None
        return session

    @contextmanager
    def _committed(self) -> Iterator[Connection[Any]]:
        with own_transaction(self._conn), translated():
            open_for(self._conn, self._tenant_id, request=self._request)
            yield self._conn

    def _values(self, **values: Any) -> dict[str, Any]:
        return values | {"ip_address": self._request.ip_address, "user_agent": self._request.user_agent}


def refresh(conn: Connection[Any], token: str, request: Request = NO_REQUEST) -> RefreshedSession:
    """Exchange a refresh token for its successors; raise `RefreshTokenReused`, `RefreshTokenNotValid`.

    What a reuse revokes is committed before it is raised.
    """
    values = {"token": token, "ip_address": request.ip_address, "user_agent": request.user_agent}
    with own_transaction(conn), translated(), conn.cursor(row_factory=class_row(_Refreshed)) as cursor:
        row = cursor.execute(_sql["refresh_session"], values).fetchone()
    assert row is not None
    if row.outcome == "reused":
        raise RefreshTokenReused("The refresh token had been used before; the session has been ended")
    if row.outcome not in ("refreshed", "repeated"):
        raise RefreshTokenNotValid(f"The refresh token does not work: {row.outcome}")
    return RefreshedSession(
        row.session_id,
        row.user_id,
        row.session_token,
        row.refresh_token,
        row.expires_at,
        row.outcome == "repeated",
    )


@contextmanager
def own_transaction(conn: Connection[Any]) -> Iterator[None]:
    """A transaction that is committed at the end; raise `TransactionOpen` inside another, which could undo it."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise TransactionOpen(
            "The connection is in a transaction, whose end would decide whether this is recorded;"
            " nothing has been done. Use a connection that is in none"
        )
    with conn.transaction():
        yield
