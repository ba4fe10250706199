"""`enterprise-ai partitions` and `enterprise-ai doctor`, as a person runs them."""

import json

import psycopg
import pytest

from enterprise_ai.cli import main
from enterprise_ai.operations.doctor import examine


@pytest.fixture
def run(database, capsys):
    """Run a command on a migrated database of the test's own; returns (exit code, standard output, standard error)."""

    def call(*arguments):
        code = main([*arguments, "--database-url", database])
        return code, *capsys.readouterr()

    return call


def execute_as_superuser(server, database, statement):
    with psycopg.connect(server.url(psycopg.conninfo.conninfo_to_dict(database)["dbname"])) as conn:
        conn.execute(statement)


def test_a_fresh_database_is_healthy(run):
    assert run("doctor") == (0, "Nothing is wrong.\n", "")


def test_the_url_is_taken_before_the_command_too(database, capsys):
    assert main(["--database-url", database, "doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    ("damage", "check", "says"),
    [
        ("alter table identity.users disable row level security", "isolation", "identity.users"),
        ("alter table llm.conversations no force row level security", "isolation", "llm.conversations"),
        ("grant select on all tables in schema audit_parts to enterprise_ai_auditor", "partitions_reach", "audit_parts"),
        ("drop extension \"uuid-ossp\" cascade", "extensions", "uuid-ossp"),
        ("drop schema platform cascade", "schema", "not there"),
        ("do $$ declare p regclass; begin for p in select partition from platform.partitions('llm.llm_usage_logs')"
         " where starts_at > now() + interval '1 month' loop execute format('drop table %s', p); end loop; end $$",
         "partitions_ahead", "llm.llm_usage_logs"),
        ("alter function authz.evaluate(text, uuid, uuid, jsonb) owner to migrator", "decider", "authz.evaluate"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_to_do(run, server, database, damage, check, says):
    execute_as_superuser(server, database, damage)
    code, out, _ = run("doctor", "--json")
    found = [finding for finding in json.loads(out) if finding["check"] == check]
    assert code == 1
    assert any(says in finding["problem"] for finding in found), out
    assert all(finding["advice"] for finding in found)


def test_who_has_the_rights_of_the_decider_is_named(admin):
    admin.execute("create role heir; grant enterprise_ai_decider to heir")
    (finding,) = [found for found in examine(admin) if found.check == "decider"]
    assert finding.problem.startswith("heir has the rights")
    assert finding.advice.startswith("revoke enterprise_ai_decider from heir;")


def test_the_advice_mends_it(run, server, database):
    execute_as_superuser(server, database, "alter table identity.users disable row level security")
    _, out, _ = run("doctor", "--json")
    execute_as_superuser(server, database, json.loads(out)[0]["advice"])
    assert run("doctor")[0] == 0


def test_partitions_are_listed_and_made(run):
    code, out, _ = run("partitions", "list", "--json")
    assert code == 0
    assert {table["months_ahead"] for table in json.loads(out)} == {12}
    code, out, _ = run("partitions", "maintain", "--months-ahead", "14")
    assert code == 0
    assert out.count(": 2 made") == len(out.splitlines()) >= 5
    assert "nothing missing" in run("partitions", "maintain", "--months-ahead", "14")[1]
    assert "14 months ahead" in run("partitions", "list")[1]


def test_a_database_out_of_reach_is_exit_4_without_the_password(capsys):
    code = main(["doctor", "--database-url", "postgresql://ada:s3cret@127.0.0.1:1/none"])
    out, err = capsys.readouterr()
    assert (code, out) == (4, "")
    assert "cannot connect" in err
    assert "s3cret" not in err


def test_what_the_server_refuses_is_a_sentence(empty_database, capsys):
    code = main(["partitions", "list", "--database-url", empty_database])
    assert code == 1
    assert "enterprise-ai: " in capsys.readouterr().err
