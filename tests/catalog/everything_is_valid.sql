-- No index or constraint was left half made.
select i.indexrelid::regclass::text as name from pg_index as i where not (i.indisvalid and i.indisready)
union all
select c.conname from pg_constraint as c
where c.connamespace::regnamespace::name = any (platform.domains()) and not c.convalidated;
