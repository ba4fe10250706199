"""The tenant and the user that a command is about, and the transaction it works in."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    import psycopg

    from enterprise_ai.identity import User

Work = Callable[[argparse.Namespace, "psycopg.Connection[Any]"], int]


def add_tenant_option(parser: argparse.ArgumentParser) -> None:
    """Add `--tenant`."""
    parser.add_argument(
        "--tenant",
        metavar="SLUG|ID",
        default="default",
        help="the tenant (default: the one called default); a login that may not list tenants gives its id",
    )


def in_tenant(work: Work) -> Work:
    """Wrap a command's work: run it in one transaction, in the context of the tenant as a service's."""

    def run(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
        with _opened(options, conn):
            return work(options, conn)

    return run


@contextmanager
def _opened(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> Iterator[None]:
    from enterprise_ai.identity import open_for
    from enterprise_ai.identity.errors import UserNotFound

    tenant_id = as_uuid(options.tenant) or _tenant_of(conn, options.tenant)
    with conn.transaction():
        open_for(conn, tenant_id)
        try:
            yield
        except UserNotFound as error:
            error.hint = (
                error.hint or f"This was looked for in the tenant {options.tenant}; --tenant names another."
            )
            raise


def find_user(conn: psycopg.Connection[Any], name: str) -> User:
    """Return the user of an id or an address; raise `UserNotFound`."""
    from enterprise_ai.identity import Users

    user_id = as_uuid(name)
    return Users(conn).get(user_id) if user_id else Users(conn).get_by_email(name)


def as_uuid(text: str) -> UUID | None:
    """The id that a word is, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _tenant_of(conn: psycopg.Connection[Any], slug: str) -> UUID:
    from psycopg.errors import InsufficientPrivilege

    from enterprise_ai._queries import queries
    from enterprise_ai.identity.errors import TenantNotFound

    query = queries("enterprise_ai.identity")["tenant_of_slug"]
    try:
        row = conn.execute(query, {"slug": slug}).fetchone()
    except InsufficientPrivilege:
        error = TenantNotFound(f"This login may not look up the tenant {slug}; nothing has been changed")
        error.hint = "Give --tenant its id, or connect as the owner of the database."
        raise error from None
    if row is None:
        error = TenantNotFound(f"There is no tenant {slug}")
        error.hint = "enterprise-ai tenant list shows them."
        raise error
    tenant_id = row[0]
    assert isinstance(tenant_id, UUID)
    return tenant_id
