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


create or replace function identity.sign_in_limits()
    returns table (password_min_length integer, password_max_length integer, totp_tolerance_steps integer)
    language plpgsql
    stable
    parallel restricted
    security definer        -- the settings' tables are not granted to those who sign people in
    set search_path = pg_catalog, pg_temp
as $$
begin
    password_min_length := identity._limit('security.password_min_length');
    password_max_length := identity._limit('security.password_max_length');
    totp_tolerance_steps := identity._limit('security.totp_tolerance_steps');
    return next;
end
$$;

comment on function identity.sign_in_limits() is
    'What the tenant of the context asks of passwords and codes, for those who hash the one and verify the other.';

revoke all on function identity.sign_in_limits() from public;
grant execute on function identity.sign_in_limits() to enterprise_ai_app, enterprise_ai_gateway;
