"""The test's side of `agent.py`: start agents as any account, tell them what to do, kill them."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from enterprise_ai.embedded import discovery

as_root = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="needs root: makes other accounts' folders, or a world with other mounts or processes",
)
DRIVER = ("psycopg", "psycopg_binary", "psycopg_binary.libs", "typing_extensions.py")


class Refused(Exception):
    """The agent's call raised; `kind` is the class of the error."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Actor:
    """A running agent; every verb of `agent.Agent` is a method here."""

    def __init__(
        self, root: Path, lib: Path, *, python: str, user: int | None, fast: bool, world: dict
    ) -> None:
        who = {} if user is None else {"user": user, "group": group_of(user), "extra_groups": []}
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "COV"))}
        self.seconds = 0.0
        self._process = subprocess.Popen(
            [python, str(lib / "agent.py"), str(root), "fast" if fast else "durable", json.dumps(world)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", start_new_session=True,
            env={**environment, "PYTHONPATH": str(lib), "PYTHONDONTWRITEBYTECODE": "1"}, **who,
        )  # fmt: skip

    def tell(self, verb: str, *words: object) -> None:
        """Give the order without waiting for the answer."""
        print(json.dumps([verb, *words]), file=self._process.stdin, flush=True)

    def answer(self) -> object:
        line = self._process.stdout.readline()
        assert line, f"the agent died (exit {self._process.wait()})"
        answer = json.loads(line)
        self.seconds = answer["seconds"]
        if "error" in answer:
            raise Refused(answer["error"], answer["text"])
        return answer["value"]

    def __getattr__(self, verb: str):
        def ask(*words: object) -> object:
            self.tell(verb, *words)
            return self.answer()

        return ask

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def stage(lib: Path) -> None:
    """Copy the package, the driver and the agent to where every account can read them."""
    lib.mkdir(mode=0o755)
    shutil.copy(Path(__file__).with_name("agent.py"), lib)
    package = lib / "enterprise_ai"
    package.mkdir()
    source = Path(importlib.util.find_spec("enterprise_ai").origin).parent
    shutil.copy(source / "__init__.py", package)
    shutil.copytree(source / "embedded", package / "embedded", ignore=shutil.ignore_patterns("__pycache__"))
    site = Path(importlib.util.find_spec("psycopg").origin).parents[1]
    for name in DRIVER:
        if (site / name).is_dir():
            shutil.copytree(site / name, lib / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (site / name).exists():
            shutil.copy(site / name, lib)
    wheel = discovery.wheel_bindir()
    if wheel and not system_has_a_server():
        shutil.copytree(wheel.parents[1], lib / wheel.parents[1].name, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", str(lib)], check=True)


def system_has_a_server() -> bool:
    """False when servers are run from the wheel, of which each keeps a copy beside its data."""
    return any(bindir and (bindir / "initdb").exists() for _, bindir in discovery.candidates())


def unprivileged() -> pwd.struct_passwd:
    """The account that plays the ordinary user."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


def python_for(user: int, lib: Path) -> str:
    """A Python that this account can run, with our package and the driver; else the test is skipped."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", "import enterprise_ai.embedded, psycopg"],
                user=user, group=group_of(user), extra_groups=[], cwd="/", capture_output=True, check=False,
                env={"PYTHONPATH": str(lib), "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip(f"no Python that user {user} can run has a driver that fits")


def group_of(user: int) -> int:
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return user
