#!/usr/bin/env python3
"""Measure migration runners side by side: this project's engine, psql, and the peers that are installed.

python benchmarks/migrate.py --install          once: peers by name from PyPI and npm, into benchmarks/tools
python benchmarks/migrate.py                    all workloads, tables in Markdown on stdout
python benchmarks/migrate.py A B:1000 --only enterprise-ai,dbmate --rounds 9
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import migrate_files as files
from migrate_failures import when_it_fails
from migrate_measure import Bench, Run, Series, bench
from migrate_parallel import at_once
from migrate_runners import RUNNERS, Ours, PsqlEach, PsqlOnce, Runner, install, reinstall_ours


def fresh_runs(
    place: Bench,
    series: Series,
    runners: list[Runner],
    migrations: list[files.Migration],
    check: str,
    want: str,
    rounds: int,
) -> Series:
    """Let every runner bring an empty database up to date, and make sure that it did."""
    projects = {runner.name: place.project(runner, migrations, place.url("bench")) for runner in runners}

    def once(runner: Runner) -> Run:
        url = place.fresh("bench")
        project = projects[runner.name]
        run = place.timed(runner.up(project, url), project, url)
        if not run.code and place.sql(check, "bench") != want:
            return run._replace(code=1, output=f"exit 0, but not everything is there: {run.output[-200:]}")
        return run

    series.play(runners, rounds, once)
    return series


def own_migrations(place: Bench, runners: list[Runner], rounds: int, _: str) -> list[Series]:
    """A: our own four migrations on an empty database."""
    check = (
        "select count(*) from pg_class as c join pg_namespace as n on n.oid = relnamespace "
        "where relkind in ('r', 'p') and nspname in "
        "('platform', 'identity', 'authz', 'llm', 'analytics', 'security', 'audit')"
    )
    project = place.project(PsqlOnce(), files.our_own(), "")
    url = place.fresh("bench")  # the roles that 001 makes are the whole server's: here they come to be
    first = place.timed(PsqlOnce().up(project, url), project, url)
    if first.code:
        sys.exit(f"the migrations themselves fail:\n{first.output}")
    want = place.sql(check, "bench")
    series = Series("A: our four migrations", PsqlOnce.name)
    return [fresh_runs(place, series, runners, files.our_own(), check, want, rounds)]


def many_small(place: Bench, runners: list[Runner], rounds: int, sizes: str) -> list[Series]:
    """B: many small files, committed one by one."""
    found = []
    for size in [int(size) for size in (sizes or "100,1000,5000").split(",")]:
        series = Series(f"B: {size} small files", PsqlEach.name)
        chosen = [one for one in runners if size < 2000 or one.name not in ("sqitch", "yoyo", PsqlOnce.name)]
        check = "select count(*) from pg_class where relkind = 'r' and relname ~ '^b_'"
        count = rounds if size < 2000 else min(rounds, 3)
        found.append(fresh_runs(place, series, chosen, files.small(size), check, str(size // 2), count))
    return found


def no_op(place: Bench, runners: list[Runner], rounds: int, size: str) -> list[Series]:
    """C: nothing to do, and `status`, with a thousand files applied."""
    migrations = files.small(int(size or 1000))
    runners = [runner for runner in runners if runner.name != PsqlOnce.name]
    projects, ready = {}, []
    for runner in runners:
        url = place.fresh("c_" + runner.slug)
        projects[runner.name] = place.project(runner, migrations, url)
        done = place.timed(runner.up(projects[runner.name], url), projects[runner.name], url)
        print(f"  C: {runner.name} prepared in {done.seconds:.1f} s, exit {done.code}", file=sys.stderr)
        ready += [runner] if not done.code else []

    def asking(command: str) -> Callable[[Runner], Run]:
        def once(runner: Runner) -> Run:
            url, project = place.url("c_" + runner.slug), projects[runner.name]
            if runner.name == PsqlEach.name:  # it has no no-op: what stands for it is reading the history
                return place.timed(PsqlEach().status(project, url), project, url)
            return place.timed(getattr(runner, command)(project, url), project, url)

        return once

    found = []
    for command, title in (("up", "nothing to do"), ("status", "status")):
        series = Series(f"C: {title} at {len(migrations)} applied", "dbmate")
        able = [one for one in ready if one.status(projects[one.name], "") is not None]
        series.play(able, rounds + 2, asking(command), cap=10)
        found.append(series)
    return found


def one_huge(place: Bench, runners: list[Runner], rounds: int, size: str) -> list[Series]:
    """D: one file of 50 MB: INSERTs of one row each, then of a hundred rows each."""
    megabytes = float(size or 50)
    found = []
    for rows_a_statement, title in ((1, "single-row INSERTs"), (100, "INSERTs of 100 rows")):
        series = Series(f"D: {megabytes:.0f} MB of {title}", PsqlOnce.name)
        # yoyo parses every statement in Python and takes minutes.
        chosen = [one for one in runners if one.name not in ("yoyo", PsqlEach.name)]
        migrations, rows = files.inserts(megabytes, rows_a_statement)
        found.append(
            fresh_runs(
                place, series, chosen, migrations, "select count(*) from seed", str(rows), min(rounds, 3)
            )
        )
    name_the_broken_line(place, megabytes)
    return found


def name_the_broken_line(place: Bench, megabytes: float) -> None:
    """Show how our engine names one bad value among the single-row INSERTs."""
    migrations, line = files.broken(megabytes)
    url = place.fresh("bench")
    project = place.project(Ours(), migrations, url)
    run = place.timed(Ours().up(project, url), project, url)
    print(
        f"The bad value stands on line {line}; {run.client:.0f} MiB, {run.seconds:.1f} s, exit {run.code}:\n"
    )
    print("    " + run.output.strip().replace("\n", "\n    ") + "\n")


WORKLOADS = {"A": own_migrations, "B": many_small, "C": no_op, "D": one_huge}
TOGETHER = {"E": at_once, "F": when_it_fails}


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "workloads", nargs="*", help="A, B[:SIZES], C[:FILES], D[:MEGABYTES], E, F; all unless told"
    )
    parser.add_argument("--install", action="store_true", help="install the peers and stop")
    parser.add_argument("--only", help="names of runners, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fsync", choices=("on", "off"), default="on", help="off: the disk plays no part")
    parser.add_argument("--pg", type=int, help="the server's major; this machine's newest unless told")
    options = parser.parse_args()
    if options.install:
        install()
        return
    reinstall_ours()
    wanted = options.only.split(",") if options.only else [runner.name for runner in RUNNERS]
    runners = [runner for runner in RUNNERS if runner.name in wanted and runner.installed()]
    with bench(options.pg, options.fsync == "on") as place:
        print(f"{place.sql('select version()')}\n{time.strftime('%Y-%m-%d %H:%M')}, fsync {options.fsync}\n")
        for workload in options.workloads or [*WORKLOADS, *TOGETHER]:
            letter, _, argument = workload.partition(":")
            if letter in TOGETHER:
                print(TOGETHER[letter](place, runners), end="\n\n", flush=True)
                continue
            for series in WORKLOADS[letter](place, runners, options.rounds, argument):
                print(series.table(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
