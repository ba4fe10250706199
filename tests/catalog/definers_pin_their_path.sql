-- A function that runs with its owner's rights finds its objects in pg_catalog first and pg_temp last.
select p.oid::regprocedure as function_name, p.proconfig
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains())
  and p.prosecdef
  and not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false);
