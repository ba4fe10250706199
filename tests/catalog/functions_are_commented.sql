-- Every function says what it does.
select p.oid::regprocedure as function_name
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains())
  and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
  and obj_description(p.oid, 'pg_proc') is null;
