"""Single sign-on by OpenID Connect, OAuth 2.0 and SAML 2.0; needs the extra `sso`.

`SingleSignOn` sends people to their provider and decides on who comes back, `Providers` keeps the providers of a
tenant, `route` finds the one of an address.
"""

from __future__ import annotations

from enterprise_ai.identity.sso.providers import Domain, Provider, Providers, ProviderSecrets, Route, route
from enterprise_ai.identity.sso.service import Begun, SignedIn, SingleSignOn
from enterprise_ai.identity.sso.web import Web

__all__ = [
    "Begun",
    "Domain",
    "Provider",
    "ProviderSecrets",
    "Providers",
    "Route",
    "SignedIn",
    "SingleSignOn",
    "Web",
    "route",
]
