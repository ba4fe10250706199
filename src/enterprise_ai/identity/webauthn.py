"""Passkeys and security keys (WebAuthn): registered, and signed in or stepped up with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import webauthn as library
from psycopg import Connection
from psycopg.rows import class_row
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers import parse_registration_credential_json as parse_registration
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from enterprise_ai._queries import queries
from enterprise_ai.errors import translated
from enterprise_ai.identity.contexts import NO_REQUEST, Context, Request, open_for, open_session
from enterprise_ai.identity.errors import PasskeyRefused, SecondFactorRefused
from enterprise_ai.identity.people import Users
from enterprise_ai.identity.signin import own_transaction

_sql = queries("enterprise_ai.identity")


@dataclass(frozen=True)
class RelyingParty:
    """The site that keys are registered for: its domain, its name, and the origins that its pages come from."""

    id: str
    name: str
    origins: tuple[str, ...]


@dataclass(frozen=True)
class Ceremony:
    """What a browser is asked: `options` is the JSON for `navigator.credentials`; send the id back with the answer."""

    challenge_id: UUID
    options: str


@dataclass(frozen=True)
class PasskeyAccepted:
    """Whose key it was, and the authentication level that it is worth."""

    user_id: UUID
    authentication_level: int


@dataclass(frozen=True)
class _Credential:
    factor_id: UUID
    owner_id: UUID
    id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]


class WebAuthn:
    """The ceremonies of one tenant, or of one session when its token is given, by a gateway's connection.

    With a session's token, keys are registered for its user, and an authentication steps the session up.
    """

    def __init__(
        self,
        conn: Connection[Any],
        relying_party: RelyingParty,
        *,
        tenant_id: UUID | None = None,
        session_token: str | None = None,
        request: Request = NO_REQUEST,
    ) -> None:
        if (tenant_id is None) == (session_token is None):
            raise ValueError("WebAuthn takes either a tenant or a session's token")
        self._conn, self._party, self._request = conn, relying_party, request
        self._tenant_id, self._token = tenant_id, session_token

    def begin_registration(self, user_id: UUID) -> Ceremony:
        """Ask a user's browser for a new key, one that is not registered yet; raise `UserNotFound`."""
        with self._committed():
            user = Users(self._conn).get(user_id)
            known = self._credentials(user_id=user_id)
            challenge_id, challenge = self._challenge("register", user_id)
        options = library.generate_registration_options(
            rp_id=self._party.id,
            rp_name=self._party.name,
            user_id=user_id.bytes,
            user_name=user.email,
            user_display_name=user.display_name,
            challenge=challenge,
            exclude_credentials=[_descriptor(credential) for credential in known],
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
        )
        return Ceremony(challenge_id, library.options_to_json(options))

    def register(self, challenge_id: UUID, name: str, response: str | dict[str, Any]) -> UUID:
        """Take the key that the browser answered with and return the factor.

        Raise `PasskeyRefused`, `PasskeyKnown`, `SecondFactorNameTaken`, `StepUpRequired`.
        """
        challenge, user_id = self._take(challenge_id, "register")
        assert user_id is not None
        try:
            credential = parse_registration(response)
            verified = library.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=list(self._party.origins),
            )
        except WebAuthnException as error:
            raise PasskeyRefused(f"The key was not registered: {error}") from error
        values = {
            "user_id": user_id, "name": name, "credential_id": verified.credential_id,
            "public_key": verified.credential_public_key, "sign_count": verified.sign_count,
            "transports": [transport.value for transport in credential.response.transports or ()],
            "is_backup_eligible": verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        }  # fmt: skip
        with self._committed():
            row = self._conn.execute(_sql["add_webauthn_factor"], values).fetchone()
        assert row is not None
        factor_id = row[0]
        assert isinstance(factor_id, UUID)
        return factor_id

    def begin_authentication(self, user_id: UUID | None = None) -> Ceremony:
        """Ask for one of a user's keys, after the password; or for any passkey of the tenant instead of one.

        Without a user the key itself has to verify its owner. In a session it is the session's user that is asked.
        """
        with self._committed() as context:
            user_id = context.user_id or user_id
            known = self._credentials(user_id=user_id) if user_id else []
            challenge_id, challenge = self._challenge("authenticate", user_id)
        options = library.generate_authentication_options(
            rp_id=self._party.id,
            challenge=challenge,
            allow_credentials=[_descriptor(credential) for credential in known],
            user_verification=UserVerificationRequirement.PREFERRED
            if user_id
            else UserVerificationRequirement.REQUIRED,
        )
        return Ceremony(challenge_id, library.options_to_json(options))

    def authenticate(self, challenge_id: UUID, response: str | dict[str, Any]) -> PasskeyAccepted:
        """Verify what the browser answered; raise `SecondFactorRefused`. In a session it is stepped up."""
        challenge, asked_user_id = self._take(challenge_id, "authenticate")
        try:
            answer = parse_authentication_credential_json(response)
        except WebAuthnException as error:
            raise SecondFactorRefused(f"The key is not accepted: {error}") from error
        with self._committed() as context:
            key = next(iter(self._credentials(credential_id=answer.raw_id)), None)
            if key is None or not _belongs(key, answer, asked_user_id, context.user_id):
                raise SecondFactorRefused("The key is not accepted")
            verified = self._verified(answer, challenge, key)
            values = {
                "user_id": key.owner_id, "factor_id": key.factor_id, "is_verified": verified is not None,
                "sign_count": verified.new_sign_count if verified else 0,
                "is_user_verified": verified is not None and verified.user_verified,
                "is_only_factor": asked_user_id is None, "session_id": context.session_id,
                "ip_address": self._request.ip_address, "user_agent": self._request.user_agent,
            }  # fmt: skip
            row = self._conn.execute(_sql["finish_webauthn"], values).fetchone()
        if row is None or row[0] is None:
            raise SecondFactorRefused("The key is not accepted")
        return PasskeyAccepted(key.owner_id, row[0])

    def _verified(self, answer: AuthenticationCredential, challenge: bytes, key: _Credential) -> Any:
        try:
            return library.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self._party.id,
                expected_origin=list(self._party.origins),
                credential_public_key=key.public_key,
                # Whether the counter went forward is decided in the database, by one conditional update.
                credential_current_sign_count=0,
            )
        except WebAuthnException:
            return None

    @contextmanager
    def _committed(self) -> Iterator[Context]:
        with own_transaction(self._conn), translated():
            if self._token is not None:
                yield open_session(self._conn, self._token, self._request)
            else:
                assert self._tenant_id is not None
                yield open_for(self._conn, self._tenant_id, request=self._request)

    def _challenge(self, purpose: str, user_id: UUID | None) -> tuple[UUID, bytes]:
        values = {"purpose": purpose, "user_id": user_id}
        row = self._conn.execute(_sql["begin_webauthn"], values).fetchone()
        assert row is not None
        return row[0], row[1]

    def _take(self, challenge_id: UUID, purpose: str) -> tuple[bytes, UUID | None]:
        values = {"challenge_id": challenge_id, "purpose": purpose}
        with self._committed() as context:
            row = self._conn.execute(_sql["take_webauthn_challenge"], values).fetchone()
        if row is None or (context.user_id is not None and row[1] != context.user_id):
            error = PasskeyRefused if purpose == "register" else SecondFactorRefused
            raise error(
                "The challenge was answered before, has expired, or is for something else; begin again"
            )
        return row[0], row[1]

    def _credentials(
        self, *, user_id: UUID | None = None, credential_id: bytes | None = None
    ) -> list[_Credential]:
        values = {"user_id": user_id, "credential_id": credential_id}
        with self._conn.cursor(row_factory=class_row(_Credential)) as cursor:
            return cursor.execute(_sql["webauthn_credentials"], values).fetchall()


def _belongs(
    key: _Credential, answer: AuthenticationCredential, asked: UUID | None, in_session: UUID | None
) -> bool:
    handle = answer.response.user_handle
    return (
        (asked is None or key.owner_id == asked)
        and (in_session is None or key.owner_id == in_session)
        and (not handle or bytes(handle) == key.owner_id.bytes)
    )


def _descriptor(credential: _Credential) -> PublicKeyCredentialDescriptor:
    known = {transport.value for transport in AuthenticatorTransport}
    return PublicKeyCredentialDescriptor(
        id=credential.id,
        transports=[AuthenticatorTransport(name) for name in credential.transports if name in known],
    )
