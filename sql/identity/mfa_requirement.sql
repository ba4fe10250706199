create or replace function identity._is_privileged(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_groups uuid[] := array(select identity.groups_of(_is_privileged.user_id));
begin
    -- Whether or not it counts just now: a window or a condition does not make a right harmless.
    return exists (
        with recursive held (role_id) as (
            select a.role_id
            from authz.user_roles as a
            where a.tenant_id = v_tenant_id and a.user_id = _is_privileged.user_id
            union
            select a.role_id
            from authz.group_roles as a
            where a.tenant_id = v_tenant_id and a.group_id = any (v_groups)
            union
            select r.id
            from authz.roles as r
            where r.tenant_id = v_tenant_id and r.for_everyone
            union
            select i.parent_id
            from held
            join authz.role_inheritance as i on i.tenant_id = v_tenant_id and i.role_id = held.role_id),
        carried (permission_id) as (
            select c.permission_id
            from held
            join authz.role_permissions as c on c.tenant_id = v_tenant_id and c.role_id = held.role_id
            where c.effect = 'allow' and not c.only_own
            union all
            select g.permission_id
            from authz.user_permissions as g
            where g.tenant_id = v_tenant_id and g.user_id = _is_privileged.user_id and g.effect = 'allow'
            union all
            select g.permission_id
            from authz.group_permissions as g
            where g.tenant_id = v_tenant_id and g.group_id = any (v_groups) and g.effect = 'allow')
        select
        from carried
        join authz.permissions as p on p.id = carried.permission_id
        where p.minimum_authentication_level > 1
          -- Lets others act for oneself; to let them act for somebody else takes permission.grant.
          and p.name <> 'permission.proxy');
end
$$;

comment on function identity._is_privileged(uuid) is
    'Whether a user of the context''s tenant has been given, by whatever path, a permission of level 2 or 3 over more
than what is their own.';

revoke all on function identity._is_privileged(uuid) from public;


create or replace function identity.requires_second_factor(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads roles and settings that those who sign people in cannot
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_requirement text := platform.setting('security.mfa_requirement') #>> '{}';
begin
    return case
        when v_requirement = 'all' then true
        when v_requirement = 'privileged' then identity._is_privileged(requires_second_factor.user_id)
        else false
    end;
end
$$;

comment on function identity.requires_second_factor(uuid) is
    'Whether security.mfa_requirement lets a user of the context''s tenant in with a second factor only.';

revoke all on function identity.requires_second_factor(uuid) from public;
grant execute on function identity.requires_second_factor(uuid) to enterprise_ai_gateway;
