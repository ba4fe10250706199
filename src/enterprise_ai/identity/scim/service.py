"""The protocol as this service speaks it: what it makes of requests before they are held to the schemas."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from scim2_models import Context, PatchOp, Resource, ResourceType
from scim2_server.requests import ScimRequest
from scim2_server.service import ScimService, scim_exception_of

from enterprise_ai.identity.scim.dialects import completed, plain_patch
from enterprise_ai.identity.scim.schemas import PROVIDER
from enterprise_ai.identity.scim.storage import Storage

# A group of 50,000 members with their references is about this long.
LARGEST_BODY = 8 * 1024 * 1024


class Service(ScimService):
    """The rules of the protocol, over what a request has read in its transaction."""

    def __init__(self, storage: Storage | None = None) -> None:
        super().__init__(PROVIDER)
        self._storage = storage

    def max_body_size(self, request: ScimRequest) -> int | None:
        """Return how much of a body is read."""
        return min(super().max_body_size(request) or LARGEST_BODY, LARGEST_BODY)

    def read_creation(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> Resource[Any]:
        """Validate what is to be made, with what follows from the rest of it filled in."""
        return self._read(resource_type, body, content_type, Context.RESOURCE_CREATION_REQUEST)

    def read_replacement(
        self, resource_type: ResourceType, body: bytes, content_type: str | None
    ) -> Resource[Any]:
        """Validate what is to replace a resource; whoever says nothing of `active` leaves it."""
        return self._read(resource_type, body, content_type, Context.RESOURCE_REPLACEMENT_REQUEST)

    def read_patch(self, resource_type: ResourceType, body: bytes, content_type: str | None) -> PatchOp[Any]:
        """Validate a PATCH after putting the dialects of directories into plain SCIM."""
        self.ensure_patch_supported()
        model: Any = PatchOp
        return self._validated(  # type: ignore[no-any-return]
            model[self.get_model(resource_type)],
            plain_patch(self.decode_body(body, content_type)),
            Context.RESOURCE_PATCH_REQUEST,
        )

    def _read(
        self, resource_type: ResourceType, body: bytes, content_type: str | None, context: Context
    ) -> Resource[Any]:
        payload = self.decode_body(body, content_type)
        if resource_type.name == "User":
            last_read = self._storage.last_read if self._storage else None
            payload = completed(payload, is_active=last_read.active if last_read else True)
        return self._validated(self.get_model(resource_type), payload, context)  # type: ignore[no-any-return]

    @staticmethod
    def _validated(model: Any, payload: Any, context: Context) -> Any:
        try:
            return model.model_validate(payload, scim_ctx=context)
        except ValidationError as error:
            raise scim_exception_of(error) from error
