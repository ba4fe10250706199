-- Moments carry their zone, text has no arbitrary length, money is numeric, keys are no sequences.
select a.attrelid::regclass as table_name, a.attname, format_type(a.atttypid, a.atttypmod) as type
from pg_attribute as a
join pg_class as c on c.oid = a.attrelid
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = any (platform.domains())
  and c.relkind in ('r', 'p')
  and a.attnum > 0
  and not a.attisdropped
  and (format_type(a.atttypid, a.atttypmod)
           ~ '^(timestamp|time|character|money|json|real|double precision)\M(?!.* with time zone)'
       or exists (
           select from pg_attrdef as d
           where d.adrelid = a.attrelid and d.adnum = a.attnum and pg_get_expr(d.adbin, d.adrelid) like 'nextval%'));
