"""Step-up: a second factor given again in a session that is going on raises its level for some minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity import second_factors
from enterprise_ai.identity.contexts import NO_REQUEST, Context, Request, open_session
from enterprise_ai.identity.errors import SecondFactorRefused
from enterprise_ai.identity.signin import own_transaction
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class SessionLevel:
    """The level of a session as it is now, and until when where a second factor has raised it."""

    authentication_level: int
    stepped_up_until: datetime | None


class StepUp:
    """Step the session of a token up, through a connection of a service that may (`enterprise_ai_gateway`).

    Contexts opened with the token afterwards carry the level, until it falls back by itself. With a passkey:
    `enterprise_ai.identity.webauthn`.
    """

    def __init__(
        self,
        conn: Connection[Any],
        session_token: str,
        *,
        secrets: SecretBox | None = None,
        request: Request = NO_REQUEST,
    ) -> None:
        self._conn, self._token, self._secrets, self._request = conn, session_token, secrets, request

    def with_totp(self, code: str) -> SessionLevel:
        """Verify a TOTP code of the session's user; raise `SecondFactorRefused`, `SessionOver`."""
        if self._secrets is None:
            raise ValueError("StepUp needs secrets=SecretBox(…) to open the seeds of TOTP codes")
        with self._session() as (conn, user_id, session_id):
            accepted = second_factors.accept_totp(
                conn, user_id, code, self._secrets, self._request, session_id
            )
            level = level_now(conn)
        return _unless_refused(accepted is not None, level)

    def with_recovery_code(self, code: str) -> SessionLevel:
        """Use up a recovery code of the session's user; raise `SecondFactorRefused`, `SessionOver`."""
        with self._session() as (conn, user_id, session_id):
            accepted = second_factors.accept_recovery_code(conn, user_id, code, self._request, session_id)
            level = level_now(conn)
        return _unless_refused(accepted, level)

    @contextmanager
    def _session(self) -> Iterator[tuple[Connection[Any], UUID, UUID]]:
        with own_transaction(self._conn), translated():
            yield self._conn, *session_of(open_session(self._conn, self._token, self._request))


def session_of(context: Context) -> tuple[UUID, UUID]:
    """The user and the session of a context that a session's token opened."""
    assert context.user_id is not None
    assert context.session_id is not None
    return context.user_id, context.session_id


def level_now(conn: Connection[Any]) -> SessionLevel:
    """The level of the context's session at this moment."""
    with conn.cursor(row_factory=class_row(SessionLevel)) as cursor:
        level = cursor.execute(_sql["my_authentication_level"]).fetchone()
    assert level is not None
    return level


def _unless_refused(accepted: bool, level: SessionLevel) -> SessionLevel:
    if not accepted:
        raise SecondFactorRefused("The code is not accepted")
    return level
