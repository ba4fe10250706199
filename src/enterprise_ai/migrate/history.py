"""The history of a database: where `schema_migrations` is, what it says, how a record gets into it."""

from __future__ import annotations

from . import sql
from .errors import HistoryDisagrees, MigrateError, ServerError, UsageError
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .connection import Connection
    from .files import MigrationFile

TABLE = "schema_migrations"
OWN_SCHEMA = "migrations"

#: One row of the history.
Applied = NamedTuple(
    "Applied",
    [
        ("id", int),
        ("name", str),
        ("checksum", str),
        ("execution_time_ms", int),
        ("executed_at", str),
        ("executed_by", str),
    ],
)

# One query says everything about the database that the engine must know before it reads or writes.
_LOOK = """
select (pg_catalog.pg_is_in_recovery() or pg_catalog.current_setting('transaction_read_only')::boolean)::text,
       c.oid::text, n.nspname, c.relkind::text, w.current, w.may_create, w.own, w.database, w.may_make, w.user,
       pg_catalog.pg_backend_pid()::text
from (
    select (select nspname::text
            from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) {schema}) as current,
           (select pg_catalog.has_schema_privilege(oid, 'CREATE')::text
            from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) {schema}) as may_create,
           (select pg_catalog.has_schema_privilege(oid, 'CREATE')::text
            from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) 'migrations') as own,
           pg_catalog.current_database()::text as database,
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')::text as may_make,
           current_user::text as user,
           {found}::oid as found
) as w
left join pg_catalog.pg_class as c on c.oid operator(pg_catalog.=) w.found
left join pg_catalog.pg_namespace as n on n.oid operator(pg_catalog.=) c.relnamespace
"""

_FOUND = (
    "coalesce(pg_catalog.to_regclass('schema_migrations'), "
    "pg_catalog.to_regclass('migrations.schema_migrations'))"
)

# What is there, in order: a name ends in ".sql" and a checksum is of one length, so nothing needs to part them.
_LISTED = """
select pg_catalog.string_agg(pg_catalog.textcat(migration_name, checksum), pg_catalog.chr(30) order by id)
from {table}
"""

# All rows as one value: a thousand of them cost no more than one.
_READ = """
select pg_catalog.string_agg(
           pg_catalog.concat_ws(pg_catalog.chr(31), id, migration_name, checksum, execution_time_ms,
               pg_catalog.to_char(pg_catalog.timezone('UTC', executed_at), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
               executed_by),
           pg_catalog.chr(30) order by id)
from {table}
"""


#: What is said of a table that another tool has made.
UNTOUCHED = "Nothing was run, nothing was changed."
ANOTHER_TOOL = "It is another tool's. Rename it, or use a login with another schema in its search_path."


class History:
    """The place of the history in one database, and what was read there."""

    def __init__(self, row: list[str | None], place: str | None = None) -> None:
        self.read_only = row[0] == "true"
        self.oid = row[1]
        self.kind = row[3]
        self.database = row[7] or ""
        self.user = row[9] or ""
        self.backend = int(row[10] or 0)  # whose number differs from the connection's behind a pooler
        self.makes_schema = False
        self.place = place  # the schema that alone is meant, if one is
        self.schema = row[2] or place or self._schema_to_use(row)
        self.applied: list[Applied] = []

    @property
    def exists(self) -> bool:
        """True when the table is there."""
        return self.oid is not None

    @property
    def table(self) -> str:
        """The history table, qualified and quoted."""
        return sql.name(self.schema, TABLE)

    @property
    def texts(self) -> str:
        """The table of the applied texts, qualified and quoted."""
        return sql.name(self.schema, TABLE + "_texts")

    @property
    def removed(self) -> str:
        """The table of the removed records, qualified and quoted."""
        return sql.name(self.schema, TABLE + "_removed")

    @property
    def steps(self) -> str:
        """The table of the statements of unfinished no-transaction files, qualified and quoted."""
        return sql.name(self.schema, TABLE + "_steps")

    def _schema_to_use(self, row: list[str | None]) -> str:
        """Choose where the table would be made: the first schema of the path, else one of our own."""
        current, may_create, own = row[4], row[5] == "true", row[6]
        if current is not None and may_create:
            return current
        self.makes_schema = own is None
        return OWN_SCHEMA


def is_exactly(connection: Connection, files: Callable[[], list[MigrationFile]]) -> bool:
    """Tell at the least cost whether the history holds these files and nothing else, in their order.

    When it does there is nothing to do and nothing to say; in every other case `look` finds out what is so.
    The files are asked for while the server works.
    """
    table = sql.name(connection.schema, TABLE) if connection.schema else TABLE
    try:
        connection.send(_LISTED.format(table=table))
        expected = "\x1e".join([file.name + file.checksum for file in files()])
        return connection.gather()[0][0] == expected
    except ServerError:
        return False


def look(connection: Connection) -> History:
    """Find the history and read it; raise `HistoryDisagrees` for a table of that name which is not ours."""
    row = connection.query(_look_for(connection.schema))[0]
    if connection.schema is not None and row[4] is None:
        raise UsageError(
            f"there is no schema {sql.name(connection.schema)} in database {row[7]}",
            state="Nothing was run.",
            advice=f"Make it first:  CREATE SCHEMA {sql.name(connection.schema)};",
        )
    history = History(row, connection.schema)
    if history.exists:
        if history.kind not in ("r", "p"):
            raise _foreign(history, "it is not a table")
        try:
            text = connection.query(_READ.format(table=history.table))[0][0]
        except ServerError as error:
            if error.sqlstate == "42703":
                raise _foreign(history, str(error)) from error
            raise MigrateError(
                f"cannot read {history.table}: {error} ({error.sqlstate})",
                advice=_advice(history, error.sqlstate),
            ) from error
        history.applied = [_row(line) for line in text.split("\x1e")] if text else []
    return history


def _advice(history: History, sqlstate: str) -> str:
    if sqlstate == "42501":
        return f"GRANT SELECT ON {history.table} TO {sql.name(history.user)};"
    if sqlstate == "55P03":
        sessions = "SELECT pid, state, query FROM pg_stat_activity"
        locks = f"SELECT pid FROM pg_locks WHERE relation = '{history.table}'::regclass"  # noqa: S608  only shown
        return f"Another session holds a lock on it. To see which:  {sessions}\nWHERE pid IN ({locks});"
    return ""


def _look_for(schema: str | None) -> str:
    """Say where to look: along the search path, or in one schema and nowhere else."""
    if schema is None:
        return _LOOK.format(schema="pg_catalog.current_schema()", found=_FOUND)
    found = f"pg_catalog.to_regclass({sql.quote(sql.name(schema, TABLE))})"
    return _LOOK.format(schema=sql.quote(schema), found=found)


def _row(line: str) -> Applied:
    key, name, checksum, milliseconds, at, by = line.split("\x1f")
    return Applied(int(key), name, checksum, int(milliseconds), at, by)


def _foreign(history: History, why: str) -> HistoryDisagrees:
    return HistoryDisagrees(
        f"{history.table} exists, but is not the history of this engine ({why})",
        state=UNTOUCHED,
        advice=ANOTHER_TOOL,
    )
