"""How a plan is put before a person and a program."""

from __future__ import annotations

from .report import duration, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .plan import PlanResult, Size
    from .rehearsal import FilePlan, Step


def show(result: PlanResult, line: Callable[[str], None]) -> None:
    """Print a plan for a person."""
    if not result.files:
        line("Nothing was tried: there is nothing pending that could be.")
        return
    line(f"{result.database}: {len(result.files)} pending, tried on {result.tried_on}")
    for file in result.files:
        line(f"{file.name}  {_statements(file.statements)} in {duration(file.milliseconds)}")
        for step in file.steps:
            line(f"  {file.name}:{step.line}  {step.statement}")
            for text in effect_lines(step, result.sizes, file.transaction):
                line("      " + text)
        if file.failure is not None:
            for text in render(file.failure).split("\n"):
                line("  " + text)
            line("  The files after it were not tried.")
        elif not file.steps:
            line("  takes no lock that others would wait for")
    for remark in result.remarks or ():
        line(f"squawk: {remark.file}:{remark.line}: {remark.rule}: {remark.message}")
    if result.longest is not None:
        one = result.longest
        who = f"pid {one.pid}, user {one.user}, {one.application or one.state}"
        line(f"longest open transaction now: {who}, for {one.seconds} s")


def effect_lines(step: Step, sizes: dict[str, Size], transaction: bool) -> list[str]:
    """Put into lines what a statement does; relations that fare alike, such as partitions, are told together."""
    told: dict[tuple[str, str], list[str]] = {}
    for one in step.effects:
        what = []
        if one.rewritten:
            what.append("built anew" if one.kind == "index" else "rewritten")
        if one.scanned:
            what.append("read from end to end")
        if one.blocks:
            until = " until the file commits" if transaction else ""
            held = " (held already)" if one.held_already else f": blocks {one.blocks}{until}"
            what.append(f"{one.lock}{held}")
        size = sizes.get(one.relation)
        shown = one.relation if one.kind != "index" else "index " + one.relation
        if size is not None:
            rows = f", about {size.rows} rows" if size.rows else ""
            shown += f" ({_bytes(size.bytes)}{rows})"
        told.setdefault((one.kind, "; ".join(what)), []).append(shown)
    lines = []
    for (_, what_all), relations in told.items():
        names = ", ".join(relations[:4]) + (f" and {len(relations) - 4} more" if len(relations) > 4 else "")
        lines.append(f"{names} - {what_all}")
    return lines + ["advice: " + text for text in step.advice]


def document(result: PlanResult) -> dict[str, Any]:
    """Describe a plan for a program."""
    return {
        "database": result.database,
        "tried_on": result.tried_on,
        "files": [_file_document(file, result.sizes) for file in result.files],
        "longest_transaction": result.longest._asdict() if result.longest is not None else None,
        "squawk": [one._asdict() for one in result.remarks] if result.remarks is not None else None,
        "notes": list(result.notes),
    }


def _file_document(file: FilePlan, sizes: dict[str, Size]) -> dict[str, Any]:
    steps = []
    for step in file.steps:
        effects = []
        for one in step.effects:
            size = sizes.get(one.relation)
            effects.append(
                {**one._asdict(), "bytes": size.bytes if size else None, "rows": size.rows if size else None}
            )
        steps.append({**step._asdict(), "effects": effects, "advice": list(step.advice)})
    return {
        **file._asdict(),
        "steps": steps,
        "failure": render(file.failure) if file.failure is not None else None,
    }


def _statements(count: int) -> str:
    return "1 statement" if count == 1 else f"{count} statements"


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 10240:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} TB"
