-- Tenants override settings through functions alone: security.* is among them, and whoever can run SQL as the
-- application must not be able to switch a tenant's own security off.

create or replace function platform._write_tenant_setting(key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_before jsonb;
begin
    -- Two who set the same take turns, so that the history tells what each of them replaced.
    perform pg_advisory_xact_lock(hashtext('platform.tenant_settings'), hashtext(v_tenant_id || _write_tenant_setting.key));
    select s.value into v_before
    from platform.tenant_settings as s
    where s.tenant_id = v_tenant_id and s.key = _write_tenant_setting.key;

    if _write_tenant_setting.value is null then
        delete from platform.tenant_settings as s
        where s.tenant_id = v_tenant_id and s.key = _write_tenant_setting.key;
    else
        insert into platform.tenant_settings (tenant_id, key, value)
        values (v_tenant_id, _write_tenant_setting.key, _write_tenant_setting.value)
        on conflict (tenant_id, key) do update set value = excluded.value;
    end if;
    insert into platform.tenant_setting_changes (tenant_id, key, old_value, new_value, reason, changed_by)
    values (v_tenant_id, _write_tenant_setting.key, v_before, _write_tenant_setting.value, _write_tenant_setting.reason,
            platform.current_actor_id());
end
$$;

comment on function platform._write_tenant_setting(text, jsonb, text) is
    'Override a setting in the context''s tenant, or no longer where the value is null, and record it.';

revoke all on function platform._write_tenant_setting(text, jsonb, text) from public;


create or replace function platform.set_tenant_setting(key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write settings
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := platform.current_user_id();
begin
    if platform.current_tenant_id() is null then
        raise exception 'There is no context, so no tenant whose setting this would be'
            using errcode = 'ZP006', hint = 'Open the context of somebody who has system.configure.';
    -- Only gateways open a context for no user; they answer for what they do.
    elsif v_user_id is not null and not authz.check('system.configure') then
        raise exception 'User % may not change the settings of the tenant', v_user_id
            using errcode = 'ZP006', hint = 'It takes system.configure, after signing in with a second factor.';
    end if;
    perform platform._refuse_unoverridable(set_tenant_setting.key);
    perform platform._write_tenant_setting(set_tenant_setting.key, set_tenant_setting.value, set_tenant_setting.reason);
end
$$;

comment on function platform.set_tenant_setting(text, jsonb, text) is
    'Override a setting in the context''s tenant; with null, as in the installation again. Takes system.configure. Raises
ZP002 when nothing declares the key, ZP003 when tenants cannot override it, ZP004 when the value does not fit, ZP006 when
the user may not.';

revoke all on function platform.set_tenant_setting(text, jsonb, text) from public;
grant execute on function platform.set_tenant_setting(text, jsonb, text) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function platform.set_setting_of_tenant(tenant_id uuid, key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens the context of a tenant for an operator, who has none
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', set_setting_of_tenant.tenant_id));
    if not exists (select from identity.tenants as t where t.id = set_setting_of_tenant.tenant_id) then
        raise exception 'There is no tenant %', set_setting_of_tenant.tenant_id
            using errcode = 'ZI016', hint = 'select * from identity.tenant_directory lists them.';
    end if;
    perform platform._write_tenant_setting(
        set_setting_of_tenant.key, set_setting_of_tenant.value, set_setting_of_tenant.reason);
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function platform.set_setting_of_tenant(uuid, text, jsonb, text) is
    'Override a setting for a tenant as its operator: also what tenants cannot override themselves, such as their quotas.
Raises ZI016 when there is no such tenant, ZP002 and ZP004 as platform.set_tenant_setting().';

revoke all on function platform.set_setting_of_tenant(uuid, text, jsonb, text) from public;
grant execute on function platform.set_setting_of_tenant(uuid, text, jsonb, text) to enterprise_ai_operator;
