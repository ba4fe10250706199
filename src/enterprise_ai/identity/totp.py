"""Time-based one-time passwords (RFC 6238): which time step a code belongs to."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pyotp
from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated

_sql = queries("enterprise_ai.identity")

SECONDS_A_STEP = 30


@dataclass(frozen=True)
class TotpFactor:
    """A generator of codes; it counts once a first code has been accepted."""

    id: UUID
    name: str
    totp_secret: bytes
    is_confirmed: bool


@dataclass(frozen=True)
class NewTotpFactor:
    """A generator just made, and what an authenticator app is shown, as a QR code as a rule."""

    id: UUID
    provisioning_uri: str


def add_factor(
    conn: Connection[Any], user_id: UUID, name: str, *, account: str, issuer: str
) -> NewTotpFactor:
    """Make a generator for a user; sign in with its first code to confirm it."""
    secret = pyotp.random_base32()
    values = {"user_id": user_id, "name": name, "totp_secret": base64.b32decode(secret)}
    with translated():
        row = conn.execute(_sql["add_totp_factor"], values).fetchone()
    assert row is not None
    return NewTotpFactor(row[0], pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer))


def factors_of(conn: Connection[Any], user_id: UUID) -> list[TotpFactor]:
    """A user's generators, the oldest first."""
    with conn.cursor(row_factory=class_row(TotpFactor)) as cursor:
        return cursor.execute(_sql["totp_factors_of"], {"user_id": user_id}).fetchall()


def tolerance(conn: Connection[Any]) -> int:
    """How many steps a code may be early or late, as the settings say."""
    row = conn.execute(_sql["totp_tolerance"]).fetchone()
    assert row is not None
    return int(row[0])


def find_step(
    factors: Sequence[TotpFactor], code: str, *, tolerance: int = 1, at: float | None = None
) -> tuple[UUID, int] | None:
    """The factor and the time step that a code belongs to; None when it belongs to none near enough."""
    now = int(time.time() if at is None else at) // SECONDS_A_STEP
    for factor in factors:
        generator = pyotp.TOTP(base64.b32encode(factor.totp_secret).decode())
        for step in sorted(range(now - tolerance, now + tolerance + 1), key=lambda step: abs(step - now)):
            if hmac.compare_digest(generator.generate_otp(step).encode(), code.strip().encode()):
                return factor.id, step
    return None
