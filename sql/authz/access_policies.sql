create or replace function authz.save_access_policy(
    name text,
    kind text,
    permissions text[] default '{}',
    role_names text[] default '{}',
    maximum_held integer default 1,
    counted_per text default null,
    enforcement text default 'refuse',
    is_enabled boolean default true,
    description text default '')
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
    v_policy authz.access_policies;
    v_unknown text;
begin
    select coalesce(
        (select p from unnest(save_access_policy.permissions) as p
         where not exists (select from authz.permissions as known where known.name = p) limit 1),
        (select r from unnest(save_access_policy.role_names) as r
         where not exists (
             select from authz.roles as known where known.tenant_id = v_tenant_id and known.name = r) limit 1))
    into v_unknown;
    if v_unknown is not null then
        raise exception 'There is no role or permission %', v_unknown
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles, permissions as in authz.permissions.';
    end if;

    select p.* into v_policy
    from authz.access_policies as p
    where p.tenant_id = v_tenant_id and p.name = save_access_policy.name;
    if v_policy.kind <> save_access_policy.kind then
        raise exception 'The policy "%" is %, and stays so', save_access_policy.name, v_policy.kind
            using errcode = 'ZA008', hint = 'Delete it and make another.';
    end if;
    -- It counts for nothing until it is whole.
    insert into authz.access_policies (tenant_id, name, description, kind, maximum_held, counted_per, enforcement, is_enabled)
    values (v_tenant_id, save_access_policy.name, save_access_policy.description, save_access_policy.kind,
            save_access_policy.maximum_held, save_access_policy.counted_per, save_access_policy.enforcement, false)
    on conflict on constraint access_policies_name_key do update
        set description = excluded.description,
            maximum_held = excluded.maximum_held,
            counted_per = excluded.counted_per,
            enforcement = excluded.enforcement,
            is_enabled = false
    returning * into v_policy;

    delete from authz.access_policy_roles as c where c.tenant_id = v_tenant_id and c.policy_id = v_policy.id;
    delete from authz.access_policy_permissions as c where c.tenant_id = v_tenant_id and c.policy_id = v_policy.id;
    insert into authz.access_policy_roles (tenant_id, policy_id, role_id)
    select v_tenant_id, v_policy.id, r.id
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = any (save_access_policy.role_names);
    insert into authz.access_policy_permissions (tenant_id, policy_id, permission_id)
    select v_tenant_id, v_policy.id, p.id
    from authz.permissions as p
    where p.name = any (save_access_policy.permissions);

    update authz.access_policies as p
    set is_enabled = save_access_policy.is_enabled
    where p.tenant_id = v_tenant_id and p.id = v_policy.id;
    return v_policy.id;
end
$$;

comment on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text) is
    'Make or change a separation of duties by its name; returns its id. static: nobody may hold more than maximum_held of
these roles and permissions; dynamic: nobody may use more of these permissions on one resource or in one session
(counted_per). It takes permission.manage_policies (ZA010). Raises ZA011 for an unknown role or permission, ZA008 when
the policy is of the other kind, ZA013 when somebody holds too much of it already and it is to refuse, ZA014 for roles
in a dynamic one.';

revoke all on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text) from public;
grant execute on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text)
    to enterprise_ai_app;


create or replace function authz.delete_access_policy(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.access_policies as p
    where p.tenant_id = v_tenant_id and p.name = delete_access_policy.name;
    return found;
end
$$;

comment on function authz.delete_access_policy(text) is
    'Delete a separation of duties, with what was recorded under it; false when there is none of that name. It takes
permission.manage_policies (ZA010).';

revoke all on function authz.delete_access_policy(text) from public;
grant execute on function authz.delete_access_policy(text) to enterprise_ai_app;
