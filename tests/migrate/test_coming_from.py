"""The recipes of docs/migrations/coming-from.md, run as they stand on files as the other tools have them."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.migrate.conftest import ROOT, tables

# What `alembic upgrade head --sql` of Alembic 1.20 prints, without the spaces at line ends.
ALEMBIC = """BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> b35be19ab351

CREATE TABLE first (
    id INTEGER NOT NULL,
    PRIMARY KEY (id)
);

INSERT INTO alembic_version (version_num) VALUES ('b35be19ab351') RETURNING alembic_version.version_num;

-- Running upgrade b35be19ab351 -> 9dd85e22d7f1

ALTER TABLE first ADD COLUMN note TEXT;

UPDATE alembic_version SET version_num='9dd85e22d7f1' WHERE alembic_version.version_num = 'b35be19ab351';

COMMIT;

"""
DBMATE = {
    "db/migrations/20240131120000_add_orders.sql": (
        "-- migrate:up\ncreate table orders (id bigint primary key);\n\n-- migrate:down\ndrop table orders;\n"
    ),
    "db/migrations/20240201120000_add_index.sql": (
        "-- migrate:up transaction:false\ncreate index concurrently orders_by_id on orders (id);\n\n"
        "-- migrate:down\ndrop index orders_by_id;\n"
    ),
}
GOLANG_MIGRATE = {
    "000041_add_orders.up.sql": "create table orders (id bigint primary key);\n",
    "000041_add_orders.down.sql": "drop table orders;\n",
    "000042_add_note.up.sql": "alter table orders add column note text;",
    "000042_add_note.down.sql": "alter table orders drop column note;",
}
FLYWAY = {
    "V1__init.sql": "create table first (id bigint);\n",
    "V42__add_orders.sql": "create table orders (id bigint);\n",
}


def recipe(tool: str) -> str:
    """The block of shell commands in the section of that tool."""
    page = (ROOT / "docs" / "migrations" / "coming-from.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {tool}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^    .*\n?)+", section, re.MULTILINE)
    (block,) = [block for block in blocks if "; do" in block or "awk" in block]
    return block


def follow(tool: str, files: dict, folder, before: str = "") -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    subprocess.run(["bash", "-ec", before + recipe(tool)], cwd=str(folder), check=True)


@pytest.mark.parametrize(
    ("tool", "files", "found_in"), [("dbmate", DBMATE, "migrations"), ("golang-migrate", GOLANG_MIGRATE, ".")]
)
def test_files_with_a_way_back_become_ours_with_a_rollback_block(project, tool, files, found_in):
    (project.folder / "migrations").mkdir()
    follow(tool, files, project.folder)
    project.folder = project.folder / found_in
    project.ok("migrations", "test", "--database-url", project.url)
    project.ok("migrate")
    assert "orders" in tables(project.url)


def test_files_of_flyway_get_their_names(project):
    follow("Flyway", FLYWAY, project.folder, "git init -q . && git add -A\n")
    assert project.ok("migrate").out.count("done in") == 2
    assert tables(project.url) == ["first", "orders"]


def test_what_alembic_prints_makes_the_first_file(project):
    (project.folder / "migrations").mkdir()
    given = "alembic() { cat printed; }\n"
    follow("Alembic", {"printed": ALEMBIC}, project.folder, given)
    project.folder = project.folder / "migrations"
    project.ok("migrate")
    assert tables(project.url) == ["first"]
