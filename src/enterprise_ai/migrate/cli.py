# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH119, PTH120  pathlib would cost a tenth of a no-op run
"""The command line of the engine: parse, call, print; every front door leads here."""

from __future__ import annotations

import os
import sys

from .arguments import COMMANDS, parse
from .errors import DISAGREES, DONE, FAILED, PENDING, MigrateError
from .migrator import Migrator
from .report import Printer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal
    from typing import Any, Callable, ContextManager, NoReturn

    from .arguments import Arguments

else:
    # The C part of `signal`: the module itself imports `enum`, which would cost a tenth of a no-op run.
    from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal

__all__ = ["COMMANDS", "main"]

#: Variables that name a server to libpq; when one is set, the embedded server is not meant.
_NAMES_A_SERVER = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPORT", "PGDATABASE")


def run(prog: str, migrations: str | None = None) -> NoReturn:
    """Be the program: run the command of this process, and end it.

    The interpreter is not taken down piece by piece, for that would be a sixth of a no-op run.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # what its encoding cannot show must not stop a migration
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = main(sys.argv[1:], prog, migrations)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main(argv: list[str] | None = None, prog: str | None = None, migrations: str | None = None) -> int:
    """Run one command and return its exit code; `migrations` is the directory when the command names none."""
    argv = sys.argv[1:] if argv is None else argv
    program = prog or os.path.basename(sys.argv[0])
    json = "--json" in argv
    printer = Printer(sys.stderr if json else sys.stdout, sys.stderr)
    try:
        arguments = parse(argv)
        if arguments.help:
            from .usage import help_text

            print(help_text(program, arguments.command))
            return DONE
        with _stops_at_once():
            return _Command(arguments, printer, migrations).run()
    except MigrateError as error:
        return _failed(error, argv, printer)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 128 + SIGINT
    except Exception as error:
        from .failures import unforeseen

        return _failed(unforeseen(error), argv, printer)


def _failed(error: MigrateError, argv: list[str], printer: Printer) -> int:
    """Report an error, with the traceback when that is asked for, and return its exit code."""
    printer.failure(error)
    if "--json" in argv:
        from .failures import document

        _print_json(document(error, argv, printer))
    if "--debug" in argv:
        raise
    return error.exit_code


class _Command:
    """One command with its options."""

    def __init__(self, arguments: Arguments, printer: Printer, migrations: str | None) -> None:
        self.arguments = arguments
        self.printer = printer
        self.folder = arguments.text("--migrations") or migrations or default_migrations()
        self.json = arguments.is_set("--json")

    def run(self) -> int:
        """Run it against the database that is meant, and return the exit code."""
        url = self.arguments.text("--database-url") or os.environ.get("DATABASE_URL", "").strip()
        command: Callable[[str | None], int] = getattr(self, "_" + self.arguments.command)
        if self.arguments.command == "new":
            return command(None)
        if self.arguments.command == "test":  # makes databases, so never where DATABASE_URL happens to point
            return command(self.arguments.text("--database-url"))
        each = self.arguments.text("--each")
        if url or any(os.environ.get(name) for name in _NAMES_A_SERVER) or (each and os.path.isfile(each)):
            return command(url)
        with _embedded(self.printer.say) as embedded:
            return command(embedded)

    def _migrator(self, url: str | None) -> Migrator:
        arguments = self.arguments
        lock_timeout = arguments.number("--lock-timeout")
        return Migrator(
            url,
            migrations=self.folder,
            wait=arguments.number("--wait"),
            lock_timeout=2.0 if lock_timeout is None else lock_timeout,
            statement_timeout=arguments.number("--statement-timeout"),
            lock_attempts=int(arguments.number("--lock-attempts") or 10),
            say=self.printer.say,
            listener=self.printer,
            signals=True,
        )

    def _migrate(self, url: str | None) -> int:
        if self.arguments.text("--each") is not None:
            from . import fanout

            return self._report(*fanout.command(self._migrator(url), url, self.arguments, self.printer))
        return self._said(url)

    def _status(self, url: str | None) -> int:
        from . import status

        result = self._migrator(url).status()
        code = DISAGREES if result.problems else DONE
        if not code and result.pending and self.arguments.is_set("--check"):
            code = PENDING
        if self.json:
            _print_json(status.document(result, code))
        else:
            self.printer.line("\n".join(status.lines(result)))
        return code

    def _verify(self, url: str | None) -> int:
        from .verify import command

        return self._report(
            *command(
                self._migrator(url), self.printer, accepts=self.arguments.is_set("--accept"), json=self.json
            )
        )

    def _plan(self, url: str | None) -> int:
        from .plan import command

        return self._report(
            *command(
                self._migrator(url),
                self.printer,
                self.arguments.text("--target"),
                on_database=self.arguments.is_set("--on-database"),
                json=self.json,
            )
        )

    def _test(self, url: str | None) -> int:
        from .trial import command

        wait, ci = self.arguments.number("--wait") or 0.0, self.arguments.is_set("--ci")
        return self._report(*command(self.folder, url, self.printer, wait=wait, ci=ci, json=self.json))

    def _report(self, code: int, document: dict[str, Any]) -> int:
        """Print the document of a command that has printed its lines already."""
        if self.json:
            _print_json({"command": self.arguments.command, "exit_code": code, **document, "error": None})
        return code

    def _said(self, url: str | None) -> int:
        """Run a command of which there is little to say, and say it."""
        from . import commands

        command = self.arguments.command
        document, lines = getattr(commands, command)(self._migrator(url), self.arguments)
        if self.json:
            _print_json({"command": command, "exit_code": DONE, **document, "error": None})
        else:
            for text in lines:
                self.printer.line(text)
        return DONE

    _rollback = _baseline = _accept = _resolve = _said

    def _new(self, _: str | None) -> int:
        from .new import new

        path = new(self.folder, self.arguments.file, self.printer.say)
        if self.json:
            _print_json({"command": "new", "exit_code": DONE, "file": path, "error": None})
        else:
            self.printer.line(path)
        return DONE


def default_migrations() -> str:
    """Return the directory of our own migrations: in the wheel, else at the top of the checkout."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(package, "migrations")
    if os.path.isdir(inside):
        return inside
    return os.path.join(os.path.dirname(os.path.dirname(package)), "migrations")


def _embedded(say: Callable[[str], None]) -> ContextManager[str]:
    """Start or join the embedded PostgreSQL for the length of a command."""
    from .embedded import leased

    return leased(say)


class _stops_at_once:
    """While nothing is under way that must be ended in order, Ctrl-C ends the process as it ends psql."""

    def __enter__(self) -> None:
        self._before = getsignal(SIGINT)
        if self._before is default_int_handler:
            signal(SIGINT, SIG_DFL)

    def __exit__(self, *_: object) -> None:
        if self._before is default_int_handler:
            signal(SIGINT, self._before)


def _print_json(document: dict[str, Any]) -> None:
    import json

    print(json.dumps(document, ensure_ascii=False, indent=2), flush=True)
