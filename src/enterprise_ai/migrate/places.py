# ruff: noqa: PTH113, S608  pathlib is not loaded by the engine; the query is what the user asks for
"""Which databases or schemas `--each` means: the lines of a file, or the rows of a query."""

from __future__ import annotations

import json
import os

from .arguments import shown
from .connection import Connection
from .errors import MigrateError, ServerError, UsageError
from .records import NamedTuple
from .target import Target

#: One database or schema, and what it is called in the output.
Place = NamedTuple("Place", [("label", str), ("target", Target)])

_COLUMNS = ("url", "database", "schema")
_QUERY_WORDS = ("select", "with", "values", "table")
_FORMS = (
    "FILE holds one database a line: its name, a URL, or key=value pairs; # begins a comment.\n"
    "QUERY is a SELECT whose columns are named url, database or schema, e.g.\n"
    "--each \"select datname as database from pg_database where datname like 'tenant%' order by 1\""
)


def is_file(each: str) -> bool:
    """Tell whether `--each` names a file; anything else is taken for a query."""
    return os.path.isfile(each)


def places(each: str, url: str | None) -> list[Place]:
    """List the places in their order, each once; raise `UsageError`."""
    found = _from_file(each, url) if is_file(each) else _from_query(each, url)
    once: dict[tuple[str | None, str | None, str | None], Place] = {}
    for place in found:
        target = place.target
        once.setdefault((target.url, target.database, target.schema), place)
    if not once:
        raise UsageError("--each names no database", state="Nothing was run.", advice=_FORMS)
    return list(once.values())


def _from_file(path: str, url: str | None) -> list[Place]:
    found = []
    for number, line in enumerate(_lines(path), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            found.append(_place(text, None, None, url) if _connects(text) else _place(None, text, None, url))
        except MigrateError as error:  # says what is wrong without quoting a secret
            raise UsageError(
                f"{path}:{number}: {error.message}", state="Nothing was run.", advice=error.advice
            ) from None
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123
            return file.readlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", state="Nothing was run.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", state="Nothing was run.", advice=_FORMS) from error


def _connects(text: str) -> bool:
    return "://" in text or "=" in text or "@" in text


def _from_query(query: str, url: str | None) -> list[Place]:
    words = query.split(None, 1)
    if not words or words[0].lower().lstrip("(") not in _QUERY_WORDS:
        raise UsageError(
            f"--each: there is no file {shown(query)}, and it is no query either",
            state="Nothing was run.",
            advice=_FORMS,
        )
    connection = Connection(Target(url))
    try:
        # A line end, because the query may end in a comment.
        rows = connection.query(
            "set transaction read only; "
            f"select pg_catalog.row_to_json(each)::text from ({query.strip().rstrip(';')}\n) as each"
        )
    except ServerError as error:
        raise UsageError(
            f"the query of --each failed: {error} ({error.sqlstate})", state="Nothing was run.", advice=_FORMS
        ) from error
    finally:
        connection.close()
    return [_from_row(json.loads(row[0] or "{}"), url) for row in rows]


def _from_row(row: dict[str, object], url: str | None) -> Place:
    strange = [name for name in row if name not in _COLUMNS]
    if strange or not row:
        raise UsageError(
            "--each does not know what the column {} means".format(", ".join(strange) or "without a name"),
            state="Nothing was run.",
            advice=_FORMS,
        )
    values = {name: str(value) for name, value in row.items() if value is not None}
    if not values:  # it would mean the database that was asked
        raise UsageError("--each: a row of the query is null", state="Nothing was run.", advice=_FORMS)
    return _place(values.get("url"), values.get("database"), values.get("schema"), url)


def _place(own: str | None, database: str | None, schema: str | None, url: str | None) -> Place:
    target = Target(own or url, database=database, schema=schema)
    short = ".".join(part for part in (database, schema) if part)
    return Place(target.describe() if own or not short else short, target)
