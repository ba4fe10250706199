# ruff: noqa: S608  every value below is quoted by sql.quote
"""What the pending files would do to a live database: measured on a copy, set against its sizes."""

from __future__ import annotations

from . import history as _history
from . import sql
from .connection import Connection
from .errors import DONE, FAILED
from .forward import Forward
from .interrupts import Unwinding
from .observe import Observer
from .records import NamedTuple
from .rehearsal import FilePlan, Rehearsal, TouchesSharedObjects
from .scratch import copy_schema, scratch_database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .checks import Checked
    from .history import History
    from .migrator import Migrator
    from .report import Printer
    from .squawk import Remark as Remark

#: How big a relation of the live database is.
Size = NamedTuple("Size", [("bytes", int), ("rows", int)])

#: The longest transaction that is open now: whoever takes a strong lock on what it uses waits for it.
Longest = NamedTuple(
    "Longest", [("pid", int), ("user", str), ("application", str), ("state", str), ("seconds", int)]
)

#: What the pending files would do.
PlanResult = NamedTuple(
    "PlanResult",
    [
        ("database", str),
        ("tried_on", str),
        ("files", "tuple[FilePlan, ...]"),
        ("sizes", "dict[str, Size]"),
        ("longest", "Longest | None"),
        ("remarks", "tuple[Remark, ...] | None"),  # None: Squawk is not installed
        ("notes", "tuple[str, ...]"),
    ],
)


def plan(migrator: Migrator, target: str | None, *, on_database: bool) -> PlanResult:
    """Try the pending files; the live database is only read, or gets back all it was lent."""
    from . import squawk

    last = migrator.folder.file(target) if target else None
    connection = migrator._connect()
    try:
        history = _history.look(connection)
        forward = Forward(migrator, connection, last, False)
        pending, notes = forward.pending(history)
        checked = forward.check(pending)
        if not checked:
            files, how = [], "nothing"
        elif on_database:
            files, how = _on_database(migrator, checked, notes), "the database itself, rolled back"
        else:
            files, how = _on_copy(migrator, connection, history, checked, notes)
        affected = {effect.relation for file in files for step in file.steps for effect in step.effects}
        return PlanResult(
            migrator.database,
            how,
            tuple(files),
            _sizes(connection, affected),
            _longest(connection),
            squawk.remarks(pending, connection.version),
            tuple(notes),
        )
    finally:
        connection.close()


def _on_copy(
    migrator: Migrator, connection: Connection, history: History, checked: list[Checked], notes: list[str]
) -> tuple[list[FilePlan], str]:
    gone = Unwinding("Nothing was changed; the scratch copy is gone.", signals=migrator._signals)
    with gone, scratch_database(migrator._target) as scratch:
        how = copy_schema(connection, migrator._target, history, scratch, notes.append)
        session = Connection(scratch)
        try:
            return _try(Rehearsal(session, None, commits=True), session, checked, notes), how
        finally:
            session.close()


def _on_database(migrator: Migrator, checked: list[Checked], notes: list[str]) -> list[FilePlan]:
    """Run all in one transaction that is never committed."""
    session = Connection(migrator._target)
    try:
        fitting = []
        for one in checked:
            if not one.directives.transaction:
                notes.append(
                    f"{one.script.file.name} runs outside a transaction, so it cannot be tried on the database "
                    "itself; it and the files after it were left out"
                )
                break
            fitting.append(one)
        timeout = migrator._lock_timeout
        return _try(Rehearsal(session, timeout, commits=False), session, fitting, notes)
    finally:
        session.close()


def _try(
    rehearsal: Rehearsal, session: Connection, checked: list[Checked], notes: list[str]
) -> list[FilePlan]:
    observer = Observer(session)
    files = []
    for one in checked:
        try:
            files.append(rehearsal.run(one, observer))
        except TouchesSharedObjects:
            notes.append(
                f"{one.script.file.name} changes roles or tablespaces, which all databases of the server share: "
                "it was rolled back, and it and the files after it were left out"
            )
            break
        if files[-1].failure is not None:
            break
    return files


def _sizes(connection: Connection, names: set[str]) -> dict[str, Size]:
    """Measure relations of the live database; of a partitioned table, all its partitions together."""
    wanted = [name for name in sorted(names) if not name.startswith("(")]
    if not wanted:
        return {}
    listed = ", ".join(f"({sql.quote(name)})" for name in wanted)
    rows = connection.query(
        "set local search_path = pg_catalog; select w.name, sum(pg_total_relation_size(p.oid))::bigint::text, "
        "sum(greatest(p.reltuples, 0))::bigint::text "
        f"from (values {listed}) as w (name) join pg_class as c on c.oid = to_regclass(w.name) "
        "cross join lateral (select t.relid from pg_partition_tree(c.oid) as t where t.isleaf "
        "union all select c.oid where not exists (select from pg_partition_tree(c.oid))) as leaf (relid) "
        "join pg_class as p on p.oid = leaf.relid where c.relkind in ('r', 'p', 'm', 'i', 'I') group by 1"
    )
    return {row[0] or "": Size(int(row[1] or 0), int(row[2] or 0)) for row in rows}


def _longest(connection: Connection) -> Longest | None:
    rows = connection.query(
        "set local search_path = pg_catalog; select pid::text, coalesce(usename::text, ''), "
        "coalesce(application_name, ''), coalesce(state, ''), "
        "floor(extract(epoch from clock_timestamp() - xact_start))::bigint::text "
        "from pg_stat_activity where datname = current_database() and xact_start is not null "
        "and pid <> pg_backend_pid() and backend_type = 'client backend' order by xact_start limit 1"
    )
    if not rows:
        return None
    pid, user, application, state, seconds = rows[0]
    return Longest(int(pid or 0), user or "", application or "", state or "", int(seconds or 0))


def command(
    migrator: Migrator, printer: Printer, target: str | None, *, on_database: bool, json: bool
) -> tuple[int, dict[str, Any]]:
    """Run the command: print for a person unless `json`; return the exit code and the document."""
    from .plan_report import document, show

    result = plan(migrator, target, on_database=on_database)
    for note in result.notes:
        printer.say("note: " + note)
    if not json:
        show(result, printer.line)
    failed = any(file.failure is not None for file in result.files)
    return FAILED if failed else DONE, document(result)
