"""The typed face of the authorization domain: who may do what, and how that is kept in order."""

from __future__ import annotations

from functools import cached_property

from enterprise_ai.authz.cache import DecisionCache
from enterprise_ai.authz.calls import Limits
from enterprise_ai.authz.decisions import Decision, Decisions, Question
from enterprise_ai.authz.grants import Delegations, Grants, Proxies
from enterprise_ai.authz.policies import Finding, Policies, PolicyTest, Simulation
from enterprise_ai.authz.reviews import Emergencies, Emergency, Progress, Review, Reviews

__all__ = [
    "Authz",
    "Decision",
    "DecisionCache",
    "Decisions",
    "Delegations",
    "Emergencies",
    "Emergency",
    "Finding",
    "Grants",
    "Limits",
    "Policies",
    "PolicyTest",
    "Progress",
    "Proxies",
    "Question",
    "Review",
    "Reviews",
    "Simulation",
]


class Authz(Decisions):
    """Who may do what in the transaction's tenant: questions at once, everything else by its noun."""

    @cached_property
    def grants(self) -> Grants:
        """Roles and permissions that people are given."""
        return Grants(self._conn)

    @cached_property
    def delegations(self) -> Delegations:
        """Rights that are passed on."""
        return Delegations(self._conn)

    @cached_property
    def proxies(self) -> Proxies:
        """Grants to act on behalf."""
        return Proxies(self._conn)

    @cached_property
    def emergencies(self) -> Emergencies:
        """Roles taken in an emergency."""
        return Emergencies(self._conn)

    @cached_property
    def reviews(self) -> Reviews:
        """Access reviews."""
        return Reviews(self._conn)

    @cached_property
    def policies(self) -> Policies:
        """Separations of duties, roles by rule, policy tests, simulation, the lint."""
        return Policies(self._conn)
