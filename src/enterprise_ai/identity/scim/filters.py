"""Filters and orders of SCIM as conditions of SQL over the columns of `attributes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg import sql
from scim2_models import InvalidFilterException, InvalidPathException, Path
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    FilterNode,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
)

from enterprise_ai.identity.scim.attributes import ENTERPRISE, Column
from enterprise_ai.identity.scim.comparisons import TRUE, Comparisons, present, sorted_by

# The work of a filter grows with its terms, and no directory sends more than a few.
_MOST_TERMS = 100


def condition(node: FilterNode, columns: Mapping[str, Column]) -> tuple[sql.Composable, dict[str, Any]]:
    """Return a filter as a condition and the values it binds; raise `InvalidFilterException`."""
    compiler = _Compiler(columns)
    return compiler.visit(node), compiler.comparisons.values


def order(path: Path[Any], columns: Mapping[str, Column], *, descending: bool) -> sql.Composable:
    """Return what sorts by an attribute, those without it last; raise `InvalidPathException`."""
    name = _without_schema(str(path).casefold())
    column = columns.get(name) or columns.get(f"{name}.value")
    if column is None or column.rows is not None:
        raise InvalidPathException(path=str(path), detail=f"{path} cannot be sorted by")
    return sorted_by(column) + sql.SQL(" desc nulls first" if descending else " nulls last")


class _Compiler(FilterVisitor[sql.Composable]):
    """SQL's three-valued logic comes out as SCIM's two: what is unknown is not found, and `not` takes it as false."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.comparisons = Comparisons()
        self._columns, self._within, self._terms = columns, "", 0

    def visit(self, node: FilterNode) -> sql.Composable:
        self._terms += 1
        if self._terms > _MOST_TERMS:
            raise InvalidFilterException(detail=f"A filter has at most {_MOST_TERMS} terms here")
        return super().visit(node)

    def visit_comparison(self, node: Comparison) -> sql.Composable:
        column = self._column(node.attr_path)
        if not self._is_one_of_many(column):
            return self.comparisons.compare(column, node.op, node.value)
        if node.value is None:  # no value is null, but there may be none
            return _exists(column, TRUE, negated=node.op is CompareOperator.eq)
        if node.op is CompareOperator.ne:
            equal = self.comparisons.compare(column, CompareOperator.eq, node.value)
            return _exists(column, equal, negated=True)
        return _exists(column, self.comparisons.compare(column, node.op, node.value))

    def visit_present(self, node: Present) -> sql.Composable:
        return _joined(
            " or ",
            [
                _exists(column, present(column)) if self._is_one_of_many(column) else present(column)
                for column in self._columns_of(node.attr_path)
            ],
        )

    def visit_not(self, node: Not) -> sql.Composable:
        return sql.SQL("not coalesce({}, false)").format(self.visit(node.expr))

    def visit_logical_expr(self, node: LogicalExpr) -> sql.Composable:
        operator: LiteralString = " and " if node.op is LogicalOperator.and_ else " or "
        return _joined(operator, [self.visit(term) for term in node.terms])

    def visit_value_path(self, node: ValuePath) -> sql.Composable:
        of_value = self._columns_of(node.attr_path)[0]
        self._within = f"{_name(node.attr_path)}."  # selections do not nest
        try:
            inner = self.visit(node.val_filter)
        finally:
            self._within = ""
        return _exists(of_value, inner) if of_value.rows else inner

    def _is_one_of_many(self, column: Column) -> bool:
        return column.rows is not None and not self._within

    def _column(self, path: AttrPath) -> Column:
        name = self._within + _name(path)
        column = self._columns.get(name) or self._columns.get(f"{name}.value")
        if column is None:
            raise InvalidFilterException(detail=f"{path} cannot be filtered by")
        return column

    def _columns_of(self, path: AttrPath) -> list[Column]:
        """The column of an attribute, or those of its parts."""
        name = self._within + _name(path)
        found = [c for known, c in self._columns.items() if known == name or known.startswith(f"{name}.")]
        if not found:
            raise InvalidFilterException(detail=f"{path} cannot be filtered by")
        return found


def _exists(column: Column, inner: sql.Composable, *, negated: bool = False) -> sql.Composable:
    assert column.rows is not None
    return sql.SQL("{}exists ({}({}))").format(
        sql.SQL("not " if negated else ""), sql.SQL(column.rows), inner
    )


def _joined(operator: LiteralString, terms: list[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(operator).join(terms))


def _name(path: AttrPath) -> str:
    return _without_schema(str(path).casefold())


def _without_schema(name: str) -> str:
    """An attribute's name, led by its schema only where that is an extension."""
    if name.startswith("urn:") and not name.startswith(ENTERPRISE):
        return name.rpartition(":")[2]
    return name
