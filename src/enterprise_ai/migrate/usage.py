"""What `--help` says of the commands and their options."""

from __future__ import annotations

from .arguments import COMMANDS, COMMON, OPTIONS, POSITIONALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .arguments import Value

_ABOUT = {
    "migrate": "run the pending files, each in one transaction with its record",
    "status": "show which files are applied and which are pending; writes nothing",
    "verify": "compare the live catalogue with what the migrations left",
    "plan": "try the pending files in a scratch copy: locks, rewrites, what they block",
    "test": "run every file from nothing on a scratch server: up, down, up, with its locks",
    "rollback": "remove the records of FILE and of everything after it; runs no SQL unless told to",
    "baseline": "adopt a database that is built already: record the files up to FILE, run nothing",
    "accept": "take FILE, edited or renamed after it ran, as it is now",
    "resolve": "settle a half-done no-transaction FILE: did the statement at which it stopped take effect?",
    "new": "write the next numbered file, with a place for its rollback block",
}


def help_text(program: str, command: str) -> str:
    """Describe one command, or all of them."""
    if not command:
        lines = [f"usage: {program} COMMAND [options]", ""]
        lines += [f"  {name:<10}{_ABOUT[name]}" for name in COMMANDS]
        lines += ["", "Options of every command, before or after it:"]
        lines += _option_lines(COMMON)
        lines += ["", f"{program} COMMAND --help shows the options of one command.", "", _EXIT_CODES]
        return "\n".join(lines)
    usage = " ".join(("usage:", program, command, *POSITIONALS[command], "[options]"))
    lines = [usage, "", _ABOUT[command].capitalize() + ".", ""]
    lines += _option_lines(OPTIONS[command])
    lines += _option_lines(COMMON)
    return "\n".join([*lines, "", _EXIT_CODES])


def _option_lines(options: dict[str, tuple[str, Callable[[str], Value], str]]) -> list[str]:
    return [
        "  {:<28}{}".format(" ".join((name, label)).rstrip(), about)
        for name, (label, _, about) in options.items()
    ]


_EXIT_CODES = (
    "Exit codes: 0 done, 1 a migration failed, 2 usage, 3 pending (--check), 4 cannot connect,\n"
    "5 another runner held the lock, 6 history and files disagree, 7 drift, 128+n stopped by signal n."
)
