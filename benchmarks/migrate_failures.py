"""What a runner does when something goes wrong: each case on an empty database, the outcome as it was seen."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from migrate_files import Migration
from migrate_measure import Bench, Run, environment, start
from migrate_runners import PsqlEach, PsqlOnce, Runner

Case = Callable[[Bench, Runner], str]


def table(number: int, name: str = "f") -> Migration:
    return Migration(number, f"{name}_{number}", f"create table {name}_{number} (id int);\n")


def lay_out(place: Bench, runner: Runner, migrations: list[Migration]) -> tuple[Path, str]:
    url = place.fresh("bench")
    return place.project(runner, migrations, url), url


def up(place: Bench, runner: Runner, project: Path, url: str) -> Run:
    return place.timed(runner.up(project, url), project, url, timeout=60)


def recorded(place: Bench, runner: Runner) -> str:
    try:
        return place.sql(runner.history, "bench") or "0"
    except RuntimeError:
        return "0"


def own_commit(place: Bench, runner: Runner) -> str:
    """The second of three files commits half-way and fails behind that."""
    half = "create table f_2 (id int);\ncommit;\ncreate table f_2b (id int);\n"
    project, url = lay_out(place, runner, [table(1), Migration(2, "half", half), table(3)])
    run = up(place, runner, project, url)
    left = place.sql("select count(*) from pg_class where relname like 'f\\_2%'", "bench")
    return f"exit {run.code}, {recorded(place, runner)} recorded, {left} of its 2 tables there"


def names_the_place(place: Bench, runner: Runner, bad: str, token: str) -> str:
    """Which of file, line, column, caret, SQLSTATE and DETAIL are in what is printed."""
    filler = "".join(f"create table g_{n} (id int);\n" for n in range(30))
    project, url = lay_out(place, runner, [table(1), Migration(2, "bad", filler + bad)])
    run = up(place, runner, project, url)
    file = next(one for one in runner.folder(project).iterdir() if token in one.read_text(encoding="utf-8"))
    before = file.read_text(encoding="utf-8").split(token)[0]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    told = {
        "file": file.stem in run.output,
        "line": re.search(rf"(?i)(line:?\s*{line}\b|:{line}\b)", run.output),
        "column": re.search(rf":{line}:{column}\b", run.output),
        "caret": re.search(r"(?m)^.*\s\^\s*$", run.output),
        "SQLSTATE": re.search(r"\b(42601|23505)\b", run.output),
        "DETAIL": "already exists" in run.output,
    }
    return ", ".join(name for name, found in told.items() if found) or "none of it"


def syntax_error(place: Bench, runner: Runner) -> str:
    return names_the_place(place, runner, "create table f_2 (\n    id int NOTT null\n);\n", "NOTT")


def duplicate_key(place: Bench, runner: Runner) -> str:
    rows = "create table f_2 (id int primary key);\ninsert into f_2 values (1);\ninsert into f_2 values (1), (2);\n"
    return names_the_place(place, runner, rows, "insert into f_2 values (1), (2)")


def failed_index(place: Bench, runner: Runner) -> str:
    """A unique index, built concurrently, meets a duplicate; the duplicate goes; once more."""
    rows = "create table f_1 (id int);\ninsert into f_1 values (1), (1);\n"
    index = Migration(2, "index", "create unique index concurrently x on f_1 (id);\n", transaction=False)
    project, url = lay_out(place, runner, [Migration(1, "rows", rows), index, table(3)])
    up(place, runner, project, url)
    place.sql("delete from f_1 where ctid > '(0,1)'", "bench")
    again = up(place, runner, project, url)
    valid = place.sql("select indisvalid from pg_index where indexrelid = to_regclass('x')", "bench")
    return f"rerun exits {again.code}, index {({'t': 'valid', 'f': 'INVALID'}).get(valid, 'not there')}"


def waiting_alter(place: Bench, runner: Runner) -> str:
    """A reader stays on the table for eight seconds while a file alters it and other readers come."""
    url = place.fresh("bench")
    place.sql("create table f_1 (id int)", "bench")
    project = place.project(runner, [Migration(1, "alter", "alter table f_1 add column n int;\n")], url)
    long_reader = "begin; select * from f_1; select pg_sleep(8); commit"
    reader = subprocess.Popen(["psql", "-qX", "-d", url, "-c", long_reader], stdout=subprocess.DEVNULL,
                              env=environment())  # fmt: skip
    until(place, "select count(*) = 1 from pg_stat_activity where wait_event = 'PgSleep'")
    worst, ended = [0.0], threading.Event()

    def read() -> None:
        while not ended.is_set():
            begun = time.monotonic()
            place.sql("select count(*) from f_1", "bench")
            worst[0] = max(worst[0], time.monotonic() - begun)

    readers = threading.Thread(target=read)
    readers.start()
    run = up(place, runner, project, url)
    reader.wait()
    ended.set()
    readers.join()
    return f"exit {run.code}, a new reader waited up to {worst[0]:.1f} s"


def killed(place: Bench, runner: Runner) -> str:
    """Killed with SIGKILL in the middle of the second of three files, then run again."""
    slow = "create table f_2 (id int);\nselect pg_sleep(3);\n"
    project, url = lay_out(place, runner, [table(1), Migration(2, "slow", slow), table(3)])
    with tempfile.TemporaryFile() as output:
        process = start(runner.up(project, url), project, url, output)
        until(place, "select count(*) = 1 from pg_stat_activity where wait_event = 'PgSleep'")
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = up(place, runner, project, url)
    there = place.sql("select count(*) from pg_class where relname like 'f\\__' and relkind = 'r'", "bench")
    return f"rerun exits {again.code}, {there} of 3 tables"


def edited(place: Bench, runner: Runner) -> str:
    """An applied file is changed and the runner is called again."""
    project, url = lay_out(place, runner, [table(1), table(2)])
    up(place, runner, project, url)
    file = sorted(runner.folder(project).iterdir())[0]
    file.write_text(file.read_text(encoding="utf-8").replace("id int", "id bigint"), encoding="utf-8")
    run = up(place, runner, project, url)
    return f"exit {run.code}" + (
        ", says so" if re.search("(?i)edit|chang|modif|checksum|hash", run.output) else ""
    )


def until(place: Bench, condition: str) -> None:
    deadline = time.monotonic() + 30
    while place.sql(condition) != "t":
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.02)


CASES: dict[str, Case] = {
    "a file that commits half-way": own_commit,
    "a syntax error: what is told": syntax_error,
    "a duplicate key: what is told": duplicate_key,
    "a concurrent unique index that failed": failed_index,
    "an ALTER behind a reader of 8 s": waiting_alter,
    "kill -9 in the second file": killed,
    "an applied file was edited": edited,
}


def when_it_fails(place: Bench, runners: list[Runner]) -> str:
    """F: every case with every runner; return the table."""
    chosen = [runner for runner in runners if runner.name not in (PsqlOnce.name, PsqlEach.name)]
    lines = ["| F | " + " | ".join(runner.name for runner in chosen) + " |", "|---" * (len(chosen) + 1) + "|"]
    for title, case in CASES.items():
        found = []
        for runner in chosen:
            try:
                found.append(case(place, runner))
            except Exception as error:  # a tool that cannot even be set up for the case is an outcome too
                found.append(f"not seen: {type(error).__name__}")
            print(f"  F: {title}: {runner.name}: {found[-1]}", file=sys.stderr)
        lines.append(f"| {title} | " + " | ".join(found) + " |")
    return "\n".join(lines)
