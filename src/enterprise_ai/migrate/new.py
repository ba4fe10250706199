# ruff: noqa: PTH118  pathlib would cost a tenth of a no-op run
"""How the next migration file is named, and what stands in it at first."""

from __future__ import annotations

import os
import re
import unicodedata

from .errors import UsageError
from .files import discover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_TEMPLATE = """\
-- {title}
--
-- The whole file is one transaction, committed with its record; it holds no BEGIN and no COMMIT.
-- For CREATE INDEX CONCURRENTLY and the like, put this line at the top:  -- migrate: no-transaction



-- What undoes this file, as comments; `rollback FILE --execute` runs it.
-- rollback:
--
"""


def new(folder: str, description: str, warn: Callable[[str], None]) -> str:
    """Write the next numbered file into a directory and return its path; raise `UsageError`."""
    slug = _slug(description)
    if not slug:
        raise UsageError(
            "the description holds no letter or digit to name the file by",
            advice="new 'add invoices' makes NNN_add_invoices.sql",
        )
    files = discover(folder, warn)
    number = files[-1].number + 1 if files else 1
    width = max([3] + [len(file.name.partition("_")[0]) for file in files])
    path = os.path.join(folder, f"{number:0{width}d}_{slug}.sql")
    text = _TEMPLATE.format(title=" ".join(description.split()))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return path


def _slug(description: str) -> str:
    """Fold a description into lower-case ASCII words joined by underscores, short enough for any disk."""
    plain = unicodedata.normalize("NFKD", description).encode("ascii", "ignore").decode("ascii")
    return "_".join(re.findall("[a-z0-9]+", plain.lower()))[:80].rstrip("_")
