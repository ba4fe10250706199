"""In worlds made at random, every way to ask gives the answer that plain Python gives."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.authz.reference import Reference
from tests.authz.world import World

ASKED = [
    "document.read",
    "message.read",
    "conversation.read",
    "encryption_key.destroy",
    "user.delete",
    "no.such",
]
GIVEN = ["document.read", "message.read", "conversation.read", "user.delete"]


def build(world: World, dice: random.Random, now):
    def when():
        if dice.random() < 0.75:
            return {}
        near = now + timedelta(days=dice.choice([-2, -1, 1, 2]))
        if dice.random() < 0.5:
            return {"valid_from": near}
        return {"valid_until": near}

    def criteria():
        found = when()
        if dice.random() < 0.15:
            found["condition"] = "strict $.env.risk < 3"
        if dice.random() < 0.05:
            found["minimum_authentication_level"] = 2
        return found

    users = [world.user(dice.choice(["active"] * 6 + ["suspended"])) for _ in range(5)]
    groups = []
    for _ in range(3):
        groups.append(world.group(dice.choice([None, *groups]), *dice.sample(users, dice.randint(0, 2))))
    resources = []
    kinds = {}
    for _ in range(10):
        parent = dice.choice([None, *resources])
        kind = dice.choice(["document", "conversation"]) if parent is None else kinds[parent]
        if kind == "conversation" and parent is not None and dice.random() < 0.7:
            kind = "message"
        new = world.resource(
            parent, kind=kind, owner_id=dice.choice([None, *users]), inherits=dice.random() < 0.75
        )
        kinds[new] = kind
        resources.append(new)
    roles = []
    for _ in range(6):
        role = world.role(for_everyone=dice.random() < 0.1)
        for parent in dice.sample(roles, min(len(roles), dice.randint(0, 2))):
            world.inherit(role, parent, **when())
        roles.append(role)

    def scope(chance=0.3):
        return dice.choice(resources) if dice.random() < chance else None

    def effect():
        return dice.choice(["allow"] * 5 + ["deny"])

    said = set()
    for _ in range(14):
        role, what = dice.choice(roles), dice.choice(GIVEN)
        if (role, what) not in said:
            said.add((role, what))
            world.carry(
                role, what, effect=effect(), resource_id=scope(), only_own=dice.random() < 0.2,
                inheritable=dice.random() < 0.8, **criteria(),
            )  # fmt: skip
    for table, column, who in (("user", "user_id", users), ("group", "group_id", groups)):
        for holder in who:
            for role in dice.sample(roles, dice.randint(0, 2)):
                world.insert(
                    f"authz.{table}_roles", **{column: holder}, role_id=role, resource_id=scope(),
                    granted_by=dice.choice([None, users[0]]), **criteria(),
                )  # fmt: skip
            if dice.random() < 0.5:
                world.insert(
                    f"authz.{table}_permissions", **{column: holder}, permission_id=dice.choice(GIVEN),
                    effect=effect(), resource_id=scope(0.6), granted_by=dice.choice([None, users[0]]), **criteria(),
                )  # fmt: skip
    return users, resources


CHANGES = (
    "delete from authz.role_permissions where id = (select id from authz.role_permissions order by id limit 1)",
    "delete from authz.role_inheritance where parent_id = (select min(parent_id::text)::uuid from authz.role_inheritance)",
    "delete from authz.roles where id = (select max(id::text)::uuid from authz.roles where name ~ '^r[0-9a-f]{32}$')",
    "update authz.roles set for_everyone = not for_everyone"
    " where id = (select min(id::text)::uuid from authz.roles where name ~ '^r[0-9a-f]{32}$')",
    "delete from authz.user_roles where id = (select min(id::text)::uuid from authz.user_roles)",
    "update authz.user_roles set resource_id = null where resource_id is not null and source = 'manual' and not exists ("
    " select from authz.user_roles as o where o.user_id = user_roles.user_id and o.role_id = user_roles.role_id"
    " and o.resource_id is null)",
    "delete from authz.group_roles where id = (select min(id::text)::uuid from authz.group_roles)",
    "delete from authz.user_permissions where id = (select min(id::text)::uuid from authz.user_permissions)",
    "delete from authz.group_permissions where id = (select min(id::text)::uuid from authz.group_permissions)",
    "update authz.user_permissions set effect = 'deny' where resource_id is null and effect = 'allow'",
    "update authz.group_permissions set valid_from = null, valid_until = null",
    "update identity.groups set parent_id = null where parent_id is not null",
    "delete from identity.group_members where user_id = (select min(user_id::text)::uuid from identity.group_members)",
    "delete from identity.groups as g where not exists (select from identity.groups as o where o.parent_id = g.id)",
    "update authz.resources set inherits = not inherits where parent_id is not null",
    "update authz.resources set parent_id = null where parent_id is not null and inherits",
    "delete from authz.resources where id = (select max(id::text)::uuid from authz.resources)",
    "update authz.permissions set requires_approval = not requires_approval where name = 'document.read'",
    "update authz.user_permissions set approved_by = user_id, approved_at = now() where granted_by <> user_id",
    "update identity.tenants set status = 'suspended'; update identity.tenants set status = 'active'",
)


def change(conn, dice: random.Random) -> None:
    for one in dice.sample(CHANGES, dice.randint(0, 4)):
        conn.execute(one)


@pytest.mark.parametrize("seed", range(24))
def test_all_ways_to_ask_agree(db, seed):
    dice = random.Random(seed)
    world = World(db)
    now = world.one("select now()")
    users, resources = build(world, dice, now)
    change(db, dice)
    left = {row[0] for row in db.execute("select id from authz.resources").fetchall()}
    resources = [resource for resource in resources if resource in left]
    service = {"tenant_id": str(world.tenant_id)}
    request = dice.choice([{}, {"risk": 1}, {"risk": 5}])
    reference = Reference(db, world.tenant_id, now, request)
    # Neither a group nor everyone is anybody who could do a thing.
    nobody = [uuid4(), world.tenant_id, *list(reference.groups_there())[:1]]
    asked = [
        (user, permission, resource)
        for user in [*users, *nobody]
        for permission in ASKED
        for resource in [None, uuid4(), *resources]
    ]
    truth = {question: reference.allows(*question) for question in asked}
    assert 0 < sum(truth.values()) < len(truth)

    db.execute("select platform._seal_context(%s)", [json.dumps(service)])
    said = json.dumps(request)
    many = world.one(
        "select authz.check_many(%s, %s::uuid[], %s::uuid[], %s)",
        [q[1] for q in asked], [q[2] for q in asked], [q[0] for q in asked], said,
    )  # fmt: skip
    assert dict(zip(asked, many, strict=True)) == truth
    for user, permission, resource in dice.sample(asked, 60):
        checked, effect, explained = db.execute(
            "select authz.check(%(p)s, %(r)s, %(u)s, %(q)s),"
            " (authz.evaluate(%(p)s, %(r)s, %(u)s, %(q)s)).effect,"
            " authz.explain(%(p)s, %(r)s, %(u)s, %(q)s)",
            {"p": permission, "r": resource, "u": user, "q": said},
        ).fetchone()
        right = truth[user, permission, resource]
        assert (checked, effect == "allow") == (right, right)
        assert explained["decision"]["effect"] == effect
        assert {r["rule_id"] for r in explained["rules"] if r["decided"]} == set(
            explained["decision"]["rule_ids"]
        )
    for permission, kind in [
        *((name, name.split(".")[0]) for name in GIVEN[:3]),
        ("message.read", "conversation"),
    ]:
        for user in users:
            listed = [
                row[0]
                for row in db.execute(
                    "select authz.list_resources(%s, null, 1000, %s, %s, %s)", [permission, user, said, kind]
                )
            ]
            assert listed == sorted(
                r
                for r in resources
                if reference.resources[r]["resource_type"] == kind and truth[user, permission, r]
            )
        for resource in [None, *resources[:3]]:
            pages, after = [], None
            while page := [
                row[0]
                for row in db.execute(
                    "select authz.list_subjects(%s, %s, %s, 2, %s)", [permission, resource, after, said]
                )
            ]:
                pages += page
                after = page[-1]
            assert pages == sorted(u for u in users if truth[u, permission, resource])


def of_type(conn, kind: str):
    return {row[0] for row in conn.execute("select id from authz.resources where resource_type = %s", [kind])}


def hand_on(world: World, dice: random.Random, users, resources, now) -> None:
    """Delegations, emergencies and duties that are counted as they are done."""
    roles = [
        row[0] for row in world.conn.execute("select id from authz.roles where name ~ '^r[0-9a-f]{32}$'")
    ]
    somewhere = lambda: dice.choice([None, dice.choice(resources)])  # noqa: E731
    for _ in range(3):
        giver, taker = dice.sample(users, 2)
        what = dice.choice([{"permission": dice.choice(GIVEN[:3])}, {"role_id": dice.choice(roles)}])
        world.delegate(giver, taker, resource_id=somewhere(), **what)
    for _ in range(2):
        world.insert(
            "authz.break_glass_events", user_id=dice.choice(users), role_id=dice.choice(roles), resource_id=somewhere(),
            reason="The house is on fire", expires_at=now + timedelta(hours=1), ended_at=dice.choice([None, None, now]),
        )  # fmt: skip
    policy = world.insert("authz.access_policies", name="Apart", kind="dynamic", counted_per="resource")
    for permission in ("document.read", "document.update"):
        world.conn.execute(
            "insert into authz.access_policy_permissions values (%s, %s, %s)",
            [world.tenant_id, policy, world.permissions[permission]],
        )
    for resource in resources[:5]:
        world.insert(
            "authz.duty_acts", policy_id=policy, person_id=dice.choice(users), permission_id="document.update",
            resource_id=resource,
        )  # fmt: skip
    world.conn.execute("update authz.access_policies set is_enabled = %s", [dice.random() < 0.7])


@pytest.mark.parametrize("seed", range(2000, 2012))
def test_what_is_quick_is_the_whole_decision_also_of_what_is_handed_on(db, seed):
    dice = random.Random(seed)
    world = World(db)
    now = world.one("select now()")
    users, resources = build(world, dice, now)
    hand_on(world, dice, users, resources, now)
    if dice.random() < 0.5:
        db.execute("update authz.break_glass_events set ended_at = started_at where ended_at is null")
    if dice.random() < 0.3:
        db.execute("delete from authz.delegations")
    rows = db.execute(
        "select a.u, a.p, a.r, (authz.evaluate(a.p, a.r, a.u)).effect = 'allow', authz.check(a.p, a.r, a.u)"
        " from (select u, p, r from unnest(%s::uuid[]) as u, unnest(%s::text[]) as p, unnest(%s::uuid[]) as r) as a",
        [users, GIVEN[:3], [None, *resources]],
    ).fetchall()
    truth = {(user, permission, resource): right for user, permission, resource, right, _ in rows}
    assert {row[:3]: row[4] for row in rows} == truth
    asked = list(truth)
    many = world.one(
        "select authz.check_many(%s, %s::uuid[], %s::uuid[])",
        [q[1] for q in asked], [q[2] for q in asked], [q[0] for q in asked],
    )  # fmt: skip
    assert dict(zip(asked, many, strict=True)) == truth
    for permission in GIVEN[:3]:
        for resource in [None, *resources]:
            listed = db.execute("select authz.list_subjects(%s, %s)", [permission, resource]).fetchall()
            assert [row[0] for row in listed] == sorted(u for u in users if truth[u, permission, resource])
        kind = permission.split(".")[0]
        of_kind = of_type(db, kind)
        for user in users:
            listed = db.execute(
                "select authz.list_resources(%s, null, 1000, %s)", [permission, user]
            ).fetchall()
            assert [row[0] for row in listed] == sorted(r for r in of_kind if truth[user, permission, r])
    for user in users:
        world.ask_as(user)
        for permission in GIVEN[:3]:
            shown, hidden, shown_at_once = db.execute(
                "select authz.visible_scopes(%(p)s), authz.hidden_scopes(%(p)s), authz.open_scopes(%(p)s)",
                {"p": permission},
            ).fetchone()
            assert shown_at_once == ([] if hidden else shown)
            single = (set(shown) - {user, world.tenant_id} - set(hidden)) & set(resources)
            assert all(truth[user, permission, resource] for resource in single)
            if world.tenant_id in shown:
                denied = {r for r in of_type(db, permission.split(".")[0]) if not truth[user, permission, r]}
                assert denied <= set(hidden)
