-- No two indexes of a table are the same, and none is only the beginning of another plain one.
select a.indexrelid::regclass as index_name, b.indexrelid::regclass as same_as
from pg_index as a
join pg_index as b on b.indrelid = a.indrelid and b.indexrelid <> a.indexrelid
join pg_class as ac on ac.oid = a.indexrelid
join pg_class as bc on bc.oid = b.indexrelid
join pg_namespace as n on n.oid = ac.relnamespace
where n.nspname = any (platform.domains())
  and ac.relam = bc.relam
  and not a.indisunique
  and a.indexprs is null and b.indexprs is null
  and a.indpred is null and b.indpred is null
  and (a.indkey::text = b.indkey::text or b.indkey::text like a.indkey::text || ' %')
  and a.indoption::text = left(b.indoption::text, length(a.indoption::text));
