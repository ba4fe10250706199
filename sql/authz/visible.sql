-- What row security goes by. A policy asks once for each statement what somebody may see, and gets it as a list of
-- scopes that it compares with each row: the tenant's id stands for all of the type, the user's own for what they own,
-- any other is that one thing. What is denied on single things is a second list, empty for nearly everybody, so that a
-- policy asks first for the scopes of those to whom nothing is denied, and for the two lists only where that says no.
--
-- It may show less than authz.check allows, never more: a rule for the whole type whose condition asks about the
-- resource counts for nothing here, and neither does what was delegated on no resource.

set role enterprise_ai_decider;

create or replace function authz.open_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_standing authz.standing := authz._standing_of_user(v_context, open_scopes.permission);
begin
    -- Acting for another, and rules that may deny, may hide something; nearly always there is neither.
    if (v_standing.rights & 72 > 0 or v_context ? 'actor_id')
       and authz._hidden(v_context, v_standing, open_scopes.permission) <> '{}' then
        return '{}';
    end if;
    return authz._visible(v_context, v_standing, open_scopes.permission);
end
$$;

comment on function authz.open_scopes(text) is
    'For policies, as (select authz.open_scopes(…)): the same as authz.visible_scopes as long as authz.hidden_scopes holds
nothing, otherwise nothing.';

revoke all on function authz.open_scopes(text) from public;
grant execute on function authz.open_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.visible_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
begin
    return authz._visible(v_context, authz._standing_of_user(v_context, visible_scopes.permission), visible_scopes.permission);
end
$$;

comment on function authz.visible_scopes(text) is
    'As (select authz.visible_scopes(…)): on what the user of the context has a permission. Holds the
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
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
begin
    return authz._hidden(v_context, authz._standing_of_user(v_context, hidden_scopes.permission), hidden_scopes.permission);
end
$$;

comment on function authz.hidden_scopes(text) is
    'For policies, beside authz.visible_scopes: the resources that are denied, whatever else allows them.';

revoke all on function authz.hidden_scopes(text) from public;
grant execute on function authz.hidden_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._standing_of_user(context jsonb, permission text)
    returns authz.standing
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return case when context ? 'user_id' then
        authz._standing(context, (context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid,
                        _standing_of_user.permission)
    end;
end
$$;

comment on function authz._standing_of_user(jsonb, text) is
    'What the user of a context has of a permission (authz._standing); null when the context has none.';

revoke all on function authz._standing_of_user(jsonb, text) from public;
grant execute on function authz._standing_of_user(jsonb, text) to enterprise_ai_decider;


create or replace function authz._visible(context jsonb, standing authz.standing, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_shared authz.shares;
    v_scopes uuid[] := '{}';
begin
    if context is null then
        return '{}';
    elsif v_user_id is null then
        return array[v_tenant_id];
    end if;
    if (standing).permission_id is null or (standing).rights & 1 > 0 then
        return '{}';
    end if;

    -- As long as nothing limits it: all of the type, or all that is one's own and what is simply shared.
    if (standing).rights & 72 = 0 and not (standing).requires_approval and not context ?| '{actor_id,scopes}' then
        if (standing).rights & 2 > 0 then
            return array[v_tenant_id, v_user_id];
        elsif (standing).rights & 32 > 0 then
            v_shared := authz._shared(v_tenant_id, v_user_id, standing);
        end if;
        v_scopes := case when (standing).rights & 4 > 0 then array[v_user_id] else '{}' end;
        if v_shared.resource_ids <> '{}' then
            v_scopes := v_scopes
                || authz._with_what_lies_below(context, standing, _visible.permission, v_shared.resource_ids);
        end if;
        if (standing).rights & 16 = 0 and not coalesce(v_shared.may_allow, false) then
            return v_scopes;
        end if;
    end if;
    if (authz._evaluate(context, v_user_id, _visible.permission, null, '{}', statement_timestamp())).effect = 'allow'
       and not authz._asks_about_resources(v_tenant_id, v_user_id, (standing).permission_id, context) then
        return v_scopes || array[v_tenant_id, v_user_id];
    end if;
    return v_scopes || authz._single(context, standing, _visible.permission, v_scopes);
end
$$;

comment on function authz._visible(jsonb, authz.standing, text) is
    'The answer of authz.visible_scopes in a context whose user has this standing.';

revoke all on function authz._visible(jsonb, authz.standing, text) from public;
grant execute on function authz._visible(jsonb, authz.standing, text) to enterprise_ai_decider;


create or replace function authz._single(context jsonb, standing authz.standing, permission text, known uuid[])
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_parent_type text := authz._parent_type((_single.standing).resource_type);
    v_places uuid[] := authz._places(v_tenant_id, v_user_id, (_single.standing).permission_id, 'allow');
begin
    return array(
        select other.id
        from (
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.id = any (v_places)
            union
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.ancestors && v_places
            union
            -- What is limited in some way leaves of one's own what is a resource.
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.owner_id = v_user_id and not _single.known @> array[v_user_id]
            except
            select unnest(_single.known)
        ) as other
        where authz._is_allowed(context, v_tenant_id, v_user_id, _single.permission, other.id, '{}'));
end
$$;

comment on function authz._single(jsonb, authz.standing, text, uuid[]) is
    'Single resources, besides the scopes that are known, that the user of a context has a permission on, decided one by
one: those that rules name, what lies below them, and what the user owns.';

revoke all on function authz._single(jsonb, authz.standing, text, uuid[]) from public;
grant execute on function authz._single(jsonb, authz.standing, text, uuid[]) to enterprise_ai_decider;


create or replace function authz._hidden(context jsonb, standing authz.standing, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_places uuid[];
begin
    if v_user_id is null then
        return '{}';
    end if;
    -- Who acts for another is held to what is denied to either.
    if (standing).permission_id is null
       or (standing).rights & 72 = 0 and not context ? 'actor_id' then
        return '{}';
    end if;
    v_places := authz._places(v_tenant_id, v_user_id, (standing).permission_id, 'deny');
    if context ? 'actor_id' then
        v_places := v_places
            || authz._places(v_tenant_id, (context ->> 'actor_id')::uuid, (standing).permission_id, 'deny');
    end if;
    if v_places = '{}' then
        return '{}';
    end if;
    return array(
        select r.id
        from authz.resources as r
        where r.tenant_id = v_tenant_id and (r.id = any (v_places) or r.ancestors && v_places)
          and not authz._is_allowed(context, v_tenant_id, v_user_id, _hidden.permission, r.id, '{}')
        order by r.id);
end
$$;

comment on function authz._hidden(jsonb, authz.standing, text) is
    'The answer of authz.hidden_scopes in a context whose user has this standing.';

revoke all on function authz._hidden(jsonb, authz.standing, text) from public;
grant execute on function authz._hidden(jsonb, authz.standing, text) to enterprise_ai_decider;


create or replace function authz._shared(tenant_id uuid, user_id uuid, standing authz.standing)
    returns authz.shares
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_mine authz.shares;
    v_of_groups authz.shares;
begin
    -- What is about the whole type, always, the rights say; for a time, it has to be evaluated.
    select array_agg(g.resource_id) filter (where says.it = 2 and g.resource_id is not null),
           coalesce(bool_or(says.it = 4 or says.it = 2 and g.resource_id is null), false)
    into v_mine
    from authz.user_permissions as g
    cross join lateral authz._says(
        g.effect, num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) > 0,
        (g.valid_from <= statement_timestamp()) is not false and (g.valid_until > statement_timestamp()) is not false,
        true) as says (it)
    where g.tenant_id = _shared.tenant_id and g.user_id = _shared.user_id
      and g.permission_id = (_shared.standing).permission_id;
    if (_shared.standing).groups <> '{}' then
        select array_agg(g.resource_id) filter (where says.it = 2 and g.resource_id is not null),
               coalesce(bool_or(says.it = 4 or says.it = 2 and g.resource_id is null), false)
        into v_of_groups
        from authz.group_permissions as g
        cross join lateral authz._says(
            g.effect, num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) > 0,
            (g.valid_from <= statement_timestamp()) is not false and (g.valid_until > statement_timestamp()) is not false,
            true) as says (it)
        where g.tenant_id = _shared.tenant_id and g.group_id = any ((_shared.standing).groups)
          and g.permission_id = (_shared.standing).permission_id;
        v_mine.resource_ids := v_mine.resource_ids || v_of_groups.resource_ids;
        v_mine.may_allow := v_mine.may_allow or v_of_groups.may_allow;
    end if;
    return v_mine;
end
$$;

comment on function authz._shared(uuid, uuid, authz.standing) is
    'The resources on which somebody, or a group they are in, is allowed a permission directly and without condition.';

revoke all on function authz._shared(uuid, uuid, authz.standing) from public;
grant execute on function authz._shared(uuid, uuid, authz.standing) to enterprise_ai_decider;


create or replace function authz._with_what_lies_below(
    context jsonb,
    standing authz.standing,
    permission text,
    resource_ids uuid[])
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_type text := (_with_what_lies_below.standing).resource_type;
    v_parent_type text := authz._parent_type(v_type);
begin
    return array(
        select r.id
        from (select distinct shared.id from unnest(_with_what_lies_below.resource_ids) as shared (id)) as shared
        join authz.resources as r on r.tenant_id = v_tenant_id and r.id = shared.id
        where r.resource_type in (v_type, v_parent_type)
    ) || array(
        select r.id
        from authz.resources as r
        where r.tenant_id = v_tenant_id and r.resource_type in (v_type, v_parent_type)
          and r.ancestors && _with_what_lies_below.resource_ids
          and r.id <> all (_with_what_lies_below.resource_ids)
          -- On the way down it may be cut off.
          and authz._is_allowed(context, v_tenant_id, v_user_id, _with_what_lies_below.permission, r.id, '{}'));
end
$$;

comment on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) is
    'Of these resources, on which a permission is allowed, those that it can be asked on, and what lies below them.';

revoke all on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) from public;
grant execute on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) to enterprise_ai_decider;


create or replace function authz._places(tenant_id uuid, user_id uuid, permission_id integer, effect text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_groups uuid[] := (
        select s.groups
        from authz.holders as h
        join authz.role_sets as s on s.tenant_id = _places.tenant_id and s.id = h.role_set_id
        where h.tenant_id = _places.tenant_id and h.holder_id = _places.user_id);
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
        where rule.asks ~ '[$](?![.]"(env|subject)")')
        -- A chain of delegation has the conditions of everybody in it, and what was done is done to a resource.
        or exists (
            select
            from authz.holders as h
            join authz.permissions as p on p.id = _asks_about_resources.permission_id
            where h.tenant_id = _asks_about_resources.tenant_id
              and (h.holder_id = _asks_about_resources.user_id and h.has_delegations
                   or h.holder_id = _asks_about_resources.tenant_id and authz._rights_at(h.rights, p.place) & 8 > 0));
end
$$;

comment on function authz._asks_about_resources(uuid, uuid, integer, jsonb) is
    'Whether what is decided for the type as such may fall otherwise for a resource, by the condition of a rule about all
of the type, by delegation or by a dynamic separation of duties.';

revoke all on function authz._asks_about_resources(uuid, uuid, integer, jsonb) from public;
grant execute on function authz._asks_about_resources(uuid, uuid, integer, jsonb) to enterprise_ai_decider;
