#!/usr/bin/env python3
"""Measure authorization decisions beside the floor of any query on the same connection, and beside others.

python benchmarks/authz.py --install       once: the peers, into benchmarks/tools/authz
python benchmarks/authz.py                 at 1 and 10 times the data, on the PostgreSQL of this machine
python benchmarks/authz.py --pg 18 --scales 1,10,100 --checks 5000

At scale 1: 10 tenants of 100 users, 50 roles in a hierarchy 5 deep, 3 roles a user, 2,000 resources, 1,000 shares.
Processor time is that of the server's process alone; it moves less than wall time does on a busy machine.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import authz_peers  # noqa: E402
import psycopg  # noqa: E402

from enterprise_ai.authz import DecisionCache  # noqa: E402
from enterprise_ai.client import connect  # noqa: E402
from enterprise_ai.migrate import Migrator  # noqa: E402
from tests.servers import bindir_of, scratch_server  # noqa: E402

ASKED = [
    "document.read",
    "document.update",
    "conversation.read",
    "analytics.read",
    "user.read",
    "document.share",
]

FILL = """
insert into identity.users (tenant_id, email, display_name, status)
select %(t)s, 'user' || n || '@example.com', 'User ' || n, 'active' from generate_series(1, 100 * %(s)s) as n;
insert into authz.roles (tenant_id, name, display_name)
select %(t)s, 'bench_' || n, 'Bench ' || n from generate_series(0, 49) as n;
insert into authz.role_permissions (tenant_id, role_id, permission_id)
select %(t)s, r.id, p.id
from authz.roles as r
join authz.permissions as p on not p.requires_approval and p.minimum_authentication_level = 1
    and (hashtext(r.name || p.name) %% 9) = 0
where r.tenant_id = %(t)s and r.name like 'bench%%';
insert into authz.role_inheritance (tenant_id, role_id, parent_id)
select %(t)s, heir.id, parent.id
from generate_series(10, 49) as n
join authz.roles as heir on heir.tenant_id = %(t)s and heir.name = 'bench_' || n
join authz.roles as parent on parent.tenant_id = %(t)s and parent.name = 'bench_' || n - 10;
insert into authz.user_roles (tenant_id, user_id, role_id)
select distinct %(t)s::uuid, u.id, r.id
from (select id, row_number() over (order by id) as n from identity.users where tenant_id = %(t)s) as u
cross join generate_series(1, 3) as k
join authz.roles as r on r.tenant_id = %(t)s and r.name = 'bench_' || (u.n * 7 + k * 13) %% 50;
insert into authz.resources (tenant_id, resource_type, owner_id)
select %(t)s, case when n %% 2 = 0 then 'document' else 'conversation' end, u.id
from generate_series(1, 200 * %(s)s) as n
join (select id, row_number() over (order by id) as k from identity.users where tenant_id = %(t)s) as u
    on u.k = 1 + n %% (100 * %(s)s);
insert into authz.user_permissions (tenant_id, user_id, permission_id, resource_id)
select distinct %(t)s::uuid, u.id, 702, r.id
from (select id, row_number() over (order by id) as n from authz.resources
      where tenant_id = %(t)s and resource_type = 'document') as r
join (select id, row_number() over (order by id) as k from identity.users where tenant_id = %(t)s) as u
    on u.k = 1 + (r.n * 31) %% (100 * %(s)s)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processor_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9  # nanoseconds that it ran


class Bench:
    """One database filled to a scale, and a connection in the context of one of its users."""

    def __init__(self, url: str, scale: int) -> None:
        self.conn = psycopg.connect(url)
        self.tenants = []
        for n in range(10):
            (tenant_id,) = self.one("select identity.create_tenant(%s, %s)", f"bench-{scale}-{n}", "Bench")
            self.seal(tenant_id)
            for statement in FILL.split(";"):
                self.conn.execute(statement, {"t": tenant_id, "s": scale})
            self.tenants.append(tenant_id)
        self.conn.commit()
        self.conn.autocommit = True
        self.conn.execute("vacuum analyze")
        self.conn.autocommit = False
        self.tenant_id = self.tenants[0]
        self.seal(self.tenant_id)
        self.users = [row[0] for row in self.conn.execute("select id from identity.users order by id")]
        self.resources = self.conn.execute(
            "select id, resource_type from authz.resources order by id"
        ).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        return self.conn.execute(query, values).fetchone()

    def seal(self, tenant_id: Any, user_id: Any = None) -> None:
        self.conn.execute(
            "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid, 'user_id', %s::uuid))",
            [tenant_id, user_id],
        )

    def questions(self, count: int) -> list[tuple[Any, str, Any]]:
        """Who asks for what on what: a permission on a resource of its type, or on the type."""
        dice = random.Random(1)
        by_type: dict[str, list[Any]] = {}
        for resource_id, kind in self.resources:
            by_type.setdefault(kind, []).append(resource_id)
        asked = [(dice.choice(self.users), dice.choice(ASKED)) for _ in range(count)]
        return [(u, p, dice.choice(by_type.get(p.split(".")[0], [None]))) for u, p in asked]

    def measured(self, work: Callable[[], int]) -> tuple[float, float]:
        """Wall and server processor microseconds for each of what the work did."""
        before, started = processor_seconds(self.conn.info.backend_pid), time.perf_counter()
        done = work()
        wall = time.perf_counter() - started
        return 1e6 * wall / done, 1e6 * (processor_seconds(self.conn.info.backend_pid) - before) / done

    def each(self, query: str, rows: list[tuple[Any, ...]]) -> Callable[[], int]:
        def run() -> int:
            cursor = self.conn.cursor()
            for row in rows:
                cursor.execute(query, row, prepare=True).fetchone()
            return len(rows)

        return run

    def bulk(self, asked: list[tuple[Any, str, Any]], size: int = 1000) -> Callable[[], int]:
        def run() -> int:
            for start in range(0, len(asked), size):
                part = asked[start : start + size]
                self.conn.execute(
                    "select authz.check_many(%s, %s::uuid[], %s::uuid[])",
                    [[q[1] for q in part], [q[2] for q in part], [q[0] for q in part]],
                    prepare=True,
                ).fetchone()
            return len(asked)

        return run

    def inside(self, asked: list[tuple[Any, str, Any]]) -> Callable[[], int]:
        """The same checks in one statement of the server: what a check costs without the way to it."""
        rows = [[q[1] for q in asked], [q[2] for q in asked], [q[0] for q in asked]]

        def run() -> int:
            self.conn.execute(
                "select count(authz.check(q.p, q.r, q.u))"
                " from unnest(%s::text[], %s::uuid[], %s::uuid[]) as q (p, r, u)",
                rows,
            )
            return len(asked)

        return run

    def role_change(self) -> float:
        """Milliseconds for a change of a role that 10,000 hold, and more through others, until it is visible."""
        self.one(
            "select platform.set_setting_of_tenant(%s, 'limits.users_per_tenant', '200000', 'measured')",
            self.tenant_id,
        )
        self.seal(self.tenant_id)
        self.conn.execute(
            "with people as (insert into identity.users (tenant_id, email, display_name, status)"
            " select %(t)s, 'holder' || n || '@example.com', 'Holder', 'active' from generate_series(1, 10000) as n"
            " returning id) insert into authz.user_roles (tenant_id, user_id, role_id)"
            " select %(t)s, people.id, r.id from people cross join authz.roles as r"
            " where r.tenant_id = %(t)s and r.name = 'bench_3'",
            {"t": self.tenant_id},
        )
        self.conn.commit()
        times = []
        for effect in ("insert", "delete") * 3:
            self.seal(self.tenant_id)
            started = time.perf_counter()
            if effect == "insert":
                self.conn.execute(
                    "insert into authz.role_permissions (tenant_id, role_id, permission_id, effect)"
                    " select tenant_id, id, 805, 'deny' from authz.roles where name = 'bench_3'"
                )
            else:
                self.conn.execute(
                    "delete from authz.role_permissions where permission_id = 805 and effect = 'deny'"
                )
            self.conn.commit()
            times.append(1000 * (time.perf_counter() - started))
        self.seal(self.tenant_id)
        return statistics.median(times)


def cached(url: str, bench: Bench, asked: list[tuple[Any, str, Any]]) -> float:
    """Microseconds for a check that the process remembers, on the thread that asks."""
    with connect(url, decision_cache=DecisionCache()) as client:
        assert client.listener is not None
        assert client.listener.wait()
        with client.as_service(bench.tenant_id) as tx:
            check = tx.authz.check
            for user, permission, resource in asked:
                check(permission, resource, user_id=user)
            best = float("inf")
            for _ in range(5):
                started = time.perf_counter()
                for user, permission, resource in asked:
                    check(permission, resource, user_id=user)
                best = min(best, time.perf_counter() - started)
    return 1e6 * best / len(asked)


def run(url: str, scale: int, checks: int, with_peers: bool) -> dict[str, float]:
    started = time.perf_counter()
    bench = Bench(url, scale)
    print(
        f"scale {scale}: {len(bench.users) * 10} users, filled in {time.perf_counter() - started:.0f} s",
        flush=True,
    )
    asked = bench.questions(checks)
    single = [(p, r, u) for u, p, r in asked]
    results: dict[str, float] = {}
    works = {
        "floor": bench.each("select %s::text", [(p,) for _, p, _ in asked]),
        "context": bench.each("select platform.context() is null", [()] * checks),
        "check about oneself": bench.each("select authz.check(%s, %s)", [(p, r) for p, r, _ in single]),
        "check about others": bench.each("select authz.check(%s, %s, %s)", single),
        "evaluate": bench.each("select (authz.evaluate(%s, %s, %s)).effect", single[: checks // 5]),
        "check, inside the server": bench.inside(asked),
        "check_many of 1,000": bench.bulk(asked),
    }
    for name, work in works.items():
        bench.seal(bench.tenant_id, bench.users[17] if name == "check about oneself" else None)
        work()
        rounds = [bench.measured(work) for _ in range(3)]
        wall, cpu = min(r[0] for r in rounds), min(r[1] for r in rounds)
        results[name] = wall
        print(
            f"  {name:26} {1e6 / wall:9,.0f}/s  {wall:8.1f} µs wall  {cpu:8.1f} µs of the server's processor"
        )
    print(f"  a check about oneself is {results['floor'] / results['check about oneself']:.2f} of the floor")
    truth = [
        bench.one("select (authz.evaluate(%s, %s, %s)).effect = 'allow', authz.check(%s, %s, %s)", *q, *q)
        for q in single[:300]
    ]
    assert all(a == b for a, b in truth), "check and evaluate differ"
    print(f"  allowed                    {sum(a for a, _ in truth) / len(truth):9.0%}")
    print(f"  role change                {bench.role_change():9.1f} ms until it is visible")
    wall = cached(url, bench, asked)
    print(f"  {'check, remembered':26} {1e6 / wall:9,.0f}/s  {wall:8.2f} µs wall", flush=True)
    if with_peers:
        bench.seal(bench.tenant_id)
        questions = [(str(user), permission) for user, permission, _ in asked[:300]]
        truth = [bench.one("select authz.check(%s, null, %s)", p, u)[0] for u, p in questions]
        authz_peers.measure(bench.conn, questions, truth, results["check about others"])
    bench.conn.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--pg", type=int, default=15)
    parser.add_argument("--scales", default="1,10")
    parser.add_argument("--checks", type=int, default=2000)
    options = parser.parse_args()
    if options.install:
        authz_peers.install()
    results = {}
    # At 100 times the data the tables are larger than the 64 MB that tests give a server.
    settings = {"listen_addresses": "127.0.0.1", "port": str(free_port()), "shared_buffers": "1GB"}
    with scratch_server(bindir_of(options.pg), settings) as server:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("create role migrator login createrole")
        for scale in map(int, options.scales.split(",")):
            with psycopg.connect(server.url(), autocommit=True) as conn:
                conn.execute(f"create database bench_{scale} owner migrator template template0")
            if options.pg < 13:
                with psycopg.connect(server.url(f"bench_{scale}")) as conn:
                    conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
            # By the network, as applications come, though only to the same machine.
            url = f"postgresql://migrator@127.0.0.1:{server.port}/bench_{scale}"
            Migrator(url, migrations=ROOT / "migrations").migrate()
            results[scale] = run(url, scale, options.checks, authz_peers.TOOLS.exists())
    first = min(results)
    for scale, found in results.items():
        growth = ", ".join(
            f"{name} {found[name] / results[first][name]:.2f}"
            for name in ("check about oneself", "check_many of 1,000")
        )
        print(f"growth at {scale}x: {growth}")


if __name__ == "__main__":
    main()
