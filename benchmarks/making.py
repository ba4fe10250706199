"""What it takes to make a tenant, a person and many people at once: the server's processor and the clock.

    python benchmarks/making.py [--people 5000] [--samples 200] [--pg MAJOR]

On a scratch server of its own, as the owner of the tables; on Linux, which tells how long a process ran.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from enterprise_ai.migrate import Migrator  # noqa: E402
from tests.servers import bindir_of, scratch_server  # noqa: E402

TENANT = "select identity.create_tenant(%s, 'Bench')"
CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
PERSON = "select identity.create_user(%s, 'Ada')"
MANY = """
insert into identity.users (tenant_id, email, display_name, status)
select platform.current_tenant_id(), 'one-of-many-' || n || '@example.com', 'Ada', 'active'
from generate_series(1, %s) as n
"""


class Clock:
    """Milliseconds of a backend's processor, and of the wall."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        self._ran = Path(f"/proc/{conn.info.backend_pid}/schedstat")

    def time(self, query: str, value: object) -> tuple[float, float, Any]:
        """Run a query; returns both times and the first value that came back."""
        ran, started = self._now(), time.perf_counter()
        cursor = self._conn.execute(query, [value])
        wall = (time.perf_counter() - started) * 1000
        return self._now() - ran, wall, cursor.fetchone()[0] if cursor.description else None

    def _now(self) -> float:
        return int(self._ran.read_text().split()[0]) / 1e6


def report(what: str, times: list[tuple[float, float]]) -> None:
    processor, wall = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{what:34} {processor:8.1f} ms of the processor {wall:8.1f} ms")


def measure(url: str, people: int, samples: int) -> None:
    """Print the medians, each statement in a transaction of its own."""
    with psycopg.connect(url) as conn:
        clock = Clock(conn)
        made = []
        for number in range(11):
            made.append(clock.time(TENANT, f"bench-{number}"))
            conn.commit()
        report("a tenant, the first of a session", [made[0][:2]])
        report("a tenant after that", [times[:2] for times in made[1:]])
        tenant, one = made[0][2], []
        for number in range(samples):
            conn.execute(CONTEXT, [tenant])
            one.append(clock.time(PERSON, f"{number}@example.com")[:2])
            conn.commit()
        report("a person", one)
        conn.execute(CONTEXT, [tenant])
        report(f"{people} people in one statement", [clock.time(MANY, people)[:2]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--pg", type=int, default=18)
    chosen = parser.parse_args()
    with scratch_server(bindir_of(chosen.pg)) as server:
        # Not as a superuser, whom row security would cost nothing.
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("create role keeper login createrole")
            conn.execute("create database bench owner keeper")
        with psycopg.connect(server.url("bench")) as conn:
            conn.execute('create extension pgcrypto; create extension "uuid-ossp"')
        url = server.url("bench", "keeper")
        Migrator(url, migrations=ROOT / "migrations").migrate()
        measure(url, chosen.people, chosen.samples)


if __name__ == "__main__":
    main()
