"""A small application: people sign in at their company's provider, and those who may see who their colleagues are.

    pip install 'enterprise-ai-db[fastapi,sso]' uvicorn
    export APPLICATION_URL=postgresql://…     # a login in enterprise_ai_app
    export GATEWAY_URL=postgresql://…         # a login in enterprise_ai_gateway
    export ENTERPRISE_AI_SECRET_KEYS=k1:…     # what the provider's secrets are sealed with
    uvicorn --factory examples.fastapi_app.main:from_environment

Two logins, because the one that shows data must not be able to say who somebody is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse

from enterprise_ai.client import Client, Transaction, connect
from enterprise_ai.fastapi import Opened, origin_of, refuse_other_sites
from enterprise_ai.identity.sso import SingleSignOn, Web, route
from enterprise_ai.identity.sso.errors import AnswerRefused, ProviderUnreachable, SignInRefused
from enterprise_ai.secrets import SecretBox


def create_app(application: Client, gateway: Client, sso: SingleSignOn, *, is_secure: bool = True) -> FastAPI:
    """The application; `is_secure=False` only for trials without https."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        application.close()
        gateway.close()

    app = FastAPI(title="Colleagues", lifespan=lifespan)
    prefix = "__Host-" if is_secure else ""
    session_cookie, browser_cookie = prefix + "session", prefix + "sign-in"
    cookie = {"secure": is_secure, "httponly": True, "samesite": "lax"}
    opened = Opened(application, cookie=session_cookie)

    @app.get("/login")
    def login(email: str, request: Request) -> RedirectResponse:
        with gateway.pool.connection() as conn:
            where = route(conn, email)
            conn.rollback()
            if where is None:
                raise HTTPException(404, "The address is of no company that signs in here")
            begun = sso.begin(conn, where.tenant_id, where.provider_id, redirect_uri=str(request.url_for("back")),
                              return_to="/people", login_hint=email)  # fmt: skip
        answer = RedirectResponse(begun.url, 303)
        answer.set_cookie(browser_cookie, begun.browser_token, max_age=600, **cookie)
        return answer

    @app.get("/back")
    def back(request: Request) -> RedirectResponse:
        origin = origin_of(request)
        with gateway.pool.connection() as conn:
            try:
                who = sso.complete(
                    conn, dict(request.query_params), request.cookies.get(browser_cookie), request=origin
                )
            except (AnswerRefused, SignInRefused) as error:
                raise HTTPException(403, str(error)) from error
            except ProviderUnreachable as error:
                raise HTTPException(502, str(error)) from error
            session = sso.start_session(conn, who, request=origin)
        answer = RedirectResponse(who.return_to, 303)
        answer.delete_cookie(browser_cookie, secure=is_secure)
        answer.set_cookie(session_cookie, session.token, expires=session.expires_at, **cookie)
        return answer

    @app.post("/logout")
    def logout(request: Request, tx: Transaction = opened.transaction) -> RedirectResponse:
        refuse_other_sites(request)
        who = tx.context
        with gateway.pool.connection() as conn:
            elsewhere = sso.sign_out.of_session(conn, who.tenant_id, who.user_id, who.session_id,
                                                return_to=str(request.base_url))  # fmt: skip
        answer = RedirectResponse(elsewhere or "/", 303)
        answer.delete_cookie(session_cookie, secure=is_secure)
        return answer

    @app.get("/people")
    def people(tx: Transaction = opened.transaction) -> list[str]:
        (may_read,) = tx.conn.execute("select authz.check('user.read')").fetchone()
        if not may_read:
            raise HTTPException(403, "It takes user.read")
        # Which tenant's is not said here: row security shows no other.
        return [row[0] for row in tx.conn.execute("select email from identity.users order by email limit 50")]

    return app


def from_environment() -> FastAPI:
    """The application with what the environment says."""
    sso = SingleSignOn(SecretBox.from_environment(), web=Web())
    return create_app(connect(os.environ["APPLICATION_URL"]), connect(os.environ["GATEWAY_URL"]), sso)
