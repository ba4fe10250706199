-- Passing rights on for a time. What is refused here is what could never be worth anything; whether a delegation is
-- worth something is found out at each decision, link by link.

create or replace function authz._refuse_actor(context jsonb)
    returns void
    language plpgsql
    stable
    parallel restricted
as $$
begin
    if context ->> 'actor_id' <> context ->> 'user_id' then
        raise exception 'User % acts for %, whose rights only they themselves pass on', context ->> 'actor_id',
            context ->> 'user_id'
            using errcode = 'ZA015', hint = 'Who acts for another cannot make that outlast, or widen it.';
    end if;
end
$$;

comment on function authz._refuse_actor(jsonb) is 'Raise ZA015 when somebody acts on behalf of the user of a context.';

revoke all on function authz._refuse_actor(jsonb) from public;


create or replace function authz._holds_role(tenant_id uuid, user_id uuid, role_id uuid)
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
begin
    return exists (
        with recursive heirs (id) as (
            select _holds_role.role_id
            union
            select i.role_id
            from heirs
            join authz.role_inheritance as i on i.tenant_id = _holds_role.tenant_id and i.parent_id = heirs.id
            where coalesce(i.valid_from <= now(), true) and coalesce(i.valid_until > now(), true)
        )
        select
        from heirs
        join authz.roles as r on r.tenant_id = _holds_role.tenant_id and r.id = heirs.id
        where r.for_everyone
           or exists (
               select
               from authz.user_roles as a
               where a.tenant_id = _holds_role.tenant_id and a.user_id = _holds_role.user_id and a.role_id = r.id
                 and coalesce(a.valid_from <= now(), true) and coalesce(a.valid_until > now(), true))
           or exists (
               select
               from authz.group_roles as a
               where a.tenant_id = _holds_role.tenant_id and a.role_id = r.id
                 and a.group_id in (select g.id from identity.groups_of(_holds_role.user_id) as g (id))
                 and coalesce(a.valid_from <= now(), true) and coalesce(a.valid_until > now(), true)));
end
$$;

comment on function authz._holds_role(uuid, uuid, uuid) is
    'Whether a user holds a role now, in the tenant or on a resource, by themselves, a group, inheritance or as everyone.';

revoke all on function authz._holds_role(uuid, uuid, uuid) from public;


create or replace function authz.delegate(
    delegate_id uuid,
    what text,
    valid_until timestamptz,
    resource_id uuid default null,
    may_redelegate boolean default false,
    parent_id uuid default null,
    reason text default null,
    valid_from timestamptz default null,
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
    v_context jsonb := authz._giver('permission.delegate');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_days integer := platform.setting('security.delegation_max_days') #>> '{}';
    v_permission authz.permissions;
    v_role_id uuid;
    v_depth integer := 1;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    if delegate.valid_until > now() + make_interval(days => v_days) then
        raise exception 'A delegation lasts % days at the most', v_days
            using errcode = 'ZA016', hint = 'The setting security.delegation_max_days says how many.';
    end if;

    select p.* into v_permission from authz.permissions as p where p.name = delegate.what;
    select r.id into v_role_id from authz.roles as r where r.tenant_id = v_tenant_id and r.name = delegate.what;
    if v_permission.id is null and v_role_id is null then
        raise exception 'There is no role or permission %', delegate.what
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles, permissions as in authz.permissions.';
    elsif not v_permission.delegable then
        raise exception '% cannot be delegated', delegate.what
            using errcode = 'ZA017', hint = 'Whoever shall do it is given it for themselves.';
    end if;

    if delegate.parent_id is not null then
        v_depth := authz._next_depth(v_tenant_id, v_user_id, delegate.parent_id, v_role_id, v_permission.id,
                                     delegate.resource_id, delegate.valid_until);
    elsif (v_role_id is not null and not authz._holds_role(v_tenant_id, v_user_id, v_role_id))
          or (v_permission.id is not null
              and (authz._decide(v_tenant_id, v_user_id, delegate.what, delegate.resource_id, authz._env(v_context, '{}'),
                                 clock_timestamp(), false)).effect = 'deny') then
        raise exception 'User % cannot delegate % without having it', v_user_id, delegate.what
            using errcode = 'ZA010', hint = 'What was delegated to them they pass on by naming that delegation (parent_id).';
    end if;

    insert into authz.delegations (
        tenant_id, delegator_id, delegate_id, parent_id, depth, role_id, permission_id, resource_id, may_redelegate,
        reason, condition, networks, windows, valid_from, valid_until)
    values (
        v_tenant_id, v_user_id, delegate.delegate_id, delegate.parent_id, v_depth, v_role_id, v_permission.id,
        delegate.resource_id, delegate.may_redelegate, delegate.reason, delegate.condition, delegate.networks,
        delegate.windows, coalesce(delegate.valid_from, now()), delegate.valid_until)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) is
    'Pass a role or a permission (type.action) on to another user for a time, on a resource and what lies below it or
wherever one has it; returns the delegation''s id. It gives what the delegator may do at each moment, and of a role only
what can be delegated. It takes permission.delegate and what is delegated (ZA010). Raises ZA011 for an unknown role or
permission, ZA015 when somebody acts for the user, ZA016 when it would last too long, ZA017 for what cannot be delegated,
ZA018 when the delegation that it passes on does not cover it, ZA013 when the delegate may not hold it.';

revoke all on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz._next_depth(
    tenant_id uuid,
    user_id uuid,
    parent_id uuid,
    role_id uuid,
    permission_id integer,
    resource_id uuid,
    valid_until timestamptz)
    returns integer
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
declare
    v_parent authz.delegations;
    v_depth integer := platform.setting('security.delegation_max_depth') #>> '{}';
    v_fault text;
begin
    select d.* into v_parent
    from authz.delegations as d
    where d.tenant_id = _next_depth.tenant_id and d.id = _next_depth.parent_id
      and d.delegate_id = _next_depth.user_id;
    v_fault := case
        when v_parent.id is null then 'there is no such delegation to them'
        when not v_parent.may_redelegate then 'it may not be passed on'
        when v_parent.valid_from > now() or v_parent.valid_until <= now() then 'it is not in force'
        when v_parent.depth >= v_depth then format('a chain has %s links at the most', v_depth)
        when _next_depth.valid_until > v_parent.valid_until then 'it ends before that'
        when _next_depth.permission_id is not null
             and _next_depth.permission_id is distinct from v_parent.permission_id
             and (v_parent.role_id is null
                  or not authz._carries(_next_depth.tenant_id, v_parent.role_id, _next_depth.permission_id))
             then 'it does not carry that permission'
        when _next_depth.role_id is not null
             and (v_parent.role_id is null
                  or _next_depth.role_id <> all (authz._roles_above(_next_depth.tenant_id, v_parent.role_id)))
             then 'it is not of that role'
        when v_parent.resource_id is not null and not exists (
             select
             from authz.resources as r
             where r.tenant_id = _next_depth.tenant_id and r.id = _next_depth.resource_id
               and v_parent.resource_id = any (r.ancestors || r.id)) then 'it is about another resource'
    end;
    if v_fault is not null then
        raise exception 'Delegation % cannot be passed on like that: %', _next_depth.parent_id, v_fault
            using errcode = 'ZA018', hint = 'Whoever gave it can give the other their part directly.';
    end if;
    return v_parent.depth + 1;
end
$$;

comment on function authz._next_depth(uuid, uuid, uuid, uuid, integer, uuid, timestamptz) is
    'Which link of a chain it would be to pass a delegation on. Raises ZA018 when it does not cover what is passed on.';

revoke all on function authz._next_depth(uuid, uuid, uuid, uuid, integer, uuid, timestamptz) from public;


create or replace function authz.revoke_delegation(delegation_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_parties uuid[];
begin
    with recursive chain (delegator_id, delegate_id, parent_id) as (
        select d.delegator_id, d.delegate_id, d.parent_id
        from authz.delegations as d
        where d.tenant_id = v_tenant_id and d.id = revoke_delegation.delegation_id
        union all
        select d.delegator_id, d.delegate_id, d.parent_id
        from chain
        join authz.delegations as d on d.tenant_id = v_tenant_id and d.id = chain.parent_id
    )
    select array_agg(c.delegator_id) || array_agg(c.delegate_id) into v_parties from chain as c;
    -- All who stand in the chain up to it: who passed it on, and who gives it back.
    perform authz._refuse_unless_party(v_context, v_parties);
    delete from authz.delegations as d
    where d.tenant_id = v_tenant_id and d.id = revoke_delegation.delegation_id;
    return found;
end
$$;

comment on function authz.revoke_delegation(uuid) is
    'Take back a delegation, and all that was passed on by it; false when there is none of that id. For those in the chain
up to it, and for who has permission.grant (ZA010).';

revoke all on function authz.revoke_delegation(uuid) from public;
grant execute on function authz.revoke_delegation(uuid) to enterprise_ai_app;


create or replace function authz._refuse_unless_party(context jsonb, parties uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    if (context ->> 'user_id')::uuid = any (parties)
       and coalesce(context ->> 'actor_id', context ->> 'user_id') = context ->> 'user_id' then
        return;
    elsif not authz._may(context, 'permission.grant', null) then
        raise exception 'User % has no part in this', context ->> 'user_id'
            using errcode = 'ZA010', hint = 'It takes permission.grant.';
    end if;
end
$$;

comment on function authz._refuse_unless_party(jsonb, uuid[]) is
    'Raise ZA010 unless the user of a context is one of these, in person, or has permission.grant.';

revoke all on function authz._refuse_unless_party(jsonb, uuid[]) from public;
