"""What is promised of `migrate --each`: a canary first, failures apart, a table, and only those behind are touched."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.migrate.conftest import drop_database, history, query, tables, value, wait_until


@pytest.fixture
def databases(server):
    """Make empty databases whose names sort in the order in which they were made."""
    prefix = "each_" + uuid.uuid4().hex[:8]
    made = []

    def make(count):
        for _ in range(count):
            made.append(f"{prefix}_{len(made)}")
            query(server.url("postgres"), f"create database {made[-1]} template template0 encoding 'UTF8'")
        return list(made)

    make.query = f"select datname as database from pg_database where datname like '{prefix}%' order by 1"
    yield make
    for name in made:
        drop_database(server, name)


def rows_of(done):
    """The summary table: what is said of each place, by its name."""
    lines = [line.split(None, 1) for line in done.out.splitlines() if line.startswith("  ")]
    return {name: rest.strip() for name, rest in lines}


def test_each_database_of_a_query_is_migrated(project, server, databases):
    names = databases(3)
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    done = project.ok("migrate", "--each", databases.query)
    for name in names:
        assert history(server.url(name)) == ["001_a.sql", "002_b.sql"]
        assert rows_of(done)[name].startswith("done         2 files in ")
    assert done.out.splitlines()[-1] == "3 places: 3 done."
    assert history(project.url) == []
    assert f"{names[0]} goes first; 2 more follow" in done.err


def test_each_line_of_a_file_is_a_database(project, server, databases, tmp_path):
    first, second, third = databases(3)
    project.add("001_a.sql", "create table a (id int);\n")
    listing = tmp_path / "tenants.txt"
    listing.write_text(f"# ours\n{first}\n\n{server.url(second)}  \n{server.url(third)}\n{first}\n")
    done = project.ok("migrate", "--each", str(listing))
    for name in (first, second, third):
        assert history(server.url(name)) == ["001_a.sql"]
    assert "3 places: 3 done." in done.out  # the one named twice ran once


def test_each_schema_has_a_history_of_its_own(project, url):
    for name in ("tenant a", 'tenant"b', "c"):
        query(url, 'create schema "{}"'.format(name.replace('"', '""')))
    project.add("001_a.sql", "create table a (id int);\nset search_path = pg_catalog;\n")
    project.add("002_b.sql", "insert into a values (1);\n")
    project.ok("migrate")
    done = project.ok(
        "migrate", "--each", "select nspname as schema from pg_namespace where nspname ~ '^(tenant|c$)'"
    )
    assert "3 places: 3 done." in done.out
    assert value(url, 'select count(*) from "tenant a".a') == 1
    assert value(url, 'select count(*) from "tenant""b".schema_migrations') == 2
    assert value(url, "select count(*) from c.a") == 1
    assert value(url, "select count(*) from public.a") == 1


def test_a_canary_that_fails_keeps_the_others_from_starting(project, server, databases):
    names = databases(3)
    project.add("001_a.sql", "create table a (id int);\nselect 1 / 0;\n")
    done = project.migrate("--each", databases.query)
    assert done.code == 1
    rows = rows_of(done)
    assert rows[names[0]].startswith("failed       001_a.sql:2:1: division by zero")
    assert rows[names[1]] == "not started  1 file pending"
    assert "3 places: 1 failed, 2 not started." in done.out
    assert f"{names[0]}: error: division by zero (22012)" in done.err
    for name in names:
        assert tables(server.url(name)) == []


def test_a_failure_is_isolated_and_the_next_run_touches_only_those_behind(project, server, databases):
    names = databases(4)
    query(server.url(names[2]), "create table b (id int)")
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    done = project.migrate("--each", databases.query, "--jobs", "2")
    assert done.code == 1
    rows = rows_of(done)
    assert rows[names[2]].startswith("failed       002_b.sql:1:1: relation")
    assert "4 places: 3 done, 1 failed." in done.out
    assert history(server.url(names[2])) == ["001_a.sql"]
    query(server.url(names[2]), "drop table b")
    before = {name: query(server.url(name), "select * from schema_migrations") for name in names}
    again = project.ok("migrate", "--each", databases.query)
    rows = rows_of(again)
    assert [rows[name].split("  ")[0] for name in names] == ["up to date", "up to date", "done", "up to date"]
    assert "1 file in " in rows[names[2]]
    for name in (names[0], names[1], names[3]):
        assert query(server.url(name), "select * from schema_migrations") == before[name]


def test_one_that_cannot_be_reached_does_not_stop_the_others(project, server, databases, tmp_path):
    first, second = databases(2)
    project.add("001_a.sql", "create table a (id int);\n")
    listing = tmp_path / "tenants.txt"
    listing.write_text(
        "\n".join([first, "no_such_database_here", second, "postgresql://u:s3cr3t@127.0.0.1:1/x"])
    )
    done = project.migrate("--each", str(listing))
    assert done.code == 4
    assert "4 places: 2 done, 2 failed." in done.out
    assert history(server.url(second)) == ["001_a.sql"]
    assert "s3cr3t" not in done.text


def test_only_so_many_run_at_the_same_time(project, server, databases):
    databases(5)
    project.add("001_a.sql", "select pg_sleep(0.6), 'mark-each';\n")
    running = project.start("migrate", "--each", databases.query, "--jobs", "2")
    most = 0
    text = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%mark-each%'"
    while running.process.poll() is None:
        most = max(most, value(project.url, text))
        time.sleep(0.05)
    assert running.wait().code == 0
    assert most == 2


def test_a_dry_run_says_who_is_behind(project, server, databases):
    names = databases(2)
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate", url=server.url(names[0]))
    done = project.ok("migrate", "--each", databases.query, "--dry-run")
    assert rows_of(done) == {names[0]: "up to date", names[1]: "behind       1 file pending"}
    assert history(server.url(names[1])) == []


def test_the_target_holds_for_each(project, server, databases):
    names = databases(2)
    project.add("001_a.sql", "create table a (id int);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    project.ok("migrate", "--each", databases.query, "--target", "001_a.sql")
    assert [history(server.url(name)) for name in names] == [["001_a.sql"]] * 2


def test_json_is_one_document_for_all(project, databases):
    names = databases(2)
    project.add("001_a.sql", "create table a (id int);\n")
    document = project.ok("migrate", "--each", databases.query, "--json").json
    assert [(one["name"], one["outcome"], one["done"]) for one in document["each"]] == [
        (name, "done", ["001_a.sql"]) for name in names
    ]


def test_a_signal_ends_all_of_them_and_the_table_says_how_far_they_came(project, server, databases):
    names = databases(4)
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate", url=server.url(names[0]))
    project.add("002_b.sql", "create table b (id int);\n")
    project.add(
        "003_c.sql", f"select case when current_database() <> '{names[0]}' then pg_sleep(20) end, 'mark-c';\n"
    )
    running = project.start("migrate", "--each", databases.query, "--jobs", "2")
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%mark-c%'"
    wait_until(lambda: value(project.url, asleep) == 2)
    before = time.monotonic()
    running.signal(15)
    done = running.wait()
    assert time.monotonic() - before < 6
    assert done.code == 143
    assert "Traceback" not in done.err
    assert rows_of(done)[names[0]].startswith("done ")
    assert rows_of(done)[names[3]].startswith("not started")
    assert history(server.url(names[1])) == ["001_a.sql", "002_b.sql"]


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ("no-such-file.txt", "there is no file no-such-file.txt"),
        ("select 1 as x", "does not know what the column x means"),
        ("select nothing", "the query of --each failed"),
        ("select datname as database from pg_database where false", "names no database"),
        ("delete from pg_class returning relname as schema", "it is no query either"),
    ],
)
def test_what_names_nothing_is_refused(project, each, message):
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.migrate("--each", each)
    assert done.code == 2
    assert message in done.err
    assert "FILE holds one database a line" in done.err


def test_a_schema_that_is_not_there_is_named(project, url):
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.migrate("--each", "select 'nowhere' as schema")
    assert done.code == 2
    assert 'there is no schema "nowhere"' in done.err
    assert tables(url) == []


def test_a_file_that_is_no_text_and_a_row_of_nothing_are_refused(project, tmp_path):
    project.add("001_a.sql", "create table a (id int);\n")
    path = tmp_path / "places"
    path.write_bytes(b"one\n\xff\xfe\n")
    for each, said in ((str(path), "is not UTF-8"), ("select null as database", "is null")):
        done = project.migrate("--each", each)
        assert done.code == 2, done
        assert said in done.err
    assert tables(project.url) == []


def test_a_url_without_its_head_in_the_file_is_refused_without_quoting_it(project, tmp_path):
    project.add("001_a.sql", "create table a (id int);\n")
    path = tmp_path / "places"
    path.write_text("# one place\nada:Sn8wfl4ke@h/x\n")
    done = project.migrate("--each", str(path), "--json")
    assert done.code == 2, done
    assert f"{path}:2: the database URL must start with postgresql://" in done.err
    assert "Sn8wfl4ke" not in done.text
