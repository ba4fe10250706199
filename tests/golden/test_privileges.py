"""Who may do what: the privileges of every group role on every object, compared with a reviewed listing.

When a change is meant, run the tests with UPDATE_GOLDEN=1 and review the difference of the listing.
"""

import os
from pathlib import Path

GOLDEN = Path(__file__).with_name("privileges.txt")

LISTING = """
with acl as (
    select 'schema' as kind, n.nspname::text as name, null as columns, a.grantee, a.privilege_type
    from pg_namespace as n cross join lateral aclexplode(n.nspacl) as a
    where n.nspname = any (platform.domains()) or n.nspname like '%\\_parts'
    union all
    select 'table', c.oid::regclass::text, null, a.grantee, a.privilege_type
    from pg_class as c cross join lateral aclexplode(c.relacl) as a
    where c.relnamespace::regnamespace::name = any (platform.domains())
    union all
    select 'table', t.attrelid::regclass::text, t.attname, a.grantee, a.privilege_type
    from pg_attribute as t
    join pg_class as c on c.oid = t.attrelid
    cross join lateral aclexplode(t.attacl) as a
    where c.relnamespace::regnamespace::name = any (platform.domains())
    union all
    select 'function', p.oid::regprocedure::text, null, a.grantee, a.privilege_type
    from pg_proc as p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
    where p.pronamespace::regnamespace::name = any (platform.domains())
      -- What the server makes along with a type differs by version.
      and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
)
select format('%s %s: %s %s', kind, name, case when grantee = 0 then 'public' else grantee::regrole::text end,
              string_agg(lower(privilege_type) || coalesce(' (' || columns || ')', ''), ', '
                         order by lower(privilege_type) || coalesce(' (' || columns || ')', '')))
from acl
where grantee = 0 or grantee::regrole::text like 'enterprise\\_ai\\_%%'
group by kind, name, grantee
order by kind, name, 1
"""


def test_privileges_are_as_reviewed(db):
    db.execute("set local search_path = pg_catalog")
    listing = "".join(f"{line}\n" for (line,) in db.execute(LISTING.replace("%%", "%")))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(listing)
    assert listing == GOLDEN.read_text()
