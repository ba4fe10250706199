"""An application that may run any SQL tries to make a decision, or the rights behind it, tell of another tenant."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.authz.world import World

DECIDED = ("role_rights", "role_sets", "holders", "resources", "roles", "role_inheritance", "role_permissions", "user_roles",
           "group_roles", "user_permissions", "group_permissions", "delegations", "proxy_grants",
           "break_glass_events")  # fmt: skip
ROLES = ("enterprise_ai_decider", "enterprise_ai_definer")


class Scene:
    """Ada attacks from her tenant, where she may ask about anybody; Bob and what is shared with him are next door."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.here, self.there = (World(conn, slug + uuid4().hex[:12]) for slug in "ab")
        self.there.enter()
        self.bob, self.cy = self.there.user(), self.there.user()
        role = self.there.role(self.there.role())
        self.there.carry(role, "document.read")
        self.there.give(self.bob, role)
        self.secret = self.there.resource(owner_id=self.bob)
        self.there.say(self.bob, "document.update", resource_id=self.secret)
        self.there.delegate(self.bob, self.cy, "document.read")
        self.here.enter()
        self.ada = self.here.user()
        self.here.say(self.ada, "permission.read")
        self.here.say(self.ada, "document.read")
        self.here.ask_as(self.ada)
        conn.execute("set local role enterprise_ai_app")
        self.conn = conn

    def ask(self, query: str) -> list[tuple]:
        """What the attacker is told; an error counts as nothing, and as an error where one is expected."""
        values = {"bob": self.bob, "cy": self.cy, "secret": self.secret, "ada": self.ada,
                  "there": self.there.tenant_id}  # fmt: skip
        with self.conn.transaction():
            return self.conn.execute(query, values).fetchall()


@pytest.fixture
def scene(admin):
    return Scene(admin)


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("select authz.check('document.read', %(secret)s)", False),
        ("select authz.check('document.read', null, %(bob)s)", False),
        ("select authz.check('document.update', %(secret)s, %(bob)s)", False),
        ("select (authz.evaluate('document.read', %(secret)s)).reason", "deny_not_found"),
        ("select (authz.evaluate('document.read', null, %(bob)s)).reason", "deny_subject_inactive"),
        ("select (authz.evaluate('document.read', null, %(cy)s)).rule_ids::text", "{}"),
        ("select authz.explain('document.read', null, %(bob)s) -> 'rules' = '[]'", True),
        ("select authz.explain('document.update', %(secret)s, %(bob)s) -> 'rules' = '[]'", True),
        ("select count(*) from authz.list_resources('document.read', null, 1000, %(bob)s)", 0),
        ("select count(*) from authz.list_resources('document.read') as r where r = %(secret)s", 0),
        ("select count(*) from authz.list_subjects('document.read') as u where u in (%(bob)s, %(cy)s)", 0),
        ("select count(*) from authz.list_subjects('document.update', %(secret)s)", 0),
        ("select count(*) from authz.list_actions(%(secret)s, %(bob)s)", 0),
        (
            "select authz.check_many('{document.read,document.update}', array[null, %(secret)s]::uuid[],"
            " array[%(bob)s, %(bob)s]::uuid[])::text",
            "{f,f}",
        ),
    ],
)
def test_a_decision_says_nothing_of_another_tenant(scene, query, answer):
    assert scene.ask(query) == [(answer,)]


@pytest.mark.parametrize("setting", ["deciding_for", "tenant_id", "decider", "context_tenant"])
def test_no_setting_chooses_the_tenant(scene, setting):
    scene.ask(f"select set_config('enterprise_ai.{setting}', %(there)s::text, true)")
    assert scene.ask("select authz.check('document.update', %(secret)s, %(bob)s)") == [(False,)]
    for table in DECIDED:
        assert scene.ask(f"select count(*) from authz.{table} where tenant_id = %(there)s") == [(0,)], table


@pytest.mark.parametrize(
    "query",
    [
        *(f"grant {role} to current_user" for role in ROLES),
        "alter function authz.check(text, uuid, uuid, jsonb) owner to enterprise_ai_app",
        "create function authz.mine() returns int language sql as 'select 1'",
        "select authz._evaluate(jsonb_build_object('tenant_id', %(there)s), %(bob)s, 'document.read', null, '{}', now())",
        "select authz._decide(%(there)s, %(bob)s, 'document.read', null, '{}', now())",
        "select authz._rules(%(there)s, %(bob)s, 702, null, '{}', now())",
        "select authz._delegated(%(there)s, %(cy)s, 'document.read', null, '{}', now())",
        "select authz._enter_tenant(%(there)s)",
        "select authz._touch_epoch(%(there)s)",
        "select authz._derive_holders(%(there)s, array[%(bob)s])",
    ],
)
def test_what_would_reach_past_the_tenant_is_not_the_applications(scene, query):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        scene.ask(query)


def test_objects_of_the_callers_own_are_never_called(scene):
    """Ahead on the search path, and in pg_temp: were one of them found, it would run as the decider and tell."""
    scene.ask("select 1")
    scene.conn.execute(
        """
        reset role;
        create schema trap;
        grant usage on schema trap to public;
        create function trap.shout(uuid, uuid) returns boolean language plpgsql as
            $$ begin raise 'trapped as %', current_user; end $$;
        create operator trap.= (leftarg = uuid, rightarg = uuid, function = trap.shout);
        create function trap.context() returns jsonb language plpgsql as $$ begin raise 'trapped'; end $$;
        create table pg_temp.holders (like authz.holders);
        set local role enterprise_ai_app;
        set local search_path = trap, pg_temp, pg_catalog, platform, authz;
        """
    )
    assert scene.ask("select authz.check('document.read')") == [(True,)]
    assert scene.ask("select (authz.evaluate('document.read')).effect") == [("allow",)]
    assert scene.ask("select authz.check_many('{document.read}', '{null}')::text") == [("{t}",)]
    assert scene.ask("select count(*) from authz.list_subjects('document.read')") == [(1,)]


def test_a_forged_or_changed_context_decides_nothing(scene):
    (sealed,) = scene.ask("select current_setting('enterprise_ai.context')")[0]
    here, there = str(scene.here.tenant_id), str(scene.there.tenant_id)
    for forged in (sealed.replace(here, there), sealed[:64] + sealed[64:].upper(), "x", sealed[:72], there):
        scene.conn.execute("select set_config('enterprise_ai.context', %s, true)", [forged])
        for ask in (
            "select authz.check('document.read')",
            "select authz.evaluate('document.read')",
            "select authz.explain('document.read')",
            "select authz.check_many('{document.read}', '{null}')",
            "select authz.list_resources('document.read')",
        ):
            with pytest.raises(psycopg.Error) as caught:
                scene.ask(ask)
            assert caught.value.sqlstate == "ZA001", ask


def test_the_owner_sees_one_tenant_only_where_the_decider_sees_all(db):
    """A function of the owner that relied on row security would otherwise be a way around it."""
    worlds = [World(db, slug + uuid4().hex[:12]) for slug in "ab"]
    for world in worlds:
        world.enter()
        world.give(world.user(), world.role())
    seen = "select array_agg(distinct tenant_id) from authz.{}"
    for table in ("user_roles", "roles", "holders"):
        assert worlds[1].one(seen.format(table)) == [worlds[1].tenant_id], table
    db.execute("set local role enterprise_ai_decider")
    plan = "\n".join(row[0] for row in db.execute("explain select * from authz.user_roles"))
    assert "InitPlan" not in plan
    assert len(worlds[1].one(seen.format("user_roles"))) == 2


def test_what_a_superuser_writes_without_a_context_is_derived_all_the_same(admin):
    world = World(admin, "w" + uuid4().hex[:12])
    ada, role = world.user(), world.role()
    world.carry(role, "document.read")
    admin.execute("select set_config('enterprise_ai.context', '', true)")
    world.give(ada, role)
    assert world.one("select current_setting('enterprise_ai.context')") == ""
    world.ask_as(ada)
    assert world.one("select authz.check('document.read')") is True
