"""What is told of a file while a batch of it runs."""

from __future__ import annotations

from .connection import Watcher
from .contention import Patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .apply import FileRun
    from .batches import Batch


class Progress(Watcher):
    """Passes on what happens in a batch, in terms of the file."""

    def __init__(self, run: FileRun, batch: Batch) -> None:
        self._run = run
        self._batch = batch
        self._before = run.done
        self.patience = Patience(run.lookout.look) if run.lookout is not None else None

    def done(self, completed: int) -> None:
        if not self._run.told:
            self._run.tell()
        self._run.listener.progress(
            self._run.file.name, self._before + completed, self._run.checked.statements
        )

    def notice(self, index: int, notice: dict[str, str]) -> None:
        statements = self._batch.statements
        start = statements[min(index, len(statements) - 1)].start
        line = self._run.checked.script.line_of(self._batch, start)
        self._run.listener.notice(self._run.file.name, line, notice)
