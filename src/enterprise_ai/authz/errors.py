"""What can go wrong about who may do what, one class for each thing that a caller can act on."""

from __future__ import annotations

from enterprise_ai.errors import Error


class NoContext(Error):
    """A question or a grant needs a context, for some things that of a user."""

    sqlstate = "ZA001"


class RoleInheritsInCircle(Error):
    """The role that shall be inherited from inherits already from the heir."""

    sqlstate = "ZA002"


class ResourceInCircle(Error):
    """A resource would lie within itself."""

    sqlstate = "ZA003"


class ResourceMisplaced(Error):
    """A resource of this type cannot lie within one of that."""

    sqlstate = "ZA004"


class IsolationUnfit(Error):
    """The isolation level of the transaction does not let this be done safely: use read committed."""

    sqlstate = "ZA005"


class ConditionRefused(Error):
    """The condition or the window is not one that can be used."""

    sqlstate = "ZA006"


class MayNotAsk(Error):
    """The user may not ask what others may do."""

    sqlstate = "ZA007"


class CannotBeMoved(Error):
    """A row or policy stays what it is: delete it and make another."""

    sqlstate = "ZA008"


class ArgumentRefused(Error):
    """A list, a page, a scope or a change has a shape that cannot be used."""

    sqlstate = "ZA009"


class MayNotGive(Error):
    """The user lacks the right to give or to decide, or what they want to give."""

    sqlstate = "ZA010"


class NameUnknown(Error):
    """There is no role, permission or resource of that name."""

    sqlstate = "ZA011"


class RoleFull(Error):
    """The role has as many holders as it may have."""

    sqlstate = "ZA012"


class DutiesSeparated(Error):
    """Somebody would hold what a separation of duties keeps apart."""

    sqlstate = "ZA013"


class PolicyCountsRoles(Error):
    """A dynamic separation of duties counts permissions, not roles."""

    sqlstate = "ZA014"


class ActsForAnother(Error):
    """Who acts on behalf of another cannot pass on their rights."""

    sqlstate = "ZA015"


class LastsTooLong(Error):
    """The delegation or the emergency would last longer than the settings allow."""

    sqlstate = "ZA016"


class NotDelegable(Error):
    """Whoever has the permission or the role cannot pass it on."""

    sqlstate = "ZA017"


class DelegationNotCovered(Error):
    """The delegation that is passed on does not cover this one."""

    sqlstate = "ZA018"


class EmergencyNotOver(Error):
    """An emergency is reviewed when it is over."""

    sqlstate = "ZA019"


class EvidenceKept(Error):
    """What later reviews look at is neither changed nor deleted."""

    sqlstate = "ZA020"


class NobodyToReview(Error):
    """Nobody could review something but the one who has it."""

    sqlstate = "ZA021"


class NothingToDecide(Error):
    """The item is decided, its review is over, or it never was."""

    sqlstate = "ZA022"
