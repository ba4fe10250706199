"""Single members are put in and taken out as if the whole group had been read, changed and written."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest
from scim2_models import PatchOp

from enterprise_ai.identity.scim.membership import changes_of
from enterprise_ai.identity.scim.schemas import PROVIDER, Group
from tests.identity.scim.conftest import Directory


def operation(dice: random.Random, people: list[str]) -> dict[str, Any]:
    """An addition or a removal, in one of the ways that directories have for it."""
    chosen = dice.sample(people, dice.randint(1, 3))
    values = [{"value": person} for person in chosen]
    return dice.choice(
        [
            {"op": "add", "path": "members", "value": values},
            {"op": "Add", "path": "members", "value": values[0]},
            {"op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:Group:members", "value": values},
            {"op": "Remove", "path": "members", "value": values},
            {"op": "remove", "path": f'members[value eq "{chosen[0]}"]'},
            {"op": "remove", "path": "members[" + " or ".join(f'value eq "{p}"' for p in chosen) + "]"},
            {"op": "remove", "path": f'members[value ne "{chosen[0]}"]'},
            {"op": "remove", "path": "members"},
            {"op": "replace", "path": "members", "value": values},
        ]
    )


def test_the_short_way_comes_to_the_same_as_the_long_one(directory: Directory) -> None:
    """The long way is scim2-models' own; it is taken when attributes are asked for."""
    dice = random.Random(20)
    people = [directory.new_user(f"person{number}")["id"] for number in range(5)]
    short, long = directory.new_group("Short", people[0]), directory.new_group("Long", people[0])
    for _ in range(25):
        operations = [operation(dice, people) for _ in range(dice.randint(1, 3))]
        directory.patch(f"/Groups/{short['id']}", *operations).raise_for_status()
        directory.patch(f"/Groups/{long['id']}?attributes=members", *operations).raise_for_status()

        found = [
            {member["value"] for member in directory.get(f"/Groups/{group['id']}").get("members", [])}
            for group in (short, long)
        ]
        assert found[0] == found[1], operations


@pytest.mark.parametrize(
    "value",
    [
        [{"value": "nobody"}],
        [{"value": "01a223d5-94f2-76f5-9fc1-25cfb73f81b7"}],
        [{"value": "01a223d5-94f2-76f5-9fc1-25cfb73f81b7", "type": "Group"}],
        [{"display": "nobody"}],
        ["nobody"],
        None,
    ],
    ids=str,
)
def test_what_is_no_member_is_refused(directory: Directory, value: Any) -> None:
    group = directory.new_group("Team")

    refused = directory.patch(f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": value})

    assert (refused.status_code, refused.json()["scimType"]) == (400, "invalidValue")
    assert directory.get(f"/Groups/{group['id']}") == group


def test_a_change_that_changes_nothing_keeps_the_version(directory: Directory) -> None:
    ada = directory.new_user("ada")["id"]
    group = directory.new_group("Team", ada)

    again = directory.patch(
        f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": ada}]}
    )

    assert (again.status_code, again.headers["ETag"]) == (204, group["meta"]["version"])


def test_an_older_state_is_not_changed(directory: Directory) -> None:
    ada, bob = directory.new_user("ada")["id"], directory.new_user("bob")["id"]
    group = directory.new_group("Team")
    add = {"op": "add", "path": "members", "value": [{"value": ada}]}
    directory.patch(f"/Groups/{group['id']}", add, If_Match=group["meta"]["version"]).raise_for_status()

    late = directory.patch(
        f"/Groups/{group['id']}", add | {"value": [{"value": bob}]}, If_Match=group["meta"]["version"]
    )

    assert late.status_code == 412
    assert [member["value"] for member in directory.get(f"/Groups/{group['id']}")["members"]] == [ada]


ID = "01a223d5-94f2-76f5-9fc1-25cfb73f81b7"


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"op": "add", "path": "members", "value": [{"value": ID}]}, {UUID(ID): True}),
        ({"op": "Remove", "path": "members", "value": [{"value": ID}]}, {UUID(ID): False}),
        ({"op": "remove", "path": f'members[value eq "{ID}"]'}, {UUID(ID): False}),
        ({"op": "remove", "path": "members"}, None),
        ({"op": "remove", "path": f'members[value ne "{ID}"]'}, None),
        ({"op": "replace", "path": "members", "value": [{"value": ID}]}, None),
        ({"op": "replace", "path": "displayName", "value": "Team"}, None),
    ],
    ids=str,
)
def test_the_short_way_is_for_single_members(sent: dict[str, Any], found: Any) -> None:
    with PROVIDER:
        patch = PatchOp[Group].model_validate({"Operations": [sent]})

    assert changes_of(patch) == found
