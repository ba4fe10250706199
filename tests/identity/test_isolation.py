"""Two tenants side by side: for every table that belongs to a tenant, neither reaches the other's rows.

The rows are made by a generator that fills every column from the catalogue, so a table added tomorrow is in
the test tomorrow. The login under test is granted everything: row security alone has to hold.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from tests.rows import Generator

TENANT_TABLES = """
select c.oid::regclass::text
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any (platform.domains()) and c.relkind in ('r', 'p') and not c.relispartition and c.relrowsecurity
order by 1
"""
CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"


@pytest.fixture(scope="module")
def world(server, superuser, migrator, template):
    """Two tenants with a row in every table, and a connection of a login that is granted every table."""
    from tests.conftest import new_database

    with new_database(superuser, migrator, template) as name, psycopg.connect(server.url(name)) as conn:
        ids = [
            conn.execute("select identity.create_tenant(%s, %s)", [s, s]).fetchone()[0]
            for s in ("here", "next-door")
        ]
        conn.execute("set search_path = pg_catalog")
        tables = [row[0] for row in conn.execute(TENANT_TABLES)]
        generator = Generator(conn)
        for tenant_id in ids:
            conn.execute(CONTEXT, [tenant_id])
            generator.add_row("identity.users", tenant_id)  # some rows are between two people
            for table in tables:
                generator.ensure_row(table, tenant_id)
        conn.execute("do $$ begin create role neighbour; exception when duplicate_object then null; end $$")
        conn.execute("grant execute on function platform.current_tenant_id() to neighbour")
        for (schema,) in conn.execute("select unnest(platform.domains())").fetchall():
            conn.execute(
                sql.SQL(
                    "grant usage on schema {0} to neighbour; grant all on all tables in schema {0} to neighbour"
                ).format(sql.Identifier(schema))
            )
        conn.execute(
            "grant execute on function platform.current_tenant_id(), platform.context() to neighbour"
        )
        conn.commit()
        yield conn, tables, ids
        conn.rollback()
        conn.execute("drop owned by neighbour")
        conn.commit()


@pytest.fixture
def neighbour(world):
    """The connection acting as the login with every grant, in the context of the first tenant."""
    conn, tables, (here, there) = world
    conn.execute("set search_path = pg_catalog")
    conn.execute(CONTEXT, [here])
    conn.execute("set local role neighbour")
    yield conn, tables, here, there
    conn.rollback()


def key_of(table: str) -> str:
    return "id" if table == "identity.tenants" else "tenant_id"


def count(conn, table, where="true", params=()):
    return conn.execute(f"select count(*) from {table} where {where}", params).fetchone()[0]


def test_every_table_has_rows_of_both(world):
    conn, tables, ids = world
    assert len(tables) > 60
    for table in tables:
        for tenant_id in ids:
            assert count(conn, table, f"{key_of(table)} = %s", [tenant_id]) > 0, table


def test_a_tenant_sees_its_own_rows_and_no_other(neighbour):
    conn, tables, here, there = neighbour
    for table in tables:
        assert count(conn, table) == count(conn, table, f"{key_of(table)} = %s", [here]) > 0, table
        assert count(conn, table, f"{key_of(table)} = %s", [there]) == 0, table


def test_a_tenant_cannot_update_or_delete_next_door(neighbour):
    conn, tables, _, there = neighbour
    for table in tables:
        key = key_of(table)
        for statement in (
            f"update {table} set {key} = {key} where {key} = %s",
            f"delete from {table} where {key} = %s",
        ):
            assert conn.execute(statement, [there]).rowcount == 0, statement


def test_a_tenant_cannot_write_rows_for_next_door(neighbour):
    conn, tables, _, there = neighbour
    for table in tables:
        if table == "identity.tenants":
            continue
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
            conn.transaction(),
        ):
            # Triggers that refuse for reasons of their own would speak before the policy can.
            conn.execute(f"reset role; alter table {table} disable trigger user; set local role neighbour")
            columns = sql.SQL(", ").join(
                sql.Identifier(row[0])
                for row in conn.execute(
                    "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
                    " and attgenerated = '' and attidentity <> 'a' and attname <> 'tenant_id'",
                    [table],
                )
            )
            conn.execute(
                sql.SQL("insert into {} (tenant_id, {}) select %s, {} from {} limit 1").format(
                    sql.SQL(table), columns, columns, sql.SQL(table)
                ),
                [there],
            )
            pytest.fail(f"{table} took a row for another tenant")


FOREIGN_KEYS = """
select c.conname, c.conrelid::regclass::text, c.confrelid::regclass::text,
       array(select a.attname::text from unnest(c.conkey) with ordinality as k (num, place)
             join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.num order by k.place),
       array(select a.attname::text from unnest(c.confkey) with ordinality as k (num, place)
             join pg_attribute as a on a.attrelid = c.confrelid and a.attnum = k.num order by k.place)
from pg_constraint as c
where c.contype = 'f' and c.connamespace::regnamespace::name = any (platform.domains())
  and exists (select from pg_attribute as a
              where a.attrelid = c.confrelid and a.attnum = c.confkey[1] and a.attname = 'tenant_id')
"""


def test_a_tenant_cannot_point_at_rows_next_door(world):
    """Foreign keys carry the tenant, so the other's ids are simply not there: tried on every one of them.

    As a superuser, whom row security does not bind, and without the triggers that might refuse first.
    """
    conn, _, (here, there) = world
    conn.execute("set search_path = pg_catalog")
    keys = conn.execute(FOREIGN_KEYS).fetchall()
    assert len(keys) > 50
    for name, table, target, columns, target_columns in keys:
        assert (columns[0], target_columns[0]) == ("tenant_id", "tenant_id"), name
        theirs = conn.execute(
            f"select {', '.join(target_columns[1:])} from {target} where tenant_id = %s limit 1", [there]
        ).fetchone()
        changes = ", ".join(f"{column} = %s" for column in columns[1:])
        with pytest.raises((psycopg.errors.ForeignKeyViolation, psycopg.errors.CheckViolation)) as caught:
            with conn.transaction():
                conn.execute(f"alter table {table} disable trigger user")
                changed = conn.execute(
                    f"update {table} set {changes} where ctid = (select ctid from {table} where tenant_id = %s limit 1)",
                    [*theirs, here],
                )
                assert changed.rowcount > 0, table
                conn.execute("set constraints all immediate")
                pytest.fail(f"{name} let a row of one tenant point at another's")
        if isinstance(caught.value, psycopg.errors.CheckViolation):
            assert "tenant_id" in columns  # a rule of the row spoke before the key could
    conn.rollback()


def test_without_a_context_there_are_no_rows(world):
    conn, tables, _ = world
    conn.execute("set search_path = pg_catalog")
    conn.execute("set local role neighbour")
    for table in tables:
        assert count(conn, table) == 0, table
    conn.rollback()


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "{",
        "{}",
        '{"tenant_id": "%s"}',
        "00" * 32 + '1{"tenant_id": "%s"}',
        "x" * 64 + '9{"tenant_id": "%s"}',
    ],
)
def test_a_forged_context_counts_as_none(world, forged):
    conn, _, (here, _) = world
    conn.execute("select set_config('enterprise_ai.context', %s, true)", [forged.replace("%s", str(here))])
    assert conn.execute("select platform.context(), platform.current_tenant_id()").fetchone() == (None, None)
    conn.execute("set local role neighbour")
    assert count(conn, "identity.users") == 0
    conn.rollback()


def test_a_context_ends_with_its_transaction_and_cannot_be_replayed(world):
    conn, _, (here, _) = world
    conn.execute(CONTEXT, [here])
    sealed = conn.execute("select current_setting('enterprise_ai.context')").fetchone()[0]
    assert conn.execute("select platform.current_tenant_id()").fetchone() == (here,)
    conn.commit()
    assert conn.execute("select platform.current_tenant_id()").fetchone() == (None,)
    conn.execute("select set_config('enterprise_ai.context', %s, true)", [sealed])
    assert conn.execute("select platform.current_tenant_id()").fetchone() == (None,)
    conn.rollback()
