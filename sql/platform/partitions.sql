-- Months are cut in UTC whatever the session's zone, made with LIKE and ATTACH (PARTITION OF would stop
-- readers and writers of the parent), and kept in <domain>_parts, where nobody is granted anything.

create or replace function platform.partitions(parent regclass)
    returns table (partition regclass, starts_at timestamptz, ends_at timestamptz)
    language sql
    stable
    parallel safe
    set timezone = 'UTC'
    set search_path = pg_catalog, pg_temp
as $$
    select c.oid::regclass, bound.starts_at, bound.ends_at
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    cross join lateral (
        select (regexp_match(pg_get_expr(c.relpartbound, c.oid), $r$FROM \('([^']+)'\)$r$))[1]::timestamptz,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), $r$TO \('([^']+)'\)$r$))[1]::timestamptz
    ) as bound (starts_at, ends_at)
    where i.inhparent = parent
      and c.relispartition
    order by bound.starts_at;
$$;

comment on function platform.partitions(regclass) is
    'The partitions of a table partitioned by month, oldest first, with their half-open bounds.';

revoke all on function platform.partitions(regclass) from public;
grant execute on function platform.partitions(regclass) to enterprise_ai_operator;


create or replace function platform.ensure_partitions(parent regclass, from_month date, to_month date)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- makes tables, which only the owner of the parent can
    set timezone = 'UTC'
    set lock_timeout = '3s'
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_schema name;
    v_table name;
    v_month date;
    v_starts_at timestamptz;
    v_ends_at timestamptz;
    v_partition text;
    v_made integer := 0;
begin
    select n.nspname, c.relname into v_schema, v_table
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = parent
      and c.relkind = 'p'
      and n.nspname = any (platform.domains());
    if not found then
        raise exception '% is not a partitioned table of this schema', parent
            using errcode = 'ZP001';
    end if;

    -- Two who maintain at once take turns; the second finds everything made.
    perform pg_advisory_xact_lock(hashtext('platform.ensure_partitions'), parent::oid::integer);

    for v_month in
        select month::date
        from generate_series(
            date_trunc('month', from_month::timestamp), date_trunc('month', to_month::timestamp), '1 month'
        ) as month
    loop
        v_starts_at := v_month::timestamp at time zone 'UTC';
        v_ends_at := (v_month + interval '1 month') at time zone 'UTC';
        continue when exists (
            select from platform.partitions(parent) as p
            where p.starts_at = v_starts_at and p.ends_at = v_ends_at);

        v_partition := format('%I.%I', v_schema || '_parts', v_table || to_char(v_month, '"_"YYYY"_"MM'));
        execute format(
            'create table %s (like %s including all excluding indexes excluding identity excluding statistics)',
            v_partition, parent);
        execute format(
            'alter table %s attach partition %s for values from (%L) to (%L)',
            parent, v_partition, v_starts_at, v_ends_at);
        v_made := v_made + 1;
    end loop;
    return v_made;
end
$$;

comment on function platform.ensure_partitions(regclass, date, date) is
    'Make the monthly partitions that are missing from the first month to the last; returns how many were made.
Readers and writers of the table go on meanwhile. Raises ZP001 for a table that is not partitioned here.';

revoke all on function platform.ensure_partitions(regclass, date, date) from public;
grant execute on function platform.ensure_partitions(regclass, date, date) to enterprise_ai_operator;


create or replace function platform.maintain_partitions(months_ahead integer default 12)
    returns table (parent regclass, made integer)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_today date := (now() at time zone 'UTC')::date;
begin
    for parent in
        select c.oid::regclass
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname = any (platform.domains())
        order by n.nspname, c.relname
    loop
        made := platform.ensure_partitions(
            parent, v_today, (v_today + make_interval(months => months_ahead))::date);
        return next;
    end loop;
end
$$;

comment on function platform.maintain_partitions(integer) is
    'Make the partitions of this month and so many months ahead for every table partitioned by month.';

revoke all on function platform.maintain_partitions(integer) from public;
grant execute on function platform.maintain_partitions(integer) to enterprise_ai_operator;
