"""`enterprise-ai server …` as a user types it."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys

import pytest

from enterprise_ai.cli import server as cli


@pytest.fixture
def run(root, capfd):
    """Run one command on the test's folder; returns exit code, output and errors."""

    def run(command: str, *words: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser(prog="enterprise-ai")
        cli.add_parser(parser.add_subparsers())
        options = parser.parse_args(["server", command, "--data-dir", str(root), *words])
        code = options.func(options)
        return (code, *capfd.readouterr())

    return run


def test_start_status_stop(run, root):
    code, out, _ = run("start")
    assert code == 0
    assert "started; data in" in out
    assert f"enterprise-ai server stop --data-dir {root}" in out
    assert "runs already" in run("start")[1]
    code, out, _ = run("status")
    assert code == 0
    assert "running, kept running until" in out
    assert run("stop")[:2] == (0, "Stopped.\n")
    assert run("stop")[:2] == (0, "It was not running.\n")
    assert run("status")[0] == 3


def test_status_as_json_names_everything(run, root):
    run("start")
    code, out, _ = run("status", "--json")
    status = json.loads(out)
    assert code == 0
    assert (status["state"], status["kept"], status["data_dir"]) == ("running", True, str(root / "data"))
    assert {"version", "pid", "socket_dir", "bindir", "uuid_ossp_stand_in", "log_path", "url"} < set(status)


def test_start_makes_a_dropped_database_again(run):
    run("start")
    run("psql", "--", "-d", "postgres", "-c", "drop database enterprise_ai")
    assert run("start")[0] == 0
    assert run("psql", "--", "-Atc", "select current_database()")[:2] == (0, "enterprise_ai\n")


def test_url_alone_is_printed_whether_it_runs_or_not(run):
    code, out, err = run("url")
    assert (code, out.count("\n")) == (3, 1)
    assert out.startswith("postgresql:///enterprise_ai?host=")
    assert "Start it with" in err
    run("start")
    assert run("url") == (0, out, "")


def test_psql_starts_the_server_for_itself_and_leaves_it_as_found(run):
    assert run("psql", "--", "-Atc", "select 6 * 7")[:2] == (0, "42\n")
    assert "stopped" in run("status")[1]


def test_psql_hands_on_its_exit_code(run):
    code, _, err = run("psql", "--", "-c", "selec")
    assert code == 1
    assert "syntax error" in err


def test_no_psql_is_said_with_the_url(run, monkeypatch):
    monkeypatch.setattr(cli.shutil, "which", lambda *_, **__: None)
    code, _, err = run("psql")
    assert code == 1
    assert "There is no psql" in err
    assert "postgresql:///enterprise_ai" in err


def test_destroy_wants_a_yes(run, root, monkeypatch):
    run("start")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, err = run("destroy")
    assert (code, "add --yes" in err) == (2, True)
    assert (root / "data").exists()
    code, out, _ = run("destroy", "--yes")
    assert (code, out) == (0, f"Deleted {root}.\n")
    assert not root.exists()
    assert run("destroy", "--yes")[:2] == (0, f"There is no server in {root}.\n")


def test_a_failed_start_has_its_own_exit_code(run, monkeypatch, place):
    monkeypatch.setenv("EMBEDDED_PG_BINDIR", str(place))
    code, out, err = run("start")
    assert (code, out) == (4, "")
    assert "not at hand" in err


def test_stop_says_that_somebody_uses_it(run, agents):
    agents().lease()
    code, _, err = run("stop")
    assert code == 1
    assert "is in use (process" in err


def test_a_missing_command_is_a_usage_error(root):
    done = subprocess.run(
        [sys.executable, "-c", "import argparse; from enterprise_ai.cli import server as s\n"
         "p = argparse.ArgumentParser(); s.add_parser(p.add_subparsers()); p.parse_args(['server'])"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "COMMAND" in done.stderr
