"""Requests as Okta and Microsoft Entra send them, in the words of their documentation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.identity.scim.conftest import Directory

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def ids(found: Any) -> list[str]:
    return [resource["id"] for resource in found["Resources"]]


class TestOkta:
    """https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20/"""

    def test_a_user_is_looked_for_made_and_put(self, directory: Directory) -> None:
        name = f"test.user@{directory.tenant.slug}.test"
        assert (
            directory.get(f'/Users?filter=userName%20eq%20"{name}"&startIndex=1&count=100')["totalResults"]
            == 0
        )
        body = {
            "schemas": [CORE],
            "userName": name,
            "name": {"givenName": "Test", "familyName": "User"},
            "emails": [{"primary": True, "value": name, "type": "work"}],
            "displayName": "Test User",
            "locale": "en-US",
            "externalId": "00ujl29u0le5T6Aj10h7",
            "groups": [],
            "password": "1mz050nq",
            "active": True,
        }

        made = directory.post("/Users", body)
        put = directory.call(
            "PUT", f"/Users/{made['id']}", body | {"id": made["id"], "title": "Ms", "active": False}
        )

        assert "password" not in made
        assert made["name"] == {"givenName": "Test", "familyName": "User"}
        assert (put.status_code, put.json()["active"], put.json()["title"]) == (200, False, "Ms")
        assert ids(directory.get(f'/Users?filter=userName eq "{name.upper()}"')) == [made["id"]]

    def test_a_user_is_deactivated_without_a_path(self, directory: Directory) -> None:
        ada = directory.new_user("ada")

        patched = directory.patch(f"/Users/{ada['id']}", {"op": "replace", "value": {"active": False}})

        assert patched.status_code in (200, 204)
        assert directory.get(f"/Users/{ada['id']}")["active"] is False

    def test_a_group_is_renamed_with_its_id_in_the_value(self, directory: Directory) -> None:
        group = directory.new_group("Test SCIMv2")

        patched = directory.patch(
            f"/Groups/{group['id']}",
            {"op": "replace", "value": {"id": group["id"], "displayName": "Test SCIMv3"}},
        )

        assert patched.status_code in (200, 204)
        assert directory.get(f"/Groups/{group['id']}")["displayName"] == "Test SCIMv3"

    def test_members_come_and_go(self, directory: Directory) -> None:
        ada, bob = directory.new_user("ada"), directory.new_user("bob")
        group = directory.new_group("Team", ada["id"])

        directory.patch(
            f"/Groups/{group['id']}",
            {"op": "remove", "path": f'members[value eq "{ada["id"]}"]'},
            {"op": "add", "path": "members", "value": [{"value": bob["id"], "display": "bob"}]},
        ).raise_for_status()

        members = directory.get(f"/Groups/{group['id']}")["members"]
        assert [member["value"] for member in members] == [bob["id"]]

    def test_all_members_are_replaced(self, directory: Directory) -> None:
        ada, bob = directory.new_user("ada"), directory.new_user("bob")
        group = directory.new_group("Team", ada["id"])

        directory.patch(
            f"/Groups/{group['id']}", {"op": "replace", "path": "members", "value": [{"value": bob["id"]}]}
        ).raise_for_status()

        assert [m["value"] for m in directory.get(f"/Groups/{group['id']}")["members"]] == [bob["id"]]


class TestEntra:
    """https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups"""

    def test_the_credentials_are_tried_with_a_user_who_is_not_there(self, directory: Directory) -> None:
        found = directory.get('/Users?filter=userName eq "1f2c0d1a-7a3c-4e4f-9d3b-d7c8c1a8e6d0"')

        assert (found["totalResults"], found.get("Resources", [])) == (0, [])

    def test_a_user_is_made_by_the_principal_name_alone(self, directory: Directory) -> None:
        made = directory.post(
            "/Users",
            {
                "schemas": [CORE, ENTERPRISE],
                "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
                "userName": f"Test_User@{directory.tenant.slug}.test",
                "active": True,
                "displayName": "BillG",
                "meta": {"resourceType": "User"},
                "name": {"formatted": "Bill Gates", "familyName": "Gates", "givenName": "Bill"},
                "roles": [],
                ENTERPRISE: {"employeeNumber": "1", "department": "Research"},
            },
        )

        assert made["emails"][0]["value"] == made["userName"] == f"Test_User@{directory.tenant.slug}.test"
        assert (made["displayName"], made[ENTERPRISE]) == ("BillG", {"department": "Research"})

    @pytest.mark.parametrize("said", ["False", False])
    def test_a_user_is_deactivated_in_capitals(self, directory: Directory, said: Any) -> None:
        ada = directory.new_user("ada")

        directory.patch(
            f"/Users/{ada['id']}", {"op": "Replace", "path": "active", "value": said}
        ).raise_for_status()

        assert directory.get(f"/Users/{ada['id']}")["active"] is False

    def test_attributes_are_named_by_path_and_by_key(self, directory: Directory) -> None:
        ada, boss = directory.new_user("ada"), directory.new_user("boss")

        directory.patch(
            f"/Users/{ada['id']}",
            {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "ada@elsewhere.test"},
            {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Mathematics"},
            {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": boss["id"]},
            {"op": "Add", "value": {"name.familyName": "Lovelace", "title": "Countess"}},
        ).raise_for_status()

        changed = directory.get(f"/Users/{ada['id']}")
        assert changed["emails"] == [{"value": "ada@elsewhere.test", "type": "work", "primary": True}]
        assert (changed["name"], changed["title"]) == ({"familyName": "Lovelace"}, "Countess")
        assert changed[ENTERPRISE]["department"] == "Mathematics"
        assert changed[ENTERPRISE]["manager"]["value"] == boss["id"]

    @pytest.mark.parametrize("shape", ["text", "object", "list"])
    def test_a_manager_comes_in_three_shapes(self, directory: Directory, shape: str) -> None:
        ada, boss = directory.new_user("ada"), directory.new_user("boss")
        value: Any = {"text": boss["id"], "object": {"value": boss["id"]}, "list": [{"value": boss["id"]}]}[
            shape
        ]

        directory.patch(
            f"/Users/{ada['id']}", {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": value}
        ).raise_for_status()

        assert directory.get(f"/Users/{ada['id']}")[ENTERPRISE]["manager"]["value"] == boss["id"]
        directory.patch(
            f"/Users/{ada['id']}", {"op": "Remove", "path": f"{ENTERPRISE}:manager"}
        ).raise_for_status()
        assert ENTERPRISE not in directory.get(f"/Users/{ada['id']}")

    def test_members_to_remove_are_named_in_the_value(self, directory: Directory) -> None:
        ada, bob = directory.new_user("ada"), directory.new_user("bob")
        group = directory.new_group("Team", ada["id"], bob["id"])

        directory.patch(
            f"/Groups/{group['id']}",
            {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": ada["id"]}]},
        ).raise_for_status()

        assert [m["value"] for m in directory.get(f"/Groups/{group['id']}")["members"]] == [bob["id"]]

    def test_groups_are_found_without_their_members(self, directory: Directory) -> None:
        ada = directory.new_user("ada")
        group = directory.new_group(
            "displayName", ada["id"], externalId="8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159"
        )

        found = directory.get('/Groups?excludedAttributes=members&filter=displayName eq "displayName"')
        alone = directory.get(f"/Groups/{group['id']}?excludedAttributes=members")

        assert ids(found) == [group["id"]]
        assert "members" not in found["Resources"][0]
        assert "members" not in alone
        assert ids(directory.get(f'/Groups?filter=members eq "{ada["id"]}" and id eq "{group["id"]}"')) == [
            group["id"]
        ]
