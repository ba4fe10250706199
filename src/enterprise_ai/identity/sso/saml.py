"""Signing in by SAML 2.0: our requests and metadata, and which assertions of a provider are believed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.authn_request import OneLogin_Saml2_Authn_Request
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Names
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from enterprise_ai.identity.sso.errors import AnswerRefused
from enterprise_ai.identity.sso.protocol import Outgoing, Proved
from enterprise_ai.identity.sso.providers import Provider

_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"


class SamlFlow:
    """The browser profile begun by us; assertions that nobody asked for are refused."""

    def __init__(self, provider: Provider, signing_key: str | None) -> None:
        self._provider, self._signing_key = provider, signing_key

    def new_nonce(self) -> str:
        return "_" + secrets.token_hex(20)

    def start_url(self, outgoing: Outgoing, state: str) -> str:
        settings = self._settings(outgoing.redirect_uri, outgoing.acr_values)
        is_fresh = outgoing.max_age is not None and outgoing.max_age < timedelta(seconds=1)
        request = _Request(settings, outgoing.nonce, force_authn=is_fresh)
        parameters = {"SAMLRequest": request.get_request(), "RelayState": state}
        auth = OneLogin_Saml2_Auth(_received_at(outgoing.redirect_uri), settings)
        if self._signing_key:
            auth.add_request_signature(parameters)
        return str(auth.redirect_to(self._provider.single_sign_on_url, parameters))

    def prove(self, outgoing: Outgoing, answer: Mapping[str, str]) -> Proved:
        settings = self._settings(outgoing.redirect_uri)
        try:
            response = OneLogin_Saml2_Response(settings, answer.get("SAMLResponse", ""))
            response.is_valid(_received_at(outgoing.redirect_uri), outgoing.nonce, raise_exceptions=True)
            return self._proved(outgoing, response)
        except (OneLogin_Saml2_ValidationError, OneLogin_Saml2_Error) as error:
            raise AnswerRefused(
                f"The assertion of {self._provider.issuer} is not accepted: {error}"
            ) from error
        except AnswerRefused:
            raise
        except Exception as error:  # the libraries below let through what malformed XML makes of them
            raise AnswerRefused(f"The answer of {self._provider.issuer} cannot be read") from error

    def end_url(self, proved: Proved, return_to: str) -> str | None:
        if not self._provider.single_logout_url:
            return None
        auth = OneLogin_Saml2_Auth(_received_at(return_to), self._settings(return_to))
        return str(
            auth.logout(return_to=return_to, name_id=proved.subject, session_index=proved.provider_session_id)
        )

    def metadata(self, acs_url: str) -> str:
        """What is handed to the provider: who we are, where its answers go, and our certificate."""
        settings = self._settings(acs_url)
        text = settings.get_sp_metadata()
        return text.decode() if isinstance(text, bytes) else str(text)

    def _proved(self, outgoing: Outgoing, response: Any) -> Proved:
        self._check_what_the_assertion_itself_says(outgoing, response)
        name_id = response.get_nameid_data()
        if name_id.get("Format") == Names.NAMEID_TRANSIENT:
            raise AnswerRefused(
                f"{self._provider.display_name} calls people by names that change (transient);"
                " have it send a persistent NameID"
            )
        contexts = response.get_authn_contexts()
        claims = {
            **response.get_attributes(),
            "name_id": name_id["Value"],
            # After the attributes: how they signed in is what the statement says, and nothing else.
            "acr": contexts,
            "amr": None,
        }
        until = datetime.fromtimestamp(response.get_assertion_not_on_or_after(), UTC)
        skew = timedelta(seconds=Names.ALLOWED_CLOCK_DRIFT)
        return Proved(
            name_id["Value"],
            claims,
            response.get_session_index(),
            once=(response.get_assertion_id(), until + skew),
        )

    def _check_what_the_assertion_itself_says(self, outgoing: Outgoing, response: Any) -> None:
        """The library believes an assertion that leaves these out, and of a response around it, which nobody signed."""
        if self._provider.client_id not in response.get_audiences():
            raise AnswerRefused("The assertion is not for us (audience); nobody has been signed in")
        for confirmation in response._query_assertion("/saml:Subject/saml:SubjectConfirmation"):
            data = confirmation.find("saml:SubjectConfirmationData", namespaces=Names.NSMAP)
            if (
                confirmation.get("Method") == Names.CM_BEARER
                and data is not None
                and data.get("InResponseTo") == outgoing.nonce
                and data.get("Recipient") == outgoing.redirect_uri
                and data.get("NotOnOrAfter")
                and OneLogin_Saml2_Utils.parse_SAML_to_time(data.get("NotOnOrAfter"))
                > OneLogin_Saml2_Utils.now()
            ):
                return
        raise AnswerRefused(
            "The assertion does not answer this sign-in, here and now (InResponseTo, Recipient, NotOnOrAfter);"
            " nobody has been signed in"
        )

    def _settings(self, acs_url: str, contexts: Any = ()) -> OneLogin_Saml2_Settings:
        provider = self._provider
        is_signed = bool(self._signing_key)
        identity_provider: dict[str, Any] = {
            "entityId": provider.issuer,
            "singleSignOnService": {"url": provider.single_sign_on_url, "binding": _REDIRECT},
            "x509certMulti": {"signing": provider.signing_certificates, "encryption": []},
        }
        if provider.single_logout_url:
            identity_provider["singleLogoutService"] = {
                "url": provider.single_logout_url,
                "binding": _REDIRECT,
            }
        return OneLogin_Saml2_Settings(
            {
                "strict": True,
                "debug": False,
                "sp": {
                    "entityId": provider.client_id,
                    "assertionConsumerService": {"url": acs_url, "binding": _POST},
                    "NameIDFormat": Names.NAMEID_UNSPECIFIED,
                    "x509cert": provider.signing_certificate or "",
                    "privateKey": self._signing_key or "",
                },
                "idp": identity_provider,
                "security": {
                    "authnRequestsSigned": is_signed,
                    "logoutRequestSigned": is_signed,
                    "wantAssertionsSigned": True,
                    "wantAttributeStatement": False,
                    "rejectDeprecatedAlgorithm": True,
                    "allowRepeatAttributeName": True,
                    "signatureAlgorithm": Names.RSA_SHA256,
                    "digestAlgorithm": Names.SHA256,
                    "requestedAuthnContext": list(contexts) or False,
                },
            }
        )


class _Request(OneLogin_Saml2_Authn_Request):  # type: ignore[misc]
    """A request whose id is given: it has to be known before the state that goes along is made."""

    def __init__(self, settings: OneLogin_Saml2_Settings, request_id: str, *, force_authn: bool) -> None:
        self._request_id = request_id
        super().__init__(settings, force_authn=force_authn)

    def _generate_request_id(self) -> str:
        return self._request_id


def _received_at(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "https": "on" if parts.scheme == "https" else "off",
        "http_host": parts.netloc,
        "script_name": parts.path,
        "get_data": {},
        "post_data": {},
    }
