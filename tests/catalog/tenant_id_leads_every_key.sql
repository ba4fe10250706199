-- A table with a tenant_id has it first in its primary key and in every unique constraint and index; the
-- exceptions are catalogues of what is unique across all tenants, which no application can read.
select i.indexrelid::regclass as index_name
from pg_index as i
join pg_class as c on c.oid = i.indrelid
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as tenant on tenant.attrelid = c.oid and tenant.attname = 'tenant_id'
where n.nspname = any (platform.domains())
  and i.indisunique
  and i.indkey[0] is distinct from tenant.attnum
  and exists (
      select from unnest(array['enterprise_ai_app', 'enterprise_ai_reader', 'enterprise_ai_gateway']) as role (name)
      where has_table_privilege(role.name, c.oid, 'select'))
union all
select c.oid::regclass
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as tenant on tenant.attrelid = c.oid and tenant.attname = 'tenant_id'
where n.nspname = any (platform.domains())
  and c.relkind in ('r', 'p')
  and not c.relrowsecurity
  and has_table_privilege('enterprise_ai_app', c.oid, 'select');
