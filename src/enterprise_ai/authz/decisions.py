"""Decisions: whether somebody may do something, why, and who may do what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from enterprise_ai.authz.calls import Calls
from enterprise_ai.errors import translated

if TYPE_CHECKING:
    from enterprise_ai.authz.memory import Memory

Facts = Mapping[str, Any]
Consistency = Literal["bounded", "strong"]
NO_FACTS: Facts = {}


@dataclass(frozen=True)
class Decision:
    """What was decided and why; `expires_at` is None when only a change can turn it."""

    effect: str
    reason: str
    rule_ids: list[UUID]
    obligations: dict[str, Any]
    missing: list[str]
    """What a condition asked for and nobody knew."""
    expires_at: datetime | None

    @property
    def is_allowed(self) -> bool:
        """Whether it is allowed."""
        return self.effect == "allow"


@dataclass(frozen=True)
class Question:
    """One of many checks; without a resource about the type, without a user about the context's."""

    permission: str
    resource_id: UUID | None = None
    user_id: UUID | None = None


class Decisions(Calls):
    """Ask what the user of the context, or another, may do. All raise `NoContext`, about others `MayNotAsk`.

    `request` holds facts of the request for the conditions' `$.env`; what the context knows cannot be said there.
    Where the client has a cache of decisions, `check` and `evaluate` use it unless the `consistency` is "strong".
    """

    def __init__(self, conn: Connection[Any], memory: Memory | None = None) -> None:
        super().__init__(conn)
        self._memory = memory

    def check(
        self,
        permission: str,
        resource_id: UUID | None = None,
        *,
        user_id: UUID | None = None,
        request: Facts = NO_FACTS,
        consistency: Consistency = "bounded",
    ) -> bool:
        """Whether the permission is there, on the resource or on the type; nothing unknown is allowed."""
        if self._memory is not None and consistency == "bounded":
            return self._remembered(self._memory, permission, resource_id, user_id, request).effect == "allow"
        return bool(self._value("check", **_asked(permission, resource_id, user_id, request)))

    def check_many(self, questions: Sequence[Question], *, request: Facts = NO_FACTS) -> list[bool]:
        """The answers to many checks in their order, by one statement."""
        answers = self._value(
            "check_many",
            permissions=[question.permission for question in questions],
            resource_ids=[question.resource_id for question in questions],
            user_ids=[question.user_id for question in questions],
            request=Jsonb(dict(request)),
        )
        return list(answers)

    def evaluate(
        self,
        permission: str,
        resource_id: UUID | None = None,
        *,
        user_id: UUID | None = None,
        request: Facts = NO_FACTS,
        consistency: Consistency = "bounded",
    ) -> Decision:
        """The decision with its reason, the rules that made it, and until when it holds."""
        if self._memory is not None and consistency == "bounded":
            return self._remembered(self._memory, permission, resource_id, user_id, request)
        return self._rows(Decision, "evaluate", **_asked(permission, resource_id, user_id, request))[0]

    def authorize(
        self, permission: str, resource_id: UUID | None = None, *, request: Facts = NO_FACTS
    ) -> Decision:
        """Decide for the user who is about to act, and record what has to be; raise `IsolationUnfit`."""
        return self._rows(Decision, "authorize", **_asked(permission, resource_id, None, request))[0]

    def check_and_hold(
        self, permission: str, resource_id: UUID | None = None, *, request: Facts = NO_FACTS
    ) -> bool:
        """Check for a transaction that writes because of it: nobody revokes the right before it has ended."""
        return bool(self._value("check_and_hold", **_asked(permission, resource_id, None, request)))

    def explain(
        self,
        permission: str,
        resource_id: UUID | None = None,
        *,
        user_id: UUID | None = None,
        request: Facts = NO_FACTS,
    ) -> dict[str, Any]:
        """The decision and every rule that could bear on it, with what each came to."""
        return dict(self._value("explain", **_asked(permission, resource_id, user_id, request)))

    def explain_text(
        self,
        permission: str,
        resource_id: UUID | None = None,
        *,
        user_id: UUID | None = None,
        request: Facts = NO_FACTS,
    ) -> str:
        """The same for people to read."""
        return str(self._value("explain_text", **_asked(permission, resource_id, user_id, request)))

    def list_resources(
        self,
        permission: str,
        *,
        user_id: UUID | None = None,
        request: Facts = NO_FACTS,
        resource_type: str | None = None,
        after: UUID | None = None,
        page_size: int = 100,
    ) -> Iterator[Sequence[UUID]]:
        """Pages of the resources on which the permission is there; raise `ArgumentRefused` for an unfit page."""
        values = {
            "permission": permission,
            "user_id": user_id,
            "request": Jsonb(dict(request)),
            "resource_type": resource_type,
        }
        return self._pages("list_resources", values, after, page_size)

    def list_subjects(
        self,
        permission: str,
        resource_id: UUID | None = None,
        *,
        request: Facts = NO_FACTS,
        after: UUID | None = None,
        page_size: int = 100,
    ) -> Iterator[Sequence[UUID]]:
        """Pages of the users who have the permission; raise `ArgumentRefused` for an unfit page."""
        values = {"permission": permission, "resource_id": resource_id, "request": Jsonb(dict(request))}
        return self._pages("list_subjects", values, after, page_size)

    def list_actions(
        self, resource_id: UUID, *, user_id: UUID | None = None, request: Facts = NO_FACTS
    ) -> Sequence[str]:
        """All permissions that somebody has on a resource."""
        return self._values(
            "list_actions", resource_id=resource_id, user_id=user_id, request=Jsonb(dict(request))
        )

    def _remembered(
        self, memory: Memory, permission: str, resource_id: UUID | None, user_id: UUID | None, request: Facts
    ) -> Decision:
        key = memory.key(permission, resource_id, user_id, request)
        if key is not None:
            # Only what the connection ran since the last question can have changed anything.
            if memory.statements != memory.settled:
                memory.settle()
            if (found := memory.find(key)) is not None:
                return found
        values = _asked(permission, resource_id, user_id, request)
        if key is None:
            return self._rows(Decision, "evaluate", **values)[0]
        with translated():
            return memory.ask(key, values)

    def _pages(
        self, query: str, values: dict[str, Any], after: UUID | None, page_size: int
    ) -> Iterator[Sequence[UUID]]:
        while page := self._values(query, **values, after=after, page_size=page_size):
            yield page
            if len(page) < page_size:
                return
            after = page[-1]


def _asked(permission: str, resource_id: UUID | None, user_id: UUID | None, request: Facts) -> dict[str, Any]:
    return {
        "permission": permission,
        "resource_id": resource_id,
        "user_id": user_id,
        "request": Jsonb(dict(request)),
    }
