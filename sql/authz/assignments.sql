create or replace function authz._assignments(tenant_id uuid)
    returns table (
        kind text, id uuid, subject_id uuid, is_group boolean, role_id uuid, permission_id integer, resource_id uuid,
        valid_until timestamptz, assignment jsonb)
    language plpgsql
    stable
    parallel restricted
as $$
#variable_conflict use_column
begin
    return query
    select 'user_role', a.id, a.user_id, false, a.role_id, null::integer, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.user_roles as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'group_role', a.id, a.group_id, true, a.role_id, null, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.group_roles as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'user_permission', a.id, a.user_id, false, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.user_permissions as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'group_permission', a.id, a.group_id, true, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.group_permissions as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'delegation', a.id, a.delegate_id, false, a.role_id, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.delegations as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'proxy_grant', a.id, a.actor_id, false, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.proxy_grants as a
    where a.tenant_id = _assignments.tenant_id;
end
$$;

comment on function authz._assignments(uuid) is 'Whatever somebody has been given in a tenant, of all kinds, as one list.';

revoke all on function authz._assignments(uuid) from public;


create or replace function authz._withdraw(tenant_id uuid, kind text, id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    if kind = 'user_role' then
        delete from authz.user_roles as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'group_role' then
        delete from authz.group_roles as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'user_permission' then
        delete from authz.user_permissions as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'group_permission' then
        delete from authz.group_permissions as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'delegation' then
        delete from authz.delegations as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'proxy_grant' then
        delete from authz.proxy_grants as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    end if;
    return found;
end
$$;

comment on function authz._withdraw(uuid, text, uuid) is
    'Take back what authz._assignments lists; false when it is gone already.';

revoke all on function authz._withdraw(uuid, text, uuid) from public;
