"""What is promised of the lexer: it cuts where PostgreSQL cuts, and whole or in pieces gives the same."""

from __future__ import annotations

import random

import pytest

from enterprise_ai.migrate import cutter, lexer
from enterprise_ai.migrate.files import MigrationFile
from enterprise_ai.migrate.lexer import LexError, MetaCommand, NeedMore
from enterprise_ai.migrate.script import Script
from tests.migrate.conftest import query, value

# Each is one statement (its semicolon is added), with something in it that a naive splitter trips over.
STATEMENTS = [
    "select 1",
    "select ';'",
    "select 'it''s; ok'",
    "select E'it\\'s; ok', e'\\\\'",
    "select E'a' -- it's\n 'b\\'; c'",
    "select U&'d\\0061t\\+000061; ''' , U&\"d\\0061ta\" from (select 1 as data) x",
    "select U&'d!0061; ' uescape '!'",
    "select B'101', X'1F', N'; x'",
    'select 1 as "a;b""c;"',
    "select $$;$$, $a$ $b$ ; $$ $a$, $_x1$;$_x1$",
    "select $é$;$é$",
    "select '$$', 1 as a$b$c, 2 as a$$",
    "select 1 /* ; /* nested; ' */ ; $$ */ + 1",
    "select 1 -- ; ' $$ /*\n + 1",
    "select 1 --\n + 1 --;",
    "select 1+-- ;\n2, 3*/* ; */4",
    "select '\\', ';'",
    "select 'a'\n'b;'",
    "do $$ begin perform 1; perform ';'; end $$",
    "do 'begin perform 1; end'",
    "create function f1() returns int language plpgsql as $f$ begin if true then return 1; end if; return 2; end $f$",
    "create or replace function f2() returns int language sql as 'select 1; select 2'",
    'create table if not exists t1 (id int default (1), "case;" int, check ("case;" > 0))',
    "create or replace rule r1 as on delete to t1 do also (select 1; select 2)",
    "insert into t1 values (1, 2), (3, (4))",
    "select (array[1,2,3])[1:2], 1::text, - - 1, 2 - -1, 4 / 2",
    'select case when true then 1 else 2 end as "end", 1 as case',
    "prepare p1 as select $1::int + $2::int",
    "select e.e from (select 1 as e) e",
    "select 'x' as e, 1e1, 1.5e-3",
    "create temp table x1 as select 1 as begin, 2 as atomic",
    "select ' ' || E'\\\\' || ';'",
    "select '''; $$ -- /*'",
]
ATOMIC = [
    "create or replace function f3() returns int begin atomic select 1; select case when true then 1 end; end",
    "create function f4(x int) returns int language sql begin atomic; select case x when 1 then 2 end as case; select 1; end",
    "create procedure p2() begin atomic end",
]


def cut(text, backslashes=False):
    """Cut a text into statements as one piece."""
    found, position = [], 0
    while True:
        start = lexer.next_start(text, position, True)
        if start >= len(text):
            return found
        statement = lexer.scan(text, start, True, backslashes)
        found.append(text[statement.start : statement.end])
        position = statement.end


def script(tmp_path, text):
    path = tmp_path / "001_x.sql"
    path.write_bytes(text.encode("utf-8"))
    return Script(MigrationFile("001_x.sql", 1, str(path)))


@pytest.mark.parametrize("statement", STATEMENTS + ATOMIC)
def test_each_statement_is_cut_once(statement):
    closed = statement + ("\n;" if "--" in statement.split("\n")[-1] else ";")
    assert cut(closed + " " + closed + "\n-- end") == [closed, closed]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_server_agrees_that_it_is_one_statement(url, statement):
    """The server parses each and finds one command in it: PREPARE-like messages refuse two."""
    from enterprise_ai.migrate.connection import Connection, ServerError, Watcher
    from enterprise_ai.migrate.target import Target

    connection = Connection(Target(url))
    try:
        connection.query('create table if not exists t1 (id int, "case;" int)')
        before = len(cut(statement))
        assert before == 1
        try:
            completed = connection.run(statement.encode(), Watcher())
        except ServerError as error:
            raise AssertionError(f"{statement}: {error}") from error
        assert completed == 1
    finally:
        connection.close()


def test_statements_joined_at_random_are_cut_alike_whole_and_in_pieces():
    chance = random.Random(20261124)
    for _ in range(300):
        chosen = [chance.choice(STATEMENTS + ATOMIC) for _ in range(chance.randint(1, 8))]
        closed = [one + ("\n;" if "--" in one.split("\n")[-1] else ";") for one in chosen]
        gaps = [chance.choice(["", " ", "\n", "-- c;'\n", "/* ; */", "\r\n", ";;"]) for _ in closed]
        text = "".join(gap + one for gap, one in zip(gaps, closed))
        assert cut(text) == closed
        assert in_pieces(text, chance) == closed


def in_pieces(text, chance):
    """Cut a text that arrives in pieces of random size."""
    found, window, position, given = [], "", 0, 0
    while True:
        final = given == len(text)
        try:
            start = lexer.next_start(window, position, final)
            if start >= len(window):
                return found
            statement = lexer.scan(window, start, final)
        except NeedMore:
            size = chance.randint(1, 12)
            window += text[given : given + size]
            given = min(len(text), given + size)
            continue
        found.append(window[statement.start : statement.end])
        position = statement.end


def test_backslashes_count_when_standard_conforming_strings_is_off():
    assert cut("select 'a\\'; b'; select 2;", backslashes=True) == ["select 'a\\'; b';", "select 2;"]
    assert cut("select 'a\\'; select 2;") == ["select 'a\\';", "select 2;"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("select 'a", "quoted string"),
        ('select "a', "quoted name"),
        ("select $x$ $y$", "dollar"),
        ("/* /* */", "comment"),
    ],
)
def test_what_never_ends_is_named(text, what):
    with pytest.raises(LexError, match=what):
        cut(text)


def test_a_backslash_outside_of_tokens_is_a_command_of_psql():
    for text, inside in (("\\i x", False), ("select 1 \\gset", True), ("select E'\\'' \\g", True)):
        with pytest.raises(MetaCommand) as caught:
            cut(text)
        assert caught.value.in_statement is inside


def test_whole_and_split_execution_give_the_same(project, url, tmp_path, monkeypatch):
    """The same file, sent as one message and as one message a statement, leaves the same rows."""
    import enterprise_ai.migrate.script as script_module
    from enterprise_ai.migrate import Migrator

    text = "create table result (n int, t text);\n"
    for number, statement in enumerate(STATEMENTS):
        if statement.startswith("select"):
            text += "{}{};\n".format(statement, "\n" if "--" in statement.split("\n")[-1] else "")
        text += "insert into result values ({}, $x${}$x$);\n".format(number, statement.replace("$x$", ""))
    text += "set standard_conforming_strings = off;\ninsert into result values (0, 'a\\'; b');\n"
    text += "set standard_conforming_strings = on;\ninsert into result values (0, 'a\\');\n"
    project.add("001_x.sql", text)
    rows = []
    for size in (script_module.WHOLE, 1):
        monkeypatch.setattr(script_module, "WHOLE", size)
        monkeypatch.setattr(script_module, "BATCH", size)
        Migrator(url, migrations=project.folder).migrate()
        rows.append(query(url, "select n, t from result order by n, t"))
        query(url, "drop table result")
        query(url, "delete from schema_migrations")
    assert rows[0] == rows[1]
    assert (0, "a'; b") in rows[0]
    assert (0, "a\\") in rows[0]


def test_copy_from_stdin_takes_its_data_from_the_file(project):
    project.add(
        "001_a.sql",
        "create table a (id int, t text);\ncopy a (id, t) from stdin;\n1\ta;b\n2\t\\N\n3\tit's $$ -- \\\\.\n\\.\n\n"
        'create table b as select count(*) from a;\nCOPY a FROM STDIN WITH (FORMAT csv);\n4,"x\ny"\n\\.\nselect 1;\n',
    )
    project.ok("migrate")
    assert query(project.url, "select id, t from a order by id") == [
        (1, "a;b"),
        (2, None),
        (3, "it's $$ -- \\."),
        (4, "x\ny"),
    ]
    assert value(project.url, "select count from b") == 3


def test_copy_data_of_any_length_with_any_line_end(project):
    rows = "".join(f"{number}\tsome text of a row\r\n" for number in range(40000))
    project.add(
        "001_a.sql",
        "create table a (id int, t text);\r\ncopy a from stdin;\r\n" + rows + "\\.\r\nselect 1;\r\n",
    )
    project.ok("migrate")
    assert query(project.url, "select count(*), sum(id) from a") == [(40000, sum(range(40000)))]


def test_copy_data_that_ends_with_the_file(project):
    project.add("001_a.sql", "create table a (id int);\ncopy a from stdin;\n1\n2\n")
    project.ok("migrate")
    assert value(project.url, "select count(*) from a") == 2


@pytest.mark.parametrize("head", ["", "-- migrate: no-transaction\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_error_in_copy_data_is_reported_at_its_line(project, head, end):
    filler = "".join(f"{number}{end}" for number in range(50000))  # more than is read at a time
    text = "create table a (id int);\n\ncopy a (id)\n  from stdin; -- ids\n1\n2\nx, é\n3\n\\.\n".replace(
        "\n", end
    )
    project.add("001_a.sql", head + text.replace(f"2{end}", f"2{end}{filler}"))
    done = project.migrate()
    assert done.code == 1
    assert done.err.startswith(f"001_a.sql:{50007 + bool(head)}:1\n    x, é\n    ^\n"), done.err
    assert "COPY a, line 50003" in done.err


def test_an_error_in_csv_data_is_reported_at_the_line_where_its_record_ends(project):
    project.add(
        "001_a.sql",
        'create table a (note text, id int);\ncopy a from stdin (format csv, header);\nnote,id\n"two\nlines",1\n'
        '"two\nmore",x\n\\.\n',
    )
    done = project.migrate()
    assert done.code == 1
    assert done.err.startswith('001_a.sql:7:1\n    more",x\n'), done.err


def test_the_restrict_lines_of_pg_dump_are_skipped(project):
    project.add(
        "001_a.sql",
        "-- PostgreSQL database dump\n\n\\restrict abcDEF123\n\nset client_encoding = 'UTF8';\n"
        "select pg_catalog.set_config('search_path', '', false);\ncreate table public.a (id int);\n"
        "copy public.a (id) from stdin;\n1\n\\.\n\n\\unrestrict abcDEF123\n\n",
    )
    project.ok("migrate")
    assert value(project.url, "select id from a") == 1


def test_places_are_right_in_a_text_that_comes_in_pieces(tmp_path):
    from enterprise_ai.migrate.locate import place_in

    chance = random.Random(1)
    text = "".join(chance.choice(["a", "é", "🙂", "\n", "\r\n", "\r", f"--- s{n} ---\n"]) for n in range(400))
    for offset in range(0, len(text), 7):
        expected = place_in("x", iter([text]), offset)
        head = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
        if text[offset - 1 : offset + 1] != "\r\n":
            assert expected.line == head.count("\n") + 1
            assert expected.column == offset - max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset))
        pieces, at = [], 0
        while at < len(text):
            size = chance.randint(1, 9)
            pieces.append(text[at : at + size])
            at += size
        found = place_in("x", iter(pieces), offset)
        assert (found.line, found.column, found.section) == (expected.line, expected.column, expected.section)


def test_a_huge_statement_is_not_read_token_by_token(tmp_path, monkeypatch):
    """That would take ten times as long, each time that more of the file is read."""
    path = tmp_path / "001_x.sql"
    rows = ",\n".join(f"({number}, 'it''s; \"{number}\" -- no comment')" for number in range(60000))
    path.write_text(f"insert into t values {rows};\nselect 1;\n")
    monkeypatch.delattr(lexer, "_Careful")
    batches = list(Script(MigrationFile(path.name, 1, str(path))).batches())
    assert [one.words for batch in batches for one in batch.statements] == [("insert",), ("select",)]


def test_a_comment_may_follow_on_the_line_of_a_copy(project):
    project.add(
        "001_a.sql", "create table a (id int);\ncopy a from stdin; -- two rows\n1\n2\n\\.\nselect 1;\n"
    )
    project.ok("migrate")
    assert value(project.url, "select sum(id) from a") == 3
    project.add("002_b.sql", "copy a from stdin; select 1;\n1\n\\.\n")
    done = project.migrate()
    assert done.code == 1
    assert "002_b.sql:1:19" in done.err


def test_copy_data_without_an_end_in_sight_is_not_searched_character_by_character(tmp_path, monkeypatch):
    searched, pattern = [], cutter._END_OF_DATA

    class Counting:
        def search(self, text):
            searched.append(text)
            return pattern.search(text)

    monkeypatch.setattr(cutter, "_END_OF_DATA", Counting())
    path = tmp_path / "001_x.sql"
    path.write_text("copy t from stdin;\n" + "1\tlorem ipsum\n" * 100000 + "\\.\nselect 1;\n")
    found = [
        (batch.statements[0].words[0], sum(len(piece) for piece in batch.data or ()))
        for batch in Script(MigrationFile(path.name, 1, str(path))).batches()
    ]
    assert found == [("copy", 1400000), ("select", 0)]
    assert len(searched) <= 2
