create or replace function identity._limit(key text)
    returns integer
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_value jsonb := platform.setting(key);
begin
    if v_value is null then
        raise exception 'There is no setting %', key
            using errcode = 'ZP002', hint = 'The fourth migration declares it; has the row been deleted?';
    end if;
    return v_value::integer;
end
$$;

comment on function identity._limit(text) is
    'The value of a whole-number setting as it holds for the tenant of the context. Raises ZP002 when there is none.';

revoke all on function identity._limit(text) from public;
