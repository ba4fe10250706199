"""The database as an application uses it: transactions, each opened for somebody.

    with connect("postgresql:///enterprise_ai") as client:
        with client.as_session(token) as tx:
            if tx.authz.check("document.update", document_id):
                ...

A transaction commits at the end of its block and is rolled back when the block raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from enterprise_ai.authz import Authz, DecisionCache
from enterprise_ai.authz.listener import Listener
from enterprise_ai.authz.memory import Memory, watched
from enterprise_ai.identity.access import ApiKeys, Sessions
from enterprise_ai.identity.contexts import (
    NO_REQUEST,
    Context,
    Request,
    open_api_key,
    open_for,
    open_scim,
    open_session,
)
from enterprise_ai.identity.people import Groups, Users
from enterprise_ai.identity.tenants import Tenants


class Identity:
    """Who there is: the tenants, and the people of the transaction's tenant."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.tenants = Tenants(conn)
        self.users = Users(conn)
        self.groups = Groups(conn)
        self.sessions = Sessions(conn)
        self.api_keys = ApiKeys(conn)


class Transaction:
    """A transaction and for whom it runs; `context` is None when it was opened for nobody."""

    def __init__(self, conn: Connection[Any], context: Context | None, memory: Memory | None = None) -> None:
        self.conn, self.context, self._memory = conn, context, memory

    @cached_property
    def identity(self) -> Identity:
        """Tenants, people, groups, sessions, API keys."""
        return Identity(self.conn)

    @cached_property
    def authz(self) -> Authz:
        """Decisions, grants, reviews, policies."""
        return Authz(self.conn, self._memory)


class Client:
    """Opens transactions on the connections of a pool, which it closes if it has made it itself.

    With a `decision_cache`, decisions are remembered, and changes to rights are heard of on a connection of its own:
    to `listen_on`, or the database where that is no pooler.
    """

    def __init__(
        self,
        database: str | ConnectionPool[Any],
        *,
        max_connections: int = 10,
        decision_cache: DecisionCache | None = None,
        listen_on: str | None = None,
    ) -> None:
        self._is_owner = isinstance(database, str)
        self.pool: ConnectionPool[Any] = (
            ConnectionPool(database, min_size=0, max_size=max_connections, open=True)
            if isinstance(database, str)
            else database
        )
        self._cache = decision_cache
        self.listener: Listener | None = None
        if decision_cache is not None:
            self.listener = Listener(decision_cache, listen_on or _address(database)).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and close the pool unless it was given to us."""
        if self.listener is not None:
            self.listener.close()
        if self._is_owner:
            self.pool.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        with self.pool.connection() as conn, conn.transaction():
            yield conn
            if conn.broken:
                # psycopg ends such a block in silence, and whoever has caught the error would think it done.
                raise OperationalError("The connection was lost; nothing of the transaction stays")

    @contextmanager
    def as_nobody(self) -> Iterator[Transaction]:
        """A transaction without a context, in which only what belongs to no tenant is to be seen."""
        with self._transaction() as conn:
            yield Transaction(conn, None)

    @contextmanager
    def as_session(self, token: str, request: Request = NO_REQUEST) -> Iterator[Transaction]:
        """A transaction of whoever has the session; raise `SessionOver`, `UserNotActive`, `TenantNotActive`."""
        with self._opened(lambda conn: open_session(conn, token, request)) as tx:
            yield tx

    @contextmanager
    def as_api_key(self, key: str, request: Request = NO_REQUEST) -> Iterator[Transaction]:
        """A transaction of the key's user; raise `ApiKeyNotValid`, `UserNotActive`, `TenantNotActive`."""
        with self._opened(lambda conn: open_api_key(conn, key, request)) as tx:
            yield tx

    @contextmanager
    def as_directory(self, key: str, request: Request = NO_REQUEST) -> Iterator[Transaction]:
        """A transaction of a directory that provisions its tenant; raise as `as_api_key`, and `ProvisioningRefused`."""
        with self._opened(lambda conn: open_scim(conn, key, request)) as tx:
            yield tx

    @contextmanager
    def as_service(
        self,
        tenant_id: UUID,
        user_id: UUID | None = None,
        *,
        actor_id: UUID | None = None,
        authentication_level: int | None = None,
        request: Request = NO_REQUEST,
    ) -> Iterator[Transaction]:
        """A transaction for whom this service vouches; only gateways may. Raise `UserNotActive`, `TenantNotActive`."""
        with self._opened(
            lambda conn: open_for(
                conn,
                tenant_id,
                user_id,
                actor_id=actor_id,
                authentication_level=authentication_level,
                request=request,
            )
        ) as tx:
            yield tx

    @contextmanager
    def _opened(self, opening: Callable[[Connection[Any]], Context]) -> Iterator[Transaction]:
        cache = self._cache
        began = cache.changes if cache is not None else 0
        with ExitStack() as afterwards, self._transaction() as conn:
            context = opening(conn)
            if cache is None:
                yield Transaction(conn, context)
                return
            memory = Memory(cache, began, conn, context)
            with watched(conn, memory):
                yield Transaction(conn, context, memory)
                if memory.end():
                    # Also when the commit fails: whether it was made is then not known.
                    afterwards.callback(memory.forget)


def _address(database: str | ConnectionPool[Any]) -> str:
    if isinstance(database, str):
        return database
    if isinstance(database.conninfo, str):
        return database.conninfo
    raise ValueError("Say with listen_on where to hear of changes: the pool makes its address up each time")


def connect(
    database: str | ConnectionPool[Any],
    *,
    max_connections: int = 10,
    decision_cache: DecisionCache | None = None,
    listen_on: str | None = None,
) -> Client:
    """Return a client of a database, by its URL or a pool of yours; use it in `with`, or close it."""
    return Client(
        database, max_connections=max_connections, decision_cache=decision_cache, listen_on=listen_on
    )
