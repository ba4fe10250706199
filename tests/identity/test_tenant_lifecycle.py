"""Suspending, archiving and deleting tenants: in batches, with a receipt, and past nobody's legal hold."""

from __future__ import annotations

import threading

import psycopg
import pytest

from enterprise_ai.identity import errors as e
from enterprise_ai.identity import open_for
from tests.rows import Generator

BEGIN = "select identity.begin_tenant_deletion(%s, 'the contract ended')"
BATCH = "select identity.delete_tenant_batch(%s, %s)"
RECEIPT = "select row_counts, finished_at, slug from identity.tenant_deletions where tenant_id = %s"


@pytest.fixture
def operator(world):
    with world.connect("operator", autocommit=True) as conn:
        yield conn


@pytest.fixture
def tenant(world):
    world.made = getattr(world, "made", 0) + 1
    tenant = world.new_tenant(f"passing-{world.made}")
    world.new_person(tenant, "ada")
    return tenant


def finish(operator, tenant, size=5000):
    """Delete to the end; returns the size of each batch."""
    sizes = []
    while not sizes or sizes[-1]:
        sizes.append(operator.execute(BATCH, [tenant.id, size]).fetchone()[0])
    return sizes


def status(world, tenant):
    with world.owner(tenant) as conn:
        return conn.execute("select status from identity.tenants").fetchone()[0]


VERBS = {
    "suspend_tenant": {"active": "suspended"},
    "archive_tenant": {"active": "archived", "suspended": "archived"},
    "reactivate_tenant": {"suspended": "active", "archived": "active"},
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("before", ["active", "suspended", "archived", "deleting"])
def test_the_status_of_a_tenant(world, operator, tenant, verb, before):
    with world.owner(tenant) as conn:
        conn.execute("update identity.tenants set status = %s", [before])
    if before in VERBS[verb]:
        operator.execute(f"select identity.{verb}(%s)", [tenant.id])
    else:
        with pytest.raises(psycopg.Error, match=f"is {before} and cannot become") as caught:
            operator.execute(f"select identity.{verb}(%s)", [tenant.id])
        assert caught.value.sqlstate == "ZI016"
    assert status(world, tenant) == VERBS[verb].get(before, before)


def test_nobody_of_a_suspended_tenant_gets_a_context_until_it_is_active_again(
    world, operator, tenant, app, gateway
):
    token = world.new_session(tenant, tenant.people["ada"]).session_token
    operator.execute("select identity.suspend_tenant(%s)", [tenant.id])
    with pytest.raises(e.TenantNotActive):
        open_for(gateway, tenant.id)
    with pytest.raises(psycopg.Error) as caught:
        app.execute("select platform.open_session_context(%s)", [token])
    assert caught.value.sqlstate == "ZI001"
    app.rollback()
    operator.execute("select identity.reactivate_tenant(%s)", [tenant.id])
    app.execute("select platform.open_session_context(%s)", [token])


def test_deleting_leaves_no_row_in_any_table_and_a_receipt_of_all_of_them(world, operator, tenant):
    with psycopg.connect(world.server.url(world.name)) as conn:
        conn.execute("set search_path = pg_catalog")
        tables = [row[0] for row in conn.execute("select name::text from identity._tenant_tables()")]
        assert len(tables) > 60
        conn.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))", [tenant.id])
        generator = Generator(conn)
        generator.add_row("identity.users", tenant.id)  # some rows are between two people
        for table in tables:
            if table not in ("security.legal_holds", "security.legal_hold_custodians", "identity.sso_domains",
                             "llm.document_queue_turns"):  # fmt: skip
                generator.ensure_row(table, tenant.id)
        conn.execute(
            "insert into identity.sso_domains (domain, tenant_id, provider_id, verification_token)"
            " select 'passing.test', tenant_id, id, 'x' from identity.sso_providers where tenant_id = %s",
            [tenant.id],
        )
        conn.execute("insert into llm.document_queue_turns (tenant_id) values (%s)", [tenant.id])
        conn.commit()

        def rows(of):
            return {table: count for table in tables
                    if (count := conn.execute(f"select count(*) from {table} where tenant_id = %s", [of.id]).fetchone()[0])}  # fmt: skip

        before, next_door = rows(tenant), rows(world.here)
        assert len(before) > 60
        operator.execute(BEGIN, [tenant.id])
        sizes = finish(operator, tenant, 40)
        conn.commit()
        assert rows(tenant) == {}
        assert rows(world.here) == next_door
        counts, finished_at, slug = operator.execute(RECEIPT, [tenant.id]).fetchone()
        assert counts == before
        assert finished_at is not None
        # A table whose rows hold each other is not divided; of such rows there are few here.
        assert max(sizes) < 60
        # What goes along with other rows is not counted.
        assert 120 < sum(sizes) <= sum(before.values())
        assert conn.execute(
            "select count(*) from identity.tenants where id = %s", [tenant.id]
        ).fetchone() == (0,)
    operator.execute("select identity.create_tenant(%s, 'Again')", [slug])  # the name is free


def test_a_deletion_that_breaks_off_goes_on_where_it_stopped(world, operator, tenant):
    for _ in range(20):
        world.new_person(tenant)
    operator.execute(BEGIN, [tenant.id])
    operator.execute(BATCH, [tenant.id, 2])
    with world.connect("operator") as broken:
        broken.execute(BATCH, [tenant.id, 2])
        broken.rollback()
    with pytest.raises(psycopg.Error) as caught:
        operator.execute(BEGIN, [tenant.id])
    assert caught.value.sqlstate == "ZI016"
    finish(operator, tenant, 20)
    counts, finished_at, _ = operator.execute(RECEIPT, [tenant.id]).fetchone()
    assert counts["identity.users"] == 21
    assert finished_at is not None
    with pytest.raises(psycopg.Error) as caught:
        operator.execute(BATCH, [tenant.id, 2])
    assert caught.value.sqlstate == "ZI017"


@pytest.mark.parametrize("when", ["before it begins", "while it runs"])
def test_a_legal_hold_stops_it(world, operator, tenant, when):
    def hold():
        with world.owner(tenant) as conn:
            conn.execute("insert into security.legal_holds (tenant_id, matter, reason, placed_by) values (%s, 'case', 'x', %s)",
                         [tenant.id, tenant.people["ada"]])  # fmt: skip

    if when == "before it begins":
        hold()
        statement, params = BEGIN, [tenant.id]
    else:
        operator.execute(BEGIN, [tenant.id])
        hold()
        statement, params = BATCH, [tenant.id, 5]
    with pytest.raises(psycopg.Error, match="nothing more is deleted") as caught:
        operator.execute(statement, params)
    assert caught.value.sqlstate == "ZS001"
    assert status(world, tenant) == ("active" if when == "before it begins" else "deleting")
    with world.owner(tenant) as conn:
        conn.execute(
            "update security.legal_holds set released_at = now(), released_by = placed_by, release_reason = 'settled'"
        )
    if when == "before it begins":
        operator.execute(BEGIN, [tenant.id])
    finish(operator, tenant)


@pytest.mark.parametrize("size", [0, -5])
def test_a_batch_of_nothing_does_not_delete_all_at_once(world, operator, tenant, size):
    for _ in range(3):
        world.new_person(tenant)
    operator.execute(BEGIN, [tenant.id])
    assert operator.execute(BATCH, [tenant.id, size]).fetchone()[0] < 10
    operator.commit()
    with world.owner(tenant) as conn:
        assert conn.execute("select count(*) from identity.users").fetchone()[0] >= 3
    assert operator.execute(
        "select finished_at from identity.tenant_deletions where tenant_id = %s", [tenant.id]
    ).fetchone() == (None,)


def test_others_write_meanwhile_without_waiting(world, operator, tenant):
    with world.owner(tenant) as conn:
        conn.execute(
            "insert into identity.login_attempts (tenant_id, email, method, outcome)"
            " select %s, 'x', 'password', 'success' from generate_series(1, 20000)",
            [tenant.id],
        )
    stop, waits = threading.Event(), []

    def write():
        import time

        while not stop.is_set():
            start = time.perf_counter()
            with world.owner(world.here) as conn:
                conn.execute("set lock_timeout = '2s'")
                conn.execute(
                    "insert into identity.login_attempts (tenant_id, email, method, outcome)"
                    " values (%s, 'busy', 'password', 'success')",
                    [world.here.id],
                )
                conn.execute(
                    "insert into identity.users (tenant_id, email, display_name) values (%s, platform.new_id() || '@x.test', 'X')",
                    [world.here.id],
                )
            waits.append(time.perf_counter() - start)
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        operator.execute(BEGIN, [tenant.id])
        finish(operator, tenant, 2000)
    finally:
        stop.set()
        writer.join(30)
    assert operator.execute(RECEIPT, [tenant.id]).fetchone()[0]["identity.login_attempts"] == 20000
    assert len(waits) > 10  # none of them met the lock timeout
    assert max(waits) < 2


@pytest.mark.parametrize("login", ["app", "gateway"])
def test_only_operators_end_tenants(world, tenant, login):
    for statement in ("select identity.suspend_tenant(%s)", "select identity.archive_tenant(%s)", "select identity.reactivate_tenant(%s)",
                      BEGIN, "select identity.delete_tenant_batch(%s)", "select * from identity.tenant_deletions where tenant_id = %s"):  # fmt: skip
        with world.connect(login) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement, [tenant.id])
