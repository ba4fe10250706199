"""The typed face of the identity domain: who is asking, and how they prove it.

`passwords`, `signin`, `stepup`, `totp` and `webauthn` need the extra `identity`, `sso` and `scim` the extras of their
names, and are imported by name; what is here needs nothing but psycopg.
"""

from __future__ import annotations

from enterprise_ai.identity.access import ApiKey, ApiKeys, NewApiKey, Session, Sessions
from enterprise_ai.identity.contexts import (
    Context,
    Request,
    current,
    open_api_key,
    open_for,
    open_scim,
    open_session,
)
from enterprise_ai.identity.people import Groups, Invitation, User, Users, redeem
from enterprise_ai.identity.tenants import Tenant, TenantDeletion, Tenants

__all__ = [
    "ApiKey",
    "ApiKeys",
    "Context",
    "Groups",
    "Invitation",
    "NewApiKey",
    "Request",
    "Session",
    "Sessions",
    "Tenant",
    "TenantDeletion",
    "Tenants",
    "User",
    "Users",
    "current",
    "open_api_key",
    "open_for",
    "open_scim",
    "open_session",
    "redeem",
]
