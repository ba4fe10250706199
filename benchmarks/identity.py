"""Sign-in look-ups, session checks and contexts at 10 thousand, 100 thousand and a million users: are they flat?

    python benchmarks/identity.py [--users 10000,100000,1000000] [--samples N]

On a scratch server of its own, as the logins of a deployment. It also presents sessions through a real PgBouncer in
transaction mode, and deletes a tenant of 100 thousand rows while others write.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.identity_load import add_people, grow, sample  # noqa: E402
from benchmarks.identity_operations import (  # noqa: E402
    Person,
    gateway_context,
    look_up,
    session_check,
    sign_in,
)
from enterprise_ai.migrate import Migrator  # noqa: E402
from tests.migrate.pooling import pooler_before  # noqa: E402
from tests.servers import Server, bindir_of, scratch_server  # noqa: E402

GOAL = 1.3
KINDS = ("first", "again")


OPERATIONS: dict[str, tuple[str, Callable[[psycopg.Connection[Any], Person], None]]] = {
    "session check": ("bench_app", session_check),
    "context by gateway": ("bench_gateway", gateway_context),
    "look-up by address": ("bench_gateway", look_up),
    "whole sign-in": ("bench_gateway", sign_in),
}
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
SCANS = """
select sum(seq_scan)::bigint from pg_stat_user_tables
where schemaname = 'identity' and relname in ('users', 'user_passwords', 'user_sessions', 'login_attempts')
"""


def measured(server: Server, operation: str, people: list[Person]) -> list[list[float]]:
    """Milliseconds of each transaction, sorted: of people nobody has asked for, and of the same once more."""
    login, work = OPERATIONS[operation]
    passes: list[list[float]] = [[], []]
    with psycopg.connect(server.url("bench", login)) as conn:
        for person in people[:50]:  # until the session has its plans
            work(conn, person)
        for times in passes:
            for person in people[50:]:
                started = time.perf_counter()
                work(conn, person)
                times.append((time.perf_counter() - started) * 1000)
    return [sorted(times) for times in passes]


def whole_scans(owner: psycopg.Connection[Any]) -> int:
    """How often one of the large tables has been read as a whole so far."""
    time.sleep(1.5)  # until the server has added its counters up
    row = owner.execute(SCANS).fetchone()
    owner.commit()
    return int(row[0]) if row else 0


def growth(server: Server, owner: psycopg.Connection[Any], sizes: list[int], samples: int) -> None:
    """Print p50 and p99 of every operation at every size, and how many whole tables were read."""
    figures: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for users in sizes:
        with psycopg.connect(server.url("bench")) as loading:  # whose own scans are counted when it is closed
            seconds = grow(loading, users)
            people = {operation: sample(loading, samples) for operation in OPERATIONS}
        before = whole_scans(owner)
        for operation in OPERATIONS:
            for kind, times in zip(KINDS, measured(server, operation, people[operation]), strict=True):
                found = statistics.median(times), times[int(len(times) * 0.99)]
                figures.setdefault((operation, kind), []).append(found)
        scans = whole_scans(owner) - before
        print(f"{users:>9} users (added in {seconds:.0f} s): {scans} scans of whole tables", flush=True)
    print(
        f"\n{'ms, p50 / p99':29}" + "".join(f"{users:>16}" for users in sizes) + f"{'last/first':>12}   goal"
    )
    for (operation, kind), found_at in figures.items():
        cells = "".join(f"{f'{p50:.2f} / {p99:.2f}':>16}" for p50, p99 in found_at)
        goal = f"   ≤ {GOAL}" if kind == "again" else ""
        print(f"{f'{operation}, {kind}':29}{cells}{found_at[-1][0] / found_at[0][0]:12.2f}{goal}")


def pooled(server: Server, people: list[Person], clients: int = 20, connections: int = 4) -> None:
    """Present sessions through PgBouncer, many clients on few connections; nobody gets another's context."""

    def client(url: str, mine: list[Person]) -> list[float]:
        times = []
        with psycopg.connect(url, prepare_threshold=None) as conn:
            left = conn.execute("select platform.context()").fetchone()
            assert left == (None,), "a context was left on the connection"
            conn.commit()
            for person in mine:
                started = time.perf_counter()
                session_check(conn, person)
                times.append((time.perf_counter() - started) * 1000)
        return times

    with pooler_before(server, "transaction", connections, user="bench_app") as url_of:
        for name, url in (("direct", server.url("bench", "bench_app")), ("PgBouncer", url_of("bench"))):
            shares = [people[number::clients] for number in range(clients)]
            started = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                shares_of_times = pool.map(client, [url] * clients, shares)
                times = sorted(one for share in shares_of_times for one in share)
            rate = len(times) / (time.perf_counter() - started)
            print(
                f"{clients} clients, {name:10} {rate:7.0f} session checks/s, p50 {statistics.median(times):.2f} ms,"
                f" p99 {times[int(len(times) * 0.99)]:.2f} ms"
            )


@contextmanager
def writers(server: Server, people: list[Person], count: int = 4) -> Iterator[list[float]]:
    """Sign people in all the time, in other tenants; yields the milliseconds that each took."""
    stop, times = threading.Event(), []

    def write(mine: list[Person]) -> None:
        with psycopg.connect(server.url("bench", "bench_gateway")) as conn:
            while not stop.is_set():
                for person in mine:
                    started = time.perf_counter()
                    sign_in(conn, person)
                    times.append((time.perf_counter() - started) * 1000)
                    if stop.is_set():
                        break

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(write, people[number::count]) for number in range(count)]
        try:
            yield times
        finally:
            stop.set()
        for writer in running:
            writer.result()


def deletion(server: Server, owner: psycopg.Connection[Any], people: list[Person]) -> None:
    """Delete a tenant of 100 thousand rows while others sign in; what do they notice?"""
    row = owner.execute("select identity.create_tenant('leaving', 'Leaving')").fetchone()
    assert row
    owner.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", row)
    owner.execute(
        "select platform.set_setting_of_tenant(%s, 'limits.users_per_tenant', '100000', 'benchmark')", row
    )
    owner.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", row)
    for _ in range(25):
        add_people(owner, row[0])
    owner.commit()

    with writers(server, people) as alone:
        time.sleep(8)
    waits: list[int] = []
    with (
        writers(server, people) as meanwhile,
        psycopg.connect(server.url("bench"), autocommit=True) as operator,
    ):
        operator.execute("select identity.begin_tenant_deletion(%s, 'benchmark')", row)
        started, batches, left = time.perf_counter(), 0, 1
        while left:
            (left,) = operator.execute("select identity.delete_tenant_batch(%s, 5000)", row).fetchone() or (
                0,
            )
            batches += 1
            waiting = operator.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            ).fetchone()
            waits.append(waiting[0] if waiting else 0)
        seconds = time.perf_counter() - started
        counts = operator.execute(
            "select row_counts from identity.tenant_deletions where tenant_id = %s", row
        ).fetchone()
    rows = sum(counts[0].values()) if counts else 0
    print(
        f"\n{rows} rows deleted in {batches} batches, {seconds:.1f} s; meanwhile 4 clients signed people in elsewhere:"
    )
    for name, times in (("before", alone), ("meanwhile", meanwhile)):
        ordered = sorted(times)
        print(
            f"{name:10} {len(ordered):6} sign-ins, p50 {statistics.median(ordered):.2f} ms,"
            f" p99 {ordered[int(len(ordered) * 0.99)]:.2f} ms, longest {ordered[-1]:.1f} ms"
        )
    print(f"sessions seen waiting for a lock between batches: {sum(waits)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", default="10000,100000,1000000")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--pg", type=int, default=15)
    args = parser.parse_args()
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "maintenance_work_mem": "256MB"}
    with scratch_server(bindir_of(args.pg), settings) as server:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("create database bench")
        Migrator(server.url("bench"), migrations=ROOT / "migrations").migrate()
        with psycopg.connect(server.url("bench")) as owner:
            owner.execute("create role bench_app login in role enterprise_ai_app")
            owner.execute("create role bench_gateway login in role enterprise_ai_gateway")
            owner.execute(
                "update platform.configuration_settings set value = '6000' where key = 'limits.sign_ins_per_minute'"
            )
            owner.commit()
            growth(server, owner, [int(users) for users in args.users.split(",")], args.samples)
            print()
            pooled(server, sample(owner, args.samples))
            deletion(server, owner, sample(owner, 400))


if __name__ == "__main__":
    main()
