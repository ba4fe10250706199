create or replace function platform.touch_updated_at()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

comment on function platform.touch_updated_at() is
    'Before-row trigger: updated_at is when the row last changed, whatever the writer sent.';

revoke all on function platform.touch_updated_at() from public;
