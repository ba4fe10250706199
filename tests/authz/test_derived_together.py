"""What is derived is right whoever writes at the same time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from tests.authz.derived import check_derived
from tests.authz.test_asking import in_
from tests.authz.world import World


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_sessions_that_change_rights_together_leave_nothing_stale(database, level):
    with psycopg.connect(database) as conn:
        world = World(conn, "shop")
        roles = [world.role() for _ in range(6)]
        users = [world.user() for _ in range(4)]
        groups = [world.group() for _ in range(3)]
    outcomes: list[str | None] = []
    newcomers: list[UUID] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        with psycopg.connect(database) as conn:
            mine = in_(conn, world)
            for _ in range(25):
                try:
                    conn.execute(f"set transaction isolation level {level}")
                    mine.enter()
                    conn.execute("select count(*) from authz.role_permissions")  # takes the snapshot
                    for _ in range(dice.randint(1, 2)):
                        change(mine, dice)
                    conn.commit()
                    outcomes.append(None)
                except psycopg.Error as error:
                    conn.rollback()
                    outcomes.append(error.sqlstate)

    def change(mine: World, dice: random.Random) -> None:
        role, other, user, group = (dice.choice(x) for x in (roles, roles, users, groups))
        what = dice.choice(
            [
                "carry",
                "drop",
                "inherit",
                "cut",
                "give",
                "take",
                "join",
                "leave",
                "move",
                "status",
                "say",
                "unsay",
                "unsay to all",
                "give to all",
                "take from all",
                "everyone",
                "tenant",
                "come",
                "go",
            ]
        )
        if what == "carry":
            mine.carry(
                role, dice.choice(["document.read", "document.update"]), effect=dice.choice(["allow", "deny"])
            )
        elif what == "inherit":
            mine.inherit(role, other)
        elif what == "give":
            mine.give(user, role)
        elif what == "give to all":
            mine.insert("authz.group_roles", group_id=group, role_id=role, resource_id=None)
        elif what == "come":
            newcomers.append(mine.user(dice.choice(["active", "suspended"])))
        elif what == "join":
            mine.join(group, user)
        elif what == "say":
            holder = dice.choice([{"user_id": user}, {"group_id": group}])
            mine.insert(
                f"authz.{next(iter(holder)).replace('_id', '_permissions')}",
                permission_id=dice.choice(["document.read", "document.update"]),
                effect=dice.choice(["allow", "deny"]),
                condition=dice.choice([None, "strict $.env.a == 1"]),
                **holder,
            )
        else:
            mine.conn.execute(
                {
                    "drop": "delete from authz.role_permissions where role_id = %(role)s",
                    "cut": "delete from authz.role_inheritance where role_id = %(role)s or parent_id = %(role)s",
                    "take": "delete from authz.user_roles where user_id = %(user)s",
                    "unsay": "delete from authz.user_permissions where id = (select id from authz.user_permissions"
                    " where user_id = %(user)s order by id desc limit 1)",
                    "unsay to all": "delete from authz.group_permissions where group_id = %(group)s",
                    "take from all": "delete from authz.group_roles where group_id = %(group)s",
                    "everyone": "update authz.roles set for_everyone = not for_everyone where id = %(role)s",
                    "tenant": "update identity.tenants set status ="
                    " case status when 'active' then 'suspended' else 'active' end where id = %(tenant)s",
                    "go": "delete from identity.users where id = any(%(newcomers)s)",
                    "leave": "delete from identity.group_members where group_id = %(group)s",
                    "move": "update identity.groups set parent_id = %(parent)s where id = %(group)s",
                    "status": "update identity.users set status = %(status)s where id = %(user)s",
                }[what],
                {
                    "role": role,
                    "user": user,
                    "group": group,
                    "tenant": mine.tenant_id,
                    "newcomers": newcomers[-3:],
                    "parent": dice.choice([None, *groups[: groups.index(group)]]),
                    "status": dice.choice(["active", "suspended"]),
                },
            )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    # ZI012: a status that cannot follow the one before.
    assert set(outcomes) - {None} <= {"ZA002", "ZI012", "23505", "23514", "40001", "40P01"}, outcomes
    assert outcomes.count(None) > 10
    check_derived(database, world)
