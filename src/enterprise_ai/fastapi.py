"""FastAPI: each request a transaction of whoever sends it; needs the extra `fastapi`.

    opened = Opened(connect("postgresql:///enterprise_ai"))

    @app.get("/documents")
    def documents(tx: Transaction = opened.transaction) -> list[str]:
        return [row[0] for row in tx.conn.execute("select title from llm.documents")]

The transaction commits before the response is sent, so nobody is told of what then fails; it is rolled back when the
function raises. Write such functions with `def`: the connection is not an asynchronous one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Depends, HTTPException
from fastapi import Request as HttpRequest

from enterprise_ai.client import Client, Transaction
from enterprise_ai.identity.contexts import Request
from enterprise_ai.identity.errors import ApiKeyNotValid, SessionOver, TenantNotActive, UserNotActive

_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}


class Opened:
    """Opens transactions by `Authorization: Bearer` with a session token or an API key, or by a session's cookie.

    Answers 401 without any of them, or with one that is over; 403 to people and tenants who are not active, and to what
    another site has the browser send with our cookie.
    """

    def __init__(self, client: Client, *, cookie: str | None = "session") -> None:
        """`cookie` names the one that holds a session's token; None: there is none."""
        self._client, self._cookie = client, cookie
        # No more at once than there are connections: who waits for one must not hold the thread that frees another.
        self.transaction: Any = Depends(
            self._transaction, scope="function", max_concurrency=client.pool.max_size
        )

    def require(self, permission: str, *, resource: str | None = None, record: bool = False) -> Any:
        """The transaction of somebody who has the permission; answers 403 with the reason to others.

        `resource` names the parameter of the path that is the resource's id; without it, it is about the type. What
        has to be on record is recorded (`tx.authz.authorize`); with `record` every decision, as the setting says.
        """

        def allowed(request: HttpRequest, tx: Transaction = self.transaction) -> Transaction:
            resource_id = None if resource is None else _id_in_path(request, resource)
            decision = None if record else tx.authz.evaluate(permission, resource_id)
            if decision is None or (decision.is_allowed and decision.obligations):
                decision = tx.authz.authorize(permission, resource_id)
            if not decision.is_allowed:
                why = {
                    "permission": permission,
                    "reason": decision.reason,
                    "obligations": decision.obligations,
                }
                raise HTTPException(403, why)
            return tx

        return Depends(allowed, scope="function")

    def _transaction(self, request: HttpRequest) -> Iterator[Transaction]:
        with ExitStack() as stack:
            try:
                tx = stack.enter_context(self._open(request))
            except (SessionOver, ApiKeyNotValid) as error:
                raise _unauthenticated(str(error)) from error
            except (UserNotActive, TenantNotActive) as error:
                raise HTTPException(403, str(error)) from error
            yield tx

    def _open(self, request: HttpRequest) -> AbstractContextManager[Transaction]:
        origin = origin_of(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            if token.startswith("eai_k_"):
                return self._client.as_api_key(token, origin)
            return self._client.as_session(token, origin)
        token = request.cookies.get(self._cookie, "") if self._cookie else ""
        if not token:
            raise _unauthenticated("Neither a session nor an API key came with the request")
        refuse_other_sites(request)
        return self._client.as_session(token, origin)


def origin_of(request: HttpRequest) -> Request:
    """Where a request comes from, for the context; behind a proxy have the server read its headers (uvicorn does)."""
    address = request.client.host if request.client else None
    return Request.received(request.headers.get("x-request-id"), address, request.headers.get("user-agent"))


def refuse_other_sites(request: HttpRequest) -> None:
    """Answer 403 to a request that changes something and that the page of another site had the browser send."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    is_ours = site in ("same-origin", "none") if site else True
    if not is_ours or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
        raise HTTPException(403, "The request comes from the page of another site; nothing has been done")


def _id_in_path(request: HttpRequest, name: str) -> UUID:
    if name not in request.path_params:
        raise LookupError(
            f"The path {request.url.path} has no parameter {name}, which the permission is required on"
        )
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise HTTPException(404, "There is nothing of this id") from None


def _unauthenticated(why: str) -> HTTPException:
    return HTTPException(401, why, headers={"WWW-Authenticate": "Bearer"})
