"""What is promised of the lexer against PostgreSQL's own parser: the same cuts, in real SQL and in random text."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

import enterprise_ai.migrate.script as script_module
from enterprise_ai.migrate import Migrator, lexer
from enterprise_ai.migrate.lexer import LexError
from tests.migrate.conftest import ROOT, drop_database, query
from tests.migrate.test_lexer import ATOMIC, STATEMENTS, in_pieces

pglast = pytest.importorskip("pglast", reason="PostgreSQL's parser as a library is a tool of development")
from pglast.parser import scan, split  # noqa: E402

EXTENSIONS = sorted(map(str, Path("/usr/share/postgresql").glob("*/extension/*.sql")))
OURS = [str(path) for folder in ("migrations", "sql") for path in sorted((ROOT / folder).rglob("*.sql"))]
_GAP = re.compile(r"(?:\s|--[^\r\n]*|/\*.*?\*/)*", re.DOTALL)


def parsed(text):
    """Where PostgreSQL ends each statement: the offset of its semicolon, None when it has none."""
    found = []
    for one in split(text, only_slices=True):
        end = _GAP.match(text, one.stop).end()
        found.append(end if text.startswith(";", end) else None)
    return found


def scanned(text):
    """Where statements end in the tokens of PostgreSQL's scanner; None when one is inside parentheses.

    Only a rule may have that, which the corpora above hold; anything else is an error wherever it is cut.
    """
    found, depth, is_open = [], 0, False
    for token in scan(text):
        if token.name in ("SQL_COMMENT", "C_COMMENT"):
            continue
        depth += (token.name == "ASCII_40") - (token.name == "ASCII_41")
        if token.name != "ASCII_59":
            is_open = True
        elif depth > 0:
            return None
        elif is_open:
            found.append(token.start)
            depth, is_open = 0, False
    return [*found, None] if is_open else found


def ours(text):
    """Where the engine ends each statement."""
    found, position = [], 0
    while True:
        start = lexer.next_start(text, position, True)
        if start >= len(text):
            return found
        position = lexer.scan(text, start, True).end
        found.append(position - 1 if text[position - 1] == ";" else None)


def sql_of(path):
    """The SQL of a script, without what only psql or CREATE EXTENSION understands."""
    text = Path(path).read_text(encoding="utf-8")
    return re.sub(r"@\w+@", "ext", re.sub(r"^\\.*$", "", text, flags=re.MULTILINE))


def statements_of(text):
    return [text[one] for one in split(text, only_slices=True)]


@pytest.mark.skipif(not EXTENSIONS, reason="no extension scripts of a PostgreSQL package on this machine")
def test_the_extension_scripts_of_postgresql_are_cut_as_its_parser_cuts_them():
    for path in EXTENSIONS:
        text = sql_of(path)
        assert ours(text) == parsed(text), path


def test_our_own_sql_is_cut_as_the_parser_cuts_it():
    for path in OURS:
        text = sql_of(path)
        assert ours(text) == parsed(text), path


def test_valid_statements_joined_at_random_are_cut_as_the_parser_cuts_them():
    chance = random.Random(20261124)
    corpus = STATEMENTS + ATOMIC
    for path in chance.sample(EXTENSIONS, min(25, len(EXTENSIONS))) + OURS:
        found = statements_of(sql_of(path))
        corpus += chance.sample(found, min(20, len(found)))
    gaps = ["", " ", "\n", "\r\n", "\t", "-- c;'$$\n", "/* ; /* ' */ */", ";", ";;", "\f", "--\r\n"]
    for _ in range(150):
        text = ""
        for statement in (chance.choice(corpus) for _ in range(chance.randint(1, 12))):
            closed = statement + ("\n;" if "--" in statement.split("\n")[-1] else ";")
            text += chance.choice(gaps) + closed
        assert ours(text) == parsed(text), text
        if len(text) < 3000:
            pieces = in_pieces(text, chance)
            assert [one.strip() for one in pieces] == [one.strip() for one in _cut(text)], text


def _cut(text):
    found, position = [], 0
    while True:
        start = lexer.next_start(text, position, True)
        if start >= len(text):
            return found
        position = lexer.scan(text, start, True).end
        found.append(text[start:position])


# What a token can begin, end, continue or look like.
SCRAPS = [
    *(
        "'",
        "''",
        '"',
        '""',
        "$$",
        "$a$",
        "$A$",
        "$1",
        "$",
        "a$b$",
        "$é$",
        "E'",
        "e'x'",
        "U&'",
        'U&"',
        "B'1'",
        "X'f'",
        "n'",
    ),
    *("--", "-", "--\n", "/*", "*/", "/", "*", "/*/", "\n", "\r", "\r\n", " ", "\t", "\f", "\v"),
    *(
        ";",
        ";",
        ";",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "::",
        ":=",
        "=",
        "<>",
        "@",
        "+-",
        "|/",
        "1",
        "1.5",
        "1e3",
        ".5",
    ),
    *(
        "select",
        "from",
        "a",
        "é",
        "_x",
        "case",
        "end",
        "begin",
        "copy",
        "create",
        "as",
        "E",
        "U&",
        "uescape",
        "null",
    ),
]


def test_random_scraps_are_cut_as_the_scanner_cuts_them():
    """Mostly nonsense: wherever PostgreSQL's scanner finds tokens to the end, the engine finds the same ends."""
    chance = random.Random(42)
    agreed = 0
    for _ in range(30000):
        text = "".join(chance.choice(SCRAPS) for _ in range(chance.randint(1, 14))) + "\n"
        try:
            expected = scanned(text)
        except pglast.Error:
            continue  # an error of the scanner: the server will name it
        if expected is None:
            continue
        try:
            found = ours(text)
        except LexError as error:
            raise AssertionError(f"{text!r}: {error.message} at {error.offset}") from error
        assert found == expected, repr(text)
        agreed += 1
    assert agreed > 5000


def test_what_the_scanner_calls_unterminated_the_engine_does_too():
    chance = random.Random(7)
    seen = 0
    for _ in range(30000):
        text = "".join(chance.choice(SCRAPS) for _ in range(chance.randint(1, 10)))
        try:
            scan(text)
        except pglast.Error as error:
            if "unterminated" not in str(error):
                continue
        else:
            continue
        seen += 1
        with pytest.raises(LexError):
            ours(text)
    assert seen > 1000


def _dump(url):
    """The dump of a database with its data, without the history and the random words in it."""
    done = subprocess.run(
        ["pg_dump", "--exclude-table=*.schema_migrations*", url], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return re.sub(r"^\\(un)?restrict.*$", "", done.stdout.decode("utf-8"), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def scratch(server):
    """Make databases for as long as the module runs; return their URLs."""
    made = []

    def make():
        made.append("dump_" + uuid.uuid4().hex[:12])
        query(server.url("postgres"), f"create database {made[-1]} template template0 encoding 'UTF8'")
        return server.url(made[-1])

    yield make
    for name in made:
        drop_database(server, name)


@pytest.fixture(scope="module")
def dumped(scratch, version):
    """The dump of a database that our own migrations built."""
    # A distribution's pg_dump may be a script that finds no program to hand on to.
    said = shutil.which("pg_dump") and subprocess.run(
        ["pg_dump", "--version"], capture_output=True, check=False
    )
    found = re.search(rb"\d+", said.stdout) if said else None
    if not found or int(found.group()) < version:
        pytest.skip("needs a pg_dump as new as the server")
    url = scratch()
    Migrator(url, migrations=ROOT / "migrations").migrate()
    return _dump(url)


def test_the_dump_of_our_schema_is_cut_as_the_parser_cuts_it(dumped):
    text = re.sub(r"^COPY .*?^\\\.$", "", dumped, flags=re.MULTILINE | re.DOTALL)
    assert ours(text) == parsed(text)
    assert len(ours(text)) > 500


def test_the_dump_of_our_schema_run_whole_and_in_pieces_gives_the_same(
    dumped, scratch, tmp_path, monkeypatch
):
    (tmp_path / "001_dump.sql").write_bytes(dumped.encode("utf-8"))
    results = []
    for size in (1 << 30, 1):
        monkeypatch.setattr(script_module, "WHOLE", size)
        monkeypatch.setattr(script_module, "BATCH", size)
        url = scratch()
        Migrator(url, migrations=tmp_path, lock_timeout=None).migrate()
        results.append(_dump(url))
    assert results[0] == results[1]
    assert results[0].count("\nCREATE TABLE ") > 50
