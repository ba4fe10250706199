"""The named statements of a package's queries.sql."""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString, cast


def queries(package: str) -> dict[str, LiteralString]:
    """Read the package's queries.sql: each statement follows a line `-- name: <name>`."""
    text = resources.files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    # The text is the package's own, never a caller's.
    return {
        name: cast(LiteralString, body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
