"""A directory that provisions and signs people in: both ways lead to the same person."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from tests.identity.scim.conftest import Directory
from tests.identity.sso.conftest import Gate

CLAIMS = {"email": "email", "email_verified": "email_verified", "display_name": "name", "external_id": "oid"}


def claims(name: str) -> dict[str, Any]:
    return {
        "email": f"{name}@elsewhere.test",
        "email_verified": True,
        "name": name.title(),
        "oid": f"oid-{name}",
    }


def test_who_was_provisioned_is_found_by_the_directorys_own_id(directory: Directory) -> None:
    ada = directory.new_user("ada", externalId="oid-ada")
    gate = Gate(directory.world, directory.tenant)
    provider = gate.provider(claim_names=CLAIMS, creates_users=False)

    signed_in = gate.sign_in(provider, "subject", **claims("ada"))

    assert (signed_in.outcome, signed_in.user_id) == ("success", UUID(ada["id"]))
    directory.patch(
        f"/Users/{ada['id']}", {"op": "replace", "path": "active", "value": False}
    ).raise_for_status()
    assert gate.sign_in(provider, "subject", **claims("ada")).outcome == "inactive"


def test_of_both_ways_at_once_one_makes_the_person(directory: Directory) -> None:
    gate = Gate(directory.world, directory.tenant)
    provider = gate.provider(claim_names=CLAIMS)
    barrier = threading.Barrier(20)
    body = {"userName": "ada@elsewhere.test", "externalId": "oid-ada"}

    def provision(_: int) -> Any:
        barrier.wait(60)
        return directory.call("POST", "/Users", body).status_code

    def sign_in(_: int) -> Any:
        barrier.wait(60)
        return gate.sign_in(provider, "subject", **claims("ada"))

    with ThreadPoolExecutor(20) as pool:
        provisioned = [pool.submit(provision, number) for number in range(10)]
        signed_in = [pool.submit(sign_in, number) for number in range(10)]
        codes = [future.result() for future in provisioned]
        people = {(future.result().outcome, future.result().user_id) for future in signed_in}

    found = directory.get('/Users?filter=userName eq "ada@elsewhere.test"')
    assert found["totalResults"] == 1
    assert people == {("success", UUID(found["Resources"][0]["id"]))}
    assert codes.count(201) <= 1
    assert set(codes) <= {201, 409}
