"""How plain immutable records are made here: named tuples, without what importing `typing` or `collections` costs."""

from __future__ import annotations

import sys
from _operator import itemgetter  # its C part: `operator` itself would have to be loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    def NamedTuple(name, fields):
        """Make a named tuple class; type checkers see `typing.NamedTuple` instead."""
        names = tuple(field for field, _ in fields)
        body = {one: property(itemgetter(index)) for index, one in enumerate(names)}
        body.update(
            __slots__=(),
            __module__=sys._getframe(1).f_globals["__name__"],
            __new__=_new,
            __repr__=_repr,
            __getnewargs__=_values,
            _fields=names,
            _asdict=_asdict,
            _replace=_replace,
        )
        return type(name, (tuple,), body)

    def _new(cls, *values, **named):
        if named or len(values) != len(cls._fields):
            rest = cls._fields[len(values) :]
            if set(named) != set(rest) or len(values) > len(cls._fields):
                raise TypeError("{} takes {}".format(cls.__name__, ", ".join(cls._fields)))
            values += tuple(named[one] for one in rest)
        return tuple.__new__(cls, values)

    def _repr(self):
        return "{}({})".format(type(self).__name__, ", ".join(f"{k}={v!r}" for k, v in _asdict(self).items()))

    def _values(self):
        return tuple(self)

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _replace(self, **changed):
        return type(self)(**{**_asdict(self), **changed})
