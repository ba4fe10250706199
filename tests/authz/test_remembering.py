"""Remembered decisions against a real database: what is seen at once, what when told, and what when nobody listens.

Where it must not depend on notifications, the listener listens in another database of the server, where it hears
nothing: as when all notifications were lost.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from enterprise_ai.authz import DecisionCache, Limits
from enterprise_ai.authz.errors import MayNotAsk
from enterprise_ai.authz.listener import Listener
from enterprise_ai.client import connect
from tests.authz.people import House

READ, UPDATE = "document.read", "document.update"


def until(what, said="it did not come to be"):
    """Wait for something that another thread or the server brings about."""
    give_up = time.monotonic() + 30
    while not what():
        assert time.monotonic() < give_up, said
        time.sleep(0.005)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(world, cache, **options):
    client = connect(world.server.url(world.name, "app_login"), decision_cache=cache, **options)
    assert client.listener.wait()
    return client


@pytest.fixture(scope="module")
def deaf(world):
    """A house whose client hears of nothing; its clock stands still, so that nothing ends by itself."""
    clock = Clock()
    cache = DecisionCache(staleness=1e6, max_age=1e6, clock=clock)
    with opened(world, cache, listen_on=world.server.url()) as client:
        house = House(world, client)
        house.cache, house.clock = cache, clock
        yield house


@pytest.fixture(scope="module")
def told(world):
    """A house whose client hears of changes."""
    cache = DecisionCache()
    with opened(world, cache) as client:
        house = House(world, client)
        house.cache = cache
        yield house


def take_from(house, person):
    """Take all roles from somebody, elsewhere."""
    with house.world.owner(house.tenant) as conn:
        conn.execute("delete from authz.user_roles where user_id = %s", [person])


def may(house, person, permission=READ, **options):
    with house.as_(person) as tx:
        return tx.authz.check(permission, **options)


def test_a_remembered_answer_takes_no_statement(told):
    ada = told.person("viewer")

    def takes_none() -> bool:
        with told.as_(ada) as tx:
            assert tx.authz.check(READ)
            before = tx._memory.statements
            for _ in range(100):
                assert tx.authz.check(READ)
            assert tx.authz.evaluate(READ).reason == "allow"
            return tx._memory.statements == before

    until(
        takes_none
    )  # what Ada was given may be told after the transaction has begun, which then remembers nothing


def test_a_change_elsewhere_is_seen_when_it_is_told(told):
    ada = told.person("viewer")
    assert may(told, ada)
    take_from(told, ada)
    until(lambda: not may(told, ada))


def test_without_being_told_only_a_strong_check_sees_it(deaf):
    ada = deaf.person("viewer")
    assert may(deaf, ada)
    take_from(deaf, ada)
    assert may(deaf, ada)
    assert not may(deaf, ada, consistency="strong")
    with deaf.as_(ada) as tx:
        assert tx.authz.evaluate(READ, consistency="strong").reason == "deny_default"
        assert tx.authz.evaluate(READ).reason == "allow"


@pytest.mark.parametrize("how", ["typed", "raw", "cursor", "many"])
def test_a_transaction_sees_what_it_has_revoked_and_so_does_whoever_comes_next(deaf, how):
    boss, ada = deaf.person("super_admin"), deaf.person()
    with deaf.as_(boss) as tx:
        given = tx.authz.grants.assign(ada, "viewer")
    assert may(deaf, ada)
    with deaf.as_(boss) as tx:
        statement = "select authz.revoke_role(%s)"
        if how == "typed":
            assert tx.authz.grants.unassign(given)
        elif how == "raw":
            tx.conn.execute(statement, [given])
        elif how == "cursor":
            cursor = tx.conn.cursor(row_factory=psycopg.rows.dict_row)
            tx.authz.check("permission.read")
            cursor.execute(statement, [given])
        else:
            tx.conn.cursor().executemany(statement, [[given]])
        assert not tx.authz.check(READ, user_id=ada)
    assert not may(deaf, ada)


def test_what_one_takes_from_oneself_is_gone_in_the_same_transaction(deaf):
    boss = deaf.person("super_admin")
    with deaf.as_(boss) as tx:
        assert tx.authz.check(READ)
        tx.authz.grants.grant(boss, READ, effect="deny")
        assert not tx.authz.check(READ)
        assert tx.authz.evaluate(READ).reason == "deny_explicit"
    assert not may(deaf, boss)


def test_what_was_rolled_back_is_not_remembered(deaf):
    boss = deaf.person("super_admin")
    assert may(deaf, boss)
    with deaf.as_(boss) as tx:
        tx.authz.grants.grant(boss, READ, effect="deny")
        assert not tx.authz.check(READ)
        raised = psycopg.Rollback()
        with pytest.raises(ZeroDivisionError), tx.conn.transaction():
            raise ZeroDivisionError from raised
    with deaf.world.owner(deaf.tenant) as conn:
        conn.execute("delete from authz.user_permissions where user_id = %s", [boss])
    with pytest.raises(ZeroDivisionError), deaf.as_(boss) as tx:
        tx.authz.grants.grant(boss, UPDATE, effect="deny")
        assert not tx.authz.check(UPDATE)
        raise ZeroDivisionError
    assert may(deaf, boss, UPDATE)


def test_a_transaction_that_failed_is_rolled_back_as_ever(deaf):
    ada = deaf.person("viewer")
    with deaf.as_(ada) as tx:
        with pytest.raises(psycopg.errors.DivisionByZero):
            tx.conn.execute("select 1 / 0")
    assert may(deaf, ada)


def test_another_context_in_the_same_transaction_is_asked_anew(deaf):
    ada, bob = deaf.person("viewer"), deaf.person()
    assert may(deaf, ada)
    token = deaf.world.new_session(deaf.tenant, bob).session_token
    with deaf.as_(ada) as tx:
        assert tx.authz.check(READ)
        tx.conn.execute("select platform.open_session_context(%s)", [token])
        assert not tx.authz.check(READ)
    assert not may(deaf, bob)
    assert may(deaf, ada)


def test_contexts_do_not_share_answers(deaf):
    ada, bob = deaf.person("viewer"), deaf.person()
    assert may(deaf, ada)
    assert not may(deaf, bob)
    with deaf.world.owner(deaf.tenant) as conn:
        conn.execute("select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid, 'user_id', %s::uuid))",
                     [deaf.tenant.id, ada])  # fmt: skip
        (key,) = conn.execute("select key from identity.create_api_key('k', '{document.update}')").fetchone()
    with deaf.client.as_api_key(key) as tx:
        assert not tx.authz.check(READ)
    assert may(deaf, ada)


def test_whether_one_may_ask_about_others_is_found_out_each_time(deaf):
    boss, ada = deaf.person("super_admin"), deaf.person("viewer")
    assert may(deaf, boss, user_id=ada)
    take_from(deaf, boss)
    with deaf.as_(boss) as tx, pytest.raises(MayNotAsk):
        tx.authz.check(READ, user_id=ada)


def test_an_answer_ends_when_the_right_does(deaf):
    boss, ada = deaf.person("super_admin"), deaf.person()
    with deaf.as_(boss) as tx:
        until_then = Limits(valid_until=datetime.now(UTC) + timedelta(hours=1))
        tx.authz.grants.grant(ada, READ, limits=until_then)
    assert may(deaf, ada)
    with deaf.world.owner(deaf.tenant) as conn:
        conn.execute("delete from authz.user_permissions where user_id = %s", [ada])
    deaf.clock.now += 3000
    assert may(deaf, ada)
    deaf.clock.now += 601
    assert not may(deaf, ada)


def test_facts_of_the_request_are_part_of_the_question(deaf):
    boss, ada = deaf.person("super_admin"), deaf.person()
    with deaf.as_(boss) as tx:
        tx.authz.grants.grant(ada, READ, limits=Limits(condition="strict $.env.risk < 3"))
    with deaf.as_(ada) as tx:
        for _ in range(2):
            assert tx.authz.check(READ, request={"risk": 1})
            assert not tx.authz.check(READ, request={"risk": 9})
            assert not tx.authz.check(READ)


def test_a_changed_attribute_that_a_condition_asks_for_is_told_too(told):
    boss, ada = told.person("super_admin"), told.person()
    with told.as_(boss) as tx:
        finance = Limits(condition='strict $.subject.department == "Finance"')
        tx.authz.grants.grant(ada, READ, limits=finance)
    assert not may(told, ada)
    with told.world.owner(told.tenant) as conn:
        conn.execute(
            "insert into identity.user_profiles (tenant_id, user_id, department) values (%s, %s, 'Finance')"
            " on conflict (tenant_id, user_id) do update set department = 'Finance'",
            [told.tenant.id, ada],
        )
    until(lambda: may(told, ada))


def test_an_old_snapshot_teaches_others_nothing(told):
    ada = told.person("viewer")
    url = told.world.server.url(told.world.name, "app_login")
    frozen = (
        url
        + ("&" if "?" in url else "?")
        + "options=-c%20default_transaction_isolation%3Drepeatable%5C%20read"
    )
    with connect(frozen, decision_cache=told.cache) as client:
        house = House(told.world, client)
        house.tenant = told.tenant
        with house.as_(ada) as tx:
            before = told.cache.changes
            take_from(told, ada)
            until(lambda: told.cache.changes > before and told.cache.is_live)
            assert tx.authz.check(READ)
            assert not may(told, ada)


def test_a_lost_connection_is_neither_missed_nor_for_good(world, monkeypatch):
    gate = threading.Event()
    gate.set()
    connecting = Listener._connected

    def gated(self):
        gate.wait(30)
        return connecting(self)

    monkeypatch.setattr(Listener, "_connected", gated)
    cache = DecisionCache()
    with opened(world, cache) as client:
        house = House(world, client)
        ada = house.person("viewer")
        assert may(house, ada)
        gate.clear()
        with psycopg.connect(world.server.url(world.name)) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'enterprise-ai decision cache'"
            )
        until(lambda: not cache.is_live, "the loss was not noticed")
        assert len(cache) == 0
        take_from(house, ada)
        assert not may(house, ada)
        assert len(cache) <= 1
        gate.set()
        assert client.listener.wait(30)
        assert not may(house, ada)
        with house.as_(ada) as tx:
            assert not tx.authz.check(READ)
            before = tx._memory.statements
            assert not tx.authz.check(READ)
            assert tx._memory.statements == before, "it remembers again"
    assert not cache.is_live


def test_what_is_no_notification_of_ours_changes_nothing(told):
    ada = told.person("viewer")
    assert may(told, ada)
    before = told.cache.changes
    with told.world.owner() as conn:
        conn.execute("notify enterprise_ai_authz, 'rubbish'")
        conn.execute("select pg_notify('enterprise_ai_authz', %s)", [f"{told.tenant.id} 1"])
    until(lambda: told.cache.changes == before + 1)
    assert told.client.listener._thread.is_alive()
