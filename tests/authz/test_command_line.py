"""`enterprise-ai authz`, as an administrator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from uuid import uuid4

import pytest

from enterprise_ai.cli import main
from enterprise_ai.client import connect
from tests.authz.people import House

READ = "document.read"


@pytest.fixture(scope="module")
def house(world):
    with connect(world.server.url(world.name, "app_login")) as client:
        house = House(world, client, "cli")
        house.boss = house.person("super_admin")
        yield house


@pytest.fixture
def run(house, capsys):
    def call(*arguments):
        url = house.world.server.url(house.world.name, "migrator")
        code = main(["authz", *map(str, arguments), "--tenant", "cli", "--database-url", url])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "given.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_check_says_why_and_exits_accordingly(house, run):
    ada, document = house.person("viewer"), house.document()
    assert run("check", ada, READ, document) == (0, "effect  allow\nreason  allow\n", "")
    code, out, _ = run("check", ada, "document.update", document, "--json")
    assert (code, json.loads(out)) == (1, {"effect": "deny", "reason": "deny_default"})
    assert run("check", ada, READ, uuid4())[:2] == (1, "effect  deny\nreason  deny_not_found\n")


def test_what_is_not_there_is_said(house, run):
    ada = house.person("viewer")
    for command in (("check", ada), ("explain", ada), ("who-can",)):
        assert (
            "There is no permission document.raed; perhaps document.read" in run(*command, "document.raed")[2]
        )
    assert run("check", ada, READ, uuid4())[2] == ""
    code, _, err = run("check", "nobody@cli.test", READ)
    assert (code, "There is no user nobody@cli.test" in err, "in the tenant cli" in err) == (1, True, True)


def test_a_gateway_is_told_to_give_the_id_of_the_tenant(house, capsys):
    url = house.world.server.url(house.world.name, "gateway_login")
    code = main(["authz", "check", str(house.boss), READ, "--tenant", "cli", "--database-url", url])
    assert (code, "Give --tenant its id" in capsys.readouterr().err) == (1, True)


def test_an_empty_database_is_told_from_a_broken_one(superuser, capsys, house):
    superuser.execute("create database not_migrated")
    code = main(["authz", "check", "ada", READ, "--database-url", house.world.server.url("not_migrated")])
    assert (code, "enterprise-ai migrate" in capsys.readouterr().err) == (1, True)


def test_no_server_there(capsys):
    code = main(["authz", "check", "ada", READ, "--database-url", "postgresql://127.0.0.1:1/x"])
    err = capsys.readouterr().err
    assert (code, "check host and port." in err, "--wait" in err) == (4, True, False)


def test_an_interruption_says_what_is_left(monkeypatch, capsys, run):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("enterprise_ai.identity.open_for", interrupted)
    code, out, err = run("check", "ada", READ)
    assert (code, out, "has been taken back" in err) == (130, "", True)


def test_a_connection_that_is_ended_says_what_is_left(house, superuser, run, monkeypatch):
    from enterprise_ai.identity import open_for

    def ended(conn, *rest, **more):
        superuser.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        return open_for(conn, *rest, **more)

    monkeypatch.setattr("enterprise_ai.identity.open_for", ended)
    code, out, err = run("check", "ada", READ)
    assert (code, out, "has been taken back" in err, "None" in err) == (1, "", True, False)


def test_nobody_reading_on_is_no_failure(house):
    url = house.world.server.url(house.world.name, "migrator")
    command = [sys.executable, "-m", "enterprise_ai", "authz", "what-can", str(house.boss), "--tenant", "cli"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*command, "--database-url", url], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""


def test_levels_and_facts_are_as_they_are_said(house, run):
    code, out, _ = run("check", house.boss, "role.assign")
    assert (code, "env.authentication_level" in out) == (1, True)
    assert run("check", house.boss, "role.assign", "--level", "2")[0] == 0
    ada = house.person()
    with house.world.owner(house.tenant) as conn:
        conn.execute(
            "insert into authz.user_permissions (tenant_id, user_id, permission_id, condition)"
            " select %s, %s, id, 'strict $.env.risk < 3' from authz.permissions where name = %s",
            [house.tenant.id, ada, READ],
        )
    assert run("check", ada, READ, "--fact", "risk=1")[0] == 0
    assert run("check", ada, READ, "--fact", "risk=high")[0] == 1


def test_explain_names_the_rules(house, run):
    ada = house.person("viewer")
    code, out, _ = run("explain", ada, READ)
    assert (code, "* true: allow by user role viewer" in out) == (0, True)
    code, out, _ = run("explain", ada, READ, "--json")
    assert json.loads(out)["decision"]["reason"] == "allow"


def test_who_can_and_what_can(house, run):
    ada, document = house.person(), house.document()
    with house.as_(house.boss) as tx:
        tx.authz.grants.grant(ada, READ, resource_id=document)
    code, out, _ = run("who-can", READ, document)
    assert code == 0
    people = dict(line.split() for line in out.splitlines())
    assert people[str(ada)].endswith("@cli.test")
    assert set(json.loads(run("who-can", READ, document, "--json")[1])) == set(people)
    assert str(ada) not in run("who-can", READ)[1]
    assert run("who-can", "no.such")[1] == "Nobody.\n"
    assert run("what-can", ada, document)[1] == "document.read\n"
    assert run("what-can", ada)[1] == "Nothing.\n"
    assert READ in json.loads(run("what-can", house.boss, "--json")[1])


def test_diff_shows_what_turns_and_makes_nothing(house, run, file):
    ada = house.person()
    grant = {"do": "grant_permission", "user_id": str(ada), "permission": READ}
    code, out, err = run("diff", file([grant]), "--as", house.boss)
    assert (code, err) == (3, "")
    assert f"deny -> allow  {ada} document.read  (deny_default -> allow)" in out.splitlines()
    assert run("check", ada, READ)[0] == 1
    checks = [{"user_id": str(ada), "permission": "document.update"}]
    code, out, _ = run("diff", file({"changes": [grant], "checks": checks}), "--as", house.boss)
    assert (code, out) == (0, "1 checks, 0 of them turn, 0 changes are refused.\n")
    code, out, _ = run("diff", file([{**grant, "permission": "no.such"}]), "--as", house.boss)
    assert (code, "change 1 is refused: There is no permission no.such (ZA011)" in out) == (1, True)
    for wrong in (
        "{",
        5,
        {"chanes": []},
        {"changes": 5},
        [5],
        {"changes": [], "check": []},
        {"changes": [], "checks": [5]},
    ):
        code, out, err = run("diff", file(wrong), "--as", house.boss)
        assert (code, out, "cannot be read: " in err) == (2, "", True)
    checks = [{"user_id": str(ada), "permission": "document.raed"}]
    err = run("diff", file({"changes": [grant], "checks": checks}), "--as", house.boss)[2]
    assert "There is no permission document.raed; perhaps document.read" in err
    code, _, err = run("diff", file([grant]), "--as", ada)
    assert (code, "It takes permission.read." in err) == (1, True)


def test_test_fails_with_a_test(house, run):
    ada = house.person("viewer")
    assert "There are no policy tests." in run("test", "--as", house.boss)[1]
    with house.as_(house.boss) as tx:
        tx.authz.policies.save_test("ada reads", ada, READ, "allow")
    assert run("test", "--as", house.boss)[0] == 0
    with house.as_(house.boss) as tx:
        tx.authz.policies.save_test("ada does not", ada, READ, "deny")
    code, out, _ = run("test", "--as", house.boss)
    assert (code, out.splitlines()[-1]) == (1, "1 passed, 1 failed.")
    found = json.loads(run("test", "--as", house.boss, "--json")[1])
    assert {test["name"]: test["is_passed"] for test in found} == {"ada reads": True, "ada does not": False}
    with house.as_(house.boss) as tx:
        assert tx.authz.policies.delete_test("ada reads")
        assert tx.authz.policies.delete_test("ada does not")


def test_lint_lists_what_there_is(house, run):
    code, out, _ = run("lint", "--as", house.boss)
    assert (code, "role_unheld" in out) == (0, True)
    bad = [house.person("analyst"), house.person("analyst")]
    with house.as_(house.boss) as tx:
        tx.authz.policies.separate("apart", "static", roles=["analyst", "cost_manager"], enforcement="report")
        for person in bad:
            tx.authz.grants.assign(person, "cost_manager")
    found = json.loads(run("lint", "--as", house.boss, "--json")[1])
    broken = [finding for finding in found if finding["finding"] == "separation_broken"]
    assert len(broken) == 2
    assert run("lint", "--as", house.boss)[0] == int(broken[0]["severity"] == "error")


def test_review_shows_how_far_it_is(house, run):
    ada = house.person("viewer")
    assert run("review")[1] == "There are no such reviews.\n"
    with house.as_(house.boss) as tx:
        due = tx.conn.execute("select now() + interval '1 day'").fetchone()[0]
        review = tx.authz.reviews.open("Q3", house.boss, due_at=due, scope={"user_ids": [str(ada)]})
    out = run("review")[1]
    assert out.startswith(f"{review}  Q3: open, due ")
    assert out.endswith("; 1 of 1 undecided, 0 kept, 0 revoked\n")
    assert json.loads(run("review", "--json")[1])[0]["undecided"] == 1
    with house.as_(house.boss) as tx:
        assert tx.authz.reviews.cancel(review)
    assert run("review")[1] == "There are no such reviews.\n"
    assert "Q3: cancelled" in run("review", "--all")[1]


@pytest.mark.parametrize(
    "arguments",
    [(), ("check", "ada"), ("check", "ada", READ, "no-id"), ("check", "ada", READ, "--fact", "x"), ("diff", "x"),
     ("check", "ada", READ, "--level", "9"), ("check", "ada", READ, "--fact", "ip_address=10.0.0.1"), ("import", "cedar", "x"), ("import", "openfga", "x", "--relation", "y")],
)  # fmt: skip
def test_usage(run, arguments):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
