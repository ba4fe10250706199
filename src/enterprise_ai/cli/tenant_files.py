"""`enterprise-ai tenant export` and `import`: a tenant as files, and back in another installation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    from enterprise_ai.operations.tenant_files import Summary


def add_commands(commands: Any) -> None:
    """Add the two commands to the group of tenants."""
    from enterprise_ai.cli.connection import add_database_option, reporting

    export = commands.add_parser("export", help="write all rows of a tenant into files; writers go on")
    export.add_argument("tenant", metavar="SLUG|ID")
    export.add_argument("folder", type=Path, help="an empty folder, or one to be made")
    export.set_defaults(func=reporting(_export))

    importing = commands.add_parser(
        "import", help="add an exported tenant to this installation, all or nothing"
    )
    importing.add_argument("folder", type=Path, help="what `tenant export` wrote")
    importing.add_argument("--slug", help="another name than it had")
    importing.set_defaults(func=reporting(_import))
    for command in (export, importing):
        add_database_option(command)


def _export(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.operations.tenant_export import export_tenant

    return _report(
        lambda: export_tenant(conn, options.tenant, options.folder), f"written to {options.folder}"
    )


def _import(options: argparse.Namespace, conn: psycopg.Connection[Any]) -> int:
    from enterprise_ai.operations.tenant_import import import_tenant

    return _report(lambda: import_tenant(conn, options.folder, slug=options.slug), "added")


def _report(work: Callable[[], Summary], done: str) -> int:
    from enterprise_ai.operations.tenant_files import TenantFilesError

    try:
        summary = work()
    except TenantFilesError as error:
        print(f"enterprise-ai: {error}", file=sys.stderr)
        return 1
    print(f"{sum(summary.rows.values())} rows of {summary.slug} from {len(summary.rows)} tables {done}")
    return 0
