"""What is promised about files: names, order, bytes, checksums, directives."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.migrate.conftest import ROOT, history, query, tables, value


def test_files_run_in_order_of_number_not_of_string(project):
    project.add("10_c.sql", "create table c as select * from b;")
    project.add("9_b.sql", "create table b as select * from a;")
    project.add("008_a.sql", "create table a (id int);")
    project.ok("migrate")
    assert history(project.url) == ["008_a.sql", "9_b.sql", "10_c.sql"]


def test_numbers_of_any_length(project):
    project.add("20261124160000_b.sql", "create table b as select * from a;")
    project.add("99999_a.sql", "create table a (id int);")
    project.ok("migrate")
    assert history(project.url) == ["99999_a.sql", "20261124160000_b.sql"]


def test_duplicate_numbers_are_refused_naming_both(project):
    project.add("001_a.sql", "create table a (id int);")
    project.add("002_b.sql", "create table b (id int);")
    project.add("02_c.sql", "create table c (id int);")
    done = project.migrate()
    assert done.code == 2
    assert "002_b.sql" in done.err
    assert "02_c.sql" in done.err
    assert tables(project.url) == []


@pytest.mark.parametrize("name", ["002_x.SQL", "x.sql", "002.sql", "002-x.sql"])
def test_near_misses_get_a_warning(project, name):
    project.add("001_a.sql", "create table a (id int);")
    project.add(name, "create table x (id int);")
    done = project.ok("migrate")
    assert name + " is not a migration" in done.err
    assert tables(project.url) == ["a"]


def test_other_files_are_left_alone(project):
    project.add("001_a.sql", "create table a (id int);")
    for name in ("README.md", "frozen.txt", ".002_b.sql.swp", "002_b.sql~"):
        project.add(name, "create table b (id int);")
    done = project.ok("migrate")
    assert done.err == ""


def test_bytes_that_are_not_utf8_are_refused_with_line_and_byte(project):
    project.add("001_a.sql", b"create table a (id int);\n-- caf\xe9\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:2: not UTF-8 (byte 0xE9) at byte offset 31" in done.err
    assert tables(project.url) == []


def test_a_character_cut_off_at_the_end_is_refused(project):
    project.add("001_a.sql", "select 'é'".encode()[:-2])
    done = project.migrate()
    assert done.code == 1
    assert "cut off" in done.err


def test_a_nul_is_refused_with_its_offset(project):
    project.add("001_a.sql", b"select 1;\nselect '\0';\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:2: a NUL byte at byte offset 18" in done.err


def test_a_byte_order_mark_is_stripped(project):
    project.add("001_a.sql", b"\xef\xbb\xbfcreate table a (id int);\n")
    project.ok("migrate")
    assert tables(project.url) == ["a"]


def test_line_ends_inside_literals_arrive_as_they_are(project):
    project.add("001_a.sql", b"create table a as select 'x\r\ny\rz\nw'::text as t;\r\n")
    project.ok("migrate")
    assert value(project.url, "select t from a") == "x\r\ny\rz\nw"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_comment(project, end):
    project.add("001_a.sql", end.join(["-- it's; a comment", "create table a (id int);", "--;", "select 1"]))
    project.ok("migrate")
    assert tables(project.url) == ["a"]


def test_text_that_looks_like_a_template_is_just_text(project):
    samples = [
        "100%",
        "%s %(a)s %%",
        "{name} {{x}} ${y}",
        ":name :'n' :\"m\"",
        "$1 ?",
        "@x@",
        "a\\:b",
        "-- migrate:down",
    ]
    body = "create table a (t text);\n"
    for sample in samples:
        body += f"insert into a values ($s${sample}$s$);\n"
    project.add("001_a.sql", body)
    project.ok("migrate")
    assert [text for (text,) in query(project.url, "select t from a")] == samples


def test_the_checksum_is_sha256_of_the_canonical_bytes(project):
    canonical = b"create table a (id int);\nselect 1;\n"
    project.add("001_a.sql", b"\xef\xbb\xbf" + canonical.replace(b"\n", b"\r\n") + b"\r\n")
    project.ok("migrate")
    recorded = value(project.url, "select checksum from schema_migrations")
    assert recorded == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b, bytes.rstrip]
)
def test_line_ends_mark_and_last_newline_are_no_edit(project, change):
    content = b"create table a (id int);\nselect 1;\n"
    project.add("001_a.sql", content)
    project.ok("migrate")
    project.add("001_a.sql", change(content))
    assert project.migrate().code == 0


@pytest.mark.parametrize(
    "change", [lambda b: b.replace(b"  ", b" "), lambda b: b.replace(b"\n", b" \n"), bytes.upper]
)
def test_white_space_and_case_are_not_folded(project, change):
    content = b"create table  a (id int);\nselect 1;\n"
    project.add("001_a.sql", content)
    project.ok("migrate")
    project.add("001_a.sql", change(content))
    assert project.migrate().code == 6


def test_chunks_never_change_the_checksum():
    from enterprise_ai.migrate.files import canonical

    data = b"\xef\xbb\xbfa\r\n\r\nb\rc\n\n\r\n\r\n"
    whole = b"".join(canonical([data]))
    assert whole == b"a\n\nb\nc\n"
    for size in range(3, len(data)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(canonical(pieces)) == whole, size


def test_an_empty_file_is_recorded_with_a_note(project):
    project.add("001_a.sql", b"")
    project.add("002_b.sql", "-- nothing to do here\n\n/* really; */\n;;\n")
    done = project.ok("migrate")
    assert done.err.count("holds no statement") == 2
    assert history(project.url) == ["001_a.sql", "002_b.sql"]


def test_no_final_semicolon_is_needed(project):
    project.add("001_a.sql", "create table a (id int);\ncreate table b (id int)\n-- closing comment")
    project.ok("migrate")
    assert tables(project.url) == ["a", "b"]


def test_directives_set_the_timeouts_of_their_file(project):
    project.add(
        "001_a.sql",
        "-- What this does.\n-- migrate: lock-timeout=5s\n--migrate: statement-timeout=2min\n"
        "create table a as select current_setting('lock_timeout') as l, current_setting('statement_timeout') as s;",
    )
    project.add("002_b.sql", "create table b as select current_setting('lock_timeout') as l;")
    project.ok("migrate")
    assert query(project.url, "select l, s from a") == [("5s", "2min")]
    assert value(project.url, "select l from b") == "2s"


def test_options_set_the_timeouts_of_a_run(project):
    text = "create table a as select current_setting('lock_timeout') as l, current_setting('statement_timeout') as s;"
    project.add("001_a.sql", text)
    project.ok("migrate", "--lock-timeout", "7", "--statement-timeout", "90")
    assert query(project.url, "select l, s from a") == [("7s", "90s")]


def test_a_files_own_set_local_wins(project):
    project.add(
        "001_a.sql",
        "-- migrate: lock-timeout=5s\nset local lock_timeout = '9s';\n"
        "create table a as select current_setting('lock_timeout') as l;",
    )
    project.ok("migrate")
    assert value(project.url, "select l from a") == "9s"


@pytest.mark.parametrize(
    "text", ["no-transactoin", "up", "lock-timeout", "lock-timeout=soon", "no-transaction=1"]
)
def test_an_unknown_directive_is_an_error(project, text):
    project.add("001_a.sql", f"-- A file.\n-- migrate: {text}\ncreate table a (id int);")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:2:4" in done.err
    assert tables(project.url) == []


def test_a_directive_counts_only_in_the_leading_comments(project):
    project.add(
        "001_a.sql",
        "create table a as select '\n-- migrate: nonsense\n'::text as t;\n-- migrate: no-transaction\n",
    )
    project.ok("migrate")
    assert tables(project.url) == ["a"]


def test_a_file_that_is_edited_while_others_run_is_recorded_as_it_ran(project):
    project.add("001_a.sql", "create table a (id int);\nselect pg_sleep(0.6), 'mark-a';\n")
    path = project.add("002_b.sql", "create table b (id int);\n")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    running = project.start("migrate")
    from tests.migrate.conftest import sleeping, wait_until

    wait_until(lambda: sleeping(project.url, "mark-a"))
    path.write_text("create table c (id int);\n")
    assert running.wait().code == 0
    assert tables(project.url) == ["a", "b"]
    assert value(project.url, "select checksum from schema_migrations where id = 2") == before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_memory_stays_flat_however_long_a_file_is(project):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from enterprise_ai.migrate.cli import main; "
        "assert main(sys.argv[2:]) == 0; print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = ["migrate", "--database-url", project.url, "--migrations", str(project.folder)]

    def peak():
        argv = [sys.executable, "-c", program, str(ROOT / "src"), *command]
        return int(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.split()[-1]) * 1024

    project.add("001_a.sql", "create table a (id int, t text);\n")
    small = peak()
    row = "insert into a values ({}, '" + "some text; it''s long " * 60 + "');\n"
    path = project.add("002_b.sql", "".join(row.format(number) for number in range(8000)))
    assert path.stat().st_size > 10_000_000
    assert peak() - small < 5_000_000
    assert value(project.url, "select count(*) from a") == 8000


@pytest.mark.parametrize("name", [b"002_\xff.sql", b"002_a\nb.sql", b"002_a\x1fb.sql", b"002_a\x7f.sql"])
def test_a_name_that_cannot_be_told_is_left_out_with_a_warning(project, name):
    project.add("001_a.sql", "create table a (id int);\n")
    project.add(os.fsdecode(name), "create table b (id int);\n")
    for command in ("migrate", "status"):
        assert "is not a migration and is left out" in project.ok(command).err
    assert history(project.url) == ["001_a.sql"]


def test_a_name_beyond_ascii_is_fine_whatever_the_terminal_can_show(project):
    project.add("001_größe_😀.sql", "do $$ begin raise notice 'grüße'; end $$;\n")
    done = project.ok("migrate", environment={"PYTHONIOENCODING": "ascii"})
    assert "001_gr\\xf6" in done.out
    assert history(project.url) == ["001_größe_😀.sql"]


@pytest.mark.parametrize(
    "head",
    [
        "-- Migrate: No-Transaction\n",
        "/* a /* b */ c */\n--migrate:no-transaction\n",
        "-- migrate:  no-transaction \r\n",
    ],
)
def test_a_directive_is_read_however_it_is_written(project, head):
    project.add("001_a.sql", head + "vacuum;\n")
    project.ok("migrate")


def test_a_directive_without_its_colon_is_no_comment(project):
    project.add("001_a.sql", "-- migrate data of the shop\n-- migrate no-transaction\nselect 1;\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:2:4" in done.err
    assert '-- migrate: no-transaction"' in done.err


def test_a_time_limit_is_never_rounded_to_none(project):
    shown = "do $$ begin raise notice '<%>', current_setting('lock_timeout'); end $$;\n"
    project.add("001_a.sql", "-- migrate: lock-timeout=0.2ms\n" + shown)
    project.add("002_b.sql", shown)
    project.add("003_c.sql", "-- migrate: lock-timeout=0\n" + shown)
    said = project.ok("migrate", "--lock-timeout", "0.0002").err
    assert [line.split("<")[1] for line in said.splitlines()] == ["1ms>", "1ms>", "0>"]


def test_a_time_limit_that_the_server_cannot_count_is_refused_by_line(project):
    project.add("001_a.sql", "-- migrate: statement-timeout=999999h\nselect 1;\n")
    done = project.migrate()
    assert done.code == 1
    assert "001_a.sql:1:4" in done.err
    assert "24 days" in done.err
