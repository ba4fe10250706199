"""What is promised of the commands that settle a history by hand: baseline, accept and new."""

from __future__ import annotations

from tests.migrate.conftest import history, query, tables, value

A = "create table a (id int);\n"
B = "create table b (id int);\n"
C = "create table c (id int);\n"


def three(project):
    project.add("001_a.sql", A)
    project.add("002_b.sql", B)
    project.add("003_c.sql", C)


def removed(project):
    return query(
        project.url,
        "select migration_name, reason, removed_by = session_user, length(checksum) from schema_migrations_removed "
        "order by id",
    )


def test_baseline_records_up_to_the_file_and_runs_nothing(project):
    query(project.url, A + B)
    three(project)
    done = project.ok("baseline", "002_b.sql")
    assert "001_a.sql  recorded, not run" in done.out
    assert "no SQL ran" in done.out
    assert history(project.url) == ["001_a.sql", "002_b.sql"]
    project.ok("migrate")
    assert tables(project.url) == ["a", "b", "c"]
    assert history(project.url) == ["001_a.sql", "002_b.sql", "003_c.sql"]


def test_baseline_keeps_the_text_so_that_a_later_edit_is_shown(project):
    three(project)
    project.ok("baseline", "001_a.sql", "--json")
    project.add("001_a.sql", A.replace("int", "bigint"))
    done = project.migrate()
    assert done.code == 6
    assert "+create table a (id bigint);" in done.err


def test_baseline_again_records_only_what_is_missing(project):
    three(project)
    project.ok("baseline", "001_a.sql")
    assert project.ok("baseline", "002_b.sql", "--json").json["recorded"] == ["002_b.sql"]
    assert "Nothing to record" in project.ok("baseline", "002_b.sql").out
    assert tables(project.url) == []


def test_baseline_of_files_that_another_tool_wrote_does_not_check_how_they_run(project):
    project.add("001_a.sql", "begin;\ncreate table a (id int);\ncommit;\n")
    project.ok("baseline", "001_a.sql")
    assert history(project.url) == ["001_a.sql"]


def test_baseline_of_an_unknown_file_is_refused(project):
    three(project)
    done = project.run("baseline", "002_bee.sql")
    assert done.code == 2
    assert "Did you mean 002_b.sql?" in done.err
    assert value(project.url, "select to_regclass('schema_migrations')") is None


def test_baseline_is_refused_while_files_and_history_disagree(project):
    three(project)
    project.ok("baseline", "001_a.sql")
    project.add("001_a.sql", C)
    assert project.run("baseline", "002_b.sql").code == 6
    assert history(project.url) == ["001_a.sql"]


def test_accept_takes_an_edited_file_as_it_is_and_shows_the_edit(project):
    three(project)
    project.ok("migrate")
    project.add("002_b.sql", "-- why b\n" + B)
    assert "accept 002_b.sql" in project.migrate().err
    done = project.ok("accept", "002_b.sql", "--reason", "only a comment")
    assert "+-- why b" in done.out
    assert "no SQL ran" in done.out
    project.ok("status", "--check")
    assert removed(project) == [("002_b.sql", "accept 002_b.sql: only a comment", True, 64)]
    assert query(project.url, "select id, migration_name from schema_migrations order by id") == [
        (1, "001_a.sql"),
        (2, "002_b.sql"),
        (3, "003_c.sql"),
    ]
    project.add("002_b.sql", "-- why b, again\n" + B)
    assert "---- why b" not in project.migrate().err
    assert "--- why b" in project.migrate().err


def test_accept_takes_a_new_name(project):
    three(project)
    project.ok("migrate")
    (project.folder / "002_b.sql").rename(project.folder / "002_better.sql")
    assert "accept 002_better.sql" in project.migrate().err
    done = project.ok("accept", "002_better.sql")
    assert "accepted as the new name of 002_b.sql" in done.out
    assert history(project.url) == ["001_a.sql", "002_better.sql", "003_c.sql"]
    project.ok("status", "--check")


def test_accept_of_swapped_files_one_by_one(project):
    three(project)
    project.ok("migrate")
    project.add("001_a.sql", B)
    project.add("002_b.sql", A)
    project.ok("accept", "001_a.sql")
    project.ok("accept", "002_b.sql")
    project.ok("status", "--check")


def test_accept_of_a_file_that_is_not_edited_is_refused(project):
    three(project)
    project.ok("migrate", "--target", "002_b.sql")
    assert "just as it ran" in project.run("accept", "001_a.sql").err
    assert "has not run" in project.run("accept", "003_c.sql").err
    assert project.run("accept", "001_a.sql").code == 2


def test_files_are_named_with_or_without_directory_and_ending(project):
    three(project)
    project.ok("baseline", str(project.folder / "001_a.sql"))
    project.ok("rollback", "001_a")
    assert history(project.url) == []


def test_new_makes_the_next_file_with_room_for_its_rollback(project):
    three(project)
    done = project.ok("new", "Add invoices: now!")
    path = project.folder / "004_add_invoices_now.sql"
    assert done.out.strip() == str(path)
    text = path.read_text()
    assert text.startswith("-- Add invoices: now!\n")
    assert "\n-- rollback:\n" in text
    project.ok("migrate")
    assert history(project.url)[-1] == "004_add_invoices_now.sql"


def test_new_keeps_the_width_of_the_numbers_and_needs_no_database(project):
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    project.ok("new", "Première table", url=nowhere)
    assert [path.name for path in project.folder.iterdir()] == ["001_premiere_table.sql"]
    project.add("0009_b.sql", B)
    assert project.ok("new", "next", "--json", url=nowhere).json["file"].endswith("/0010_next.sql")


def test_new_refuses_a_description_that_names_nothing(project):
    done = project.run("new", "!?")
    assert done.code == 2
    assert list(project.folder.iterdir()) == []
