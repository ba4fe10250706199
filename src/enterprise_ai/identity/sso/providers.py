"""The identity providers of a tenant: their settings, sealed secrets, domains, and the roles that claims stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.errors import SsoProviderNotFound
from enterprise_ai.secrets import SecretBox, SecretKeyMissing

_sql = queries("enterprise_ai.identity.sso")


@dataclass(frozen=True)
class Provider:
    """An identity provider, without its secrets; docs/reference/schema.md says what each field means."""

    tenant_id: UUID
    id: UUID
    name: str
    display_name: str
    protocol: str
    is_enabled: bool
    issuer: str
    client_id: str
    signing_certificate: str | None
    scopes: list[str]
    authorization_endpoint: str | None
    token_endpoint: str | None
    userinfo_endpoint: str | None
    single_sign_on_url: str | None
    single_logout_url: str | None
    signing_certificates: list[str] | None
    claim_names: dict[str, str]
    required_claims: dict[str, list[str]]
    authentication_level: int
    authentication_levels: dict[str, int]
    linking_domain: str | None
    links_verified_email: bool
    creates_users: bool


@dataclass(frozen=True)
class ProviderSecrets:
    """What a provider and we know alone."""

    client_secret: str | None
    signing_key: str | None


@dataclass(frozen=True)
class Domain:
    """An e-mail domain whose people are sent to a provider, once `verified_at` is set."""

    domain: str
    verification_token: str
    verified_at: datetime | None
    is_enforced: bool


@dataclass(frozen=True)
class RoleMapping:
    """A claim of a provider and the role that it stands for."""

    id: UUID
    claim_name: str
    claim_value: str
    role: str


@dataclass(frozen=True)
class Route:
    """Where people of an address's domain sign in."""

    tenant_id: UUID
    provider_id: UUID
    is_enforced: bool


class Providers:
    """The providers of the context's tenant, for services that sign people in (`enterprise_ai_gateway`)."""

    def __init__(self, conn: Connection[Any], secrets: SecretBox | None) -> None:
        """`secrets` may be None for whoever neither sets secrets nor opens them."""
        self._conn, self._box = conn, secrets

    @property
    def _secrets(self) -> SecretBox:
        if self._box is None:
            raise SecretKeyMissing("There is no key to seal and open the secrets of providers with")
        return self._box

    def save(
        self, name: str, *, client_secret: str | None = None, signing_key: str | None = None, **settings: Any
    ) -> UUID:
        """Make a provider, or change the fields named of the one of the name; return its id.

        Secrets are sealed here; None leaves the one that is there. Raise `UnknownSsoSetting`, `SsoProviderFixed`.
        """
        plain = {key: str(value) if isinstance(value, UUID) else value for key, value in settings.items()}
        with translated(), self._conn.transaction():
            provider_id = self._call("save_provider", name=name, settings=Jsonb(plain))
            if client_secret is not None or signing_key is not None:
                tenant_id = self.get(name).tenant_id
                self._call(
                    "set_secrets",
                    provider_id=provider_id,
                    client_secret=self._sealed(client_secret, tenant_id, provider_id, "client_secret"),
                    signing_key=self._sealed(signing_key, tenant_id, provider_id, "signing_key"),
                )
        assert isinstance(provider_id, UUID)
        return provider_id

    def get(self, name: str) -> Provider:
        """The provider of a name; raise `SsoProviderNotFound`."""
        return self._one("find_provider", name=name)

    def get_by_id(self, provider_id: UUID) -> Provider:
        """The provider of an id; raise `SsoProviderNotFound`."""
        return self._one("find_provider_by_id", id=provider_id)

    def list(self) -> Sequence[Provider]:
        """All of them, by name."""
        with translated(), self._conn.cursor(row_factory=class_row(Provider)) as cursor:
            return cursor.execute(_sql["list_providers"]).fetchall()

    def secrets_of(self, provider: Provider) -> ProviderSecrets:
        """Open a provider's secrets; raise `SecretKeyMissing`, `SecretNotGenuine`."""
        with translated():
            row = self._conn.execute(_sql["secrets"], {"provider_id": provider.id}).fetchone()
        assert row is not None
        if row == (None, None):
            return ProviderSecrets(None, None)
        place = (provider.tenant_id, provider.id)
        client_secret, signing_key = (
            self._secrets.open(sealed, *place, column).decode() if sealed is not None else None
            for sealed, column in zip(row, ("client_secret", "signing_key"), strict=True)
        )
        return ProviderSecrets(client_secret, signing_key)

    def reseal(self) -> int:
        """Seal anew what an older key sealed; return of how many providers. Then the old key can go."""
        resealed = 0
        for provider in self.list():
            with translated():
                row = self._conn.execute(_sql["secrets"], {"provider_id": provider.id}).fetchone()
            if all(sealed is None or self._secrets.is_current(sealed) for sealed in row or ()):
                continue
            opened = self.secrets_of(provider)
            self.save(provider.name, client_secret=opened.client_secret, signing_key=opened.signing_key)
            resealed += 1
        return resealed

    def delete(self, provider_id: UUID) -> None:
        """Remove a provider with its accounts, their sessions and roles; the users stay."""
        self._call("delete_provider", provider_id=provider_id)

    def map_role(self, provider_id: UUID, claim_name: str, claim_value: str, role_name: str) -> UUID:
        """Have a claim stand for a role from the next sign-in on; raise `SsoRoleNotFound`."""
        values = {"claim_name": claim_name, "claim_value": claim_value, "role_name": role_name}
        mapping_id = self._call("map_role", provider_id=provider_id, **values)
        assert isinstance(mapping_id, UUID)
        return mapping_id

    def unmap_role(self, mapping_id: UUID) -> bool:
        """Take a mapping away and the role with it; False when there is none."""
        return bool(self._call("unmap_role", mapping_id=mapping_id))

    def role_mappings_of(self, provider_id: UUID) -> Sequence[RoleMapping]:
        """The roles that a provider's claims stand for."""
        with translated(), self._conn.cursor(row_factory=class_row(RoleMapping)) as cursor:
            return cursor.execute(_sql["role_mappings_of"], {"provider_id": provider_id}).fetchall()

    def claim_domain(self, provider_id: UUID, domain: str) -> str:
        """The text to publish as a TXT record of the domain; raise `SsoDomainTaken`."""
        return str(self._call("claim_domain", provider_id=provider_id, domain=domain))

    def verify_domain(
        self, domain: str, found_texts: Sequence[str], *, is_enforced: bool | None = None
    ) -> bool:
        """Whether the text is among those just found in the domain's DNS; if so the domain counts from now on."""
        values = {"domain": domain, "found_texts": list(found_texts), "is_enforced": is_enforced}
        return bool(self._call("verify_domain", **values))

    def release_domain(self, domain: str) -> bool:
        """Give a domain up; False when the tenant has none of the name."""
        return bool(self._call("release_domain", domain=domain))

    def domains_of(self, provider_id: UUID) -> Sequence[Domain]:
        """A provider's domains, verified or only claimed."""
        with translated(), self._conn.cursor(row_factory=class_row(Domain)) as cursor:
            return cursor.execute(_sql["domains_of"], {"provider_id": provider_id}).fetchall()

    def link_account(self, user_id: UUID, provider_id: UUID, subject: str) -> UUID:
        """Let an account at a provider sign a user in; raise `SsoSubjectLinked`, `SsoAccountExists`."""
        account_id = self._call("link_account", user_id=user_id, provider_id=provider_id, subject=subject)
        assert isinstance(account_id, UUID)
        return account_id

    def unlink_account(self, account_id: UUID) -> bool:
        """Remove an account with the sessions and roles it has brought; False when there is none."""
        return bool(self._call("unlink_account", account_id=account_id))

    def _sealed(self, secret: str | None, *place: object) -> bytes | None:
        return None if secret is None else self._secrets.seal(secret.encode(), *place)

    def _one(self, query: str, **values: Any) -> Provider:
        with translated(), self._conn.cursor(row_factory=class_row(Provider)) as cursor:
            provider = cursor.execute(_sql[query], values).fetchone()
        if provider is None:
            raise SsoProviderNotFound(
                f"The tenant has no single sign-on provider {next(iter(values.values()))}"
            )
        return provider

    def _call(self, query: str, **values: Any) -> Any:
        with translated():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]


def route(conn: Connection[Any], email: str) -> Route | None:
    """Where people of an address's domain sign in, before any context is open; None when it is nobody's."""
    with translated(), conn.cursor(row_factory=class_row(Route)) as cursor:
        return cursor.execute(_sql["route"], {"email": email}).fetchone()
