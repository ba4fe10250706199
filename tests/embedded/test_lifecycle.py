"""When the server starts and stops, and who may stop it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg
import pytest

from enterprise_ai.embedded import EmbeddedServer, ServerInUse
from tests.embedded.actors import Refused, as_root


@pytest.mark.usefixtures("fresh")
def test_a_fresh_folder_gives_a_durable_server_in_utf8(agents, account, root):
    agent = agents(account, fast=False)
    status = agent.lease()
    assert (status["state"], status["kept"], status["data_dir"]) == ("running", False, str(root / "data"))
    assert agent.sql(
        "select current_database(), pg_encoding_to_char(encoding), upper('é'), "
        "current_setting('fsync'), current_setting('full_page_writes'), current_setting('data_checksums'), "
        "current_setting('listen_addresses'), current_user "
        "from pg_database where datname = current_database()"
    ) == [["enterprise_ai", "UTF8", "É", "on", "on", "on", "", "postgres"]]
    agent.release()
    assert agent.status()["state"] == "stopped"


def test_a_warm_start_keeps_the_data_and_is_quick(agents, account):
    agent = agents(account)
    agent.lease()
    agent.sql("create table kept as select 42 as answer")
    agent.release()
    agent.lease()
    assert agent.seconds < 3
    assert agent.sql("select answer from kept") == [["42"]]


def test_only_the_owner_can_reach_the_files(server, root):
    with server.lease():
        assert root.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
        for folder in (root / "data", root / "s"):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert (root / "server.log").stat().st_mode & 0o777 == 0o600


def test_both_extensions_can_be_created_in_the_documented_order(server):
    with server.lease(), psycopg.connect(server.url()) as conn:
        conn.execute('create extension if not exists "uuid-ossp"')
        conn.execute('create extension if not exists "pgcrypto"')


def test_the_last_lease_out_stops_the_server(agents, account):
    first, second = agents(account), agents(account)
    pid = first.lease()["pid"]
    assert second.lease()["pid"] == pid
    assert second.seconds < 1
    first.release()
    assert second.sql("select 1") == [["1"]]
    second.release()
    assert second.status()["state"] == "stopped"


def test_leases_nest(server):
    with server.lease():
        with server.lease():
            pass
        assert server.status().running
    assert server.status().state == "stopped"


def test_a_failing_block_still_gives_the_lease_back(server):
    with pytest.raises(ZeroDivisionError), server.lease():
        raise ZeroDivisionError
    assert server.status().state == "stopped"


def test_a_started_server_stays_until_stop(agents, account):
    agent = agents(account)
    assert agent.start() is True
    assert agent.start() is False
    agent.lease()
    agent.release()
    assert (agent.status()["state"], agent.status()["kept"]) == ("running", True)
    assert agent.stop() is True
    assert agent.status()["state"] == "stopped"
    assert agent.stop() is False


def test_being_kept_ends_with_the_server_that_was_kept(server):
    server.start()
    os.kill(server.status().pid, 9)
    while server.status().running:
        time.sleep(0.005)
    with server.lease():  # found stopped, so it is left stopped
        assert not server.status().kept
    assert server.status().state == "stopped"


def test_stop_leaves_a_leased_server_to_its_last_user(agents, server):
    user = agents()
    user.lease()
    server.start()
    with pytest.raises(ServerInUse, match=r"in use \(process \d+: .*It stops when the last of them ends"):
        server.stop()
    assert user.sql("select 1") == [["1"]]
    user.release()
    assert server.status().state == "stopped"


def test_destroy_refuses_while_somebody_else_has_a_lease(agents, server):
    user = agents()
    user.lease()
    with pytest.raises(ServerInUse, match="Nothing was removed"):
        server.destroy()
    assert user.sql("select 1") == [["1"]]


def test_destroy_removes_all_of_ours_and_nothing_else(server, root):
    server.start()
    assert server.destroy() is True
    assert not root.exists()
    assert server.destroy() is False
    with server.lease():
        (root / "notes").write_text("mine")
    server.destroy()
    assert [path.name for path in root.iterdir()] == ["notes"]


@pytest.mark.usefixtures("fresh")
def test_asking_for_the_status_makes_nothing(server, root):
    assert server.status().state == "absent"
    assert server.stop() is False
    assert not root.exists()


@pytest.mark.usefixtures("fresh")
def test_six_at_once_on_a_fresh_folder_share_one_cluster(agents, account):
    crowd = [agents(account) for _ in range(6)]
    for agent in crowd:
        agent.tell("lease")
    statuses = [agent.answer() for agent in crowd]
    assert len({status["pid"] for status in statuses}) == 1
    systems = {agent.sql("select system_identifier from pg_control_system()")[0][0] for agent in crowd}
    assert len(systems) == 1
    for agent in crowd:
        agent.tell("release")
    for agent in crowd:
        agent.answer()
    assert crowd[0].status()["state"] == "stopped"


def test_starting_and_destroying_at_once_never_mixes_two_servers(agents):
    """The lock file itself is removed by a destroy: whoever waits on it must notice."""
    crowd = [agents() for _ in range(4)]
    for _ in range(3):
        for index, agent in enumerate(crowd):
            agent.tell("destroy" if index % 2 else "start")
        for agent in crowd:
            agent.answer()
    crowd[0].start()
    assert crowd[0].sql("select 1") == [["1"]]


def test_a_missing_database_is_made_once(server):
    with server.lease():
        assert server.ensure_database('odd "name"') is True
        assert server.ensure_database('odd "name"') is False
        with psycopg.connect(server.url('odd "name"')) as conn:
            assert conn.execute("select current_database()").fetchone() == ('odd "name"',)


def test_other_roles_log_in_with_a_password_and_not_without(server):
    with server.lease():
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("create role app login password 'correct horse'")
            conn.execute("create role locked login")
        url = server.url().replace("user=postgres", "user=app")
        assert psycopg.connect(url, password="correct horse").execute("select current_user").fetchone() == (
            "app",
        )
        for wrong in ({"password": "wrong"}, {"user": "locked", "password": ""}):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url, **wrong)


def test_a_moved_folder_still_works(server, root):
    with server.lease(), psycopg.connect(server.url()) as conn:
        conn.execute("create table moved as select 1 as one")
    root.rename(root.with_name("elsewhere"))
    moved = EmbeddedServer(root.with_name("elsewhere"), fast=True)
    with moved.lease(), psycopg.connect(moved.url()) as conn:
        assert conn.execute("select one from moved").fetchone() == (1,)


def test_settings_of_the_user_win_over_ours(server, root):
    with server.lease():
        pass
    with (root / "data" / "postgresql.conf").open("a") as file:
        file.write("work_mem = '7MB'\nmax_locks_per_transaction = 99\n")
    with server.lease(), psycopg.connect(server.url()) as conn:
        assert conn.execute("select current_setting('work_mem')").fetchone() == ("7MB",)
        assert conn.execute("select current_setting('max_locks_per_transaction')").fetchone() == ("99",)


def test_a_large_log_is_put_aside_at_the_next_start(server, root):
    with server.lease():
        pass
    with (root / "server.log").open("a") as log:
        log.write("x" * (11 * 1024 * 1024))
    with server.lease():
        assert (root / "server.log").stat().st_size < 100_000
    assert (root / "server.log.1").stat().st_size > 11 * 1024 * 1024


def test_a_server_left_starting_is_waited_for(agents):
    """The runner is killed in the very moment that the server starts."""
    agent, other = agents(), agents()
    agent.lease()
    agent.release()
    agent.tell("start")
    time.sleep(0.05)
    agent.kill()
    other.lease()
    assert other.sql("select 1") == [["1"]]
    other.release()
    assert other.status()["state"] == "stopped"


@as_root
def test_root_runs_the_server_as_an_unprivileged_account(agents, root):
    agent = agents()
    pid = agent.lease()["pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == (root / "data").stat().st_uid != 0
    groups = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Groups")
    ]
    assert groups == ["Groups:\t "]


@pytest.mark.usefixtures("fresh")
@as_root
def test_an_account_without_a_name_is_refused_plainly(agents):
    with pytest.raises(Refused, match=r"User number 54321 has no entry .* set DATABASE_URL"):
        agents(54321).lease()


@pytest.mark.usefixtures("fresh")
@as_root
def test_root_that_cannot_become_anybody_else_is_refused_plainly(agents):
    with pytest.raises(Refused, match=r"does not let root run a program as .*set DATABASE_URL"):
        agents(only_root=True).lease()
