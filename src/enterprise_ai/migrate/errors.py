"""Every failure the engine reports on purpose, with the exit code it ends in."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .contention import Blocker
    from .locate import Place

DONE, FAILED, USAGE, PENDING, NO_CONNECTION, NO_LOCK, DISAGREES, DRIFT = range(8)


class MigrateError(Exception):
    """Base of all of them: what happened, what state things are in, what to do next."""

    exit_code = FAILED

    def __init__(self, message: str, *, state: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.state = state
        self.advice = advice


class UsageError(MigrateError):
    """The command, its options or the directory of files cannot be used as given."""

    exit_code = USAGE


class FileError(MigrateError):
    """A file cannot be run as it is written; `place` is where in it."""

    exit_code = FAILED

    def __init__(
        self, message: str, *, place: Place | None = None, state: str = "", advice: str = ""
    ) -> None:
        super().__init__(message, state=state, advice=advice)
        self.place = place


class MigrationFailed(FileError):
    """The server refused a statement of a file; nothing of that file stays."""

    def __init__(
        self,
        message: str,
        *,
        place: Place | None = None,
        server: ServerError | None = None,
        state: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, place=place, state=state, advice=advice)
        self.server = server
        self.statement: tuple[int, str] | None = None  # number and first line, when that is all we know
        self.blockers: tuple[Blocker, ...] = ()  # for whom it waited, when it was for a lock


class ConnectionFailed(MigrateError):
    """The database cannot be reached, or the server does not let us in."""

    exit_code = NO_CONNECTION


class LockNotObtained(MigrateError):
    """Another runner held the migration lock for longer than we were told to wait."""

    exit_code = NO_LOCK


class HistoryDisagrees(MigrateError):
    """The recorded history and the files do not tell the same story."""

    exit_code = DISAGREES


class Interrupted(MigrateError):
    """A signal asked the run to stop; it ends with 128 + the signal's number, as a shell would say."""

    def __init__(self, message: str, *, signal: int, state: str = "", advice: str = "") -> None:
        super().__init__(message, state=state, advice=advice)
        self.exit_code = 128 + signal


class ServerError(MigrateError):
    """An error report of the server: its fields, and how many statements of the message were done before."""

    def __init__(self, fields: dict[str, str], completed: int) -> None:
        super().__init__(fields.get("message", ""))
        self.fields = fields
        self.completed = completed

    @property
    def sqlstate(self) -> str:
        """The five characters that name the error in every language."""
        return self.fields.get("sqlstate", "")


class ConnectionLost(MigrateError):
    """The connection broke while it was in use; what the server did last is not known here."""

    exit_code = NO_CONNECTION

    def __init__(self, message: str) -> None:
        super().__init__(message, state="The server rolls back what was not committed.", advice="Run again.")
        self.message = f"the connection was lost: {message}"


def read_only(pending: int = 0) -> MigrateError:
    """Refuse to write to a server that takes no writes."""
    return MigrateError(
        "the server is read-only (a standby, or default_transaction_read_only is on)",
        state=f"Nothing was run; {pending} pending." if pending else "Nothing was changed.",
        advice="Connect to the primary; with several hosts, add target_session_attrs=read-write to the URL.",
    )
