"""Signing out, begun here or at the provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from enterprise_ai._queries import queries
from enterprise_ai.identity.sso.errors import AnswerRefused
from enterprise_ai.identity.sso.flows import Flows, in_tenant, use_once
from enterprise_ai.identity.sso.protocol import Proved
from enterprise_ai.identity.sso.providers import Provider
from enterprise_ai.identity.sso.tokens import LEEWAY_SECONDS, Tokens

_sql = queries("enterprise_ai.identity.sso")


@dataclass(frozen=True)
class _ProviderSession:
    provider_id: UUID
    subject: str
    provider_session_id: str | None
    id_token: bytes | None


class SignOut:
    """End sessions that began with a provider, and the provider's own."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def of_session(
        self, conn: Connection[Any], tenant_id: UUID, user_id: UUID, session_id: UUID, *, return_to: str
    ) -> str | None:
        """End a user's session; return where to send the browser so that it ends at the provider too, if anywhere."""
        with in_tenant(conn, tenant_id, user_id=user_id):
            with conn.cursor(row_factory=class_row(_ProviderSession)) as cursor:
                there = cursor.execute(_sql["session"], {"session_id": session_id}).fetchone()
            row = conn.execute(_sql["end_own_session"], {"session_id": session_id}).fetchone()
            if there is None or row is None or not row[0]:
                return None
            flow = self._flows.of(conn, self._flows.providers(conn).get_by_id(there.provider_id))
        id_token = self._flows.opened_token(tenant_id, session_id, there.id_token)
        return flow.end_url(Proved(there.subject, {}, there.provider_session_id, id_token), return_to)

    def by_back_channel(
        self, conn: Connection[Any], tenant_id: UUID, provider_name: str, logout_token: str
    ) -> int:
        """End the sessions that a provider's logout token names, once; return how many were alive.

        Raise `AnswerRefused`, `SsoReplay`, `SsoProviderNotFound`.
        """
        with in_tenant(conn, tenant_id):
            provider = self._oidc(conn, provider_name)
        claims = Tokens(self._flows.metadata, provider.issuer, provider.client_id).logout_token(logout_token)
        until = datetime.fromtimestamp(claims["exp"] + LEEWAY_SECONDS, UTC)
        with in_tenant(conn, tenant_id):
            use_once(conn, provider, (claims["jti"], until))
            return _end(conn, provider, claims.get("sub"), claims.get("sid"))

    def by_front_channel(
        self, conn: Connection[Any], tenant_id: UUID, provider_name: str, *, iss: str, sid: str
    ) -> int:
        """End the sessions of one session at a provider, which has the browser load our page with `iss` and `sid`."""
        with in_tenant(conn, tenant_id):
            provider = self._oidc(conn, provider_name)
            if iss != provider.issuer or not sid:
                raise AnswerRefused(
                    f"The sign-out is not of a session at {provider.issuer}; nothing has been ended"
                )
            return _end(conn, provider, None, sid)

    def _oidc(self, conn: Connection[Any], provider_name: str) -> Provider:
        provider = self._flows.providers(conn).get(provider_name)
        if provider.protocol != "oidc":
            raise AnswerRefused(f"{provider.name} is no OpenID Connect provider; nothing has been ended")
        return provider


def _end(conn: Connection[Any], provider: Provider, subject: str | None, session_id: str | None) -> int:
    values = {"provider_id": provider.id, "subject": subject, "provider_session_id": session_id}
    row = conn.execute(_sql["end_sessions"], values).fetchone()
    assert row is not None
    return int(row[0])
