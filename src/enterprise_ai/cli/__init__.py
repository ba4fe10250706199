"""The command line: finds the group that a command belongs to and hands the arguments over."""

from __future__ import annotations

import os
import sys

from enterprise_ai.migrate.cli import COMMANDS

TYPE_CHECKING = False  # neither `typing` nor `collections` is loaded for a no-op run
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 failed, 2 usage, 3 pending, 4 cannot connect, 5 lock not obtained in time,
    6 history and files disagree, 7 drift, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # A no-op migration run is over in a moment, so the other groups are not even imported for it.
    if _command(arguments) in (*COMMANDS, "migrations"):
        from enterprise_ai.migrate import cli

        if argv is None:
            cli.run("enterprise-ai")
        return cli.main(arguments, prog="enterprise-ai")

    try:
        from enterprise_ai.cli.parser import build_parser

        options = build_parser().parse_args(arguments)
        result: int = options.func(options)
        sys.stdout.flush()  # here, where it is known what to do when nobody reads on
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("enterprise-ai: interrupted; what was not yet committed has been taken back", file=sys.stderr)
        return 130
    return result


def _command(arguments: list[str]) -> str | None:
    """The first word that is neither an option nor the value of one of those that may stand before a command."""
    words = iter(arguments)
    for word in words:
        if word in ("--database-url", "--migrations"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
