"""What a caller can hear of a file while it runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .results import Done


class Listener:
    """Override what is of use; every method may be called from the thread that runs the migration only."""

    def started(self, name: str, statements: int) -> None:
        """Hear that a file begins."""

    def progress(self, name: str, done: int, total: int) -> None:
        """Hear how many statements are done."""

    def notice(self, name: str, line: int, notice: dict[str, str]) -> None:
        """Hear a notice or warning of the statement that begins on this line."""

    def finished(self, done: Done) -> None:
        """Hear that a file is committed."""
