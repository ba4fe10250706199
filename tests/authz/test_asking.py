"""Who may ask, in what context, and what an answer sees of what others are changing."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from tests.authz.world import CONTEXT, World

READ = "document.read"
CHECK = "select authz.check('document.read')"


@pytest.fixture
def world(db):
    return World(db)


@pytest.mark.parametrize(
    "ask",
    [
        CHECK,
        "select authz.evaluate('document.read')",
        "select authz.check_many('{document.read}', '{null}')",
        "select authz.explain('document.read')",
        "select authz.list_resources('document.read')",
        "select authz.list_subjects('document.read')",
        "select authz.list_actions(platform.new_id())",
    ],
)
def test_without_a_context_nothing_is_answered(db, ask):
    with pytest.raises(psycopg.Error) as caught:
        db.execute(ask)
    assert caught.value.sqlstate == "ZA001"


def test_about_others_asks_who_may_see_grants_and_services(world):
    ada, bob = world.user(), world.user()
    world.say(bob, READ)
    about_bob = "select authz.check('document.read', null, %s)"
    world.ask_as(ada)
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        world.one(about_bob, bob)
    assert caught.value.sqlstate == "ZA007"
    with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
        world.one("select authz.check_many('{document.read}', '{null}', %s)", [bob])
    assert caught.value.sqlstate == "ZA007"
    world.say(ada, "permission.read")
    assert world.one(about_bob, bob) is True
    world.enter()  # a context without a user
    assert world.one(about_bob, bob) is True
    assert world.one(CHECK) is False


def test_lists_of_different_lengths_and_impossible_pages_are_refused(world):
    for ask in (
        "select authz.check_many('{document.read,document.read}', '{null}')",
        "select authz.list_resources('document.read', null, 0)",
        "select authz.list_subjects('document.read', null, null, 1001)",
    ):
        with pytest.raises(psycopg.Error) as caught, world.conn.transaction():
            world.conn.execute(ask)
        assert caught.value.sqlstate == "ZA009"
    assert world.one("select authz.check_many('{}', '{}')") == []


def test_a_check_within_a_transaction_sees_its_own_writes(world):
    ada = world.user()
    world.ask_as(ada)
    assert world.one(CHECK) is False
    grant = world.say(ada, READ)
    assert world.one(CHECK) is True
    world.conn.execute("delete from authz.user_permissions where id = %s", [grant])
    assert world.one(CHECK) is False


@pytest.mark.parametrize(
    ("level", "after"), [("read committed", False), ("repeatable read", True), ("serializable", True)]
)
def test_a_revoke_is_seen_by_the_next_statement_or_snapshot(database, level, after):
    with psycopg.connect(database) as writer, psycopg.connect(database) as reader:
        world = World(writer, "shop")
        ada = world.user()
        role = world.role()
        world.carry(role, READ)
        world.give(ada, role)
        writer.commit()
        reader.execute(f"set transaction isolation level {level}")
        World.ask_as(in_(reader, world), ada)
        ask = lambda: reader.execute(CHECK).fetchone()[0]  # noqa: E731
        assert ask() is True
        writer.execute(CONTEXT, [world.tenant_id])
        writer.execute("delete from authz.user_roles where user_id = %s", [ada])
        assert ask() is True
        writer.commit()
        assert ask() is after
        reader.commit()
        World.ask_as(in_(reader, world), ada)
        assert ask() is False


def in_(conn: psycopg.Connection, world: World) -> World:
    """The same tenant on another connection."""
    other = World.__new__(World)
    other.conn, other.tenant_id, other.permissions = conn, world.tenant_id, world.permissions
    return other


def test_whoever_changes_rights_is_announced(database):
    with psycopg.connect(database) as conn, psycopg.connect(database, autocommit=True) as listener:
        world = World(conn, "shop")
        ada = world.user()
        conn.commit()
        listener.execute("listen enterprise_ai_authz")
        world.enter()
        for _ in range(3):
            world.say(ada, READ, condition="strict $.env.a == 1")
        epoch = world.one("select epoch from authz.epochs")
        conn.commit()
        (told,) = listener.notifies(timeout=10, stop_after=1)
        assert told.payload == f"{world.tenant_id} {epoch}"


def test_a_tenant_goes_with_all_that_was_derived(world):
    ada = world.user()
    role = world.role(world.role())
    world.carry(role, READ)
    world.give(ada, role)
    world.insert("authz.group_roles", group_id=world.group(world.group(), ada), role_id=role)
    world.conn.execute("delete from identity.tenants where id = %s", [world.tenant_id])
    for table in ("epochs", "holders", "role_rights", "role_sets", "roles"):
        assert world.one(f"select count(*) from authz.{table}") == 0


# Every way by which somebody comes to have a permission on a thing that they own: what they hold in each.
WAYS = {
    "by a role": lambda w, u, r, thing: w.give(u, r(READ)),
    "by a role on one's own": lambda w, u, r, thing: w.give(u, r(READ, only_own=True)),
    "by a role under a condition": lambda w, u, r, thing: w.give(u, r(READ, condition=YES)),
    "by a role that has it on the thing": lambda w, u, r, thing: w.give(u, r(READ, resource_id=thing)),
    "by a role held on the thing": lambda w, u, r, thing: w.give(u, r(READ), resource_id=thing),
    "by a role held under a condition": lambda w, u, r, thing: w.give(u, r(READ), condition=YES),
    "by a role held for a time": lambda w, u, r, thing: w.give(u, r(READ), valid_until="2090-01-01"),
    "by a role on one's own held for a time": lambda w, u, r, thing: w.give(
        u, r(READ, only_own=True), valid_until="2090-01-01"
    ),
    "by an emergency": lambda w, u, r, thing: w.insert(
        "authz.break_glass_events", user_id=u, role_id=r(READ), reason="The house is on fire",
        expires_at=w.one("select now() + interval '1 hour'"),
    ),
    "by delegation": lambda w, u, r, thing: (w.say(giver := w.user(), READ), w.delegate(giver, u, READ)),
    "directly": lambda w, u, r, thing: w.say(u, READ),
    "directly on the thing": lambda w, u, r, thing: w.say(u, READ, resource_id=thing),
    "directly under a condition": lambda w, u, r, thing: w.say(u, READ, condition=YES),
    **{
        f"{name} of a group above": lambda w, u, r, thing, table=table, how=how: w.insert(
            f"authz.group_{table}", group_id=above(w, u), **how(r, thing)
        )
        for name, table, how in (
            ("by a role", "roles", lambda r, thing: {"role_id": r(READ)}),
            ("by a role on one's own", "roles", lambda r, thing: {"role_id": r(READ, only_own=True)}),
            ("by a role under a condition", "roles", lambda r, thing: {"role_id": r(READ, condition=YES)}),
            ("by a role on the thing", "roles", lambda r, thing: {"role_id": r(READ), "resource_id": thing}),
            ("by a conditional role", "roles", lambda r, thing: {"role_id": r(READ), "condition": YES}),
            ("directly", "permissions", lambda r, thing: {"permission_id": READ}),
            ("by sharing", "permissions", lambda r, thing: {"permission_id": READ, "resource_id": thing}),
            ("on a condition", "permissions", lambda r, thing: {"permission_id": READ, "condition": YES}),
        )
    },
}  # fmt: skip
YES = "strict $.env.sure == true"


def above(world, user):
    """A group within which there is one that the user is in."""
    top = world.group()
    world.group(top, user)
    return top


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("denied", [False, True])
def test_by_whatever_way_somebody_has_it_all_who_ask_hear_of_it(world, way, denied):
    ada, bob = world.user(), world.user()
    thing, other = world.resource(owner_id=ada), world.resource(owner_id=bob)

    def role(permission, **how):
        made = world.role()
        world.carry(made, permission, **how)
        return made

    WAYS[way](world, ada, role, thing)
    if denied:
        world.say(ada, READ, effect="deny", resource_id=thing)
    sure = '{"sure": true}'
    names = {"p": READ, "r": thing, "u": ada, "q": sure}
    assert world.conn.execute(
        "select authz.check(%(p)s, %(r)s, %(u)s, %(q)s),"
        " (authz.evaluate(%(p)s, %(r)s, %(u)s, %(q)s)).effect = 'allow',"
        " authz.check_many(array[%(p)s], array[%(r)s], array[%(u)s], %(q)s) = '{t}',"
        " %(u)s in (select authz.list_subjects(%(p)s, %(r)s, null, 100, %(q)s)),"
        " %(r)s in (select authz.list_resources(%(p)s, null, 100, %(u)s, %(q)s))",
        names,
    ).fetchone() == (not denied,) * 5  # fmt: skip
    assert not world.one("select authz.check(%s, %s, %s, %s)", READ, other, bob, sure)
    listed = world.conn.execute("select authz.list_subjects(%s, %s, null, 100, %s)", [READ, other, sure])
    assert (bob,) not in listed.fetchall()


LIMITS = {
    "condition": "strict $.env.sure == true",
    "networks": ["10.0.0.0/8"],
    "minimum_authentication_level": 3,
    # Not today, and not tomorrow either.
    "windows": [
        {
            "days": [(datetime.now(UTC).isoweekday() + 2) % 7 + 1],
            "from": "09:00",
            "until": "17:00",
            "time_zone": "UTC",
        }
    ],
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("given", ["user_roles", "group_roles", "user_permissions", "group_permissions"])
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_what_hangs_on_more_than_the_time_is_never_settled_by_the_time(world, limit, given, effect):
    ada, thing = world.user(), world.resource()
    holder = {"user_id": ada} if given.startswith("user") else {"group_id": above(world, ada)}
    if given.endswith("roles"):
        role = world.role()
        world.carry(role, READ, effect=effect)
        what = {"role_id": role}
    else:
        what = {"permission_id": READ, "effect": effect}
    world.insert(f"authz.{given}", **holder, **what, **{limit: LIMITS[limit]}, valid_until="2090-01-01")
    if effect == "deny":
        world.say(ada, READ)
    for resource in (None, thing):
        whole = world.one("select (authz.evaluate(%s, %s, %s)).effect = 'allow'", READ, resource, ada)
        # A deny holds as long as it is not known not to; outside of its window it is.
        assert whole is (effect == "deny" and limit == "windows")
        assert world.one("select authz.check(%s, %s, %s)", READ, resource, ada) is whole
        assert world.one(
            "select authz.check_many(array[%s], array[%s]::uuid[], array[%s])", READ, resource, ada
        ) == [whole]
        listed = world.conn.execute("select authz.list_subjects(%s, %s)", [READ, resource]).fetchall()
        assert ((ada,) in listed) is whole
    listed = world.conn.execute("select authz.list_resources(%s, user_id => %s)", [READ, ada]).fetchall()
    assert ((thing,) in listed) is whole
    world.ask_as(ada)
    shown, hidden = world.conn.execute(
        "select authz.visible_scopes(%(p)s), authz.hidden_scopes(%(p)s)", {"p": READ}
    ).fetchone()
    assert (bool({world.tenant_id, thing} & set(shown)) and thing not in hidden) is whole


@pytest.mark.parametrize("given", ["user_roles", "group_roles", "user_permissions", "group_permissions"])
def test_what_waits_for_approval_is_allowed_by_no_way_to_ask(world, given):
    ada, thing, role = world.user(), world.resource(), world.role()
    world.conn.execute("update authz.permissions set requires_approval = true where name = %s", [READ])
    world.carry(role, READ)
    holder = {"user_id": ada} if given.startswith("user") else {"group_id": above(world, ada)}
    what = {"role_id": role} if given.endswith("roles") else {"permission_id": READ}
    rule = world.insert(f"authz.{given}", **holder, **what, granted_by=world.user())
    ask = (
        "select authz.check(%(p)s, %(r)s, %(u)s), (authz.evaluate(%(p)s, %(r)s, %(u)s)).effect = 'allow',"
        " authz.check_many(array[%(p)s], array[%(r)s], array[%(u)s]) = '{t}',"
        " %(u)s in (select authz.list_subjects(%(p)s, %(r)s)),"
        " %(r)s in (select authz.list_resources(%(p)s, user_id => %(u)s))"
    )
    names = {"p": READ, "r": thing, "u": ada}
    assert world.conn.execute(ask, names).fetchone() == (False,) * 5
    agree = f"update authz.{given} set approved_by = %s, approved_at = now() where id = %s"
    world.conn.execute(agree, [world.user(), rule])
    assert world.conn.execute(ask, names).fetchone() == (True,) * 5
