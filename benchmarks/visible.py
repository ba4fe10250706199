#!/usr/bin/env python3
"""Measure row security by rights: 50 conversations of many, beside the same query with its filter written by hand.

python benchmarks/visible.py                          1,000,000 conversations of 1,000 people, on PostgreSQL 15
python benchmarks/visible.py --rows 200000 --pg 18

By hand is without row security. Each figure is the median of some runs of a prepared statement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import psycopg  # noqa: E402

from enterprise_ai.migrate import Migrator  # noqa: E402
from tests.servers import bindir_of, scratch_server  # noqa: E402

FILL = """
insert into identity.users (tenant_id, email, display_name, status)
select %(t)s, 'u' || n || '@example.com', 'U', 'active' from generate_series(1, 1000) as n;
alter table llm.conversations disable trigger all;
insert into llm.conversations (tenant_id, user_id, title, last_message_at)
select %(t)s, u.id, 'T', now() - n * interval '1 second'
from generate_series(1, %(n)s) as n
join (select id, row_number() over (order by id) as k from identity.users where tenant_id = %(t)s) as u
    on u.k = 1 + n %% 1000;
alter table llm.conversations enable trigger all;
insert into authz.roles (tenant_id, name, display_name) values (%(t)s, 'reads_all', 'All');
insert into authz.role_permissions (tenant_id, role_id, permission_id)
select %(t)s, id, 502 from authz.roles where tenant_id = %(t)s and name = 'reads_all';
insert into authz.user_roles (tenant_id, user_id, role_id)
select %(t)s, u.id, r.id
from (select id, row_number() over (order by id) as k from identity.users where tenant_id = %(t)s) as u
join authz.roles as r on r.tenant_id = %(t)s and r.name = case u.k when 1 then 'reads_all' else 'user' end;
insert into authz.resources (tenant_id, id, resource_type, owner_id)
select tenant_id, id, 'conversation', user_id from llm.conversations where tenant_id = %(t)s order by id limit 50;
insert into authz.user_permissions (tenant_id, user_id, permission_id, resource_id)
select %(t)s, (select id from identity.users where tenant_id = %(t)s order by id offset 100 limit 1), 502, id
from authz.resources where tenant_id = %(t)s
"""
SELECT = "select id, title from llm.conversations where tenant_id = %(t)s{} order by {} desc limit 50"
OWN = " and user_id = %(u)s"
SHARED = (
    " and (user_id = %(u)s or id = any (array(select resource_id from authz.user_permissions"
    " where tenant_id = %(t)s and user_id = %(u)s and permission_id = 502)))"
)
SAID = " and (user_id = %(u)s or id = any ((select authz.visible_scopes('conversation.read'))::uuid[]))"
# Whose place among the users, the filter by hand, the filter in the query under row security, the order.
READS = {
    "one's own, the latest, asked for by user": (2, OWN, OWN, "last_message_at"),
    "all, by who may see all": (0, "", "", "id"),
    "one's own and 50 shared, said in the query": (100, SHARED, SAID, "id"),
    "one's own and 50 shared, left to the policy": (100, SHARED, "", "id"),
}


def measured(conn: psycopg.Connection[Any], context: dict[str, str], query: str, as_app: bool) -> float:
    """Milliseconds of a read in a transaction of its own, the first run left out."""
    conn.rollback()
    conn.execute("select platform._seal_context(%s)", [json.dumps(context)])
    if as_app:
        conn.execute("set local role enterprise_ai_app")
    times = []
    for _ in range(40):
        started = time.perf_counter()
        rows = conn.execute(query, {"t": context["tenant_id"], "u": context["user_id"]}, prepare=True)
        assert len(rows.fetchall()) == 50
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pg", type=int, default=15)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with scratch_server(bindir_of(options.pg)) as server:
        Migrator(server.url(), migrations=ROOT / "migrations").migrate()
        with psycopg.connect(server.url()) as conn:
            row = conn.execute("select identity.create_tenant('bench', 'Bench')").fetchone()
            tenant = str(row[0]) if row else ""
            conn.execute("select platform._seal_context(%s)", [json.dumps({"tenant_id": tenant})])
            for statement in FILL.split(";"):
                conn.execute(statement, {"t": tenant, "n": options.rows})
            conn.commit()
            conn.autocommit = True
            conn.execute("vacuum analyze")
            conn.autocommit = False
            people = conn.execute(
                "select id from identity.users where tenant_id = %s order by id", [tenant]
            ).fetchall()
            for name, (place, by_hand, said, order) in READS.items():
                context = {"tenant_id": tenant, "user_id": str(people[place][0])}
                hand = measured(conn, context, SELECT.format(by_hand, order), as_app=False)
                ours = measured(conn, context, SELECT.format(said, order), as_app=True)
                print(f"{name:45} by hand {hand:9.2f} ms   policy {ours:9.2f} ms   {ours / hand:.1f}")


if __name__ == "__main__":
    main()
