-- Whatever belongs to a tenant has row security, forced on the owner too, and one policy that checks both ways.
select c.oid::regclass as table_name
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any (platform.domains())
  and c.relkind in ('r', 'p')
  and not c.relispartition
  and (c.oid = 'identity.tenants'::regclass
       or exists (
           select from pg_index as i
           join pg_attribute as a on a.attrelid = c.oid and a.attnum = i.indkey[0]
           where i.indrelid = c.oid and i.indisprimary and a.attname = 'tenant_id'))
  -- Whose turn it is among the tenants is read across all of them, by functions alone.
  and c.oid <> 'llm.document_queue_turns'::regclass
  and not (c.relrowsecurity
           and c.relforcerowsecurity
           and exists (
               select from pg_policy as p
               where p.polrelid = c.oid
                 and p.polcmd = '*'
                 and p.polpermissive
                 and p.polroles = '{0}'
                 and pg_get_expr(p.polqual, c.oid) like '%platform.current_tenant_id()%'
                 and pg_get_expr(p.polwithcheck, c.oid) like '%platform.current_tenant_id()%'));
