-- Every table partitioned by month has this month and twelve more, in UTC, without a gap and without a default.
select parent.oid::regclass as table_name, wanted.month
from pg_class as parent
cross join generate_series(
    date_trunc('month', now() at time zone 'UTC'),
    date_trunc('month', now() at time zone 'UTC') + interval '12 months', '1 month') as wanted (month)
where parent.relkind = 'p'
  and parent.relnamespace::regnamespace::name = any (platform.domains())
  and not exists (
      select from platform.partitions(parent.oid) as p
      where p.starts_at = wanted.month at time zone 'UTC'
        and p.ends_at = (wanted.month + interval '1 month') at time zone 'UTC')
union all
select p.partrelid::regclass, null from pg_partitioned_table as p where p.partdefid <> 0;
