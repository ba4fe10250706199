"""A real PgBouncer in front of the server under test."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.migrate.conftest import ROOT, driver, query

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
pidfile = {folder}/pid
"""


def program():
    """The words that run PgBouncer, brought by the project's own tool where it is missing."""
    tool = ROOT / "tools" / "pgbouncer.py"
    done = subprocess.run([sys.executable, str(tool)], capture_output=True, check=False)
    if done.returncode:
        # CI must have it; elsewhere it is brought where apt is at hand.
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("PgBouncer is needed for this test: " + done.stderr.decode())
    return done.stdout.decode().split()


@contextlib.contextmanager
def pooler_before(server, mode, size, user=None):
    """Run a PgBouncer; give the function that turns a database's name into the URL through it, as the user if named."""
    host, port, myself = query(
        server.url("postgres"),
        "select split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_user",
    )[0]
    user = user or myself
    if not Path(f"{host}/.s.PGSQL.{port}").exists():
        pytest.skip("the server's socket is not on this machine")
    folder = Path(tempfile.mkdtemp(prefix="eai-pooler-", dir="/tmp"))
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(host=host, port=port, user=user, folder=folder, mode=mode, size=size)
    )
    account = None
    if getpass.getuser() == "root":  # as which it refuses to run
        account = next(entry for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
        os.chown(str(folder), account.pw_uid, account.pw_gid)
        folder.chmod(0o711)

    def become():
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    process = subprocess.Popen(
        [*program(), "-q", str(configuration)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=become if account else None,
    )
    url = "postgresql:///{}?host=" + str(folder) + "&port=6432&user=" + user
    try:
        _wait_for(url.format("postgres"), process, folder / "log")
        yield url.format
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(str(folder), ignore_errors=True)


def _wait_for(url, process, log):
    """Wait until a query comes through: the pooler listens before it has a session of the server to give."""
    deadline = time.monotonic() + 30
    while not _answers(url):
        assert process.poll() is None, log.read_text() if log.exists() else "PgBouncer did not start"
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _answers(url):
    try:
        query(url, "select 1")
    except driver.Error:
        return False
    return True
