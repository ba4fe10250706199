"""What a rule of the schema that was broken says to whoever typed the command."""

from __future__ import annotations

import re

import psycopg

_TAKEN = re.compile(r"Key \((?P<columns>[^()]*)\)=\((?P<values>.*)\) already exists")


def refusal(error: psycopg.IntegrityError) -> str:
    """Say what was refused: rules are named so that their names are sentences."""
    diag = error.diag
    what = _taken(diag.message_detail or "") or _broken(diag.table_name or "", diag.constraint_name or "")
    return f"{what or diag.message_primary}; nothing has been changed"


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
