"""Users and groups where the protocol reads and writes them: in one transaction, opened for a directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection, sql
from psycopg.rows import class_row
from scim2_models import (
    NotFoundException,
    NotImplementedException,
    Path,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SearchRequest,
)
from scim2_server.storage import ScimStorage, SearchPage

from enterprise_ai._queries import queries
from enterprise_ai.identity.scim import attributes, filters, groups, people
from enterprise_ai.identity.scim.attributes import Column
from enterprise_ai.identity.scim.errors import as_scim
from enterprise_ai.identity.scim.schemas import PROVIDER

_sql = queries("enterprise_ai.identity.scim")


@dataclass(frozen=True)
class _Kind:
    """What is different of users and of groups."""

    name: str
    key: sql.SQL
    many: str
    """The attribute that may be long, and is read only when it is wanted."""
    row: type[Any]
    resource: Any
    columns: Mapping[str, Column]


_KINDS = {
    "User": _Kind("user", sql.SQL("u.id"), "groups", people.UserRow, people.resource, attributes.USER),
    "Group": _Kind("group", sql.SQL("g.id"), "members", groups.GroupRow, groups.resource, attributes.GROUP),
}


class Storage(ScimStorage):
    """The users and groups of the context's tenant. What is read to be written is locked until the transaction ends."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn
        self.last_read: Any = None
        """What was last read to be written."""

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        kind, id = _kind(resource_type), _id(resource_type, resource_id)
        if response_parameters is None:
            self.last_read = self._locked(kind, resource_type, id)
            return self.last_read.model_copy(deep=True)  # type: ignore[no-any-return]
        return self._found(kind, resource_type, id, _wants(kind, resource_type, response_parameters))

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        if len(resource_types) > 1:
            raise NotImplementedException(detail="Users and groups are searched one at a time")
        kind = _kind(resource_types[0])
        where: sql.Composable = sql.SQL("")
        values: dict[str, Any] = {}
        if search_request.filter is not None:
            found, values = filters.condition(search_request.filter.ast, kind.columns)
            where = sql.SQL(" and ({})").format(found)
        values[f"with_{kind.many}"] = _wants(kind, resource_types[0], search_request)
        with as_scim():
            counted = self._conn.execute(sql.SQL(_sql[f"count_{kind.name}s"]) + where, values).fetchone()
        assert counted is not None
        rest = where + _order(kind, search_request) + _page(search_request)
        return SearchPage(counted[0], [] if search_request.count == 0 else self._rows(kind, rest, values))

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        kind = _kind(resource_type)
        return self._found(kind, resource_type, self._save(kind, None, resource), wants=True)

    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        kind, id = _kind(resource_type), _id(resource_type, resource.id)
        self._check(self._locked(kind, resource_type, id), expected_version)
        self._save(kind, id, resource)
        return self._found(kind, resource_type, id, wants=True)

    def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        kind, id = _kind(resource_type), _id(resource_type, resource_id)
        self._check(self._locked(kind, resource_type, id), expected_version)
        self._call(f"delete_{kind.name}", id=id)

    def locked_without_members(self, resource_type: ResourceType, group_id: str) -> Resource[Any]:
        """Return a group as `get` does for writing, but for its members; raise `NotFoundException`."""
        id = _id(resource_type, group_id)
        return self._locked(_kind(resource_type), resource_type, id, wants=False)  # type: ignore[no-any-return]

    def change_members(
        self, resource_type: ResourceType, group_id: str, changes: Mapping[UUID, bool]
    ) -> Resource[Any]:
        """Put some users into a group that is locked and take others out; return it without its members."""
        id = _id(resource_type, group_id)
        added = sorted(user_id for user_id, is_in in changes.items() if is_in)
        self._call("change_members", id=id, added=added, removed=sorted(changes.keys() - set(added)))
        return self._found(_kind(resource_type), resource_type, id, wants=False)

    def _locked(self, kind: _Kind, resource_type: ResourceType, id: UUID, *, wants: bool = True) -> Any:
        if not self._call(f"lock_{kind.name}", id=id):
            raise _missing(resource_type, id)
        return self._found(kind, resource_type, id, wants)

    def _found(self, kind: _Kind, resource_type: ResourceType, id: UUID, wants: bool) -> Resource[Any]:
        where = sql.SQL(" and {} = %(id)s").format(kind.key)
        found = self._rows(kind, where, {"id": id, f"with_{kind.many}": wants})
        if not found:
            raise _missing(resource_type, id)
        return found[0]

    def _rows(self, kind: _Kind, rest: sql.Composable, values: Mapping[str, Any]) -> list[Resource[Any]]:
        with as_scim(), self._conn.cursor(row_factory=class_row(kind.row)) as cursor:
            rows = cursor.execute(sql.SQL(_sql[f"find_{kind.name}s"]) + rest, values).fetchall()
        return [kind.resource(row) for row in rows]

    def _save(self, kind: _Kind, id: UUID | None, resource: Any) -> UUID:
        if kind.name == "user":
            user_id = self._call("save_user", id=id, attributes=people.attributes(resource))
            assert isinstance(user_id, UUID)
            return user_id
        wanted = groups.member_ids(resource)
        group_id = self._call(
            "save_group", id=id, display_name=resource.display_name, external_id=resource.external_id
        )
        assert isinstance(group_id, UUID)
        self._set_members(group_id, wanted)
        return group_id

    def _set_members(self, group_id: UUID, wanted: set[UUID]) -> None:
        with as_scim():
            present = {row[0] for row in self._conn.execute(_sql["members_of"], {"id": group_id})}
        added, removed = sorted(wanted - present), sorted(present - wanted)
        if added or removed:
            self._call("change_members", id=group_id, added=added, removed=removed)

    def _call(self, query: str, **values: Any) -> Any:
        with as_scim():
            row = self._conn.execute(_sql[query], values).fetchone()
        return row and row[0]

    @staticmethod
    def _check(current: Resource[Any], expected_version: str | None) -> None:
        assert current.meta is not None
        if expected_version is not None and current.meta.version != expected_version:
            raise PreconditionFailedException


def _kind(resource_type: ResourceType) -> _Kind:
    return _KINDS[str(resource_type.name)]


def _id(resource_type: ResourceType, text: str | None) -> UUID:
    try:
        return UUID(text or "")
    except ValueError:
        raise _missing(resource_type, text) from None


def _missing(resource_type: ResourceType, id: object) -> NotFoundException:
    return NotFoundException(detail=f"There is no {resource_type.name} {id}")


def _wants(kind: _Kind, resource_type: ResourceType, parameters: ResponseParameters[Any]) -> bool:
    """Whether a response keeps the attribute that may be long."""
    model: Any = PROVIDER.model_for(resource_type)
    kept = Path[model].iter_paths(
        attributes=parameters.attributes or [], excluded_attributes=parameters.excluded_attributes or []
    )
    return any(str(path).rpartition(":")[2].split(".")[0] == kind.many for path in kept)


def _order(kind: _Kind, request: SearchRequest[Any]) -> sql.Composable:
    descending = request.sort_order == SearchRequest.SortOrder.descending
    by_id = kind.key + sql.SQL(" desc" if descending and request.sort_by is not None else "")
    if request.sort_by is None:
        return sql.SQL(" order by ") + by_id
    wanted = filters.order(request.sort_by, kind.columns, descending=descending)
    return sql.SQL(" order by {}, {}").format(wanted, by_id)


def _page(request: SearchRequest[Any]) -> sql.Composable:
    page: sql.Composable = sql.SQL(" offset {}").format(sql.Literal(request.start_index_0 or 0))
    if request.count is not None:
        page += sql.SQL(" limit {}").format(sql.Literal(request.count))
    return page
