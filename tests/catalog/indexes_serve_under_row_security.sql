-- Under row security an index serves only conditions that the planner may try before the policy: those whose functions
-- of columns are leakproof. lower() is not, so a query by lower(email) reads the whole tenant; a generated column does.
select i.indexrelid::regclass as index_name
from pg_index as i
join pg_class as c on c.oid = i.indrelid
where c.relrowsecurity
  and c.relnamespace::regnamespace::name = any (platform.domains())
  and pg_get_indexdef(i.indexrelid) ~ '\m(lower|upper|substr|"substring"|md5|sha256|date_trunc)\(';
