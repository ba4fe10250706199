"""SCIM over HTTP as an ASGI application, each request in a transaction opened by the API key it bears."""

from __future__ import annotations

import asyncio

from scim2_models import InvalidSyntaxException, PayloadTooLargeException, UnauthorizedException
from scim2_server.applications.asgi import ASGIApplication, Receive, Scope, Send
from scim2_server.applications.base import BaseApplication
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from enterprise_ai.client import Client
from enterprise_ai.identity.contexts import Request
from enterprise_ai.identity.scim.errors import as_scim
from enterprise_ai.identity.scim.handler import Handler
from enterprise_ai.identity.scim.schemas import PROVIDER
from enterprise_ai.identity.scim.service import LARGEST_BODY, Service
from enterprise_ai.identity.scim.storage import Storage


class ScimApp(ASGIApplication):
    """Serves the SCIM of all tenants: the key says whose. Mount it where it suits; its root is SCIM's."""

    def __init__(self, client: Client) -> None:
        """`client` connects by a login that is a member of `enterprise_ai_gateway`."""
        BaseApplication.__init__(self, PROVIDER, Service())
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self.serve_lifespan(receive, send)
            return
        try:
            request = await self.read_request(scope, receive)
        except UnicodeDecodeError:
            refusal = InvalidSyntaxException(detail="The address or a header is not text in UTF-8")
            await self.send_response(self.service.error_response(refusal), send)
            return
        request.subject = _caller(scope, request)
        await self.send_response(await self.serve(request), send)

    async def dispatch_request(self, request: ScimRequest) -> ScimResponse:
        """Answer a request in a thread, for the database is waited for."""
        return await asyncio.to_thread(self._answer, request)

    @staticmethod
    def get_base_url(scope: Scope) -> str:
        """Return the address this application is mounted at, as the directory sees it."""
        host = dict(scope["headers"]).get(b"host", b"").decode()
        if not host and scope.get("server"):
            host = "{}:{}".format(*scope["server"])
        return f"{scope['scheme']}://{host}{scope.get('root_path', '')}"

    @staticmethod
    def split_path(path: str) -> str:
        """Return the path as it is: the version is part of where this is mounted."""
        return path

    def _answer(self, request: ScimRequest) -> ScimResponse:
        if not self.needs_auth(request):
            return self.service.service_provider_config(request.url, request.query)
        _check_size(request)
        with as_scim(), self._client.as_directory(_key(request), request.subject) as tx:
            return Handler(Storage(tx.conn)).handle(request)


def _check_size(request: ScimRequest) -> None:
    if len(request.body) > LARGEST_BODY:  # not all of it was read
        raise PayloadTooLargeException(detail=f"A request has at most {LARGEST_BODY} bytes here")


def _key(request: ScimRequest) -> str:
    scheme, _, key = (request.header("Authorization") or "").partition(" ")
    if scheme.casefold() != "bearer" or not key.strip():
        raise UnauthorizedException(detail="A request bears an API key: Authorization: Bearer …")
    return key.strip()


def _caller(scope: Scope, request: ScimRequest) -> Request:
    address = (scope.get("client") or [None])[0]
    return Request.received(request.header("X-Request-ID"), address, request.header("User-Agent"))
