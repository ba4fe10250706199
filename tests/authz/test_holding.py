"""What is written because of a check is still allowed when it commits, whoever revokes meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from tests.authz.test_asking import in_
from tests.authz.world import World

LEVELS = ["read committed", "repeatable read", "serializable"]
HOLD = "select authz.check_and_hold('document.update')"
REVOKE = "delete from authz.user_permissions where user_id = %s"


@pytest.fixture
def scene(database):
    """A tenant with somebody who may update documents, and how to open its contexts at a level."""
    with psycopg.connect(database) as conn:
        world = World(conn, "w" + uuid4().hex[:12])
        ada = world.user()
        world.say(ada, "document.update")

    @contextmanager
    def session(level: str, user: object = None):
        with psycopg.connect(database) as conn:
            conn.execute(f"set transaction isolation level {level}")
            mine = in_(conn, world)
            if user:
                mine.ask_as(user)
            else:
                mine.enter()
            yield mine
            conn.rollback()

    return session, ada


@pytest.mark.parametrize("level", LEVELS)
def test_a_revocation_waits_for_who_acts_on_the_right(scene, level):
    session, ada = scene
    with session(level, ada) as acting, session("read committed") as revoking:
        assert acting.one(HOLD) is True
        revoking.conn.execute("set local lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable), revoking.conn.transaction():
            revoking.conn.execute(REVOKE, [ada])
        acting.conn.commit()
        revoking.conn.execute(REVOKE, [ada])
        revoking.conn.commit()
    with session(level, ada) as acting:
        assert acting.one(HOLD) is False


@pytest.mark.parametrize("level", LEVELS)
def test_who_would_act_waits_for_a_revocation_and_does_not_act(scene, level):
    session, ada = scene
    with session(level, ada) as acting, session("read committed") as revoking, ThreadPoolExecutor(1) as pool:
        acting.one("select count(*) from authz.user_permissions")  # takes the snapshot
        revoking.conn.execute(REVOKE, [ada])
        waiting = pool.submit(acting.one, HOLD)
        blocked = "select pg_blocking_pids(%s) <> '{}'"
        while not waiting.done() and not revoking.one(blocked, acting.conn.info.backend_pid):
            pass
        assert not waiting.done()
        revoking.conn.commit()
        if level == "read committed":
            assert waiting.result() is False
        else:
            with pytest.raises(psycopg.errors.SerializationFailure):
                waiting.result()


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_snapshot_from_before_a_revocation_does_not_act(scene, level):
    session, ada = scene
    with session(level, ada) as acting, session("read committed") as revoking:
        assert acting.one("select authz.check('document.update')") is True
        revoking.conn.execute(REVOKE, [ada])
        revoking.conn.commit()
        assert acting.one("select authz.check('document.update')") is True  # as of its snapshot
        with pytest.raises(psycopg.errors.SerializationFailure):
            acting.one(HOLD)


def test_those_who_act_do_not_wait_for_each_other(scene):
    session, ada = scene
    with session("read committed", ada) as one, session("serializable", ada) as other:
        other.conn.execute("set local lock_timeout = '50ms'")
        assert one.one(HOLD) is True
        assert other.one(HOLD) is True


def test_an_application_holds_with_its_own_role_and_somebody_acts(admin):
    world = World(admin, "w" + uuid4().hex[:12])
    ada = world.user()
    world.say(ada, "document.update")
    world.ask_as(ada)
    admin.execute("set local role enterprise_ai_app")
    assert world.one(HOLD) is True
    assert world.one("select authz.check_and_hold('document.read')") is False
    admin.execute("reset role")
    world.enter()
    with pytest.raises(psycopg.Error) as caught:
        world.one(HOLD)
    assert caught.value.sqlstate == "ZA001"
