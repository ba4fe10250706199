"""Fixtures for the embedded server's tests: a folder of one's own, agents in it, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enterprise_ai.embedded import EmbeddedServer
from tests.embedded.actors import Actor, group_of, python_for, stage, system_has_a_server, unprivileged
from tests.servers import bindir_of, new_folder


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_outside(request: pytest.FixtureRequest) -> Iterator[None]:
    """The developer's own settings decide nothing here; only `--pg` chooses another major than the machine's."""
    major = request.config.getoption("--pg") or os.environ.get("TEST_PG")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "EMBEDDED_PG_USER", "EMBEDDED_PG_ROOT", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        if major:
            patch.setenv("EMBEDDED_PG_BINDIR", str(bindir_of(int(major))))
        else:
            patch.delenv("EMBEDDED_PG_BINDIR", raising=False)
        yield


@pytest.fixture(scope="session")
def lib() -> Iterator[Path]:
    """The package, the driver and the agent where every account can read them."""
    folder = new_program_folder("lib")
    stage(folder / "lib")
    yield folder / "lib"
    shutil.rmtree(folder)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder that every account can pass through; pytest's own is closed to all but us."""
    runs_programs = "programs" in request.fixturenames or not system_has_a_server()
    folder = (new_program_folder if runs_programs else new_folder)("test")
    yield folder
    monkeypatch.undo()
    for lock in list(folder.rglob("start.lock")):
        if lock.parent.stat().st_uid == os.geteuid():
            EmbeddedServer(lock.parent).destroy()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """The data of a stopped server, to copy: making it anew for each test would take most of the time."""
    folder = (new_folder if system_has_a_server() else new_program_folder)("template")
    server = EmbeddedServer(folder / "pg", fast=True)
    with server.lease():
        pass
    yield folder / "pg" / "data"
    server.destroy()
    folder.rmdir()


@pytest.fixture
def programs() -> None:
    """For tests whose folder holds programs that are run."""


@pytest.fixture
def fresh() -> None:
    """For tests of the very first start: their folder is not there yet."""


@pytest.fixture
def root(place: Path, request: pytest.FixtureRequest) -> Path:
    """Where the server of the test lives, stopped; its owner is the account that the test asks for."""
    root = place / "pg"
    if "fresh" not in request.fixturenames:
        root.mkdir(mode=0o700)
        (root / "start.lock").touch()
        template = request.getfixturevalue("template")
        subprocess.run(["cp", "-a", template, root], check=True)
        user = request.getfixturevalue("account") if "account" in request.fixturenames else None
        if user is not None:
            for path in (root, root / "start.lock"):
                os.chown(path, user, group_of(user))
        runtime = template.with_name("runtime")
        if runtime.exists():  # programs of the wheel, too many to copy where that is not asked for
            subprocess.run(["cp", "-a" if user is not None else "-al", runtime, root], check=True)
            if user is not None:
                subprocess.run(["chown", "-R", f"{user}:{group_of(user)}", root / "runtime"], check=True)
    return root


@pytest.fixture
def server(root: Path) -> EmbeddedServer:
    return EmbeddedServer(root, fast=True)


@pytest.fixture(params=["ourselves", "somebody else"])
def account(request: pytest.FixtureRequest) -> int | None:
    """Who runs the agents: the caller of pytest, and (which takes root) an ordinary user."""
    if request.param == "ourselves":
        return None
    if os.geteuid() != 0:
        pytest.skip("needs root: becomes another account")
    return unprivileged().pw_uid


@pytest.fixture
def agents(root: Path, lib: Path) -> Iterator[Callable[..., Actor]]:
    """Make agents; those still there at the end are killed, and their server is removed by its owner."""
    made: list[Actor] = []

    def make(user: int | None = None, *, fast: bool = True, at: Path = root, **world: object) -> Actor:
        python = sys.executable if user is None else python_for(user, lib)
        if user is not None and not at.exists():  # in a folder of root's the account cannot make its own
            at.mkdir(mode=0o700)
            os.chown(at, user, group_of(user))
        made.append(Actor(at, lib, python=python, user=user, fast=fast, world=world))
        return made[-1]

    yield make
    for actor in made:
        actor.kill()
    lock = root / "start.lock"
    if lock.exists() and lock.stat().st_uid != os.geteuid():
        remover = make(lock.stat().st_uid)
        remover.destroy()
        remover.end()


def new_program_folder(name: str) -> Path:
    """A folder that programs can be run from: memory file systems often forbid it."""
    folder = Path(tempfile.mkdtemp(prefix=f"enterprise-ai-{name}-", dir="/tmp"))
    folder.chmod(0o711)
    return folder
