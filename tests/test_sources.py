"""The readable sources under sql/, the migrations that carry copies of them, and a database agree."""

import re
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "sql").rglob("*.sql"))

DEFINITIONS = """
select p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc')
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains()) and p.prokind in ('f', 'p')
union all
select c.oid::regclass::text, pg_get_viewdef(c.oid), c.relacl::text, obj_description(c.oid, 'pg_class')
from pg_class as c
where c.relnamespace::regnamespace::name = any (platform.domains()) and c.relkind in ('v', 'm')
order by 1
"""


def test_migrations_carry_the_current_sources():
    done = subprocess.run(
        [sys.executable, "tools/sync_sql.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "in step\n")


def test_every_source_is_in_a_migration():
    included = set(
        re.findall(
            r"^-- >>> (\S+)$", "".join(p.read_text() for p in (ROOT / "migrations").glob("*.sql")), re.M
        )
    )
    assert included == {str(source.relative_to(ROOT)) for source in SOURCES}


def test_reapplying_the_sources_changes_nothing(database):
    with psycopg.connect(database) as conn:
        conn.execute("set search_path = pg_catalog")
        before = conn.execute(DEFINITIONS).fetchall()
        for source in SOURCES:
            conn.execute(source.read_text())
        conn.execute("set search_path = pg_catalog")
        assert conn.execute(DEFINITIONS).fetchall() == before
        assert len(before) > 20


def test_functions_live_in_sources_only():
    """A function written straight into a migration could not be read or compared once it is replaced."""
    for path in sorted((ROOT / "migrations").glob("[0-9]*.sql")):
        outside = re.sub(r"^-- >>> .*?^-- <<<$", "", path.read_text(), flags=re.M | re.S)
        assert (
            re.findall(r"^create (?:or replace )?(?:function|procedure|view).*", outside, re.M | re.I) == []
        ), path.name
