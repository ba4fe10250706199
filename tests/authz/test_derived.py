"""What is derived is always what deriving it anew would give, however it comes about."""

from __future__ import annotations

import random
from uuid import uuid4

import pytest

from tests.authz.derived import ANEW, STATE, check_as_anew
from tests.authz.world import World

MANY = """
insert into identity.users (tenant_id, email, display_name, status)
select t.id, n || '@example.com', 'One of many', case when n %% 3 = 0 then 'suspended' else 'active' end
from unnest(%s::uuid[]) as t (id)
cross join generate_series(1, 20) as n
"""


def test_people_of_two_tenants_who_come_and_go_together_hold_what_each_would_alone(admin):
    worlds = [World(admin, "here"), World(admin, "there")]
    tenants = [world.tenant_id for world in worlds]
    role = worlds[1].role()
    condition = 'strict $.subject.email starts with "7@"'
    worlds[1].insert("authz.assignment_rules", name="The seventh", role_id=role, condition=condition)
    admin.execute("select set_config('enterprise_ai.context', '', true)")

    admin.execute(MANY, [tenants])
    held = """
        select holder_id, s.roles
        from authz.holders as h
        join authz.role_sets as s on s.id = h.role_set_id and s.tenant_id = h.tenant_id
        join identity.users as u on u.id = h.holder_id
    """
    found = admin.execute(held).fetchall()
    assert len(found) == 40
    assert [roles for _, roles in found if roles] == [[role]]
    before = admin.execute(STATE).fetchone()
    for tenant in tenants:
        admin.execute(ANEW, {"t": tenant})
    assert admin.execute(STATE).fetchone() == before

    people = [holder for holder, _ in found]
    admin.execute("delete from identity.users")
    assert not admin.execute("select from authz.holders where holder_id = any(%s)", [people]).fetchall()


def test_what_is_derived_of_many_new_people_is_derived_once(db):
    world = World(db)
    ((plan,),) = db.execute("explain (analyze, format json) " + MANY, [[world.tenant_id]]).fetchone()
    calls = {t["Trigger Name"]: t["Calls"] for t in plan["Triggers"]}
    each = {name for name, count in calls.items() if count > 1}
    assert each == {"_000_take_turn_if_ruled", *(n for n in calls if n.startswith("RI_"))}, calls
    assert {"apply_rules_after_insert", "derive_after_insert", "count_added"} <= calls.keys()


@pytest.mark.parametrize(
    ("holders", "rules", "columns"),
    [
        (
            "users",
            "user",
            "email, display_name, status) values (%(t)s, %(h)s, 'ada@example.com', 'Ada', 'active'",
        ),
        ("groups", "group", "display_name) values (%(t)s, %(h)s, 'Staff'"),
    ],
)
def test_whom_the_same_statement_makes_holds_what_it_gives_them(db, holders, rules, columns):
    world = World(db)
    holder = uuid4()
    db.execute(
        f"with made as (insert into identity.{holders} (tenant_id, id, {columns}))"
        f" insert into authz.{rules}_permissions (tenant_id, {rules}_id, permission_id, effect)"
        " values (%(t)s, %(h)s, %(p)s, 'deny')",
        {"t": world.tenant_id, "h": holder, "p": world.permissions["document.read"]},
    )
    assert world.one(
        "select position('1' in rights::text) > 0 from authz.holders where holder_id = %s", holder
    )
    check_as_anew(world)


MADE_AT_ONCE = {
    "user": "identity.users (tenant_id, id, email, display_name, status)"
    " values (%(t)s, %(u)s, 'ada@example.com', 'Ada', 'active')",
    "group": "identity.groups (tenant_id, id, parent_id, display_name) values (%(t)s, %(g)s, %(above)s, 'Staff')",
    "member": "identity.group_members (tenant_id, group_id, user_id) values (%(t)s, %(g)s, %(u)s)",
    "role": "authz.group_roles (tenant_id, group_id, role_id) values (%(t)s, %(g)s, %(r)s)",
    "deny": "authz.group_permissions (tenant_id, group_id, permission_id, effect) values (%(t)s, %(g)s, %(p)s, 'deny')",
}


@pytest.mark.parametrize("seed", range(6))
def test_a_group_and_all_about_it_may_come_in_one_statement_in_any_order(db, seed):
    world = World(db)
    above, role, user = world.group(), world.role(), uuid4()
    world.carry(role, "document.update")
    world.insert("authz.group_roles", group_id=above, role_id=role)
    parts = list(MADE_AT_ONCE.values())
    random.Random(seed).shuffle(parts)
    *first, last = (f"insert into {part}" for part in parts)
    db.execute(
        f"with {', '.join(f'part_{n} as ({part})' for n, part in enumerate(first))} {last}",
        {"t": world.tenant_id, "u": user, "g": uuid4(), "above": above, "r": role, "p": world.permissions["document.read"]},
    )  # fmt: skip
    world.say(user, "document.read")
    held = "select authz.check('document.update', null, %s), authz.check('document.read', null, %s)"
    assert db.execute(held, [user, user]).fetchone() == (True, False)
    check_as_anew(world)


def test_groups_that_move_together_or_go_leave_nothing_with_their_members(db):
    world = World(db)
    top = world.group()
    middle = world.group(top)
    bottom = world.group(middle)
    people = {group: world.user() for group in (top, middle, bottom)}
    roles = {}
    for group, action in ((top, "read"), (middle, "update"), (bottom, "share")):
        world.join(group, people[group])
        roles[group] = world.role()
        world.carry(roles[group], f"document.{action}")
        world.insert("authz.group_roles", group_id=group, role_id=roles[group])

    def held(group):
        names = ["document.read", "document.update", "document.share"]
        asked = world.one(
            "select authz.check_many(%s, %s::uuid[], %s::uuid[])", names, [None] * 3, [people[group]] * 3
        )
        check_as_anew(world)
        return asked

    assert held(bottom) == [True, True, True]
    db.execute(
        "update identity.groups set parent_id = case id when %(bottom)s then %(top)s::uuid end"
        " where id = any(array[%(bottom)s, %(middle)s]::uuid[])",
        {"top": top, "middle": middle, "bottom": bottom},
    )
    assert (held(bottom), held(middle)) == ([True, False, True], [False, True, False])
    db.execute("update identity.groups set parent_id = %s where id = %s", [middle, bottom])
    assert (held(bottom), held(top)) == ([False, True, True], [True, False, False])
    db.execute("delete from authz.roles where id = %s", [roles[middle]])
    assert held(bottom) == [False, False, True]
    db.execute("delete from identity.groups where id = any(%s)", [[bottom, middle]])
    assert held(bottom) == [False, False, False]


def test_what_is_taken_is_taken_whatever_required_approval_in_between(db):
    world = World(db)
    ada, giver = world.user(), world.user()
    approval = "update authz.permissions set requires_approval = %s where name = 'document.read'"
    everywhere = world.say(ada, "document.read", granted_by=giver)
    db.execute(approval, [True])
    world.say(ada, "document.read", granted_by=giver, resource_id=world.resource())
    db.execute("delete from authz.user_permissions where id = %s", [everywhere])
    db.execute(approval, [False])
    assert world.one("select authz.check('document.read', null, %s)", ada) is False
    check_as_anew(world)


def test_permissions_come_and_go_and_rights_keep_to_their_own(db):
    world = World(db)
    make = "insert into authz.permissions (id, resource_type, action, description) values (%s, 'document', %s, '') returning id"
    old, new = world.user(), world.user()
    role = world.role()
    world.carry(role, "document.read")
    world.give(old, role)
    world.say(old, "message.read")
    first, second, third = (
        world.one(make, 90000 + n, name) for n, name in enumerate(("one", "two", "three"))
    )
    everyones = world.role(for_everyone=True)
    world.carry(everyones, second)
    world.say(old, third, effect="deny")
    world.conn.execute("delete from authz.user_permissions where permission_id = %s", [third])
    world.conn.execute("delete from authz.permissions where id = any(%s)", [[first, third]])
    world.say(new, "message.read")
    world.one(make, 90010, "four")
    world.say(old, "conversation.read")
    world.give(new, world.role())

    names = ["document.read", "message.read", "conversation.read", "document.two", "document.four"]
    held = {
        user: world.one(
            "select authz.check_many(%s, %s::uuid[], %s::uuid[])", names, [None] * 5, [user] * 5
        )
        for user in (old, new)
    }  # fmt: skip
    assert held == {old: [True, True, True, True, False], new: [False, True, False, True, False]}
    for user, answers in held.items():
        for name, answer in zip(names, answers, strict=True):
            assert world.one("select authz.check(%s, null, %s)", name, user) is answer


def test_rights_in_two_tenants_that_one_statement_changes_are_each_tenants_own(admin):
    worlds = [World(admin, "here"), World(admin, "there")]
    made = [(w, w.user(), w.group(), w.role(), w.resource()) for w in worlds]
    for world, user, group, *_ in made:
        world.enter()
        world.join(group, user)
    tenants, users, groups, roles, resources = ([row[n] for row in made] for n in range(5))
    tenants = [world.tenant_id for world in worlds]
    number = worlds[0].permissions["document.read"]
    steps = [
        "insert into authz.user_roles (tenant_id, user_id, role_id)"
        " select * from unnest(%(t)s::uuid[], %(u)s::uuid[], %(r)s::uuid[])",
        "insert into authz.role_permissions (tenant_id, role_id, permission_id, effect)"
        " select t, r, %(p)s, case n when 1 then 'deny' else 'allow' end"
        " from unnest(%(t)s::uuid[], %(r)s::uuid[]) with ordinality as of_each (t, r, n)",
        "insert into authz.group_permissions (tenant_id, group_id, permission_id, resource_id, effect)"
        " select t, g, %(p)s, x, case n when 1 then 'allow' else 'deny' end"
        " from unnest(%(t)s::uuid[], %(g)s::uuid[], %(x)s::uuid[]) with ordinality as of_each (t, g, x, n)",
        "insert into authz.user_permissions (tenant_id, user_id, permission_id)"
        " select t, u, %(p)s from unnest(%(t)s::uuid[], %(u)s::uuid[]) as of_each (t, u)",
        "update authz.roles set for_everyone = true where id = any(%(r)s)",
        "update identity.tenants set status = 'suspended' where id = any(%(t)s)",
        "update identity.tenants set status = 'active' where id = any(%(t)s)",
        "delete from authz.group_permissions where group_id = any(%(g)s)",
        "update authz.roles set for_everyone = false where id = any(%(r)s)",
        "delete from authz.user_permissions where user_id = any(%(u)s)",
        "delete from identity.group_members where user_id = any(%(u)s)",
        "delete from authz.roles where id = any(%(r)s)",
        "delete from identity.groups where id = any(%(g)s)",
    ]
    for step in steps:
        admin.execute("select set_config('enterprise_ai.context', '', true)")
        admin.execute(step, {"t": tenants, "u": users, "g": groups, "r": roles, "x": resources, "p": number})
        for world in worlds:
            world.enter()
            admin.execute("set local role migrator")
            check_as_anew(world)
            admin.execute("reset role")


def test_what_is_rolled_back_to_a_savepoint_is_not_derived_and_what_follows_is(db):
    world = World(db)
    ada, role = world.user(), world.role()
    world.carry(role, "document.read")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), db.transaction():
            world.give(ada, role)
            world.say(ada, "document.update", effect="deny")
            assert world.one("select authz.check('document.read', null, %s)", ada) is True
            1 / 0  # noqa: B018
        assert world.one("select authz.check('document.read', null, %s)", ada) is False
        check_as_anew(world)
    world.give(ada, role)
    assert world.one("select authz.check('document.read', null, %s)", ada) is True
    check_as_anew(world)


def test_a_table_that_is_copied_in_is_derived(admin):
    world = World(admin, "copied")
    people = [world.user() for _ in range(30)]
    role = world.role()
    world.carry(role, "document.read")
    update = world.permissions["document.update"]
    admin.execute("select set_config('enterprise_ai.context', '', true)")
    with admin.cursor().copy("copy authz.user_roles (tenant_id, user_id, role_id) from stdin") as copy:
        for person in people[:20]:
            copy.write_row([world.tenant_id, person, role])
    columns = "tenant_id, user_id, permission_id, effect"
    with admin.cursor().copy(f"copy authz.user_permissions ({columns}) from stdin") as copy:
        for person in people[10:]:
            copy.write_row([world.tenant_id, person, update, "allow" if person in people[15:] else "deny"])
    world.enter()
    for name, right in (("document.read", people[:20]), ("document.update", people[15:])):
        listed = admin.execute("select authz.list_subjects(%s)", [name]).fetchall()
        assert [row[0] for row in listed] == sorted(right)
    admin.execute("set local role migrator")
    check_as_anew(world)


def test_only_what_a_policy_counts_as_it_is_used_needs_the_whole_decision(db):
    world = World(db)
    policy = world.insert("authz.access_policies", name="Apart", kind="dynamic", counted_per="resource")
    db.execute(
        "insert into authz.access_policy_permissions values (%s, %s, %s)",
        [world.tenant_id, policy, world.permissions["document.read"]],
    )
    static = world.insert("authz.access_policies", name="Never", kind="static")
    db.execute(
        "insert into authz.access_policy_permissions values (%s, %s, %s)",
        [world.tenant_id, static, world.permissions["document.update"]],
    )
    counted = (
        "select array_agg(p.name) from authz.permissions as p, authz.role_sets as s"
        " where s.roles = '{}' and authz._rights_at(s.rights, p.place) & 8 > 0"
    )
    for is_enabled, found in ((True, ["document.read"]), (False, None), (True, ["document.read"])):
        db.execute("update authz.access_policies set is_enabled = %s", [is_enabled])
        assert world.one(counted) == found
        check_as_anew(world)
    db.execute("delete from authz.access_policy_permissions")
    assert world.one(counted) is None


def test_a_role_that_a_group_was_given_before_it_carried_anything_counts_as_soon_as_it_does(db):
    world = World(db)
    ada = world.user()
    group = world.group(world.group(), ada)
    empty, carrying = world.role(), world.role()
    world.carry(carrying, "document.update")
    for role in (carrying, empty):
        world.insert("authz.group_roles", group_id=group, role_id=role)
    check_as_anew(world)
    world.carry(empty, "document.read")
    assert world.one("select authz.check('document.read', null, %s)", ada) is True
    db.execute("delete from authz.group_roles where role_id = %s", [empty])
    assert world.one("select authz.check('document.read', null, %s)", ada) is False
    check_as_anew(world)


def test_who_comes_when_nobody_else_holds_nothing_has_what_everyone_has(db):
    world = World(db)
    first, role = world.user(), world.role()
    everyones = world.role(for_everyone=True)
    world.carry(everyones, "document.read")
    world.give(first, role)
    db.execute("delete from identity.users where id <> %s", [first])
    second = world.user()
    group = world.group(None, second)
    for member in (True, False):
        assert world.one("select authz.check('document.read', null, %s)", second) is True
        assert world.one("select (authz.evaluate('document.read', null, %s)).effect", second) == "allow"
        check_as_anew(world)
        if member:
            db.execute("delete from identity.group_members where group_id = %s", [group])


def test_what_a_role_comes_to_carry_reaches_who_holds_its_heirs_by_whatever_way(db):
    world = World(db)
    parent = world.role()
    middle = world.role(parent)
    heir = world.role(middle)
    ada, bob, eve = (world.user() for _ in range(3))
    world.give(ada, heir)
    world.insert("authz.group_roles", group_id=world.group(world.group(None), bob), role_id=heir)
    db.execute("update authz.roles set for_everyone = true where id = %s", [world.role(middle)])
    ask = "select authz.check_many(%s, array[null, null, null]::uuid[], %s)"
    for effect, right in (("allow", True), ("deny", False)):
        rule = world.carry(parent, "document.read", effect=effect)
        assert world.one(ask, ["document.read"] * 3, [ada, bob, eve]) == [right] * 3
        check_as_anew(world)
        db.execute("delete from authz.role_permissions where id = %s", [rule])
    world.carry(parent, "document.read")
    db.execute("delete from authz.role_inheritance where parent_id = %s", [parent])
    assert world.one(ask, ["document.read"] * 3, [ada, bob, eve]) == [False] * 3
    check_as_anew(world)


def test_in_a_suspended_tenant_nobody_may_anything_whoever_asks_how(db):
    world = World(db)
    ada, thing = world.user(), world.resource()
    world.say(ada, "document.read")
    world.insert("authz.group_roles", group_id=world.group(None, ada), role_id=world.role())
    answers = (
        "select authz.check('document.read', null, %(u)s), (authz.evaluate('document.read', null, %(u)s)).effect = 'allow',"
        " authz.check_many('{document.read}', array[null]::uuid[], array[%(u)s]) = '{t}',"
        " exists (select authz.list_resources('document.read', user_id => %(u)s)),"
        " exists (select authz.list_subjects('document.read', %(r)s))"
    )
    for status in ("suspended", "active", "suspended"):
        world.enter()
        db.execute("update identity.tenants set status = %s where id = %s", [status, world.tenant_id])
        assert set(db.execute(answers, {"u": ada, "r": thing}).fetchone()) == {status == "active"}
        check_as_anew(world)
        world.ask_as(ada)
        shown = db.execute(
            "select authz.visible_scopes('document.read'), authz.open_scopes('document.read')"
        ).fetchone()
        assert [bool(scopes) for scopes in shown] == [status == "active"] * 2


@pytest.mark.parametrize("said_to", ["user", "group"])
@pytest.mark.parametrize("differs", ["holder", "permission_id", "effect", "resource_id", "condition"])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_taken_is_gone_also_where_almost_the_same_is_left(db, said_to, differs, first):
    world = World(db)
    ada, bob = world.user(), world.user()
    groups = [world.group(None, ada), world.group(None, bob)]
    holders = {"user": [ada, bob], "group": groups}[said_to]
    rule = {f"{said_to}_id": holders[0], "permission_id": "document.read"}
    other = {
        "holder": {f"{said_to}_id": holders[1]},
        "permission_id": {"permission_id": "document.update"},
        "effect": {"effect": "deny"},
        "resource_id": {"resource_id": world.resource()},
        "condition": {"condition": "strict $.env.sure == true"},
    }[differs]
    given = [world.insert(f"authz.{said_to}_permissions", **one) for one in (rule, {**rule, **other})]
    check_as_anew(world)
    db.execute(f"delete from authz.{said_to}_permissions where id = %s", [given[0 if first else 1]])
    check_as_anew(world)
