-- Only actions that a sharded database has: cascade, restrict, no action; nothing cascades an update.
select c.conrelid::regclass as table_name, c.conname, c.confdeltype, c.confupdtype
from pg_constraint as c
where c.contype = 'f'
  and c.connamespace::regnamespace::name = any (platform.domains())
  and (c.confdeltype not in ('c', 'r', 'a') or c.confupdtype not in ('r', 'a'));
