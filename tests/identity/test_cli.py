"""`enterprise-ai tenant|user|apikey`, as an administrator runs them."""

from __future__ import annotations

import json

import psycopg
import pytest

from enterprise_ai.cli import main
from enterprise_ai.client import connect
from enterprise_ai.identity import redeem
from enterprise_ai.identity.errors import SessionOver


@pytest.fixture
def run(world, capsys):
    """Run a command as a login (the owner unless another is named); returns (exit code, output, error)."""

    def call(*arguments, login="migrator"):
        code = main([*arguments, "--database-url", world.server.url(world.name, login)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def made(run):
    """Run a command that must do and print JSON; returns what it says."""

    def call(*arguments, **options):
        code, out, err = run(*arguments, "--json", **options)
        assert code == 0, err
        return json.loads(out)

    return call


def test_a_tenant_from_its_creation_to_its_receipt(run, made, world):
    tenant = made("tenant", "create", "acme", "--name", "Acme", "--region", "eu")
    assert run("tenant", "create", "acme", "--name", "Acme")[0] == 1
    assert made("tenant", "show", tenant["id"])["region"] == "eu"
    slugs = [listed["slug"] for listed in made("tenant", "list")]
    assert slugs == sorted(slugs)
    assert {"acme", "default", "here", "there"} <= set(slugs)

    assert run("tenant", "suspend", "acme")[:2] == (0, "Tenant acme is suspended.\n")
    code, _, err = run("user", "list", "--tenant", "acme")
    assert (code, "is suspended" in err, "active tenant" in err) == (1, True, True)
    assert run("tenant", "reactivate", "acme")[0] == 0

    code, _, err = run("tenant", "delete", "acme", "--yes")
    assert (code, "--reason" in err) == (2, True)
    code, _, err = run("tenant", "delete", "acme", "--reason", "contract ended")
    assert (code, "add --yes" in err) == (2, True)
    assert made("tenant", "show", "acme")["status"] == "active"
    assert run("tenant", "delete", "acme", "--reason", "contract ended", "--yes")[0] == 0
    (receipt,) = [shown for shown in made("tenant", "deletions") if shown["tenant_id"] == tenant["id"]]
    assert receipt["reason"] == "contract ended"
    assert receipt["finished_at"] is not None
    assert run("tenant", "show", "acme")[0] == 1


def test_a_deletion_that_broke_off_goes_on(run, made, world):
    tenant = world.new_tenant("broken")
    with world.owner() as conn:
        conn.execute("select identity.begin_tenant_deletion(%s, 'moved')", [tenant.id])
        conn.execute("select identity.delete_tenant_batch(%s, 10)", [tenant.id])
    assert run("tenant", "delete", "broken")[0] == 0
    assert "broken" not in {listed["slug"] for listed in made("tenant", "list")}


def test_tenants_are_listed_beyond_one_page(run, world):
    with world.owner() as conn:
        names = [row[0] for row in conn.execute("select slug from identity.list_tenants('default', 1)")]
        assert names == ["here"]
        assert conn.execute("select platform.context()").fetchone()[0] is None


@pytest.mark.parametrize(
    ("email", "name", "said"),
    [
        ("ada@example.com", "Ada again", "Somebody in the tenant has the address."),
        (
            "bob@example.com",
            " ",
            "Refused by a rule of users: display name is not blank; nothing has been changed",
        ),
        ("nonsense", "Bob", "Refused by a rule of users: email has a domain; nothing has been changed"),
    ],
)
def test_what_a_rule_refuses_is_said_in_words(run, world, email, name, said):
    run("user", "create", "ada@example.com", "--name", "Ada", "--tenant", "here")
    code, _, err = run("user", "create", email, "--name", name, "--tenant", "here")
    assert (code, err) == (1, f"enterprise-ai: {said}\n")


def test_the_first_administrator_and_nobody_after(run, made, world):
    tenant = world.new_tenant("young")
    made("user", "create", "ada@young.test", "--name", "Ada", "--tenant", "young")
    assert run("user", "appoint", "ada@young.test", "--tenant", "young")[0] == 0
    made("user", "create", "bob@young.test", "--name", "Bob", "--tenant", str(tenant.id))
    code, _, err = run("user", "appoint", "bob@young.test", "--tenant", "young")
    assert (code, "authz.assign_role" in err) == (1, True)
    with world.owner(tenant) as conn:
        assert conn.execute("select count(*) from authz.user_roles").fetchone()[0] == 1
    # Who has left is nobody's administrator.
    assert run("user", "remove", "ada@young.test", "--tenant", "young", "--yes")[0] == 0
    assert run("user", "appoint", "bob@young.test", "--tenant", "young")[0] == 0


def test_an_invitation_works_once(run, made, world):
    invited = made("user", "invite", "eve@here.test", "--name", "Eve", "--tenant", "here")
    assert made("user", "show", "EVE@here.test", "--tenant", "here")["status"] == "invited"
    with world.connect("app") as conn:
        assert str(redeem(conn, invited["token"], "invite")) == invited["id"]
    assert made("user", "show", invited["id"], "--tenant", "here")["status"] == "active"
    code, _, err = run("user", "invite", "Eve@here.test", "--name", "Eve", "--tenant", "here")
    assert code == 1
    assert "Somebody in the tenant has the address" in err


@pytest.mark.parametrize(
    ("verb", "state"),
    [("suspend", "suspended"), ("deactivate", "deactivated"), ("remove", None), ("erase", None)],
)
def test_what_keeps_a_person_out_ends_their_sessions(run, made, world, verb, state):
    person = world.new_person(world.here)
    token = world.new_session(world.here, person).session_token
    assert len(made("user", "sessions", str(person), "--tenant", "here")) == 1
    yes = ["--yes"] if state is None else []
    assert run("user", verb, str(person), "--tenant", "here", *yes)[0] == 0
    with connect(world.server.url(world.name, "app_login")) as client, pytest.raises(SessionOver):
        with client.as_session(token):
            pass
    listed = [user["id"] for user in made("user", "list", "--tenant", "here", "--limit", "1000")]
    assert (str(person) in listed) == (state is not None)


def test_a_removed_address_is_free_and_the_removed_stay_out(run, made, world):
    person = world.new_person(world.here, "leaver")
    assert run("user", "remove", "leaver@here.test", "--tenant", "here", "--yes")[0] == 0
    code, _, err = run("user", "reactivate", str(person), "--tenant", "here")
    assert (code, "is removed" in err) == (1, True)
    made("user", "create", "leaver@here.test", "--name", "Another", "--tenant", "here")
    assert run("user", "erase", str(person), "--tenant", "here", "--yes")[0] == 0


def test_a_lock_out_ends(run, made, world):
    person = world.new_person(world.here)
    with world.owner(world.here) as conn:
        conn.execute(
            "update identity.users set status = 'locked', failed_logins = 7, locked_until = now() + interval '1 hour'"
            " where id = %s", [person])  # fmt: skip
    assert run("user", "unlock", str(person), "--tenant", "here")[0] == 0
    assert made("user", "show", str(person), "--tenant", "here")["locked_until"] is None
    assert run("user", "unlock", str(person), "--tenant", "here")[0] == 1


def test_a_password_is_reset_by_the_token(made, world):
    person = world.new_person(world.here)
    token = made("user", "reset-password", str(person), "--tenant", "here")["token"]
    with world.connect("app") as conn:
        redeem(conn, token, "reset_password", password_hash="$argon2id$v=19$made")


def test_keys_are_shown_once_and_end(run, made, world):
    person = world.new_person(world.here)
    key = made(
        "apikey",
        "create",
        "robot",
        "--user",
        str(person),
        "--scope",
        "user.read",
        "--days",
        "3",
        "--tenant",
        "here",
    )
    with connect(world.server.url(world.name, "app_login")) as client:
        with client.as_api_key(key["key"]) as tx:
            assert tx.context.scopes == ("user.read",)
            assert [shown.name for shown in tx.identity.api_keys.list()] == ["robot"]
    (listed,) = made("apikey", "list", "--user", str(person), "--tenant", "here")
    assert key["key"] not in json.dumps(listed)
    assert listed["user_id"] == str(person)
    assert listed["last_used_at"] is not None
    assert run("apikey", "revoke", key["id"], "--tenant", "there")[0] == 1
    assert run("apikey", "revoke", key["id"], "--tenant", "here")[0] == 0
    assert run("apikey", "revoke", key["id"], "--tenant", "here")[0] == 1
    code, _, err = run("apikey", "create", "x", "--user", str(person), "--days", "9999", "--tenant", "here")
    assert (code, "security.api_key_days" in err) == (1, True)


def test_only_who_may_deactivate_makes_a_key_for_provisioning(world):
    """Otherwise whoever has a session could provision people."""
    session = world.new_session(world.here, world.new_person(world.here), level=2)
    with connect(world.server.url(world.name, "app_login")) as client:
        with pytest.raises(Exception, match="may not make a key for provisioning"):
            with client.as_session(session.session_token) as tx:
                tx.identity.api_keys.create("mine", scopes=["scim"])


def test_who_may_not_is_told_what_to_do(run, world):
    code, _, err = run("user", "list", "--tenant", str(world.here.id), login="operator_login")
    assert (code, "this login may not" in err, "enterprise_ai_gateway" in err) == (1, True, True)
    assert run("user", "list", "--tenant", str(world.here.id), login="gateway_login")[0] == 0
    assert run("tenant", "list", login="operator_login")[0] == 0
    for login in ("app_login", "gateway_login"):
        code, _, err = run("tenant", "list", login=login)
        assert (code, "enterprise_ai_operator" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [("tenant",), ("user", "list", "--limit", "0"), ("user", "list", "--after", "x"), ("user", "list", "--status", "gone"),
     ("apikey", "create", "n"), ("apikey", "create", "n", "--user", "u", "--days", "-1"), ("user", "create", "a@b.test")],
)  # fmt: skip
def test_usage(run, arguments):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("name", ["nobody@here.test", "01890000-0000-7000-8000-000000000000"])
def test_who_is_not_there(run, name):
    code, _, err = run("user", "show", name, "--tenant", "here")
    assert (code, name in err) == (1, True)
    assert run("user", "show", "ada@here.test", "--tenant", "nowhere")[0] == 1


def test_a_table_says_what_there_is(run):
    code, out, _ = run("user", "list", "--tenant", "there", "--limit", "1")
    header, row, more = out.splitlines()
    assert (code, header.split()[:2]) == (0, ["id", "email"])
    assert row.split()[1] == "ada@there.test"
    assert more == f"There may be more: add --after {row.split()[0]}"


def test_a_transaction_of_the_client_is_all_or_nothing(world):
    with connect(world.server.url(world.name, "gateway_login")) as client:
        with pytest.raises(ZeroDivisionError):
            with client.as_service(world.here.id) as tx:
                user_id = tx.identity.users.create("gone@here.test", "Gone")
                assert tx.identity.users.get(user_id).status == "active"
                raise ZeroDivisionError
        with client.as_service(world.here.id) as tx:
            assert "gone@here.test" not in {user.email for user in tx.identity.users.list(limit=1000)}
        with client.as_nobody() as tx:
            assert tx.context is None
            assert tx.conn.execute("select count(*) from identity.users").fetchone()[0] == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege), tx.conn.transaction():
                tx.identity.tenants.list()
