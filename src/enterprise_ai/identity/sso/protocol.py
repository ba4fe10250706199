"""What the protocols have in common: what goes to a provider, and what has been proved when somebody comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True)
class Outgoing:
    """A sign-in that begins: `nonce` and `code_verifier` are what the answer has to fit."""

    nonce: str
    code_verifier: str
    redirect_uri: str
    max_age: timedelta | None = None
    acr_values: Sequence[str] = ()
    login_hint: str | None = None


@dataclass(frozen=True)
class Proved:
    """Who somebody is at the provider, verified."""

    subject: str
    claims: Mapping[str, Any]
    provider_session_id: str | None = None
    id_token: str | None = None
    once: tuple[str, datetime] | None = None
    """What is accepted only once, and until when: the assertion's id."""


class Flow(Protocol):
    """One provider in its protocol."""

    def new_nonce(self) -> str:
        """What the answer must repeat."""

    def start_url(self, outgoing: Outgoing, state: str) -> str:
        """Where the browser is sent."""

    def prove(self, outgoing: Outgoing, answer: Mapping[str, str]) -> Proved:
        """Verify what came back; raise `AnswerRefused`, `ProviderUnreachable`."""

    def end_url(self, proved: Proved, return_to: str) -> str | None:
        """Where the browser is sent to sign out at the provider too; None when it offers nothing."""
