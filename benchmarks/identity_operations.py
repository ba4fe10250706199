"""What benchmarks/identity.py measures: one function for each thing that a service asks of the database."""

from __future__ import annotations

from typing import Any

import psycopg

# Tenant, user, address and session token.
Person = tuple[Any, Any, str, str]


def session_check(conn: psycopg.Connection[Any], person: Person) -> None:
    """What a request does first: the context of whoever has the token."""
    opening = "select platform.open_session_context(%s, 'r-1', '192.0.2.7') ->> 'user_id'"
    row = conn.execute(opening, [person[3]]).fetchone()
    assert row == (str(person[1]),)
    conn.commit()


def gateway_context(conn: psycopg.Connection[Any], person: Person) -> None:
    """What a gateway does first: the context of whom it names."""
    conn.execute("select platform.open_context(%s, %s)", person[:2])
    conn.commit()


def look_up(conn: psycopg.Connection[Any], person: Person) -> None:
    """Find somebody by the address, in the tenant's context."""
    conn.execute("select platform.open_context(%s)", person[:1])
    row = conn.execute(
        "select id from identity.users where tenant_id = platform.current_tenant_id()"
        " and email_key = lower(%s) and deleted_at is null",
        [person[2]],
    ).fetchone()
    assert row == (person[1],)
    conn.commit()


def sign_in(conn: psycopg.Connection[Any], person: Person) -> None:
    """All that the database does for a password: the attempt, the decision, the session."""
    conn.execute("select platform.open_context(%s)", person[:1])
    begun = conn.execute(
        "select attempt_id from identity.begin_login(%s, '192.0.2.7')", [person[2]]
    ).fetchone()
    conn.commit()
    conn.execute("select platform.open_context(%s)", person[:1])
    row = conn.execute("select outcome, user_id from identity.finish_login(%s, true)", begun).fetchone()
    assert row == ("success", person[1])
    conn.execute("select session_id from identity.start_session(%s)", [person[1]])
    conn.commit()
