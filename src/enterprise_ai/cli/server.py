"""`enterprise-ai server …`: the embedded PostgreSQL by hand.

Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 the server cannot be started or reached.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enterprise_ai.embedded import EmbeddedServer

DONE, FAILED, USAGE, NOT_RUNNING, CANNOT_START = 0, 1, 2, 3, 4


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `server` and its commands; each sets `func`, which takes the arguments and gives the exit code."""
    server = subparsers.add_parser(
        "server",
        help="start, stop and inspect the embedded PostgreSQL",
        description="The private PostgreSQL that is used when no DATABASE_URL is set.",
    )
    commands = server.add_subparsers(dest="server_command", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the server's folder (default: EMBEDDED_PG_ROOT, else the platform's place for user data)",
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text.capitalize() + ".", parents=[common])

    command("start", "start the server and keep it running until `server stop`").set_defaults(func=_start)
    command("stop", "stop the server").set_defaults(func=_stop)
    status = command("status", "show whether the server runs, what it is and where its files are")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.set_defaults(func=_status)
    command("url", "print the URL of the database").set_defaults(func=_url)
    psql = command("psql", "open psql on the database; the server is started for it when it does not run")
    psql.add_argument("arguments", nargs="*", metavar="-- ARG", help="handed to psql")
    psql.set_defaults(func=_psql)
    destroy = command("destroy", "stop the server and delete all its data")
    destroy.add_argument("--yes", action="store_true", help="do not ask")
    destroy.set_defaults(func=_destroy)


def _start(args: argparse.Namespace) -> int:
    from enterprise_ai.embedded import EmbeddedError

    try:
        server = _server(args)
        started = server.start()
        server.ensure_database()
    except EmbeddedError as error:
        return _fail(error, CANNOT_START)
    status = server.status()
    print(
        f"PostgreSQL {status.version} {'started' if started else 'runs already'}; data in {status.data_dir}"
    )
    if status.uuid_ossp_stand_in:
        print("uuid-ossp is a stand-in in SQL: this build of PostgreSQL comes without it.")
    print(f"It runs until:  {_again(args, 'stop')}")
    print(f"Connect with:   {_again(args, 'psql')}")
    print(f'      or with:  psql "{server.url()}"')
    return DONE


def _stop(args: argparse.Namespace) -> int:
    from enterprise_ai.embedded import EmbeddedError

    try:
        stopped = _server(args).stop()
    except EmbeddedError as error:
        return _fail(error, FAILED)
    print("Stopped." if stopped else "It was not running.")
    return DONE


def _status(args: argparse.Namespace) -> int:
    from enterprise_ai.embedded import EmbeddedError

    try:
        server = _server(args)
        status = server.status()
    except EmbeddedError as error:
        return _fail(error, FAILED)
    if args.json:
        facts = {**asdict(status), "url": server.url()}
        print(
            json.dumps({name: str(fact) if isinstance(fact, Path) else fact for name, fact in facts.items()})
        )
        return DONE if status.running else NOT_RUNNING
    rows = {
        "state": status.state + (", kept running until `server stop`" if status.kept else ""),
        "version": status.version,
        "process": status.pid,
        "data": status.data_dir,
        "sockets": status.socket_dir,
        "programs": status.bindir,
        "uuid-ossp": {None: None, True: "a stand-in in SQL", False: "PostgreSQL's own"}[
            status.uuid_ossp_stand_in
        ],
        "log": status.log_path,
        "url": server.url(),
    }
    for name, fact in rows.items():
        if fact is not None:
            print(f"{name:10} {fact}")
    return DONE if status.running else NOT_RUNNING


def _url(args: argparse.Namespace) -> int:
    from enterprise_ai.embedded import EmbeddedError

    try:
        server = _server(args)
        status = server.status()
    except EmbeddedError as error:
        return _fail(error, FAILED)
    print(server.url())
    if status.running:
        return DONE
    print(f"The server is not running. Start it with: {_again(args, 'start')}", file=sys.stderr)
    return NOT_RUNNING


def _psql(args: argparse.Namespace) -> int:
    """Run psql under a lease, so that nobody stops the server while it is open."""
    from enterprise_ai.embedded import EmbeddedError

    try:
        with _server(args).lease() as server:
            bindir = server.status().bindir
            program = shutil.which("psql", path=str(bindir)) or shutil.which("psql")
            if program is None:
                print(
                    f"There is no psql in {bindir} or on PATH. Install PostgreSQL's client programs "
                    "(Debian, Ubuntu: apt-get install postgresql-client), or use another client with: "
                    f"{server.url()}",
                    file=sys.stderr,
                )
                return FAILED
            return _run_in_foreground([program, *args.arguments], server.environment())
    except EmbeddedError as error:
        return _fail(error, CANNOT_START)


def _destroy(args: argparse.Namespace) -> int:
    from enterprise_ai.embedded import EmbeddedError

    try:
        server = _server(args)
        if not args.yes:
            if not sys.stdin.isatty():
                print(f"Deleting {server.root} needs a confirmation: add --yes.", file=sys.stderr)
                return USAGE
            print(f"Delete the server in {server.root} and all its data? [y/N] ", end="", flush=True)
            if sys.stdin.readline().strip().lower() != "y":
                print("Nothing was deleted.")
                return FAILED
        destroyed = server.destroy()
    except EmbeddedError as error:
        return _fail(error, FAILED)
    print(f"Deleted {server.root}." if destroyed else f"There is no server in {server.root}.")
    return DONE


def _run_in_foreground(words: list[str], environment: dict[str, str]) -> int:
    """Run a program that has the terminal to itself: Ctrl-C is its business, not ours."""
    with subprocess.Popen(words, env=environment) as program:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return program.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def _server(args: argparse.Namespace) -> EmbeddedServer:
    from enterprise_ai.embedded import EmbeddedServer

    return EmbeddedServer(args.data_dir)


def _again(args: argparse.Namespace, command: str) -> str:
    """Return the command line for the same folder."""
    folder = ["--data-dir", str(args.data_dir)] if args.data_dir else []
    return shlex.join(["enterprise-ai", "server", command, *folder])


def _fail(error: Exception, code: int) -> int:
    print(error, file=sys.stderr)
    return code
