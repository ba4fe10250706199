"""Claims that stand for roles: given, withdrawn, and never more than that."""

from __future__ import annotations

import pytest

OWNER = "super_admin"


@pytest.fixture
def provider(gate):
    provider = gate.provider()
    for value, role in (("staff", "user"), ("leads", "manager"), ("owners", OWNER)):
        gate.call("select identity.map_sso_role(%s, 'groups', %s, %s)", [provider, value, role])
    return provider


def sign_in(gate, provider, subject="s1", **claims):
    return gate.sign_in(provider, subject, email=f"{subject}@corp.test", **claims).user_id


def give(gate, user, role):
    gate.owner(
        "insert into authz.user_roles (tenant_id, user_id, role_id) select tenant_id, %s, id from authz.roles where name = %s",
        [user, role],
    )


def test_roles_come_and_go_with_the_claim(gate, provider):
    user = sign_in(gate, provider, groups=["staff", "leads", "unmapped"])
    assert gate.roles_of(user) == {"user", "manager"}
    assert gate.owner("select claims from identity.user_sso_accounts") == [
        ({"groups": ["staff", "leads", "unmapped"]},)
    ]
    sign_in(gate, provider, groups="staff")
    assert gate.roles_of(user) == {"user"}
    sign_in(gate, provider)
    assert gate.roles_of(user) == set()


def test_roles_given_by_hand_or_another_provider_are_left_alone(gate, provider):
    user = sign_in(gate, provider, groups=["staff"])
    give(gate, user, "user")
    give(gate, user, "analyst")
    other = gate.provider()
    gate.call("select identity.map_sso_role(%s, 'groups', 'staff', 'manager')", [other])
    gate.call("select identity.link_sso_account(%s, %s, 'o1')", [user, other])
    assert sign_in(gate, other, "o1", groups=["staff"]) == user
    sign_in(gate, provider)
    assert gate.roles_of(user) == {"user", "analyst", "manager"}
    assert gate.owner("select source from authz.user_roles where user_id = %s order by source", [user]) == [
        ("manual",), ("manual",), ("sso",),
    ]  # fmt: skip


def test_the_last_owner_of_a_tenant_is_not_removed(gate, provider):
    first, second = (sign_in(gate, provider, subject, groups=["owners"]) for subject in ("s1", "s2"))
    assert gate.roles_of(first) == gate.roles_of(second) == {OWNER}
    sign_in(gate, provider, "s1", groups=["staff"])
    assert gate.roles_of(first) == {"user"}
    sign_in(gate, provider, "s2", groups=["staff"])
    assert gate.roles_of(second) == {"user", OWNER}
    # Neither by removing the account or the provider.
    gate.call("select identity.delete_sso_provider(%s)", [provider])
    assert gate.roles_of(second) == {OWNER}
    give(gate, first, OWNER)


def test_an_owner_who_is_out_does_not_count(gate, provider):
    first, second = (sign_in(gate, provider, subject, groups=["owners"]) for subject in ("s1", "s2"))
    gate.call("select identity.suspend_user(%s)", [second])
    sign_in(gate, provider, "s1")
    assert gate.roles_of(first) == {OWNER}


def test_everybody_who_comes_through_the_provider_has_its_default_role(gate):
    ((role,),) = gate.owner("select id from authz.roles where name = 'viewer'")
    provider = gate.provider(default_role_id=str(role))
    assert gate.roles_of(sign_in(gate, provider)) == {"viewer"}


def test_a_mapping_that_is_taken_away_takes_the_role_at_once(gate, provider):
    user = sign_in(gate, provider, groups=["staff", "leads"])
    again = gate.call("select identity.map_sso_role(%s, 'roles', 'lead', 'manager')", [provider])[0]
    assert gate.call("select identity.map_sso_role(%s, 'roles', 'lead', 'manager')", [provider])[0] == again
    sign_in(gate, provider, groups=["staff", "leads"], roles=["lead"])
    assert gate.call("select identity.unmap_sso_role(%s)", [again])[0]
    assert gate.roles_of(user) == {"user", "manager"}  # the group still says so
    mapping = gate.owner("select id from identity.sso_role_mappings where claim_value = 'leads'")[0][0]
    assert gate.call("select identity.unmap_sso_role(%s)", [mapping])[0]
    assert gate.roles_of(user) == {"user"}
    assert not gate.call("select identity.unmap_sso_role(%s)", [mapping])[0]


def test_a_full_role_is_not_given_and_the_person_comes_in_without(gate, provider):
    gate.owner("update authz.roles set holders_limit = 1 where name = 'manager'")
    assert gate.roles_of(sign_in(gate, provider, "s1", groups=["leads"])) == {"manager"}
    assert gate.roles_of(sign_in(gate, provider, "s2", groups=["leads", "staff"])) == {"user"}
    sign_in(gate, provider, "s1")
    assert gate.roles_of(sign_in(gate, provider, "s2", groups=["leads", "staff"])) == {"user", "manager"}


def test_claims_may_lie_within_others_or_have_dots_in_their_names(gate):
    provider = gate.provider()
    gate.call("select identity.map_sso_role(%s, 'realm_access.roles', 'staff', 'user')", [provider])
    gate.call(
        "select identity.map_sso_role(%s, 'https://x.test/claims/group', 'lead', 'manager')", [provider]
    )
    claims = {"realm_access": {"roles": ["staff"]}, "https://x.test/claims/group": "lead"}
    assert gate.roles_of(sign_in(gate, provider, **claims)) == {"user", "manager"}


@pytest.mark.parametrize(
    "groups", [None, 1, True, {"staff": 1}, [["staff"]], [1], "STAFF", "staff,leads", ""]
)
def test_only_the_value_itself_gives_the_role(gate, provider, groups):
    assert gate.roles_of(sign_in(gate, provider, groups=groups)) == set()


def test_a_sign_in_that_changes_no_role_keeps_nobody_waiting(gate, provider):
    sign_in(gate, provider, groups=["staff"])
    before = gate.owner("select epoch from authz.epochs")
    sign_in(gate, provider, groups=["staff"])
    assert gate.owner("select epoch from authz.epochs") == before
