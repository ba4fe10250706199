"""What is said about a no-transaction file that stopped on its way."""

from __future__ import annotations

from .advice import advice_for
from .errors import FileError, HistoryDisagrees, MigrateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import ServerError
    from .journal import Step
    from .locate import Place


def done_so_far(what: str, done: int) -> str:
    """Say what stays of a file that stopped."""
    if not done:
        return f"No statement of {what} is known to be done."
    which, verb = ("Statement 1", "is") if done == 1 else (f"Statements 1 to {done}", "are")
    return f"{which} of {what} {verb} done and will not run again; the rest is not done."


def edited(step: Step, line: int | None) -> HistoryDisagrees:
    """Refuse a file in which a statement that ran is not as it was; `line` is None when it is gone."""
    where = step.name if line is None else f"{step.name}:{line}"
    return HistoryDisagrees(
        f"{where}: the file is half done, and statement {step.number}, which ran already, "
        + ("was removed" if line is None else "was edited")
        + f"; it ran as:\n    {first_line(step.statement)}",
        state="Nothing was run.",
        advice="Restore that statement; only those that did not run yet may be changed.\n"
        f"To forget what ran and begin {step.name} anew:  rollback {step.name}",
    )


def in_doubt(step: Step, place: Place, state: str) -> FileError:
    """Ask whether a statement took effect."""
    return FileError(
        f"whether statement {step.number} of {step.name} took effect is not known: it was started, "
        f"but its end was not seen, and the catalogue cannot tell:\n    {first_line(step.statement)}",
        place=place,
        state=state,
        advice="Look into the database, then say so:\n"
        f"    resolve {step.name} --as applied    it took effect, go on behind it\n"
        f"    resolve {step.name} --as pending    it did not, run it again",
    )


def half_done(step: Step) -> MigrateError:
    """Say that a file cannot be run one way because it is half done the other way."""
    one, other = ("rollback", "migrate") if step.is_rollback else ("migrate", "rollback")
    again = f"rollback {step.name} --execute" if step.is_rollback else "migrate"
    return MigrateError(
        f"{step.name} is half done: its {one} stopped at statement {step.number}",
        state=f"The {other} was not begun.",
        advice=f"Finish it first:  {again}\nOr forget what was noted of it:  rollback {step.name}",
    )


def leftovers(step: Step, names: list[str]) -> tuple[list[str], list[str]]:
    """Say which invalid indexes a failed statement left, and how to be rid of them."""
    left = [f"It left the invalid index {name}, which costs writes and serves no read." for name in names]
    if not names:
        return left, []
    how = "To drop it:"
    if step.kind == "create index":
        how = "The next run drops the invalid index before it builds it again. To drop it now:"
    return left, [how] + [f"DROP INDEX CONCURRENTLY {name};" for name in names]


def advice_about(step: Step, server: ServerError) -> str:
    """Say what usually helps."""
    if server.sqlstate == "23505" and step.kind == "create index":
        return "The rows that DETAIL names are not unique: mend them."
    return advice_for(server.fields)


def first_line(text: str) -> str:
    """Return the first line of a statement, short enough to be shown."""
    line = text.split("\n", 1)[0]
    return line if len(line) <= 100 else line[:99] + "…"
