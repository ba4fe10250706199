"""How the files and the history relate: what is pending, and every way in which they can disagree."""

from __future__ import annotations

from .files import number_of
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import MigrationFile
    from .history import Applied

#: One disagreement: its kind, the file's or record's name, the other name it concerns, and a sentence.
Problem = NamedTuple("Problem", [("kind", str), ("name", str), ("other", "str | None"), ("message", str)])


class Comparison:
    """What is pending, what disagrees, and what is merely worth a note."""

    def __init__(self, files: list[MigrationFile], applied: list[Applied]) -> None:
        self.files = {file.name: file for file in files}
        self.applied: dict[str, Applied] = {row.name: row for row in applied}
        self.pending = [file for file in files if file.name not in self.applied]
        self.problems: list[Problem] = []
        self.ahead = self._ahead(files)
        self._find_missing()
        self._find_edited()
        self._find_out_of_order()

    def _ahead(self, files: list[MigrationFile]) -> list[str]:
        """Records beyond the newest file: the database is ahead of this code, which is fine."""
        newest = files[-1].number if files else -1
        numbers = {name: number_of(name) for name in self.applied if name not in self.files}
        return [name for name, number in numbers.items() if number is not None and number > newest]

    def _find_missing(self) -> None:
        missing = [row for row in self.applied.values() if row.name not in self.files]
        pending = {file.checksum: file for file in self.pending} if missing else {}
        for row in missing:
            renamed = pending.get(row.checksum)
            if renamed is not None:
                message = f"{row.name} was renamed to {renamed.name} after it ran (same content)"
                self.problems.append(Problem("renamed", row.name, renamed.name, message))
            elif row.name not in self.ahead:
                message = f"{row.name} is in the history, but its file is missing"
                self.problems.append(Problem("missing", row.name, None, message))

    def _find_edited(self) -> None:
        edited = [
            (row, self.files[row.name])
            for row in self.applied.values()
            if row.name in self.files and self.files[row.name].checksum != row.checksum
        ]
        contents = {row.checksum: row.name for row, _ in edited}
        for row, file in edited:
            other = contents.get(file.checksum)
            if other is not None and other != row.name:
                message = f"{row.name} now holds the content with which {other} ran: the files were swapped"
                self.problems.append(Problem("swapped", row.name, other, message))
            else:
                message = f"{row.name} was edited after it ran"
                self.problems.append(Problem("edited", row.name, None, message))

    def _find_out_of_order(self) -> None:
        if not self.pending:
            return
        numbers = [number_of(name) for name in self.applied]
        newest = max((number for number in numbers if number is not None), default=-1)
        renamed = {problem.other for problem in self.problems if problem.kind == "renamed"}
        for file in self.pending:
            if file.number < newest and file.name not in renamed:
                last = next(name for name in self.applied if number_of(name) == newest)
                message = f"{file.name} is new, but {last} ran already: out of order"
                self.problems.append(Problem("out of order", file.name, last, message))
