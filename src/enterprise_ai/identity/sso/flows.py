"""The flow of each provider in its protocol, and the transactions that a sign-in takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.contexts import NO_REQUEST, Request, open_for
from enterprise_ai.identity.signin import own_transaction
from enterprise_ai.identity.sso.metadata import Metadata
from enterprise_ai.identity.sso.protocol import Flow
from enterprise_ai.identity.sso.providers import Provider, Providers
from enterprise_ai.identity.sso.web import Web
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity.sso")


class Flows:
    """What it takes to talk to providers: the keys to their secrets, the web, and what they publish."""

    def __init__(self, secrets: SecretBox, web: Web) -> None:
        self._secrets, self._web = secrets, web
        self.metadata = Metadata(web)

    def providers(self, conn: Connection[Any]) -> Providers:
        """The providers of the context's tenant."""
        return Providers(conn, self._secrets)

    def of(self, conn: Connection[Any], provider: Provider) -> Flow:
        """The provider in its protocol, with its secrets opened."""
        opened = self.providers(conn).secrets_of(provider)
        if provider.protocol == "saml":
            from enterprise_ai.identity.sso.saml import SamlFlow

            return SamlFlow(provider, opened.signing_key)
        from enterprise_ai.identity.sso.oidc import OAuthFlow, OidcFlow

        if provider.protocol == "oidc":
            return OidcFlow(provider, opened.client_secret, self._web, self.metadata)
        return OAuthFlow(provider, opened.client_secret, self._web)

    def sealed_token(self, tenant_id: UUID, session_id: UUID, id_token: str | None) -> bytes | None:
        """Seal the id token of a session."""
        if id_token is None:
            return None
        return self._secrets.seal(id_token.encode(), tenant_id, session_id, "id_token")

    def opened_token(self, tenant_id: UUID, session_id: UUID, sealed: bytes | None) -> str | None:
        """The id token of a session."""
        if sealed is None:
            return None
        return self._secrets.open(sealed, tenant_id, session_id, "id_token").decode()


@contextmanager
def in_tenant(
    conn: Connection[Any], tenant_id: UUID, request: Request = NO_REQUEST, *, user_id: UUID | None = None
) -> Iterator[None]:
    """A transaction of its own in the tenant's context, committed at the end."""
    with own_transaction(conn), translated():
        open_for(conn, tenant_id, user_id, request=request)
        yield


def use_once(conn: Connection[Any], provider: Provider, once: tuple[str, datetime]) -> None:
    """Accept an id of a provider until a time; raise `SsoReplay` the second time."""
    conn.execute(_sql["use_id"], {"provider_id": provider.id, "id": once[0], "expires_at": once[1]})
