"""Fixtures of the engine's tests: a server a session, an empty database and a directory of files a test.

They need only Python 3.8 and one driver: `pytest --confcutdir tests/migrate tests/migrate` runs them alone.
The server is the one of TEST_DATABASE_URL (a superuser's URL), else a scratch one: of the major TEST_PG or
--pg, else of this machine.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))
RUNNER = ROOT / "migrations" / "run_migrations.py"

from tests.servers import bindir_of, scratch_server  # noqa: E402

try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver


def connect(url):
    """Open an autocommit connection with whichever driver there is."""
    connection = driver.connect(url)
    connection.autocommit = True
    return connection


def query(url, text):
    """Run one statement and return its rows, [] when it has none."""
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


def value(url, text):
    """Return the one value of a query."""
    return query(url, text)[0][0]


def tables(url, schema="public"):
    """Name the tables of a schema, without the engine's own."""
    rows = query(
        url,
        f"select relname from pg_class where relkind in ('r', 'p') and relnamespace = '{schema}'::regnamespace "
        "and relname not like 'schema\\_migrations%' order by 1",
    )
    return [name for (name,) in rows]


def history(url):
    """Name the recorded files in the order of their ids."""
    if value(url, "select to_regclass('schema_migrations')") is None:
        return []
    return [name for (name,) in query(url, "select migration_name from schema_migrations order by id")]


class Finished:
    """How a command ended: its exit code and what it printed."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err
        self.text = out + err

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Running:
    """A command under way."""

    def __init__(self, process):
        self.process = process

    def wait(self, timeout=30):
        out, err = self.process.communicate(timeout=timeout)
        return Finished(self.process.returncode, out.decode("utf-8"), err.decode("utf-8"))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)


def _heed_signals():
    """Undo what nohup, or a shell that runs the tests in the background, has signals ignored by: it is inherited."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Project:
    """A directory of migrations, and the command line run on it against one database."""

    def __init__(self, folder, url):
        self.folder = folder
        self.url = url

    def add(self, name, text):
        data = text if isinstance(text, bytes) else text.encode("utf-8")
        path = self.folder / name
        path.write_bytes(data)
        return path

    def start(self, *arguments, url=None, environment=None):
        env = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
        env.update(DATABASE_URL=url or self.url, PYTHONIOENCODING="utf-8")
        env.update(environment or {})
        argv = [sys.executable, str(RUNNER), *arguments, "--migrations", str(self.folder)]
        return Running(
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd="/",
                preexec_fn=_heed_signals,
            )
        )

    def run(self, *arguments, **options):
        return self.start(*arguments, **options).wait()

    def migrate(self, *arguments, **options):
        return self.run("migrate", *arguments, **options)

    def ok(self, *arguments, **options):
        done = self.run(*arguments, **options)
        assert done.code == 0, done
        return done


class Place:
    """The server under test: the URLs of its databases."""

    def __init__(self, before, after, passwords):
        self._before = before
        self._after = after
        self.passwords = passwords  # host:port where every login needs its password, or None

    def url(self, database, user=None):
        after = self._after
        if user is not None:
            after = re.sub(r"([?&]user=)[^&]*", "", after)
            after += ("&" if after.startswith("?") else "?") + "user=" + user
        return self._before + database + after


def _system_bindir():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else bindir_of(17)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server(request):
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        head, mark, options = given.partition("?")
        scheme, rest = head.split("://", 1)
        yield Place("{}://{}/".format(scheme, rest.split("/")[0]), mark + options, None)
        return
    major = os.environ.get("TEST_PG") or request.config.getoption("--pg", default=None)
    bindir = bindir_of(int(major)) if major else _system_bindir()
    port = _free_port()
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "password_encryption": "scram-sha-256"}
    with scratch_server(bindir, settings) as running:
        rules = running.socket_dir / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        after = f"?host={running.socket_dir}&port={port}&user=postgres"
        place = Place("postgresql:///", after, f"127.0.0.1:{port}")
        query(place.url("postgres"), "select pg_reload_conf()")
        yield place


@pytest.fixture(scope="session")
def version(server):
    """The major of the server under test."""
    return int(value(server.url("postgres"), "select current_setting('server_version_num')::int / 10000"))


def drop_database(server, name):
    query(
        server.url("postgres"),
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'",
    )
    wait_until(
        lambda: (
            not value(
                server.url("postgres"),
                f"select count(*) from pg_stat_activity where datname = '{name}'",
            )
        )
    )
    query(server.url("postgres"), "drop database " + name)


@pytest.fixture
def url(server, version):
    """The URL of an empty database, as superuser."""
    name = "m_" + uuid.uuid4().hex[:12]
    strategy = "strategy file_copy" if version >= 15 else ""  # quicker than logging the pages
    query(server.url("postgres"), f"create database {name} template template0 encoding 'UTF8' {strategy}")
    yield server.url(name)
    drop_database(server, name)


@pytest.fixture
def login(server, url):
    """Make a login that is not a superuser and return its URL for the test's database."""
    made = []

    def make(*grants, password=None):
        name = "pw_" + uuid.uuid4().hex[:8]
        secret = f" password '{password}'" if password else ""
        query(server.url("postgres"), f"create role {name} login{secret}")
        made.append(name)
        for grant in grants:
            query(url, grant.format(name))
        return name, server.url(value(url, "select current_database()"), name)

    yield make
    for name in made:
        query(url, f"drop owned by {name} cascade")
        query(url, f"drop role {name}")


@pytest.fixture
def project(tmp_path, url):
    """An empty directory of migrations for the test's database."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    return Project(folder, url)


def wait_until(condition, seconds=15):
    """Wait until a condition holds; fail the test when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def sleeping(url, mark):
    """Tell whether a backend sleeps in a statement that holds this mark."""
    return bool(
        query(
            url,
            f"select 1 from pg_stat_activity where wait_event = 'PgSleep' and query like '%{mark}%' "
            "and pid <> pg_backend_pid()",
        )
    )
