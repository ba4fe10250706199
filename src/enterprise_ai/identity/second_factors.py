"""Second factors of a person: codes checked, and the factors there are to list and to take away.

What is here runs in the caller's transaction and context; `signin` and `stepup` commit what was decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity import totp
from enterprise_ai.identity.contexts import Request
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class SecondFactor:
    """A second factor as its owner sees it; it counts once it is confirmed."""

    id: UUID
    kind: str
    name: str
    created_at: datetime
    confirmed_at: datetime | None
    last_used_at: datetime | None


class SecondFactors:
    """The second factors of a user: the context's, or anybody's for a service that was opened for nobody."""

    def __init__(self, conn: Connection[Any], user_id: UUID) -> None:
        self._conn, self._user_id = conn, user_id

    def list(self) -> Sequence[SecondFactor]:
        """All of them, the oldest first."""
        with translated(), self._conn.cursor(row_factory=class_row(SecondFactor)) as cursor:
            return cursor.execute(_sql["list_second_factors"], {"user_id": self._user_id}).fetchall()

    def remove(self, factor_id: UUID) -> bool:
        """Remove one; False when there is none of the id. Raise `LastSecondFactor`, `StepUpRequired`."""
        with translated():
            values = {"user_id": self._user_id, "factor_id": factor_id}
            row = self._conn.execute(_sql["remove_second_factor"], values).fetchone()
        return bool(row and row[0])

    def reset(self) -> int:
        """Remove all of them and the recovery codes of somebody who has lost them; the user's sessions end."""
        with translated():
            row = self._conn.execute(_sql["reset_second_factors"], {"user_id": self._user_id}).fetchone()
        return int(row[0]) if row else 0


def accept_totp(
    conn: Connection[Any],
    user_id: UUID,
    code: str,
    secrets: SecretBox,
    request: Request,
    session_id: UUID | None = None,
) -> UUID | None:
    """Decide on a TOTP code and return the factor that it is of; None when it is refused."""
    factors = totp.factors_of(conn, user_id, secrets)
    found = totp.find_step(factors, code, tolerance=totp.tolerance(conn))
    # A wrong code counts against the person, so it is brought to the database too.
    factor_id, step = found or (factors[0].id if factors else None, None)
    values = _request_values(request) | {
        "user_id": user_id, "factor_id": factor_id, "step": step, "session_id": session_id,
    }  # fmt: skip
    row = conn.execute(_sql["finish_totp"], values).fetchone()
    return factor_id if row and row[0] else None


def accept_recovery_code(
    conn: Connection[Any], user_id: UUID, code: str, request: Request, session_id: UUID | None = None
) -> bool:
    """Decide on a recovery code; True when it is accepted, and then it is used up."""
    values = _request_values(request) | {"user_id": user_id, "code": code, "session_id": session_id}
    row = conn.execute(_sql["use_recovery_code"], values).fetchone()
    return bool(row and row[0])


def _request_values(request: Request) -> dict[str, Any]:
    return {"ip_address": request.ip_address, "user_agent": request.user_agent}
