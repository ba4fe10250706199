"""Provisioning over HTTP: who may, what changes, and what directories are told when it does not."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from enterprise_ai.cli import main
from enterprise_ai.client import connect
from enterprise_ai.identity.errors import SessionOver
from tests.identity.conftest import World
from tests.identity.scim.conftest import Directory, new_key


def test_who_bears_no_key_is_asked_for_one(directory: Directory) -> None:
    for authorization in ("", "Basic YTpi", "Bearer", "Bearer nonsense", f"Bearer {directory.key}x"):
        response = directory.call("GET", "/Users", Authorization=authorization)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="SCIM"')
        assert response.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]


def test_a_key_for_something_else_provisions_nobody(directory: Directory) -> None:
    key = new_key(directory.world, directory.tenant, directory.keeper, "user.read")

    assert directory.call("GET", "/Users", Authorization=f"Bearer {key}").status_code == 403


def test_what_can_be_done_is_told_to_everybody(directory: Directory) -> None:
    config = requests.get(f"{directory.url}/ServiceProviderConfig", timeout=60).json()

    assert config["patch"]["supported"]
    assert config["etag"]["supported"]
    assert not config["bulk"]["supported"]


def test_nothing_of_another_tenant_is_to_be_seen_or_changed(directory: Directory, other: Directory) -> None:
    ada = other.new_user("ada", externalId="x")
    team = other.new_group("Team", ada["id"])
    mine = directory.new_group("Mine")

    for path in (f"/Users/{ada['id']}", f"/Groups/{team['id']}"):
        assert directory.call("GET", path).status_code == 404
        assert directory.call("DELETE", path).status_code == 404
        assert directory.call("PUT", path, {"userName": "a@b.test", "displayName": "A"}).status_code == 404
        assert (
            directory.patch(path, {"op": "replace", "path": "displayName", "value": "A"}).status_code == 404
        )
    taken_in = directory.patch(
        f"/Groups/{mine['id']}", {"op": "add", "path": "members", "value": [{"value": ada["id"]}]}
    )
    assert (taken_in.status_code, taken_in.json()["scimType"]) == (400, "invalidValue")
    for query in (
        f'id eq "{ada["id"]}"',
        'externalId eq "x"',
        f'userName eq "{ada["userName"]}"',
        f'groups eq "{team["id"]}"',
    ):
        assert directory.get(f"/Users?filter={query}")["totalResults"] == 0
    assert directory.get("/Users")["totalResults"] == 1  # who keeps the key
    assert other.get(f"/Users/{ada['id']}") == other.get(f'/Users?filter=id eq "{ada["id"]}"')["Resources"][0]


def test_deactivating_ends_sessions_at_once(directory: Directory, world: World) -> None:
    ada = directory.new_user("ada")
    session = world.new_session(directory.tenant, ada["id"])
    with connect(world.server.url(world.name, "app_login")) as client:
        with client.as_session(session.session_token):
            pass
        directory.patch(
            f"/Users/{ada['id']}", {"op": "replace", "path": "active", "value": False}
        ).raise_for_status()
        with pytest.raises(SessionOver), client.as_session(session.session_token):
            pass
        directory.patch(
            f"/Users/{ada['id']}", {"op": "replace", "path": "active", "value": True}
        ).raise_for_status()
        with pytest.raises(SessionOver), client.as_session(session.session_token):
            pass


def test_a_put_that_does_not_say_active_leaves_it(directory: Directory) -> None:
    ada = directory.new_user("ada", active=False, title="Countess")

    put = directory.call("PUT", f"/Users/{ada['id']}", {"userName": ada["userName"]}).json()

    assert put["active"] is False
    assert "title" not in put


def test_a_deleted_user_is_gone_and_the_name_free(directory: Directory) -> None:
    ada = directory.new_user("ada", externalId="1")
    team = directory.new_group("Team", ada["id"])

    assert directory.call("DELETE", f"/Users/{ada['id']}").status_code == 204

    assert directory.call("GET", f"/Users/{ada['id']}").status_code == 404
    assert "members" not in directory.get(f"/Groups/{team['id']}")
    assert directory.new_user("ada", externalId="1")["id"] != ada["id"]


@pytest.mark.parametrize("changed", ["userName", "externalId", "emails"])
def test_what_is_taken_is_a_conflict(directory: Directory, changed: str) -> None:
    directory.new_user("ada", externalId="1")
    bob = {
        "userName": f"bob@{directory.tenant.slug}.test",
        "externalId": "2",
        "emails": [{"value": f"bob@{directory.tenant.slug}.test"}],
    }
    taken = {
        "userName": f"ADA@{directory.tenant.slug}.test",
        "externalId": "1",
        "emails": [{"value": f"Ada@{directory.tenant.slug}.test"}],
    }

    refused = directory.call("POST", "/Users", bob | {changed: taken[changed]})

    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    assert directory.call("POST", "/Users", bob).status_code == 201


def test_a_group_of_the_name_is_a_conflict(directory: Directory) -> None:
    directory.new_group("Team")

    refused = directory.call("POST", "/Groups", {"displayName": "Team"})

    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")


def test_who_has_read_an_older_state_changes_nothing(directory: Directory) -> None:
    ada = directory.new_user("ada")
    before = ada["meta"]["version"]
    renamed = {"op": "replace", "path": "displayName", "value": "Ada L."}
    directory.patch(f"/Users/{ada['id']}", renamed, If_Match=before).raise_for_status()

    late = directory.patch(f"/Users/{ada['id']}", renamed | {"value": "Late"}, If_Match=before)
    gone = directory.call("DELETE", f"/Users/{ada['id']}", If_Match=before)
    now = directory.call("GET", f"/Users/{ada['id']}")
    same = directory.call("GET", f"/Users/{ada['id']}", If_None_Match=now.headers["ETag"])

    assert (late.status_code, gone.status_code, same.status_code, same.content) == (412, 412, 304, b"")
    assert now.json()["displayName"] == "Ada L."


def test_signing_in_changes_no_version(directory: Directory, world: World) -> None:
    ada = directory.new_user("ada")
    directory.owner(
        "update identity.users set last_login_at = now(), failed_logins = 3 where id = %s", [ada["id"]]
    )

    assert directory.get(f"/Users/{ada['id']}")["meta"]["version"] == ada["meta"]["version"]


def test_a_change_of_members_changes_the_version_of_the_group(directory: Directory) -> None:
    ada, team = directory.new_user("ada"), directory.new_group("Team")

    directory.patch(
        f"/Groups/{team['id']}", {"op": "add", "path": "members", "value": [{"value": ada["id"]}]}
    ).raise_for_status()

    late = directory.call("DELETE", f"/Groups/{team['id']}", If_Match=team["meta"]["version"])
    assert late.status_code == 412


def test_members_added_at_the_same_time_are_all_there(directory: Directory) -> None:
    people = [directory.new_user(f"person{number}")["id"] for number in range(8)]
    team = directory.new_group("Team")

    def add(person: str) -> int:
        value = [{"value": person}]
        return directory.patch(
            f"/Groups/{team['id']}", {"op": "add", "path": "members", "value": value}
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(add, people)) <= {200, 204}
    assert {member["value"] for member in directory.get(f"/Groups/{team['id']}")["members"]} == set(people)


def test_pages_hold_everybody_once(directory: Directory) -> None:
    made = {directory.new_user(f"person{number}")["id"] for number in range(5)} | {str(directory.keeper)}

    pages = [directory.get(f"/Users?startIndex={start}&count=2") for start in (1, 3, 5, 7)]

    assert [page["totalResults"] for page in pages] == [6] * 4
    assert [len(page.get("Resources", [])) for page in pages] == [2, 2, 2, 0]
    assert {user["id"] for page in pages for user in page.get("Resources", [])} == made
    assert directory.get("/Users?count=0").get("Resources", []) == []


def test_attributes_are_left_out_or_chosen(directory: Directory) -> None:
    ada = directory.new_user("ada", title="Countess")

    assert set(directory.get(f"/Users/{ada['id']}?attributes=userName")) == {"schemas", "id", "userName"}
    assert "title" not in directory.get("/Users?excludedAttributes=title,emails")["Resources"][-1]


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("filter=userName eq", "invalidFilter"),
        ("filter=nickName eq \"x\"", "invalidFilter"),
        ("filter=meta.location eq \"x\"", "invalidFilter"),
        ("filter=" + " or ".join(["title pr"] * 200), "invalidFilter"),
        ("filter=title eq \"\\u0000\"", "invalidValue"),
        ("sortBy=groups", "invalidPath"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_for_is_refused(directory: Directory, query: str, kind: str) -> None:
    refused = directory.call("GET", f"/Users?{query}")

    assert (refused.status_code, refused.json()["scimType"]) == (400, kind)


def test_a_filter_is_no_way_into_the_statement(directory: Directory) -> None:
    directory.new_user("ada", title="x' or true --")

    for text in ("y' or true --", 'y\\" or true --', "%", "{}", "%(id)s", "_"):
        assert directory.get(f'/Users?filter=title eq "{text.replace("%", "%25")}"')["totalResults"] == 0
    assert directory.get('/Users?filter=title eq "x\' or true --"')["totalResults"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"userName": "nobody"},
        {"userName": "a@b.test", "displayName": "\u0000"},
        {"userName": "a@b.test", "displayName": " "},
        {"userName": "a@b.test", "emails": [{"value": "no address"}]},
        {"displayName": "A"},
        {"userName": {"a": 1}},
        {
            "userName": "a@b.test",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": {"value": "x"}},
        },
        [],
        "text",
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused(directory: Directory, body: object) -> None:
    refused = directory.call("POST", "/Users", body)

    assert refused.status_code == 400, refused.text
    assert refused.json()["scimType"] in ("invalidValue", "invalidSyntax")
    assert directory.get("/Users")["totalResults"] == 1


def test_too_long_a_body_is_refused(directory: Directory) -> None:
    refused = directory.call("POST", "/Users", {"userName": "a@b.test", "displayName": "a" * 9_000_000})

    assert refused.status_code == 413


def test_bytes_that_are_no_text_are_refused(directory: Directory) -> None:
    assert directory.call("GET", "/Users/%ff").status_code == 404
    refused = requests.get(f"{directory.url}/Users", headers={"Authorization": b"Bearer \xff"}, timeout=60)
    assert refused.status_code == 400


def test_who_may_do_more_than_the_key_is_left_alone(directory: Directory, world: World) -> None:
    """A directory whose key is kept by a user administrator does not take over who is more than that."""
    keeper = world.new_person(directory.tenant)
    with world.owner(directory.tenant) as conn:
        (role,) = conn.execute(
            "insert into authz.roles (tenant_id, name, display_name) values (%s, 'provisioner', 'P') returning id",
            [directory.tenant.id],
        ).fetchone()
        conn.execute(
            """insert into authz.role_permissions (tenant_id, role_id, permission_id)
               select %s, %s, id from authz.permissions
               where name in ('user.create', 'user.update', 'user.deactivate')""",
            [directory.tenant.id, role],
        )
        conn.execute(
            "insert into authz.user_roles (tenant_id, user_id, role_id) values (%s, %s, %s)",
            [directory.tenant.id, keeper, role],
        )
    directory.key, admin = new_key(world, directory.tenant, keeper, "scim"), directory.keeper
    ada = directory.new_user("ada")

    taken_over = directory.patch(
        f"/Users/{admin}", {"op": "replace", "path": 'emails[type eq "work"].value', "value": "evil@b.test"}
    )

    assert taken_over.status_code == 403
    assert directory.call("DELETE", f"/Users/{admin}").status_code == 403
    assert directory.call("DELETE", f"/Users/{ada['id']}").status_code == 204


def test_of_twenty_who_make_the_same_user_one_does(directory: Directory) -> None:
    body = {"userName": f"ada@{directory.tenant.slug}.test", "externalId": "1"}

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: directory.call("POST", "/Users", body).status_code, range(20)))

    assert sorted(answers) == [201] + [409] * 19
    assert directory.get('/Users?filter=externalId eq "1"')["totalResults"] == 1


def test_a_key_made_on_the_command_line_provisions(
    directory: Directory, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> Any:
        database = ["--database-url", world.server.url(world.name, "gateway_login")]
        assert main([*words, "--tenant", str(directory.tenant.id), "--json", *database]) == 0
        return json.loads(capsys.readouterr().out)

    user = run("user", "create", "scim@acme.example", "--name", "Directory")
    directory.key = run("apikey", "create", "directory", "--user", "scim@acme.example", "--scope", "scim")[
        "key"
    ]
    assert directory.call("GET", "/Users").status_code == 403  # the user has no rights yet
    directory.owner(
        """insert into authz.user_roles (tenant_id, user_id, role_id)
           select tenant_id, %s, id from authz.roles where name = 'admin'""",
        [user["id"]],
    )

    assert directory.new_user("ada")["active"] is True
