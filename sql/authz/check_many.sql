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

    with asked (place, permission, resource_id, user_id) as (
        select a.place, a.permission, a.resource_id, coalesce(a.user_id, v_user_id)
        from unnest(check_many.permissions, check_many.resource_ids, check_many.user_ids)
            with ordinality as a (permission, resource_id, user_id, place)
    ),
    -- Each user has much or little of a permission whatever the resource: found out once, not for each check.
    held as materialized (
        select pair.user_id, p as permission, p.name,
               (select t.parent_type from authz.resource_types as t where t.name = p.resource_type) as parent_type, h.*
        from (select distinct a.user_id, a.permission from asked as a) as pair
        join authz.permissions as p on p.name = pair.permission
        cross join lateral authz._held(v_tenant_id, pair.user_id, p) as h
        where not v_is_limited
    ),
    settled (place, permission, resource_id, user_id, is_known, is_allowed) as (
        select a.place, a.permission, a.resource_id, a.user_id, h.name is not null,
               authz._settled(h.permission, h.parent_type, r, a.resource_id, a.user_id, v_level, h.is_active, h.is_denied,
                              h.is_allowed, h.is_allowed_on_own, h.may_deny, h.may_allow)
        from asked as a
        left join held as h on h.name = a.permission and h.user_id = a.user_id
        left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = a.resource_id
    )
    select array_agg(
        case when s.is_known and s.is_allowed is not null then s.is_allowed
        else authz._is_allowed(v_context, v_tenant_id, s.user_id, s.permission, s.resource_id, check_many.request) end
        order by s.place)
    into v_answers
    from settled as s;
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
