"""A WebAuthn authenticator in software: it makes keys and signs, after the W3C's specification, and can be told to lie."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, ATTESTED = 0x01, 0x04, 0x08, 0x40


@dataclass
class Authenticator:
    """One device with one key."""

    origin: str = "https://example.test"
    verifies_users: bool = True
    is_synced: bool = False
    counts: bool = True
    sign_count: int = 0
    credential_id: bytes = field(default_factory=lambda: os.urandom(24))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: bytes = b""

    def create(self, options: str) -> dict:
        """Answer `navigator.credentials.create()`."""
        asked = json.loads(options)
        self.user_handle = base64url_to_bytes(asked["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = (
            bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cbor2.dumps(cose)
        )
        data = self._data(asked["rp"]["id"], ATTESTED) + attested
        return self._answer(
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
            clientDataJSON=self._client_data("webauthn.create", asked["challenge"]),
        )

    def get(self, options: str, **lies: str) -> dict:
        """Answer `navigator.credentials.get()`."""
        asked = json.loads(options)
        self.sign_count += self.counts
        data = self._data(asked["rpId"], 0)
        client_data = self._client_data("webauthn.get", lies.get("challenge", asked["challenge"]))
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            authenticatorData=data,
            clientDataJSON=client_data,
            signature=signature,
            userHandle=self.user_handle,
        )

    def _data(self, rp_id: str, more_flags: int) -> bytes:
        flags = (
            USER_PRESENT | more_flags | USER_VERIFIED * self.verifies_users | BACKUP_ELIGIBLE * self.is_synced
        )
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _answer(self, **response: bytes) -> dict:
        return {
            "id": bytes_to_base64url(self.credential_id),
            "rawId": bytes_to_base64url(self.credential_id),
            "type": "public-key",
            "response": {name: bytes_to_base64url(value) for name, value in response.items()},
        }
