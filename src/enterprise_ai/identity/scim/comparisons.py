"""Columns compared with values as SCIM compares attributes; values are bound, never written into the statement."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from scim2_models.path import CompareOperator

from enterprise_ai.identity.scim.attributes import Column

TRUE, FALSE = sql.SQL("true"), sql.SQL("false")
_NULL: Mapping[CompareOperator, LiteralString] = {
    CompareOperator.eq: " is null",
    CompareOperator.ne: " is not null",
}
_SAME: Mapping[CompareOperator, LiteralString] = {
    CompareOperator.eq: " = ",
    CompareOperator.ne: " is distinct from ",
}
_ORDER: Mapping[CompareOperator, LiteralString] = {
    CompareOperator.gt: " > ",
    CompareOperator.ge: " >= ",
    CompareOperator.lt: " < ",
    CompareOperator.le: " <= ",
}
_PART: Mapping[CompareOperator, LiteralString] = {
    CompareOperator.co: "position({value} in {text}) > 0",
    CompareOperator.sw: "starts_with({text}, {value})",
    CompareOperator.ew: "right({text}, length({value})) = {value}",
}


def folded(column: Column) -> sql.Composable:
    """A text in the form it is compared in."""
    if column.folded is not None:
        return sql.SQL(column.folded)
    text = sql.SQL(column.expression)
    return text if column.is_exact else sql.SQL("lower({})").format(text)


def sorted_by(column: Column) -> sql.Composable:
    """What orders a column's values, texts by code point as everywhere in SCIM."""
    if column.kind is str:
        return folded(column) + sql.SQL(' collate "C"')
    return sql.SQL(column.expression)


def present(column: Column) -> sql.Composable:
    """Whether there is a value; an empty text is none."""
    expression = sql.SQL(column.expression)
    if column.kind is str:
        return sql.SQL("({0} is not null and {0} <> '')").format(expression)
    return sql.SQL("{} is not null").format(expression)


class Comparisons:
    """Builds comparisons and collects the values they bind."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def compare(self, column: Column, op: CompareOperator, value: Any) -> sql.Composable:
        """Return the comparison as a condition; what cannot be compared is not equal, and nothing else either."""
        expression = sql.SQL("({})").format(sql.SQL(column.expression))
        if value is None:
            return expression + sql.SQL(_NULL[op]) if op in _NULL else FALSE
        if column.kind is bool and isinstance(value, bool) and op in _SAME:
            return expression + sql.SQL(_SAME[op]) + self._bound(value, "boolean")
        if column.kind is datetime and isinstance(value, str):
            return self._compare_moments(expression, op, value)
        if column.kind is UUID and isinstance(value, str):
            return self._compare_ids(column, op, value)
        if column.kind is str and isinstance(value, str):
            return self._compare_texts(column, op, value)
        return TRUE if op is CompareOperator.ne else FALSE

    def _compare_moments(self, expression: sql.Composable, op: CompareOperator, value: str) -> sql.Composable:
        operator = _SAME.get(op) or _ORDER.get(op)
        if operator is None:  # part of a moment: nothing has it
            return FALSE
        moment = datetime.fromisoformat(value)  # it is one, or the filter would not have been accepted
        return expression + sql.SQL(operator) + self._bound(_zoned(moment), "timestamptz")

    def _compare_ids(self, column: Column, op: CompareOperator, value: str) -> sql.Composable:
        if op in _SAME and _is_id(value):  # so that the index is of use
            return sql.SQL(column.expression) + sql.SQL(_SAME[op]) + self._bound(UUID(value), "uuid")
        text = sql.SQL("({})::text").format(sql.SQL(column.expression))
        return self._compared(text, op, value)

    def _compare_texts(self, column: Column, op: CompareOperator, value: str) -> sql.Composable:
        normal = unicodedata.normalize("NFC", value)
        if not column.is_exact:
            normal = unicodedata.normalize("NFC", normal.lower())
        return self._compared(folded(column), op, normal)

    def _compared(self, text: sql.Composable, op: CompareOperator, value: str) -> sql.Composable:
        bound = self._bound(value, "text")
        if op in _PART:
            return sql.SQL(_PART[op]).format(text=text, value=bound)
        if op in _ORDER:
            return text + sql.SQL(' collate "C"' + _ORDER[op]) + bound
        return text + sql.SQL(_SAME[op]) + bound

    def _bound(self, value: Any, type_name: LiteralString) -> sql.Composable:
        name = f"value_{len(self.values)}"
        self.values[name] = value
        return sql.Placeholder(name) + sql.SQL("::" + type_name)


def _zoned(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_id(value: str) -> bool:
    try:
        return str(UUID(value)) == value
    except ValueError:
        return False
