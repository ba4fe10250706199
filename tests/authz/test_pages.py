"""The SQL in the concept pages of authorization and governance runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from enterprise_ai.client import connect
from tests.authz.people import House

PAGES = Path(__file__).parents[2] / "docs/concepts"
BLOCK = re.compile(r"(?:^    .*\n?)+", re.MULTILINE)
EXAMPLES = [
    (page, statement.strip())
    for page in ("authorization.md", "governance.md")
    for block in BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))
    for statement in re.sub(r"--.*", "", block).split(";")
    if statement.strip().startswith("select")
]


@pytest.fixture(scope="module")
def house(world):
    with connect(world.server.url(world.name, "app_login")) as client:
        house = House(world, client)
        house.boss, house.ada, house.eve = house.person("super_admin"), house.person(), house.person()
        house.of_boss = house.document(house.boss)
        with world.owner(house.tenant) as conn:
            for role in ("buyer", "payer"):
                conn.execute(
                    "insert into authz.roles (tenant_id, name, display_name) values (%s, %s, %s)",
                    [house.tenant.id, role, role],
                )
            row = conn.execute(
                "insert into identity.groups (tenant_id, display_name) values (%s, 'staff') returning id",
                [house.tenant.id],
            ).fetchone()
            house.group = row[0]
        yield house


def test_there_are_examples():
    assert len(EXAMPLES) > 12


@pytest.mark.parametrize(("page", "statement"), EXAMPLES)
def test_the_example_runs(house, page, statement):
    for name, value in ({":document": house.of_boss, ":me": house.boss, ":reviewer": house.eve}).items():
        statement = re.sub(rf"{name}\b", f"'{value}'", statement)
    statement = statement.replace(":title", "''").replace(":id", f"'{house.of_boss}'")
    statement = statement.replace('"group_id": "…"', f'"group_id": "{house.group}"').replace(
        "…", str(house.ada)
    )
    with house.as_(house.boss) as tx, tx.conn.transaction(force_rollback=True):
        rows = tx.conn.execute(statement.encode()).fetchall()
    assert rows or "from llm." in statement


def test_a_policy_written_as_the_page_says_shows_what_may_be_read(house):
    text = (PAGES / "authorization.md").read_text(encoding="utf-8")
    (using,) = (block for block in BLOCK.findall(text) if block.strip().startswith("using ("))
    theirs = house.document(house.ada)
    owner = house.world.server.url(house.world.name, "migrator")
    with psycopg.connect(owner) as conn:
        conn.execute("create table public.notes (tenant_id uuid, id uuid, owner_id uuid)")
        conn.execute("alter table public.notes enable row level security")
        conn.execute(
            f"create policy readable on public.notes for select to enterprise_ai_app {using}".encode()
        )
        conn.execute("grant select on public.notes to enterprise_ai_app")
        for id_, owner_id in ((house.of_boss, house.boss), (theirs, house.ada)):
            conn.execute("insert into public.notes values (%s, %s, %s)", [house.tenant.id, id_, owner_id])
    seen = {}
    for who in (house.boss, house.ada):
        with house.as_(who) as tx:
            seen[who] = {row[0] for row in tx.conn.execute("select id from public.notes")}
            assert seen[who] == {
                id_ for id_ in (house.of_boss, theirs) if tx.authz.check("document.read", id_)
            }
    assert seen[house.boss] == {house.of_boss, theirs}
    with psycopg.connect(owner) as conn:
        conn.execute("drop table public.notes")
