"""What is promised of plan: it measures what the pending files would lock, and changes nothing."""

from __future__ import annotations

import signal
import time

import pytest

from enterprise_ai.migrate import scratch, squawk
from enterprise_ai.migrate.migrator import Migrator
from enterprise_ai.migrate.plan import plan
from tests.migrate.conftest import connect, query, sleeping, value, wait_until

BASE = """
create table orders (id bigint primary key, state text, total int);
create table lines (order_id bigint, n int);
create table log (at timestamptz not null) partition by range (at);
create table log_1 partition of log for values from ('2026-01-01') to ('2026-02-01');
"""


@pytest.fixture
def shop(project):
    project.add("001_base.sql", BASE)
    project.ok("migrate")
    query(project.url, "insert into orders select n, 'x', 1 from generate_series(1, 20000) as n")
    query(project.url, "analyze orders")
    return project


def effects(project, *options):
    """Plan, and return {(line, relation): effect} of the first pending file."""
    document = project.ok("plan", "--json", *options).json
    return {
        (step["line"], one["relation"]): dict(one, advice=step["advice"])
        for step in document["files"][0]["steps"]
        for one in step["effects"]
    }


CHANGES = """alter table orders add column note text;
create function f() returns trigger language plpgsql as 'begin return new; end';
"""


def test_plan_names_lock_relation_size_and_what_is_blocked(shop):
    shop.add("002_x.sql", CHANGES)
    found = effects(shop)[1, "public.orders"]
    assert found["lock"] == "ACCESS EXCLUSIVE"
    assert found["blocks"] == "reads and writes"
    assert found["rewritten"] is False
    assert found["rows"] == 20000
    assert found["bytes"] == value(shop.url, "select pg_total_relation_size('orders')")
    done = shop.ok("plan")
    assert "002_x.sql:1  alter table orders add column note text;" in done.out
    assert "ACCESS EXCLUSIVE: blocks reads and writes until the file commits" in done.out


@pytest.mark.parametrize("how", [(), ("--on-database",)], ids=["copy", "database"])
def test_plan_tells_a_rewrite_and_a_whole_table_read_from_a_short_lock(shop, how):
    shop.add(
        "002_x.sql",
        "alter table orders alter total type bigint;\n"
        "alter table orders alter state set not null;\n"
        "create index i on lines (n);\n"
        "alter table lines add check (n > 0) not valid;\n",
    )
    found = effects(shop, *how)
    assert found[1, "public.orders"]["rewritten"] is True
    assert "rewrites the whole table" in found[1, "public.orders"]["advice"][0]
    assert found[2, "public.orders"]["rewritten"] is False
    assert found[2, "public.orders"]["scanned"] is True
    assert found[2, "public.orders"]["held_already"] is True
    assert "NOT VALID" in found[2, "public.orders"]["advice"][0]
    assert (found[3, "public.lines"]["lock"], found[3, "public.lines"]["blocks"]) == ("SHARE", "writes")
    assert "CONCURRENTLY" in found[3, "public.lines"]["advice"][0]
    assert found[4, "public.lines"]["scanned"] is False


def test_plan_sees_ddl_inside_do_the_parent_of_a_foreign_key_and_create_trigger(shop):
    shop.add(
        "002_x.sql",
        "do $$ begin execute 'alter table log add column what text'; end $$;\n"
        "alter table lines add foreign key (order_id) references orders;\n"
        "create function f() returns trigger language plpgsql as 'begin return new; end';\n"
        "create trigger t after insert on orders for each row execute function f();\n",
    )
    found = effects(shop)
    assert found[1, "public.log"]["lock"] == found[1, "public.log_1"]["lock"] == "ACCESS EXCLUSIVE"
    assert found[2, "public.orders"]["lock"] == "SHARE ROW EXCLUSIVE"
    assert "VALIDATE CONSTRAINT in the next file" in found[2, "public.lines"]["advice"][0]
    assert (2, "public.orders") in found


@pytest.mark.parametrize("how", [(), ("--on-database",)], ids=["copy", "database"])
def test_plan_changes_nothing_and_leaves_no_scratch_database(shop, how, server):
    shop.add("002_x.sql", CHANGES + "insert into orders (id) values (-1);\ncreate table more (id int);\n")
    shop.ok("plan", *how)
    assert value(shop.url, "select to_regclass('more')") is None
    assert value(shop.url, "select count(*) from orders where id < 0") == 0
    assert value(shop.url, "select count(*) from schema_migrations") == 1
    assert query(shop.url, "select 1 from pg_database where datname like 'enterprise_ai_scratch%'") == []


def test_plan_without_pg_dump_builds_the_copy_from_the_applied_texts(shop):
    shop.add("002_x.sql", CHANGES)
    # No pg_dump of this machine is as new as that.
    before = scratch._pg_dump
    scratch._pg_dump = lambda major: before(99)
    try:
        result = plan(Migrator(shop.url, migrations=str(shop.folder)), None, on_database=False)
    finally:
        scratch._pg_dump = before
    assert result.tried_on == "a database built anew from the applied migrations"
    assert result.files[0].steps[0].effects[0].lock == "ACCESS EXCLUSIVE"


def test_plan_names_the_place_of_a_statement_that_would_fail_and_exits_1(shop):
    shop.add("002_x.sql", "select 1;\nalter table orders add column total int;\n")
    shop.add("003_y.sql", "select 1;\n")
    done = shop.run("plan")
    assert done.code == 1
    assert "002_x.sql:2" in done.out
    assert 'column "total" of relation "orders" already exists' in done.out
    assert "The files after it were not tried." in done.out
    assert query(shop.url, "select 1 from pg_database where datname like 'enterprise_ai_scratch%'") == []


def test_plan_carries_on_from_file_to_file_but_speaks_only_of_what_is_live(shop):
    shop.add("002_x.sql", "create table fresh (id int);\n")
    shop.add("003_y.sql", "alter table fresh add column more int;\nalter table orders add column more int;\n")
    document = shop.ok("plan", "--json").json
    assert [file["name"] for file in document["files"]] == ["002_x.sql", "003_y.sql"]
    assert document["files"][0]["steps"] == []
    assert [one["relation"] for step in document["files"][1]["steps"] for one in step["effects"]] == [
        "public.orders"
    ]


def test_plan_of_a_no_transaction_file_runs_in_the_copy_and_not_on_the_database(shop):
    shop.add("002_x.sql", "-- migrate: no-transaction\ncreate index concurrently lines_n on lines (n);\n")
    step = shop.ok("plan", "--json").json["files"][0]["steps"][0]
    assert step["effects"][0]["lock"] == "SHARE UPDATE EXCLUSIVE"
    done = shop.ok("plan", "--on-database")
    assert "002_x.sql runs outside a transaction" in done.err
    assert value(shop.url, "select to_regclass('lines_n')") is None


def test_plan_never_makes_roles_for_real(shop):
    shop.add("002_x.sql", "create role plan_made_me;\n")
    done = shop.ok("plan")
    assert "002_x.sql changes roles or tablespaces" in done.err
    assert query(shop.url, "select 1 from pg_roles where rolname = 'plan_made_me'") == []


def test_plan_names_the_longest_open_transaction(shop):
    shop.add("002_x.sql", CHANGES)
    holder = connect(shop.url)
    holder.cursor().execute("begin; select 1")
    longest = shop.ok("plan", "--json").json["longest_transaction"]
    assert longest["pid"] == query_pid(holder)
    holder.close()


def query_pid(connection):
    cursor = connection.cursor()
    cursor.execute("select pg_backend_pid()")
    return cursor.fetchone()[0]


def test_plan_needs_the_right_to_make_databases_and_says_so(shop, login):
    shop.add("002_x.sql", CHANGES)
    _, url = login("grant select on all tables in schema public to {}")
    done = shop.run("plan", url=url)
    assert done.code == 1
    assert "may not create a scratch database" in done.err
    assert "plan --on-database" in done.err


def test_plan_with_nothing_pending_says_so(shop):
    assert "nothing pending" in shop.ok("plan").out


@pytest.mark.skipif(squawk.program() is None, reason="Squawk is not installed")
def test_plan_hands_on_what_squawk_says_where_it_is_installed(shop):
    shop.add("002_x.sql", "select 1;\ncreate index i on lines (n);\n")
    assert "squawk: 002_x.sql:2: require-concurrent-index-creation: " in shop.ok("plan").out
    (remark,) = shop.ok("plan", "--json").json["squawk"]
    assert (remark["file"], remark["line"]) == ("002_x.sql", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["plan", "test"])
def test_a_signal_leaves_no_scratch_database(project, command, number):
    project.add("001_a.sql", "select pg_sleep(20), 'mark-1';\n-- rollback:\n--   select 1;\n")
    running = project.start(command, "--database-url", project.url, "--json")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    before = time.monotonic()
    running.signal(number)
    done = running.wait()
    assert time.monotonic() - before < 10
    assert done.code == 128 + number, done
    assert done.json["error"]["message"] == "stopped by " + number.name
    assert (
        query(project.url, "select datname from pg_database where datname like 'enterprise_ai_scratch_%'")
        == []
    )
    assert not sleeping(project.url, "mark-1")
