-- Constraints and indexes leave room for the suffixes that shards and partitions add.
select c.conrelid::regclass as table_name, c.conname as name
from pg_constraint as c
where c.connamespace::regnamespace::name = any (platform.domains())
  and c.contype <> 'n' and length(c.conname) > 54
union all
select i.indrelid::regclass, x.relname
from pg_index as i
join pg_class as x on x.oid = i.indexrelid
where x.relnamespace::regnamespace::name = any (platform.domains()) and length(x.relname) > 54;
