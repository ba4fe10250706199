"""What is promised of connections besides passwords: IPv6, TLS, and a Python without a driver."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

import pytest

from enterprise_ai.migrate import UsageError, libpq
from tests.migrate.conftest import Project, bindir_of, query, scratch_server, tables, value, wait_until
from tests.migrate.conftest import _free_port as free_port
from tests.migrate.conftest import _system_bindir as system_bindir


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def listening(request):
    """A server that listens on IPv4 and, where the machine has it, on IPv6, and has a certificate for localhost."""
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("this test makes a server of its own")
    major = os.environ.get("TEST_PG") or request.config.getoption("--pg", default=None)
    port = free_port()
    addresses = "127.0.0.1, ::1" if _has_ipv6() else "127.0.0.1"
    settings = {"listen_addresses": addresses, "port": str(port)}
    with scratch_server(bindir_of(int(major)) if major else system_bindir(), settings) as running:
        rules = running.socket_dir / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n")
        query(running.url(), "select pg_reload_conf()")
        yield running


@pytest.fixture
def files(tmp_path, listening):
    folder = tmp_path / "migrations"
    folder.mkdir()
    made = Project(folder, listening.url())
    made.add("001_a.sql", "create table a (id int);\n")
    yield made
    query(listening.url(), "drop schema public cascade; create schema public")


@pytest.mark.parametrize(
    "url", ["postgresql://postgres@[::1]:{}/postgres", "host=::1 port={} user=postgres dbname=postgres"]
)
def test_ipv6_works(files, listening, url):
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    done = files.ok("migrate", "--json", url=url.format(listening.port))
    assert "::1" in done.json["database"]
    assert tables(files.url) == ["a"]


@pytest.fixture
def certificate(listening, tmp_path):
    """Give the server a certificate that signs itself; return its path."""
    if shutil.which("openssl") is None or value(listening.url(), "show ssl_library") != "OpenSSL":
        pytest.skip("needs OpenSSL here and in the server")
    data = listening.socket_dir / "data"
    key, made = tmp_path / "server.key", tmp_path / "server.crt"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {made}".split(),
        check=True,
        capture_output=True,
    )
    for path in (key, made):
        copy = data / path.name
        shutil.copyfile(str(path), str(copy))
        os.chown(str(copy), data.stat().st_uid, data.stat().st_gid)
        copy.chmod(0o600)
    query(listening.url(), "alter system set ssl = on")
    query(listening.url(), "select pg_reload_conf()")
    url = f"postgresql://postgres@127.0.0.1:{listening.port}/postgres?sslmode=prefer"
    wait_until(lambda: value(url, "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()") == "true")
    yield made
    query(listening.url(), "alter system reset ssl")
    query(listening.url(), "select pg_reload_conf()")


def test_tls_is_used_and_verified_as_the_url_says(files, listening, certificate, tmp_path):
    start = f"postgresql://postgres@localhost:{listening.port}/postgres?hostaddr=127.0.0.1"
    shown = "do $$ begin raise notice 'tls %', (select ssl from pg_stat_ssl where pid = pg_backend_pid()); end $$;\n"
    files.add("001_a.sql", shown)
    done = files.ok("migrate", url=f"{start}&sslmode=verify-full&sslrootcert={certificate}")
    assert "NOTICE: tls t" in done.err
    files.add("002_b.sql", shown)
    assert "NOTICE: tls f" in files.ok("migrate", url=start + "&sslmode=disable").err
    data = "".join(f"{number}\t{'x' * 100}\n" for number in range(50000))
    files.add("003_c.sql", "create table c (id int, note text);\ncopy c from stdin;\n" + data + "\\.\n")
    files.ok("migrate", url=start + "&sslmode=require")
    assert value(files.url, "select count(*) from c") == 50000
    files.add("004_d.sql", "create table d (id int);\n")
    missing = files.migrate(url=f"{start}&sslmode=verify-full&sslrootcert={tmp_path}/nope.crt")
    assert missing.code == 4, missing
    wrong = f"postgresql://postgres@example.org:{listening.port}/postgres?hostaddr=127.0.0.1"
    other_name = files.migrate(url=f"{wrong}&sslmode=verify-full&sslrootcert={certificate}")
    assert other_name.code == 4, other_name
    assert "Traceback" not in missing.err + other_name.err
    assert tables(files.url) == ["c"]


def test_a_python_without_a_driver_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(libpq, "_candidates", lambda: iter(["/nowhere/libpq.so"]))
    with pytest.raises(UsageError) as caught:
        libpq._open()
    assert "pip install psycopg2-binary" in caught.value.advice
