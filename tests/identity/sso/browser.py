"""A person's browser: follows redirects, fills in the login page, and stops where our service is sent the answer."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

CALLBACK = "http://127.0.0.1:9/back"


class Browser(requests.Session):
    """Cookies of one person; their name at the provider is given where they are asked for it."""

    def go(self, url: str, name: str = "ada", until: str = CALLBACK) -> dict[str, str]:
        """Follow a sign-in to our own address; return what is sent there."""
        response = self.get(url, allow_redirects=False, timeout=10)
        for _ in range(20):
            if response.is_redirect:
                url = urljoin(response.url, response.headers["Location"])
                if url.startswith(until):
                    return dict(parse_qsl(urlsplit(url).query))
                response = self.get(url, allow_redirects=False, timeout=10)
            else:
                action, fields = form(response.text)
                fields |= {"login": name, "password": "any"} if fields.get("prompt") == "login" else {}
                fields |= {"logout": "yes"} if "op.logoutForm" in response.text else {}
                action = urljoin(response.url, action)
                response = self.post(action, data=fields, allow_redirects=False, timeout=10)
        raise AssertionError(f"the provider does not come back: {response.url} {response.text[:500]}")


def form(page: str) -> tuple[str, dict[str, str]]:
    """The address and the filled fields of the form on a page."""
    action = re.search(r'<form[^>]*action="([^"]*)"', page)
    assert action is not None, page[:2000]
    inputs = re.findall(r'<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page)
    return html.unescape(action[1]), {name: html.unescape(value) for name, value in inputs}
