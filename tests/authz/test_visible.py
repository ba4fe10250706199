"""Row security shows of conversations, messages, documents and reports what the decisions allow."""

from __future__ import annotations

import json
import random
import re
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.authz.test_agreement import build, change
from tests.authz.world import World


@pytest.fixture
def world(admin):
    return World(admin, "w" + uuid4().hex[:12])


def document(world: World, owner: UUID, known: UUID | None = None) -> UUID:
    """A document, under the id of the resource that stands for it where there is one."""
    return world.insert(
        "llm.documents", **({"id": known} if known else {}), owner_id=owner, title="Plan", media_type="text/plain",
        byte_size=1, content_sha256=bytes(32), storage_uri="s3://bucket/key",
    )  # fmt: skip


def seen(world: World, user: UUID | None, table: str = "llm.documents", **fields: Any) -> set[UUID]:
    """The ids that an application sees there in the context of the user, or as a service."""
    said = {"tenant_id": world.tenant_id, **({"user_id": user} if user else {}), **fields}
    world.conn.execute("select platform._seal_context(%s)", [json.dumps(said, default=str)])
    world.conn.execute("set local role enterprise_ai_app")
    found = {row[0] for row in world.conn.execute(f"select id from {table}")}
    world.conn.execute("reset role")
    world.enter()
    return found


def may(world: World, user: UUID, permission: str = "document.read", **how: Any) -> UUID:
    """Give the user a role of their own that carries the permission."""
    role = world.role()
    world.carry(role, permission, **how)
    world.give(user, role)
    return role


@pytest.mark.parametrize("seed", range(12))
def test_what_is_seen_is_what_is_allowed(admin, seed):
    dice = random.Random(1000 + seed)
    world = World(admin, "w" + uuid4().hex[:12])
    users, _ = build(world, dice, world.one("select now()"))
    world.conn.execute("set local role migrator")  # whose changes end at the tenant
    change(world.conn, dice)
    world.conn.execute("reset role")
    owned = world.conn.execute(
        "select id, owner_id, resource_type from authz.resources where tenant_id = %s and owner_id is not null",
        [world.tenant_id],
    ).fetchall()
    known = [document(world, owner, id_) for id_, owner, kind in owned if kind == "document"]
    talks = [
        world.insert("llm.conversations", id=id_, user_id=owner, title="Plans")
        for id_, owner, kind in owned
        if kind == "conversation"
    ]
    messages = {talk: world.insert("llm.messages", conversation_id=talk, role="user") for talk in talks}
    # Who is denied their own and allowed all else is shown only what is given by itself.
    may_show_less = {
        row[0]
        for row in world.conn.execute(
            "select p.name from authz.role_permissions as r join authz.permissions as p on p.id = r.permission_id"
            " where r.tenant_id = %s and r.only_own and r.effect = 'deny'",
            [world.tenant_id],
        )
    }
    for user in users:
        world.ask_as(user)
        may_read = {
            what: {id_ for id_ in ids if world.one("select authz.check(%s, %s)", what, id_)}
            for what, ids in (("document.read", known), ("conversation.read", talks), ("message.read", talks))
        }
        of_messages = may_read.pop("message.read") & may_read["conversation.read"]
        for what, table in (("document.read", "llm.documents"), ("conversation.read", "llm.conversations")):
            found = seen(world, user, table)
            assert found <= may_read[what]
            assert what in may_show_less or found == may_read[what]
        found = seen(world, user, "llm.messages")
        assert found <= {messages[talk] for talk in of_messages}
        if not may_show_less & {"conversation.read", "message.read"}:
            assert found == {messages[talk] for talk in of_messages}


def test_one_sees_what_one_owns_what_is_shared_and_all_where_a_role_says_so(world):
    ada, bob, eve = world.user(), world.user(), world.user()
    mine, other = document(world, ada), document(world, bob)
    folder = world.resource(owner_id=bob)
    below = document(world, bob, world.resource(folder, owner_id=bob))
    assert seen(world, ada) == set()
    may(world, ada, only_own=True)
    assert seen(world, ada) == {mine}
    world.say(ada, "document.read", resource_id=folder)
    assert seen(world, ada) == {mine, below}
    group = world.group(None, eve)
    world.insert("authz.group_permissions", group_id=group, permission_id="document.read", resource_id=folder)
    assert seen(world, eve) == {below}
    may(world, eve)
    assert seen(world, eve) == {mine, other, below}
    world.say(eve, "document.read", resource_id=folder, effect="deny")
    assert seen(world, eve) == {mine, other}


def test_a_role_on_a_folder_shows_what_lies_in_it(world):
    ada, bob = world.user(), world.user()
    folder = world.resource()
    below = document(world, bob, world.resource(folder, owner_id=bob))
    document(world, bob)
    role = world.role()
    world.carry(role, "document.read")
    world.give(ada, role, resource_id=folder)
    assert seen(world, ada) == {below}


def test_pages_go_by_a_column_of_the_business_and_none_is_cut_short(world):
    reader, other = world.user(), world.user()
    mine = may(world, reader, only_own=True)
    world.give(other, mine)
    titles = {}
    for n in range(40):
        one = document(world, reader if n % 3 else other)
        titles[one] = f"Plan {n % 7}"
        world.conn.execute("update llm.documents set title = %s where id = %s", [titles[one], one])
    expected = seen(world, reader)
    world.conn.execute("select platform._seal_context(%s)",
                       [json.dumps({"tenant_id": world.tenant_id, "user_id": reader}, default=str)])  # fmt: skip
    world.conn.execute("set local role enterprise_ai_app")
    found: list[Any] = []
    while page := world.conn.execute(
        "select title, id from llm.documents where (title, id) > (%s, %s) order by title, id limit 10",
        found[-1] if found else ("", UUID(int=0)),
    ).fetchall():
        found += page
    assert len(expected) == 26
    assert [row[1] for row in found] == sorted(expected, key=lambda one: (titles[one], one))


def test_a_service_sees_its_tenant_and_nobody_sees_nothing(world):
    ada = world.user()
    mine = document(world, ada)
    assert seen(world, None) == {mine}
    may(world, ada)
    assert seen(world, ada) == {mine}
    world.conn.execute("update identity.users set status = 'suspended' where id = %s", [ada])
    assert seen(world, ada) == set()
    world.conn.execute("select set_config('enterprise_ai.context', '', true)")
    world.conn.execute("set local role enterprise_ai_app")
    assert world.conn.execute("select id from llm.documents").fetchall() == []
    assert world.one("select authz.visible_scopes('document.read')") == []


def test_a_key_sees_what_it_was_made_for(world):
    ada = world.user()
    mine = document(world, ada)
    may(world, ada)
    assert seen(world, ada, scopes=["document.read"]) == {mine}
    assert seen(world, ada, scopes=["conversation.read"]) == set()


def test_a_condition_that_asks_about_the_resource_opens_nothing_that_is_not_one(world):
    ada, bob = world.user(), world.user()
    secret = world.resource(attributes={"secret": True}, owner_id=bob)
    document(world, bob, secret)
    open_one = document(world, bob, world.resource(owner_id=bob))
    may(world, ada, condition="strict !exists($.resource.secret)")
    assert seen(world, ada) <= {open_one}


def test_a_deny_of_what_is_ones_own_hides_it(world):
    ada, bob = world.user(), world.user()
    document(world, ada)
    other = document(world, bob)
    may(world, ada)
    may(world, ada, only_own=True, effect="deny")
    assert seen(world, ada) <= {other}


def test_who_acts_for_another_sees_what_both_may(world):
    ada, bob = world.user(), world.user()
    mine = document(world, ada)
    may(world, ada)
    assert seen(world, ada, actor_id=bob) == set()
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, permission_id="document.read")
    assert seen(world, ada, actor_id=bob) == {mine}
    world.say(bob, "document.read", effect="deny")
    assert seen(world, ada, actor_id=bob) == set()


def test_to_see_a_conversation_is_not_to_read_it(world):
    ada, bob = world.user(), world.user()
    talk = world.insert("llm.conversations", user_id=bob, title="Plans")
    message = world.insert("llm.messages", conversation_id=talk, role="user")
    world.conn.execute(
        "insert into llm.message_contents (tenant_id, message_id, part_index, kind, content)"
        " values (%s, %s, 0, 'text', 'x')",
        [world.tenant_id, message],
    )
    may(world, ada, "conversation.read")
    assert seen(world, ada, "llm.conversations") == {talk}
    assert seen(world, ada, "llm.messages") == set()
    assert seen(world, ada, "(select message_id as id from llm.message_contents) as c") == set()
    may(world, ada, "message.read")
    assert seen(world, ada, "llm.messages") == {message}
    assert seen(world, ada, "(select message_id as id from llm.message_contents) as c") == {message}


def test_reports_that_are_not_shared_are_their_owners(world):
    ada, bob = world.user(), world.user()
    report = {"dataset": "usage", "definition": {"measures": ["cost"]}}
    insert = lambda name, **more: world.insert("analytics.analytics_reports", name=name, **report, **more)  # noqa: E731
    private = insert("a", owner_id=bob)
    shared = insert("b", owner_id=bob, is_shared=True)
    given = insert("c")
    for person in (ada, bob):
        may(world, person, "analytics.read")
    assert seen(world, ada, "analytics.analytics_reports") == {shared, given}
    assert seen(world, bob, "analytics.analytics_reports") == {private, shared, given}


def asked_for(world: World, table: str) -> list[tuple[str, int]]:
    """The lists of scopes in the plan of a query, each with how often it was asked for."""
    world.conn.execute("set local role enterprise_ai_app")
    (plan,) = world.one(f"explain (analyze, verbose, format json) select * from {table}")

    def nodes(node: dict[str, Any]) -> Any:
        yield node
        for child in node.get("Plans", []):
            yield from nodes(child)

    found = list(nodes(plan["Plan"]))
    assert not any("_scopes(" in str(node.get("Filter")) for node in found), "asked for each row"
    once = [node for node in found if node.get("Parent Relationship") == "InitPlan"]
    return [
        (name.group(), node["Actual Loops"])
        for node in once
        if (name := re.search(r"\w+_scopes", str(node.get("Output"))))
    ]


@pytest.mark.parametrize("table", ["llm.documents", "llm.conversations", "analytics.analytics_reports"])
def test_rights_are_asked_for_at_most_once_a_statement(world, table):
    world.ask_as(world.user())
    asked = asked_for(world, table)
    assert {name for name, _ in asked} == {"open_scopes", "visible_scopes", "hidden_scopes"}
    assert all(loops <= 1 for _, loops in asked)


def test_what_is_hidden_is_asked_for_only_where_something_may_be(world):
    ada = world.user()
    may(world, ada)
    shown, hidden = document(world, ada), document(world, ada, world.resource(owner_id=ada))
    world.ask_as(ada)
    assert [name for name, loops in asked_for(world, "llm.documents") if loops] == ["open_scopes"]
    world.conn.execute("reset role")
    world.enter()
    world.say(ada, "document.read", effect="deny", resource_id=hidden)
    world.ask_as(ada)
    assert all(loops == 1 for _, loops in asked_for(world, "llm.documents"))
    world.conn.execute("reset role")
    assert seen(world, ada) == {shown}


@pytest.mark.parametrize("said_to", ["user", "group"])
@pytest.mark.parametrize("said_of", ["type", "folder", "thing"])
def test_what_is_shared_under_a_condition_is_seen_when_it_holds(world, said_to, said_of):
    ada, bob = world.user(), world.user()
    folder = world.resource(owner_id=bob)
    below = document(world, bob, world.resource(folder, owner_id=bob))
    other = document(world, bob)
    holder = {"user_id": ada} if said_to == "user" else {"group_id": world.group(None, ada)}
    scope = {"type": None, "folder": folder, "thing": below}[said_of]
    rule = {"permission_id": "document.read", "minimum_authentication_level": 2, **holder}
    world.insert(f"authz.{said_to}_permissions", resource_id=scope, **rule)
    in_reach = {below, other} if scope is None else {below}
    assert seen(world, ada) == seen(world, ada, authentication_level=1) == set()
    assert seen(world, ada, authentication_level=2) == in_reach
    # A deny hides it unless it is known not to hold.
    world.say(ada, "document.read")
    assert seen(world, ada) == {below, other}
    world.insert(f"authz.{said_to}_permissions", resource_id=scope, effect="deny", **rule)
    assert seen(world, ada) == seen(world, ada, authentication_level=2) == {below, other} - in_reach
    assert seen(world, ada, authentication_level=1) == {below, other}


@pytest.mark.parametrize("denied_to", ["user", "actor", "group of the actor"])
def test_who_acts_for_another_does_not_see_single_things_that_are_denied_to_either(world, denied_to):
    ada, bob = world.user(), world.user()
    folder = world.resource(owner_id=ada)
    hidden, shown = document(world, ada, world.resource(folder, owner_id=ada)), document(world, ada)
    may(world, ada)
    world.insert("authz.proxy_grants", user_id=ada, actor_id=bob, permission_id="document.read")
    assert seen(world, ada, actor_id=bob) == {hidden, shown}
    if denied_to == "group of the actor":
        world.insert(
            "authz.group_permissions", group_id=world.group(None, bob), permission_id="document.read",
            resource_id=folder, effect="deny",
        )  # fmt: skip
    else:
        world.say(ada if denied_to == "user" else bob, "document.read", resource_id=folder, effect="deny")
    assert seen(world, ada, actor_id=bob) == {shown}
    assert seen(world, ada) == ({shown} if denied_to == "user" else {hidden, shown})


@pytest.mark.parametrize("way", ["role", "own role", "share", "group's share"])
def test_what_waits_for_approval_is_not_seen(world, way):
    ada, bob, giver = world.user(), world.user(), world.user()
    thing = document(world, ada if way == "own role" else bob, world.resource(owner_id=ada))
    world.conn.execute("update authz.permissions set requires_approval = true where name = 'document.read'")
    how = {"granted_by": giver}
    table = {"share": "user_permissions", "group's share": "group_permissions"}.get(way, "user_roles")
    if table == "user_roles":
        role = world.role()
        world.carry(role, "document.read", only_own=way == "own role")
        given = world.give(ada, role, **how)
    else:
        holder = {"user_id": ada} if way == "share" else {"group_id": world.group(None, ada)}
        given = world.insert(
            f"authz.{table}", **holder, permission_id="document.read", resource_id=thing, **how
        )
    assert seen(world, ada) == set()
    world.conn.execute(
        f"update authz.{table} set approved_by = %s, approved_at = now() where id = %s", [bob, given]
    )
    assert seen(world, ada) == {thing}


def test_a_delegation_shows_no_more_than_its_giver_may_see(world):
    ada, bob, eve = world.user(), world.user(), world.user()
    secret = world.resource(owner_id=eve)
    document(world, eve, secret)
    open_one = document(world, eve, world.resource(owner_id=eve))
    may(world, bob)
    world.say(bob, "document.read", resource_id=secret, effect="deny")
    world.delegate(bob, ada, "document.read")
    assert world.decide(ada, "document.read").effect == "allow"  # of the type as such
    assert world.decide(ada, "document.read", secret).effect == "deny"
    assert seen(world, bob) == {open_one}
    assert seen(world, ada) <= {open_one}


@pytest.mark.parametrize("of", ["user", "group", "tenant"])
def test_nothing_can_be_shared_under_the_id_of_somebody(world, of):
    taken = {"user": world.user, "group": world.group, "tenant": lambda: world.tenant_id}[of]()
    with pytest.raises(
        psycopg.errors.CheckViolation, match="would have the id of a user, a group or the tenant"
    ):
        world.resource(id=taken)
