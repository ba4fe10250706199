"""Which commands and options there are, and how a command line is read."""

from __future__ import annotations

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Union

    Value = Union[str, float, int, bool, None]

#: The commands that this package answers; a larger command line hands them over untouched.
COMMANDS = ("migrate", "status", "verify", "plan", "test", "rollback", "baseline", "accept", "resolve", "new")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise ValueError(text)
    return value


def _url(text: str) -> str:
    if not text.strip():  # a variable that is not set must not mean whichever database is found next
        raise ValueError(text)
    return text.strip()


def _file_name(word: str) -> str:
    """Take a file as a person names it: with its directory, or without its ending."""
    name = word.rpartition("/")[2]
    return name if name.endswith(".sql") else name + ".sql"


def _answer(text: str) -> str:
    if text not in ("applied", "pending"):
        raise ValueError(text)
    return text


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


#: option: (what its value is called, or "" for a switch; how to read it; help)
COMMON: dict[str, tuple[str, Callable[[str], Value], str]] = {
    "--database-url": (
        "URL",
        _url,
        "the database; else DATABASE_URL, else PG* variables, else the embedded server",
    ),
    "--migrations": ("DIR", str, "the directory of files NNN_description.sql"),
    "--wait": ("SECONDS", _seconds, "how long to wait for a server that starts, and for another runner"),
    "--json": ("", str, "one JSON document on stdout, everything else on stderr"),
    "--debug": ("", str, "show the Python traceback of an error"),
}
OPTIONS: dict[str, dict[str, tuple[str, Callable[[str], Value], str]]] = {
    "migrate": {
        "--target": ("FILE", _file_name, "the last file to run"),
        "--dry-run": ("", str, "check the pending files and list them; run nothing"),
        "--allow-out-of-order": ("", str, "run a new file although a later one ran already"),
        "--each": (
            "FILE|QUERY",
            str,
            "many databases or schemas: the lines of a file, or the rows of a query",
        ),
        "--jobs": ("N", _count, "how many of them at the same time (4)"),
        "--lock-timeout": ("SECONDS", _seconds, "how long a statement may wait for a lock (2; 0: for ever)"),
        "--lock-attempts": ("N", _count, "how often a file is tried when it meets locks (10)"),
        "--statement-timeout": ("SECONDS", _seconds, "how long a statement may run (0: for ever)"),
    },
    "status": {"--check": ("", str, "exit 3 when something is pending")},
    "verify": {"--accept": ("", str, "take the catalogue as it is now for right")},
    "plan": {
        "--target": ("FILE", _file_name, "the last file to plan"),
        "--on-database": ("", str, "run in a transaction on the database itself, and roll it back"),
    },
    "test": {"--ci": ("", str, "print findings as annotations of GitHub Actions")},
    "rollback": {
        "--execute": (
            "",
            str,
            "run the files' rollback blocks, newest first, and remove records with their schema",
        ),
        "--reason": ("TEXT", str, "why, kept with the removed records"),
    },
    "baseline": {},
    "accept": {"--reason": ("TEXT", str, "why, kept with the former record")},
    "resolve": {
        "--as": ("applied|pending", _answer, "whether the statement at which it stopped took effect")
    },
    "new": {},
}
POSITIONALS = {
    "migrate": (),
    "status": (),
    "verify": (),
    "plan": (),
    "test": (),
    "rollback": ("FILE",),
    "baseline": ("FILE",),
    "accept": ("FILE",),
    "resolve": ("FILE",),
    "new": ("DESCRIPTION",),
}


class Arguments:
    """A command and its options; one that was not given is None."""

    def __init__(self) -> None:
        self.command = ""
        self.help = False
        self.file = ""
        self._values: dict[str, Value] = {}

    def get(self, option: str) -> Value:
        """Return the value of an option."""
        return self._values.get(option)

    def text(self, option: str) -> str | None:
        """Return the value of an option that takes text."""
        value = self._values.get(option)
        return value if isinstance(value, str) else None

    def number(self, option: str) -> float | None:
        """Return the value of an option that takes a number."""
        value = self._values.get(option)
        return value if isinstance(value, (int, float)) else None

    def is_set(self, option: str) -> bool:
        """Tell whether a switch was given."""
        return self._values.get(option) is True

    def put(self, option: str, value: Value) -> None:
        """Note an option."""
        self._values[option] = value


def parse(argv: list[str]) -> Arguments:
    """Read a command line; options stand before or after the command; raise `UsageError`."""
    found = Arguments()
    given: list[tuple[str, str | None]] = []
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            found.help = True
        elif word == "--":
            words += rest
            break
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            if equals:
                given.append((name, value))
            elif _takes_value(name):
                if not rest:
                    raise UsageError(f"{name} needs a value", advice=_HELP)
                given.append((name, rest.pop(0)))
            else:
                given.append((name, None))
        else:
            words.append(word)
    _command(found, words)
    for option, text in given:
        _option(found, option, text)
    return found


_HELP = "--help shows the commands and their options."


def shown(word: str) -> str:
    """Repeat a word of the command line, unless it looks like the URL that was meant for another place."""
    return "a database URL" if "://" in word or "@" in word or "password" in word else word


def _takes_value(name: str) -> bool:
    return any(name in options and options[name][0] for options in (COMMON, *OPTIONS.values()))


def _command(found: Arguments, words: list[str]) -> None:
    if not words:
        if not found.help:
            raise UsageError("no command was given: {}".format(", ".join(COMMANDS)), advice=_HELP)
        return
    if words[0] == "migrations" and words[1:]:  # `migrations test` and `test` are one command
        words = words[1:]
    found.command = words[0]
    if found.command not in COMMANDS:
        raise UsageError(f"unknown command {shown(words[0])}", advice=_near(words[0], list(COMMANDS)))
    wanted = POSITIONALS[found.command]
    if len(words) - 1 < len(wanted) and not found.help:
        raise UsageError("{} needs {}".format(found.command, " ".join(wanted)), advice=_HELP)
    if wanted == ("DESCRIPTION",):
        words = [words[0], " ".join(words[1:])]
    if len(words) - 1 > len(wanted):
        raise UsageError(f"{found.command} does not take {shown(words[len(wanted) + 1])}", advice=_HELP)
    if len(words) > 1:
        found.file = _file_name(words[1]) if wanted == ("FILE",) else words[1]


def _option(found: Arguments, name: str, value: str | None) -> None:
    options = dict(COMMON)
    options.update(OPTIONS.get(found.command, {}))
    if name not in options:
        # The value is not repeated: it may be a URL behind a misspelt option.
        raise UsageError(
            "{} is not an option of {}".format(name, found.command or "this program"),
            advice=_near(name, list(options)),
        )
    label, read, _ = options[name]
    if not label:
        if value is not None:
            raise UsageError(f"{name} takes no value", advice=_HELP)
        found.put(name, True)
        return
    try:
        found.put(name, read(value or ""))
    except ValueError:
        raise UsageError(f"{name} needs {label}, not {shown(value or repr(''))}", advice=_HELP) from None


def _near(word: str, words: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {near[0]}?" if near else _HELP
