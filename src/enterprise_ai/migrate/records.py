"""How plain immutable records are made here: named tuples, without the cost of importing `typing`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    def NamedTuple(name, fields):
        """Make a named tuple class; type checkers see `typing.NamedTuple` instead."""
        return namedtuple(name, [field for field, _ in fields])
