-- A function that writes is not marked as fit for parallel plans.
select p.oid::regprocedure as function_name
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains())
  and p.prokind = 'f'
  and p.proparallel = 's'
  and p.prosrc ~* '\m(insert into|update [a-z_.]+ as|delete from|nextval|set_config)\M';
