"""What is promised of errors: the place in the file, what the server said, the state, the next step."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

from enterprise_ai.migrate.cli import main
from enterprise_ai.migrate.migrator import Migrator
from tests.migrate.conftest import RUNNER, drop_database, history, query, value


def fail(project, text, name="003_x.sql"):
    project.add(name, text)
    done = project.migrate()
    assert done.code == 1, done
    assert "Traceback" not in done.err
    assert " applied" not in done.err
    return done.err


def caret(error):
    """Return the character that the caret is under, counted in characters."""
    lines = error.split("\n")
    at = next(index for index, line in enumerate(lines) if line.strip("\u3000\u200b \t") == "^")
    return lines[at - 1][lines[at].index("^")]


def test_file_line_column_section_caret_message_and_code(project):
    filler = "-- a comment\n" * 9
    error = fail(
        project,
        filler
        + "--- audit: event chain -----\n\ncreate table t (id int);\ncreate idx on t (id);\n--- later ---\n",
    )
    assert error.startswith(
        '003_x.sql:13:8, in "audit: event chain"\n    create idx on t (id);\n           ^\n'
    )
    assert 'syntax error at or near "idx" (42601)' in error
    assert "Nothing of 003_x.sql stays" in error


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_and_columns_are_right_for_every_line_end(project, end):
    error = fail(project, end.join(["select 1;", "", "select 'é🙂', nope", "  from pg_class;"]))
    assert "003_x.sql:3:14" in error
    assert caret(error) == "n"


def test_columns_count_characters(project):
    error = fail(project, "select '日本語 🙂🙂 é', 'e\u0301', nope from pg_class;")
    assert "003_x.sql:1:26" in error
    assert caret(error) == "n"


def test_tabs_before_the_caret_stay_tabs(project):
    error = fail(project, "select\n\t\tnope from pg_class;")
    assert "    \t\tnope from pg_class;\n    \t\t^" in error


def test_a_long_line_is_shown_around_the_caret(project):
    error = fail(project, "select " + "1, " * 2000 + "nope, " + "2, " * 2000 + "3 from pg_class;")
    assert "003_x.sql:1:6008" in error
    assert caret(error) == "n"
    assert max(len(line) for line in error.split("\n")) < 200


def test_without_a_position_the_statement_is_named(project):
    error = fail(
        project,
        "create table t (id int primary key);\ninsert into t values (1);\n\n-- twice\ninsert into t\n  values (1);\n",
    )
    assert error.startswith("003_x.sql:5:1\n")
    assert "statement 3: insert into t" in error
    assert "DETAIL: Key (id)=(1) already exists." in error
    assert "CONSTRAINT: t_pkey" in error
    assert "(23505)" in error


def test_detail_hint_and_context_are_shown(project):
    error = fail(
        project,
        "create table t (id int);\ndo $$\nbegin\n  raise exception 'boom' using detail = 'the detail',\n"
        "    hint = 'the hint', errcode = 'P0042';\nend $$;\n",
    )
    assert error.startswith("003_x.sql:4:3\n")
    for text in ("boom (P0042)", "DETAIL: the detail", "HINT: the hint", "CONTEXT: "):
        assert text in error


def test_the_line_inside_a_do_block_by_its_internal_position(project):
    error = fail(
        project,
        "select 1;\ndo $$\ndeclare n int;\nbegin\n  select count(*) into n\n    from nowhere;\nend $$;\n",
    )
    assert error.startswith("003_x.sql:6:10\n")
    assert caret(error) == "n"


def test_the_column_inside_a_do_block_of_perform_and_of_expressions(project):
    error = fail(project, "do $$\nbegin\n  perform nope();\nend $$;\n")
    assert error.startswith("003_x.sql:3:11\n")
    error = fail(project, "do $$\nbegin\n  if 1 > 2\n     or nope > 1 then\n    null;\n  end if;\nend $$;\n")
    assert error.startswith("003_x.sql:4:9\n")


def test_the_line_inside_a_do_block_by_its_context(project):
    error = fail(project, "select 1;\ndo $x$ begin\n  perform 1;\n  perform 1 / 0;\nend $x$;\n")
    assert error.startswith("003_x.sql:4:")


def test_a_syntax_error_inside_a_do_block(project):
    error = fail(project, "select 1;\ndo $$\nbegin\n  foo bar;\nend $$;\n")
    assert error.startswith("003_x.sql:4:3\n")


@pytest.mark.parametrize("language", ["sql", "plpgsql"])
def test_the_line_inside_a_function_body_when_it_is_created(project, language):
    body = "select nope\n    from pg_class;" if language == "sql" else "begin\n  retrun 1;\nend"
    error = fail(
        project,
        f"select 1;\ncreate function f() returns text\nlanguage {language}\nas $$\n{body}\n$$;\n",
    )
    line = {"sql": "003_x.sql:5:8", "plpgsql": "003_x.sql:6:"}[language]
    assert error.startswith(line)


def test_the_line_inside_a_function_that_the_file_made_and_called(project):
    error = fail(
        project,
        "create schema s;\ncreate function s.f(x int) returns int language plpgsql as $$\nbegin\n"
        "  return x / 0;\nend $$;\nselect s.f(1);\n",
    )
    assert error.startswith("003_x.sql:4:")
    assert "division by zero (22012)" in error


def test_a_function_of_another_file_leaves_the_place_at_its_call(project):
    project.add(
        "001_f.sql",
        "create function f() returns int language plpgsql as $$\nbegin\n\n\n  return 1 / 0;\nend $$;",
    )
    error = fail(project, "select 1;\nselect f();\n")
    assert error.startswith("003_x.sql:2:1\n")
    assert "function f() line 5" in error


def test_the_failing_statement_of_a_streamed_file_is_named_exactly(project):
    rows = [
        f"insert into t values ({n}, 'some text to make this file long; it''s enough');" for n in range(9000)
    ]
    rows[7000] = "insert into t values (6999, 'again');"
    text = "create table t (id int primary key, x text);\n" + "\n".join(rows) + "\n"
    assert len(text) > 600000
    error = fail(project, text)
    assert error.startswith("003_x.sql:7002:1\n")
    assert "statement 7002: insert into t values (6999, 'again');" in error


def test_notices_and_warnings_come_with_file_and_line(project):
    project.add(
        "001_a.sql",
        "drop table if exists nope;\n\ndo $$\nbegin\n  raise warning 'careful';\nend $$;\nselect 1;\n"
        "create table if not exists t (id int);\ncreate table if not exists t (id int);\n",
    )
    done = project.ok("migrate")
    assert '001_a.sql:1: NOTICE: table "nope" does not exist, skipping' in done.err
    assert "001_a.sql:3: WARNING: careful" in done.err
    assert '001_a.sql:9: NOTICE: relation "t" already exists, skipping' in done.err


def test_a_notice_comes_while_the_file_still_runs(project):
    project.add("001_a.sql", "do $$ begin raise notice 'now'; perform pg_sleep(20); end $$;")
    running = project.start("migrate")
    line = running.process.stderr.readline()
    assert b"001_a.sql:1: NOTICE: now" in line
    running.signal(2)
    assert running.wait().code == 130


def test_permission_denied_says_what_to_grant(project, login, version):
    project.add("001_a.sql", "create schema s;")
    _, url = login("revoke create on schema public from public; grant create on schema public to {}")
    done = project.migrate(url=url)
    assert done.code == 1
    assert "GRANT CREATE ON DATABASE" in done.err


def test_a_login_that_may_not_even_make_the_history_is_told_what_to_grant(project, login):
    project.add("001_a.sql", "create table a (id int);")
    name, url = login("revoke create on schema public from public; revoke create on schema public from {}")
    done = project.migrate(url=url)
    assert done.code == 1
    database = value(project.url, "select current_database()")
    assert f'GRANT CREATE ON DATABASE "{database}" TO "{name}";' in done.err


def test_an_extension_that_is_not_there_is_explained(project):
    error = fail(project, 'create extension "no-such-extension";')
    assert 'CREATE EXTENSION IF NOT EXISTS "no-such-extension"' in error


def test_an_extension_that_is_not_allowed_is_explained(project, login):
    project.add("001_a.sql", "create extension file_fdw;")
    _, url = login("revoke create on schema public from public; grant create on schema public to {}")
    done = project.migrate(url=url)
    assert done.code == 1
    assert "CREATE EXTENSION" in done.err


def test_a_psql_command_is_refused_by_line(project):
    for text in ("select 1;\n\\i other.sql\n", "select 1\n\\gset\n", "\\echo hello\n"):
        error = fail(project, text)
        assert "command of psql" in error
        assert "003_x.sql:{}:1".format(text.split("\\")[0].count("\n") + 1) in error


def test_an_unterminated_literal_is_found_before_anything_runs(project):
    for text, column in (
        ("select 'abc", 8),
        ("select $x$ abc $y$", 8),
        ('select "abc', 8),
        ("select /* /* */", 8),
    ):
        error = fail(project, "create table t (id int);\n" + text + "\n;\n")
        assert f"003_x.sql:2:{column}" in error
        assert "unterminated" in error


def test_another_client_encoding_is_refused(project):
    error = fail(project, "select 1;\nset client_encoding = 'latin1';\n")
    assert "003_x.sql:2:1" in error
    error = fail(project, "select set_config('client_encoding', 'latin1', false);\n")
    assert "client encoding" in error


def test_statement_timeout_is_explained(project):
    project.add("001_a.sql", "select pg_sleep(10);")
    done = project.migrate("--statement-timeout", "0.2")
    assert done.code == 1
    assert "57014" in done.err
    assert "--statement-timeout" in done.err


def test_a_character_that_the_database_cannot_hold_is_pointed_at(project, server):
    name = "l_" + uuid.uuid4().hex[:12]
    query(
        server.url("postgres"),
        f"create database {name} template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'",
    )
    try:
        project.url = server.url(name)
        error = fail(project, "select 1;\n-- é\nselect 'é',\n  'a😀b';\n")
        assert "003_x.sql:4:5" in error
        assert caret(error) == "😀"
        assert "(22P05)" in error
        assert "a database in UTF-8" in error
    finally:
        drop_database(server, name)


def test_an_error_nobody_thought_of_is_no_traceback(project, monkeypatch, capsys):
    def broken(*_, **__):
        raise ValueError("postgresql://u:secret@h/d")

    monkeypatch.setattr(Migrator, "migrate", broken)
    argv = ["migrate", "--database-url", project.url, "--migrations", str(project.folder), "--json"]
    assert main(argv) == 1
    said = capsys.readouterr()
    assert "ValueError at tests.migrate.test_errors" in said.err
    assert "Traceback" not in said.err
    assert json.loads(said.out)["exit_code"] == 1
    assert "secret" not in said.out + said.err
    with pytest.raises(ValueError, match="secret"):
        main([*argv, "--debug"])


def test_output_that_is_closed_stops_no_migration(project):
    project.add("001_a.sql", "do $$ begin raise notice 'x'; end $$;\ncreate table a (id int);\n")
    command = f"{sys.executable} {RUNNER} migrate --migrations {project.folder} --database-url '{project.url}' >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert history(project.url) == ["001_a.sql"]
