set role enterprise_ai_decider;

create or replace function authz.check_many(
    permissions text[],
    resource_ids uuid[],
    user_ids uuid[] default null,
    request jsonb default '{}')
    returns boolean[]
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
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := authz._asked_about(
        v_context, (select u.id from unnest(check_many.user_ids) as u (id)
                    where u.id::text is distinct from v_context ->> 'user_id' limit 1));
    v_is_limited boolean := v_context ?| '{actor_id,scopes}';
    v_level integer := authz._level(v_context);
    v_answers boolean[];
begin
    v_user_id := v_context ->> 'user_id';
    if cardinality(permissions) <> cardinality(resource_ids)
       or cardinality(permissions) <> cardinality(user_ids) then
        raise exception 'The lists of what to check are of different lengths'
            using errcode = 'ZA009', hint = 'Each check has a permission, a resource (or null) and, if users are '
                                            'given, a user.';
    end if;

    select array_agg(
        coalesce(
            authz._settled(permission.it, t.parent_type, r, a.resource_id, who.id, v_level, held.is_active, held.rights,
                           direct.said),
            authz._is_allowed(v_context, v_tenant_id, who.id, a.permission, a.resource_id, check_many.request))
        order by a.place)
    into v_answers
    from unnest(check_many.permissions, check_many.resource_ids, check_many.user_ids)
        with ordinality as a (permission, resource_id, user_id, place)
    cross join lateral (select coalesce(a.user_id, v_user_id)) as who (id)
    left join lateral (
        -- By its key: joined, each question may be compared with all names there are.
        select p as it
        from authz.permissions as p
        where p.name = a.permission and not v_is_limited
        offset 0
    ) as permission on true
    left join authz.resource_types as t on t.name = (permission.it).resource_type
    left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = a.resource_id
    left join lateral authz._held(v_tenant_id, who.id, (permission.it).place, statement_timestamp()) as held on true
    cross join lateral authz._said(v_tenant_id, who.id, held.rights, held.groups, (permission.it).id, r.ancestors,
                                   a.resource_id) as direct;
    return coalesce(v_answers, '{}');
end
$$;

comment on function authz.check_many(text[], uuid[], uuid[], jsonb) is
    'The answers of authz.check to many questions at once, in their order: the nth permission on the nth resource
(null: on the type) for the nth user (no list, or null: the user of the context). Raises what authz.check
raises, and ZA009 when the lists are of different lengths.';

revoke all on function authz.check_many(text[], uuid[], uuid[], jsonb) from public;
grant execute on function authz.check_many(text[], uuid[], uuid[], jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;
