"""What a rule of the schema that was broken says to whoever typed the command."""

from __future__ import annotations

import re

import psycopg

_NOT_THERE = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedTable,
)
_TAKEN = re.compile(r"Key \((?P<columns>[^()]*)\)=\((?P<values>.*)\) already exists")


def refusal(error: psycopg.IntegrityError) -> str:
    """Say what was refused: rules are named so that their names are sentences."""
    diag = error.diag
    what = _taken(diag.message_detail or "") or _broken(diag.table_name or "", diag.constraint_name or "")
    return f"{what or diag.message_primary}; nothing has been changed"


def advice_on(error: psycopg.Error) -> str:
    """Say what to do about an error for which the server has no hint."""
    if isinstance(error, _NOT_THERE):
        return "This database is not migrated, or not as far: see enterprise-ai status, and enterprise-ai migrate."
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return "The server or the login only reads (a standby, default_transaction_read_only): give the primary's URL."
    if error.sqlstate is None or error.sqlstate.startswith(
        "57"
    ):  # the connection was lost, or somebody ended it
        return "What was not yet committed has been taken back; look at what there is, then run it again."
    return ""


def without_waiting(advice: str) -> str:
    """Advice on a failed connection, for commands that have no --wait."""
    return re.sub(r",? or give --wait SECONDS( while it starts)?", "", advice)


def _taken(detail: str) -> str:
    found = _TAKEN.search(detail)
    if not found:
        return ""
    columns, values = found["columns"].split(", "), found["values"].split(", ")
    if len(columns) != len(values):  # an expression, or a value with a comma in it
        return "There is one like this already"
    same = [
        f"{column.replace('_', ' ')} {value}"
        for column, value in zip(columns, values, strict=True)
        if column != "tenant_id"
    ]
    return f"There is one with {' and '.join(same)} already"


def _broken(table: str, rule: str) -> str:
    if not rule.startswith(f"{table}_"):
        return ""
    return f"Refused by a rule of {table}: {rule[len(table) + 1 :].replace('_', ' ')}"
