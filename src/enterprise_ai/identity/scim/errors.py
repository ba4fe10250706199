"""What the database refuses, as SCIM's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout
from scim2_models import (
    ConflictException,
    ForbiddenException,
    InvalidValueException,
    SCIMException,
    UnauthorizedException,
    UniquenessException,
)

from enterprise_ai.errors import Error, translated
from enterprise_ai.identity import errors

_KNOWN: Mapping[type[Error], type[SCIMException]] = {
    errors.ApiKeyNotValid: UnauthorizedException,
    errors.TenantNotActive: UnauthorizedException,
    errors.UserNotActive: UnauthorizedException,
    errors.ProvisioningRefused: ForbiddenException,
    errors.QuotaReached: ForbiddenException,
    errors.EmailTaken: UniquenessException,
    errors.UserNameTaken: UniquenessException,
    errors.ExternalIdTaken: UniquenessException,
    errors.GroupExists: UniquenessException,
    errors.GroupExternalIdTaken: UniquenessException,
    errors.StatusCannotFollow: ConflictException,
    errors.UserNotFound: InvalidValueException,
    errors.WouldBeCircle: InvalidValueException,
}


class Unavailable(SCIMException):
    """The database cannot be asked now; the directory tries again later."""

    status = 503
    _default_detail = "The service cannot answer now; try again later"


@contextmanager
def as_scim() -> Iterator[None]:
    """Turn what the database refuses into SCIM's errors; let what is a fault of ours through."""
    try:
        with translated():
            yield
    except Error as error:
        ours = next((theirs for known, theirs in _KNOWN.items() if isinstance(error, known)), None)
        if ours is None:
            raise
        raise ours(detail=_sentence(error)) from error
    except psycopg.errors.RestrictViolation as error:
        raise ConflictException(detail=error.diag.message_primary) from error
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        reason = error.diag.constraint_name or error.diag.message_primary or str(error)
        raise InvalidValueException(detail=f"That cannot be stored: {reason}") from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable() from error


def _sentence(error: Error) -> str:
    return f"{error}. {error.hint}" if error.hint else str(error)
