"""The stand-in for uuid-ossp gives what the real extension gives."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack

import psycopg
import pytest

from enterprise_ai.embedded import EmbeddedServer
from enterprise_ai.embedded.overlay import SHIMS
from tests.embedded.conftest import new_folder

SCRIPT = "\n".join((SHIMS / "uuid-ossp--1.1.sql").read_text().split("\n")[1:])  # without the line for psql
NAMES = [
    "",
    "a",
    "www.example.org",
    "é",
    "日本語",
    "'quoted'",
    *("x" * length for length in (38, 39, 40, 46, 47, 48, 111, 5000)),
]


@pytest.fixture(scope="module")
def conn():
    """The stand-in's functions, in a schema of their own, beside the real extension."""
    folder = new_folder("shim")
    server = EmbeddedServer(folder / "pg", fast=True)
    with ExitStack() as at_end:
        at_end.callback(folder.rmdir)
        at_end.callback(server.destroy)
        at_end.enter_context(server.lease())
        conn = at_end.enter_context(psycopg.connect(server.url(), autocommit=True))
        if conn.info.server_version < 130000:
            pytest.skip("the stand-in is for the wheel's server; it asks for 13 or newer")
        conn.execute('create extension "uuid-ossp" schema public')
        conn.execute("create schema shim")
        conn.execute("set search_path = shim")
        conn.execute(SCRIPT)
        conn.execute("set search_path = public")
        yield conn


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{len(name)}-{name[:8]}")
@pytest.mark.parametrize("version", [3, 5])
def test_named_values_equal_the_standard_and_the_real_extension(conn, version, name):
    make = {3: uuid.uuid3, 5: uuid.uuid5}[version]
    for space in ("dns", "url", "oid", "x500"):
        shim, public = conn.execute(
            f"select shim.uuid_generate_v{version}(shim.uuid_ns_{space}(), %(name)s), "
            f"public.uuid_generate_v{version}(public.uuid_ns_{space}(), %(name)s)",
            {"name": name},
        ).fetchone()
        assert shim == public == make(getattr(uuid, f"NAMESPACE_{space.upper()}"), name)


def test_it_has_the_real_extensions_functions_and_no_others(conn):
    def functions(schema):
        return conn.execute(
            "select proname, pg_get_function_arguments(oid), prorettype::regtype::text, "
            "provolatile, proisstrict, proparallel "
            "from pg_proc where pronamespace = %s::regnamespace and proname like 'uuid%%' order by 1",
            [schema],
        ).fetchall()

    assert functions("shim") == functions("public")


def test_constants_are_equal(conn):
    for name in ("nil", "ns_dns", "ns_url", "ns_oid", "ns_x500"):
        assert conn.execute(f"select shim.uuid_{name}() = public.uuid_{name}()").fetchone() == (True,)


@pytest.mark.parametrize("function", ["uuid_generate_v1", "uuid_generate_v1mc"])
def test_time_based_values_tell_the_time_and_no_address(conn, function):
    values = [conn.execute(f"select shim.{function}()").fetchone()[0] for _ in range(20)]
    assert len(set(values)) == 20
    for value in values:
        assert (value.version, value.variant) == (1, uuid.RFC_4122)
        assert value.node >> 40 & 1  # multicast: no network card has it
        assert abs(value.time / 1e7 - 12219292800 - time.time()) < 60


def test_random_values_are_version_4(conn):
    assert conn.execute("select shim.uuid_generate_v4()").fetchone()[0].version == 4
