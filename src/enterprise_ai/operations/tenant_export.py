"""Export a tenant as files: one CSV a table, and a manifest with counts and hashes."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection, IsolationLevel, sql

from enterprise_ai.operations.tenant_files import (
    FORMAT,
    LEFT_OUT,
    MANIFEST,
    Summary,
    Table,
    TenantFilesError,
    migrations_of,
    name_column,
    tables_of,
)


def export_tenant(conn: Connection[Any], tenant: str | UUID, folder: Path) -> Summary:
    """Write all rows of a tenant, found by slug or id, into a folder that is empty or not there.

    By the owner of the schema, in one snapshot; writers go on. Password hashes are in the files: keep them like the
    database. Raise `TenantFilesError`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TenantFilesError(f"{folder} is not an empty folder; nothing was written. Name another")
    before = conn.isolation_level, conn.read_only
    conn.isolation_level, conn.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with conn.transaction():
            return _export(conn, tenant, folder)
    except psycopg.errors.InsufficientPrivilege as error:
        raise TenantFilesError(
            f"{error.diag.message_primary}: a tenant is exported by the owner of the schema, who runs the migrations"
        ) from error
    finally:
        conn.isolation_level, conn.read_only = before


def _export(conn: Connection[Any], tenant: str | UUID, folder: Path) -> Summary:
    migrations = migrations_of(conn)
    tables = tables_of(conn)
    about = _open(conn, tenant)
    conn.execute("set local timezone = 'UTC'; set local datestyle = iso; set local intervalstyle = postgres")
    conn.execute("set local bytea_output = hex; set local extra_float_digits = 1")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "data").mkdir(mode=0o700)
    files = [_write(conn, table, about["id"], folder) for table in tables]
    manifest = {
        "format": FORMAT,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "migrations": migrations,
        "tenant": about,
        "tables": files,
        "left_out": LEFT_OUT,
    }
    # Last, so that an export that broke off has none and is no export.
    with _create(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return Summary(about["slug"], {file["name"]: file["rows"] for file in files if file["rows"]})


def _open(conn: Connection[Any], tenant: str | UUID) -> dict[str, Any]:
    """Open the tenant's context and return what is known of the tenant."""
    row = conn.execute(
        "select d.tenant_id from identity.tenant_directory as d"
        " where d.slug = %(tenant)s or d.tenant_id::text = %(tenant)s",
        {"tenant": str(tenant)},
    ).fetchone()
    if row is None:
        raise TenantFilesError(f"There is no tenant {tenant}; nothing was written")
    conn.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [row[0]])
    found = conn.execute("select to_jsonb(t) from identity.tenants as t where t.id = %s", [row[0]]).fetchone()
    if found is None or found[0]["status"] == "deleting":
        raise TenantFilesError(f"Tenant {tenant} is being deleted; nothing was written")
    about: dict[str, Any] = found[0]
    return about


def _write(conn: Connection[Any], table: Table, tenant_id: str, folder: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    path = folder / table.path
    with _create(path) as file, conn.cursor() as cursor:
        with cursor.copy(_query(table, tenant_id)) as copy:
            for block in copy:
                file.write(block)
                digest.update(block)
        rows = cursor.rowcount
    return {
        "name": table.name, "columns": table.columns, "rows": rows,
        "bytes": path.stat().st_size, "sha256": digest.hexdigest(),
    }  # fmt: skip


def _query(table: Table, tenant_id: str) -> sql.Composed:
    def column(name: str) -> sql.Composable:
        if name not in table.names:
            return sql.SQL("t.{}").format(sql.Identifier(name))
        return sql.SQL("(select c.{named} from {catalogue} as c where c.id = t.{column}) as {column}").format(
            named=sql.Identifier(name_column(table.names[name])),
            catalogue=sql.Identifier(*table.names[name].split(".")),
            column=sql.Identifier(name),
        )

    return sql.SQL(
        "copy (select {columns} from {table} as t where t.tenant_id = {tenant} order by {key})"
        " to stdout with (format csv, header, encoding 'UTF8')"
    ).format(
        columns=sql.SQL(", ").join(map(column, table.columns)),
        table=sql.Identifier(*table.name.split(".")),
        tenant=sql.Literal(tenant_id),
        key=sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.key),
    )


def _create(path: Path) -> Any:
    """A new file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
