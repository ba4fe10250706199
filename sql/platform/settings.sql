create or replace function platform._check_tenant_setting()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_declared platform.configuration_settings;
begin
    -- The widest declaration of the key tells its type.
    select s.* into v_declared
    from platform.configuration_settings as s
    where s.key = new.key and s.environment = 'any'
    order by s.service_name nulls first
    limit 1;

    if not found then
        raise exception 'There is no setting %', new.key
            using errcode = 'ZP002', hint = 'select key from platform.configuration_settings lists them.';
    elsif not platform.value_fits(
        new.value, v_declared.value_type, v_declared.minimum, v_declared.maximum, v_declared.allowed_values)
    then
        raise exception 'The setting % takes %, not %', new.key,
            v_declared.value_type
            || coalesce(' out of ' || v_declared.allowed_values::text, '')
            || coalesce(' from ' || v_declared.minimum::text, '')
            || coalesce(' up to ' || v_declared.maximum::text, ''),
            new.value
            using errcode = 'ZP004';
    end if;
    return new;
end
$$;

comment on function platform._check_tenant_setting() is
    'Before-row trigger: a tenant''s override names a declared setting and has its type.';

revoke all on function platform._check_tenant_setting() from public;


create or replace function platform._refuse_unoverridable(key text)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_overridable boolean;
begin
    select s.is_tenant_overridable into v_is_overridable
    from platform.configuration_settings as s
    where s.key = _refuse_unoverridable.key and s.environment = 'any'
    order by s.service_name nulls first
    limit 1;
    if not found then
        raise exception 'There is no setting %', key
            using errcode = 'ZP002', hint = 'select key from platform.configuration_settings lists them.';
    elsif not v_is_overridable then
        raise exception 'The setting % is the installation''s own; a tenant cannot override it', key
            using errcode = 'ZP003', hint = 'An operator can for the tenant, by platform.set_setting_of_tenant().';
    end if;
end
$$;

comment on function platform._refuse_unoverridable(text) is
    'Raise ZP002 for a setting that nothing declares, ZP003 for one that tenants cannot override themselves.';

revoke all on function platform._refuse_unoverridable(text) from public;


create or replace function platform.setting(
    key text,
    service_name text default null,
    environment text default null)
    returns jsonb
    language plpgsql        -- its plans are kept for the session; a language sql body is planned at each call
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_value jsonb;
begin
    select t.value into v_value
    from platform.tenant_settings as t
    where t.tenant_id = platform.current_tenant_id() and t.key = setting.key;
    if found then
        return v_value;
    end if;
    select s.value into v_value
    from platform.configuration_settings as s
    where s.key = setting.key
      and (s.service_name is null or s.service_name = setting.service_name)
      and (s.environment = 'any' or s.environment = setting.environment)
    order by s.service_name is null, s.environment = 'any'
    limit 1;
    return v_value;
end
$$;

comment on function platform.setting(text, text, text) is
    'The value of a setting: the tenant''s own, else the service''s, else the global one; within each, the named
environment''s before the one for any. Null when nothing declares the key.';

revoke all on function platform.setting(text, text, text) from public;
grant execute on function platform.setting(text, text, text)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_operator;
