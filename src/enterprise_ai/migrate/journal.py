# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""What is known of files that run outside a transaction: which statements were started, which are done."""

from __future__ import annotations

from . import sql
from .connection import Connection
from .errors import HistoryDisagrees, MigrateError, ServerError
from .records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .history import History
    from .results import HalfDone
    from .target import Target

#: One statement of a file, or of its rollback block, as the journal knows it.
Step = NamedTuple(
    "Step",
    [
        ("name", str),
        ("is_rollback", bool),
        ("number", int),
        ("statement", str),
        ("kind", str),
        ("relation", "str | None"),  # oid of the table or partition that it is about
        ("before", "str | None"),  # oid of what it makes or drops, before it started
        ("pid", int),
        ("backend_start", str),  # at the latest: a session that began later is another one with the same pid
        ("is_done", bool),
        ("error", "str | None"),
    ],
)

_CREATE = """
create table if not exists {steps} (
    migration_name text        not null,
    is_rollback    boolean     not null,
    step           integer     not null,
    statement      text        not null,
    kind           text        not null,
    relation_oid   oid,
    before_oid     oid,
    started_at     timestamptz not null default pg_catalog.clock_timestamp(),
    started_by     text        not null default session_user,
    pid            integer     not null,
    backend_start  timestamptz not null,
    done_at        timestamptz,
    error          text,
    primary key (migration_name, is_rollback, step)
);
comment on table {steps} is
    'One row for each statement, started or done, of the no-transaction files that are not finished yet.';
"""


class Journal:
    """The journal of one database, on a connection of its own that is idle while a statement runs.

    Interrupts are left out: a signal must not cancel the note about what it cancelled.
    """

    def __init__(self, target: Target, history: History) -> None:
        self.connection = Connection(target)
        # Times that were written as text here are read in the same form, whatever the login's settings.
        self.connection.query("set search_path = pg_catalog; set datestyle = 'ISO'; set timezone = 'UTC'")
        self._history = history

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def create(self) -> None:
        """Make the table when it is not there; raise `MigrateError` when the login may not."""
        try:
            if not exists(self.connection, self._history):
                self.connection.query(_CREATE.format(steps=self._history.steps))
        except ServerError as error:
            raise MigrateError(
                f"cannot create {self._history.steps}: {error} ({error.sqlstate})",
                state="Nothing was run.",
                advice=f"GRANT CREATE ON SCHEMA {sql.name(self._history.schema)} "
                f"TO {sql.name(self._history.user)};",
            ) from error

    def now(self) -> str:
        """Return a moment at which a session that was opened before is there."""
        return self.connection.query("select clock_timestamp()::text")[0][0] or ""

    def steps(self, name: str) -> list[Step]:
        """Return what is known of a file, in the order of its statements."""
        return [step for step in read(self.connection, self._history) if step.name == name]

    def start(self, step: Step) -> None:
        """Note that a statement is about to run."""
        self.connection.query(
            f"insert into {self._history.steps} (migration_name, is_rollback, step, statement, kind, "
            "relation_oid, before_oid, pid, backend_start) values ("
            f"{sql.quote(step.name)}, {step.is_rollback}, {step.number}, {sql.quote(step.statement)}, "
            f"{sql.quote(step.kind)}, {step.relation or 'null'}, {step.before or 'null'}, {step.pid}, "
            f"{sql.quote(step.backend_start)}::timestamptz) "
            "on conflict (migration_name, is_rollback, step) do update set statement = excluded.statement, "
            "kind = excluded.kind, relation_oid = excluded.relation_oid, before_oid = excluded.before_oid, "
            "pid = excluded.pid, backend_start = excluded.backend_start, done_at = null, error = null, "
            "started_at = clock_timestamp(), started_by = session_user"
        )

    def done(self, step: Step) -> None:
        """Note that a statement took effect."""
        self.connection.query(done(self._history, step))

    def failed(self, step: Step, error: str) -> None:
        """Note that the server refused a statement, and how."""
        self.connection.query(
            f"update {self._history.steps} set error = {sql.quote(error)} where {_is(step)}"
        )

    def drop(self, step: Step) -> None:
        """Forget that a statement was started."""
        self.connection.query(f"delete from {self._history.steps} where {_is(step)}")


def exists(connection: Connection, history: History) -> bool:
    """Tell whether there is a journal: it is made by the first file that needs it."""
    rows = connection.query(f"select (pg_catalog.to_regclass({sql.quote(history.steps)}) is not null)::text")
    return rows[0][0] == "true"


def read(connection: Connection, history: History) -> list[Step]:
    """Return every unfinished file's statements; none when there is no journal, or it may not be read."""
    if not history.exists or not exists(connection, history):
        return []
    try:
        rows = connection.query(
            "select migration_name, is_rollback::text, step::text, statement, kind, relation_oid::text, "
            "before_oid::text, pid::text, backend_start::text, (done_at is not null)::text, error "
            f"from {history.steps} order by migration_name, step"
        )
    except ServerError as error:
        if error.sqlstate == "42501":
            return []
        raise
    return [
        Step(
            row[0] or "",
            row[1] == "true",
            int(row[2] or 0),
            row[3] or "",
            row[4] or "",
            row[5],
            row[6],
            int(row[7] or 0),
            row[8] or "",
            row[9] == "true",
            row[10],
        )
        for row in rows
    ]


def done(history: History, step: Step) -> str:
    """SQL that notes that a statement took effect."""
    return f"update {history.steps} set done_at = pg_catalog.clock_timestamp() where {_is(step)}"


def forget(history: History, name: str) -> str:
    """SQL that takes a file out of the journal."""
    return f"delete from {history.steps} where migration_name operator(pg_catalog.=) {sql.quote(name)}"


def forget_all(connection: Connection, history: History, names: list[str]) -> None:
    """Take files out of the journal, when there is one."""
    if names and exists(connection, history):
        connection.query("; ".join(forget(history, name) for name in names))


def half_done(steps: list[Step]) -> tuple[HalfDone, ...]:
    """Sum up the journal: one entry for each file that stopped on its way."""
    from .results import HalfDone

    found = []
    for name in sorted({step.name for step in steps}):
        mine = [step for step in steps if step.name == name]
        stopped = next((step for step in mine if not step.is_done), None)
        found.append(
            HalfDone(
                name,
                mine[0].is_rollback,
                sum(step.is_done for step in mine),
                stopped.number if stopped is not None else None,
                stopped.error if stopped is not None else None,
            )
        )
    return tuple(found)


def refuse_strays(connection: Connection, history: History, names: list[str]) -> bool:
    """Raise `HistoryDisagrees` for a half-done file that is not there any more, and for a half-done rollback.

    Return whether an earlier run was killed within a file, so that nobody noted how it left the database.
    """
    found = half_done(read(connection, history))
    for file in found:
        if file.is_rollback:
            raise HistoryDisagrees(
                f"the rollback of {file.name} is half done ({file.done} of its statements have run)",
                state="Nothing was run.",
                advice=f"Finish it:  rollback {file.name} --execute",
            )
        if file.name not in names:
            raise HistoryDisagrees(
                f"{file.name} is half done ({file.done} of its statements have run), but its file is missing",
                state="Nothing was run.",
                advice=f"Bring the file back, or forget what ran of it:  rollback {file.name}",
            )
    return any(file.error is None for file in found)


def abandon(connection: Connection, history: History, steps: list[Step], reason: str | None) -> None:
    """Take a half-done file out of the journal, and keep among the removed records what was known of it."""
    ran = sum(step.is_done for step in steps)
    why = f"half done, {ran} of its statements had run" + (f": {reason}" if reason else "")
    name = sql.quote(steps[0].name)
    connection.query(
        "set local search_path = pg_catalog; "
        f"insert into {history.removed} "
        "(reason, migration_name, executed_at, checksum, execution_time_ms, executed_by) "
        f"select {sql.quote(why)}, migration_name, min(started_at), '', 0, min(started_by) "
        f"from {history.steps} where migration_name = {name} group by migration_name; "
        + forget(history, steps[0].name)
    )


def _is(step: Step) -> str:
    return (
        f"migration_name operator(pg_catalog.=) {sql.quote(step.name)} "
        f"and is_rollback operator(pg_catalog.=) {step.is_rollback} "
        f"and step operator(pg_catalog.=) {step.number}"
    )
