-- No table, function, sequence or schema of ours is everybody's.
select 'relation' as kind, c.oid::regclass::text as name
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
cross join lateral aclexplode(c.relacl) as acl
where (n.nspname = any (platform.domains()) or n.nspname like '%\_parts') and acl.grantee = 0
union all
select 'function', p.oid::regprocedure::text
from pg_proc as p
cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as acl
where p.pronamespace::regnamespace::name = any (platform.domains())
  and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
  and acl.grantee = 0
union all
select 'schema', n.nspname
from pg_namespace as n
cross join lateral aclexplode(n.nspacl) as acl
where (n.nspname = any (platform.domains()) or n.nspname like '%\_parts') and acl.grantee = 0;
