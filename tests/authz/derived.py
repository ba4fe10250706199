"""Whether what is derived is what deriving it anew would give."""

from __future__ import annotations

import psycopg

from tests.authz.test_asking import in_

STATE = """
select (select array_agg(r order by r.role_id) from authz.role_rights as r
        where position('1' in rights::text) > 0)::text,
       (select array_agg(s order by s.id) from authz.role_sets as s)::text,
       (select array_agg(h order by h.holder_id) from authz.holders as h)::text
"""
ANEW = """
select authz._derive_roles(%(t)s, array(select id from authz.roles)),
       authz._derive_holders(%(t)s, array(select holder_id from authz.holders)),
       authz._derive_role_sets(%(t)s, array(select id from authz.role_sets))
"""
# Sets that nobody holds but the one without roles, holders without a set, and ids that are not those of the roles.
AMISS = """
select s.id from authz.role_sets as s
where not (s.own_roles = '{}' and s.groups = '{}') and not exists (
          select from authz.holders as h where h.tenant_id = s.tenant_id and h.role_set_id = s.id)
   or s.id <> authz._role_set_id(array(select distinct r from unnest(s.own_roles) as r order by r),
                                 array(select distinct g from unnest(s.groups) as g order by g))
union all
select h.holder_id from authz.holders as h
where not exists (select from authz.role_sets as s where s.tenant_id = h.tenant_id and s.id = h.role_set_id)
"""


def check_derived(database, world):
    with psycopg.connect(database) as conn:
        check_as_anew(in_(conn, world))
        conn.rollback()


def check_as_anew(world):
    world.enter()
    assert world.conn.execute(AMISS).fetchall() == []
    before = world.conn.execute(STATE).fetchone()
    world.conn.execute(ANEW, {"t": world.tenant_id})
    assert world.conn.execute(STATE).fetchone() == before
