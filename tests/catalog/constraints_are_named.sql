-- Every check states its rule: its name begins with the table and is not what the server would make up.
select c.conrelid::regclass as table_name, c.conname
from pg_constraint as c
join pg_class as t on t.oid = c.conrelid
where c.connamespace::regnamespace::name = any (platform.domains())
  and c.contype in ('c', 'u', 'p', 'f', 'x')
  and (not starts_with(c.conname, t.relname) or c.conname ~ '_check[0-9]*$');
