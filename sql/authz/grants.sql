-- Rights are given by who may give them, and nobody gives more than they have: a role only with all it carries
-- held by the giver, a permission only where the giver has it. Taking back asks for the right to give alone.

create or replace function authz._user_in_turn()
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_context jsonb := platform.context();
begin
    if v_context ->> 'user_id' is null then
        raise exception 'Rights are given by a user, and the context has none'
            using errcode = 'ZA001', hint = 'Open the context of the user who gives or takes them.';
    end if;
    perform authz._touch_epoch((v_context ->> 'tenant_id')::uuid);
    return v_context;
end
$$;

comment on function authz._user_in_turn() is 'The context, which is a user''s, after taking their turn. Raises ZA001.';

revoke all on function authz._user_in_turn() from public;


create or replace function authz._giver(permission text, resource_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    -- First one's turn, then the question: what the giver has cannot be taken from them in between.
    v_context jsonb := authz._user_in_turn();
    v_level text;
begin
    if not authz._may(v_context, permission, resource_id) then
        v_level := (authz._evaluate(v_context, (v_context ->> 'user_id')::uuid, permission, resource_id, '{}',
                                    clock_timestamp())).obligations ->> 'authentication_level';
        raise exception 'User % may not do this', v_context ->> 'user_id'
            using errcode = 'ZA010', hint = 'It takes ' || permission || coalesce(', signed in at level ' || v_level, '') || '.';
    end if;
    return v_context;
end
$$;

comment on function authz._giver(text, uuid) is
    'The context of a user who has the permission, after taking their turn. Raises ZA001, ZA010.';

revoke all on function authz._giver(text, uuid) from public;


create or replace function authz._may(context jsonb, permission text, resource_id uuid)
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
as $$
begin
    return (authz._evaluate(context, (context ->> 'user_id')::uuid, permission, resource_id, '{}',
                            clock_timestamp())).effect = 'allow';
end
$$;

comment on function authz._may(jsonb, text, uuid) is 'Whether the user of a context has a permission, as things are now.';

revoke all on function authz._may(jsonb, text, uuid) from public;


create or replace function authz._refuse_excess(context jsonb, role_id uuid, role_name text)
    returns void
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
declare
    v_lacking text;
begin
    select p.name into v_lacking
    from authz.role_rights as carried
    join authz.permissions as p on authz._rights_at(carried.rights, p.place) & 30 > 0
    cross join lateral authz._held((context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid, p.place, null)
        as held
    where carried.tenant_id = (context ->> 'tenant_id')::uuid and carried.role_id = _refuse_excess.role_id
      and (held.rights & 1 > 0
           or held.rights & 2 = 0
              and not (held.rights & 4 > 0 and authz._rights_at(carried.rights, p.place) & 30 = 4))
    order by p.id
    limit 1;
    if v_lacking is not null then
        raise exception 'User % cannot give role %, which carries %', context ->> 'user_id', _refuse_excess.role_name, v_lacking
            using errcode = 'ZA010', hint = 'Nobody gives more than they have themselves, always and everywhere.';
    end if;
end
$$;

comment on function authz._refuse_excess(jsonb, uuid, text) is
    'Raise ZA010 when a role carries what the user of a context does not have.';

revoke all on function authz._refuse_excess(jsonb, uuid, text) from public;


create or replace function authz.assign_role(
    user_id uuid,
    role_name text,
    resource_id uuid default null,
    valid_from timestamptz default null,
    valid_until timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('role.assign');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_role authz.roles;
    v_id uuid;
begin
    select r.* into v_role
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = assign_role.role_name;
    if v_role.id is null then
        raise exception 'There is no role %', assign_role.role_name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    end if;

    perform authz._refuse_excess(v_context, v_role.id, v_role.name);
    if v_role.holders_limit is not null and not exists (
           select
           from authz.user_roles as a
           where a.tenant_id = v_tenant_id and a.role_id = v_role.id and a.user_id = assign_role.user_id)
       and v_role.holders_limit <= (
           select count(distinct a.user_id)
           from authz.user_roles as a
           where a.tenant_id = v_tenant_id and a.role_id = v_role.id) then
        raise exception 'Role % has % holders, as many as it may have', v_role.name, v_role.holders_limit
            using errcode = 'ZA012', hint = 'Take it from somebody first.';
    end if;

    insert into authz.user_roles (
        tenant_id, user_id, role_id, resource_id, valid_from, valid_until, condition, networks, windows, granted_by)
    values (
        v_tenant_id, assign_role.user_id, v_role.id, assign_role.resource_id, assign_role.valid_from,
        assign_role.valid_until, assign_role.condition, assign_role.networks, assign_role.windows,
        (v_context ->> 'user_id')::uuid)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb) is
    'Give a user a role, in the whole tenant or on a resource and what lies below it; returns the assignment''s id.
It takes role.assign and everything that the role carries (ZA010). Raises ZA011 for an unknown role, ZA012
when the role has as many holders as it may have, ZA006 for a condition that cannot be used, 23505 when the
user has it already and 23503 for an unknown user or resource.';

revoke all on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb)
    from public;
grant execute on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb)
    to enterprise_ai_app;


create or replace function authz.revoke_role(assignment_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('role.assign') ->> 'tenant_id';
    v_found boolean;
begin
    delete from authz.user_roles as a
    where a.tenant_id = v_tenant_id and a.id = revoke_role.assignment_id;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.revoke_role(uuid) is
    'Take back a role by its assignment; false when there is none of that id. It takes role.assign (ZA010).';

revoke all on function authz.revoke_role(uuid) from public;
grant execute on function authz.revoke_role(uuid) to enterprise_ai_app;


create or replace function authz.grant_permission(
    user_id uuid,
    permission text,
    resource_id uuid default null,
    effect text default 'allow',
    valid_from timestamptz default null,
    valid_until timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb;
    v_tenant_id uuid;
    v_id uuid;
    v_type text := (select p.resource_type from authz.permissions as p where p.name = grant_permission.permission);
begin
    -- Whoever may share a thing may let others do with it what they may themselves.
    if resource_id is not null and effect = 'allow'
       and exists (select from authz.permissions as p where p.name = v_type || '.share')
       and authz._may(platform.context(), v_type || '.share', resource_id) then
        v_context := authz._giver(v_type || '.share', resource_id);
    else
        v_context := authz._giver('permission.grant');
    end if;
    v_tenant_id := v_context ->> 'tenant_id';
    if v_type is null then
        raise exception 'There is no permission %', permission
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    if effect = 'allow' and not authz._may(v_context, permission, resource_id) then
        raise exception 'User % cannot give % without having it', v_context ->> 'user_id', permission
            using errcode = 'ZA010', hint = 'Nobody gives more than they have themselves, nor on what is not there.';
    end if;

    insert into authz.user_permissions (
        tenant_id, user_id, permission_id, effect, resource_id, valid_from, valid_until, condition, networks, windows,
        granted_by)
    select v_tenant_id, grant_permission.user_id, p.id, grant_permission.effect, grant_permission.resource_id,
           grant_permission.valid_from, grant_permission.valid_until, grant_permission.condition,
           grant_permission.networks, grant_permission.windows, (v_context ->> 'user_id')::uuid
    from authz.permissions as p
    where p.name = grant_permission.permission
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) is
    'Allow or deny a user one thing, on a resource and what lies below it or on the type; returns the grant''s id.
It takes permission.grant, or to allow something on a resource that type''s share permission on it, and to allow
also the permission itself (ZA010). Raises ZA011 for an unknown permission, and as authz.assign_role does.';

revoke all on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz.revoke_permission(grant_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_given record;
    v_found boolean;
begin
    select g.resource_id, g.effect, p.resource_type || '.share' as share
    into v_given
    from authz.user_permissions as g
    join authz.permissions as p on p.id = g.permission_id
    where g.tenant_id = v_tenant_id and g.id = revoke_permission.grant_id;
    if v_given.effect = 'allow' and v_given.resource_id is not null and v_context ->> 'user_id' is not null
       and authz._may(v_context, v_given.share, v_given.resource_id) then
        perform authz._giver(v_given.share, v_given.resource_id);
    else
        perform authz._giver('permission.grant');
    end if;
    delete from authz.user_permissions as g
    where g.tenant_id = v_tenant_id and g.id = revoke_permission.grant_id;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.revoke_permission(uuid) is
    'Take back what a user was allowed or denied; false when there is none of that id. It takes what giving it takes
(ZA010).';

revoke all on function authz.revoke_permission(uuid) from public;
grant execute on function authz.revoke_permission(uuid) to enterprise_ai_app;


create or replace function authz.approve(kind text, id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_context jsonb := authz._giver('permission.approve');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_approver_id uuid := v_context ->> 'user_id';
    v_found boolean;
begin
    if kind = 'user_role' then
        update authz.user_roles as g
        set approved_by = v_approver_id, approved_at = now()
        where g.tenant_id = v_tenant_id and g.id = approve.id and g.approved_by is null
          and g.user_id <> v_approver_id;
    elsif kind = 'user_permission' then
        update authz.user_permissions as g
        set approved_by = v_approver_id, approved_at = now()
        where g.tenant_id = v_tenant_id and g.id = approve.id and g.approved_by is null
          and g.user_id <> v_approver_id;
    else
        raise exception 'There is nothing to approve of kind %', kind
            using errcode = 'ZA011', hint = 'The kinds are user_role and user_permission.';
    end if;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.approve(text, uuid) is
    'Agree to what another has given; false when there is none of that id that waits for it. It takes
permission.approve (ZA010); nobody approves what they gave themselves (23514), or what they are given (false).';

revoke all on function authz.approve(text, uuid) from public;
grant execute on function authz.approve(text, uuid) to enterprise_ai_app;
