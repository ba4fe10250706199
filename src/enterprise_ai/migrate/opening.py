"""How the transaction of a file begins."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .batches import Batch
    from .checks import Checked


def begin(timeouts: tuple[int | None, int | None]) -> str:
    """SQL that begins the transaction of a file."""
    names = ("lock_timeout", "statement_timeout")
    return "; ".join(
        [
            "begin",
            *(f"set local {name} = {value}" for name, value in zip(names, timeouts) if value is not None),
        ]
    )


def starts_plainly(checked: Checked) -> bool:
    """Tell whether a file's transaction may begin before its first statement is looked at."""
    first = next(checked.script.batches(), None)
    return first is None or transaction_settings(first)[0] is None


def transaction_settings(batch: Batch) -> tuple[Batch | None, Batch | None]:
    """Cut leading SET TRANSACTION statements off a file's first batch."""
    count = 0
    for statement in batch.statements:
        words = [word for word in statement.words[1:3] if word not in ("local", "session")]
        if statement.words[:1] != ("set",) or not words or not words[0].startswith("transaction"):
            break
        count += 1
    return batch.split(count) if count else (None, batch)
