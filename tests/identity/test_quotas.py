"""No tenant has more than its quota, however many write at once, and those who write do not wait for each other."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading

import psycopg
import pytest

from enterprise_ai.errors import translated
from enterprise_ai.identity import ApiKeys, Groups, Users, open_for, open_session
from enterprise_ai.identity import errors as e
from tests.identity.conftest import CONTEXT
from tests.rows import Generator


@pytest.fixture
def tenant(world):
    world._made += 1
    return world.new_tenant(f"quota{world._made}")


def allow(world, tenant, key, value):
    with world.owner() as conn:
        conn.execute(
            "select platform.set_setting_of_tenant(%s, %s, %s, 'a test')", [tenant.id, key, str(value)]
        )


def usage(world, tenant):
    with world.connect("gateway") as conn:
        open_for(conn, tenant.id)
        return {
            key: (used, quota) for key, used, quota in conn.execute("select * from identity.quota_usage()")
        }


def add_people(conn, tenant, count):
    conn.execute(
        "insert into identity.users (tenant_id, email, display_name)"
        " select %s, platform.new_id() || '@x.test', 'X' from generate_series(1, %s)",
        [tenant.id, count],
    )


def test_many_at_once_admit_exactly_as_many_as_there_is_room_for(world, tenant):
    allow(world, tenant, "limits.users_per_tenant", 33)
    barrier = threading.Barrier(25)

    def invite(number):
        admitted = 0
        with world.connect("gateway", autocommit=True) as conn:
            barrier.wait(60)
            for round_ in range(3):
                try:
                    with conn.transaction():
                        open_for(conn, tenant.id)
                        Users(conn).invite(f"p{number}.{round_}@x.test", "P")
                    admitted += 1
                except e.QuotaReached:
                    pass
        return admitted

    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        assert sum(pool.map(invite, range(25))) == 33
    assert usage(world, tenant)["limits.users_per_tenant"] == (33, 33)


def test_a_statement_that_goes_too_far_adds_nothing(world, tenant):
    allow(world, tenant, "limits.users_per_tenant", 10)
    with world.owner(tenant) as conn:
        add_people(conn, tenant, 8)
    with (
        pytest.raises(e.QuotaReached, match="8 of 10 are used, and 3 more"),
        translated(),
        world.owner(tenant) as conn,
    ):
        add_people(conn, tenant, 3)
    with world.owner(tenant) as conn:
        add_people(conn, tenant, 2)
        assert conn.execute("select count(*) from identity.users").fetchone() == (10,)


def test_those_who_write_do_not_wait_for_each_other(world, tenant):
    with in_different_slots(world, tenant, 6) as conns:
        with world.owner(tenant) as conn:
            add_people(conn, tenant, 1)  # makes the slots
        for conn in conns:
            conn.execute("set local lock_timeout = '500ms'")
            add_people(conn, tenant, 5)  # none of the others has committed
        for conn in conns:
            conn.commit()
    assert usage(world, tenant)["limits.users_per_tenant"] == (31, 10000)


@contextlib.contextmanager
def in_different_slots(world, tenant, count):
    """Transactions of the owner whose backends count in different slots."""
    with contextlib.ExitStack() as stack:
        conns, slots = [], set()
        while len(conns) < count:
            conn = psycopg.connect(world.server.url(world.name, "migrator"))
            if conn.info.backend_pid % 16 in slots:
                conn.close()
                continue
            slots.add(conn.info.backend_pid % 16)
            conn.execute(CONTEXT, [tenant.id])
            conns.append(stack.enter_context(conn))
        yield conns


def test_what_is_rolled_back_erased_or_deleted_is_free_again(world, tenant):
    allow(world, tenant, "limits.users_per_tenant", 3)
    with world.owner(tenant) as conn:
        add_people(conn, tenant, 3)
        conn.rollback()
    with world.connect("gateway") as conn:
        open_for(conn, tenant.id)
        users = [Users(conn).invite(f"{name}@x.test", name).user_id for name in "abc"]
        with pytest.raises(e.QuotaReached), conn.transaction():
            Users(conn).invite("d@x.test", "d")
        Users(conn).deactivate(users[0])
        with pytest.raises(e.QuotaReached), conn.transaction():
            Users(conn).invite("d@x.test", "d")
        Users(conn).erase(users[0])
        Users(conn).invite("d@x.test", "d")
    with world.owner(tenant) as conn:
        conn.execute("delete from identity.users where id = %s", [users[1]])
        add_people(conn, tenant, 1)
    assert usage(world, tenant)["limits.users_per_tenant"] == (3, 3)


def test_a_changed_quota_holds_at_once(world, tenant):
    allow(world, tenant, "limits.groups_per_tenant", 2)
    with world.connect("gateway") as conn:
        open_for(conn, tenant.id)
        Groups(conn).create("one"), Groups(conn).create("two")
        with pytest.raises(e.QuotaReached, match="groups_per_tenant") as caught, conn.transaction():
            Groups(conn).create("three")
        assert "operator" in caught.value.hint
        conn.commit()
        allow(world, tenant, "limits.groups_per_tenant", 4)
        open_for(conn, tenant.id)
        Groups(conn).create("three")
        conn.commit()
        allow(world, tenant, "limits.groups_per_tenant", 1)
        open_for(conn, tenant.id)
        with pytest.raises(e.QuotaReached), conn.transaction():
            Groups(conn).create("four")
    assert usage(world, tenant)["limits.groups_per_tenant"] == (3, 1)


def test_the_allowances_never_exceed_the_quota(world, tenant):
    refusals = set()
    with world.owner(tenant) as conn:
        for quota in (100, 7, 50, 1000):
            conn.execute("select platform.set_setting_of_tenant(%s, 'limits.users_per_tenant', %s, 'a test')", [tenant.id, str(quota)])  # fmt: skip
            conn.execute(
                "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant.id]
            )
            for amount in (1, 5, 2):
                try:
                    with conn.transaction():
                        add_people(conn, tenant, amount)
                except psycopg.Error as error:
                    refusals.add(error.sqlstate)
            used, allowed, whole = conn.execute(
                "select sum(used), sum(allowance), max(whole) from identity.quota_slots"
            ).fetchone()
            assert used == conn.execute("select count(*) from identity.users").fetchone()[0]
            assert allowed <= max(whole, used)
            conn.execute("delete from identity.users")
    assert refusals == {"ZI023"}


def test_a_user_has_only_so_many_api_keys(world, app):
    person = world.new_person(world.here)
    session = world.new_session(world.here, person)
    open_session(app, session.session_token)
    keys = ApiKeys(app)
    made = [keys.create(f"k{n}") for n in range(10)]
    with pytest.raises(e.QuotaReached), app.transaction():
        keys.create("one more")
    keys.revoke(made[0].id)
    keys.create("another")


@pytest.mark.parametrize(
    ("isolation", "sqlstate"),
    [("read committed", "ZI023"), ("repeatable read", "ZI012"), ("serializable", "ZI012")],
)
def test_no_snapshot_is_old_enough_for_one_api_key_more(world, isolation, sqlstate):
    session = world.new_session(world.here, world.new_person(world.here))
    with world.connect("app") as first, world.connect("app") as late:
        late.execute(f"set transaction isolation level {isolation}")
        open_session(late, session.session_token)  # has seen that there are none yet
        open_session(first, session.session_token)
        for number in range(10):
            ApiKeys(first).create(f"k{number}")
        first.commit()
        with pytest.raises(psycopg.Error) as caught:
            late.execute("select * from identity.create_api_key('one more')")
        assert caught.value.sqlstate == sqlstate


def test_documents_are_counted_by_number_and_size(world, tenant):
    person = world.new_person(tenant)
    allow(world, tenant, "limits.storage_bytes_per_tenant", 1000)
    add = (
        "insert into llm.documents (tenant_id, owner_id, title, media_type, byte_size, content_sha256, storage_uri)"
        " values (%s, %s, 'x', 'text/plain', %s, decode(repeat('ab', 32), 'hex'), 's3://b/k') returning id"
    )
    session = world.new_session(tenant, person)
    with world.owner(tenant) as conn:
        # What is returned of a document has to be visible to who has made it.
        conn.execute("insert into authz.user_roles (tenant_id, user_id, role_id) select tenant_id, %s, id from authz.roles where name = 'user'", [person])  # fmt: skip
    with world.connect("app") as app:
        open_session(app, session.session_token)
        (first,) = app.execute(add, [tenant.id, person, 600]).fetchone()
        with (
            pytest.raises(psycopg.Error, match="storage_bytes_per_tenant") as caught,
            app.transaction(),
        ):
            app.execute(add, [tenant.id, person, 401])
        assert caught.value.sqlstate == "ZI023"
        app.execute(add, [tenant.id, person, 400])
        app.commit()
    assert usage(world, tenant) | {"limits.users_per_tenant": None} == {
        "limits.documents_per_tenant": (2, 100000),
        "limits.storage_bytes_per_tenant": (1000, 1000),
        "limits.users_per_tenant": None,
    }
    with world.owner(tenant) as conn:
        conn.execute("delete from llm.documents where id = %s", [first])
        conn.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, 'limits.upload_bytes', '500')", [tenant.id])  # fmt: skip
        with pytest.raises(psycopg.Error, match="501 bytes") as caught, conn.transaction():
            conn.execute(add, [tenant.id, person, 501])
        assert caught.value.sqlstate == "ZL004"
        conn.execute(add, [tenant.id, person, 500])


def test_messages_are_only_so_long_and_carry_so_many_documents(world, tenant):
    with world.owner(tenant) as conn:
        rows = Generator(conn)
        message = rows.ensure_row("llm.messages", tenant.id)["id"]
        document = rows.ensure_row("llm.documents", tenant.id)["id"]
        for key, value in (("message_characters", 20), ("attachments_per_message", 2)):
            conn.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, %s)", [tenant.id, f"limits.{key}", str(value)])  # fmt: skip

        def say(part, **columns):
            names = "".join(f", {name}" for name in columns)
            conn.execute(
                f"insert into llm.message_contents (tenant_id, message_id, part_index, kind{names})"
                f" values (%s, %s, %s, %s{', %s' * len(columns)})",
                [
                    tenant.id,
                    message,
                    part,
                    "document" if "document_id" in columns else "text",
                    *columns.values(),
                ],
            )

        say(10, content="é" * 20)
        with pytest.raises(psycopg.Error, match="21 characters"), conn.transaction():
            say(11, content="x" * 21)
        say(12, document_id=document)
        say(13, document_id=document)
        with pytest.raises(psycopg.Error, match="3 documents"), conn.transaction():
            say(14, document_id=document)
