"""Whether people can sign in through a provider, as far as that shows without somebody who does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from enterprise_ai.errors import Error
from enterprise_ai.identity.sso.metadata import Metadata
from enterprise_ai.identity.sso.providers import Provider, Providers, ProviderSecrets
from enterprise_ai.identity.sso.web import Web

# Where anybody can have an account.
_PUBLIC_ISSUERS = (
    "https://accounts.google.com",
    "https://appleid.apple.com",
    "https://github.com",
    "https://gitlab.com",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_good: bool
    found: str


def findings(providers: Providers, provider: Provider, web: Web) -> list[Finding]:
    """Look at a provider's secrets, addresses, keys and certificates; the provider itself is asked where it can be."""
    found: list[Finding] = []
    try:
        secrets = providers.secrets_of(provider)
        found += _secrets(provider, secrets)
        found += {"oidc": _oidc, "oauth2": _oauth2, "saml": _saml}[provider.protocol](provider, secrets, web)
    except Error as error:
        found.append(Finding("reachable", False, str(error)))
    found.append(_people(provider))
    found.append(Finding("enabled", True, "yes" if provider.is_enabled else "not yet"))
    return found


def _people(provider: Provider) -> Finding:
    """Who may come; that strangers get accounts is nowhere meant."""
    if provider.required_claims:
        who = " and ".join(
            f"{claim} {' or '.join(values)}" for claim, values in provider.required_claims.items()
        )
        return Finding("people", True, f"who brings {who}")
    serves_everybody = provider.creates_users and provider.issuer in _PUBLIC_ISSUERS
    who = "everybody whom the provider signs in"
    return Finding("people", not serves_everybody, who + ("; use --require" if serves_everybody else ""))


def _secrets(provider: Provider, secrets: ProviderSecrets) -> Iterator[Finding]:
    if provider.protocol == "saml":
        yield Finding("requests", True, "signed" if secrets.signing_key else "not signed")
    else:
        yield Finding("client secret", True, "there" if secrets.client_secret else "none: a public client")


def _oidc(provider: Provider, secrets: ProviderSecrets, web: Web) -> Iterator[Finding]:
    metadata = Metadata(web)
    published = metadata.of(provider.issuer)
    yield Finding("issuer", True, provider.issuer)
    for name in ("authorization_endpoint", "token_endpoint"):
        address = getattr(provider, name) or published.get(name)
        yield Finding(name.replace("_", " "), bool(address), str(address or "not published"))
    keys = metadata.keys_for(provider.issuer, None).keys
    yield Finding("signing keys", bool(keys), str(len(keys)))
    methods = published.get("code_challenge_methods_supported")
    yield Finding("PKCE", methods is None or "S256" in methods, " ".join(methods or ()) or "not said")
    ways = published.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    wanted = ("client_secret_basic", "client_secret_post") if secrets.client_secret else ("none",)
    yield Finding("client authentication", any(way in ways for way in wanted), " ".join(ways))


def _oauth2(provider: Provider, secrets: ProviderSecrets, web: Web) -> Iterator[Finding]:
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
        yield _address(name, getattr(provider, name), web)


def _saml(provider: Provider, secrets: ProviderSecrets, web: Web) -> Iterator[Finding]:
    yield _address("single_sign_on_url", provider.single_sign_on_url, web)
    for text in provider.signing_certificates or ():
        yield _certificate(text)
    if secrets.signing_key:
        fits = bool(provider.signing_certificate) and _fits(
            secrets.signing_key, provider.signing_certificate or ""
        )
        yield Finding("our certificate", fits, "is of our key" if fits else "is not of our key")


def _address(name: str, address: str | None, web: Web) -> Finding:
    try:
        web.check(address or "")
    except Error as error:
        return Finding(name.replace("_", " "), False, str(error))
    return Finding(name.replace("_", " "), True, str(address))


def _certificate(text: str) -> Finding:
    try:
        certificate = x509.load_pem_x509_certificate(pem(text).encode())
    except ValueError as error:
        return Finding("certificate", False, f"cannot be read: {error}")
    until = certificate.not_valid_after_utc
    is_strong = not isinstance(key := certificate.public_key(), rsa.RSAPublicKey) or key.key_size >= 2048
    said = f"until {until:%Y-%m-%d}" + ("" if is_strong else ", and its key is too short")
    return Finding("certificate", is_strong and until > datetime.now(UTC), said)


def _fits(key: str, certificate: str) -> bool:
    own = load_pem_private_key(key.encode(), None).public_key()
    return bool(own == x509.load_pem_x509_certificate(pem(certificate).encode()).public_key())


def pem(certificate: str) -> str:
    """A certificate in PEM, which metadata has without its frame."""
    if "BEGIN" in certificate:
        return certificate
    text = "".join(certificate.split())
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
