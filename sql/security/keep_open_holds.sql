create or replace function security._keep_open_holds()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if old.released_at is null then
        raise exception 'Legal hold % ("%") is in force; nothing was deleted', old.id, old.matter
            using errcode = 'ZS001', hint = 'Release the hold first: set released_at, released_by and release_reason.';
    end if;
    return old;
end
$$;

comment on function security._keep_open_holds() is
    'Before-row trigger: a hold in force cannot be deleted, nor can the tenant it protects. Raises ZS001.';

revoke all on function security._keep_open_holds() from public;
