"""What a SAML provider publishes of itself: who it is, where people are sent, and what it signs with."""

from __future__ import annotations

from typing import Any

from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser

from enterprise_ai.identity.sso.errors import AnswerRefused

_REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"


def settings_of(metadata: str) -> dict[str, Any]:
    """Return what `Providers.save` takes of a provider's metadata; raise `AnswerRefused`.

    The metadata is believed for where it comes from: hand over what was fetched by https or came from the provider.
    """
    try:
        found = OneLogin_Saml2_IdPMetadataParser.parse(
            metadata, required_sso_binding=_REDIRECT, required_slo_binding=_REDIRECT
        ).get("idp", {})
    except Exception as error:  # the libraries below let through what malformed XML makes of them
        raise AnswerRefused("The metadata of the provider cannot be read") from error
    address = found.get("singleSignOnService", {}).get("url")
    certificates = _certificates(found)
    if not found.get("entityId") or not address or not certificates:
        raise AnswerRefused(
            "The metadata names no identity provider with an address by HTTP redirect and a certificate to sign with"
        )
    return {
        "issuer": found["entityId"],
        "single_sign_on_url": address,
        "single_logout_url": found.get("singleLogoutService", {}).get("url"),
        "signing_certificates": certificates,
    }


def _certificates(found: dict[str, Any]) -> list[str]:
    several = found.get("x509certMulti", {}).get("signing") or [found.get("x509cert")]
    # As in settings that are typed in: without line breaks, each once.
    return list(dict.fromkeys("".join(text.split()) for text in several if text))
