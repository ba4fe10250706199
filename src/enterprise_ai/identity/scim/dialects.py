"""What directories send in their own ways, put into plain SCIM before it is held to the schemas."""

from __future__ import annotations

from typing import Any

_MANAGER = ":manager"


def completed(payload: Any, *, is_active: bool) -> Any:
    """Fill in of a user what follows from the rest: the name to show, the address, and whether they are active."""
    if not isinstance(payload, dict):
        return payload
    given = {key.casefold(): value for key, value in payload.items()}
    user_name, emails = given.get("username"), given.get("emails")
    additions: dict[str, Any] = {}
    if not emails and isinstance(user_name, str) and "@" in user_name:
        additions["emails"] = [{"value": user_name, "type": "work", "primary": True}]
    if not given.get("displayname"):
        additions["displayName"] = _full_name(given.get("name")) or user_name
    if given.get("active") is None:
        additions["active"] = is_active
    replaced = {name.casefold() for name in additions}
    return {key: value for key, value in payload.items() if key.casefold() not in replaced} | additions


def plain_patch(payload: Any) -> Any:
    """Put each operation of a PATCH into plain SCIM."""
    if not isinstance(payload, dict):
        return payload
    return {
        key: [_operation(o) for o in value]
        if key.casefold() == "operations" and isinstance(value, list)
        else value
        for key, value in payload.items()
    }


def _operation(operation: Any) -> Any:
    if not isinstance(operation, dict):
        return operation
    path, value = operation.get("path"), operation.get("value")
    if isinstance(path, str) and path.casefold().endswith(_MANAGER) and "value" in operation:
        return operation | {"value": _manager(value)}
    if str(operation.get("op")).casefold() == "remove" and isinstance(value, list):
        return operation | {"value": [_selected(entry) for entry in value]}
    return operation


def _selected(entry: Any) -> Any:
    """Microsoft Entra names members to remove by objects of which only the value says who is meant."""
    return {"value": entry["value"]} if isinstance(entry, dict) and "value" in entry else entry


def _manager(value: Any) -> Any:
    """Microsoft Entra names a manager by the id alone, or by one object in a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return {"value": value} if isinstance(value, str) else value


def _full_name(name: Any) -> str | None:
    if not isinstance(name, dict):
        return None
    parts = {key.casefold(): value for key, value in name.items() if isinstance(value, str)}
    joined = f"{parts.get('givenname', '')} {parts.get('familyname', '')}".strip()
    return parts.get("formatted") or joined or None
