"""Every error of the domain has a class, and every class stands for an error that there is."""

from __future__ import annotations

import re
from pathlib import Path

from enterprise_ai.authz import errors
from enterprise_ai.errors import Error

ROOT = Path(__file__).resolve().parents[2]
CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Error) and value is not Error
]


def test_every_sqlstate_that_is_raised_has_a_class():
    sources = "".join(path.read_text() for path in (ROOT / "sql").glob("*/*.sql"))
    raised = set(re.findall(r"errcode = '(ZA\d{3})'", sources))
    assert len(raised) > 15
    assert raised == {kind.sqlstate for kind in CLASSES if kind.sqlstate}


def test_every_class_says_what_happened():
    assert all(kind.__doc__ for kind in CLASSES)
