"""What keeps rights in order: separations of duties, roles by rule, policy tests, simulation, the lint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from enterprise_ai.authz.calls import Calls


@dataclass(frozen=True)
class PolicyTest:
    """What a policy test expects and what it gets."""

    name: str
    is_passed: bool
    expected_effect: str
    expected_reason: str | None
    effect: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """What somebody should look at; `severity` is note, warning or error."""

    finding: str
    severity: str
    about: str
    id: UUID | None
    message: str


@dataclass(frozen=True)
class Simulation:
    """What a list of changes would come to."""

    changes: list[dict[str, Any]]
    """For each change whether it would be `applied`, or `refused` and why."""
    checked: int
    flips: list[dict[str, Any]]
    """Each check whose answer would turn, with effect and reason before and after."""
    tests: list[dict[str, Any]]
    """The policy tests that would come to pass or to fail."""


class Policies(Calls):
    """Make policies and find out what they do; making them takes permission.manage_policies (`MayNotGive`)."""

    def separate(
        self,
        name: str,
        kind: Literal["static", "dynamic"],
        *,
        permissions: Sequence[str] = (),
        roles: Sequence[str] = (),
        maximum_held: int = 1,
        counted_per: Literal["resource", "session"] | None = None,
        enforcement: Literal["refuse", "report"] = "refuse",
        is_enabled: bool = True,
        description: str = "",
    ) -> UUID:
        """Make or change a separation of duties by its name; raise `NameUnknown`, `DutiesSeparated`."""
        return self._id(
            "save_access_policy",
            name=name,
            kind=kind,
            permissions=list(permissions),
            roles=list(roles),
            maximum_held=maximum_held,
            counted_per=counted_per,
            enforcement=enforcement,
            is_enabled=is_enabled,
            description=description,
        )

    def delete_separation(self, name: str) -> bool:
        """Delete a separation of duties with what was recorded; False when there is none of that name."""
        return bool(self._value("delete_access_policy", name=name))

    def assign_by_rule(
        self,
        name: str,
        role: str,
        condition: str,
        *,
        resource_id: UUID | None = None,
        is_enabled: bool = True,
    ) -> UUID:
        """Give a role to all of whom a condition on $.subject is true; raise `ConditionRefused`, `NameUnknown`."""
        return self._id(
            "save_assignment_rule",
            name=name,
            role=role,
            condition=condition,
            resource_id=resource_id,
            is_enabled=is_enabled,
        )

    def delete_rule(self, name: str) -> bool:
        """Delete a rule and take back what it gave; False when there is none of that name."""
        return bool(self._value("delete_assignment_rule", name=name))

    def simulate(
        self, changes: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]] | None = None
    ) -> Simulation:
        """Find out what changes would change, without making them; raise `MayNotAsk`, `ArgumentRefused`."""
        found = self._value(
            "simulate",
            changes=_json_of(changes),
            checks=None if checks is None else _json_of(checks),
        )
        return Simulation(found["changes"], found["checked"], found["flips"], found["tests"])

    def save_test(
        self,
        name: str,
        user_id: UUID,
        permission: str,
        expected_effect: Literal["allow", "deny"],
        *,
        resource_id: UUID | None = None,
        env: Mapping[str, Any] | None = None,
        expected_reason: str | None = None,
        decided_at: datetime | None = None,
    ) -> UUID:
        """Write down, or change by its name, what a decision must be."""
        return self._id(
            "save_policy_test",
            name=name,
            user_id=user_id,
            permission=permission,
            expected_effect=expected_effect,
            resource_id=resource_id,
            env=Jsonb(dict(env or {})),
            expected_reason=expected_reason,
            decided_at=decided_at,
        )

    def delete_test(self, name: str) -> bool:
        """Delete a policy test; False when there is none of that name."""
        return bool(self._value("delete_policy_test", name=name))

    def run_tests(self) -> Sequence[PolicyTest]:
        """Run the policy tests of the tenant."""
        return self._rows(PolicyTest, "run_policy_tests")

    def lint(self) -> Sequence[Finding]:
        """What is not wrong enough to be refused."""
        return self._rows(Finding, "lint")


def _json_of(things: Sequence[Mapping[str, Any]]) -> Jsonb:
    """Ids and moments as text, so that a caller need not."""
    return Jsonb(
        [
            {
                name: str(value) if isinstance(value, (UUID, datetime)) else value
                for name, value in thing.items()
            }
            for thing in things
        ]
    )
