"""How one directory of files is brought to many databases or schemas: a canary first, failures apart."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .errors import DONE, FAILED, FileError, MigrateError
from .listener import Listener
from .records import NamedTuple
from .report import duration, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from .arguments import Arguments
    from .interrupts import Interrupts
    from .migrator import Migrator
    from .places import Place
    from .report import Printer
    from .results import Done

UP_TO_DATE, BEHIND, APPLIED, BROKEN, NOT_STARTED = "up to date", "behind", "done", "failed", "not started"

#: What became of one place: `outcome` is one of the words above.
Outcome = NamedTuple(
    "Outcome",
    [
        ("name", str),
        ("outcome", str),
        ("done", "tuple[str, ...]"),
        ("pending", "tuple[str, ...]"),
        ("milliseconds", int),
        ("exit_code", int),
        ("error", "str | None"),
    ],
)


class FanOut:
    """One command over many places; the migrator holds the files and the options that are the same for all."""

    def __init__(
        self,
        migrator: Migrator,
        places: Sequence[Place],
        *,
        jobs: int,
        target: str | None,
        allow_out_of_order: bool,
        say: Callable[[str], None],
        interrupts: Interrupts | None = None,
    ) -> None:
        self._migrator = migrator
        self._places = places
        self._jobs = jobs
        self._target = target
        self._allow_out_of_order = allow_out_of_order
        self._interrupts = interrupts
        self._say = say
        self._mutex = threading.Lock()

    def run(self, *, dry_run: bool = False) -> list[Outcome]:
        """Look at every place, try the first one that is behind, then do the others; in the places' order."""
        outcomes = self._all(range(len(self._places)), dry_run=True)
        behind = [index for index, outcome in outcomes.items() if outcome.outcome == BEHIND]
        if dry_run or not behind:
            return [outcomes[index] for index in sorted(outcomes)]
        canary, rest = behind[0], behind[1:]
        if rest:
            self.say(f"{self._places[canary].label} goes first; {len(rest)} more follow when it is done")
        outcomes[canary] = self._one(canary, dry_run=False)
        if outcomes[canary].outcome == APPLIED:
            outcomes.update(self._all(rest, dry_run=False))
        else:
            for index in rest:
                outcomes[index] = outcomes[index]._replace(outcome=NOT_STARTED)
        return [outcomes[index] for index in sorted(outcomes)]

    def say(self, text: str) -> None:
        """Print a remark, whole lines at a time: many threads have something to say."""
        with self._mutex:
            self._say(text)

    def _all(self, indexes: Sequence[int], *, dry_run: bool) -> dict[int, Outcome]:
        with ThreadPoolExecutor(max_workers=self._jobs) as pool:
            return dict(zip(indexes, pool.map(lambda index: self._one(index, dry_run=dry_run), indexes)))

    def _one(self, index: int, *, dry_run: bool) -> Outcome:
        place = self._places[index]
        if self._interrupts is not None and self._interrupts.requested:
            return Outcome(place.label, NOT_STARTED, (), (), 0, DONE, None)
        voice = _Voice(place.label, self.say)
        migrator = self._migrator.at(place.target, voice.say, voice, self._interrupts)
        started = time.monotonic()
        try:
            result = migrator.migrate(
                target=self._target, dry_run=dry_run, allow_out_of_order=self._allow_out_of_order
            )
        except MigrateError as error:
            voice.say(render(error))
            names = tuple(one.name for one in voice.done)
            return Outcome(place.label, BROKEN, names, (), _since(started), error.exit_code, _in_short(error))
        names = tuple(one.name for one in result.done)
        if dry_run:
            word = BEHIND if result.pending else UP_TO_DATE
            return Outcome(place.label, word, (), result.pending, 0, DONE, None)
        # Another runner may have been there between the look and now; then nothing was left to do.
        return Outcome(place.label, APPLIED, names, result.pending, _since(started), DONE, None)


def command(
    migrator: Migrator, url: str | None, arguments: Arguments, printer: Printer
) -> tuple[int, dict[str, Any]]:
    """Run `migrate --each`: print its table, return the exit code and the document."""
    from .interrupts import Interrupts
    from .places import places

    with Interrupts() as interrupts:
        fan_out = FanOut(
            migrator,
            places(arguments.text("--each") or "", url),
            jobs=int(arguments.number("--jobs") or 4),
            target=arguments.text("--target"),
            allow_out_of_order=arguments.is_set("--allow-out-of-order"),
            say=printer.say,
            interrupts=interrupts,
        )
        outcomes = fan_out.run(dry_run=arguments.is_set("--dry-run"))
        code = 128 + interrupts.requested if interrupts.requested else exit_code(outcomes)
    if not arguments.is_set("--json"):
        printer.line("\n".join(table(outcomes)))
    return code, {"each": [one._asdict() for one in outcomes]}


class _Voice(Listener):
    """Says what happens in one place, with its name before each line."""

    def __init__(self, label: str, say: Callable[[str], None]) -> None:
        self._label = label
        self._say = say
        self.done: list[Done] = []

    def say(self, text: str) -> None:
        """Print a remark of this place."""
        self._say("\n".join(f"{self._label}: {line}" for line in text.split("\n")))

    def notice(self, name: str, line: int, notice: dict[str, str]) -> None:
        self.say(
            "{}:{}: {}: {}".format(name, line, notice.get("severity", "NOTICE"), notice.get("message", ""))
        )

    def finished(self, done: Done) -> None:
        self.done.append(done)
        self.say(f"{done.name}  done in {duration(done.execution_time_ms)}")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Put the outcomes into a table and a line that counts them."""
    width = max(len(one.name) for one in outcomes)
    lines = [f"  {one.name:<{width}}  {one.outcome:<11}  {_remark(one)}".rstrip() for one in outcomes]
    counts = [(word, sum(one.outcome == word for one in outcomes)) for word in _ORDER]
    total = "1 place" if len(outcomes) == 1 else f"{len(outcomes)} places"
    lines.append("{}: {}.".format(total, ", ".join(f"{count} {word}" for word, count in counts if count)))
    return lines


_ORDER = (APPLIED, BEHIND, UP_TO_DATE, BROKEN, NOT_STARTED)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the code of the failures when they agree, 1 when they do not, 0 when there are none."""
    codes = {one.exit_code for one in outcomes if one.outcome == BROKEN}
    return codes.pop() if len(codes) == 1 else FAILED if codes else DONE


def _remark(one: Outcome) -> str:
    if one.error is not None:
        return one.error
    if one.outcome == APPLIED:
        return f"{_files(len(one.done))} in {duration(one.milliseconds)}"
    return f"{_files(len(one.pending))} pending" if one.pending else ""


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _in_short(error: MigrateError) -> str:
    """Say in one line where and what."""
    first = error.message.split("\n")[0]
    place = error.place if isinstance(error, FileError) else None
    return f"{place.file}:{place.line}:{place.column}: {first}" if place is not None else first


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
