"""What is promised of connections and secrets: what psql takes we take, and no part of a password is printed."""

from __future__ import annotations

import socket

import pytest

from enterprise_ai.migrate.connection import Connection
from enterprise_ai.migrate.target import Target
from tests.migrate.conftest import value

PASSWORD = "Sn8wfl4ke/Z0rr0@Quux#Blorp%41:Fnord"
PIECES = ("Sn8wfl4ke", "Z0rr0", "Quux", "Blorp", "Fnord")
ENCODED = "Sn8wfl4ke%2FZ0rr0%40Quux%23Blorp%2541%3AFnord"


@pytest.fixture
def account(project, server, login):
    """A login that needs its password: its name, the server's host:port and the database."""
    if server.passwords is None:
        pytest.skip("needs a server that asks for passwords")
    project.add("001_a.sql", "create table a (id int);\n")
    name, _ = login("grant create on schema public to {}", password=PASSWORD)
    return name, server.passwords, value(project.url, "select current_database()")


def silent(done):
    for piece in PIECES:
        assert piece not in done.text, piece
    assert "Traceback" not in done.err
    return done


def test_an_encoded_password_works(project, account):
    name, host, database = account
    silent(project.ok("migrate", "--json", url=f"postgresql://{name}:{ENCODED}@{host}/{database}"))


def test_key_value_strings_work(project, account):
    name, host, database = account
    address, port = host.split(":")
    url = f"host={address} port={port} dbname={database} user={name} password='{PASSWORD}'"
    silent(project.ok("status", url=url))


def test_pgpassword_and_pgpass_work(project, account, tmp_path):
    name, host, database = account
    url = f"postgresql://{name}@{host}/{database}"
    silent(project.ok("status", url=url, environment={"PGPASSWORD": PASSWORD}))
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:{}\n".format(PASSWORD.replace(":", "\\:")))
    file.chmod(0o600)
    silent(project.ok("status", url=url, environment={"PGPASSFILE": str(file)}))


def test_pg_variables_without_a_url_work(project, account):
    name, host, database = account
    address, port = host.split(":")
    running = project.start(
        "status",
        environment={
            "DATABASE_URL": "",
            "PGHOST": address,
            "PGPORT": port,
            "PGDATABASE": database,
            "PGUSER": name,
            "PGPASSWORD": PASSWORD,
        },
    )
    silent(running.wait())
    assert running.process.returncode == 0


def test_a_service_file_works(project, account, tmp_path):
    name, host, database = account
    address, port = host.split(":")
    file = tmp_path / "services"
    file.write_text(f"[here]\nhost={address}\nport={port}\ndbname={database}\nuser={name}\n")
    environment = {"PGSERVICEFILE": str(file), "PGPASSWORD": PASSWORD}
    silent(project.ok("status", url="service=here", environment=environment))
    silent(project.ok("status", environment=dict(environment, PGSERVICE="here", DATABASE_URL="")))


def test_several_hosts_work(project, account):
    name, host, database = account
    url = f"postgresql://{name}:{ENCODED}@127.0.0.1:1,{host}/{database}"
    silent(project.ok("status", url=url))


@pytest.mark.parametrize("command", ["migrate", "status"])
def test_an_unencoded_password_gets_a_hint_and_is_not_printed(project, account, command):
    name, host, database = account
    for password in (
        PASSWORD,
        "Sn8wfl4ke@Quux",
        "Sn8wfl4ke/Quux",
        "Sn8wfl4ke%Quux",
        "Sn8wfl4ke%zzQuux",
        "a@b/Quux@Fnord",
    ):
        done = silent(project.run(command, "--json", url=f"postgresql://{name}:{password}@{host}/{database}"))
        assert done.code == 4, done
        assert "ercent-encode" in done.err


def test_a_wrong_password_is_not_printed(project, account):
    name, host, database = account
    done = silent(project.migrate(url=f"postgresql://{name}:{ENCODED}x@{host}/{database}"))
    assert done.code == 4
    assert "password authentication failed" in done.err


def test_debug_prints_a_traceback_without_secrets(project, account):
    name, host, database = account
    done = project.migrate("--debug", url=f"postgresql://{name}:{ENCODED}x@{host}/{database}")
    assert "Traceback" in done.err
    for piece in PIECES:
        assert piece not in done.text


@pytest.mark.parametrize(
    "text",
    [
        "password=Sn8wfl4ke Quux=1",
        "password='Sn8wfl4ke",
        "host=x password=Sn8wfl4ke Quux",
        "pasword=Sn8wfl4ke",
    ],
)
def test_a_bad_key_value_string_is_not_quoted(project, text):
    done = silent(project.run("status", url=text))
    assert done.code == 4


@pytest.mark.parametrize("scheme", ["postgresql+psycopg2", "mysql", "jdbc:postgresql"])
def test_a_url_of_another_kind_is_refused_without_quoting_it(project, scheme):
    done = silent(project.run("status", url=f"{scheme}://u:Sn8wfl4ke@h/d"))
    assert done.code == 4
    assert "postgresql://" in done.err


def test_a_server_that_is_not_there(project):
    project.add("001_a.sql", "create table a (id int);\n")
    done = silent(project.migrate(url="postgresql://u:Sn8wfl4ke@127.0.0.1:1/d"))
    assert done.code == 4
    assert "127.0.0.1:1/d as u" in done.err
    assert "--wait SECONDS" in done.err


def test_a_database_that_does_not_exist(project, account):
    name, host, _ = account
    done = silent(project.migrate(url=f"postgresql://{name}:{ENCODED}@{host}/nope"))
    assert done.code == 4
    assert "createdb" in done.err


@pytest.mark.parametrize(
    "url", ["u:Sn8wfl4ke@h/d", "postgresql:/u:Sn8wfl4ke@h/d", "u:Sn8wfl4ke", " u:Sn8wfl4ke@h\n"]
)
def test_a_url_without_its_head_is_no_name_of_a_database(project, url):
    project.add("001_a.sql", "select 1;\n")
    for command in ("status", "migrate"):
        done = silent(project.run(command, "--json", url=url))
        assert done.code == 4, done
        assert "must start with postgresql://" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["status", "{}"],
        ["{}", "status"],
        ["rollback", "{}"],
        ["migrate", "--target", "{}"],
        ["migrate", "--lock-timeout", "{}"],
        ["migrate", "--each", "{}"],
    ],
)
def test_a_url_in_the_wrong_place_is_not_printed(project, words):
    project.add("001_a.sql", "select 1;\n")
    for url in ("postgresql://u:Sn8wfl4ke@h/d", "u:Sn8wfl4ke@h", "host=h password=Sn8wfl4ke"):
        done = silent(project.run(*[word.format(url) for word in words], "--json"))
        assert done.code == 2, done


def test_an_empty_url_is_refused_and_not_passed_over(project):
    """A variable that is not set would mean whichever database is found next."""
    project.add("001_a.sql", "create table a (id int);\n")
    for word in ("--database-url=", "--database-url= "):
        done = project.migrate(word)
        assert done.code == 2, done
        assert "--database-url needs URL" in done.err
    assert "schema_migrations" not in str(value(project.url, "select array_agg(relname) from pg_class"))


def test_white_space_around_a_url_is_passed_over(project):
    project.add("001_a.sql", "select 1;\n")
    project.ok("migrate", url=project.url + "\n")
    project.ok("status", "--check", "--database-url", project.url + " ")


def test_no_secret_is_among_the_arguments_of_pg_dump(project, tmp_path):
    program, said = tmp_path / "pg_dump", tmp_path / "said"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99" && exit\n'
        f'echo "$@" >> {said}; exit 1\n'
    )
    program.chmod(0o755)
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    project.add("002_b.sql", "create table b (id int);\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    for secret in ("password", "sslpassword"):
        done = silent(project.ok("plan", url=f"{project.url}&{secret}=Sn8wfl4ke", environment=environment))
        assert "built anew from the applied migrations" in done.out
    assert "dbname=" in said.read_text()  # the first one was asked
    assert "Sn8wfl4ke" not in said.read_text()


def test_keepalives_are_on_unless_the_url_says_otherwise(project, account):
    name, host, database = account
    for options, idle in (("", 30), ("?keepalives_idle=77", 77)):
        connection = Connection(Target(f"postgresql://{name}:{ENCODED}@{host}/{database}{options}"))
        try:
            with socket.fromfd(
                connection._library.PQsocket(connection._handle), socket.AF_INET, socket.SOCK_STREAM
            ) as line:
                assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
        finally:
            connection.close()


def test_a_login_without_a_free_connection_is_told_how_many_a_run_needs(project, login):
    _, url = login("grant all on schema public to {}", "alter role {} connection limit 2")
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.migrate(url=url)
    assert done.code == 4, done
    assert "three connections" in done.err
    assert value(project.url, "select to_regclass('a')") is None
