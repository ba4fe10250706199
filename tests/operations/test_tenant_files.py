"""A tenant exported and imported elsewhere is the same to the byte; what was tampered with is not taken."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil

import psycopg
import pytest

from enterprise_ai.cli import main
from enterprise_ai.operations import tenant_export
from enterprise_ai.operations.tenant_export import export_tenant
from enterprise_ai.operations.tenant_files import LEFT_OUT, TenantFilesError
from enterprise_ai.operations.tenant_import import import_tenant
from tests.conftest import new_database
from tests.rows import Generator

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
ODD = 'comma, "quote", new\nline, back\\slash, \\N, é, 🦀'


@pytest.fixture(scope="module")
def exported(server, superuser, migrator, template, tmp_path_factory):
    """(folder, tenant id, name of the database) of a tenant with a row in every table."""
    with new_database(superuser, migrator, template) as name:
        with psycopg.connect(server.url(name)) as conn:
            tenant_id, other = (
                conn.execute("select identity.create_tenant(%s, 'X')", [slug]).fetchone()[0]
                for slug in ("moving", "staying")
            )
            conn.execute("insert into authz.permissions (id, resource_type, action, description) values (9001, 'document', 'frobnicate', 'x')")  # fmt: skip
            conn.execute("set search_path = pg_catalog")
            generator = Generator(conn)
            for one in (other, tenant_id):
                conn.execute(CONTEXT, [one])
                generator.add_row("identity.users", one)
                for (table,) in conn.execute("select name::text from identity._tenant_tables()").fetchall():
                    if table not in LEFT_OUT:
                        generator.ensure_row(table, one)
            fill(conn, tenant_id)
            conn.commit()
        folder = tmp_path_factory.mktemp("export") / "moving"
        with psycopg.connect(server.url(name, migrator)) as conn:
            export_tenant(conn, "moving", folder)
        yield folder, tenant_id, name


def fill(conn, tenant_id):
    """What is hard to carry: odd texts, trees whose children are older than their parents, months long past."""
    user = conn.execute(
        "select min(id::text) from identity.users where tenant_id = %s", [tenant_id]
    ).fetchone()[0]
    conn.execute(
        "update identity.users set display_name = %s where tenant_id = %s and id = %s", [ODD, tenant_id, user]
    )
    conn.execute("insert into authz.user_permissions (tenant_id, user_id, permission_id) values (%s, %s, 9001)", [tenant_id, user])  # fmt: skip
    make = "insert into authz.resources (tenant_id, resource_type, parent_id) values (%s, 'document', %s) returning id"
    old, new = (conn.execute(make, [tenant_id, None]).fetchone()[0] for _ in range(2))
    conn.execute(
        "update authz.resources set parent_id = %s where tenant_id = %s and id = %s", [new, tenant_id, old]
    )
    conn.execute("select platform.ensure_partitions('llm.llm_usage_logs', '2024-02-01', '2024-02-01')")
    conn.execute("""
        insert into llm.llm_usage_logs
        select (jsonb_populate_record(u, jsonb_build_object('occurred_at', '2024-02-29 23:59:59.999999+00', 'id', platform.new_id()))).*
        from llm.llm_usage_logs as u where u.tenant_id = %s limit 1""", [tenant_id])  # fmt: skip


CATALOGUES = """
select distinct c.confrelid::regclass::text,
       (select string_agg(quote_ident(a.attname), ', ') from pg_attribute as a
        where a.attrelid = c.confrelid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '')
from pg_constraint as c
where c.contype = 'f' and c.conrelid in (select name from identity._tenant_tables())
  and c.confrelid not in (select name from identity._tenant_tables())
  and c.confrelid <> all ('{identity.tenants,authz.permissions}'::regclass[])
"""


@pytest.fixture
def elsewhere(exported, server, superuser, migrator, template):
    """The URL of another installation with the same catalogues, which numbers the same permission differently."""
    with new_database(superuser, migrator, template) as name:
        with psycopg.connect(server.url(name)) as conn, psycopg.connect(server.url(exported[2])) as source:
            conn.execute("set session_replication_role = replica")
            for table, columns in source.execute(CATALOGUES).fetchall():
                conn.execute(f"create temporary table copied as select {columns} from {table} limit 0")
                query = f"copy (select {columns} from {table}) to stdout"
                with source.cursor().copy(query) as out, conn.cursor().copy("copy copied from stdin") as into:
                    for block in out:
                        into.write(block)
                conn.execute(f"insert into {table} ({columns}) select * from copied on conflict do nothing")
                conn.execute("drop table copied")
            conn.execute("reset session_replication_role")
            conn.execute("insert into authz.permissions (id, resource_type, action, description) values (9077, 'document', 'frobnicate', 'x')")  # fmt: skip
        yield server.url(name, migrator)


def hashes(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return {file["name"]: file["sha256"] for file in manifest["tables"]}


def groups(folder):
    with (folder / "data" / "identity.groups.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "updated_at"}
            for row in csv.DictReader(file)
        ]


def test_what_was_imported_is_what_was_exported(exported, elsewhere, server, tmp_path):
    folder, tenant_id, _ = exported
    with psycopg.connect(elsewhere) as conn:
        imported = import_tenant(conn, folder)
        conn.rollback()
        export_tenant(conn, tenant_id, tmp_path / "again")
    before, after = hashes(folder), hashes(tmp_path / "again")
    # A group counts as changed when its members come in.
    assert {name for name in before if before[name] != after[name]} <= {"identity.groups"}
    assert groups(tmp_path / "again") == groups(folder)
    assert imported.rows["identity.users"] == 2
    with psycopg.connect(elsewhere) as conn:
        conn.execute(CONTEXT, [tenant_id])
        assert conn.execute(
            "select count(*) from identity.users where display_name = %s", [ODD]
        ).fetchone() == (1,)
        assert conn.execute("select permission_id from authz.user_permissions where permission_id > 9000").fetchall() == [(9077,)]  # fmt: skip
        # What is derived came about again: rights are in force, quotas are counted.
        assert conn.execute("select sum(used) from identity.quota_slots where key = 'limits.users_per_tenant'").fetchone() == (2,)  # fmt: skip
        assert conn.execute("select count(*) > 2 from authz.holders").fetchone() == (True,)


def test_every_table_of_tenants_is_in_the_files_or_left_out_for_a_reason(exported, server, migrator):
    folder, _, name = exported
    with psycopg.connect(server.url(name, migrator)) as conn:
        conn.execute("set local search_path = pg_catalog")
        all_tables = {row[0] for row in conn.execute("select name::text from identity._tenant_tables()")}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {file["name"] for file in manifest["tables"]} | set(LEFT_OUT) == all_tables
    empty = {file["name"] for file in manifest["tables"] if not file["rows"]}
    assert not empty  # so that the round trip says something of each
    assert len(manifest["tables"]) > 70


def test_only_its_owner_can_read_an_export(exported):
    folder = exported[0]
    assert (folder.stat().st_mode & 0o777, (folder / "data").stat().st_mode & 0o777) == (0o700, 0o700)
    assert all(
        path.stat().st_mode & 0o777 == 0o600 for path in (*folder.glob("*.json"), *folder.glob("data/*"))
    )


def test_nobody_elses_row_is_in_it(exported):
    folder, tenant_id, _ = exported
    for path in (folder / "data").iterdir():
        with path.open(newline="") as file:
            assert {row["tenant_id"] for row in csv.DictReader(file)} <= {str(tenant_id)}, path


def nothing_of(url, tenant_id):
    with psycopg.connect(url) as conn:
        conn.execute(CONTEXT, [tenant_id])
        return conn.execute(
            "select (select count(*) from identity.tenant_directory where tenant_id = %s), (select count(*) from identity.users)",
            [tenant_id],
        ).fetchone() == (0, 0)


def rewritten(folder, copy, table, change):
    """A copy of the export in which a file was changed and the manifest made to fit."""
    shutil.copytree(folder, copy)
    path = copy / "data" / f"{table}.csv"
    path.write_bytes(change(path.read_bytes()))
    manifest = json.loads((copy / "manifest.json").read_text())
    for file in manifest["tables"]:
        if file["name"] == table:
            file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_what_was_tampered_with_is_refused(exported, elsewhere, tmp_path):
    folder, tenant_id, _ = exported
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    with (changed / "data" / "identity.users.csv").open("ab") as file:
        file.write(b"x")
    lost = tmp_path / "lost"
    shutil.copytree(folder, lost)
    (lost / "data" / "authz.roles.csv").unlink()
    stranger = rewritten(
        folder, tmp_path / "stranger", "identity.users",
        lambda text: text.replace(str(tenant_id).encode(), b"01980000-0000-7000-8000-000000000001"),
    )  # fmt: skip
    fewer = rewritten(
        folder, tmp_path / "fewer", "platform.tenant_settings", lambda text: text.splitlines(True)[0]
    )
    unknown = rewritten(
        folder, tmp_path / "unknown", "authz.user_permissions",
        lambda text: text.replace(b"document.frobnicate", b"document.defenestrate"),
    )  # fmt: skip
    wrong = rewritten(folder, tmp_path / "wrong", "identity.users", lambda text: text.replace(b"@", b" "))
    none, noise = tmp_path / "none", tmp_path / "noise"
    none.mkdir(), noise.mkdir()
    (noise / "manifest.json").write_text("[1]")
    for broken, said in (
        (changed, "hash differs"), (lost, "missing"), (stranger, "rows of other tenants"), (fewer, "0 rows and not 1"),
        (unknown, "no document.defenestrate"), (wrong, "users_email_has_a_domain"), (none, "broke off"), (noise, "not a manifest"),
    ):  # fmt: skip
        with psycopg.connect(elsewhere) as conn, pytest.raises(TenantFilesError, match=said):
            import_tenant(conn, broken)
    assert nothing_of(elsewhere, tenant_id)


def test_paths_in_a_manifest_lead_nowhere(exported, elsewhere, tmp_path):
    evil = tmp_path / "evil"
    shutil.copytree(exported[0], evil)
    manifest = json.loads((evil / "manifest.json").read_text())
    manifest["tables"].append({"name": "../../../etc/passwd", "sha256": "", "rows": 0, "columns": []})
    (evil / "manifest.json").write_text(json.dumps(manifest))
    with psycopg.connect(elsewhere) as conn, pytest.raises(TenantFilesError, match="missing"):
        import_tenant(conn, evil)


def test_what_is_there_already_is_refused(exported, elsewhere, server, migrator, superuser, template):
    folder, tenant_id, name = exported
    with (
        psycopg.connect(server.url(name, migrator)) as conn,
        pytest.raises(TenantFilesError, match="slug moving"),
    ):
        import_tenant(conn, folder)
    with (
        psycopg.connect(server.url(name, migrator)) as conn,
        pytest.raises(TenantFilesError, match=str(tenant_id)),
    ):
        import_tenant(conn, folder, slug="another")
    with psycopg.connect(elsewhere) as conn:
        conn.execute("select identity.create_tenant('moving', 'In the way')")
        conn.commit()
        with pytest.raises(TenantFilesError, match="slug moving"):
            import_tenant(conn, folder)
        conn.rollback()
        assert import_tenant(conn, folder, slug="moved").slug == "moved"


def test_other_migrations_other_tables(exported, elsewhere, tmp_path):
    folder = exported[0]
    with psycopg.connect(elsewhere) as conn:
        conn.execute("alter table identity.users add column later text")
        with pytest.raises(TenantFilesError, match=r"identity\.users"), conn.transaction():
            import_tenant(conn, folder)
        conn.execute("insert into schema_migrations (migration_name, checksum, execution_time_ms) values ('005_x.sql', repeat('0', 64), 1)")  # fmt: skip
        with pytest.raises(
            TenantFilesError, match=r"up to 004_seed_data\.sql, this database up to 005_x\.sql"
        ):
            import_tenant(conn, folder)
        conn.rollback()


def test_an_export_is_one_snapshot(exported, server, migrator, tmp_path, monkeypatch):
    """Rows written while it runs are in none of its files."""
    _, tenant_id, name = exported
    write, written = tenant_export._write, []
    add = "insert into identity.users (tenant_id, email, display_name) values (%s, 'late@x.test', 'Late') returning id"
    with psycopg.connect(server.url(name), autocommit=True) as writer:

        def write_and_be_disturbed(*arguments):
            if not written:
                written.extend(writer.execute(add, [tenant_id]).fetchone())
            return write(*arguments)

        monkeypatch.setattr(tenant_export, "_write", write_and_be_disturbed)
        with psycopg.connect(server.url(name, migrator)) as conn:
            assert export_tenant(conn, "moving", tmp_path / "snapshot").rows["identity.users"] == 2
        assert writer.execute("delete from identity.users where id = %s returning 1", written).fetchone()


def test_the_command_line(exported, elsewhere, server, migrator, tmp_path, capsys):
    _, tenant_id, name = exported
    url, target = server.url(name, migrator), str(tmp_path / "out")
    assert main(["tenant", "export", "moving", target, "--database-url", url]) == 0
    assert "rows of moving" in capsys.readouterr().out
    assert main(["tenant", "export", "moving", target, "--database-url", url]) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert main(["tenant", "export", "nobody", str(tmp_path / "x"), "--database-url", url]) == 1
    assert "There is no tenant nobody" in capsys.readouterr().err
    assert main(["tenant", "import", target, "--slug", "moved", "--database-url", elsewhere]) == 0
    assert "rows of moved" in capsys.readouterr().out
    assert main(["tenant", "import", target, "--database-url", elsewhere]) == 1
    assert str(tenant_id) in capsys.readouterr().err


def test_who_does_not_own_the_schema_is_told_so(exported, server, superuser, tmp_path):
    superuser.execute("do $$ begin create role plain login in role enterprise_ai_operator; exception when duplicate_object then null; end $$")  # fmt: skip
    with psycopg.connect(server.url(exported[2], "plain")) as conn:
        with pytest.raises(TenantFilesError, match="owner of the schema"):
            export_tenant(conn, "moving", tmp_path / "x")
        conn.rollback()
        with pytest.raises(TenantFilesError, match="owner of the schema"):
            import_tenant(conn, exported[0], slug="new")
    assert not (tmp_path / "x" / "manifest.json").exists()
