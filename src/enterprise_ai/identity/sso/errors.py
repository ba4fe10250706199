"""What can go wrong with a sign-in through a provider, apart from what the database itself refuses."""

from __future__ import annotations

from enterprise_ai.errors import Error


class ProviderUnreachable(Error):
    """The provider did not answer, or not in the way its protocol wants; trying again may help."""


class DomainNotFound(Error):
    """The DNS gave no answer about a domain; nothing has been verified."""


class AddressNotAllowed(Error):
    """The provider's address lies in a private network or is not served by https; nothing was sent there."""


class AnswerRefused(Error):
    """What came back does not prove who somebody is: forged, out of date, for another, or the provider said no."""


class SignInRefused(Error):
    """The provider knows the person, and they may not come in; `outcome` says why. The attempt is recorded."""

    def __init__(self, outcome: str) -> None:
        super().__init__(_REASONS.get(outcome, f"The sign-in was refused: {outcome}"))
        self.outcome = outcome


_REASONS = {
    "inactive": "The account is suspended or deactivated; an administrator can let it in again",
    "address_taken": "An account has this address, and the provider may not join it; an administrator can link it",
    "not_invited": "There is no account here, and the provider may not make one; ask to be invited",
    "no_address": "The provider tells no e-mail address, without which no account can be made",
    "claims_refused": "The provider signs in more people than may come here, and this account is not one of them",
    "provider_disabled": "Nobody can sign in through this provider at present",
}
