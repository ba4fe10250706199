"""The texts that a domain publishes in its DNS, by which a tenant shows that it is theirs."""

from __future__ import annotations

import dns.exception
import dns.resolver

from enterprise_ai.identity.sso.errors import DomainNotFound

_SECONDS = 10.0


def texts_of(domain: str, *, nameserver: str | None = None) -> list[str]:
    """Return the TXT records of a domain; ask `nameserver` (address or address:port) where one is named.

    Raise `DomainNotFound` when there is no answer.
    """
    resolver = dns.resolver.Resolver(configure=nameserver is None)
    if nameserver is not None:
        address, _, port = nameserver.partition(":") if nameserver.count(":") < 2 else (nameserver, "", "")
        resolver.nameservers, resolver.port = [address], int(port or 53)
    try:
        answer = resolver.resolve(domain, "TXT", lifetime=_SECONDS)
    except dns.resolver.NoAnswer:
        return []
    except dns.exception.DNSException as error:
        raise DomainNotFound(f"The DNS gives no answer about {domain}: {error}") from error
    return [b"".join(record.strings).decode(errors="replace") for record in answer]
