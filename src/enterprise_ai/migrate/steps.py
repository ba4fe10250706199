"""How a file runs outside a transaction: statement by statement, each noted before it starts and when it is done."""

from __future__ import annotations

import time

from . import doubts, outcome, sql
from . import journal as _journal
from . import ledger as _ledger
from .apply import FileRun
from .backends import await_backend
from .batches import Batch
from .errors import (
    ConnectionLost,
    FileError,
    Interrupted,
    MigrationFailed,
    ServerError,
)
from .faults import explain
from .journal import Journal, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

# What the note of a statement must not depend on; all of it ends with the statement's transaction.  The role is
# the one that the session began with, which ALTER ROLE … SET role may have chosen.
_AS_OURSELVES = (
    "set constraints all immediate; set local session authorization default; "
    "select pg_catalog.set_config('role', {role}, true); set local search_path = pg_catalog; "
)
#: The server says that a statement cannot run in a transaction, or wants to end it.
_NEEDS_NO_TRANSACTION = ("25001", "2D000")


class StepRun(FileRun):
    """One attempt at a no-transaction file: what an earlier attempt did is not done again."""

    is_rollback = False

    def run(self) -> int:
        """Run what is left, then record the file; return milliseconds; raise as `FileRun.run` does."""
        started = time.monotonic()
        self.lock.announce(self.file.name)
        with Journal(self.session.target, self.history) as journal:
            self._journal = journal
            journal.create()
            self._own_lock_timeout = False
            self._invalid = outcome.invalid_indexes(journal.connection)
            try:
                self._all_steps()
                self._check_unchanged()
                self._report_invalid()
                self.session.close()  # the record is not the business of what the file has set
                self._begin(None)
                self.lock.ask()
                milliseconds = int((time.monotonic() - started) * 1000)
                self.lock.confirm()
                self._finish(milliseconds)
            except BaseException:
                self.session.rollback()
                raise
        return milliseconds

    def _last_words(self) -> list[str]:
        return [_journal.forget(self.history, self.file.name)]

    def _all_steps(self) -> None:
        earlier = {step.number: step for step in self._journal.steps(self.file.name)}
        for step in earlier.values():
            if step.is_rollback != self.is_rollback:
                raise doubts.half_done(step)
        lock_timeout = self.checked.directives.lock_timeout or 0
        settings = f"set lock_timeout = {lock_timeout}"
        if self.timeouts[1] is not None:
            settings += f"; set statement_timeout = {self.timeouts[1]}"
        row = self.session.connection.query(settings + "; select pg_catalog.current_setting('role')")[0]
        self._role = row[0] or "none"
        self._backend = (self.session.connection.pid, self._journal.now())
        if self.lookout is not None:
            self.lookout.pid = self._backend[0]
        number = 0
        for number, batch in enumerate(self.checked.script.singles(), 1):
            self._step(number, batch, earlier.pop(number, None))
        for step in earlier.values():
            if step.is_done:
                raise doubts.edited(step, None)

    def _step(self, number: int, batch: Batch, earlier: Step | None) -> None:
        """Run a statement, unless an earlier attempt did."""
        text = batch.text.replace("\r\n", "\n").replace("\r", "\n")
        if earlier is not None and (earlier.is_done or self._took_effect(earlier, batch)):
            if earlier.statement != text:
                raise doubts.edited(earlier, batch.line)
            for _ in batch.data or ():
                pass
            if earlier.kind == outcome.SETTING:
                self._run(batch)
            else:
                self.done += 1
            return
        kind = outcome.kind_of(batch.statements[0].words, batch.text)
        self._start(number, batch, text, kind)

    def _took_effect(self, step: Step, batch: Batch) -> bool:
        """Decide about a statement that was started; complete it, or clear away what it left, where needed."""
        step = await_backend(self._journal, step, self.wait, self.say, self.interrupts)
        if step.is_done:
            return True
        verdict = outcome.decide(self._journal.connection, step)
        if verdict.done is None:
            raise doubts.in_doubt(step, self.checked.script.place(batch.offset), self.state())
        if verdict.mend is not None:
            self.say(f"{self.file.name}: statement {step.number} was interrupted; running:  {verdict.mend}")
            self.session.connection.query(verdict.mend)
            self._invalid = outcome.invalid_indexes(self._journal.connection)
        if verdict.done:
            self._journal.done(step)
            self.say(f"{self.file.name}: statement {step.number} turned out to be done; going on behind it")
        return verdict.done

    def _start(self, number: int, batch: Batch, text: str, kind: str) -> None:
        """Note a statement, run it, and note how it ended."""
        if self.interrupts is not None:
            self.interrupts.check(self.state())
        session = self.session.connection
        relation = outcome.relation_of(session, kind, batch.text)
        before = outcome.object_of(self._journal.connection, kind, batch.text, relation)
        pid, since = self._backend
        step = Step(
            self.file.name, self.is_rollback, number, text, kind, relation, before, pid, since, False, None
        )
        self.lock.ask()
        self.lock.confirm()
        self._journal.start(step)
        try:
            if kind == outcome.ATOMIC:
                self._atomically(step, batch)
            else:
                self._run(batch)
                self._check_index(step, batch)
                self._journal.done(step)
        except Interrupted:  # before it was sent
            self._journal.drop(step)
            raise
        except MigrationFailed as failure:
            self._failed(step, batch, failure)
        except FileError as error:  # it damaged the history
            session.query("rollback")
            self._journal.failed(step, error.message)
            raise
        except ConnectionLost as error:
            raise FileError(
                f"the connection was lost while statement {number} of {self.file.name} ran",
                state=self.state(),
                advice="Run again: the server is asked first what became of that statement.",
            ) from error
        if kind == outcome.SETTING and "lock_timeout" in batch.text.lower():
            self._own_lock_timeout = True

    def _atomically(self, step: Step, batch: Batch) -> None:
        """Run a statement and note that it is done in one transaction, so that it never is in doubt."""
        session = self.session.connection
        text, lock_timeout = "begin", self.timeouts[0]
        if lock_timeout is not None and not self._own_lock_timeout:
            text += f"; set local lock_timeout = {lock_timeout}"
        mark = _ledger.fingerprint(self.history)
        before = session.query(f"{text}; select {mark}")[0][0] or ""
        self._run(batch)
        note = f"{_journal.done(self.history, step)} and {mark} = {sql.quote(before)} returning '1'"
        try:
            if not session.query(_AS_OURSELVES.format(role=sql.quote(self._role)) + note):
                raise self._broken(f"changed {self.history.table}, the history of migrations")
            session.query("commit")
        except ServerError as error:
            self.done -= 1
            if error.completed:
                raise self._record_failed(error, fires=False) from error
            raise explain(
                self.checked.script, batch, error, step.number, session.parameter("server_encoding")
            ) from error

    def _failed(self, step: Step, batch: Batch, failure: MigrationFailed) -> None:
        """Note a failure and say what it leaves; a statement that turns out to need it runs without."""
        server = failure.server
        session = self.session.connection
        if server is not None and not session.is_lost and session.transaction_status:
            session.query("rollback")
        refused = server is not None and server.sqlstate in _NEEDS_NO_TRANSACTION
        if refused and step.kind == outcome.ATOMIC and batch.data is None:
            self._start(step.number, batch, step.statement, outcome.UNKNOWN)
            return
        self._journal.failed(step, failure.message)
        failure.state = self.state()
        if server is not None:
            failure.advice = doubts.advice_about(step, server)
        if step.kind != outcome.ATOMIC:
            self._explain_leftovers(failure, step)
        again = f"Run again when that is mended: it goes on at statement {step.number}."
        failure.advice = "\n".join(part for part in (failure.advice, again) if part)
        raise failure

    def _explain_leftovers(self, failure: MigrationFailed, step: Step) -> None:
        now = outcome.invalid_indexes(self._journal.connection)
        left, advice = doubts.leftovers(step, [name for oid, name in now.items() if oid not in self._invalid])
        failure.state = "\n".join([failure.state, *left])
        failure.advice = "\n".join(part for part in (failure.advice, *advice) if part)

    def _check_index(self, step: Step, batch: Batch) -> None:
        """Refuse to go on with an invalid index of that name that IF NOT EXISTS was content with."""
        name = outcome.passed_over(self._journal.connection, step)
        if name is not None:
            self.done -= 1
            raise MigrationFailed(
                f"the index {name} was there already and is invalid; IF NOT EXISTS passed over it",
                place=self.checked.script.place(batch.offset),
                advice=f"Drop it, so that it can be built:\nDROP INDEX CONCURRENTLY {name};",
            )

    def _report_invalid(self) -> None:
        """Name the invalid indexes that are there only since this run, although no statement failed."""
        for oid, name in outcome.invalid_indexes(self._journal.connection).items():
            if oid not in self._invalid:
                self.say(
                    f"{self.file.name} left the invalid index {name}; mend it with:  REINDEX INDEX CONCURRENTLY {name};"
                    f"  or drop it:  DROP INDEX CONCURRENTLY {name};"
                )

    def state(self) -> str:
        what = f"the rollback of {self.file.name}" if self.is_rollback else self.file.name
        return doubts.done_so_far(what, self.done)
