"""How providers are reached: by https, without redirects, in bounded time and size, and not in private networks."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from enterprise_ai.identity.sso.errors import AddressNotAllowed, ProviderUnreachable

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MOST_BYTES = 1_000_000
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Web:
    """Fetch what providers publish. Their addresses are set by tenants, who must not reach our own network by them.

    A name is looked up before it is asked, so a server that answers the second look-up with another address can
    still mislead us: where that matters let the service out through a proxy that filters.
    """

    def __init__(
        self, *, allow_loopback: bool = False, allow_private: bool = False, timeout: float = 10
    ) -> None:
        """`allow_loopback` is for trials on one machine, `allow_private` for a provider in one's own network.

        A provider may be silent for `timeout` seconds, and take twice as long for the whole of what it says.
        """
        self.allow_loopback, self.allow_private, self.timeout = allow_loopback, allow_private, timeout

    def attach(self, session: requests.Session) -> None:
        """Have a session reach providers in this way only."""
        session.max_redirects = 0
        session.mount("https://", _Guard(self))
        session.mount("http://", _Guard(self))

    def get_json(self, url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at an address; raise `AddressNotAllowed`, `ProviderUnreachable`."""
        response = self._get(url, {"Accept": "application/json", **(headers or {})})
        try:
            found = response.json()
        except ValueError as error:
            raise ProviderUnreachable(f"{url} gives no answer that we understand: {error}") from error
        if not isinstance(found, dict):
            raise ProviderUnreachable(f"{url} answers with something else than a JSON object")
        return found

    def get_text(self, url: str) -> str:
        """Return the text at an address; raise `AddressNotAllowed`, `ProviderUnreachable`."""
        return self._get(url, {}).text

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        with requests.Session() as session:
            self.attach(session)
            try:
                response = session.get(url, headers=dict(headers))
                response.raise_for_status()
            except requests.RequestException as error:
                raise ProviderUnreachable(f"{url} gives no answer that we understand: {error}") from error
        return response

    def check(self, url: str) -> None:
        """Raise `AddressNotAllowed` unless providers may be reached at the address."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host in _LOOPBACK and self.allow_loopback:
            return
        if parts.scheme != "https":
            raise AddressNotAllowed(f"{url} is not an https address; nothing was sent there")
        if self.allow_private:
            return
        try:
            found = {entry[4][0] for entry in socket.getaddrinfo(host, parts.port or 443)}
        except (OSError, UnicodeError) as error:
            raise ProviderUnreachable(f"The name {host} leads nowhere: {error}") from error
        inside = [text for text in found if not _is_public(str(text))]
        if inside:
            raise AddressNotAllowed(
                f"{host} leads to {inside[0]}, which is no public address; nothing was sent there."
                " For a provider in your own network use Web(allow_private=True)"
            )


class _Guard(HTTPAdapter):
    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._web.check(request.url or "")
        kwargs["timeout"], kwargs["stream"] = self._web.timeout, True
        response = super().send(request, *args, **kwargs)
        # Read here, so that nobody can make us read for ever.
        response._content = _body(response.raw, time.monotonic() + 2 * self._web.timeout)
        response._content_consumed = True  # type: ignore[attr-defined]
        return response


def _body(raw: Any, deadline: float) -> bytes:
    """All that is said until the deadline. The timeout alone would be kept by a byte now and then."""
    body = b""
    while chunk := raw.read1(_MOST_BYTES, decode_content=True):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise requests.exceptions.ContentDecodingError(f"more than {_MOST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout("it takes too long")
    return body


def _is_public(text: str) -> bool:
    """Whether an address is one of the internet; one that stands for another is what it stands for."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        within = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is None:
            return address.is_global and address in _GLOBAL_UNICAST
        address = within
    return address.is_global and not address.is_multicast
