"""Import a tenant that was exported from another installation: all of it, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql

from enterprise_ai.operations.tenant_files import (
    FORMAT,
    MANIFEST,
    Summary,
    Table,
    TenantFilesError,
    groups_of,
    migrations_of,
    name_column,
    sha256_of,
    tables_of,
)

_BLOCK = 1 << 20


def import_tenant(conn: Connection[Any], folder: Path, *, slug: str | None = None) -> Summary:
    """Add the exported tenant in one transaction, under another slug where one is given.

    By the owner of the schema. Ids stay as they are, so a tenant is imported where it is not. Raise
    `TenantFilesError`; then nothing was added.
    """
    manifest = _manifest(folder)
    try:
        with conn.transaction():
            return _import(conn, folder, manifest, slug or manifest["tenant"]["slug"])
    except psycopg.errors.InsufficientPrivilege as error:
        raise TenantFilesError(
            f"{error.diag.message_primary}: a tenant is imported by the owner of the schema, who runs the migrations"
        ) from error
    except psycopg.Error as error:
        raise TenantFilesError(
            f"The database refused it; nothing was added: {error.diag.message_primary or error}"
            + (f" ({error.diag.message_detail})" if error.diag.message_detail else "")
        ) from error


def _manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest, and see that the files are those that it speaks of."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise TenantFilesError(f"{folder} has the format {manifest['format']}, and this reads {FORMAT}")
        hashes = {file["name"]: file["sha256"] for file in manifest["tables"]}
        manifest["tenant"]["id"], manifest["tenant"]["slug"], manifest["migrations"]
    except FileNotFoundError:
        raise TenantFilesError(
            f"{folder} has no {MANIFEST}: it is no export, or one that broke off"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise TenantFilesError(f"{folder / MANIFEST} is not a manifest: {error!r}") from None
    for name, expected in hashes.items():
        path = folder / "data" / f"{name}.csv"
        if "/" in name or not path.is_file():
            raise TenantFilesError(f"{path} is missing; nothing was added")
        if sha256_of(path) != expected:
            raise TenantFilesError(f"{path} is not what was exported: its hash differs; nothing was added")
    return manifest


def _import(conn: Connection[Any], folder: Path, manifest: dict[str, Any], slug: str) -> Summary:
    here, there = migrations_of(conn), manifest["migrations"]
    if here != there:
        raise TenantFilesError(
            f"The export has the migrations up to {there[-1] if there else 'none'}, this database up to"
            f" {here[-1] if here else 'none'}; nothing was added. Bring both to the same, then export again"
        )
    tables = tables_of(conn)
    files = {file["name"]: file for file in manifest["tables"]}
    differing = sorted(
        {table.name for table in tables if files.get(table.name, {}).get("columns") != list(table.columns)}
        | set(files) - {table.name for table in tables}
    )
    if differing:
        raise TenantFilesError(
            f"Tables differ from those exported: {', '.join(differing)}; nothing was added"
        )

    _add_tenant(conn, manifest["tenant"] | {"slug": slug})
    conn.execute("set local timezone = 'UTC'; set local datestyle = iso; set local intervalstyle = postgres")
    for together in groups_of(tables):
        for table in together:
            _stage(conn, folder, table, manifest["tenant"]["id"], files[table.name]["rows"])
        _move(conn, together)
    return Summary(slug, {name: file["rows"] for name, file in files.items() if file["rows"]})


def _add_tenant(conn: Connection[Any], tenant: dict[str, Any]) -> None:
    known = conn.execute(
        "select 'a tenant of the slug ' || d.slug from identity.tenant_directory as d where d.slug = %(slug)s"
        " union all select 'the tenant ' || d.tenant_id from identity.tenant_directory as d where d.tenant_id = %(id)s"
        " union all select 'the receipt of tenant ' || d.tenant_id || ', deleted here'"
        " from identity.tenant_deletions as d where d.tenant_id = %(id)s",
        {"slug": tenant["slug"], "id": tenant["id"]},
    ).fetchone()
    if known is not None:
        raise TenantFilesError(f"There is {known[0]}; nothing was added")
    conn.execute(
        "insert into identity.tenant_directory (slug, tenant_id) values (%(slug)s, %(id)s)",
        {"slug": tenant["slug"], "id": tenant["id"]},
    )
    conn.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant["id"]])
    conn.execute(
        "insert into identity.tenants select * from jsonb_populate_record(null::identity.tenants, %s)",
        [json.dumps(tenant)],
    )


def _stage(conn: Connection[Any], folder: Path, table: Table, tenant_id: str, rows: int) -> None:
    """Read a table's file into a temporary table, and see that all of it is the tenant's."""
    staging = _staging(table)
    # Without generated columns: they are made again.
    conn.execute(
        sql.SQL("create temporary table {} on commit drop as select {} from {} limit 0").format(
            staging,
            sql.SQL(", ").join(
                sql.SQL("null::text as {0}" if name in table.names else "{0}").format(sql.Identifier(name))
                for name in table.columns
            ),
            _qualified(table.name),
        )
    )
    with conn.cursor() as cursor, (folder / table.path).open("rb") as file:
        copying = sql.SQL("copy {} ({}) from stdin with (format csv, header, encoding 'UTF8')")
        with cursor.copy(copying.format(staging, _names(table.columns))) as copy:
            while block := file.read(_BLOCK):
                copy.write(block)
        if cursor.rowcount != rows:
            raise TenantFilesError(
                f"{table.path} has {cursor.rowcount} rows and not {rows}; nothing was added"
            )
    counts = sql.SQL("select count(*) from {} where tenant_id is distinct from %s").format(staging)
    if (foreign := conn.execute(counts, [tenant_id]).fetchone()) and foreign[0]:
        raise TenantFilesError(f"{table.path} has {foreign[0]} rows of other tenants; nothing was added")
    for column, catalogue in table.names.items():
        _name_to_number(conn, table, column, catalogue)


def _name_to_number(conn: Connection[Any], table: Table, column: str, catalogue: str) -> None:
    values = {
        "staging": _staging(table), "column": sql.Identifier(column), "catalogue": _qualified(catalogue),
        "name": sql.Identifier(name_column(catalogue)),
    }  # fmt: skip
    unknown = conn.execute(
        sql.SQL(
            "select distinct s.{column} from {staging} as s where s.{column} is not null"
            " and not exists (select from {catalogue} as c where c.{name} = s.{column}) order by 1"
        ).format(**values)
    ).fetchall()
    if unknown:
        names = ", ".join(row[0] for row in unknown)
        raise TenantFilesError(f"{catalogue} has no {names}, which {table.name} names; nothing was added")
    conn.execute(
        sql.SQL(
            "update {staging} as s set {column} = c.id::text from {catalogue} as c where c.{name} = s.{column}"
        ).format(**values)
    )


def _move(conn: Connection[Any], together: list[Table]) -> None:
    """Add the rows; tables that refer to each other in one statement, at whose end their references are checked."""
    for table in together:
        if table.month_column:
            _make_months(conn, table)
    inserts = [_insert(table) for table in together]
    parts = [
        sql.SQL("{} as ({} returning 1)").format(sql.Identifier(f"added_{number}"), insert)
        for number, insert in enumerate(inserts[:-1])
    ]
    conn.execute(
        (sql.SQL("with ") + sql.SQL(", ").join(parts) + sql.SQL(" ") if parts else sql.SQL("")) + inserts[-1]
    )


def _insert(table: Table) -> sql.Composed:
    columns = sql.SQL(", ").join(
        # What was a name is the number by now, as text.
        sql.SQL("s.{}::integer" if name in table.names else "s.{}").format(sql.Identifier(name))
        for name in table.columns
    )
    return sql.SQL(
        "insert into {table} ({names}) overriding system value select {columns} from {staging} as s {order}"
    ).format(
        table=_qualified(table.name),
        names=_names(table.columns),
        columns=columns,
        staging=_staging(table),
        order=_parents_first(table),
    )


def _parents_first(table: Table) -> sql.Composable:
    """The order of rows in which each comes after the one it lies under."""
    if not table.parent_columns:
        return sql.SQL("")
    own = sql.SQL(" and ").join(
        sql.SQL("c.{} = above.{}").format(sql.Identifier(mine), sql.Identifier(theirs))
        for mine, theirs in table.parent_columns
    )
    key = sql.SQL(" and ").join(sql.SQL("o.{0} = s.{0}").format(sql.Identifier(name)) for name in table.key)
    pointing = sql.SQL(" or ").join(
        sql.SQL("c.{} is null").format(sql.Identifier(mine)) for mine, _ in table.parent_columns
    )
    return sql.SQL(
        "left join (with recursive above as (select c.*, 0 as _level from {staging} as c where {roots}"
        " union all select c.*, above._level + 1 from {staging} as c join above on {own})"
        " select {names}, _level from above) as o on {key} order by o._level nulls last"
    ).format(staging=_staging(table), roots=pointing, own=own, names=_names(table.key), key=key)


def _make_months(conn: Connection[Any], table: Table) -> None:
    column = sql.Identifier(table.month_column or "")
    conn.execute(
        sql.SQL(
            "select platform.ensure_partitions({table}::regclass, span.first, span.last) from ("
            "select min({column} at time zone 'UTC')::date, max({column} at time zone 'UTC')::date from {staging}"
            ") as span (first, last) where span.first is not null"
        ).format(table=sql.Literal(table.name), column=column, staging=_staging(table))
    )


def _staging(table: Table) -> sql.Identifier:
    return sql.Identifier("pg_temp", "incoming_" + table.name.replace(".", "_"))


def _qualified(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _names(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
