"""What people are given: roles and permissions, delegations, and acting on behalf."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from enterprise_ai.authz.calls import ALWAYS, Calls, Limits, limiting


class Grants(Calls):
    """Give roles and permissions and take them back; nobody gives more than they have (`MayNotGive`)."""

    def assign(
        self, user_id: UUID, role: str, *, resource_id: UUID | None = None, limits: Limits = ALWAYS
    ) -> UUID:
        """Give a role and return the assignment's id; raise `NameUnknown`, `RoleFull`, `DutiesSeparated`."""
        return self._id(
            "assign_role", user_id=user_id, role=role, resource_id=resource_id, **limiting(limits)
        )

    def unassign(self, assignment_id: UUID) -> bool:
        """Take a role back; False when there is no such assignment."""
        return bool(self._value("revoke_role", id=assignment_id))

    def grant(
        self,
        user_id: UUID,
        permission: str,
        *,
        resource_id: UUID | None = None,
        effect: Literal["allow", "deny"] = "allow",
        limits: Limits = ALWAYS,
    ) -> UUID:
        """Allow or deny one thing and return the grant's id; raise `NameUnknown`, `DutiesSeparated`."""
        return self._id(
            "grant_permission",
            user_id=user_id,
            permission=permission,
            resource_id=resource_id,
            effect=effect,
            **limiting(limits),
        )

    def revoke(self, grant_id: UUID) -> bool:
        """Take back what was allowed or denied; False when there is no such grant."""
        return bool(self._value("revoke_permission", id=grant_id))

    def approve(self, kind: Literal["user_role", "user_permission"], assignment_id: UUID) -> bool:
        """Agree to what another has given; False when nothing of that id waits for it."""
        return bool(self._value("approve", kind=kind, id=assignment_id))


class Delegations(Calls):
    """Pass rights on for a time; they are worth what the delegator may do at each moment."""

    def give(
        self,
        delegate_id: UUID,
        what: str,
        valid_until: datetime,
        *,
        resource_id: UUID | None = None,
        may_redelegate: bool = False,
        parent_id: UUID | None = None,
        reason: str | None = None,
        limits: Limits = ALWAYS,
    ) -> UUID:
        """Delegate a role or a permission; raise `LastsTooLong`, `NotDelegable`, `DelegationNotCovered`."""
        return self._id(
            "delegate",
            **limiting(limits)
            | {
                "delegate_id": delegate_id,
                "what": what,
                "valid_until": valid_until,
                "resource_id": resource_id,
                "may_redelegate": may_redelegate,
                "parent_id": parent_id,
                "reason": reason,
            },
        )

    def revoke(self, delegation_id: UUID) -> bool:
        """Take one back with all that was passed on by it; False when there is none of that id."""
        return bool(self._value("revoke_delegation", id=delegation_id))


class Proxies(Calls):
    """Let somebody act on behalf of another."""

    def grant(
        self,
        actor_id: UUID,
        permission: str | None = None,
        *,
        all_permissions: bool = False,
        user_id: UUID | None = None,
        resource_id: UUID | None = None,
        reason: str | None = None,
        limits: Limits = ALWAYS,
    ) -> UUID:
        """Let the actor act for the user of the context, or another; raise `MayNotGive`, `ActsForAnother`."""
        return self._id(
            "grant_proxy",
            actor_id=actor_id,
            permission=permission,
            all_permissions=all_permissions,
            user_id=user_id,
            resource_id=resource_id,
            reason=reason,
            **limiting(limits),
        )

    def revoke(self, grant_id: UUID) -> bool:
        """End a grant to act; False when there is none of that id."""
        return bool(self._value("revoke_proxy", id=grant_id))
