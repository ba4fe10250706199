"""What is promised of one file and its transaction: all of it and its record, or nothing."""

from __future__ import annotations

import pytest

from tests.migrate.conftest import history, query, tables, value


def test_a_failed_file_leaves_nothing_and_earlier_ones_stay(project):
    project.add("001_a.sql", "create table a (id int);")
    project.add("002_b.sql", "create table b (id int);\ninsert into a values (1);\nselect 1 / 0;\n")
    project.add("003_c.sql", "create table c (id int);")
    done = project.migrate()
    assert done.code == 1
    assert tables(project.url) == ["a"]
    assert value(project.url, "select count(*) from a") == 0
    assert history(project.url) == ["001_a.sql"]
    assert "Nothing of 002_b.sql stays" in done.err
    project.add("002_b.sql", "create table b (id int);")
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_b.sql", "003_c.sql"]


ENDING = {
    "COMMIT": "create table a (id int);\ncommit;\ncreate table b (id int);\n",
    "END": "create table a (id int);\nend;\ncreate table b (id int);\n",
    "ROLLBACK": "create table a (id int);\nrollback;\ncreate table b (id int);\n",
    "ABORT": "create table a (id int);\nabort work;\ncreate table b (id int);\n",
    "BEGIN": "create table a (id int);\nbegin;\ncreate table b (id int);\ncommit;\n",
    "START TRANSACTION": "create table a (id int);\nstart transaction;\ncommit;\n",
    "COMMIT and chain": "create table a (id int);\ncommit and chain;\ncreate table b (id int);\n",
    "ROLLBACK and chain": "create table a (id int);\nrollback and chain;\ncreate table b (id int);\n",
    "PREPARE TRANSACTION": "create table a (id int);\nprepare transaction 'x';\ncreate table b (id int);\n",
    "ROLLBACK prepared": "create table a (id int);\nrollback prepared 'x';\n",
}


@pytest.mark.parametrize("command", sorted(ENDING))
def test_a_file_that_ends_its_transaction_is_caught(project, command):
    project.add("001_a.sql", ENDING[command])
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:2:1" in done.err
    assert command.split(" and")[0].split(" prepared")[0] in done.err
    assert tables(project.url) == []
    assert history(project.url) == []


def test_a_block_that_commits_is_caught(project):
    project.add("001_a.sql", "create table a (id int);\ndo $$\nbegin\n  commit;\nend $$;\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:4:3" in done.err
    assert "2D000" in done.err
    assert tables(project.url) == []
    assert history(project.url) == []


def test_a_procedure_that_commits_is_caught(project):
    project.add(
        "001_a.sql",
        "create procedure p() language plpgsql as $$ begin commit; end $$;\ncreate table a (id int);\ncall p();\n",
    )
    done = project.migrate()
    assert done.code == 1
    assert "2D000" in done.err
    assert tables(project.url) == []
    assert history(project.url) == []


def test_a_transaction_that_is_not_ours_any_more_is_never_recorded(project):
    """The check behind the check: a file that the lexer let through cannot be recorded in another transaction."""
    from enterprise_ai.migrate import checks
    from enterprise_ai.migrate.errors import FileError
    from enterprise_ai.migrate.migrator import Migrator

    for text in (
        "create table a (id int); rollback;",
        "commit; begin; create table b (id int);",
        "commit and chain;",
    ):
        project.add("001_a.sql", text)
        watched = checks._WATCHED
        checks._WATCHED = frozenset()
        try:
            with pytest.raises(FileError, match="ended the transaction"):
                Migrator(project.url, migrations=project.folder).migrate()
        finally:
            checks._WATCHED = watched
        assert history(project.url) == []
        assert "b" not in tables(project.url)


def test_savepoints_are_fine(project):
    project.add(
        "001_a.sql",
        "create table a (id int);\nsavepoint s;\ninsert into a values (1);\nrollback to s;\n"
        "insert into a values (2);\nrollback work to savepoint s;\nrelease s;\ninsert into a values (3);\n",
    )
    project.ok("migrate")
    assert query(project.url, "select id from a") == [(3,)]


def test_a_deferred_constraint_belongs_to_the_file(project):
    project.add(
        "001_a.sql",
        "create table a (id int primary key, b int references a deferrable initially deferred);\n"
        "insert into a values (1, 2);\n",
    )
    done = project.migrate()
    assert done.code == 1
    assert "23503" in done.err
    assert "001_a.sql" in done.err
    assert tables(project.url) == []
    assert history(project.url) == []


def test_the_isolation_level_may_be_set_first(project):
    project.add(
        "001_a.sql",
        "-- first\nset transaction isolation level serializable;\n"
        "create table a as select current_setting('transaction_isolation') as t;\n",
    )
    project.ok("migrate")
    assert value(project.url, "select t from a") == "serializable"


def test_an_enum_value_added_in_one_file_is_used_in_the_next(project):
    project.add("001_a.sql", "create type mood as enum ('sad');\ncreate table a (m mood);")
    project.add("002_b.sql", "alter type mood add value 'happy';")
    project.add("003_c.sql", "insert into a values ('happy');")
    project.ok("migrate")
    assert value(project.url, "select m::text from a") == "happy"


def test_an_enum_value_used_in_the_file_that_adds_it_is_explained(project):
    project.add("001_a.sql", "create type mood as enum ('sad');\ncreate table a (m mood);")
    project.add("002_b.sql", "alter type mood add value 'happy';\ninsert into a values ('happy');")
    done = project.migrate()
    assert done.code == 1
    assert "55P04" in done.err
    assert "next file" in done.err


NEEDS_NONE = [
    "create index concurrently i on a (id);",
    "create unique index concurrently if not exists i on a (id);",
    "drop index concurrently if exists i;",
    "reindex table concurrently a;",
    "reindex (verbose) index concurrently i;",
    "reindex database x;",
    "alter table a detach partition b concurrently;",
    "alter table if exists only s.a detach partition s.b concurrently;",
    "vacuum a;",
    "vacuum (analyze);",
    "cluster;",
    "create database x;",
    "drop database x;",
    "create tablespace t location '/x';",
    "alter system set work_mem = '1MB';",
    "alter database x set tablespace y;",
    "discard all;",
]


@pytest.mark.parametrize("statement", NEEDS_NONE)
def test_a_statement_that_needs_no_transaction_is_found_before_anything_runs(project, statement):
    project.add("001_a.sql", "create table a (id int);")
    project.add("002_b.sql", "select 1;\n  /* here */ " + statement)
    done = project.migrate()
    assert done.code == 1
    assert "002_b.sql:2:14" in done.err
    assert "-- migrate: no-transaction" in done.err
    assert tables(project.url) == []


def test_statements_that_only_look_like_that_run(project):
    project.add(
        "001_a.sql",
        "create table a (concurrently_ int);\ncreate index commit_ on a (concurrently_);\nanalyze a;\n"
        "comment on table a is 'vacuum; commit; create index concurrently';\nreindex table a;\n"
        "create materialized view v as select 1 as begin;\ncreate unique index on v (begin);\n"
        "refresh materialized view concurrently v;\ncluster a using commit_;\n"
        "create function f() returns int language plpgsql as $$ begin return 1; end $$;\n",
    )
    project.ok("migrate")


def test_a_file_that_drops_the_history_fails_cleanly(project):
    project.add("001_a.sql", "create table a (id int);")
    project.ok("migrate")
    for text in (
        "drop table schema_migrations;",
        "alter table schema_migrations rename to other;",
        "alter table schema_migrations add column x int;",
        "alter table schema_migrations drop column checksum;",
        "delete from schema_migrations;",
        "update schema_migrations set checksum = 'x';",
        "truncate schema_migrations;",
        "insert into schema_migrations (migration_name, checksum, execution_time_ms) values ('x', 'y', 1);",
        "drop schema public cascade; create schema public;",
        "alter table schema_migrations add check (id < 3);",
        "create rule r as on update to schema_migrations do instead nothing;",
        "alter table schema_migrations enable row level security;",
        "create function f() returns trigger language plpgsql as 'begin return new; end';\n"
        "create trigger t after insert on schema_migrations for each row execute function f();",
        "drop table schema_migrations_texts;",
    ):
        project.add("002_b.sql", "create table b (id int);\n" + text)
        done = project.migrate()
        assert done.code == 1, (text, done)
        assert "schema_migrations" in done.err, text
        assert history(project.url) == ["001_a.sql"], text
        assert tables(project.url) == ["a"], text


def test_what_is_done_to_all_tables_alike_does_not_change_the_history(project):
    project.add("001_a.sql", "create table a (id int);")
    project.add(
        "002_b.sql",
        "grant select on all tables in schema public to public; comment on table schema_migrations is 'x';\n"
        "create index on schema_migrations (executed_at); analyze schema_migrations;\n"
        "lock table schema_migrations in access exclusive mode;",
    )
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


@pytest.mark.parametrize("suffix", ["texts", "removed"])
def test_a_foreign_table_with_the_name_of_another_of_ours_is_refused_and_left_alone(project, suffix):
    query(project.url, f"create table schema_migrations_{suffix} (x int)")
    project.add("001_a.sql", "create table a (id int);")
    done = project.migrate()
    assert done.code == 6, done
    assert "Nothing was run, nothing was changed." in done.err
    found = query(project.url, "select relname from pg_class where relnamespace = 'public'::regnamespace")
    assert found == [(f"schema_migrations_{suffix}",)]


def test_a_foreign_table_of_that_name_is_refused_and_left_alone(project):
    query(project.url, "create table schema_migrations (version text primary key)")
    query(project.url, "insert into schema_migrations values ('20200101')")
    project.add("001_a.sql", "create table a (id int);")
    for command in ("migrate", "status"):
        done = project.run(command)
        assert done.code == 6
        assert "schema_migrations" in done.err
    assert query(project.url, "select * from schema_migrations") == [("20200101",)]
    assert tables(project.url) == []


def test_a_view_of_that_name_is_refused(project):
    query(project.url, "create view schema_migrations as select 1 as id")
    project.add("001_a.sql", "create table a (id int);")
    assert project.migrate().code == 6
