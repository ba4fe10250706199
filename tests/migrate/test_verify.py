"""What is promised of verify: it names what was changed by hand, and cries wolf at nothing else."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from enterprise_ai.migrate import catalogue
from enterprise_ai.migrate.connection import Connection
from enterprise_ai.migrate.drift import differences, tell
from enterprise_ai.migrate.history import look
from enterprise_ai.migrate.target import Target
from tests.migrate.conftest import ROOT, Project, connect, drop_database, query
from tests.servers import bindir_of, scratch_server

SCHEMA = """
create extension pgcrypto;
create schema shop;
create type shop.state as enum ('new', 'paid');
create domain shop.cents as bigint check (value >= 0);
create sequence shop.numbers increment 2;
create table shop.orders (
    id bigint generated always as identity primary key,
    state shop.state not null default 'new',
    total shop.cents not null default 0,
    number bigint not null default nextval('shop.numbers'),
    placed_at timestamptz not null default '2026-01-01 12:00:00+02',
    note text collate "C" constraint orders_note_is_short check (length(note) < 100 and note <> '')
);
alter table shop.orders enable row level security;
create policy mine on shop.orders for select using (note = (select current_user::text));
create index orders_by_day on shop.orders (placed_at, lower(note)) where state <> 'new';
create table shop.lines (order_id bigint references shop.orders, at date not null, primary key (order_id, at))
    partition by range (at);
create table shop.lines_2026 partition of shop.lines for values from ('2026-01-01') to ('2027-01-01');
create function shop.due(since timestamptz default now()) returns bigint language sql stable as
    $$ select count(*) from shop.orders where placed_at < since $$;
create function shop.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger touch before update on shop.orders for each row when (old.* is distinct from new.*)
    execute function shop.touch();
create view shop.paid as
    select o.id, extract(year from o.placed_at) as year, coalesce(o.note, 'x') as note
    from shop.orders as o where o.state = 'paid' and (o.id > 1 or o.id in (7, 9));
create materialized view shop.years as select year, count(*) from shop.paid group by 1;
create statistics shop.together on state, number from shop.orders;
grant select on shop.orders to public;
grant usage on schema shop to public;
"""


@pytest.fixture
def shop(project):
    """A database with one of each, as a migration left it."""
    project.add("001_shop.sql", SCHEMA)
    project.ok("migrate")
    return project


@pytest.fixture(scope="module")
def left(server):
    """A connection to such a database, its history, and the state that a migration left."""
    query(server.url("postgres"), "create database left_by_it template template0")
    connection = Connection(Target(server.url("left_by_it")))
    connection.query(SCHEMA)
    history = look(connection)
    yield connection, history, catalogue.read(connection, history)
    connection.close()
    drop_database(server, "left_by_it")


def drift(project, **options):
    """Run verify and return what it names: {(change, kind, name): the whole entry}."""
    done = project.run("verify", "--json", **options)
    assert done.code in (0, 7), done
    found = {(one["change"], one["kind"], one["name"]): one for one in done.json["drift"]}
    assert done.code == (7 if found else 0)
    return found


def test_verify_is_silent_when_nothing_was_changed(shop):
    done = shop.ok("verify")
    assert "as 001_shop.sql left them." in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table shop.orders add column extra int", "added column shop.orders.extra"),
        ("alter table shop.orders drop column note cascade", "dropped column shop.orders.note"),
        ("alter table shop.orders alter number type numeric", "changed column shop.orders.number"),
        ("alter table shop.orders alter total drop not null", "changed column shop.orders.total"),
        ("alter table shop.orders alter total set default 7", "changed column shop.orders.total"),
        ("alter table shop.orders add constraint c check (id > 0)", "added constraint shop.orders.c"),
        (
            "alter table shop.orders add constraint c check (id > 0) not valid",
            "added constraint shop.orders.c",
        ),
        (
            "alter table shop.orders drop constraint orders_note_is_short",
            "dropped constraint shop.orders.orders_note_is_short",
        ),
        ("create index i on shop.orders (number)", "added index shop.i"),
        ("drop index shop.orders_by_day", "dropped index shop.orders_by_day"),
        (
            "update pg_index set indisvalid = false where indexrelid = 'shop.orders_by_day'::regclass",
            "changed index shop.orders_by_day",
        ),
        ("alter table shop.orders disable trigger touch", "changed trigger shop.orders.touch"),
        (
            "create or replace function shop.touch() returns trigger language plpgsql as 'begin return old; end'",
            "changed function shop.touch()",
        ),
        ("alter function shop.touch() security definer", "changed function shop.touch()"),
        (
            "drop policy mine on shop.orders; create policy mine on shop.orders for select using (true)",
            "changed policy shop.orders.mine",
        ),
        ("alter table shop.orders disable row level security", "changed table shop.orders"),
        ("alter table shop.orders force row level security", "changed table shop.orders"),
        ("grant insert on shop.orders to public", "changed table shop.orders"),
        ("grant update (note) on shop.orders to public", "changed column shop.orders.note"),
        ("revoke all on shop.orders from postgres", "changed table shop.orders"),
        ("revoke execute on function shop.due from public", "changed function shop.due(since timestamp with time zone)"),
        ("alter table shop.orders owner to pg_monitor", "changed table shop.orders"),
        ("alter type shop.state add value 'lost'", "changed enum shop.state"),
        ("alter domain shop.cents set not null", "changed domain shop.cents"),
        ("alter sequence shop.numbers increment 3", "changed sequence shop.numbers"),
        ("create or replace view shop.paid as select o.id, extract(year from o.placed_at) as year, "
         "coalesce(o.note, 'x') as note from shop.orders as o where o.state = 'new'", "changed view shop.paid"),
        ("drop extension pgcrypto", "dropped extension pgcrypto"),
        ("create schema other", "added schema other"),
        ("create table shop.new_one (id int)", "added table shop.new_one"),
        ("drop statistics shop.together", "dropped statistics shop.together"),
        ("alter default privileges in schema shop grant select on tables to public",
         "added default privileges of postgres for tables in shop"),
    ],
)  # fmt: skip
def test_verify_names_each_object_changed_by_hand(left, change, named):
    connection, history, expected = left
    connection.query("begin; " + change)
    connection.query(catalogue.SETTINGS)
    live = catalogue.parse(connection.query(catalogue.query(connection, history))[0][0])
    connection.query("rollback")
    found = tell(differences(expected, live), expected, live, {}, "001_shop.sql")
    assert named in {f"{one.change} {one.kind} {one.name}" for one in found}, found
    assert {one.since for one in found} == {"001_shop.sql"}


def test_verify_exits_7_and_says_what_was_and_what_is(shop):
    query(shop.url, "alter table shop.orders alter number drop not null")
    done = shop.run("verify")
    assert done.code == 7
    assert "changed: column shop.orders.number   (right after 001_shop.sql)" in done.out
    assert "    was: not null" in done.out
    assert "1 is not." in done.out


def test_a_table_that_came_or_went_is_told_once_with_all_that_is_in_it(shop):
    query(shop.url, "drop table shop.orders cascade")
    query(shop.url, "create table shop.other (id int primary key, name text)")
    done = shop.run("verify")
    assert (
        "dropped: table shop.orders with 6 columns, 2 constraints, 1 index, 1 policy, 1 sequence, 1 trigger"
        in done.out
    )
    assert "added: table shop.other with 2 columns, 1 constraint" in done.out
    assert "shop.orders.id" not in done.out


def test_the_last_migration_after_which_an_object_was_right_is_named_across_runs(shop):
    shop.add("002_more.sql", "create table shop.more (id int);\n")
    shop.ok("migrate")
    query(shop.url, "alter table shop.orders add by_hand int")
    query(shop.url, "alter table shop.more add by_hand int")
    shop.add(
        "003_again.sql", "create table shop.again (id int); alter table shop.more drop column by_hand;\n"
    )
    done = shop.ok("migrate")
    assert "2 objects are not as 002_more.sql left them" in done.err
    query(shop.url, "alter table shop.again add by_hand int")
    found = drift(shop)
    assert {(name, one["since"]) for (_, _, name), one in found.items()} == {
        ("shop.orders.by_hand", "002_more.sql"),
        ("shop.again.by_hand", "003_again.sql"),
    }
    query(shop.url, "alter table shop.orders drop by_hand")
    query(shop.url, "alter table shop.again drop by_hand")
    assert drift(shop) == {}


def test_a_change_by_hand_that_is_wanted_is_accepted(shop):
    query(shop.url, "create index by_hand on shop.orders (number)")
    assert shop.run("verify").code == 7
    shop.ok("verify", "--accept")
    shop.ok("verify")


def test_verify_goes_by_the_state_that_a_rollback_of_records_goes_back_to(shop):
    shop.add("002_more.sql", "create table shop.more (id int);\n")
    shop.ok("migrate")
    shop.ok("rollback", "002_more.sql")
    assert {key[:2] for key in drift(shop)} == {("added", "table")}
    query(shop.url, "drop table shop.more")
    shop.ok("verify")


def test_verify_after_a_failed_run_knows_what_the_files_before_the_failure_made(shop):
    shop.add("002_more.sql", "create table shop.more (id int);\n")
    shop.add("003_bad.sql", "select 1 / 0;\n")
    assert shop.migrate().code == 1
    shop.ok("verify")


def test_verify_says_when_it_has_nothing_to_compare_with(project, shop):
    query(shop.url, "drop table schema_migrations_catalogue")
    done = shop.run("verify")
    assert done.code == 6
    assert "was not kept" in done.err
    assert "verify --accept" in done.err
    shop.ok("verify", "--accept")
    shop.ok("verify")


def test_verify_before_any_migration_is_an_error(project):
    project.add("001_a.sql", "select 1;\n")
    done = project.run("verify")
    assert done.code == 6
    assert "no migration has run" in done.err


def test_no_false_alarm_after_vacuum_reindex_cluster_analyze_and_writes(shop):
    query(shop.url, "insert into shop.orders (note) values ('a'), ('b')")
    for statement in (
        "vacuum (full, analyze) shop.orders",
        "vacuum freeze",
        "reindex table shop.orders",
        "reindex table concurrently shop.orders",
        "cluster shop.orders using orders_pkey",
        "refresh materialized view shop.years",
        "truncate shop.orders, shop.lines restart identity",
        "alter table shop.orders add gone int",
        "alter table shop.orders drop gone",
        "create temp table mine (id int)",
    ):
        query(shop.url, statement)
    assert drift(shop) == {}


def test_no_false_alarm_for_another_login_search_path_zone_or_format(shop, login):
    _, url = login("grant select on schema_migrations, schema_migrations_catalogue to {}")
    for settings in ("search_path=shop,public", "timezone=Asia/Tokyo", "datestyle=German", "quote_all_identifiers=on",
                     "intervalstyle=sql_standard", "extra_float_digits=-5"):  # fmt: skip
        assert drift(shop, url=url, environment={"PGOPTIONS": "-c " + settings}) == {}


def test_verify_writes_nothing_and_needs_only_to_read_the_history(shop, login):
    _, url = login("grant select on schema_migrations, schema_migrations_catalogue to {}")
    shop.ok("verify", url=url, environment={"PGOPTIONS": "-c default_transaction_read_only=on"})
    assert query(shop.url, "select count(*) from schema_migrations_catalogue") == [(1,)]


def test_verify_does_not_wait_for_ever_behind_a_lock(shop):
    holder = connect(shop.url)
    holder.cursor().execute("begin; lock table shop.paid in access exclusive mode")
    done = shop.run("verify")
    assert done.code == 1
    assert "55P03" in done.err
    assert "Somebody holds a lock" in done.err
    holder.close()


def test_partitions_made_by_maintenance_are_no_drift_but_what_is_granted_on_them_is(project):
    project.add(
        "001_log.sql",
        "create schema app; create schema app_parts;\n"
        "create table app.log (at timestamptz not null, what text check (what <> ''), primary key (at))"
        " partition by range (at);\n"
        "create index log_what on app.log (what);\n"
        "create function app.f() returns trigger language plpgsql as 'begin return null; end';\n"
        "create trigger f after insert on app.log for each row execute function app.f();\n",
    )
    project.ok("migrate")
    for month in ("01", "02"):
        query(
            project.url,
            f"create table app_parts.log_2026_{month} (like app.log including all excluding indexes)",
        )
        query(
            project.url,
            f"alter table app.log attach partition app_parts.log_2026_{month}"
            f" for values from ('2026-{month}-01') to ('2026-{int(month) + 1:02d}-01')",
        )
    assert drift(project) == {}
    query(project.url, "alter table app.log detach partition app_parts.log_2026_01")
    assert drift(project) == {}
    query(project.url, "drop table app_parts.log_2026_01")
    query(project.url, "grant select on app_parts.log_2026_02 to public")
    query(project.url, "create table app_parts.not_one (id int)")
    assert {" ".join(key) for key in drift(project)} == {
        "added partition app_parts.log_2026_02",
        "added table app_parts.not_one",
    }


def _copy(source, target):
    """Dump one database and restore it into another, as an administrator would."""
    program = shutil.which("pg_dump")
    if program is None:
        pytest.skip("pg_dump is not on this machine")
    dump = subprocess.run([program, "--dbname", source], capture_output=True, check=False)
    if dump.returncode:
        pytest.skip(dump.stderr.decode())  # this pg_dump is older than the server
    text = dump.stdout.decode()
    # Settings of the client's own major that an older server does not know.
    kept = [
        line
        for line in text.split("\n")
        if not line.startswith(("SET transaction_timeout", "\\restrict", "\\unrestrict"))
    ]
    done = subprocess.run(
        ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "--dbname", target],
        input="\n".join(kept).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_no_false_alarm_after_dump_and_restore(shop, server):
    query(server.url("postgres"), "create database restored template template0")
    try:
        _copy(shop.url, server.url("restored"))
        assert drift(shop, url=server.url("restored")) == {}
    finally:
        query(server.url("postgres"), "drop database restored")


def test_our_own_migrations_survive_dump_and_restore_and_a_change_of_major(tmp_path, server, version):
    """From this server to another major: what 12 prints, 18 may print otherwise."""
    own = Project(ROOT / "migrations", server.url("ours"))
    query(server.url("postgres"), "create database ours template template0")
    try:
        own.ok("migrate")
        assert drift(own) == {}
        query(server.url("ours"), "select platform.maintain_partitions(24)")
        assert drift(own) == {}
        other = 18 if version < 16 else 14  # older ones do not take what 16 dumps (multiranges)
        with scratch_server(bindir_of(other)) as elsewhere:
            roles = query(server.url("ours"), "select rolname from pg_roles where rolname like 'enterprise%'")
            for (role,) in roles:
                query(elsewhere.url(), f"create role {role}")
            _copy(server.url("ours"), elsewhere.url())
            done = own.run("verify", "--json", url=elsewhere.url())
            assert done.code == 0, done
            assert f"this is {other}" in done.json["notes"][0]
            query(elsewhere.url(), "alter table identity.users disable row level security")
            assert list(drift(own, url=elsewhere.url())) == [("changed", "table", "identity.users")]
    finally:
        query(server.url("postgres"), "drop database ours")
