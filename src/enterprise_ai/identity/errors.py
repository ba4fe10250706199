"""What can go wrong about who somebody is, one class for each thing that a caller can act on."""

from __future__ import annotations

from datetime import datetime

from enterprise_ai.errors import Error


class TenantNotActive(Error):
    """The tenant is suspended, archived, being deleted, or not there."""

    sqlstate = "ZI001"


class UserNotActive(Error):
    """The user is invited, suspended, deactivated, erased, or not there."""

    sqlstate = "ZI002"


class TenantExists(Error):
    """Another tenant has the slug."""

    sqlstate = "ZI003"


class SessionOver(Error):
    """The session token belongs to no live session."""

    sqlstate = "ZI004"


class ApiKeyNotValid(Error):
    """The API key never was, has expired, or has been revoked."""

    sqlstate = "ZI005"


class UserNotFound(Error):
    """The tenant of the context has no such user."""

    sqlstate = "ZI006"


class StatusCannotFollow(Error):
    """The user's status does not lead to the one asked for."""

    sqlstate = "ZI007"


class OneTimeTokenNotValid(Error):
    """The token was used, has expired, or is for something else."""

    sqlstate = "ZI008"


class LoginAttemptNotFound(Error):
    """No attempt to sign in was begun under this id."""

    sqlstate = "ZI009"


class ApiKeyNotAllowed(Error):
    """The key would be somebody else's, or made with another key."""

    sqlstate = "ZI010"


class ApiKeyTooLong(Error):
    """The key would be good for longer than the settings allow."""

    sqlstate = "ZI011"


class CannotMoveInThisTransaction(Error):
    """Managers and parents are set, API keys made and second factors removed in read committed transactions."""

    sqlstate = "ZI012"


class WouldBeCircle(Error):
    """A manager or a group would lie above itself."""

    sqlstate = "ZI013"


class UnknownProfileField(Error):
    """A profile has no such field."""

    sqlstate = "ZI014"


class GroupNotFound(Error):
    """The tenant of the context has no such group."""

    sqlstate = "ZI015"


class TenantStatusCannotFollow(Error):
    """The tenant's status does not lead to the one asked for, or there is no such tenant."""

    sqlstate = "ZI016"


class TenantNotBeingDeleted(Error):
    """Its deletion was not begun, or is finished."""

    sqlstate = "ZI017"


class TenantStillWrites(Error):
    """Rows of the tenant are left although all were deleted: something that runs still writes them."""

    sqlstate = "ZI018"


class SecondFactorRequired(Error):
    """The settings let the user in with a second factor only: ask for one, or let the user add one."""

    sqlstate = "ZI019"


class PasswordChangeRequired(Error):
    """The password was set by somebody else or is too old: a new one comes before the session."""

    sqlstate = "ZI020"


class LastSecondFactor(Error):
    """The user needs a second factor, and this is the last."""

    sqlstate = "ZI021"


class StepUpRequired(Error):
    """Second factors are changed by who has just given one: step the session up first."""

    sqlstate = "ZI022"


class QuotaReached(Error):
    """The tenant, or the user, has as many of it as the settings allow; nothing was added."""

    sqlstate = "ZI023"


class ProvisioningRefused(Error):
    """The key or its user may not provision, or not this user or group, who may do more than they."""

    sqlstate = "ZI040"


class AdministratorExists(Error):
    """Somebody in the tenant can give roles already."""

    sqlstate = "ZI041"


class SsoProviderNotFound(Error):
    """The tenant of the context has no such single sign-on provider."""

    sqlstate = "ZI030"


class SsoProviderNotEnabled(Error):
    """Nobody can sign in through the provider at present."""

    sqlstate = "ZI031"


class SsoRequestNotFound(Error):
    """The sign-in was not begun in this browser, is completed already, or took too long: begin it again."""

    sqlstate = "ZI032"


class SsoReplay(Error):
    """The assertion or logout token was used before."""

    sqlstate = "ZI033"


class SsoLogoutNamesNobody(Error):
    """A sign-out at the provider names neither a subject nor a session."""

    sqlstate = "ZI034"


class SsoDomainTaken(Error):
    """Another tenant has shown that the domain is theirs."""

    sqlstate = "ZI035"


class SsoDomainNotClaimed(Error):
    """The tenant of the context has not claimed the domain."""

    sqlstate = "ZI036"


class UnknownSsoSetting(Error):
    """A single sign-on provider has no such setting."""

    sqlstate = "ZI037"


class SsoProviderFixed(Error):
    """People already sign in through the provider, so it cannot become another."""

    sqlstate = "ZI038"


class SsoRoleNotFound(Error):
    """The tenant has no role of the name to map a claim to."""

    sqlstate = "ZI039"


class SsoSubjectLinked(Error):
    """The account at the provider signs in somebody already."""

    constraint = "user_sso_accounts_subject_key"


class SsoAccountExists(Error):
    """The user already has an account at the provider."""

    constraint = "user_sso_accounts_one_per_provider"


class UnderLegalHold(Error):
    """A legal hold in force keeps the data; nothing was removed."""

    sqlstate = "ZS001"


class EmailTaken(Error):
    """Somebody in the tenant has the address."""

    constraint = "users_email_key"


class UserNameTaken(Error):
    """Somebody in the tenant signs in by the name, or has it as their address."""

    constraint = "users_user_name_key"


class ExternalIdTaken(Error):
    """Somebody in the tenant has the external id."""

    constraint = "users_external_id_key"


class GroupExternalIdTaken(Error):
    """A group of the tenant has the external id."""

    constraint = "groups_external_id_key"


class GroupExists(Error):
    """The tenant has a group of the name."""

    constraint = "groups_display_name_key"


class ApiKeyNameTaken(Error):
    """The user has a key of the name."""

    constraint = "api_keys_name_key"


class PasskeyKnown(Error):
    """The key is registered in the tenant already."""

    constraint = "mfa_factors_credential_id_key"


class SecondFactorNameTaken(Error):
    """The user has a second factor of the name."""

    constraint = "mfa_factors_name_key"


class PasskeyRefused(Error):
    """The key's registration does not verify, or its challenge was used before or has expired: begin again."""


class SignInsThrottled(Error):
    """Too many attempts to sign in came from the address within a minute."""


class InvalidCredentials(Error):
    """The address and the password do not belong together; which of them is wrong is nobody's business."""


class AccountLocked(InvalidCredentials):
    """Too many failures; the lock ends by itself. Tell the person what InvalidCredentials would."""

    until: datetime | None = None


class SecondFactorRefused(Error):
    """The code or the key's answer is wrong, was used before, or the account is locked."""


class RefreshTokenNotValid(Error):
    """The refresh token never was, or its session is over: sign in again."""


class RefreshTokenReused(RefreshTokenNotValid):
    """The token had been used before: somebody else has it, so the session and its family are revoked."""


class PasswordRefused(Error):
    """The password is too short or too long."""


class TenantNotFound(Error):
    """The installation has no tenant of the slug or id."""


class TransactionOpen(Error):
    """Signing in commits what it decides, so it needs a connection that is in no transaction."""
