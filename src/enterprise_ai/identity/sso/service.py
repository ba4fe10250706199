"""Signing people in through the providers of their tenant, from being sent there to signing out."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.contexts import NO_REQUEST, Request
from enterprise_ai.identity.signin import NewSession, own_transaction
from enterprise_ai.identity.sso.errors import SignInRefused
from enterprise_ai.identity.sso.flows import Flows, in_tenant, use_once
from enterprise_ai.identity.sso.protocol import Outgoing, Proved
from enterprise_ai.identity.sso.providers import Provider
from enterprise_ai.identity.sso.signout import SignOut
from enterprise_ai.identity.sso.web import Web
from enterprise_ai.secrets import SecretBox

_sql = queries("enterprise_ai.identity.sso")


@dataclass(frozen=True)
class Begun:
    """Send the browser to `url`, with `browser_token` in a cookie that is Secure, HttpOnly and of ten minutes."""

    url: str
    browser_token: str


@dataclass(frozen=True)
class SignedIn:
    """Who has signed in through a provider, and what is to be done before a session is started."""

    tenant_id: UUID
    user_id: UUID
    account_id: UUID
    authentication_level: int
    requires_second_factor: bool
    """No session starts before a second factor of ours has raised the level to 2."""
    return_to: str
    proved: Proved


@dataclass(frozen=True)
class _Taken:
    tenant_id: UUID
    provider_id: UUID
    redirect_uri: str
    return_to: str
    nonce: str
    code_verifier: str
    max_age: timedelta | None


@dataclass(frozen=True)
class _Decision:
    outcome: str
    user_id: UUID
    account_id: UUID
    authentication_level: int
    requires_second_factor: bool


class SingleSignOn:
    """One object serves a whole process, and keeps what providers publish.

    Connections are those of a service that may sign people in (`enterprise_ai_gateway`), in no transaction.
    """

    def __init__(self, secrets: SecretBox, *, web: Web | None = None) -> None:
        self._flows = Flows(secrets, web or Web())
        self.sign_out = SignOut(self._flows)

    def begin(
        self,
        conn: Connection[Any],
        tenant_id: UUID,
        provider: str | UUID,
        *,
        redirect_uri: str,
        return_to: str = "/",
        max_age: timedelta | None = None,
        acr_values: Sequence[str] = (),
        login_hint: str | None = None,
    ) -> Begun:
        """Begin a sign-in at a provider (its name or id) that comes back to `redirect_uri` and goes on to `return_to`.

        Raise `SsoProviderNotFound`, `SsoProviderNotEnabled`, `ProviderUnreachable`.
        """
        with in_tenant(conn, tenant_id):
            providers = self._flows.providers(conn)
            chosen = providers.get(provider) if isinstance(provider, str) else providers.get_by_id(provider)
            flow = self._flows.of(conn, chosen)
            outgoing = Outgoing(
                flow.new_nonce(), random.token_urlsafe(48), redirect_uri, max_age, acr_values, login_hint
            )
            values = {
                "provider_id": chosen.id, "redirect_uri": redirect_uri, "return_to": return_to, "max_age": max_age,
                "nonce": outgoing.nonce, "code_verifier": outgoing.code_verifier,
            }  # fmt: skip
            row = conn.execute(_sql["begin_request"], values).fetchone()
        assert row is not None
        state, browser_token = row
        return Begun(flow.start_url(outgoing, state), browser_token)

    def complete(
        self,
        conn: Connection[Any],
        answer: Mapping[str, str],
        browser_token: str | None,
        *,
        request: Request = NO_REQUEST,
    ) -> SignedIn:
        """Decide on somebody who comes back with the parameters `answer`, of the query or of the form (SAML).

        Raise `SsoRequestNotFound`, `AnswerRefused`, `SsoReplay`, `SignInRefused`, `ProviderUnreachable`.
        """
        with own_transaction(conn), translated(), conn.cursor(row_factory=class_row(_Taken)) as cursor:
            state = answer.get("state") or answer.get("RelayState")
            taken = cursor.execute(
                _sql["take_request"], {"state": state, "browser_token": browser_token}
            ).fetchone()
        assert taken is not None
        with in_tenant(conn, taken.tenant_id):
            provider = self._flows.providers(conn).get_by_id(taken.provider_id)
            flow = self._flows.of(conn, provider)
        # No transaction is open while the provider is asked.
        outgoing = Outgoing(taken.nonce, taken.code_verifier, taken.redirect_uri, taken.max_age)
        proved = flow.prove(outgoing, answer)
        with in_tenant(conn, taken.tenant_id, request):
            decided = self._decide(conn, provider, proved, request)
        if decided.outcome != "success":
            raise SignInRefused(decided.outcome)
        return SignedIn(
            taken.tenant_id,
            decided.user_id,
            decided.account_id,
            decided.authentication_level,
            decided.requires_second_factor,
            taken.return_to,
            proved,
        )

    def start_session(
        self,
        conn: Connection[Any],
        signed_in: SignedIn,
        *,
        authentication_level: int | None = None,
        is_refreshable: bool = False,
        request: Request = NO_REQUEST,
    ) -> NewSession:
        """Start the session of somebody who has signed in, at a level that a second factor has raised if given.

        Raise `UserNotActive`, `TenantNotActive`, `SecondFactorRequired`.
        """
        proved = signed_in.proved
        with in_tenant(conn, signed_in.tenant_id, request):
            values = {
                "user_id": signed_in.user_id,
                "authentication_level": max(authentication_level or 1, signed_in.authentication_level),
                "ip_address": request.ip_address, "user_agent": request.user_agent, "is_refreshable": is_refreshable,
            }  # fmt: skip
            with conn.cursor(row_factory=class_row(NewSession)) as cursor:
                session = cursor.execute(_sql["start_session"], values).fetchone()
            assert session is not None
            sealed = self._flows.sealed_token(signed_in.tenant_id, session.id, proved.id_token)
            conn.execute(
                _sql["note_session"],
                {"session_id": session.id, "account_id": signed_in.account_id, "id_token": sealed,
                 "provider_session_id": proved.provider_session_id},
            )  # fmt: skip
        return session

    def saml_metadata(
        self, conn: Connection[Any], tenant_id: UUID, provider_name: str, *, acs_url: str
    ) -> str:
        """Our metadata for a SAML provider, whose answers are to be posted to `acs_url`."""
        from enterprise_ai.identity.sso.saml import SamlFlow

        with in_tenant(conn, tenant_id):
            providers = self._flows.providers(conn)
            provider = providers.get(provider_name)
            signing_key = providers.secrets_of(provider).signing_key
        return SamlFlow(provider, signing_key).metadata(acs_url)

    def _decide(
        self, conn: Connection[Any], provider: Provider, proved: Proved, request: Request
    ) -> _Decision:
        if proved.once is not None:
            use_once(conn, provider, proved.once)
        values = {
            "provider_id": provider.id, "subject": proved.subject, "claims": Jsonb(dict(proved.claims)),
            "ip_address": request.ip_address, "user_agent": request.user_agent,
        }  # fmt: skip
        with conn.cursor(row_factory=class_row(_Decision)) as cursor:
            decided = cursor.execute(_sql["sign_in"], values).fetchone()
        assert decided is not None
        return decided
