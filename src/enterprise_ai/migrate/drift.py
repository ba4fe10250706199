"""How two states of a catalogue differ, told object by object as a person would."""

from __future__ import annotations

from .catalogue import CLAUSE, loose
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .catalogue import Key, Objects

#: One object that is not as the migrations left it; `was` and `now` are the clauses that differ.
Drift = NamedTuple(
    "Drift",
    [
        ("change", str),  # "changed", "added" or "dropped"
        ("kind", str),
        ("name", str),
        ("since", str),  # the last migration after which it was right
        ("was", "tuple[str, ...]"),
        ("now", "tuple[str, ...]"),
        ("within", "tuple[str, ...]"),  # what came or went with a table: "3 columns", "1 index"
    ],
)

_OF_A_TABLE = ("column", "constraint", "trigger", "policy", "rule")
_TABLES = ("table", "view", "materialized view", "foreign table")


def same(key: Key, one: str | None, other: str | None, other_major: bool) -> bool:
    """Tell whether two definitions of an object mean the same; None stands for an object that is not there."""
    if one == other:
        return True
    if not other_major:
        return False
    if key == ("schema", "public"):
        return one is not None and other is not None
    return one is not None and other is not None and loose(key[0], one) == loose(key[0], other)


def differences(expected: Objects, live: Objects, *, other_major: bool = False) -> list[tuple[Key, str]]:
    """Name the objects that differ, and how: "changed", "added" or "dropped"."""
    found = []
    for key in sorted(set(expected) | set(live)):
        was, now = expected.get(key), live.get(key)
        if not same(key, was, now, other_major):
            found.append((key, "added" if was is None else "dropped" if now is None else "changed"))
    return found


def tell(
    found: list[tuple[Key, str]], expected: Objects, live: Objects, since: dict[Key, str], last: str
) -> list[Drift]:
    """Describe the differences; what belongs to a table that came or went is told with the table."""
    whole = {
        (change, key[1]) for key, change in found if key[0] in _TABLES and change in ("added", "dropped")
    }
    inside: dict[tuple[str, str], dict[str, int]] = {one: {} for one in whole}
    told = []
    for key, change in found:
        text = (live if change == "added" else expected).get(key, "")
        table = _table_of(key, text) if change != "changed" else None
        if table is not None and (change, table) in whole:
            counts = inside[change, table]
            counts[key[0]] = counts.get(key[0], 0) + 1
            continue
        was, now = _clauses(expected.get(key)), _clauses(live.get(key))
        told.append(
            Drift(
                change,
                key[0],
                key[1],
                since.get(key, last),
                tuple(one for one in was if one not in now) if change == "changed" else (),
                tuple(one for one in now if one not in was) if change == "changed" else (),
                (),
            )
        )
    return [
        one._replace(within=_within(inside.get((one.change, one.name), {}))) if one.kind in _TABLES else one
        for one in told
    ]


def _clauses(definition: str | None) -> list[str]:
    return definition.split(CLAUSE) if definition else []


def _table_of(key: Key, definition: str) -> str | None:
    """Name the table that an object is part of."""
    kind, name = key
    if kind in _OF_A_TABLE:
        return _parent(name)
    if kind == "index":
        after = definition.split(" ON ", 1)[-1]
        return (after[len("ONLY ") :] if after.startswith("ONLY ") else after).split(" USING ", 1)[0]
    if kind == "sequence":
        owned = next((one for one in _clauses(definition) if one.startswith("owned by: ")), "")
        return _parent(owned[len("owned by: ") :]) if owned else None
    return None


def _parent(name: str) -> str:
    """Cut the last part off a qualified name; quoted parts may hold dots."""
    if name.endswith('"'):
        return name[: name[:-1].replace('""', "__").rindex('"') - 1]
    return name.rpartition(".")[0]


_PLURALS = {"index": "indexes", "policy": "policies"}


def _within(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(
        "1 " + kind if count == 1 else f"{count} {_PLURALS.get(kind, kind + 's')}"
        for kind, count in sorted(counts.items())
    )


def sentence(one: Drift) -> list[str]:
    """Put a difference into the lines that a person reads."""
    head = f"{one.change}: {one.kind} {one.name}"
    if one.within:
        head += " with {}".format(", ".join(one.within))
    lines = [f"{head}   (right after {one.since})"]
    lines += ["    was: " + _shown(clause) for clause in one.was]
    lines += ["    now: " + _shown(clause) for clause in one.now]
    return lines


def _shown(clause: str) -> str:
    if clause.startswith("body: "):
        return "another body"
    text = " ".join(clause.split())
    return text if len(text) <= 160 else text[:157] + "…"
