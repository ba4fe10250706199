"""How passwords are hashed and verified: Argon2id, its parameters upgraded when somebody signs in."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg import Connection

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.errors import PasswordRefused

_sql = queries("enterprise_ai.identity")


class Passwords:
    """Set and verify passwords. One object serves a whole process: making it costs as much as a sign-in."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        # Verified against where there is nothing to verify against, so that both take the same time.
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))

    def hash(self, conn: Connection[Any], password: str) -> str:
        """Return the Argon2id string of a new password; raise `PasswordRefused` when the settings do not admit it.

        Needs an open context: a tenant may ask for longer passwords than the installation does.
        """
        row = conn.execute(_sql["password_limits"]).fetchone()
        assert row is not None
        shortest, longest = row
        if not shortest <= len(password) <= longest:
            raise PasswordRefused(
                f"A password has {shortest} to {longest} characters; this one has {len(password)}"
            )
        return self._hasher.hash(password)

    def set(self, conn: Connection[Any], user_id: UUID, password: str, *, must_change: bool = False) -> None:
        """Set a user's password; the user's other sessions end."""
        values = {"user_id": user_id, "password_hash": self.hash(conn, password), "must_change": must_change}
        with translated():
            conn.execute(_sql["set_password"], values)

    def verify(self, stored: str | None, password: str) -> bool:
        """True when the password belongs to the stored string; as slow when there is none."""
        try:
            matches = self._hasher.verify(stored or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        return matches and stored is not None

    def upgraded(self, stored: str | None, password: str) -> str | None:
        """The string to store instead when the stored one has older parameters than we use now."""
        if stored is None or not self._hasher.check_needs_rehash(stored):
            return None
        return self._hasher.hash(password)
