create or replace function analytics._keep_closed_periods()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'The billing period of % is closed', to_char(old.starts_at at time zone 'UTC', 'YYYY-MM')
        using errcode = 'ZN002',
              hint = 'What came to light later is a charge of class Correction in the open period.';
end
$$;

comment on function analytics._keep_closed_periods() is
    'Before-row trigger for closed periods: they stay as they were when they were closed. Raises ZN002.';

revoke all on function analytics._keep_closed_periods() from public;
