# ruff: noqa: S608  every value and name below is quoted by sql.quote and sql.name
"""What the catalogue was after each run: taken once at the end of a run, kept beside the history.

Reading it costs as much whether one object changed or a thousand, so it is not read for each file of a run:
after the last file of a run it is, and that is "after which it was right" for what the files before made.
What somebody changed by hand before a run is not taken for the run's work: the state at the start of the
run is compared with the one kept, and an object that was wrong and that the run did not touch stays wrong.
"""

from __future__ import annotations

from . import catalogue as _catalogue
from . import sql
from .connection import Connection
from .drift import differences, same
from .errors import ConnectionFailed, ConnectionLost, ServerError
from .history import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .catalogue import Key, Objects
    from .history import History
    from .runner import Run

#: So many states are kept, so that a rollback of records finds the state it goes back to.
_KEEP = 50

_CREATE = """
create table {table} (
    id             bigint generated always as identity primary key,
    migration_id   bigint      not null,
    migration_name text        not null,
    taken_at       timestamptz not null default pg_catalog.clock_timestamp(),
    taken_by       text        not null default session_user,
    server_version integer     not null,
    objects        text        not null,
    wrong          text        not null default ''
);
comment on table {table} is
    'One row for each run of migrations: the definition of every object after it, and which were wrong by then.'
"""


class Kept:
    """The state that was right after a migration."""

    def __init__(self, migration: str, version: int, objects: Objects, since: dict[Key, str]) -> None:
        self.migration = migration
        self.version = version
        self.objects = objects
        self.since = since  # for objects that were wrong by then: the migration after which they were right

    def differs_in_major(self, version: int) -> bool:
        """Tell whether the server prints definitions by the rules of another major now."""
        return self.version // 10000 != version // 10000


def table(history: History) -> str:
    """The table of the states, qualified and quoted."""
    return sql.name(history.schema, TABLE + "_catalogue")


def kept(connection: Connection, history: History) -> Kept | None:
    """Return the state kept for the newest migration of the history; None when there is none."""
    if not history.applied:
        return None
    found = connection.query(f"select pg_catalog.to_regclass({sql.quote(table(history))})::text")[0][0]
    if found is None:
        return None
    rows = connection.query(
        f"select migration_name, server_version::text, objects, wrong from {table(history)} "
        f"where migration_id operator(pg_catalog.=) {history.applied[-1].id} "
        f"and migration_name operator(pg_catalog.=) {sql.quote(history.applied[-1].name)} "
        "order by id desc limit 1"
    )
    if not rows:
        return None
    name, version, objects, wrong = rows[0]
    expected, since = _catalogue.parse(objects or ""), {}
    for record in wrong.split(_catalogue.RECORD) if wrong else ():
        kind, subject, migration, is_there, definition = record.split(_catalogue.FIELD)
        since[kind, subject] = migration
        if is_there == "yes":
            expected[kind, subject] = definition
        else:
            expected.pop((kind, subject), None)
    return Kept(name or "", int(version or 0), expected, since)


class Watch:
    """Takes the state before and after a run."""

    def __init__(
        self, connection: Connection, history: History, say: Callable[[str], None], killed: bool = False
    ) -> None:
        self._history = history
        self._say = say
        self._kept: Kept | None = None
        self._before: Objects = {}
        if history.applied:
            self._look(connection, killed)

    def _look(self, connection: Connection, killed: bool) -> None:
        """Read what was right before; what a run made that was killed within a file counts as right."""
        try:
            if killed:
                keep(connection, self._history)
            self._kept = kept(connection, self._history)
            if self._kept is None:
                return
            self._before = _catalogue.read(connection, self._history)
        except ServerError as error:
            self._kept = None
            self._say(f"the catalogue was not compared before this run: {error} ({error.sqlstate})")
            return
        other_major = self._kept.differs_in_major(connection.version)
        found = differences(self._kept.objects, self._before, other_major=other_major)
        if found:
            objects = "1 object is" if len(found) == 1 else f"{len(found)} objects are"
            self._say(f"note: {objects} not as {self._kept.migration} left them; `verify` names them")

    def after(self, run: Run) -> None:
        """Keep the state after a run; what stands in the way of that is a remark, not a failure of the run."""
        try:
            if run.interrupts is not None and run.interrupts.requested:
                connection = Connection(run.target)
                try:
                    self._keep(connection)
                finally:
                    connection.close()
            else:
                self._keep(run.session.connection)
        except (ConnectionFailed, ConnectionLost, ServerError) as error:
            self._say(_not_kept(run.target.redact(str(error)), error))

    def _keep(self, connection: Connection) -> None:
        wrong = ""
        if self._kept is not None:
            after = _catalogue.read(connection, self._history)
            wrong = self._still_wrong(after, self._kept, self._kept.differs_in_major(connection.version))
        keep(connection, self._history, wrong)

    def _still_wrong(self, after: Objects, kept_: Kept, other_major: bool) -> str:
        """List what was wrong before the run and was not touched by it, as it should be."""
        records = []
        for key in sorted(set(self._before) | set(after) | set(kept_.objects)):
            right, now = kept_.objects.get(key), after.get(key)
            if self._before.get(key) == now and not same(key, right, now, other_major):
                migration = kept_.since.get(key, kept_.migration)
                there = "yes" if right is not None else "no"
                records.append(_catalogue.FIELD.join((*key, migration, there, right or "")))
        return _catalogue.RECORD.join(records)


def _not_kept(text: str, error: Exception) -> str:
    code = f" ({error.sqlstate})" if isinstance(error, ServerError) else ""
    return (
        f"the state of the catalogue was not kept: {text}{code}; "
        "`verify` has nothing to compare with until the next run, or `verify --accept`"
    )


def adopt(connection: Connection, history: History, say: Callable[[str], None]) -> None:
    """Take the present state for what the newest migration left, where nothing tells otherwise."""
    try:
        keep(connection, history)
    except ServerError as error:
        say(_not_kept(str(error), error))


def keep(connection: Connection, history: History, wrong: str = "") -> None:
    """Keep the present state for the newest migration; raise `ServerError`."""
    states = table(history)
    exists = connection.query(f"select pg_catalog.to_regclass({sql.quote(states)})::text")[0][0]
    create = "" if exists else _CREATE.format(table=states) + "; "
    statements = (
        f"begin; {_catalogue.SETTINGS}; {create}"
        f"insert into {states} (migration_id, migration_name, server_version, objects, wrong) "
        f"select h.id, h.migration_name, {connection.version}, "
        f"coalesce(({_catalogue.query(connection, history)}), ''), {sql.quote(wrong)} "
        f"from {history.table} as h order by h.id desc limit 1; "
        f"delete from {states} where id <= (select max(id) from {states}) - {_KEEP}; commit"
    )
    try:
        connection.query(statements)
    except ServerError:
        connection.query("rollback")
        raise
