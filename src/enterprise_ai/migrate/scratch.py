# ruff: noqa: S608, PTH207, UP022  every name below is quoted by sql.name; pathlib has no place here
"""How a scratch database comes about beside the real one, with its schema and without its data, and goes again."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
import subprocess
from contextlib import contextmanager

from . import sql
from .connection import Connection, Watcher
from .errors import MigrateError, ServerError
from .ledger import stored_text
from .script import Text
from .target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from .batches import Batch
    from .history import History

_PREFIX = "enterprise_ai_scratch_"


@contextmanager
def scratch_database(target: Target) -> Iterator[Target]:
    """Make an empty database on the server of `target`, like its database; drop it at the end."""
    name = _PREFIX + secrets.token_hex(6)
    connection = Connection(target)
    try:
        connection.query(_create(connection, name))
    except ServerError as error:
        raise _cannot(error) from error
    finally:
        connection.close()
    try:
        yield Target(target.url, database=name)
    finally:
        _drop(target, name)


def _create(connection: Connection, name: str) -> str:
    row = connection.query(
        "select pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype from pg_catalog.pg_database "
        "where datname operator(pg_catalog.=) pg_catalog.current_database()"
    )[0]
    encoding, collate, ctype = (sql.quote(one or "") for one in row)
    return (
        f"create database {sql.name(name)} template template0 "
        f"encoding {_literal(encoding)} lc_collate {_literal(collate)} lc_ctype {_literal(ctype)}"
    )


def _literal(quoted: str) -> str:
    """CREATE DATABASE takes only plain string literals on some versions; names of locales hold no quotes."""
    return "'" + quoted.strip("$q").replace("'", "''") + "'"


def _cannot(error: ServerError) -> MigrateError:
    if error.sqlstate == "42501":
        return MigrateError(
            "permission denied: the login may not create a scratch database",
            state="Nothing was changed.",
            advice="As superuser:  ALTER ROLE … CREATEDB;    or name another server with --database-url, or try\n"
            "the files on the database itself:  plan --on-database",
        )
    return MigrateError(
        f"a scratch database could not be made: {error} ({error.sqlstate})", state="Nothing was changed."
    )


def _drop(target: Target, name: str) -> None:
    """Drop it, with whoever is still in it."""
    connection = Connection(target)
    try:
        # DROP DATABASE itself waits some seconds for those who were told to go.
        connection.query(
            "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity "
            f"where datname operator(pg_catalog.=) {sql.quote(name)}"
        )
        connection.query(f"drop database if exists {sql.name(name)}")
    finally:
        connection.close()


def copy_schema(
    source: Connection, target: Target, history: History, scratch: Target, say: Callable[[str], None]
) -> str:
    """Bring the schema of a database into its scratch copy; return how, in words.

    With pg_dump of the server's major or a newer one it is the live schema.  Else the texts of the applied
    migrations run again: the same schema, unless something was changed by hand (or adopted by a baseline).
    """
    program = _pg_dump(source.version // 10000)
    text = _dump(program, target, say) if program is not None else None
    connection = Connection(scratch)
    try:
        if text is not None:
            _load(connection, "the dump of the schema", text)
            return "a copy of the schema, made by pg_dump"
        for row in history.applied:
            stored = stored_text(source, history, row.checksum)
            if stored is None:
                raise MigrateError(
                    f"the schema cannot be copied: the text of {row.name} was not kept, and no pg_dump "
                    f"of PostgreSQL {source.version // 10000} or newer could read it",
                    state="Nothing was changed.",
                    advice="Install the client programs of PostgreSQL, or:  plan --on-database",
                )
            _load(connection, row.name, stored.encode("utf-8"))
        return "a database built anew from the applied migrations"
    finally:
        connection.close()


def _load(connection: Connection, name: str, text: bytes) -> None:
    """Run a text from its first to its last statement; `CONCURRENTLY` and the like are why it is no transaction."""
    connection.query("reset all")
    try:
        for batch in Text(name, text).batches():
            for single in batch.singles():
                _run(connection, single)
    except ServerError as error:
        raise MigrateError(
            f"the scratch copy could not be made: {name}: {error} ({error.sqlstate})",
            state="Nothing was changed; the scratch copy is gone.",
            advice="Try the files on the database itself:  plan --on-database",
        ) from error


def _run(connection: Connection, single: Batch) -> None:
    try:
        connection.run(single.text.encode("utf-8"), Watcher(), single.data)
    except ServerError as error:
        # A newer pg_dump begins with settings that this server does not know.
        if single.statements[0].words[:1] != ("set",) or error.sqlstate != "42704":
            raise


def _pg_dump(major: int) -> str | None:
    """Find a pg_dump that can read this server: of its major, or newer."""
    found = [shutil.which("pg_dump"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_dump"), reverse=True)]
    for path in found:
        if path is None:
            continue
        said = subprocess.run([path, "--version"], stdout=subprocess.PIPE, check=False).stdout.decode()
        number = re.search(r"(\d+)", said)
        if number is not None and int(number.group(1)) >= major:
            return path
    return None


def _dump(program: str, target: Target, say: Callable[[str], None]) -> bytes | None:
    """Dump the schema alone; the password goes through the environment, never through the arguments."""
    words, environment = [], dict(os.environ)
    for key, value in target.options.items():
        if key == "password":
            environment["PGPASSWORD"] = value
        elif key in target.secrets:
            say(
                f"pg_dump could be given {key} only where others read it; the schema is built from the migrations"
            )
            return None
        else:
            words.append("{}='{}'".format(key, value.replace("\\", "\\\\").replace("'", "\\'")))
    if target.database:
        words.append("dbname='{}'".format(target.database.replace("\\", "\\\\").replace("'", "\\'")))
    done = subprocess.run(
        [
            program,
            "--schema-only",
            "--no-owner",
            "--no-comments",
            "--no-publications",
            "--no-subscriptions",
            "--no-tablespaces",
            "--no-password",
            "--exclude-table=*.schema_migrations*",
            "--dbname",
            " ".join(words),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    if done.returncode:
        reason = target.redact(done.stderr.decode("utf-8", "replace").strip()).split("\n")[0]
        say(f"pg_dump could not copy the schema ({reason}); it is built from the applied migrations")
        return None
    return done.stdout
