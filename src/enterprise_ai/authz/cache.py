"""Decisions that a process remembers: for whom, for how long, and what makes it forget them.

An answer is used only while all of this holds: the connection that listens for changes has been heard from within
`staleness` seconds, nothing was changed in the tenant since the transaction began that asked for it, the decision's own
`expires_at` has not come, and it is not older than `max_age`. So a change that was committed elsewhere is seen when its
notification arrives, and after `staleness` seconds at the latest when the network keeps it back.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from enterprise_ai.authz.decisions import Decision
    from enterprise_ai.identity.contexts import Context

Key = tuple[str, str, UUID | None, UUID | None, str | None]
#: What may become known without anything being changed in the tenant's rights: a resource, a user, a permission.
_NOT_KEPT = frozenset({"deny_not_found", "deny_subject_inactive"})


class _Tenant:
    """The number of the last change that concerns a tenant."""

    __slots__ = ("last_change",)

    def __init__(self, last_change: int) -> None:
        self.last_change = last_change


class DecisionCache:
    """Remembers up to `size` decisions; of two halves the one that was used longer ago is forgotten first."""

    def __init__(
        self,
        *,
        size: int = 100_000,
        max_age: float = 60.0,
        staleness: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 2 or max_age <= 0 or staleness <= 0:
            raise ValueError("A cache needs a size of 2 at least, and times greater than 0")
        self.size, self.max_age, self.staleness, self.clock = size, max_age, staleness, clock
        self._lock = threading.Lock()
        self._recent: dict[Key, tuple[int, float, Decision]] = {}
        self._older: dict[Key, tuple[int, float, Decision]] = {}
        self._tenants: dict[UUID, _Tenant] = {}
        self._changes = 0
        self._heard_until = -math.inf

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    @property
    def is_live(self) -> bool:
        """Whether changes are heard of, so that what is remembered may be used."""
        return self.clock() < self._heard_until

    @property
    def changes(self) -> int:
        """How many changes were heard of; a transaction takes the number along from before its first statement."""
        return self._changes

    def tenant(self, tenant_id: UUID) -> _Tenant:
        """What is known of changes in a tenant."""
        with self._lock:
            return self._tenants.setdefault(tenant_id, _Tenant(self._changes))

    def find(self, key: Key, tenant: _Tenant) -> Decision | None:
        """What is remembered under a key, if it may still be used."""
        entry = self._recent.get(key)
        if entry is None:
            if (entry := self._older.get(key)) is None:
                return None
            self._put(key, entry)
        now = self.clock()
        if entry[0] < tenant.last_change or now >= entry[1] or now >= self._heard_until:
            return None
        return entry[2]

    def keep(
        self, key: Key, began: int, asked_at: float, decision: Decision, remaining: float | None
    ) -> None:
        """Remember a decision of a transaction that began after so many changes; `remaining` seconds are its own."""
        lasts = min(self.max_age, math.inf if remaining is None else remaining)
        if lasts > 0 and decision.reason not in _NOT_KEPT:
            self._put(key, (began, asked_at + lasts, decision))

    def forget(self, tenant_id: UUID) -> None:
        """Use nothing any more that was asked before now in a tenant."""
        with self._lock:
            self._changes += 1
            if tenant_id in self._tenants:
                self._tenants[tenant_id].last_change = self._changes

    def forget_all(self) -> None:
        """Use nothing any more that was asked before now."""
        with self._lock:
            self._changes += 1
            for tenant in self._tenants.values():
                tenant.last_change = self._changes
            # Transactions that go on hold on to their tenant's; whoever comes later starts from this change.
            self._tenants, self._recent, self._older = {}, {}, {}

    def hear_until(self, moment: float) -> None:
        """Changes are known to have been heard of for so long; may only be called for what was asked just now."""
        self._heard_until = moment

    def lose(self) -> None:
        """Changes are not heard of any more: use nothing, and remember nothing of before."""
        self._heard_until = -math.inf
        self.forget_all()

    def _put(self, key: Key, entry: tuple[int, float, Decision]) -> None:
        with self._lock:
            self._recent[key] = entry
            if len(self._recent) >= self.size // 2:
                self._older, self._recent = self._recent, {}


def who_asks(context: Context) -> str:
    """All of a context that a decision may depend on, which is everything but the number of the request."""
    request = context.request
    return repr(
        (
            str(context.tenant_id),
            str(context.user_id),
            str(context.actor_id),
            str(context.session_id),
            str(context.api_key_id),
            context.scopes,
            context.authentication_level,
            request.ip_address,
            request.user_agent,
        )
    )


def facts_key(request: Mapping[str, Any]) -> str | None:
    """The facts of a request as part of a key."""
    return json.dumps(request, sort_keys=True, default=str) if request else None
