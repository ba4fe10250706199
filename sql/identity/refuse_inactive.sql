create or replace function identity._refuse_inactive(tenant_id uuid, user_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_status text;
    v_user_status text;
begin
    select t.status, u.status into v_tenant_status, v_user_status
    from identity.tenants as t
    left join identity.users as u on u.tenant_id = t.id and u.id = _refuse_inactive.user_id
    where t.id = _refuse_inactive.tenant_id;

    if v_tenant_status is distinct from 'active' then
        raise exception 'Tenant % %', _refuse_inactive.tenant_id,
            coalesce('is ' || v_tenant_status, 'does not exist')
            using errcode = 'ZI001', hint = 'A context opens only for an active tenant.';
    elsif _refuse_inactive.user_id is not null
          -- A lock-out keeps people from signing in, not from going on: anybody could cause it from outside.
          and (v_user_status in ('active', 'locked')) is not true then
        raise exception 'User % %', _refuse_inactive.user_id,
            coalesce('is ' || v_user_status, 'does not exist in tenant ' || _refuse_inactive.tenant_id)
            using errcode = 'ZI002', hint = 'A context opens only for an active user of the tenant.';
    end if;
end
$$;

comment on function identity._refuse_inactive(uuid, uuid) is
    'Raise ZI001 unless the tenant is active, and ZI002 unless the user, where one is named, is. Reads in the
tenant''s context.';

revoke all on function identity._refuse_inactive(uuid, uuid) from public;
