"""What is promised when a run is cut short: signals, kill -9, lost connections, servers that go away."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.migrate.conftest import history, query, sleeping, tables, value, wait_until


def slow(project):
    project.add("001_a.sql", "create table a (id int);\n")
    project.add(
        "002_b.sql", "create table b (id int);\nselect pg_sleep(20), 'mark-2';\ncreate table c (id int);\n"
    )


def backends(url):
    return value(
        url,
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and backend_type = 'client backend'",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_statement_and_leaves_nothing(project, number):
    slow(project)
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-2"))
    before = time.monotonic()
    running.signal(number)
    done = running.wait()
    assert time.monotonic() - before < 5
    assert done.code == 128 + number
    assert "Traceback" not in done.err
    assert f"stopped by {signal.Signals(number).name}" in done.err
    wait_until(lambda: backends(project.url) == 0)
    assert tables(project.url) == ["a"]
    assert history(project.url) == ["001_a.sql"]


def test_a_signal_while_waiting_for_the_lock_ends_the_wait(project):
    slow(project)
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-2"))
    second = project.start("migrate")
    second.process.stderr.readline()
    second.signal(signal.SIGTERM)
    assert second.wait(5).code == 143
    first.signal(signal.SIGINT)
    first.wait()


def test_a_signal_during_connect_ends_the_process_quietly(project):
    slow(project)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        running = project.start("status", url=f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d")
        peer, _ = silent.accept()
        running.signal(signal.SIGINT)
        done = running.wait(5)
        peer.close()
    assert done.code in (-signal.SIGINT, 130)
    assert "Traceback" not in done.err


def test_after_kill_9_the_next_run_just_works(project):
    # The server notices that nobody is there only when the statement ends, so that is not far off.
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\nselect pg_sleep(2), 'mark-2';\n")
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-2"))
    running.kill()
    running.wait()
    project.add("002_b.sql", "create table b (id int);\n")
    project.ok("migrate")
    assert tables(project.url) == ["a", "b"]
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


def test_a_backend_that_is_ended_leaves_nothing_and_is_reported(project):
    slow(project)
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-2"))
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and query like '%mark-2%'",
    )
    done = running.wait()
    assert done.code == 1
    assert "the connection was lost while 002_b.sql ran" in done.err
    assert "othing of 002_b.sql stays" in done.err
    assert history(project.url) == ["001_a.sql"]


def test_a_session_that_is_ended_while_it_waits_for_another_runner_is_reported(project):
    slow(project)
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-2"))
    second = project.start("migrate")
    second.process.stderr.readline()
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
        "and pid <> pg_backend_pid() and application_name = 'enterprise-ai migrate' and wait_event <> 'PgSleep'",
    )
    done = second.wait()
    assert done.code == 4
    assert "Traceback" not in done.err
    assert "Run again." in done.err
    first.signal(signal.SIGINT)
    first.wait()


class Proxy:
    """Stands between runner and server, and cuts every connection when a COMMIT comes by."""

    def __init__(self, server_address, forward_commit):
        self._server = server_address
        self._forward = forward_commit
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(20)
        self.port = self._listener.getsockname()[1]
        self.cuts = 0
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET)
            server.connect(self._server)
            self._open += [client, server]
            threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client, server):
        while True:
            data = self._read(client)
            if not data:
                break
            # The engine's last message of a file, with its record and COMMIT, is the only one that begins so.
            if data[5:20] == b"set constraints" and not self.cuts:
                self.cuts += 1
                doomed, self._open = self._open, []
                for one in doomed:
                    if one is not server:
                        self._shut(one)
                if self._forward:
                    server.sendall(data)
                    time.sleep(0.3)
                for one in doomed:
                    self._shut(one)
                return
            try:
                server.sendall(data)
            except OSError:
                break
        self._shut(server)

    def _to_client(self, server, client):
        while True:
            data = self._read(server)
            if not data:
                break
            try:
                client.sendall(data)
            except OSError:
                break
        self._shut(client)

    @staticmethod
    def _read(source):
        try:
            return source.recv(65536)
        except OSError:
            return b""

    @staticmethod
    def _shut(one):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.fixture
def through_proxy(project, server):
    """Make a proxy in front of the server, and the URL that leads through it."""
    made = []

    def make(forward_commit):
        host, port = query(
            project.url,
            "select split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')",
        )[0]
        address = f"{host}/.s.PGSQL.{port}"
        if not Path(address).exists():
            pytest.skip("the server's socket is not on this machine")
        made.append(Proxy(address, forward_commit))
        database = value(project.url, "select current_database()")
        return made[-1], f"postgresql://postgres@127.0.0.1:{made[-1].port}/{database}?sslmode=disable"

    yield make
    for proxy in made:
        proxy.close()


def test_a_commit_whose_answer_is_lost_is_reported_as_what_it_is(project, through_proxy):
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    proxy, url = through_proxy(forward_commit=True)
    done = project.migrate(url=url)
    assert proxy.cuts == 1
    assert done.code == 0, done
    assert "asking the server what became of it" in done.err
    assert "001_a.sql is committed; only the server's answer was lost" in done.err
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


def test_a_commit_that_never_arrived_is_reported_as_what_it_is(project, through_proxy):
    project.add("001_a.sql", "create table a (id int);\n")
    proxy, url = through_proxy(forward_commit=False)
    done = project.migrate(url=url)
    assert proxy.cuts == 1
    assert done.code == 1, done
    assert "the server rolled it back" in done.err
    assert history(project.url) == []
    project.ok("migrate", url=url)


def test_a_read_only_server_is_refused_before_anything_runs(project):
    name = value(project.url, "select current_database()")
    query(project.url, f'alter database "{name}" set default_transaction_read_only = on')
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.migrate()
    assert done.code == 1
    assert "read-only" in done.err
    assert "target_session_attrs=read-write" in done.err
    assert "0 applied, 1 pending" in project.ok("status").out


def test_a_pending_server_is_waited_for(project):
    project.add("001_a.sql", "create table a (id int);\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = time.monotonic()
    done = project.migrate("--wait", "1", url=f"postgresql://u@127.0.0.1:{port}/d")
    assert done.code == 4
    assert 1 <= time.monotonic() - before < 5
    assert "waiting up to 1 s for the server" in done.err


SLOW_COPY = (
    "create table t (id int, note text);\n"
    "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$;\n"
    "create trigger slow before insert on t for each row execute function slow();\n"
    "copy t from stdin;\n" + "".join(f"{number}\t{'x' * 500}\n" for number in range(5000)) + "\\.\n"
)


@pytest.mark.parametrize(
    "text",
    [SLOW_COPY, "copy (select pg_sleep(0.01), n from generate_series(1, 3000) as n) to stdout;\n"],
    ids=["from stdin", "to stdout"],
)
def test_a_signal_ends_a_copy_under_way(project, text):
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", text)
    running = project.start("migrate")
    wait_until(
        lambda: query(
            project.url,
            "select 1 from pg_stat_activity where query like '%copy %' and pid <> pg_backend_pid()",
        )
    )
    time.sleep(0.5)
    before = time.monotonic()
    running.signal(signal.SIGTERM)
    done = running.wait()
    assert time.monotonic() - before < 5
    assert done.code == 128 + signal.SIGTERM, done
    assert "Nothing of 002_b.sql stays" in done.err
    assert tables(project.url) == ["a"]
    active = (
        "select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    wait_until(lambda: not query(project.url, active))


def test_notices_and_an_early_error_of_a_copy_do_not_hold_it_up(project):
    """The server sends while it is sent to: whoever only sends would wait for ever."""
    project.add(
        "001_a.sql",
        "create table t (id int);\n"
        "create function loud() returns trigger language plpgsql as "
        "$$ begin raise notice '%', repeat('x', 2000); return new; end $$;\n"
        "create trigger loud before insert on t for each row execute function loud();\n"
        "copy t from stdin;\n" + "1\n" * 5000 + "\\.\n",
    )
    assert project.ok("migrate").err.count("NOTICE") == 5000
    assert value(project.url, "select count(*) from t") == 5000
    project.add("002_b.sql", "copy t (id) from stdin;\nbad\n" + "1\n" * 500000 + "\\.\n")
    done = project.migrate()
    assert done.code == 1
    assert "002_b.sql:2:1\n    bad\n" in done.err
