# ruff: noqa: PTH119  pathlib has no place here
"""Whether a directory of migrations holds what it promises: each file runs from nothing, goes back, and runs again."""

from __future__ import annotations

import os

from . import catalogue as _catalogue
from . import history as _history
from .connection import Connection
from .drift import differences, tell
from .embedded import scratch_server
from .errors import DONE, FAILED, FileError
from .files import canonical
from .interrupts import Unwinding
from .listener import Listener
from .migrator import Migrator
from .observe import Observer
from .plan_report import effect_lines
from .records import NamedTuple
from .rehearsal import Rehearsal
from .report import render
from .runner import check
from .scratch import scratch_database
from .squawk import remarks
from .target import Target
from .waiting import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .catalogue import Objects
    from .files import MigrationFile
    from .rehearsal import FilePlan as FilePlan
    from .report import Printer

#: Something to know about a line of a file: an "error", a "warning" or a "notice".
Finding = NamedTuple(
    "Finding", [("level", str), ("file", str), ("line", int), ("title", str), ("message", str)]
)

#: What a trial found, and what each file did to the relations that were there before it.
TrialResult = NamedTuple(
    "TrialResult",
    [
        ("server", str),
        ("files", "tuple[str, ...]"),
        ("findings", "tuple[Finding, ...]"),
        ("plans", "tuple[FilePlan, ...]"),
    ],
)


class _Unrepeatable(Exception):
    """A file does not run again after its rollback, so those after it have nothing to stand on."""


class Trial:
    """Runs every file of a directory up, down and up again in a scratch database."""

    def __init__(self, folder: str, url: str, printer: Printer) -> None:
        self._target = Target(url)
        self._printer = printer
        self._migrator = Migrator(url, migrations=folder, say=printer.say)
        self.findings: list[Finding] = []
        self.version = 0

    def run(self) -> TrialResult:
        """Try all files; raise `MigrateError` only for what is not theirs."""
        files = self._migrator.files
        with scratch_database(self._target) as scratch:
            self._migrator = self._migrator.at(scratch, self._printer.say, Listener(), None)
            before = self._state()
            for file in files:
                try:
                    before = self._up_down_up(file, before)
                except FileError as error:
                    self._failed(file, "cannot be run", error)
                    break
                except _Unrepeatable:
                    break
                self._printer.say(f"{file.name}  tried")
        plans = self._locks(files)
        self._lint(files)
        return TrialResult(
            self._target.describe(), tuple(file.name for file in files), tuple(self.findings), tuple(plans)
        )

    def _up_down_up(self, file: MigrationFile, before: Objects) -> Objects:
        """Run a file, its rollback block, and the file again; return the state that it leaves."""
        self._migrator.migrate(target=file.name)
        up = self._state()
        line = _rollback_line(file)
        try:
            self._migrator.rollback(file.name, execute=True)
        except FileError as error:
            self._failed(file, "cannot be rolled back", error, line)
            return up
        self._compare(file, line, before, self._state(), "its rollback block")
        try:
            self._migrator.migrate(target=file.name)
        except FileError as error:
            self._failed(file, "cannot be run again after its rollback block", error, line)
            raise _Unrepeatable from error
        again = self._state()
        for text in _told(up, again, file.name):
            self._find("error", file, line, "up, down, up: not the same", f"after a rollback, {text}")
        return again

    def _compare(self, file: MigrationFile, line: int, before: Objects, down: Objects, what: str) -> None:
        """What a rollback block leaves behind may be meant; what it takes from the files before it never is."""
        for text in _told(before, down, file.name):
            level = "warning" if text.startswith("added: ") else "error"
            title = "left behind" if level == "warning" else "rollback takes too much"
            self._find(level, file, line, title, f"{what} does not lead back to the state before: {text}")

    def _state(self) -> Objects:
        connection = Connection(self._migrator._target)
        try:
            self.version = connection.version
            return _catalogue.read(connection, _history.look(connection))
        finally:
            connection.close()

    def _locks(self, files: list[MigrationFile]) -> list[FilePlan]:
        """Run the files once more, statement by statement, and look at the locks of each."""
        plans = []
        with scratch_database(self._target) as scratch:
            connection = Connection(scratch)
            try:
                rehearsal = Rehearsal(connection, None, commits=True, shared=True)
                for one in check(files, connection):
                    plans.append(rehearsal.run(one, Observer(connection)))
                    if plans[-1].failure is not None:
                        break
            finally:
                connection.close()
        for file, plan in zip(files, plans):
            for step in plan.steps:
                text = "; ".join(effect_lines(step, {}, plan.transaction))
                self._find("notice", file, step.line, "locks", text)
        return plans

    def _lint(self, files: list[MigrationFile]) -> None:
        by_name = {file.name: file for file in files}
        for one in remarks(files, self.version) or ():
            if one.file in by_name:
                self._find("warning", by_name[one.file], one.line, "squawk: " + one.rule, one.message)

    def _failed(self, file: MigrationFile, title: str, error: FileError, line: int = 1) -> None:
        where = error.place.line if error.place is not None else line
        self._find("error", file, where, title, render(error))

    def _find(self, level: str, file: MigrationFile, line: int, title: str, message: str) -> None:
        self.findings.append(Finding(level, file.path, line, title, message))


def _rollback_line(file: MigrationFile) -> int:
    """Find the line on which the rollback block begins; the last one where there is none."""
    lines = b"".join(canonical(file.chunks())).decode("utf-8").split("\n")
    marks = [number for number, line in enumerate(lines, 1) if line.lower().startswith("-- rollback:")]
    return marks[-1] if marks else max(1, len(lines) - 1)


def _told(expected: Objects, live: Objects, migration: str) -> list[str]:
    told = []
    for one in tell(differences(expected, live), expected, live, {}, migration):
        text = f"{one.change}: {one.kind} {one.name}"
        if one.was or one.now:
            text += " ({} → {})".format(", ".join(one.was) or "nothing", ", ".join(one.now) or "nothing")
        told.append(text)
    return told


def annotation(finding: Finding) -> str:
    """Write a finding as a command that GitHub Actions shows beside the line."""
    path = os.path.relpath(finding.file)
    return "::{} file={},line={},title={}::{}".format(
        finding.level,
        _escaped(path, ",:"),
        finding.line,
        _escaped(finding.title, ",:"),
        _escaped(finding.message, ""),
    )


def _escaped(text: str, also: str) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    for char in also:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def command(
    folder: str, url: str | None, printer: Printer, *, wait: float, ci: bool, json: bool
) -> tuple[int, dict[str, Any]]:
    """Run the command: print for a person or for GitHub unless `json`; return exit code and document."""
    gone = Unwinding("The trial did not come to its end; its databases are gone.")
    if url is not None:
        wait_for(Target(url), wait, printer.say).close()
        with gone:
            result = Trial(folder, url, printer).run()
    else:
        with gone, scratch_server(printer.say) as started:
            result = Trial(folder, started, printer).run()
    errors = [one for one in result.findings if one.level == "error"]
    if not json:
        for one in result.findings:
            printer.line(annotation(one) if ci else _lines(one))
        verdict = "every file runs, goes back and runs again" if not errors else f"{len(errors)} errors"
        warnings = sum(one.level == "warning" for one in result.findings)
        printer.line(f"{len(result.files)} files: {verdict}; {warnings} warnings.")
    return FAILED if errors else DONE, {
        "server": result.server,
        "files": list(result.files),
        "findings": [one._asdict() for one in result.findings],
    }


def _lines(finding: Finding) -> str:
    head = f"{os.path.basename(finding.file)}:{finding.line}: {finding.level}: {finding.title}"
    return head + "".join("\n    " + line for line in finding.message.split("\n"))
