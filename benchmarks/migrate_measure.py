"""How a run is measured: its own fresh database, wall time, memory of client and server, ratios within a round."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from migrate_files import ROOT, Migration
from migrate_runners import Runner

sys.path.insert(0, str(ROOT))
from tests.servers import bindir_of, scratch_server

#: What a server of a user has switched on and scratch servers have off.
_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


class Run(NamedTuple):
    """One measured run; memory in MiB, of the largest client process and the largest server process."""

    seconds: float
    cpu: float  # seconds of processor time, client and server together: a busy machine changes it little
    client: float
    server: float
    code: int
    output: str


class Bench:
    """A scratch server, a folder for projects, and what is done with them."""

    def __init__(self, port: int, data: Path, work: Path) -> None:
        self.port = port
        self.data = data
        self.work = work
        self.standing = set(children((data / "postmaster.pid").read_text().split()[0]))

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL and return what psql prints; raise when it fails."""
        argv = ["psql", "-X", "-At", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False)
        if done.returncode:
            raise RuntimeError(f"{text}: {done.stderr}")
        return done.stdout.strip()

    def fresh(self, database: str) -> str:
        """Make an empty database and return its URL."""
        self.sql(f'drop database if exists "{database}" with (force)')
        self.sql(f'create database "{database}" template template0')
        return self.url(database)

    def project(self, runner: Runner, migrations: list[Migration], url: str) -> Path:
        """Lay out a runner's project."""
        folder = self.work / runner.slug
        runner.write(folder, migrations, url)
        return folder

    def timed(self, argv: list[str], project: Path, url: str, timeout: float = 900) -> Run:
        """Run a command, from its start to its end, after a checkpoint."""
        self.sql("checkpoint")
        with tempfile.NamedTemporaryFile() as size, tempfile.TemporaryFile() as output:
            # GNU time is small: a child of this process would carry our own memory in its figure.
            timer = ["/usr/bin/time", "-q", "-f", "%U %S %M", "-o", size.name]
            watch = _ServerMemory(self.data, self.standing)
            before = watch.cpu()
            watch.start()
            begin = time.perf_counter()
            process = start([*timer, *argv], project, url, output)
            killer = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
            killer.start()
            code = process.wait()
            seconds = time.perf_counter() - begin
            killer.cancel()
            watch.stop()
            output.seek(0)
            text = output.read().decode(errors="replace")
            user, system, memory = Path(size.name).read_text().split()[-3:]
        cpu = float(user) + float(system) + watch.cpu() - before
        return Run(seconds, cpu, int(memory) / 1024, watch.peak / 1024, code, text)


def environment(url: str | None = None) -> dict[str, str]:
    """The environment of every runner: no PG* or PYTHON* setting of ours, so that byte code is kept."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "PYTHON"))}
    env.update(PGCONNECT_TIMEOUT="10", CI="1", NO_COLOR="1")
    if url:
        env["DATABASE_URL"] = url
    return env


def start(argv: list[str], project: Path, url: str, output: object) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        argv,
        cwd=project,
        env=environment(url),
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class _ServerMemory(threading.Thread):
    """Watches the private memory of the server's processes, and reads the processor time of those that ended."""

    def __init__(self, data: Path, standing: set[str]) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._standing = standing
        self._ended = threading.Event()
        self._parent = (data / "postmaster.pid").read_text().split()[0]

    def run(self) -> None:
        while not self._ended.wait(0.05):
            with contextlib.suppress(OSError):
                for pid in self._children():
                    with contextlib.suppress(OSError):
                        self._look(Path(f"/proc/{pid}/status").read_text())

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def cpu(self) -> float:
        """Processor seconds of every session that has ended, once the open ones have."""
        deadline = time.monotonic() + 2
        while self._sessions() and time.monotonic() < deadline:
            time.sleep(0.005)
        fields = Path(f"/proc/{self._parent}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def _sessions(self) -> bool:
        """Tell whether there is a process that was not there when the server had just started."""
        return not self._standing.issuperset(self._children())

    def _children(self) -> list[str]:
        return children(self._parent)

    def _look(self, status: str) -> None:
        for line in status.splitlines():
            if line.startswith("RssAnon"):
                self.peak = max(self.peak, int(line.split()[1]))


def children(pid: str) -> list[str]:
    """The child processes of a server."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class Series:
    """The rounds of one workload: every runner once a round, ratios to the baseline of the same round."""

    def __init__(self, title: str, baseline: str) -> None:
        self.title = title
        self.baseline = baseline
        self.rounds: list[dict[str, Run]] = []
        self.failed: dict[str, str] = {}

    def play(
        self, runners: list[Runner], rounds: int, once: Callable[[Runner], Run], cap: float = 60
    ) -> None:
        """Let every runner have its turn; one that fails, or took `cap` seconds in the first, gets no other."""
        for number in range(rounds):
            found: dict[str, Run] = {}
            for runner in runners if number % 2 == 0 else reversed(runners):
                earlier = self.rounds[0].get(runner.name) if self.rounds else None
                if runner.name in self.failed or (earlier is not None and earlier.seconds > cap):
                    continue
                run = once(runner)
                print(
                    f"  {self.title}, round {number + 1}: {runner.name} {run.seconds:.3f} s", file=sys.stderr
                )
                if run.code:
                    lines = [line.strip() for line in run.output.splitlines() if line.strip()]
                    self.failed[runner.name] = (lines[-1] if lines else f"exit {run.code}")[:120]
                else:
                    found[runner.name] = run
            self.rounds.append(found)

    def seconds(self, name: str) -> list[float]:
        return [found[name].seconds for found in self.rounds if name in found]

    def ratios(self, name: str, what: str = "seconds") -> list[float]:
        """The ratios to the baseline, round by round."""
        return [
            getattr(found[name], what) / max(getattr(found[self.baseline], what), 0.01)
            for found in self.rounds
            if name in found and self.baseline in found
        ]

    def table(self) -> str:
        """The workload as a table in Markdown, the fastest first."""
        names = {name for found in self.rounds for name in found}
        ratio = f"time × {self.baseline} | CPU × {self.baseline}"
        lines = [
            f"| {self.title} | seconds, median (least–most) | {ratio} | MiB client / server | n |",
            "|---|---|---|---|---|---|",
        ]
        for name in sorted(names, key=lambda name: statistics.median(self.ratios(name) or [1e9])):
            seconds, ratios = self.seconds(name), self.ratios(name)
            client = max(found[name].client for found in self.rounds if name in found)
            server = max(found[name].server for found in self.rounds if name in found)
            cpu = _spread(self.ratios(name, "cpu"), 2)
            times = f"{_spread(seconds, 3)} | {_spread(ratios, 2)} | {cpu}"
            lines.append(f"| {name} | {times} | {client:.0f} / {server:.0f} | {len(seconds)} |")
        lines += [
            f"| {name} | failed: {why.replace('|', '/')} | | | | |" for name, why in self.failed.items()
        ]
        return "\n".join(lines)


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return "–"
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


@contextlib.contextmanager
def bench(major: int | None, durable: bool) -> Iterator[Bench]:
    """Start a scratch server, which waits for the disk or not, and make a folder for projects."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bindir = bindir_of(major) if major else _own_bindir()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "shared_buffers": "128MB",
        "autovacuum": "off",
    }
    settings.update(_DURABLE if durable else {})
    with scratch_server(bindir, settings) as server, tempfile.TemporaryDirectory(prefix="bench-") as work:
        yield Bench(port, server.socket_dir / "data", Path(work))


def _own_bindir() -> Path:
    """The server binaries of this machine, else those of the test matrix."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else bindir_of(17)
