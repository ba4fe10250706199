-- What row security goes by. A policy asks once for each statement what somebody may see, and gets it as a list of
-- scopes that it compares with each row: the tenant's id stands for all of the type, the user's own for what they own,
-- any other is that one thing. What is denied on single things is a second list, empty for nearly everybody.
--
-- It may show less than authz.check allows, never more: a rule for the whole type whose condition asks about the
-- resource counts for nothing here, and neither does what was delegated on no resource.

set role enterprise_ai_decider;

create or replace function authz.visible_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
as $$
begin
    return authz._visible(platform.context(), visible_scopes.permission);
end
$$;

comment on function authz.visible_scopes(text) is
    'For policies, as (select authz.visible_scopes(…)): on what the user of the context has a permission. Holds the
tenant''s id for all of the type, the user''s own for what they own, and the ids of single resources. Without a user, for
a service, the tenant''s id; without a context nothing.';

revoke all on function authz.visible_scopes(text) from public;
grant execute on function authz.visible_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.hidden_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
as $$
begin
    return authz._hidden(platform.context(), hidden_scopes.permission);
end
$$;

comment on function authz.hidden_scopes(text) is
    'For policies, beside authz.visible_scopes: the resources that are denied, whatever else allows them.';

revoke all on function authz.hidden_scopes(text) from public;
grant execute on function authz.hidden_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._visible(context jsonb, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_is_limited boolean := context ?| '{actor_id,scopes}';
    v_permission record;
    v_scopes uuid[] := '{}';
    v_shared uuid[] := '{}';
    v_places uuid[];
begin
    if context is null then
        return '{}';
    elsif v_user_id is null then
        return array[v_tenant_id];
    end if;
    select p.id, p.resource_type, p.requires_approval, t.parent_type, held.* into v_permission
    from authz.permissions as p
    join authz.resource_types as t on t.name = p.resource_type
    cross join lateral authz._held(v_tenant_id, v_user_id, p) as held
    where p.name = _visible.permission;
    if v_permission.is_active is not true or v_permission.is_denied then
        return '{}';
    end if;

    -- All of the type, or all that is one's own.
    if not v_is_limited and not v_permission.requires_approval and not v_permission.may_deny
       and authz._reaches_level(context, _visible.permission) then
        v_scopes := case
            when v_permission.is_allowed then array[v_tenant_id, v_user_id]
            when v_permission.is_allowed_on_own then array[v_user_id]
            else '{}' end;
        if not v_permission.may_allow then
            return v_scopes;
        end if;
    end if;
    if not v_scopes @> array[v_tenant_id]
       and (authz._evaluate(context, v_user_id, _visible.permission, null, '{}', statement_timestamp())).effect = 'allow'
       and not authz._asks_about_resources(v_tenant_id, v_user_id, v_permission.id, context) then
        return v_scopes || array[v_tenant_id, v_user_id];
    elsif v_scopes @> array[v_tenant_id] then
        return v_scopes;
    end if;

    -- Single things: where rules are about a resource, on it and what lies below it. What is simply shared is taken
    -- together, the rest decided one by one. What is limited in some way leaves of one's own what is a resource.
    if not (v_is_limited or v_permission.requires_approval or v_permission.may_deny)
       and authz._reaches_level(context, _visible.permission) then
        v_shared := authz._shared(v_tenant_id, v_user_id, v_permission.id);
    end if;
    v_places := authz._places(v_tenant_id, v_user_id, v_permission.id, 'allow');
    return v_scopes || array(
        select r.id
        from unnest(v_shared) as shared (id)
        join authz.resources as r on r.tenant_id = v_tenant_id and r.id = shared.id
        where r.resource_type in (v_permission.resource_type, v_permission.parent_type)
    ) || array(
        select other.id
        from (
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id
              and r.resource_type in (v_permission.resource_type, v_permission.parent_type)
              and r.id = any (v_places)
            union
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id
              and r.resource_type in (v_permission.resource_type, v_permission.parent_type)
              and r.ancestors && v_places
            union
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id
              and r.resource_type in (v_permission.resource_type, v_permission.parent_type)
              and r.owner_id = v_user_id and not v_scopes @> array[v_user_id]
            except
            select unnest(v_shared)
        ) as other
        where authz._is_allowed(context, v_tenant_id, v_user_id, _visible.permission, other.id, '{}'));
end
$$;

comment on function authz._visible(jsonb, text) is 'The answer of authz.visible_scopes in a context.';

revoke all on function authz._visible(jsonb, text) from public;
grant execute on function authz._visible(jsonb, text) to enterprise_ai_decider;


create or replace function authz._hidden(context jsonb, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_permission_id integer;
    v_places uuid[];
begin
    if v_user_id is null then
        return '{}';
    end if;
    select p.id into v_permission_id
    from authz.permissions as p
    cross join lateral authz._held(v_tenant_id, v_user_id, p) as held
    where p.name = _hidden.permission
      -- Who acts for another is held to what is denied to either.
      and (held.may_deny or context ? 'actor_id');
    if v_permission_id is null then
        return '{}';
    end if;
    v_places := authz._places(v_tenant_id, v_user_id, v_permission_id, 'deny');
    if context ? 'actor_id' then
        v_places := v_places || authz._places(v_tenant_id, (context ->> 'actor_id')::uuid, v_permission_id, 'deny');
    end if;
    return array(
        select r.id
        from authz.resources as r
        where r.tenant_id = v_tenant_id and (r.id = any (v_places) or r.ancestors && v_places)
          and not authz._is_allowed(context, v_tenant_id, v_user_id, _hidden.permission, r.id, '{}')
        order by r.id);
end
$$;

comment on function authz._hidden(jsonb, text) is 'The answer of authz.hidden_scopes in a context.';

revoke all on function authz._hidden(jsonb, text) from public;
grant execute on function authz._hidden(jsonb, text) to enterprise_ai_decider;


create or replace function authz._reaches_level(context jsonb, permission text)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return exists (
        select
        from authz.permissions as p
        where p.name = _reaches_level.permission
          and p.minimum_authentication_level <= coalesce(authz._level(context), 1));
end
$$;

comment on function authz._reaches_level(jsonb, text) is 'Whether somebody has signed in at the level that a permission asks for.';

revoke all on function authz._reaches_level(jsonb, text) from public;
grant execute on function authz._reaches_level(jsonb, text) to enterprise_ai_decider;


create or replace function authz._shared(tenant_id uuid, user_id uuid, permission_id integer)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return array(
        select g.resource_id
        from authz.user_permissions as g
        where g.tenant_id = _shared.tenant_id and g.user_id = _shared.user_id and g.permission_id = _shared.permission_id
          and g.effect = 'allow' and not g.is_conditional and g.resource_id is not null
        union
        select g.resource_id
        from authz.holders as h
        join authz.group_permissions as g
            on g.tenant_id = _shared.tenant_id and g.group_id = any (h.groups)
            and g.permission_id = _shared.permission_id
        where h.tenant_id = _shared.tenant_id and h.holder_id = _shared.user_id
          and g.effect = 'allow' and not g.is_conditional and g.resource_id is not null);
end
$$;

comment on function authz._shared(uuid, uuid, integer) is
    'The resources on which somebody, or a group they are in, is allowed a permission directly and without condition.';

revoke all on function authz._shared(uuid, uuid, integer) from public;
grant execute on function authz._shared(uuid, uuid, integer) to enterprise_ai_decider;


create or replace function authz._places(tenant_id uuid, user_id uuid, permission_id integer, effect text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_groups uuid[] := (
        select h.groups from authz.holders as h where h.tenant_id = _places.tenant_id and h.holder_id = _places.user_id);
begin
    return array(
        select g.resource_id
        from authz.user_permissions as g
        where g.tenant_id = _places.tenant_id and g.user_id = _places.user_id
          and g.permission_id = _places.permission_id and g.effect = _places.effect and g.resource_id is not null
        union
        select g.resource_id
        from authz.group_permissions as g
        where g.tenant_id = _places.tenant_id and g.group_id = any (v_groups)
          and g.permission_id = _places.permission_id and g.effect = _places.effect and g.resource_id is not null
        union
        select a.resource_id
        from authz.user_roles as a
        where a.tenant_id = _places.tenant_id and a.user_id = _places.user_id and a.resource_id is not null
        union
        select a.resource_id
        from authz.group_roles as a
        where a.tenant_id = _places.tenant_id and a.group_id = any (v_groups) and a.resource_id is not null
        union
        select p.resource_id
        from authz.role_permissions as p
        where p.tenant_id = _places.tenant_id and p.permission_id = _places.permission_id
          and p.effect = _places.effect and p.resource_id is not null
        union
        select b.resource_id
        from authz.break_glass_events as b
        where b.tenant_id = _places.tenant_id and b.user_id = _places.user_id and b.resource_id is not null
        union
        select d.resource_id
        from authz.delegations as d
        where d.tenant_id = _places.tenant_id and d.delegate_id = _places.user_id and d.resource_id is not null
        union
        select g.resource_id
        from authz.proxy_grants as g
        where g.tenant_id = _places.tenant_id and g.user_id = _places.user_id and g.resource_id is not null);
end
$$;

comment on function authz._places(uuid, uuid, integer, text) is
    'The resources that rules name which could allow, or deny, somebody a permission there and below.';

revoke all on function authz._places(uuid, uuid, integer, text) from public;
grant execute on function authz._places(uuid, uuid, integer, text) to enterprise_ai_decider;


create or replace function authz._asks_about_resources(
    tenant_id uuid,
    user_id uuid,
    permission_id integer,
    context jsonb)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_env jsonb := authz._env(context, '{}');
    v_rules uuid[];
    v_assignments uuid[];
begin
    select array_agg(r.rule_id), array_agg(r.assignment_id)
    into v_rules, v_assignments
    from unnest(array[_asks_about_resources.user_id, (context ->> 'actor_id')::uuid]) as person (id)
    cross join lateral authz._rules(_asks_about_resources.tenant_id, person.id, _asks_about_resources.permission_id, null,
                                    v_env, statement_timestamp()) as r
    where r.state not in ('out_of_scope', 'expired', 'not_yet_valid');

    return exists (
        select
        from (
            select case when p.only_own and p.effect = 'deny' then '$' else p.condition::text end
            from authz.role_permissions as p
            where p.tenant_id = _asks_about_resources.tenant_id and p.id = any (v_rules)
            union all
            select g.condition::text
            from authz.user_permissions as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.id = any (v_rules)
            union all
            select g.condition::text
            from authz.group_permissions as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.id = any (v_rules)
            union all
            select a.condition::text
            from authz.user_roles as a
            where a.tenant_id = _asks_about_resources.tenant_id and a.id = any (v_assignments)
            union all
            select a.condition::text
            from authz.group_roles as a
            where a.tenant_id = _asks_about_resources.tenant_id and a.id = any (v_assignments)
            union all
            select g.condition::text
            from authz.proxy_grants as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.user_id = _asks_about_resources.user_id
        ) as rule (asks)
        -- By its canonical text: all but what the request and the person say.
        where rule.asks ~ '\$(?!\."(env|subject)")')
        -- A chain of delegation has the conditions of everybody in it, and what was done is done to a resource.
        or exists (
            select
            from authz.holders as h
            where h.tenant_id = _asks_about_resources.tenant_id
              and (h.holder_id = _asks_about_resources.user_id and h.has_delegations
                   or h.holder_id = _asks_about_resources.tenant_id
                      and _asks_about_resources.permission_id = any (h.special_denied)));
end
$$;

comment on function authz._asks_about_resources(uuid, uuid, integer, jsonb) is
    'Whether what is decided for the type as such may fall otherwise for a resource, by the condition of a rule about all
of the type, by delegation or by a dynamic separation of duties.';

revoke all on function authz._asks_about_resources(uuid, uuid, integer, jsonb) from public;
grant execute on function authz._asks_about_resources(uuid, uuid, integer, jsonb) to enterprise_ai_decider;
