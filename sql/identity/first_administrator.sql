create or replace function identity.appoint_first_administrator(tenant_id uuid, user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- gives a role, which otherwise takes somebody who has it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_role_id uuid;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', appoint_first_administrator.tenant_id));
    perform identity._refuse_inactive(appoint_first_administrator.tenant_id, appoint_first_administrator.user_id);
    -- Two who appoint at once take turns, and the second finds the first's.
    perform authz._touch_epoch(appoint_first_administrator.tenant_id);
    select r.id into v_role_id
    from authz.roles as r
    where r.tenant_id = appoint_first_administrator.tenant_id and r.name = 'super_admin';
    if exists (
           select
           from authz.user_roles as a
           join identity.users as u on u.tenant_id = a.tenant_id and u.id = a.user_id
           where a.tenant_id = appoint_first_administrator.tenant_id
             and a.role_id = v_role_id
             and u.status in ('invited', 'active', 'locked')
             and u.deleted_at is null)
       or v_role_id is null then
        raise exception 'The tenant has an administrator, or no role super_admin'
            using errcode = 'ZI041', hint = 'Its administrators give roles with authz.assign_role().';
    end if;
    insert into authz.user_roles (tenant_id, user_id, role_id)
    values (appoint_first_administrator.tenant_id, appoint_first_administrator.user_id, v_role_id);
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.appoint_first_administrator(uuid, uuid) is
    'Give the role super_admin to an active user of a tenant in which nobody has it who could sign in. Raises ZI041
when somebody has, ZI001 and ZI002 when the tenant or the user is not active.';

revoke all on function identity.appoint_first_administrator(uuid, uuid) from public;
grant execute on function identity.appoint_first_administrator(uuid, uuid) to enterprise_ai_operator;
