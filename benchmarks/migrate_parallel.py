"""What happens when several runners start at once on one database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from migrate_files import Migration, slow
from migrate_measure import Bench, start
from migrate_runners import PsqlEach, PsqlOnce, Runner

_WAITS = re.compile(r"wait|lock|another", re.IGNORECASE)
_PATIENCE = 60.0


class Outcome(NamedTuple):
    """How runners that started together ended."""

    codes: list[int | None]  # None: still running when patience ended
    seconds: float
    ran: str  # how often each migration ran
    said: str


def at_once(place: Bench, runners: list[Runner]) -> str:
    """E: two and twenty runners at once, with and without a concurrent index; return the table."""
    lines = [
        "| E: at once | how many | exit codes | each migration ran | seconds | the one that waits says |",
        "|---|---|---|---|---|---|",
    ]
    cases = [(2, False), (2, True), (20, False)]
    for count, concurrently in cases:
        for runner in runners:
            if runner.name in (PsqlOnce.name, PsqlEach.name):
                continue
            outcome = _together(place, runner, slow(10, concurrently=concurrently), count)
            zero = outcome.codes.count(0)
            stuck = outcome.codes.count(None)
            codes = f"{zero} × 0" + (
                f", {len(outcome.codes) - zero - stuck} × not 0" if zero + stuck < count else ""
            )
            codes += f", {stuck} stuck" if stuck else ""
            what = f"{count}" + (", one index concurrently" if concurrently else "")
            lines.append(
                f"| {runner.name} | {what} | {codes} | {outcome.ran} | {outcome.seconds:.1f} | {outcome.said} |"
            )
            print("  " + lines[-1], file=sys.stderr)
    return "\n".join(lines)


def _together(place: Bench, runner: Runner, migrations: list[Migration], count: int) -> Outcome:
    url = place.fresh("bench")
    place.sql("create table witness (n int)", "bench")
    project = place.project(runner, migrations, url)
    outputs = [tempfile.TemporaryFile() for _ in range(count)]  # noqa: SIM115  they outlive this line
    begin = time.monotonic()
    processes = [start(runner.up(project, url), project, url, output) for output in outputs]
    codes = [_end(process, begin + _PATIENCE) for process in processes]
    seconds = time.monotonic() - begin
    rows = place.sql("select count(*) from witness", "bench")
    once = place.sql("select count(distinct n) from witness", "bench")
    expected = sum(one.transaction for one in migrations)
    ran = "once" if rows == once == str(expected) else f"{rows} rows of {once} for {expected}"
    return Outcome(codes, seconds, ran, _said(outputs))


def _end(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _said(outputs: list[tempfile._TemporaryFileWrapper[bytes]]) -> str:
    """Pick a line about waiting or locks out of what was printed."""
    for output in outputs:
        output.seek(0)
        for line in output.read().decode(errors="replace").splitlines():
            if _WAITS.search(line):
                return line.strip()[:110].replace("|", "/")
    return "nothing"
