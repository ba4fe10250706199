"""Which tokens of a provider are believed: signed with its key, for us, in time, and for this very sign-in."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from enterprise_ai.identity.sso.errors import AnswerRefused
from enterprise_ai.identity.sso.metadata import Metadata

#: Never "none", and none whose secret both sides have: a public key would serve to forge.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
LEEWAY_SECONDS = 60
#: A logout token's id is kept until the token ends, so its end is not left to the provider alone.
_LOGOUT_SECONDS = 3600
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class Tokens:
    """Verify what one provider signs for one client."""

    metadata: Metadata
    issuer: str
    client_id: str

    def id_token(self, token: str, *, nonce: str, max_age: timedelta | None = None) -> dict[str, Any]:
        """The claims of an id token; raise `AnswerRefused`."""
        claims = self._verified(token, "iss", "sub", "aud", "exp", "iat", "nonce")
        self._refuse_unless(
            hmac.compare_digest(str(claims["nonce"]), nonce), "belongs to another sign-in (nonce)"
        )
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        self._refuse_unless(
            claims.get("azp", self.client_id) == self.client_id and ("azp" in claims or len(audiences) == 1),
            "was given to another client (azp)",
        )
        if max_age is not None:
            at = claims.get("auth_time")
            oldest = time.time() - max_age.total_seconds() - LEEWAY_SECONDS
            self._refuse_unless(
                isinstance(at, int | float) and not isinstance(at, bool) and at >= oldest,
                "is of somebody who signed in there too long ago (auth_time)",
            )
        return claims

    def logout_token(self, token: str) -> dict[str, Any]:
        """The claims of a logout token, which names a subject, a session or both; raise `AnswerRefused`."""
        claims = self._verified(token, "iss", "aud", "iat", "exp", "jti", "events")
        events = claims["events"]
        self._refuse_unless(
            isinstance(events, dict) and _LOGOUT_EVENT in events, "is no logout token (events)"
        )
        self._refuse_unless("nonce" not in claims, "is an id token (nonce)")
        self._refuse_unless(
            claims["exp"] <= time.time() + _LOGOUT_SECONDS + LEEWAY_SECONDS,
            "is good for more than an hour (exp)",
        )
        self._refuse_unless("sub" in claims or "sid" in claims, "names neither a subject nor a session")
        return claims

    def _verified(self, token: str, *needed: str) -> dict[str, Any]:
        header = _header(token)
        algorithm = header.get("alg")
        self._refuse_unless(
            algorithm in self._algorithms(), f"is signed with {algorithm}, which is not accepted"
        )
        keys = self.metadata.keys_for(self.issuer, header.get("kid"))
        options: dict[str, Any] = {name: {"essential": True} for name in needed}
        options["iss"]["value"], options["aud"]["value"] = self.issuer, self.client_id
        registry = jwt.JWTClaimsRegistry(leeway=LEEWAY_SECONDS, **options)
        try:
            claims: dict[str, Any] = jwt.decode(token, keys, algorithms=[str(algorithm)]).claims
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            raise AnswerRefused(f"The token of {self.issuer} is not accepted: {error}") from error
        return claims

    def _algorithms(self) -> tuple[str, ...]:
        offered = self.metadata.of(self.issuer).get("id_token_signing_alg_values_supported", ["RS256"])
        return tuple(name for name in ALGORITHMS if name in offered)

    def _refuse_unless(self, holds: bool, reason: str) -> None:
        if not holds:
            raise AnswerRefused(f"The token of {self.issuer} {reason}; nothing has been done")


def _header(token: str) -> Mapping[str, Any]:
    part = token.split(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise AnswerRefused("The provider's answer is no token") from error
    return header if isinstance(header, dict) else {}
