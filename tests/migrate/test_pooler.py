"""What is promised behind a connection pooler: found out, and either safe or refused."""

from __future__ import annotations

import pytest

from tests.migrate.conftest import connect, history, query, sleeping, tables, value, wait_until
from tests.migrate.pooling import pooler_before


@pytest.fixture(scope="module")
def pooler(server):
    """Transaction mode with several server sessions."""
    with pooler_before(server, "transaction", 8) as url:
        yield url


@pytest.fixture(scope="module")
def narrow(server):
    """Transaction mode with one server session, so that the next client gets what the one before it left."""
    with pooler_before(server, "transaction", 1) as url:
        yield url


@pytest.fixture
def database(url):
    return value(url, "select current_database()")


# What a session can leave behind for the next one.
LEFT = """
select current_setting('search_path'), current_setting('lock_timeout'), current_setting('statement_timeout'),
       current_setting('role'), (select count(*) from pg_prepared_statements),
       (select count(*) from pg_class where relpersistence = 't'), (select count(*) from pg_listening_channels()),
       (select count(*) from pg_locks where locktype = 'advisory')
"""
CLEAN = ('"$user", public', "0", "0", "none", 0, 0, 0, 0)


def test_migrate_works_through_transaction_pooling(project, pooler, database):
    project.add("001_a.sql", "create table a (id int);\ninsert into a values (1);\n")
    project.add("002_b.sql", "create table b (id int);\n")
    done = project.ok("migrate", url=pooler(database))
    assert "002_b.sql  done in" in done.out
    assert tables(project.url) == ["a", "b"]
    assert history(project.url) == ["001_a.sql", "002_b.sql"]
    assert "up to date" in project.ok("migrate", url=pooler(database)).out
    assert "2 applied, 0 pending" in project.ok("status", url=pooler(database)).out


def test_ten_at_once_through_transaction_pooling_run_each_file_once(project, pooler, database):
    for number in range(1, 5):
        project.add(f"{number:03d}_x.sql", f"create table t{number} (id int);\n")
    runners = [project.start("migrate", url=pooler(database)) for _ in range(10)]
    ended = [runner.wait(90) for runner in runners]
    assert [done.code for done in ended] == [0] * 10, [done for done in ended if done.code]
    assert history(project.url) == ["001_x.sql", "002_x.sql", "003_x.sql", "004_x.sql"]
    assert sum(done.out.count("  done in") for done in ended) == 4


@pytest.mark.parametrize("first_is_pooled", [True, False])
def test_a_pooled_and_a_direct_runner_keep_each_other_out(project, pooler, database, first_is_pooled):
    project.add("001_a.sql", "create table a (id int);\nselect pg_advisory_xact_lock(99);\n")
    urls = [project.url, pooler(database)]
    gate = connect(project.url)
    gate.cursor().execute("select pg_advisory_lock(99)")
    first = project.start("migrate", "--lock-timeout", "0", url=urls[first_is_pooled])
    wait_until(lambda: value(project.url, "select count(*) from pg_locks where not granted") > 0)
    status = project.ok("status", url=urls[first_is_pooled])
    second = project.start("migrate", url=urls[not first_is_pooled])
    said = second.process.stderr.readline().decode()
    gate.close()
    first, second = first.wait(), second.wait()
    assert (first.code, second.code) == (0, 0), (first, second)
    assert history(project.url) == ["001_a.sql"]
    assert "another runner is at work: pid " in status.out
    assert "running 001_a.sql" in status.out
    assert said.startswith("waiting for another runner: pid ")
    assert "running 001_a.sql" in said


def test_the_wait_for_another_runner_through_a_pooler_ends_in_time(project, pooler, database):
    project.add("001_a.sql", "select pg_sleep(5), 'mark-1';\n")
    first = project.start("migrate", url=pooler(database))
    wait_until(lambda: sleeping(project.url, "mark-1"))
    second = project.migrate("--wait", "0.3", url=pooler(database))
    assert second.code == 5, second
    assert "running 001_a.sql" in second.err
    first.signal(2)
    assert first.wait().code == 130


def test_nothing_that_a_file_sets_reaches_the_next_client(project, narrow, database):
    project.add(
        "001_a.sql",
        "create table a (id int);\nset search_path = pg_catalog;\nset lock_timeout = '1h';\nset role pg_monitor;\n"
        "reset role;\nprepare p as select 1;\nlisten x;\ncreate temp table tmp (id int);\n"
        "select pg_advisory_lock(1);\n",
    )
    project.ok("migrate", url=narrow(database))
    assert query(narrow(database), LEFT) == [CLEAN]


def test_nothing_of_a_file_that_fails_reaches_the_next_client(project, narrow, database):
    project.add(
        "001_a.sql",
        "set search_path = pg_catalog;\nprepare p as select 1;\nselect pg_advisory_lock(1);\nselect 1/0;\n",
    )
    done = project.migrate(url=narrow(database))
    assert done.code == 1
    assert "001_a.sql:4:1" in done.err
    assert query(narrow(database), LEFT) == [CLEAN]
    assert history(project.url) == []


@pytest.mark.parametrize("command", ["status", "verify", "plan", "migrate"])
def test_no_command_leaves_anything_behind(project, narrow, database, command):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate", url=narrow(database))
    project.add("002_b.sql", "create table b (id int);\n")
    done = project.run(command, url=narrow(database))
    assert "Traceback" not in done.err
    assert query(narrow(database), LEFT) == [CLEAN]


def test_rollback_works_through_transaction_pooling(project, narrow, database):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate", url=narrow(database))
    project.ok("rollback", "001_a.sql", "--reason", "why not", url=narrow(database))
    assert history(project.url) == []
    assert query(project.url, "select migration_name, reason from schema_migrations_removed") == [
        ("001_a.sql", "why not")
    ]


def test_what_is_not_safe_through_a_pooler_is_refused_with_the_way_out(project, pooler, database):
    project.add("001_a.sql", "create table a (id int);\n")
    done = project.run("baseline", "001_a.sql", url=pooler(database))
    assert done.code == 4, done
    assert "is a connection pooler" in done.err
    assert "--database-url postgresql://USER:PASSWORD@HOST:5432/DATABASE" in done.err
    assert history(project.url) == []
    project.add("002_b.sql", "-- migrate: no-transaction\ncreate index concurrently a_id_idx on a (id);\n")
    done = project.migrate(url=pooler(database))
    assert done.code == 1, done
    assert "002_b.sql runs outside a transaction, which is not safe through a connection pooler" in done.err
    assert tables(project.url) == []


@pytest.mark.parametrize(
    "command",
    [
        ("accept", "001_a.sql"),
        ("resolve", "002_b.sql", "--as", "applied"),
        ("rollback", "001_a.sql", "--execute"),
        ("baseline", "003_c.sql"),
    ],
    ids=lambda command: command[0],
)
def test_what_settles_a_history_is_refused_through_a_pooler(project, pooler, database, command):
    """Each of them would have something to do, and does it on a direct connection."""
    project.add("001_a.sql", "create table a (id int);\n-- rollback:\n--   drop table a;\n")
    project.ok("migrate")
    project.add(
        "002_b.sql", "-- migrate: no-transaction\nvacuum a;\ncreate index concurrently i on a (none);\n"
    )
    if command[0] == "resolve":
        assert project.migrate().code == 1
    if command[0] == "accept":
        project.add("001_a.sql", "create table a (id int);\n-- edited\n")
    if command[0] == "baseline":
        project.add("003_c.sql", "create table c (id int);\n")
    before = query(project.url, "select * from schema_migrations")
    done = project.run(*command, url=pooler(database))
    assert done.code == 4, done
    assert "is a connection pooler" in done.err
    assert "Nothing was run." in done.err
    assert query(project.url, "select * from schema_migrations") == before
    assert tables(project.url) == ["a"]
    project.ok(*command)


def test_session_pooling_works_too(project, server, database):
    project.add("001_a.sql", "create table a (id int);\nset search_path = pg_catalog;\n")
    with pooler_before(server, "session", 4) as url:
        project.ok("migrate", url=url(database))
        assert query(url(database), LEFT) == [CLEAN]
    assert history(project.url) == ["001_a.sql"]


def test_statement_pooling_is_refused_before_anything_runs(project, server, database):
    project.add("001_a.sql", "create table a (id int);\n")
    with pooler_before(server, "statement", 4) as url:
        done = project.migrate(url=url(database))
    assert done.code == 4, done
    assert done.err.startswith("error: the connection was lost: ")
    assert "statement pooling mode" in done.err
    assert tables(project.url) == []
    assert history(project.url) == []


@pytest.mark.parametrize("size", ["pooler", "narrow"])
def test_a_blocker_is_named_through_a_pooler_that_has_room(project, database, size, request):
    query(project.url, "create table busy (id int)")
    project.add("001_a.sql", "alter table busy add column x int;\n")
    holder = connect(project.url)
    holder.cursor().execute("begin; select * from busy")
    url = request.getfixturevalue(size)(database)
    done = project.migrate("--lock-timeout", "0.4", "--lock-attempts", "1", url=url)
    holder.close()
    assert done.code == 1
    assert "55P03" in done.err
    assert ("Blocked by pid " in done.err) == (size == "pooler")


def test_a_large_copy_goes_through_the_pooler(project, pooler, database):
    data = "".join(f"{number}\t{'x' * 100}\n" for number in range(50000))
    project.add("001_a.sql", "create table a (id int, note text);\ncopy a from stdin;\n" + data + "\\.\n")
    project.add("002_b.sql", "copy a to stdout;\n")
    project.ok("migrate", url=pooler(database))
    assert query(project.url, "select count(*) from a") == [(50000,)]
