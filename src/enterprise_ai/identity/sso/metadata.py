"""What OpenID Connect providers publish of themselves: their addresses and their keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from enterprise_ai.identity.sso.errors import AnswerRefused, ProviderUnreachable
from enterprise_ai.identity.sso.web import Web

_KEPT_SECONDS = 3600.0
#: A token with an unknown key id makes us look for new keys, but nobody can make us ask more often than this.
_KEYS_APART_SECONDS = 30.0


@dataclass
class _Known:
    metadata: dict[str, Any]
    fetched_at: float
    keys: KeySet | None = None
    keys_fetched_at: float = -1e9
    lock: threading.Lock = field(default_factory=threading.Lock)


class Metadata:
    """The metadata and keys of providers, kept for an hour; one object serves a whole process."""

    def __init__(self, web: Web, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._web, self._clock = web, clock
        self._known: dict[str, _Known] = {}

    def of(self, issuer: str) -> dict[str, Any]:
        """What an issuer says of itself; raise `ProviderUnreachable`, `AnswerRefused`, `AddressNotAllowed`."""
        return self._fetched(issuer).metadata

    def keys_for(self, issuer: str, key_id: str | None) -> KeySet:
        """The issuer's keys, fetched anew when one is named that is not among them."""
        known = self._fetched(issuer)
        with known.lock:
            is_due = self._clock() - known.keys_fetched_at >= _KEYS_APART_SECONDS
            is_old = self._clock() - known.keys_fetched_at >= _KEPT_SECONDS
            if known.keys is None or is_old or (is_due and key_id not in {key.kid for key in known.keys}):
                known.keys = self._keys_at(known.metadata)
                known.keys_fetched_at = self._clock()
            return known.keys

    def _fetched(self, issuer: str) -> _Known:
        known = self._known.get(issuer)
        if known is None or self._clock() - known.fetched_at >= _KEPT_SECONDS:
            found = self._web.get_json(issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise AnswerRefused(
                    f"{issuer} calls itself {found.get('issuer')}; nobody can sign in through it"
                )
            known = self._known[issuer] = _Known(found, self._clock())
        return known

    def _keys_at(self, metadata: dict[str, Any]) -> KeySet:
        published = self._web.get_json(str(metadata.get("jwks_uri", "")))
        # Only keys whose secret half is the provider's alone, and which are meant for signatures.
        fitting = [
            key
            for key in published.get("keys", ())
            if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig" and "d" not in key
        ]
        try:
            return KeySet.import_key_set({"keys": fitting})
        except (JoseError, ValueError, KeyError) as error:
            raise ProviderUnreachable(f"The keys of {metadata['issuer']} cannot be read: {error}") from error
