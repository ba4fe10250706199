"""What is promised of the history: every way in which it and the files can disagree is named."""

from __future__ import annotations

import pytest

from tests.migrate.conftest import history, query, tables, value

A = "create table a (id int);\n"
B = "create table b (id int);\n"
C = "create table c (id int);\n"


@pytest.fixture
def migrated(project):
    project.add("001_a.sql", A)
    project.add("002_b.sql", B)
    project.ok("migrate")
    return project


def refused(project, *words):
    done = project.migrate()
    assert done.code == 6
    for word in words:
        assert word in done.err
    status = project.run("status")
    assert status.code == 6
    for word in words[:1]:
        assert word in status.out
    return done


def test_an_edited_file_is_named_and_shown_as_a_diff(migrated):
    migrated.add("002_b.sql", "create table b (id bigint);\n")
    migrated.add("003_c.sql", C)
    done = refused(migrated, "002_b.sql was edited after it ran")
    assert "-create table b (id int);" in done.err
    assert "+create table b (id bigint);" in done.err
    assert "c" not in tables(migrated.url)


def test_a_diff_is_shown_for_a_text_of_many_parts(project):
    lines = ["select '{}';".format("x" * 100) for _ in range(6000)]
    project.add("001_a.sql", "\n".join(lines) + "\n")
    project.ok("migrate")
    assert value(project.url, "select count(*) > 1 from schema_migrations_texts")
    lines[4000] = "select 'changed';"
    project.add("001_a.sql", "\n".join(lines) + "\n")
    done = refused(project, "001_a.sql was edited")
    assert "+select 'changed';" in done.err
    assert done.err.count("\n    +") == 2  # the header and the line


def test_a_missing_file_is_named(migrated):
    (migrated.folder / "001_a.sql").unlink()
    refused(migrated, "001_a.sql is in the history, but its file is missing", "rollback 001_a.sql")


def test_a_renamed_file_is_recognised(migrated):
    (migrated.folder / "002_b.sql").rename(migrated.folder / "002_better.sql")
    refused(migrated, "002_b.sql was renamed to 002_better.sql")
    assert history(migrated.url) == ["001_a.sql", "002_b.sql"]


def test_a_file_out_of_order_is_refused_unless_allowed(project):
    project.add("001_a.sql", A)
    project.add("003_c.sql", C)
    project.ok("migrate")
    project.add("002_b.sql", B)
    refused(project, "002_b.sql is new, but 003_c.sql ran already", "--allow-out-of-order")
    project.ok("migrate", "--allow-out-of-order")
    assert history(project.url) == ["001_a.sql", "003_c.sql", "002_b.sql"]
    project.ok("migrate")
    assert project.run("status").code == 0


def test_swapped_files_are_recognised(migrated):
    migrated.add("001_a.sql", B)
    migrated.add("002_b.sql", A)
    refused(migrated, "001_a.sql now holds the content with which 002_b.sql ran")


def test_a_database_ahead_of_the_code_is_fine(migrated):
    (migrated.folder / "002_b.sql").unlink()
    done = migrated.ok("migrate")
    assert "ahead" in done.err
    assert "002_b.sql" in done.err
    assert "ahead" in migrated.ok("status").out


def test_several_disagreements_are_all_named(migrated):
    migrated.add("001_a.sql", A + "-- more\n")
    migrated.add("000_z.sql", C)
    refused(migrated, "001_a.sql was edited", "000_z.sql is new")


def test_the_text_that_ran_is_kept(migrated):
    rows = query(
        migrated.url,
        "select m.migration_name, t.content from schema_migrations m join schema_migrations_texts t using (checksum) "
        "order by m.id",
    )
    assert rows == [("001_a.sql", A), ("002_b.sql", B)]


def test_the_text_is_kept_whatever_it_holds(project):
    text = "-- $q$ $qq ' \\ \" $1 é🙂\nset standard_conforming_strings = off;\nset backslash_quote = on;\nselect 'a\\'b';\n"
    project.add("001_a.sql", text)
    project.ok("migrate")
    assert value(project.url, "select content from schema_migrations_texts") == text


def test_equal_files_share_their_text(project):
    project.add("001_a.sql", "select 1;\n")
    project.add("002_b.sql", "select 1;\n")
    project.ok("migrate")
    assert value(project.url, "select count(*) from schema_migrations_texts") == 1


def test_the_history_is_found_after_the_search_path_of_the_database_changed(project):
    name = value(project.url, "select current_database()")
    project.add("001_a.sql", A)
    project.add("002_path.sql", f'create schema s;\nalter database "{name}" set search_path = s, public;\n')
    project.ok("migrate")
    project.add("003_c.sql", "create table c (id int);\n")
    project.ok("migrate")
    assert history(project.url) == ["001_a.sql", "002_path.sql", "003_c.sql"]
    assert tables(project.url, "s") == ["c"]


def test_the_history_is_made_in_the_first_schema_of_the_search_path(project):
    query(project.url, "create schema first")
    project.add("001_a.sql", A)
    mark = "&" if "?" in project.url else "?"
    url = project.url + mark + "options=-csearch_path%3Dnope,first,public"
    project.ok("migrate", url=url)
    assert value(project.url, "select count(*) from first.schema_migrations") == 1
    project.ok("status", "--check", url=url)


def test_a_login_with_only_create_on_the_database_gets_a_schema_of_its_own(project, login):
    query(project.url, "revoke create on schema public from public")
    name, url = login(
        'grant create on database "{}" to {{}}'.format(value(project.url, "select current_database()"))
    )
    project.add("001_a.sql", "create schema s;\ncreate table s.a (id int);\n")
    done = project.ok("migrate", url=url)
    assert 'the history goes to the schema "migrations"' in done.err
    assert query(project.url, "select executed_by from migrations.schema_migrations") == [(name,)]
    project.ok("status", "--check", url=url)
    assert "up to date" in project.ok("migrate", url=url).out


def test_objects_of_the_same_name_in_the_search_path_do_not_fool_the_engine(project):
    query(project.url, "create schema evil")
    for statement in (
        "create function evil.txid_current() returns bigint language sql as 'select 1::bigint'",
        "create function evil.string_agg(text, text) returns text language sql as 'select null::text'",
        "create function evil.current_setting(text) returns text language sql as 'select ''on''::text'",
        "create function evil.pg_try_advisory_lock(bigint) returns boolean language sql as 'select true'",
        "create table evil.pg_class (oid oid, relname name)",
        "create table evil.pg_namespace (oid oid)",
        "create function evil.eq(text, text) returns boolean language sql as 'select false'",
        "create operator evil.= (leftarg = text, rightarg = text, function = evil.eq)",
    ):
        query(project.url, statement)
    project.add("001_a.sql", "create table public.a (id int);\n")
    project.add("002_b.sql", "create table public.b (id int);\n")
    mark = "&" if "?" in project.url else "?"
    url = project.url + mark + "options=-csearch_path%3Dpublic,evil,pg_catalog"
    project.ok("migrate", url=url)
    assert history(project.url) == ["001_a.sql", "002_b.sql"]
    project.ok("status", "--check", url=url)
    project.ok("rollback", "002_b.sql", url=url)


def test_the_reset_of_the_seed_document_starts_over(migrated):
    query(migrated.url, "drop table if exists schema_migrations")
    query(migrated.url, "drop table a, b")
    migrated.ok("migrate")
    assert history(migrated.url) == ["001_a.sql", "002_b.sql"]
