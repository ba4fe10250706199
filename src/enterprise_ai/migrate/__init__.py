"""The migration engine: numbered SQL files, each run once, in one transaction with its record.

    from enterprise_ai.migrate import Migrator

    result = Migrator("postgresql://…", migrations="migrations").migrate()

Names are loaded when they are first used, so that the command line starts at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import ConnectionFailed as ConnectionFailed
    from .errors import FileError as FileError
    from .errors import HistoryDisagrees as HistoryDisagrees
    from .errors import Interrupted as Interrupted
    from .errors import LockNotObtained as LockNotObtained
    from .errors import MigrateError as MigrateError
    from .errors import MigrationFailed as MigrationFailed
    from .errors import UsageError as UsageError
    from .listener import Listener as Listener
    from .migrator import Migrator as Migrator

_HOME = {"Migrator": "migrator", "Listener": "listener"}
__all__ = [
    "ConnectionFailed",
    "FileError",
    "HistoryDisagrees",
    "Interrupted",
    "Listener",
    "LockNotObtained",
    "MigrateError",
    "MigrationFailed",
    "Migrator",
    "UsageError",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("." + _HOME.get(name, "errors"), __name__), name)
