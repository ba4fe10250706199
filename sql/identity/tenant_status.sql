create or replace function identity._change_tenant_status(tenant_id uuid, new_status text, from_statuses text[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_status text;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', _change_tenant_status.tenant_id));
    select t.status into v_status
    from identity.tenants as t
    where t.id = _change_tenant_status.tenant_id
    for no key update;
    if v_status is null or v_status <> all (from_statuses) then
        raise exception 'Tenant % %', _change_tenant_status.tenant_id,
            coalesce('is ' || v_status || ' and cannot become ' || new_status, 'does not exist')
            using errcode = 'ZI016', hint = 'That is possible from: ' || array_to_string(from_statuses, ', ') || '.';
    end if;
    update identity.tenants as t set status = new_status where t.id = _change_tenant_status.tenant_id;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity._change_tenant_status(uuid, text, text[]) is
    'Give a tenant another status, if it can come from the one it has. Raises ZI016.';

revoke all on function identity._change_tenant_status(uuid, text, text[]) from public;


create or replace function identity.suspend_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(suspend_tenant.tenant_id, 'suspended', '{active}');
end
$$;

comment on function identity.suspend_tenant(uuid) is
    'Keep everybody of a tenant out: no context opens for it. Sessions and keys work again once it is active. Raises
ZI016.';

revoke all on function identity.suspend_tenant(uuid) from public;
grant execute on function identity.suspend_tenant(uuid) to enterprise_ai_operator;


create or replace function identity.archive_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(archive_tenant.tenant_id, 'archived', '{active,suspended}');
end
$$;

comment on function identity.archive_tenant(uuid) is
    'Put a tenant away whose data is to be kept: no context opens for it. Raises ZI016.';

revoke all on function identity.archive_tenant(uuid) from public;
grant execute on function identity.archive_tenant(uuid) to enterprise_ai_operator;


create or replace function identity.reactivate_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(reactivate_tenant.tenant_id, 'active', '{suspended,archived}');
end
$$;

comment on function identity.reactivate_tenant(uuid) is 'Let a suspended or archived tenant work again. Raises ZI016.';

revoke all on function identity.reactivate_tenant(uuid) from public;
grant execute on function identity.reactivate_tenant(uuid) to enterprise_ai_operator;
