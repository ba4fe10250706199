"""What is promised of runners at the same time: one works, the others wait and say for whom."""

from __future__ import annotations

import time

from tests.migrate.conftest import connect, history, query, sleeping, tables, value, wait_until


def test_two_runners_at_once_both_succeed_and_each_file_runs_once(project):
    project.add(
        "001_a.sql",
        "-- migrate: lock-timeout=0\nselect pg_advisory_xact_lock(77);\ncreate table a (id int);\n",
    )
    project.add("002_b.sql", "create table b (id int);\n")
    gate = connect(project.url)
    gate.cursor().execute("select pg_advisory_lock(77)")
    first = project.start("migrate")
    wait_until(lambda: value(project.url, "select count(*) from pg_locks where not granted") > 0)
    second = project.start("migrate")
    waiting = second.process.stderr.readline().decode()
    gate.close()
    first, second = first.wait(), second.wait()
    assert (first.code, second.code) == (0, 0), (first, second)
    assert history(project.url) == ["001_a.sql", "002_b.sql"]
    assert "waiting for another runner: pid " in waiting
    assert "running 001_a.sql" in waiting


def test_twenty_at_once_on_an_empty_database(project):
    for number in range(1, 6):
        project.add(f"{number:03d}_x.sql", f"create table t{number} (id int);\n")
    runners = [project.start("migrate") for _ in range(20)]
    ended = [runner.wait(90) for runner in runners]
    assert [done.code for done in ended] == [0] * 20, [done for done in ended if done.code]
    assert len(history(project.url)) == 5
    assert sum(done.out.count("  done in") for done in ended) == 5


def test_waiting_ends_in_time_with_exit_5_naming_the_holder(project):
    project.add("001_a.sql", "select pg_sleep(60), 'mark-1';\n")
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    second = project.migrate("--wait", "0.3")
    assert second.code == 5
    assert sleeping(project.url, "mark-1")
    assert "running 001_a.sql" in second.err
    first.signal(2)
    first.wait()


def test_rollback_takes_the_same_lock(project):
    project.add("001_a.sql", "select 1;\n")
    project.ok("migrate")
    project.add("002_b.sql", "select pg_sleep(60), 'mark-1';\n")
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    assert project.run("rollback", "001_a.sql", "--wait", "0.2").code == 5
    first.signal(2)
    first.wait()


def test_status_never_waits_and_says_what_runs(project):
    project.add("001_a.sql", "create table a (id int);\nselect pg_sleep(60), 'mark-1';\n")
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    done = project.ok("status")
    assert sleeping(project.url, "mark-1")
    assert "another runner is at work: pid " in done.out
    assert "running 001_a.sql for " in done.out
    assert project.ok("status", "--json").json["running"]["file"] == "001_a.sql"
    first.signal(2)
    first.wait()


def test_different_databases_do_not_wait_for_each_other(project, server):
    project.add(
        "001_a.sql", "select case when current_database() like 'm\\_%' then pg_sleep(30) end, 'mark-1';\n"
    )
    query(server.url("postgres"), "create database other_one template template0")
    try:
        first = project.start("migrate")
        wait_until(lambda: sleeping(project.url, "mark-1"))
        assert project.migrate("--wait", "0.2", url=server.url("other_one")).code == 0
        assert sleeping(project.url, "mark-1")
        first.signal(2)
        first.wait()
    finally:
        query(server.url("postgres"), "drop database other_one")


def test_a_discard_all_hidden_in_a_file_does_not_lose_the_lock(project):
    project.add(
        "001_a.sql",
        "select pg_advisory_unlock_all();\nselect pg_sleep(0.8), 'mark-1';\ncreate table a (id int);\n",
    )
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    second = project.start("migrate")
    assert (first.wait().code, second.wait().code) == (0, 0)
    assert history(project.url) == ["001_a.sql"]


def test_a_lost_lock_is_noticed_before_commit(project):
    project.add("001_a.sql", "create table a (id int);\nselect pg_sleep(1), 'mark-1';\n")
    running = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    query(
        project.url,
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid() "
        "and database = (select oid from pg_database where datname = current_database())",
    )
    done = running.wait()
    assert done.code == 1
    assert "migration lock was lost" in done.err
    assert tables(project.url) == []
    assert history(project.url) == []
    project.ok("migrate")


def test_the_lock_waits_without_a_snapshot(project):
    """A waiter that held a snapshot would deadlock with CREATE INDEX CONCURRENTLY in the one that works."""
    query(project.url, "create table t (id int)")
    project.add("001_a.sql", "select pg_sleep(60), 'mark-1';\n")
    first = project.start("migrate")
    wait_until(lambda: sleeping(project.url, "mark-1"))
    second = project.start("migrate")
    assert second.process.stderr.readline().startswith(b"waiting for another runner")
    connection = connect(project.url)
    with connection.cursor() as cursor:
        cursor.execute("set lock_timeout = '5s'")
        cursor.execute(
            "select count(*) from pg_stat_activity where application_name like 'enterprise-ai migrate%' "
            "and datname = current_database() and state = 'idle in transaction'"
        )
        assert cursor.fetchone()[0] == 0
    connection.close()
    for runner in (second, first):
        runner.signal(2)
        assert runner.wait().code == 130


def test_a_file_behind_a_lock_is_tried_again(project):
    query(project.url, "create table busy (id int)")
    project.add("001_a.sql", "create table a (id int);\nalter table busy add column x int;\n")
    holder = connect(project.url)
    cursor = holder.cursor()
    cursor.execute("begin; select * from busy")
    running = project.start("migrate", "--lock-timeout", "0.2")
    wait_until(lambda: value(project.url, "select count(*) from pg_locks where not granted") > 0)
    time.sleep(0.4)
    cursor.execute("commit")
    holder.close()
    done = running.wait()
    assert done.code == 0
    assert "attempt 2 of 10" in done.err
    assert history(project.url) == ["001_a.sql"]


def test_a_file_that_never_gets_its_lock_gives_up(project):
    query(project.url, "create table busy (id int)")
    project.add("001_a.sql", "create table a (id int);\nalter table busy add column x int;\n")
    holder = connect(project.url)
    holder.cursor().execute("begin; select * from busy")
    done = project.migrate("--lock-timeout", "0.1", "--lock-attempts", "2")
    holder.close()
    assert done.code == 1
    assert "001_a.sql:2:1" in done.err
    assert "55P03" in done.err
    assert tables(project.url) == ["busy"]


def test_other_errors_are_never_tried_again(project):
    project.add("001_a.sql", "select 1 / 0;\n")
    assert "attempt" not in project.migrate().err


def test_a_lock_on_the_history_is_not_waited_for_in_silence(project):
    project.add("001_a.sql", "create table a (id int);\n")
    project.ok("migrate")
    holder = connect(project.url)
    try:
        holder.cursor().execute("begin; lock table schema_migrations in access exclusive mode")
        for command in ("migrate", "status"):
            before = time.monotonic()
            done = project.run(command)
            assert time.monotonic() - before < 10
            assert done.code == 1, done
            assert "Another session holds a lock on it" in done.err
            (line,) = [one for one in done.err.splitlines() if one.startswith("WHERE pid IN")]
            found = query(project.url, "select pid from pg_stat_activity " + line)
            assert (holder.info.backend_pid,) in found
    finally:
        holder.close()
