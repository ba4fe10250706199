"""Every numbered migration carries the SQL that undoes it, and that SQL leaves nothing behind."""

import re
from pathlib import Path

import psycopg
import pytest

from enterprise_ai.migrate import Migrator

MIGRATIONS = sorted((Path(__file__).resolve().parents[2] / "migrations").glob("[0-9]*.sql"))

# Everything in a database that is neither the server's own nor an extension's. Extensions and group roles stay:
# an administrator may have made them, and others may use them.
INVENTORY = """
select 'schema', nspname::text, nspacl::text from pg_namespace where nspname !~ '^pg_(toast|temp)' and nspname not in ('pg_catalog', 'information_schema')
union all
select 'relation', c.oid::regclass::text, c.relkind::text || coalesce(c.relacl::text, '')
from pg_class as c where c.relnamespace::regnamespace::text !~ '^(pg_catalog|pg_toast|information_schema)' and c.relname !~ '^schema_migrations'
union all
select 'column', a.attrelid::regclass::text || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || a.attnotnull::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(a.attacl::text, '')
from pg_attribute as a join pg_class as c on c.oid = a.attrelid left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v') and c.relnamespace::regnamespace::text !~ '^(pg_catalog|pg_toast|information_schema)' and c.relname !~ '^schema_migrations'
union all
select 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) from pg_constraint
where connamespace::regnamespace::text !~ '^(pg_catalog|information_schema)' and conrelid::regclass::text !~ 'schema_migrations'
union all
select 'function', p.oid::regprocedure::text, coalesce(p.proacl::text, '') || md5(p.prosrc) from pg_proc as p
where p.pronamespace::regnamespace::text !~ '^(pg_catalog|information_schema)'
  and not exists (select from pg_depend as d where d.objid = p.oid and d.classid = 'pg_proc'::regclass and d.deptype = 'e')
union all
select 'policy', polrelid::regclass::text || '.' || polname, pg_get_expr(polqual, polrelid) from pg_policy
union all
select 'trigger', tgrelid::regclass::text || '.' || tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'type', t.oid::regtype::text, t.typtype::text from pg_type as t
where t.typtype in ('d', 'e', 'r') and t.typnamespace::regnamespace::text !~ '^(pg_catalog|information_schema)'
union all
select 'setting', coalesce(setrole::regrole::text, ''), setconfig::text from pg_db_role_setting
where setdatabase = (select oid from pg_database where datname = current_database())
union all
select 'default privileges', defaclrole::regrole::text, defaclacl::text from pg_default_acl
order by 1, 2, 3
"""


def rollback_of(path: Path) -> str:
    block = path.read_text().partition("\n-- rollback:\n")[2]
    return re.sub(r"^--( {1,3}|$)", "", block, flags=re.M)


def inventory(conn: psycopg.Connection) -> list[tuple[str, ...]]:
    conn.execute("set search_path = pg_catalog")
    return conn.execute(INVENTORY).fetchall()


def run_rollback(url: str, path: Path) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(rollback_of(path))


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_every_migration_ends_with_its_rollback(path):
    assert path.read_text().count("\n-- rollback:\n") == 1
    assert ";" in rollback_of(path)
    assert all(
        line.startswith("--") for line in path.read_text().partition("\n-- rollback:\n")[2].splitlines()
    )


def test_up_down_up_leaves_nothing_behind_and_builds_the_same(empty_database):
    stages = []
    with psycopg.connect(empty_database, autocommit=True) as conn:
        for path in MIGRATIONS:
            stages.append(inventory(conn))
            Migrator(empty_database, migrations=path.parent).migrate(target=path.name)
        top = inventory(conn)
        for path, before in zip(reversed(MIGRATIONS), reversed(stages), strict=True):
            run_rollback(empty_database, path)
            assert inventory(conn) == before, f"after the rollback of {path.name}"
            Migrator(empty_database, migrations=path.parent).rollback(path.name)
        Migrator(empty_database, migrations=MIGRATIONS[0].parent).migrate()
        assert inventory(conn) == top
