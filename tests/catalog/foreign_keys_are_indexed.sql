-- Every foreign key has an index that leads with its columns, or a unique one within them that finds the row.
select c.conrelid::regclass as table_name, c.conname
from pg_constraint as c
join pg_namespace as n on n.oid = c.connamespace
where c.contype = 'f'
  and n.nspname = any (platform.domains())
  and not exists (
      select from pg_index as i
      where i.indrelid = c.conrelid
        and i.indisvalid
        and i.indpred is null
        and ((i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
             or i.indisunique and c.conkey @> i.indkey::int2[])
  );
