"""What is promised of a busy database: short waits, bounded retries, and the name of who stands in the way."""

from __future__ import annotations

import threading
import time

import pytest

from tests.migrate.conftest import connect, driver, history, query, tables, value, wait_until


def hold(url):
    """Read a table in a transaction that is left open; return its cursor."""
    cursor = connect(url).cursor()
    cursor.execute("set application_name = 'the web shop'")
    cursor.execute("begin")
    cursor.execute("select id from busy /* a long\n   story */")
    cursor.fetchall()
    return cursor


@pytest.fixture
def busy(url):
    """A table that somebody reads in a transaction left open."""
    query(url, "create table busy (id int); insert into busy values (1)")
    cursor = hold(url)
    yield cursor
    cursor.connection.close()


def waiting(url):
    return value(url, "select count(*) from pg_locks where not granted") > 0


def test_a_waiting_alter_does_not_stop_the_readers_behind_it_for_long(project, busy):
    project.add("001_a.sql", "alter table busy add column x int;\n")
    running = project.start("migrate", "--lock-timeout", "0.3", "--lock-attempts", "3")
    wait_until(lambda: waiting(project.url))
    before = time.monotonic()
    assert query(project.url, "select id from busy") == [(1,)]
    assert time.monotonic() - before < 1.5
    running.wait()


def test_who_gives_up_names_the_blocker(project, busy):
    pid = value(project.url, "select pid from pg_stat_activity where application_name = 'the web shop'")
    project.add("001_a.sql", "create table a (id int);\nalter table busy add column x int;\n")
    done = project.migrate("--lock-timeout", "0.3", "--lock-attempts", "2")
    assert done.code == 1
    assert "001_a.sql:2:1" in done.err
    assert "Tried 2 times." in done.err
    line = next(line for line in done.err.splitlines() if line.startswith("Blocked by "))
    assert line.startswith(
        f"Blocked by pid {pid}, user postgres, application the web shop, idle in transaction, "
        "transaction open for "
    )
    assert line.endswith("last query: select id from busy /* a long story */")
    assert f"SELECT pg_terminate_backend({pid});" in done.err
    # The attempt before it says so too, while there is time to do something.
    assert f"blocked by pid {pid}" in done.err.split("attempt 2 of 2")[0]
    assert tables(project.url) == ["busy"]
    assert history(project.url) == []


def test_the_blocker_is_a_fact_for_programs_too(project, busy):
    project.add("001_a.sql", "alter table busy add column x int;\n")
    done = project.migrate("--lock-timeout", "0.2", "--lock-attempts", "1", "--json")
    (blocker,) = done.json["error"]["blockers"]
    assert blocker["application"] == "the web shop"
    assert blocker["state"] == "idle in transaction"


def test_a_login_that_may_not_see_the_blocker_still_hears_of_it(project, url, login):
    query(url, "create table busy (id int)")
    _, own_url = login("grant create, usage on schema public to {}", "alter table busy owner to {}")
    holder = hold(url)
    project.add("001_a.sql", "alter table busy add column x int;\n")
    done = project.migrate("--lock-timeout", "0.3", "--lock-attempts", "1", url=own_url)
    holder.connection.close()
    assert done.code == 1
    line = next(line for line in done.err.splitlines() if line.startswith("Blocked by "))
    assert line.startswith("Blocked by pid ")
    assert "user postgres" in line
    assert "more is shown to members of pg_monitor" in line


def test_a_wait_inside_do_or_a_function_names_the_blocker_too(project, busy):
    project.add("001_a.sql", "do $$ begin\n  execute 'alter table busy add column x int';\nend $$;\n")
    done = project.migrate("--lock-timeout", "0.3", "--lock-attempts", "1")
    assert "001_a.sql:2:" in done.err
    assert "Blocked by pid " in done.err


def test_a_row_lock_names_the_blocker_too(project, url):
    query(url, "create table busy (id int); insert into busy values (1)")
    holder = connect(url)
    holder.cursor().execute("begin; update busy set id = 2")
    project.add("001_a.sql", "update busy set id = 3;\n")
    done = project.migrate("--lock-timeout", "0.3", "--lock-attempts", "1")
    holder.close()
    assert "55P03" in done.err
    assert "Blocked by pid " in done.err


def test_attempts_are_bounded_with_growing_pauses(project, busy):
    project.add("001_a.sql", "alter table busy add column x int;\n")
    before = time.monotonic()
    done = project.migrate("--lock-timeout", "0.1", "--lock-attempts", "3")
    assert time.monotonic() - before < 6
    assert done.code == 1
    assert [
        line for line in done.err.splitlines() if "attempt" in line and line.startswith("001_a.sql: ")
    ] != []
    assert "attempt 2 of 3" in done.err
    assert "attempt 3 of 3" in done.err
    assert "attempt 4" not in done.err


def test_the_whole_file_is_tried_again_not_only_the_statement(project, busy):
    project.add(
        "001_a.sql",
        "create table a (id int);\ninsert into a values (1);\nalter table busy add column x int;\n",
    )
    running = project.start("migrate", "--lock-timeout", "0.2")
    wait_until(lambda: waiting(project.url))
    wait_until(lambda: not waiting(project.url))
    assert tables(project.url) == ["busy"]  # between the attempts nothing of the file is there
    busy.execute("commit")
    assert running.wait().code == 0
    assert value(project.url, "select count(*) from a") == 1


def test_the_files_own_lock_timeout_wins(project, busy):
    project.add("001_a.sql", "set local lock_timeout = '100ms';\nalter table busy add column x int;\n")
    before = time.monotonic()
    done = project.migrate("--lock-timeout", "30", "--lock-attempts", "1")
    assert time.monotonic() - before < 10
    assert done.code == 1
    assert "001_a.sql:2:1" in done.err
    assert "55P03" in done.err


def test_the_directive_of_a_file_wins_over_the_command_line(project, busy):
    project.add("001_a.sql", "-- migrate: lock-timeout=100ms\nalter table busy add column x int;\n")
    before = time.monotonic()
    assert project.migrate("--lock-timeout", "30", "--lock-attempts", "1").code == 1
    assert time.monotonic() - before < 10


def test_a_lock_timeout_of_zero_waits(project, busy):
    project.add("001_a.sql", "alter table busy add column x int;\n")
    running = project.start("migrate", "--lock-timeout", "0", "--lock-attempts", "1")
    wait_until(lambda: waiting(project.url))
    time.sleep(0.7)
    assert waiting(project.url)
    busy.execute("commit")
    done = running.wait()
    assert done.code == 0, done
    assert "attempt" not in done.err


def test_a_deadlock_is_tried_again(project, url):
    """Two sessions that lock the same tables in another order: whichever is the victim, the file gets done."""
    query(url, "create table one (id int); create table two (id int)")
    other = connect(url)
    cursor = other.cursor()
    cursor.execute("set deadlock_timeout = '10s'")  # so that the server picks the file's session
    cursor.execute("begin; lock table two")
    project.add(
        "001_a.sql",
        "set local deadlock_timeout = '50ms';\nalter table one add column x int;\nalter table two add column x int;\n",
    )
    running = project.start("migrate", "--lock-timeout", "8")
    wait_until(lambda: waiting(url))

    def lock_the_other_one():
        try:
            cursor.execute("lock table one")
        except driver.Error:
            pass
        cursor.execute("commit")

    thread = threading.Thread(target=lock_the_other_one)
    thread.start()
    done = running.wait()
    thread.join()
    other.close()
    assert done.code == 0, done
    assert history(url) == ["001_a.sql"]
    assert tables(url) == ["one", "two"]


def test_an_error_that_is_no_lock_is_not_tried_again(project, busy):
    project.add("001_a.sql", "select 1 / 0;\n")
    done = project.migrate()
    assert "attempt" not in done.err
    assert "Blocked by" not in done.err


def test_looking_for_blockers_does_not_disturb_a_slow_file(project):
    """The connection that looks is the one that holds the lock: it must still hold it afterwards."""
    project.add("001_a.sql", "select pg_sleep(1.2);\ncreate table a (id int);\n")
    project.add("002_b.sql", "select pg_sleep(0.2);\ncreate table b (id int);\n")
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


def test_a_login_that_works_in_another_role_hears_of_the_blocker_too(project, login):
    owner, _ = login()
    name, url = login(f"grant {owner} to {{}}")
    query(project.url, f"grant all on schema public to {owner}; alter role {name} noinherit")
    query(project.url, f"alter role {name} set role = {owner}")
    query(project.url, f"create table busy (id int); alter table busy owner to {owner}")
    cursor = hold(project.url)
    try:
        project.add("001_a.sql", "alter table busy add column x int;\n")
        done = project.migrate("--lock-timeout", "0.4", "--lock-attempts", "1", url=url)
        assert done.code == 1, done
        assert "Blocked by pid" in done.err
    finally:
        cursor.connection.close()
