"""Requests as scim2-server serves them, but for changes of single members, which do not read a group's members."""

from __future__ import annotations

from typing import Any

from scim2_models import PatchOp, Resource, ResourceType
from scim2_server.conditions import Conditions
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from enterprise_ai.identity.scim.membership import changes_of
from enterprise_ai.identity.scim.service import Service
from enterprise_ai.identity.scim.storage import Storage


class Handler(ScimHandler):
    """Serves one request in its transaction."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(Service(storage), storage)
        self._storage = storage
        self._answers_with_attributes = False

    def patch(self, request: ScimRequest) -> ScimResponse:
        """Modify a resource."""
        self._answers_with_attributes = not {"attributes", "excludedAttributes"}.isdisjoint(request.query)
        return super().patch(request)

    def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any]:
        """Apply a validated PATCH, and return what came of it; of a group whose members alone change without these."""
        changes = None
        if resource_type.name == "Group" and not self._answers_with_attributes:
            changes = changes_of(patch_op)
        if changes is None:
            return super().patch_resource(resource_type, resource_id, patch_op, conditions)
        current = self._storage.locked_without_members(resource_type, resource_id)
        self.service.check_preconditions(current, "PATCH", conditions)
        return self._storage.change_members(resource_type, resource_id, changes)
