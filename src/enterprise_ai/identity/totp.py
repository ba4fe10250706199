"""Time-based one-time passwords (RFC 6238): which time step a code belongs to."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pyotp
from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.contexts import current
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity")

SECONDS_A_STEP = 30


@dataclass(frozen=True)
class TotpFactor:
    """A generator of codes; it counts once a first code has been accepted."""

    id: UUID
    name: str
    totp_secret: bytes
    """The seed, in clear."""
    is_confirmed: bool


@dataclass(frozen=True)
class NewTotpFactor:
    """A generator just made, and what an authenticator app is shown, as a QR code as a rule."""

    id: UUID
    provisioning_uri: str


def add_factor(
    conn: Connection[Any], user_id: UUID, name: str, *, account: str, issuer: str, secrets: SecretBox
) -> NewTotpFactor:
    """Make a generator for a user; sign in with its first code to confirm it.

    Raise `StepUpRequired`, `SecondFactorNameTaken`.
    """
    secret = pyotp.random_base32()
    sealed = secrets.seal(base64.b32decode(secret), *_place(conn, user_id))
    values = {"user_id": user_id, "name": name, "totp_secret": sealed}
    with translated():
        row = conn.execute(_sql["add_totp_factor"], values).fetchone()
    assert row is not None
    return NewTotpFactor(row[0], pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer))


def factors_of(conn: Connection[Any], user_id: UUID, secrets: SecretBox) -> list[TotpFactor]:
    """A user's generators, the oldest first; raise `SecretKeyMissing`, `SecretNotGenuine`."""
    place = _place(conn, user_id)
    with conn.cursor(row_factory=class_row(TotpFactor)) as cursor:
        sealed = cursor.execute(_sql["totp_factors_of"], {"user_id": user_id}).fetchall()
    return [replace(factor, totp_secret=secrets.open(factor.totp_secret, *place)) for factor in sealed]


def reseal(conn: Connection[Any], secrets: SecretBox) -> int:
    """Seal all seeds of the context's tenant under the newest key; return how many had an older one.

    Once every tenant has been through, the older key can be thrown away.
    """
    resealed = 0
    for factor_id, user_id, sealed in conn.execute(_sql["totp_secrets"]).fetchall():
        if secrets.is_current(sealed):
            continue
        values = {
            "factor_id": factor_id, "old_secret": sealed,
            "new_secret": secrets.resealed(sealed, *_place(conn, user_id)),
        }  # fmt: skip
        row = conn.execute(_sql["reseal_totp_secret"], values).fetchone()
        resealed += bool(row and row[0])
    return resealed


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


def _place(conn: Connection[Any], user_id: UUID) -> tuple[object, ...]:
    """Where a seed belongs: sealed for one user, it does not open for another."""
    context = current(conn)
    assert context is not None, "Seeds are read and written in the context of their tenant"
    return context.tenant_id, user_id, "totp"
