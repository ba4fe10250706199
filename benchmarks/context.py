"""What a context costs: reads with context and row security against the same reads without, as ratios.

    python benchmarks/context.py [--rounds N] [postgresql://…]

The URL names a migrated database and a login that may create a schema there and set the role of an application (its
owner or a superuser); without it a scratch server is started. Nothing that it makes stays.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# The same table three times: bare, with a policy on a plain setting that anybody can forge, and with ours.
SETUP = """
create schema context_benchmark;
create table context_benchmark.bare as
    select case when mod(n, 100) = 0 then %(tenant)s::uuid else platform.new_id() end as tenant_id,
           platform.new_id() as id, n || '@example.test' as email, 'User ' || n as display_name,
           'active' as status, now() as created_at, now() as updated_at
    from generate_series(1, 50000) as n;
alter table context_benchmark.bare add primary key (tenant_id, id);
create table context_benchmark.plain (like context_benchmark.bare including all);
insert into context_benchmark.plain select * from context_benchmark.bare;
create table context_benchmark.sealed (like context_benchmark.bare including all);
insert into context_benchmark.sealed select * from context_benchmark.bare;
alter table context_benchmark.plain enable row level security;
create policy plain_of_my_tenant on context_benchmark.plain
    using (tenant_id = (select current_setting('benchmark.tenant')::uuid));
alter table context_benchmark.sealed enable row level security;
create policy sealed_of_my_tenant on context_benchmark.sealed
    using (tenant_id = (select platform.current_tenant_id()));
grant usage on schema context_benchmark to enterprise_ai_app;
grant select on all tables in schema context_benchmark to enterprise_ai_app;
analyze context_benchmark.bare; analyze context_benchmark.plain; analyze context_benchmark.sealed;
"""
READS = {
    "point read": ("select * from context_benchmark.{} where tenant_id = %s and id = %s", 1, 1.3),
    "list of 50 rows": (
        "select * from context_benchmark.{} where tenant_id = %s order by id limit 50",
        50,
        1.5,
    ),
}
KINDS = ("bare", "plain", "sealed")


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    """The URL given, or that of a migrated database on a scratch server."""
    if url:
        yield url
        return
    from enterprise_ai.migrate import Migrator
    from tests.servers import bindir_of, scratch_server

    with scratch_server(bindir_of(15)) as server:
        Migrator(server.url(), migrations=ROOT / "migrations").migrate()
        yield server.url()


def measure(
    conn: psycopg.Connection[Any], rounds: int, whole_transactions: bool
) -> dict[tuple[str, str], float]:
    """Microseconds of each read of each kind: medians over rounds in which all kinds meet the same noise."""
    tenant = "00000000-0000-7000-8000-000000000001"
    (one,) = (
        conn.execute(
            "select min(id::text)::uuid from context_benchmark.bare where tenant_id = %s", [tenant]
        ).fetchone()
        or ()
    )
    times: dict[tuple[str, str], list[float]] = {}
    conn.rollback()

    def enter() -> None:
        conn.execute(
            "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid, 'user_id', %s::uuid,"
            " 'session_id', %s::uuid, 'request_id', 'r-1', 'ip_address', '192.0.2.7', 'user_agent', 'benchmark',"
            " 'authentication_level', 1)), set_config('benchmark.tenant', %s, true)",
            [tenant, one, one, tenant],
        )
        conn.execute("set local role enterprise_ai_app")

    for _ in range(rounds):
        for read, (query, rows, _) in READS.items():
            for kind in KINDS:
                statement, params = query.format(kind), [tenant, one][: query.count("%s")]
                enter()
                start = time.perf_counter()
                for _ in range(50):
                    got = conn.execute(statement, params, prepare=True, binary=True).fetchall()
                elapsed = time.perf_counter() - start
                conn.rollback()
                if len(got) != rows:
                    raise SystemExit(f"{read} of {kind} gave {len(got)} rows, not {rows}")
                if whole_transactions:
                    start = time.perf_counter()
                    for _ in range(50):
                        enter()
                        conn.execute(statement, params, prepare=True, binary=True).fetchall()
                        conn.rollback()
                    elapsed = time.perf_counter() - start
                times.setdefault((read, kind), []).append(elapsed / 50 * 1e6)
    return {key: statistics.median(values) for key, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    with database(args.url) as url, psycopg.connect(url) as conn:
        conn.prepare_threshold = 0
        with psycopg.ClientCursor(conn) as cursor:
            cursor.execute(SETUP, {"tenant": "00000000-0000-7000-8000-000000000001"})
        conn.commit()
        try:
            major = conn.info.server_version // 10000
            print(
                f"PostgreSQL {major}, one connection, prepared statements, µs (median of {args.rounds} rounds)"
            )
            print(f"{'':34}{'bare':>7}{'setting':>9}{'ours':>7}{'ours/bare':>11}{'ours/setting':>14}   goal")
            for unit, whole in (("statement alone", False), ("transaction", True)):
                figures = measure(conn, args.rounds, whole)
                for read, (_, _, goal) in READS.items():
                    bare, plain, ours = (figures[read, kind] for kind in KINDS)
                    ratios = f"{ours / bare:11.2f}{ours / plain:14.2f}"
                    print(f"{f'{read}, {unit}':34}{bare:7.0f}{plain:9.0f}{ours:7.0f}{ratios}   ≤ {goal}")
        finally:
            conn.rollback()
            conn.execute("drop schema context_benchmark cascade")
            conn.commit()


if __name__ == "__main__":
    main()
