"""How each migration runner wants its files, how it is called, and how it is installed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from migrate_files import ROOT, Migration

TOOLS = Path(__file__).resolve().parent / "tools"
NODE = TOOLS / "node" / "node_modules"


class Runner:
    """A migration runner; what it inherits from here is: files `00001_name.sql` in `migrations/`."""

    name = ""
    program: Path  # its presence says that the runner is installed
    history = ""  # SQL that counts its records

    @property
    def slug(self) -> str:
        """The name, fit for a folder or database."""
        return self.name.replace("-", "_").replace(" ", "_")

    def installed(self) -> bool:
        return self.program.exists()

    def folder(self, project: Path) -> Path:
        return project / "migrations"

    def file(self, one: Migration) -> str:
        return f"{one.number:05d}_{one.name}.sql"

    def text(self, one: Migration) -> str:
        return one.sql

    def write(self, project: Path, migrations: list[Migration], url: str) -> None:
        """Lay out a project directory anew."""
        shutil.rmtree(project, ignore_errors=True)
        self.folder(project).mkdir(parents=True)
        for one in migrations:
            (self.folder(project) / self.file(one)).write_text(self.text(one), encoding="utf-8", newline="")
        self.configure(project, migrations, url)

    def configure(self, project: Path, migrations: list[Migration], url: str) -> None:
        """Write what the runner needs besides the files."""

    def up(self, project: Path, url: str) -> list[str]:
        """The command that brings the database up to date."""
        raise NotImplementedError

    def status(self, project: Path, url: str) -> list[str] | None:
        """The command that tells what is applied, if there is one."""
        return None


def _psql(url: str) -> list[str]:
    return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]


class PsqlOnce(Runner):
    """One psql, one transaction around all files: the baseline, which keeps no history."""

    name = "psql -1"
    program = Path(shutil.which("psql") or "/usr/bin/psql")

    def up(self, project, url):
        files = sorted(self.folder(project).iterdir())
        return [*_psql(url), "-1", *(word for file in files for word in ("-f", str(file)))]


class PsqlEach(Runner):
    """One psql, and a transaction with one history row for each file: the least that a runner must do."""

    name = "psql-each"
    program = PsqlOnce.program
    history = "select count(*) from history"

    def configure(self, project, migrations, url):
        lines = ["create table history (id int primary key, name text, at timestamptz default now());"]
        for one in migrations:
            begin, commit = ("begin;", "commit;") if one.transaction else ("", "")
            path = self.folder(project) / self.file(one)
            record = f"insert into public.history (id, name) values ({one.number}, '{one.name}');"
            lines += [begin, f"\\i {path}", record, commit]
        (project / "all.psql").write_text("\n".join(lines) + "\n")

    def up(self, project, url):
        return [*_psql(url), "-f", str(project / "all.psql")]

    def status(self, project, url):
        return [*_psql(url), "-At", "-c", "select * from history order by id"]


class Ours(Runner):
    """This project's engine, installed as a wheel into an environment of its own."""

    name = "enterprise-ai"
    program = TOOLS / "ours" / "bin" / "enterprise-ai"
    history = "select count(*) from schema_migrations"

    def text(self, one):
        return one.sql if one.transaction else "-- migrate: no-transaction\n" + one.sql

    def up(self, project, url):
        return self._command("migrate", project, url)

    def status(self, project, url):
        return self._command("status", project, url)

    def _command(self, command, project, url):
        folder = str(self.folder(project))
        return [str(self.program), command, "--database-url", url, "--migrations", folder]


class Dbmate(Runner):
    """dbmate's native binary, without its schema dump."""

    name = "dbmate"
    program = NODE / "@dbmate" / "linux-x64" / "bin" / "dbmate"
    history = "select count(*) from schema_migrations"

    def file(self, one):
        return f"{20240101000000 + one.number}_{one.name}.sql"

    def text(self, one):
        mode = "" if one.transaction else " transaction:false"
        return f"-- migrate:up{mode}\n{one.sql}\n-- migrate:down\n"

    def up(self, project, url):
        return self._command("migrate", project, url)

    def status(self, project, url):
        return self._command("status", project, url)

    def _command(self, command, project, url):
        options = ["--url", url + "?sslmode=disable", "--no-dump-schema"]
        return [str(self.program), *options, "--migrations-dir", str(self.folder(project)), command]


class Sqitch(Runner):
    """Sqitch, whose scripts carry their own BEGIN and COMMIT."""

    name = "sqitch"
    program = Path("/usr/bin/sqitch")
    history = "select count(*) from sqitch.changes"

    def folder(self, project):
        return project / "deploy"

    def text(self, one):
        return f"begin;\n{one.sql}\ncommit;\n" if one.transaction else one.sql

    def configure(self, project, migrations, url):
        (project / "sqitch.conf").write_text(
            "[core]\n\tengine = pg\n[user]\n\tname = B\n\temail = b@example.com\n"
        )
        plan = ["%syntax-version=1.0.0", "%project=bench", ""]
        who = "2024-01-01T00:00:00Z B <b@example.com>"
        plan += [f"{self.file(one)[:-4]} {who} # {one.name}" for one in migrations]
        (project / "sqitch.plan").write_text("\n".join(plan) + "\n")

    def up(self, project, url):
        return [str(self.program), "deploy", "--target", "db:" + url.replace("postgresql", "pg")]

    def status(self, project, url):
        return [str(self.program), "status", "--target", "db:" + url.replace("postgresql", "pg")]


_ALEMBIC_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine(context.config.get_main_option("url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_ALEMBIC_REVISION = '''"""{name}"""
from pathlib import Path
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", {previous!r}, None, None
def upgrade():
    text = Path({path!r}).read_text()
    {run}
def downgrade():
    pass
'''


class Alembic(Runner):
    """Alembic with plain SQL revisions, one transaction each."""

    name = "alembic"
    program = TOOLS / "alembic" / "bin" / "alembic"
    history = "select max(version_num)::int from alembic_version"

    def folder(self, project):
        return project / "sql"

    def configure(self, project, migrations, url):
        url = url.replace("postgresql:", "postgresql+psycopg2:")
        (project / "alembic.ini").write_text(f"[alembic]\nscript_location = {project}\nurl = {url}\n")
        (project / "env.py").write_text(_ALEMBIC_ENV)
        (project / "versions").mkdir()
        run = "op.get_bind().exec_driver_sql(text)"
        previous = None
        for one in migrations:
            revision = f"{one.number:05d}"
            text = _ALEMBIC_REVISION.format(
                name=one.name,
                revision=revision,
                previous=previous,
                path=str(self.folder(project) / self.file(one)),
                run=run if one.transaction else f"with op.get_context().autocommit_block():\n        {run}",
            )
            (project / "versions" / f"{revision}_{one.name}.py").write_text(text)
            previous = revision

    def up(self, project, url):
        return [str(self.program), "-c", str(project / "alembic.ini"), "upgrade", "head"]

    def status(self, project, url):
        return [str(self.program), "-c", str(project / "alembic.ini"), "current"]


class Yoyo(Runner):
    """yoyo-migrations."""

    name = "yoyo"
    program = TOOLS / "yoyo" / "bin" / "yoyo"
    history = "select count(*) from _yoyo_migration"

    def text(self, one):
        return one.sql if one.transaction else "-- transactional: false\n" + one.sql

    def up(self, project, url):
        return [
            str(self.program),
            "apply",
            "--batch",
            "--no-config-file",
            "-d",
            url,
            str(self.folder(project)),
        ]

    def status(self, project, url):
        return [str(self.program), "list", "--no-config-file", "-d", url, str(self.folder(project))]


class NodePgMigrate(Runner):
    """node-pg-migrate, one transaction for each file."""

    name = "node-pg-migrate"
    program = NODE / "node-pg-migrate" / "bin" / "node-pg-migrate.js"
    history = "select count(*) from pgmigrations"

    def file(self, one):
        return f"{1700000000000 + one.number}_{one.name}." + ("sql" if one.transaction else "js")

    def text(self, one):
        if one.transaction:
            return f"-- Up Migration\n{one.sql}\n-- Down Migration\n"
        call = f"pgm.noTransaction(); pgm.sql({json.dumps(one.sql)});"
        return f"export const up = (pgm) => {{ {call} }};\nexport const down = false;\n"

    def configure(self, project, migrations, url):
        (project / "package.json").write_text('{"type": "module"}')

    def up(self, project, url):
        return self._command(project, "--no-single-transaction")

    def status(self, project, url):
        return self._command(project, "--dry-run")

    def _command(self, project, option):
        return ["node", str(self.program), "up", "-m", str(self.folder(project)), option]


class Graphile(Runner):
    """graphile-migrate."""

    name = "graphile-migrate"
    program = NODE / "graphile-migrate" / "dist" / "cli.js"
    history = "select count(*) from graphile_migrate.migrations"

    def folder(self, project):
        return project / "migrations" / "committed"

    def file(self, one):
        return f"{one.number:06d}-{one.name}.sql"

    def write(self, project, migrations, url):
        """Chain the files by their hashes, as the tool's own `commit` does."""
        previous, chained = "", []
        for one in migrations:
            body = (("" if one.transaction else "--! no-transaction\n") + one.sql).strip()
            digest = hashlib.sha1(((previous + "\n" + body).strip() + "\n").encode()).hexdigest()
            head = f"--! Previous: {previous or '-'}\n--! Hash: sha1:{digest}\n\n"
            chained.append(one._replace(sql=head + body + "\n"))
            previous = "sha1:" + digest
        super().write(project, chained, url)

    def configure(self, project, migrations, url):
        (project / "migrations" / "current.sql").write_text("")
        root = url.rsplit("/", 1)[0] + "/postgres"
        settings = {
            "connectionString": url,
            "rootConnectionString": root,
            "shadowConnectionString": url + "_shadow",
        }
        (project / ".gmrc").write_text(json.dumps({**settings, "pgSettings": {}}))

    def up(self, project, url):
        return ["node", str(self.program), "migrate"]

    def status(self, project, url):
        return ["node", str(self.program), "status"]


RUNNERS: list[Runner] = [
    PsqlOnce(),
    PsqlEach(),
    Ours(),
    Dbmate(),
    Sqitch(),
    Alembic(),
    Yoyo(),
    NodePgMigrate(),
]
RUNNERS.append(Graphile())


def install() -> None:
    """Install what can be had by name: from PyPI and npm into `tools/`; Sqitch comes from the distribution."""
    for name, packages in (
        ("ours", [str(ROOT)]),
        ("alembic", ["alembic", "psycopg2-binary"]),
        ("yoyo", ["yoyo-migrations", "psycopg2-binary", "setuptools"]),
    ):
        if not (TOOLS / name / "bin" / "pip").exists():
            _call([sys.executable, "-m", "venv", str(TOOLS / name)])
        # The one that comes with the interpreter makes console scripts that load `re`; today's does not.
        _call([str(TOOLS / name / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade", "pip"])
        _call([str(TOOLS / name / "bin" / "pip"), "install", "--quiet", *packages])
    node = TOOLS / "node"
    node.mkdir(parents=True, exist_ok=True)
    _call(
        [
            "npm",
            "install",
            "--silent",
            "--prefix",
            str(node),
            "dbmate",
            "graphile-migrate",
            "node-pg-migrate",
            "pg",
        ]
    )
    if not Sqitch().installed():
        print("sqitch is left out: apt-get install sqitch libdbd-pg-perl", file=sys.stderr)


def reinstall_ours() -> None:
    """Build this checkout anew and install it, compiled, as a user's `pip install` would."""
    python = TOOLS / "ours" / "bin" / "python"
    force = ["--force-reinstall", "--no-deps"]
    _call([str(python), "-m", "pip", "install", "--quiet", "--compile", *force, str(ROOT)])


def _call(argv: list[str]) -> None:
    subprocess.run(argv, check=True)
