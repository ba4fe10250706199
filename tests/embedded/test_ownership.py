"""Which folders are used, and that nobody can slip us another one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psycopg
import pytest

from enterprise_ai.embedded import EmbeddedError, EmbeddedServer, accounts, paths
from tests.embedded.actors import as_root, unprivileged


@pytest.fixture
def long_root(place: Path) -> Path:
    return place / ("a-name-that-leaves-no-room-for-a-socket-" * 3) / "pg"


def sockets_of(root: Path) -> Path:
    layout = paths.Layout(root)
    return layout.sockets(accounts.server_account(layout.data).uid)


def test_a_long_path_gets_a_short_socket_folder(long_root):
    server = EmbeddedServer(long_root, fast=True)
    with server.lease(), psycopg.connect(server.url()) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
        folder = sockets_of(long_root)
        facts = folder.lstat()
        assert folder.parent == Path("/tmp")
        assert folder.is_dir()
        assert not folder.is_symlink()
        assert (facts.st_mode & 0o777, facts.st_uid) == (0o700, (long_root / "data").stat().st_uid)
    server.destroy()
    assert not folder.exists()


def test_a_path_with_odd_characters_works(place):
    server = EmbeddedServer(place / "it's 100 % odd, é; and so on", fast=True)
    with server.lease(), psycopg.connect(server.url()) as conn:
        assert conn.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("name", ['a"b', "a$b", "a`b", "a\\b", "a\nb"])
def test_a_path_that_a_shell_would_change_is_refused(place, name):
    with pytest.raises(EmbeddedError, match="Choose another --data-dir"):
        EmbeddedServer(place / name)


def test_a_link_in_place_of_the_socket_folder_is_refused(long_root, place):
    victim = place / "victim"
    victim.mkdir(mode=0o755)
    trap = sockets_of(long_root)
    trap.symlink_to(victim)
    try:
        with pytest.raises(EmbeddedError, match=f"{trap} is not a folder of ours"):
            EmbeddedServer(long_root, fast=True).start()
        assert list(victim.iterdir()) == []
        assert victim.stat().st_mode & 0o777 == 0o755
    finally:
        EmbeddedServer(long_root).destroy()
        assert trap.is_symlink()  # not ours to remove
        trap.unlink()


@as_root
def test_a_socket_folder_of_somebody_else_is_refused(long_root):
    trap = sockets_of(long_root)
    trap.mkdir()
    os.chown(trap, 65534 if unprivileged().pw_uid != 65534 else 1, -1)
    try:
        with pytest.raises(EmbeddedError, match="is not a folder of ours"):
            EmbeddedServer(long_root, fast=True).start()
        assert list(trap.iterdir()) == []
    finally:
        shutil.rmtree(trap)
        EmbeddedServer(long_root).destroy()


@pytest.mark.usefixtures("fresh")
def test_a_folder_with_other_things_in_it_is_left_alone(place, root):
    root.mkdir(mode=0o755)
    (root / "thesis.txt").write_text("years of work")
    server = EmbeddedServer(root, fast=True)
    for use in (server.start, server.stop, server.destroy, server.status):
        with pytest.raises(EmbeddedError, match="is not empty and holds no embedded server"):
            use()
    assert [path.name for path in root.iterdir()] == ["thesis.txt"]
    assert root.stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("fresh")
@as_root
def test_a_folder_of_somebody_else_is_left_alone(root):
    root.mkdir()
    os.chown(root, unprivileged().pw_uid, -1)
    server = EmbeddedServer(root)
    for use in (server.start, server.stop, server.destroy, server.status):
        with pytest.raises(EmbeddedError, match="is not a folder of ours"):
            use()
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder_is_said_whatever_is_asked(place):
    closed = place / "closed"
    closed.mkdir(mode=0o000)
    server = EmbeddedServer(closed / "pg")
    for use in (server.start, server.stop, server.destroy, server.status):
        with pytest.raises(EmbeddedError, match="Permission denied"):
            use()
    closed.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_made_is_said():
    with pytest.raises(EmbeddedError, match=r"Cannot create the data folder /proc/.*--data-dir"):
        EmbeddedServer(Path("/proc/enterprise-ai")).start()


@as_root
def test_a_folder_that_the_account_cannot_enter_is_named(place):
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=f"may not enter {closed}\\. Choose a --data-dir"):
        EmbeddedServer(closed / "pg").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_the_umask_does_not_shut_the_account_out(place):
    before = os.umask(0o077)
    try:
        with EmbeddedServer(place / "new" / "pg", fast=True).lease() as server:
            assert server.status().running
    finally:
        os.umask(before)


@as_root
def test_data_stays_with_the_account_that_made_it(root, monkeypatch):
    with EmbeddedServer(root, fast=True).lease():
        pass
    owner = accounts.server_account(root / "data").name
    other = "nobody" if owner != "nobody" else "daemon"
    monkeypatch.setenv("EMBEDDED_PG_USER", other)
    with pytest.raises(EmbeddedError, match=f"belongs to '{owner}', and EMBEDDED_PG_USER says '{other}'"):
        EmbeddedServer(root)


@pytest.mark.usefixtures("fresh")
@as_root
def test_an_account_can_be_asked_for(root, monkeypatch):
    monkeypatch.setenv("EMBEDDED_PG_USER", "nobody")
    with EmbeddedServer(root, fast=True).lease():
        assert (root / "data").stat().st_uid == 65534


@pytest.mark.usefixtures("fresh")
@as_root
def test_an_account_that_does_not_exist_is_said(root, monkeypatch):
    monkeypatch.setenv("EMBEDDED_PG_USER", "no-such-account")
    with pytest.raises(EmbeddedError, match=r"looked for no-such-account. Set EMBEDDED_PG_USER"):
        EmbeddedServer(root)


@as_root
def test_root_follows_no_link_that_the_account_planted(root, place):
    server = EmbeddedServer(root, fast=True)
    victim = place / "victim"
    victim.write_text("first line\nprecious")
    victim.chmod(0o600)
    for name in ("embedded.conf", "pg_ident.conf"):
        (root / "data" / name).unlink()
        (root / "data" / name).symlink_to(victim)
    with server.lease():
        assert server.status().running
    (root / "data" / "postmaster.pid").symlink_to(victim)
    with pytest.raises(EmbeddedError, match=r"Cannot write .*/postmaster.pid: .*Permission denied"):
        server.start()
    assert victim.read_text() == "first line\nprecious"
    copies = [file for file in (root / "data").glob("*") if file.is_file() and not file.is_symlink()]
    assert not any(b"precious" in file.read_bytes() for file in copies)


def test_where_the_data_lies_when_nobody_says(monkeypatch, place):
    monkeypatch.setenv("HOME", str(place))
    if os.geteuid() == 0:
        assert EmbeddedServer().root == Path("/var/lib/enterprise-ai/pg")
    else:
        assert EmbeddedServer().root == place / ".local/share/enterprise-ai/pg"
        monkeypatch.setenv("XDG_DATA_HOME", str(place / "share"))
        assert EmbeddedServer().root == place / "share/enterprise-ai/pg"
    monkeypatch.setenv("EMBEDDED_PG_ROOT", str(place / "named"))
    assert EmbeddedServer().root == place / "named"
    assert EmbeddedServer(place / "asked").root == place / "asked"


def test_a_link_to_the_folder_is_the_same_server(server, root, place):
    with server.lease():
        (place / "link").symlink_to(root)
        other = EmbeddedServer(place / "link", fast=True)
        assert other.url() == server.url()
        assert other.status().pid == server.status().pid
