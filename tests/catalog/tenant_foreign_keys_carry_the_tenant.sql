-- A foreign key between tables of a tenant has tenant_id first on both sides, so no row can point next door;
-- a shared catalogue never points at a tenant's table.
with tenant_owned as (
    select i.indrelid as oid
    from pg_index as i
    join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indisprimary and a.attname = 'tenant_id'
)
select f.conrelid::regclass as table_name, f.conname
from pg_constraint as f
where f.contype = 'f'
  and f.connamespace::regnamespace::name = any (platform.domains())
  and f.confrelid in (select oid from tenant_owned)
  and not (
      f.conrelid in (select oid from tenant_owned)
      and (select a.attname from pg_attribute as a where a.attrelid = f.conrelid and a.attnum = f.conkey[1]) = 'tenant_id'
      and (select a.attname from pg_attribute as a where a.attrelid = f.confrelid and a.attnum = f.confkey[1]) = 'tenant_id');
