-- What keeps its plan for any question does not have it compiled at each call: that takes 200 ms where a decision takes one.
select p.oid::regprocedure as function_name, p.proconfig
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains())
  and p.proconfig @> array['plan_cache_mode=force_generic_plan']
  and not p.proconfig @> array['jit=off'];
