-- Every updated_at has the trigger that keeps it.
select a.attrelid::regclass as table_name
from pg_attribute as a
join pg_class as c on c.oid = a.attrelid
where a.attname = 'updated_at'
  and c.relkind in ('r', 'p')
  and c.relnamespace::regnamespace::name = any (platform.domains())
  and not exists (
      select from pg_trigger as t
      where t.tgrelid = c.oid and t.tgfoid = 'platform.touch_updated_at()'::regprocedure and t.tgenabled = 'O');
