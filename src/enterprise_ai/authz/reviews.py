"""What is looked at afterwards: emergencies, and access reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from enterprise_ai.authz.calls import Calls
from enterprise_ai.authz.errors import NothingToDecide


@dataclass(frozen=True)
class Emergency:
    """An emergency that is over and waits for its review."""

    id: UUID
    user_id: UUID
    role: str
    resource_id: UUID | None
    reason: str
    started_at: datetime
    over_at: datetime
    uses: int


@dataclass(frozen=True)
class Review:
    """An access review; its items are rows of `authz.access_review_items`."""

    id: UUID
    name: str
    status: str
    due_at: datetime | None


@dataclass(frozen=True)
class Progress:
    """How far an access review is: complete when nothing is undecided."""

    total: int
    kept: int
    revoked: int
    undecided: int
    is_overdue: bool


class Emergencies(Calls):
    """Take a role in an emergency, and answer for it."""

    def take(
        self, role: str, reason: str, *, minutes: int | None = None, resource_id: UUID | None = None
    ) -> UUID:
        """Break the glass and return the event's id; raise `MayNotGive`, `NameUnknown`, `LastsTooLong`."""
        return self._id("break_glass", role=role, reason=reason, minutes=minutes, resource_id=resource_id)

    def end(self, event_id: UUID) -> bool:
        """End one before its time; False when none of that id goes on."""
        return bool(self._value("end_break_glass", id=event_id))

    def waiting(self) -> Sequence[Emergency]:
        """Those over that nobody has reviewed, the oldest first."""
        return self._rows(Emergency, "list_break_glass_reviews")

    def review(
        self, event_id: UUID, outcome: Literal["justified", "unjustified"], comment: str | None = None
    ) -> bool:
        """Say for good whether it was justified; raise `EmergencyNotOver`, `MayNotGive`."""
        return bool(self._value("review_break_glass", id=event_id, outcome=outcome, comment=comment))


class Reviews(Calls):
    """Have looked through what people were given by hand."""

    def open(
        self,
        name: str,
        reviewer_id: UUID,
        *,
        due_at: datetime | None = None,
        scope: Mapping[str, Any] | None = None,
        reviewers: str = "named",
        auto_revoke: bool = False,
    ) -> UUID:
        """Begin a review and return its id; raise `ArgumentRefused` (the scope), `NobodyToReview`."""
        return self._id(
            "open_access_review",
            name=name,
            reviewer_id=reviewer_id,
            due_at=due_at,
            scope=Jsonb(dict(scope or {})),
            reviewers=reviewers,
            auto_revoke=auto_revoke,
        )

    def list(self) -> Sequence[Review]:
        """All of them, the newest first."""
        return self._rows(Review, "list_access_reviews")

    def decide(self, item_id: UUID, decision: Literal["keep", "revoke"], comment: str | None = None) -> bool:
        """Decide on one assignment for good; True when it was withdrawn. Raise `NothingToDecide`."""
        return bool(self._value("decide_review_item", id=item_id, decision=decision, comment=comment))

    def cancel(self, review_id: UUID) -> bool:
        """Give up a review; False when none of that id is open."""
        return bool(self._value("cancel_access_review", id=review_id))

    def progress(self, review_id: UUID) -> Progress:
        """How far it is; raise `NothingToDecide` when there is no such review."""
        found = self._rows(Progress, "access_review_progress", id=review_id)
        if not found:
            raise NothingToDecide(f"There is no review {review_id}")
        return found[0]
