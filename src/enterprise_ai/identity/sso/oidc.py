"""Signing in by OpenID Connect, and by plain OAuth 2.0 where a provider has no more."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session

from enterprise_ai.identity.sso.errors import AnswerRefused, ProviderUnreachable
from enterprise_ai.identity.sso.metadata import Metadata
from enterprise_ai.identity.sso.protocol import Outgoing, Proved
from enterprise_ai.identity.sso.providers import Provider
from enterprise_ai.identity.sso.tokens import Tokens
from enterprise_ai.identity.sso.web import Web


class OAuthFlow:
    """The authorization code flow with PKCE; who somebody is, the userinfo endpoint says."""

    default_scopes: tuple[str, ...] = ()

    def __init__(self, provider: Provider, client_secret: str | None, web: Web) -> None:
        self._provider, self._client_secret, self._web = provider, client_secret, web

    def new_nonce(self) -> str:
        return secrets.token_urlsafe(32)

    def start_url(self, outgoing: Outgoing, state: str) -> str:
        with self._session(outgoing) as session:
            url, _ = session.create_authorization_url(
                self._endpoint("authorization_endpoint"),
                state=state,
                code_verifier=outgoing.code_verifier,
                **self._start_parameters(outgoing),
            )
        return str(url)

    def prove(self, outgoing: Outgoing, answer: Mapping[str, str]) -> Proved:
        if "error" in answer:
            reason = f"{answer['error']} {answer.get('error_description', '')}".strip()
            raise AnswerRefused(f"{self._provider.display_name} refused: {reason}")
        self._check_sender(answer)
        if not answer.get("code"):
            raise AnswerRefused("The provider's answer has no code; nobody has been signed in")
        return self._proved(outgoing, self._tokens(outgoing, answer["code"]))

    def end_url(self, proved: Proved, return_to: str) -> str | None:
        return None

    def _proved(self, outgoing: Outgoing, tokens: Mapping[str, Any]) -> Proved:
        said = self._userinfo(tokens)
        subject = said.get("sub", said.get("id"))
        if not isinstance(subject, str | int) or isinstance(subject, bool) or subject == "":
            raise AnswerRefused(f"{self._provider.display_name} does not say who has signed in (sub or id)")
        # How they signed in is not for a profile to say.
        return Proved(str(subject), {k: v for k, v in said.items() if k not in ("acr", "amr")})

    def _check_sender(self, answer: Mapping[str, str]) -> None:
        """RFC 9207: an answer of another provider is not exchanged at this one."""
        if answer.get("iss", self._provider.issuer) != self._provider.issuer:
            raise AnswerRefused(
                f"The answer is of {answer['iss']}, not of {self._provider.issuer}; nobody has been signed in"
            )

    def _start_parameters(self, outgoing: Outgoing) -> dict[str, str]:
        return {}

    def _endpoint(self, name: str) -> str:
        return str(getattr(self._provider, name))

    def _session(self, outgoing: Outgoing) -> OAuth2Session:
        session = OAuth2Session(
            self._provider.client_id,
            self._client_secret,
            token_endpoint_auth_method=self._client_authentication(),
            scope=" ".join(self._provider.scopes or self.default_scopes) or None,
            redirect_uri=outgoing.redirect_uri,
            code_challenge_method="S256",
        )
        self._web.attach(session)
        return session

    def _client_authentication(self) -> str:
        return "client_secret_basic" if self._client_secret else "none"

    def _tokens(self, outgoing: Outgoing, code: str) -> Mapping[str, Any]:
        with self._session(outgoing) as session:
            try:
                found: Mapping[str, Any] = session.fetch_token(
                    self._endpoint("token_endpoint"),
                    code=code,
                    code_verifier=outgoing.code_verifier,
                    headers={"Accept": "application/json"},
                )
            except AuthlibBaseError as error:
                raise AnswerRefused(
                    f"{self._provider.display_name} does not accept the code: {error}"
                ) from error
            except (requests.RequestException, ValueError) as error:
                raise ProviderUnreachable(
                    f"{self._provider.display_name} gives no tokens: {error}"
                ) from error
        return found

    def _userinfo(self, tokens: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
        return self._web.get_json(self._endpoint("userinfo_endpoint"), headers=headers)


class OidcFlow(OAuthFlow):
    """OpenID Connect: who somebody is, a signed id token says; the userinfo endpoint may add to it."""

    default_scopes = ("openid", "profile", "email")

    def __init__(self, provider: Provider, client_secret: str | None, web: Web, metadata: Metadata) -> None:
        super().__init__(provider, client_secret, web)
        self._metadata = metadata

    def end_url(self, proved: Proved, return_to: str) -> str | None:
        address = self._metadata.of(self._provider.issuer).get("end_session_endpoint")
        if not address:
            return None
        parameters = {"client_id": self._provider.client_id, "post_logout_redirect_uri": return_to}
        if proved.id_token:
            parameters["id_token_hint"] = proved.id_token
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"

    def _proved(self, outgoing: Outgoing, tokens: Mapping[str, Any]) -> Proved:
        id_token = str(tokens.get("id_token", ""))
        verifier = Tokens(self._metadata, self._provider.issuer, self._provider.client_id)
        claims = verifier.id_token(id_token, nonce=outgoing.nonce, max_age=outgoing.max_age)
        said: dict[str, Any] = {}
        if self._has("userinfo_endpoint"):
            said = self._userinfo(tokens)
            if said.get("sub") != claims["sub"]:
                raise AnswerRefused(
                    "The id token and the profile are of two people; nobody has been signed in"
                )
        said = {key: value for key, value in said.items() if key not in ("acr", "amr")}
        session_id = claims.get("sid")
        return Proved(
            claims["sub"], said | claims, str(session_id) if session_id is not None else None, id_token
        )

    def _check_sender(self, answer: Mapping[str, str]) -> None:
        super()._check_sender(answer)
        says_so = self._metadata.of(self._provider.issuer).get(
            "authorization_response_iss_parameter_supported"
        )
        if says_so and "iss" not in answer:
            raise AnswerRefused(
                "The answer does not say which provider it is of (iss); nobody has been signed in"
            )

    def _start_parameters(self, outgoing: Outgoing) -> dict[str, str]:
        parameters = {"nonce": outgoing.nonce}
        if outgoing.max_age is not None:
            parameters["max_age"] = str(int(outgoing.max_age.total_seconds()))
        if outgoing.acr_values:
            parameters["acr_values"] = " ".join(outgoing.acr_values)
        if outgoing.login_hint:
            parameters["login_hint"] = outgoing.login_hint
        return parameters

    def _has(self, name: str) -> bool:
        return bool(getattr(self._provider, name) or self._metadata.of(self._provider.issuer).get(name))

    def _endpoint(self, name: str) -> str:
        own = getattr(self._provider, name)
        address = own or self._metadata.of(self._provider.issuer).get(name)
        if not isinstance(address, str):
            raise ProviderUnreachable(f"{self._provider.issuer} publishes no {name}")
        return address

    def _client_authentication(self) -> str:
        if not self._client_secret:
            return "none"
        offered = self._metadata.of(self._provider.issuer).get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        )
        return "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"
