"""Names of permissions as people type them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


def warn_of_unknown(conn: psycopg.Connection[Any], names: Iterable[str]) -> None:
    """Say which names are of no permission: a decision on them is a denial like any other."""
    known = [row[0] for row in conn.execute("select name from authz.permissions order by name")]
    for name in sorted(set(map(str, names)) - set(known)):
        near = get_close_matches(name, known, n=3)
        meant = f"; perhaps {' or '.join(near)} is meant" if near else ""
        print(f"enterprise-ai: There is no permission {name}{meant}", file=sys.stderr)
