"""What a killed process, a full disk or a damaged pid file leave behind, and that the next run copes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from enterprise_ai.embedded import EmbeddedError, EmbeddedServer, lifecycle
from tests.disks import small_disk
from tests.embedded.actors import Refused, as_root

BUSY = """
    do $$
    declare t timestamptz := clock_timestamp() + interval '{seconds} s';
    begin while clock_timestamp() < t loop end loop; end $$
"""


def kill_server(agent) -> int:
    """Kill the postmaster at once, as the kernel does when memory runs out, and see it gone."""
    pid = agent.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    while agent.status()["state"] == "running":
        time.sleep(0.005)
    return pid


def server_uid(root: Path) -> int:
    return (root / "data").stat().st_uid


def test_the_server_of_a_killed_runner_is_taken_over_and_then_stopped(agents, account):
    killed, heir = agents(account), agents(account)
    pid = killed.lease()["pid"]
    killed.kill()
    assert heir.lease()["pid"] == pid
    heir.release()
    assert heir.status()["state"] == "stopped"


@pytest.mark.usefixtures("fresh")
def test_a_killed_initdb_leaves_no_cluster_behind(agents, root):
    killed, heir = agents(), agents()
    killed.tell("lease")
    while not (root / "data.new").exists():
        time.sleep(0.001)
    time.sleep(0.2)
    assert not (root / "data").exists()
    killed.kill()
    heir.lease()
    assert heir.sql("select current_database()") == [["enterprise_ai"]]
    assert not (root / "data.new").exists()


def test_a_killed_postmaster_is_replaced_and_its_transaction_undone(agents, account):
    agent, heir = agents(account, fast=False), agents(account, fast=False)
    agent.lease()
    agent.sql("create table t (n int)")
    agent.sql("insert into t values (1)")
    agent.send("begin; insert into t values (2); select pg_sleep(60)")
    time.sleep(0.3)
    kill_server(agent)
    heir.lease()
    assert heir.sql("select n from t") == [["1"]]


def test_a_busy_orphan_is_waited_for_and_never_doubled(agents, account):
    """A backend in the middle of a computation notices its postmaster's death only when it is done."""
    agent, heir = agents(account), agents(account)
    agent.lease()
    agent.sql("create table t (n int)")
    agent.send(BUSY.format(seconds=2.5) + "; insert into t values (1)")
    time.sleep(0.5)
    kill_server(agent)
    heir.lease()
    assert 1 < heir.seconds < 20
    assert heir.sql("select count(*) from t") in (
        [["0"]],
        [["1"]],
    )  # both are honest: it ran on without its server


def test_an_orphan_that_does_not_end_is_named(agents, server, root, monkeypatch):
    agent = agents()
    agent.lease()
    backend = agent.send(BUSY.format(seconds=60))
    time.sleep(0.3)
    kill_server(agent)
    agent.kill()
    monkeypatch.setattr(lifecycle, "ORPHAN_WAIT", 0.3)
    monkeypatch.setattr(lifecycle, "ANSWER_WAIT", 0.3)
    assert server.status().state == "orphaned"
    with (
        pytest.raises(
            EmbeddedError,
            match=rf"(?s)processes of it still run \(.*process {backend}: postgres.*Last lines of",
        ),
        server.lease(),
    ):
        pass
    for refused in (server.stop, server.destroy):
        with pytest.raises(EmbeddedError, match="Nothing was started or stopped"):
            refused()
    assert (root / "data" / "PG_VERSION").exists()
    os.kill(backend, signal.SIGKILL)
    with server.lease():
        assert server.status().running


def test_the_pid_file_removed_by_hand_does_not_let_a_second_server_in(agents, server, root, monkeypatch):
    agent = agents()
    pid = agent.lease()["pid"]
    (root / "data" / "postmaster.pid").unlink()
    monkeypatch.setattr(lifecycle, "ANSWER_WAIT", 0.5)
    with pytest.raises(EmbeddedError, match="Nothing was started"), server.lease():
        pass
    assert agent.sql("select 1") == [["1"]]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs Linux: orphans are given to the agent, which never reaps"
)
def test_a_killed_postmaster_that_stays_a_zombie_is_no_obstacle(agents, account):
    agent, heir = agents(account, never_reap=True), agents(account)
    agent.lease()
    zombie = kill_server(agent)
    deadline = time.monotonic() + 5
    while ") Z " not in Path(f"/proc/{zombie}/stat").read_text():
        assert time.monotonic() < deadline
    heir.lease()
    assert Path(f"/proc/{zombie}").exists()
    assert heir.sql("select 1") == [["1"]]


def test_a_process_number_used_again_by_a_stranger_is_no_obstacle(agents, server, root):
    agent = agents()
    agent.lease()
    kill_server(agent)
    agent.kill()
    time.sleep(0.5)
    who = {"user": server_uid(root)} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], **who) as stranger, ExitStack() as at_end:
        at_end.callback(stranger.kill)
        _rewrite_first_line(root / "data" / "postmaster.pid", str(stranger.pid))
        _rewrite_first_line(root / "s" / ".s.PGSQL.5432.lock", str(stranger.pid))
        with server.lease():
            assert server.status().pid != stranger.pid
        _rewrite_first_line(root / "data" / "postmaster.pid", str(stranger.pid))
        assert server.stop() is False
        server.destroy()
        assert stranger.poll() is None  # nobody ever signalled it


def _rewrite_first_line(path: Path, first: str) -> None:
    lines = path.read_text().split("\n") if path.exists() else [""]
    path.write_text("\n".join([first, *lines[1:]]))
    os.chown(path, path.parent.stat().st_uid, path.parent.stat().st_gid)


@pytest.mark.parametrize("garbage", [b"\x00\xffgarbage\n", b"", b"-1\n", b"not a number\n/somewhere\n"])
def test_a_garbage_pid_file_is_no_obstacle(server, root, garbage):
    with server.lease():
        pass
    (root / "data" / "postmaster.pid").write_bytes(garbage)
    os.chown(root / "data" / "postmaster.pid", server_uid(root), -1)
    with server.lease():
        assert server.status().running


def test_stop_and_destroy_never_touch_another_server(server, root, place, agents):
    foreign = agents(at=place / "foreign")
    pid = foreign.lease()["pid"]
    with server.lease():
        pass
    (root / "data" / "postmaster.pid").write_text((place / "foreign" / "data" / "postmaster.pid").read_text())
    assert server.status().state == "stopped"
    assert server.stop() is False
    server.destroy()
    assert foreign.sql("select 1") == [["1"]]
    assert foreign.status()["pid"] == pid


def test_a_start_that_fails_shows_the_last_lines_of_the_log(server, root):
    with server.lease():
        pass
    with (root / "data" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(
        EmbeddedError, match=r"(?s)did not start.*Last lines of .*unrecognized.*no_such_setting"
    ):
        server.start()
    assert server.status().state == "stopped"


@pytest.fixture
def disk(place: Path):
    """A file system of its own that is soon full, and what makes it larger."""
    disk = place / "disk"
    disk.mkdir()
    with small_disk(disk, "100m") as resize:
        yield disk, lambda: resize("400m")
        resize("400m")
        EmbeddedServer(disk / "pg").destroy()


def fill(disk: Path) -> None:
    """Take every byte that is left."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)


@pytest.mark.usefixtures("fresh")
@as_root
def test_a_full_disk_is_said_and_loses_nothing(disk, agents):
    disk, enlarge = disk
    agent, heir = agents(at=disk / "pg", fast=False), agents(at=disk / "pg", fast=False)
    agent.lease()
    agent.sql("create table t as select 1 as n")
    with pytest.raises(
        Refused, match=r"No space left on device|server closed the connection|in recovery mode"
    ):
        agent.sql("create table filler as select repeat('x', 1000) from generate_series(1, 200000)")
    with pytest.raises(OSError, match="No space left"):
        fill(disk)
    pid = agent.status()["pid"]
    if pid:  # it may have given up by itself
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(Refused, match=r"No space left on device|kB are free on the disk"):
        heir.lease()
    enlarge()
    heir.lease()
    assert heir.sql("select n, to_regclass('filler') is null from t") == [["1", "True"]]


@pytest.mark.usefixtures("fresh")
@as_root
def test_a_disk_too_small_for_a_cluster_leaves_none(disk, agents):
    disk, enlarge = disk
    (disk / "ballast").write_bytes(b"x" * 80 * 1024 * 1024)
    agent = agents(at=disk / "pg")
    with pytest.raises(Refused, match=r"(?s)nothing was left.*(No space left on device|kB are free)"):
        agent.lease()
    assert not (disk / "pg" / "data").exists()
    assert not (disk / "pg" / "data.new").exists()
    enlarge()
    assert agent.lease()["state"] == "running"


@as_root
def test_a_server_in_another_container_is_not_doubled(agents, root):
    """The two see neither each other's processes nor each other's shared memory, only the same folder."""
    inside, outside = agents(own_pids=True), agents()
    inside.lease()
    inside.sql("create table t as select 1 as n")
    with pytest.raises(Refused, match="another container"):
        outside.lease()
    assert inside.sql("select n from t") == [["1"]]
    inside.release()
    outside.lease()
    assert outside.sql("select n from t") == [["1"]]


@pytest.mark.usefixtures("fresh")
@as_root
def test_without_a_process_list_it_says_so(agents):
    with pytest.raises(Refused, match=r"/proc is not mounted.*set DATABASE_URL"):
        agents(hide=["/proc"]).lease()
