"""Roles come from templates, inheritance has no circles, resources know their ancestors, constraints hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
READ_ONLY = {"read"}


@pytest.fixture
def here(db, tenant):
    """The id of a tenant whose context is open."""
    tenant_id = tenant("authz-here")
    db.execute(CONTEXT, [tenant_id])
    return tenant_id


def one(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def role(conn, tenant_id, name) -> UUID:
    return one(
        conn,
        "insert into authz.roles (tenant_id, name, display_name) values (%s, %s, %s) returning id",
        tenant_id,
        name,
        name.title(),
    )


def inherit(conn, tenant_id, heir, parent):
    conn.execute(
        "insert into authz.role_inheritance (tenant_id, role_id, parent_id) values (%s, %s, %s)",
        [tenant_id, heir, parent],
    )


def resource(conn, tenant_id, parent=None, kind="document") -> UUID:
    return one(
        conn,
        "insert into authz.resources (tenant_id, resource_type, parent_id) values (%s, %s, %s) returning id",
        tenant_id,
        kind,
        parent,
    )


def ancestors(conn, resource_id) -> list[UUID]:
    return one(conn, "select ancestors from authz.resources where id = %s", resource_id)


ROLES = """
select array_agg(concat_ws(' ', r.name, p.permission_id, p.only_own, p.inheritable)
                 order by r.name, p.permission_id)
from authz.roles as r join authz.role_permissions as p on p.tenant_id = r.tenant_id and p.role_id = r.id
where r.template_name is not null
"""


def test_a_new_tenant_has_every_role_of_the_templates(db, here):
    assert one(db, "select count(*) from authz.roles where template_name = name") == 10
    assert len(one(db, ROLES)) == one(db, "select count(*) from authz.role_template_permissions") > 150
    assert one(db, "select count(*) from authz.role_inheritance") == 3


def test_copying_again_changes_nothing(db, here):
    before = one(db, ROLES)
    stamps = "select array_agg(xmin::text order by id) from authz.role_permissions"
    rows = one(db, stamps)
    db.execute("select authz.copy_role_templates()")
    assert (one(db, ROLES), one(db, stamps)) == (before, rows)


def test_copying_brings_roles_back_in_step_and_leaves_the_tenants_own_alone(db, here):
    before = one(db, ROLES)
    own = role(db, here, "librarian")
    viewer = one(db, "select id from authz.roles where name = 'viewer'")
    inherit(db, here, own, viewer)
    inherit(db, here, viewer, role(db, here, "extra"))
    for holder in (own, viewer):
        db.execute(
            "insert into authz.role_permissions (tenant_id, role_id, permission_id) values (%s, %s, 704)",
            [here, holder],
        )
    db.execute("delete from authz.role_permissions where role_id = %s and permission_id = 702", [viewer])
    db.execute("update authz.roles set description = 'x' where id = %s", [viewer])

    db.execute("select authz.copy_role_templates()")

    assert one(db, ROLES) == before
    assert one(db, "select count(*) from authz.role_permissions where role_id = %s", own) == 1
    assert one(db, "select count(*) from authz.role_inheritance where role_id = %s", own) == 1
    assert one(db, "select count(*) from authz.role_inheritance where role_id = %s", viewer) == 0
    assert one(db, "select description from authz.roles where id = %s", viewer) == "Read-only access"


def test_a_role_that_the_tenant_made_under_a_templates_name_stays_the_tenants(db, here):
    db.execute("update authz.roles set template_name = null, description = 'ours' where name = 'analyst'")
    db.execute("select authz.copy_role_templates()")
    assert one(db, "select description from authz.roles where name = 'analyst'") == "ours"


def test_copying_needs_a_context(db):
    with pytest.raises(psycopg.Error) as caught:
        db.execute("select authz.copy_role_templates()")
    assert caught.value.sqlstate == "ZA001"


def test_roles_are_least_privilege(db):
    carried: dict[str, dict[str, bool]] = {}
    for name, permission, only_own in db.execute(
        "select t.role_name, p.name, t.only_own from authz.role_template_permissions as t"
        " join authz.permissions as p on p.id = t.permission_id"
    ):
        carried.setdefault(name, {})[permission] = only_own
    assert {p.split(".")[1] for p in carried["viewer"]} == READ_ONLY
    assert len(carried["super_admin"]) == one(db, "select count(*) from authz.permissions")
    content = {
        p for p in carried["super_admin"] if p.split(".")[0] in ("conversation", "message", "document")
    }
    for name in set(carried) - {"super_admin"}:
        wide = {p for p in content & carried[name].keys() if not carried[name][p]}
        allowed = {"document.read"} if name == "viewer" else {"conversation.create", "document.create"}
        assert wide <= allowed, name
    writers = {p for p in carried["super_admin"] if p.startswith("audit.")}
    assert writers & {"audit.update", "audit.delete"} == set()


def test_circles_of_inheritance_are_refused(db, here):
    a, b, c = (role(db, here, name) for name in "abc")
    inherit(db, here, a, b)
    inherit(db, here, b, c)
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        inherit(db, here, c, a)
    assert caught.value.sqlstate == "ZA002"
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(
            "insert into authz.role_inheritance (tenant_id, role_id, parent_id) select %s, x::uuid, y::uuid"
            " from (values (%s, %s), (%s, %s)) as pair (x, y)",
            [here, *map(str, (d := role(db, here, "d"), e := role(db, here, "e"), e, d))],
        )
    assert caught.value.sqlstate == "ZA002"
    inherit(db, here, a, c)  # a second way to the same role is no circle


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("what", ["roles", "resources"])
def test_sessions_cannot_close_a_circle_together(database, level, what):
    """Each of four sessions adds one edge of a circle of four; together they would close it."""
    with psycopg.connect(database) as conn:
        tenant_id = one(conn, "select identity.create_tenant('circle', 'Circle')")
        conn.execute(CONTEXT, [tenant_id])
        nodes = [
            role(conn, tenant_id, f"r{i}") if what == "roles" else resource(conn, tenant_id) for i in range(4)
        ]

    for _ in range(3):
        barrier = Barrier(4)

        def close(i: int, barrier: Barrier = barrier) -> str | None:
            try:
                with psycopg.connect(database) as conn:
                    conn.execute(f"set transaction isolation level {level}")
                    conn.execute(CONTEXT, [tenant_id])
                    one(conn, "select count(*) from authz.role_inheritance")
                    barrier.wait()
                    if what == "roles":
                        inherit(conn, tenant_id, nodes[i], nodes[(i + 1) % 4])
                    else:
                        conn.execute(
                            "update authz.resources set parent_id = %s where tenant_id = %s and id = %s",
                            [nodes[(i + 1) % 4], tenant_id, nodes[i]],
                        )
            except psycopg.Error as error:
                return error.sqlstate
            return None

        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(close, range(4)))
        if what == "resources" and level != "read committed":
            assert set(outcomes) == {"ZA005"}
        else:
            assert set(outcomes) - {None} <= {"ZA002", "ZA003", "40P01", "40001"}, outcomes
            assert 1 <= outcomes.count(None) <= 3, outcomes
        with psycopg.connect(database) as conn:
            conn.execute(CONTEXT, [tenant_id])
            if what == "resources":
                check_tree(conn)
                conn.execute("update authz.resources set parent_id = null where parent_id is not null")
            else:
                conn.execute("delete from authz.role_inheritance where role_id = any (%s)", [nodes])


def check_tree(conn):
    """Every resource's ancestors are what following the parents gives."""
    wrong = conn.execute("""
        with recursive way (id, parent_id, ancestors) as (
            select id, parent_id, '{}'::uuid[] from authz.resources where parent_id is null
            union all
            select r.id, r.parent_id, way.ancestors || way.id
            from way join authz.resources as r on r.parent_id = way.id
        )
        select r.id from authz.resources as r left join way using (id)
        where r.ancestors is distinct from way.ancestors
    """).fetchall()
    assert wrong == []


def test_resources_know_their_ancestors_and_move_with_them(db, here):
    root, other = resource(db, here), resource(db, here)
    child = resource(db, here, root)
    leaf = resource(db, here, child)
    assert ancestors(db, leaf) == [root, child]
    db.execute("update authz.resources set parent_id = %s where id = %s", [other, child])
    assert (ancestors(db, child), ancestors(db, leaf)) == ([other], [other, child])
    db.execute("update authz.resources set parent_id = %s where id = %s", [root, other])
    assert ancestors(db, leaf) == [root, other, child]
    db.execute("update authz.resources set parent_id = null where id = %s", [child])
    assert ancestors(db, leaf) == [child]
    check_tree(db)


def test_a_resource_cannot_lie_within_itself_or_within_another_type(db, here):
    root = resource(db, here)
    child = resource(db, here, root)
    chat = resource(db, here, kind="conversation")
    resource(db, here, chat, "message")
    for parent, kind, state in ((child, None, "ZA003"), (chat, None, "ZA004"), (uuid4(), None, "23503")):
        with pytest.raises(psycopg.Error) as caught, db.transaction():
            db.execute("update authz.resources set parent_id = %s where id = %s", [parent, root])
        assert caught.value.sqlstate == state, kind
    insert = (
        "insert into authz.resources (tenant_id, id, resource_type, parent_id)"
        " values (%s, %s, 'document', %s)"
    )
    itself = uuid4()
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, db.transaction():
        db.execute(insert, [here, itself, itself])
    assert caught.value.diag.constraint_name == "resources_parent_id_fkey"


def test_the_tree_stays_right_while_sessions_move_its_parts(database):
    with psycopg.connect(database) as conn:
        tenant_id = one(conn, "select identity.create_tenant('tree', 'Tree')")
        conn.execute(CONTEXT, [tenant_id])
        nodes = [resource(conn, tenant_id) for _ in range(12)]
    outcomes = []

    def move(seed: int) -> None:
        with psycopg.connect(database) as conn:
            for step in range(60):
                child, parent = nodes[(seed * 7 + step * 5) % 12], nodes[(seed * 3 + step * 11 + 1) % 12]
                try:
                    conn.execute(CONTEXT, [tenant_id])
                    if step % 4 == 3 and seed % 2:
                        conn.rollback()
                        conn.execute("set transaction isolation level repeatable read")
                        conn.execute(CONTEXT, [tenant_id])
                    if step % 4 == 3:
                        resource(conn, tenant_id, parent)
                    else:
                        conn.execute(
                            "update authz.resources set parent_id = %s where tenant_id = %s and id = %s",
                            [parent if parent != child and step % 7 else None, tenant_id, child],
                        )
                    conn.commit()
                    outcomes.append(None)
                except psycopg.Error as error:
                    conn.rollback()
                    outcomes.append(error.sqlstate)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, range(4)))
    assert set(outcomes) - {None} <= {"ZA003", "40P01", "40001"}
    assert outcomes.count(None) > 60
    with psycopg.connect(database) as conn:
        conn.execute(CONTEXT, [tenant_id])
        assert one(conn, "select max(cardinality(ancestors)) from authz.resources") >= 2
        check_tree(conn)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("condition", "$.env.risk < 3", "condition_is_strict"),
        ("networks", "{}", "networks_are_listed"),
        ("networks", "{NULL}", "networks_are_listed"),
        ("minimum_authentication_level", "4", "authentication_level_is_known"),
        ("windows", "[]", "windows_are_a_list"),
        ("windows", "{}", "windows_are_a_list"),
        ("valid_until", "2000-01-01", "end_after_they_start"),
        ("effect", "maybe", "effect_is_known"),
    ],
)
def test_a_malformed_rule_is_refused(db, here, column, value, rule):
    mine = role(db, here, "mine")
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        db.execute(
            sql.SQL(
                "insert into authz.role_permissions (tenant_id, role_id, permission_id, valid_from, {})"
                " values (%s, %s, 502, '2000-01-01', %s)"
            ).format(sql.Identifier(column)),
            [here, mine, value],
        )
    assert caught.value.diag.constraint_name == f"role_permissions_{rule}"


def test_the_same_is_said_once_and_conditions_say_it_in_several_ways(db, here):
    mine = role(db, here, "mine")
    say = (
        "insert into authz.role_permissions (tenant_id, role_id, permission_id, condition)"
        " values (%s, %s, 502, %s)"
    )
    for condition in (None, "strict $.env.level >= 2", 'strict $.env.place == "office"'):
        db.execute(say, [here, mine, condition])
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.execute(say, [here, mine, None])


def test_applications_read_rights_and_cannot_write_them(db):
    tables = db.execute(
        "select c.oid::regclass::text, array_agg(privilege order by privilege)"
        " from pg_class as c, unnest(array['select', 'insert', 'update', 'delete']) as privilege"
        " where c.relnamespace = 'authz'::regnamespace and c.relkind = 'r'"
        " and has_table_privilege('enterprise_ai_app', c.oid, privilege) group by c.oid"
    ).fetchall()
    assert len(tables) == 29
    assert {table: privileges for table, privileges in tables if privileges != ["select"]} == {}
