"""The migrations that the runners are measured with: our own four, and made-up ones of chosen shapes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_FILL = "Lorem ipsum dolor sit amet, consectetur adipiscing elit; it''s seed data "


class Migration(NamedTuple):
    """One migration, before a runner's own file format is put around it."""

    number: int
    name: str
    sql: str
    transaction: bool = True


def our_own() -> list[Migration]:
    """The migrations of this repository, as they are."""
    found = sorted((ROOT / "migrations").glob("[0-9]*.sql"))
    return [
        Migration(number, path.stem.partition("_")[2], path.read_text(encoding="utf-8"))
        for number, path in enumerate(found, 1)
    ]


def small(count: int) -> list[Migration]:
    """Many small migrations: one makes a table, the next adds a column to it, and so on."""
    made = []
    for number in range(1, count + 1):
        if number % 2:
            text = (
                f"create table b_{number:05d} (\n    id bigint primary key,\n"
                "    a integer not null default 0,\n    at timestamptz\n);\n"
            )
        else:
            text = f"alter table b_{number - 1:05d} add column b{number} integer not null default 0;\n"
        made.append(Migration(number, f"step_{number}", text))
    return made


def inserts(megabytes: float, rows_a_statement: int) -> tuple[list[Migration], int]:
    """One huge migration of INSERTs; return it and how many rows it makes."""
    parts = [
        "create table seed (id bigint primary key, code text not null, body text not null,"
        " at timestamptz not null, n numeric not null);\n"
    ]
    size = row = 0
    while size < megabytes * 1_000_000:
        values = []
        for _ in range(rows_a_statement):
            row += 1
            values.append(f"({row}, 'code-{row:08d}', '{_FILL}{row}', '2024-01-01T00:00:00Z', {row}.25)")
        text = "insert into seed (id, code, body, at, n) values " + ",\n".join(values) + ";\n"
        parts.append(text)
        size += len(text)
    return [Migration(1, "seed", "".join(parts))], row


def broken(megabytes: float) -> tuple[list[Migration], int]:
    """The single-row INSERTs with one bad value near the end; return it and the line of that value."""
    (whole,), rows = inserts(megabytes, 1)
    lines = whole.sql.split("\n")
    line = rows - rows // 10  # one statement a line, the first line makes the table
    lines[line - 1] = lines[line - 1].replace("'2024-01-01T00:00:00Z'", "'2024-13-01T00:00:00Z'")
    return [whole._replace(sql="\n".join(lines))], line


def slow(count: int, *, concurrently: bool = False) -> list[Migration]:
    """Migrations that take a fifth of a second each and leave a witness that they ran."""
    made = [
        Migration(
            number, f"step_{number}", f"select pg_sleep(0.2);\ninsert into witness values ({number});\n"
        )
        for number in range(1, count + 1)
    ]
    if concurrently:
        text = "create index concurrently witness_idx on witness (n);\n"
        made.insert(count // 2, Migration(0, "index", text, transaction=False))
        made = [one._replace(number=number) for number, one in enumerate(made, 1)]
    return made
