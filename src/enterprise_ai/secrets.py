"""Secrets that are stored sealed: AES-256-GCM under keys that the database never sees."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enterprise_ai.errors import Error

#: Where `SecretBox.from_environment` looks: "new:<key>,old:<key>", each key 32 bytes in base64; the first one seals.
VARIABLE = "ENTERPRISE_AI_SECRET_KEYS"

_FORMAT = b"\x01"
_NONCE_BYTES = 12


class SecretKeyMissing(Error):
    """There is no key to seal with, or not the one that a secret was sealed with."""


class SecretNotGenuine(Error):
    """A sealed secret was changed, or belongs to another row than the one it was read from."""


class SecretBox:
    """Seal secrets under the newest of some keys, and open what any of them sealed.

    What is sealed is bound to where it belongs (`belongs_to`, as a rule tenant, user and column): copied into
    another row it does not open there. Sealed: 0x01, the length of the key's id, the id, a nonce, the ciphertext.
    """

    def __init__(self, keys: Mapping[str, bytes], *, seal_with: str | None = None) -> None:
        """Take keys of 32 bytes by their ids; the first one seals unless another is named."""
        self._seal_with = next(iter(keys), "") if seal_with is None else seal_with
        if self._seal_with not in keys:
            raise SecretKeyMissing(f"There is no key {self._seal_with!r} to seal secrets with")
        for name, key in keys.items():
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or len(key) != 32:
                raise SecretKeyMissing(
                    f"The key {name!r} is not one: an id has 1 to 64 letters, digits, '.', '_' and '-', a key 32 bytes"
                )
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    @classmethod
    def from_environment(cls, variable: str = VARIABLE) -> SecretBox:
        """Read the keys from an environment variable, as `new:<base64>,old:<base64>`."""
        keys: dict[str, bytes] = {}
        for part in filter(None, os.environ.get(variable, "").replace(" ", "").split(",")):
            name, _, encoded = part.partition(":")
            try:
                keys[name] = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise SecretKeyMissing(f"{variable}: the key {name!r} is not base64") from None
        if not keys:
            raise SecretKeyMissing(
                f"{variable} names no key; set it to 'k1:' and what `openssl rand -base64 32` prints"
            )
        return cls(keys)

    def seal(self, secret: bytes, *belongs_to: object) -> bytes:
        """Return the secret sealed for the place it belongs to."""
        header = _header(self._seal_with)
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + self._keys[self._seal_with].encrypt(nonce, secret, _bound(header, belongs_to))

    def open(self, sealed: bytes, *belongs_to: object) -> bytes:
        """Return the secret; raise `SecretKeyMissing` or `SecretNotGenuine`."""
        name = self._key_id(sealed)
        if name not in self._keys:
            raise SecretKeyMissing(
                f"The secret was sealed with the key {name!r}, which is not among those given"
            )
        header = _header(name)
        nonce = sealed[len(header) : len(header) + _NONCE_BYTES]
        try:
            return self._keys[name].decrypt(
                nonce, sealed[len(header) + _NONCE_BYTES :], _bound(header, belongs_to)
            )
        except (InvalidTag, ValueError):
            raise SecretNotGenuine(
                "The sealed secret does not open: it was changed, or belongs somewhere else"
            ) from None

    def is_current(self, sealed: bytes) -> bool:
        """False when the secret was sealed with an older key than the one that seals now."""
        return self._key_id(sealed) == self._seal_with

    def resealed(self, sealed: bytes, *belongs_to: object) -> bytes:
        """The same secret under the key that seals now."""
        return self.seal(self.open(sealed, *belongs_to), *belongs_to)

    @staticmethod
    def _key_id(sealed: bytes) -> str:
        length = sealed[1] if len(sealed) > 1 else 0
        if sealed[:1] != _FORMAT or not 0 < length < len(sealed) - 2 - _NONCE_BYTES:
            raise SecretNotGenuine("This is no sealed secret")
        return sealed[2 : 2 + length].decode(errors="replace")


def _header(key_id: str) -> bytes:
    return _FORMAT + bytes([len(key_id)]) + key_id.encode()


def _bound(header: bytes, belongs_to: tuple[object, ...]) -> bytes:
    # Each part with its length: no two lists of parts are the same bytes.
    parts = [str(part).encode() for part in belongs_to]
    return header + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
