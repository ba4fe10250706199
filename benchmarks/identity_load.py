"""People for benchmarks/identity.py: tenants of 1,000 users, each with a password and a live session."""

from __future__ import annotations

import time
from typing import Any

import psycopg

USERS_PER_TENANT = 1000
# What a session's token is made from, so that tokens need not be kept to be presented.
SECRET = "sha256(convert_to(u.id::text, 'UTF8'))"

PEOPLE = f"""
insert into identity.users (tenant_id, email, display_name, status)
select d.tenant_id, 'user' || n || '@' || d.slug || '.test', 'User ' || n, 'active'
from identity.tenant_directory as d cross join generate_series(1, {USERS_PER_TENANT}) as n
where d.tenant_id = any (%(tenants)s);
insert into identity.user_passwords (tenant_id, user_id, password_hash)
select u.tenant_id, u.id, '$argon2id$v=19$m=65536,t=3,p=4$' || md5(u.id::text)
from identity.users as u where u.tenant_id = any (%(tenants)s);
insert into identity.user_sessions (tenant_id, user_id, token_hash, last_seen_at, idle_expires_at, token_expires_at,
                                    expires_at)
select u.tenant_id, u.id, identity._token_hash(identity._token('s', u.tenant_id, {SECRET})), now(),
       now() + interval '6 hours', now() + interval '12 hours', now() + interval '12 hours'
from identity.users as u where u.tenant_id = any (%(tenants)s);
insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, attempted_at)
select u.tenant_id, u.id, u.email, 'password', 'success', '10.0.0.0'::inet + (random() * 1e6)::bigint,
       now() - random() * interval '30 days'
from identity.users as u where u.tenant_id = any (%(tenants)s);
"""
SAMPLE = f"""
select d.tenant_id, u.id, u.email, identity._token('s', u.tenant_id, {SECRET})
from (
    select tenant_id, slug from identity.tenant_directory where slug like 'bench-%%' order by random() limit %(count)s
) as d
cross join lateral (
    select * from identity.users as u
    where u.tenant_id = d.tenant_id and u.deleted_at is null
      and u.email_key = 'user' || (1 + floor(random() * {USERS_PER_TENANT})::integer) || '@' || d.slug || '.test') as u
"""
# One more person in the tenant of the context, with what signing in leaves.
MORE = f"""
with person as (
    insert into identity.users (tenant_id, email, display_name, status)
    select %(tenant)s, platform.new_id() || '@leaving.test', 'X', 'active' from generate_series(1, {USERS_PER_TENANT})
    returning *),
password as (
    insert into identity.user_passwords (tenant_id, user_id, password_hash)
    select u.tenant_id, u.id, '$argon2id$v=19$m=65536,t=3,p=4$' || md5(u.id::text) from person as u),
session as (
    insert into identity.user_sessions (tenant_id, user_id, token_hash, idle_expires_at, token_expires_at, expires_at)
    select u.tenant_id, u.id, sha256(convert_to(u.id::text, 'UTF8')), now() + interval '12 hours',
           now() + interval '12 hours', now() + interval '12 hours'
    from person as u)
insert into identity.login_attempts (tenant_id, user_id, email, method, outcome)
select u.tenant_id, u.id, u.email, 'password', 'success' from person as u
"""


def grow(conn: psycopg.Connection[Any], users: int) -> float:
    """Add tenants until there are so many users; returns the seconds it took. By a superuser."""
    started = time.perf_counter()
    there = conn.execute(
        "select count(*) from identity.tenant_directory where slug like 'bench-%'"
    ).fetchone()
    for first in range(there[0] if there else 0, users // USERS_PER_TENANT, 100):
        last = min(first + 100, users // USERS_PER_TENANT)
        # Without triggers and their derived rights, which nothing measured here reads.
        conn.execute("set session_replication_role = replica")
        tenants = []
        for number in range(first, last):
            row = conn.execute(
                "with t as (insert into identity.tenants (slug, display_name) values (%(slug)s, 'Bench') returning id)"
                " insert into identity.tenant_directory (slug, tenant_id)"
                " select %(slug)s, id from t returning tenant_id",
                {"slug": f"bench-{number}"},
            ).fetchone()
            tenants.append(row[0] if row else None)
        with psycopg.ClientCursor(conn) as cursor:
            cursor.execute(PEOPLE, {"tenants": tenants})
        conn.execute("reset session_replication_role")
        conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False
    return time.perf_counter() - started


def add_people(conn: psycopg.Connection[Any], tenant_id: Any) -> None:
    """Add 1,000 people to the tenant of the context, triggers and all."""
    with psycopg.ClientCursor(conn) as cursor:
        cursor.execute(MORE, {"tenant": tenant_id})


def sample(conn: psycopg.Connection[Any], count: int) -> list[tuple[Any, Any, str, str]]:
    """(tenant, user, address, session token) of people drawn at random."""
    people: list[tuple[Any, Any, str, str]] = []
    while len(people) < count:
        people += conn.execute(SAMPLE, {"count": count - len(people)}).fetchall()
    conn.rollback()
    return people
