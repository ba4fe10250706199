"""Which people a PATCH puts into a group and takes out of it, where it does nothing else.

Directories change large groups by one member at a time. Such a PATCH needs nobody of those who are in the group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from scim2_models import PatchOp, PatchOperation, Path
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator

from enterprise_ai.identity.scim.groups import member_id


class _Other(Exception):
    """The PATCH does something else."""


def changes_of(patch: PatchOp[Any]) -> dict[UUID, bool] | None:
    """Return who is to be in the group and who is not; None when the PATCH is about more than single members.

    Raise `InvalidValueException` for what is no user's id.
    """
    changes: dict[UUID, bool] = {}
    try:
        for operation in patch.operations or ():
            is_added = operation.op == PatchOperation.Op.add
            for user_id in _added(operation) if is_added else _removed(operation):
                changes[user_id] = is_added
    except _Other:
        return None
    return changes


def _added(operation: PatchOperation[Any]) -> Iterator[UUID]:
    if _name(operation.path) != "members":
        raise _Other
    yield from _ids(operation.value)


def _removed(operation: PatchOperation[Any]) -> Iterator[UUID]:
    if operation.op != PatchOperation.Op.remove or operation.path is None:
        raise _Other
    if _name(operation.path) == "members" and operation.value:
        yield from _ids(operation.value)
        return
    if operation.value is not None or operation.path.value_filter is None:
        raise _Other
    if _name(operation.path).partition("[")[0] != "members" or not _name(operation.path).endswith("]"):
        raise _Other
    yield from (member_id(text) for text in _named(operation.path.value_filter))


def _ids(value: Any) -> Iterator[UUID]:
    entries: Iterable[Any] = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("value"), str):
            raise _Other
        yield member_id(entry["value"], entry.get("type"))


def _named(node: FilterNode) -> Iterator[str]:
    """The ids that a filter of the form `value eq "…" or …` selects."""
    if isinstance(node, LogicalExpr) and node.op is LogicalOperator.or_:
        for term in node.terms:
            yield from _named(term)
    elif (
        isinstance(node, Comparison)
        and str(node.attr_path).casefold() == "value"
        and node.op is CompareOperator.eq
        and isinstance(node.value, str)
    ):
        yield node.value
    else:
        raise _Other


def _name(path: Path[Any] | None) -> str:
    name = str(path or "").casefold()
    return name.removeprefix("urn:ietf:params:scim:schemas:core:2.0:group:")
