-- The check that is made before every action. Arrays that are derived for roles and holders, read by their keys,
-- settle it unless there are rules that could turn the answer about this very permission. Of these, those given
-- directly (what is shared with somebody) are looked up on the resource and what it lies within. Only what is left is
-- decided in full, as authz.evaluate does.

set role enterprise_ai_decider;

create or replace function authz.check(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns boolean
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
    v_subject_id uuid := v_context ->> 'user_id';
begin
    if v_subject_id is null or "check".user_id <> v_subject_id then
        v_subject_id := authz._asked_about(v_context, "check".user_id);
    end if;
    return authz._is_allowed(v_context, v_tenant_id, v_subject_id, "check".permission, "check".resource_id,
                             "check".request);
end
$$;

comment on function authz.check(text, uuid, uuid, jsonb) is
    'Whether the user of the context, or another one, has a permission (type.action) on a resource, or on the type
as such when there is none; the same answer as authz.evaluate gives, without its reasons. Anything that is
not known is false. Raises only without a context (ZA001) and, about another user, without permission.read
(ZA007).';

revoke all on function authz.check(text, uuid, uuid, jsonb) from public;
grant execute on function authz.check(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._is_allowed(
    context jsonb,
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    request jsonb)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_permission_id integer;
    v_needs_approval boolean;
    v_owner_id uuid;
    v_way uuid[];
    v_groups uuid[];
    v_special_roles uuid[];
    v_is_possible boolean;
    v_is_denied boolean;
    v_is_allowed boolean;
    v_may_deny boolean;
    v_may_allow boolean;
    -- Those two by rules that are given directly.
    v_may_directly boolean;
begin
    -- A key's scopes and acting for another limit what there is; the whole decision takes them into account.
    if not context ?| '{actor_id,scopes}' then
        -- One statement, each table in it by its key: to start one costs more than to look something up.
        select p.id, p.requires_approval, mine.groups, mine.special_roles, r.owner_id, r.ancestors || r.id,
               mine.is_active and everyone.is_active
               and (p.minimum_authentication_level = 1
                    or p.minimum_authentication_level <= coalesce(authz._level(context), 0))
               and (_is_allowed.resource_id is null or r.resource_type = p.resource_type
                    or r.resource_type = (select t.parent_type from authz.resource_types as t where t.name = p.resource_type)),
               p.id = any (mine.denied) or carried.rights & 1 > 0,
               p.id = any (mine.allowed) or carried.rights & 2 > 0
               or (carried.rights & 4 > 0 and coalesce(r.owner_id = _is_allowed.subject_id, false)),
               p.id = any (everyone.special_denied) or carried.rights & 8 > 0,
               mine.has_delegations or carried.rights & 16 > 0,
               p.id = any (mine.special_allowed || mine.special_denied)
        into v_permission_id, v_needs_approval, v_groups, v_special_roles, v_owner_id, v_way, v_is_possible,
             v_is_denied, v_is_allowed, v_may_deny, v_may_allow, v_may_directly
        from authz.permissions as p
        join authz.holders as mine
            on mine.tenant_id = _is_allowed.tenant_id and mine.holder_id = _is_allowed.subject_id
        join authz.holders as everyone
            on everyone.tenant_id = _is_allowed.tenant_id and everyone.holder_id = _is_allowed.tenant_id
        left join authz.resources as r on r.tenant_id = _is_allowed.tenant_id and r.id = _is_allowed.resource_id
        cross join lateral authz._carried(_is_allowed.tenant_id, mine.roles || everyone.roles, p.id) as carried
        where p.name = _is_allowed.permission;
        if v_is_possible is not true or v_is_denied then
            return false;
        end if;

        if v_groups <> '{}' then
            select v_special_roles || array_agg(role.id) filter (where role.id is not null),
                   bool_or(v_permission_id = any (g.denied) or carried.rights & 1 > 0),
                   v_is_allowed or bool_or(
                       v_permission_id = any (g.allowed) or carried.rights & 2 > 0
                       or (carried.rights & 4 > 0 and coalesce(v_owner_id = _is_allowed.subject_id, false))),
                   v_may_deny or bool_or(carried.rights & 8 > 0),
                   v_may_allow or bool_or(carried.rights & 16 > 0),
                   v_may_directly or bool_or(v_permission_id = any (g.special_allowed || g.special_denied))
            into v_special_roles, v_is_denied, v_is_allowed, v_may_deny, v_may_allow, v_may_directly
            from authz.holders as g
            cross join lateral authz._carried(_is_allowed.tenant_id, g.roles, v_permission_id) as carried
            left join lateral unnest(g.special_roles) as role (id) on true
            where g.tenant_id = _is_allowed.tenant_id and g.holder_id = any (v_groups);
            if v_is_denied then
                return false;
            end if;
        end if;

        if v_special_roles <> '{}' and not (v_may_deny and v_may_allow) then
            select v_may_deny or carried.rights & 9 > 0, v_may_allow or carried.rights & 22 > 0
            into v_may_deny, v_may_allow
            from authz._carried(_is_allowed.tenant_id, v_special_roles, v_permission_id) as carried;
        end if;

        if v_may_directly then
            case authz._said_directly(_is_allowed.tenant_id, _is_allowed.subject_id, v_groups, v_permission_id, v_way)
                when 'deny' then return false;
                when 'allow' then v_is_allowed := true;
                when 'unsure' then
                    v_may_deny := true;
                    v_may_allow := true;
                else null;
            end case;
        end if;
        if v_is_allowed and not coalesce(v_may_deny or v_needs_approval, true) then
            return true;
        elsif not coalesce(v_is_allowed or v_may_allow, true) then
            return false;
        end if;
    end if;
    return (authz._evaluate(context, _is_allowed.subject_id, _is_allowed.permission, _is_allowed.resource_id,
                            _is_allowed.request, statement_timestamp())).effect = 'allow';
end
$$;

comment on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) is
    'Whether a subject has a permission in a context: the effect of authz._evaluate, by less where less is enough.';

revoke all on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) from public;
grant execute on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) to enterprise_ai_decider;


create or replace function authz._said_directly(
    tenant_id uuid,
    user_id uuid,
    group_ids uuid[],
    permission_id integer,
    way uuid[])
    returns text
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_resource_id uuid := way[cardinality(way)];
    -- As the indexes have it: the tenant's id stands for the type as such.
    v_places uuid[] := way || _said_directly.tenant_id;
    v_denies boolean;
    v_allows boolean;
    v_is_unsure boolean;
begin
    select bool_or(g.effect = 'deny' and not g.is_conditional),
           -- What is allowed further up may be cut off on the way down, and what was not approved may not count.
           bool_or(g.effect = 'allow' and not g.is_conditional and g.is_here and g.is_approved),
           bool_or(g.is_conditional or (g.effect = 'allow' and not (g.is_here and g.is_approved)))
    into v_denies, v_allows, v_is_unsure
    from (
        select p.effect, p.is_conditional, coalesce(p.resource_id = v_resource_id, p.resource_id is null) as is_here,
               p.granted_by is null or p.approved_by is not null as is_approved
        from authz.user_permissions as p
        where p.tenant_id = _said_directly.tenant_id and p.user_id = _said_directly.user_id
          and p.permission_id = _said_directly.permission_id
          and coalesce(p.resource_id, p.tenant_id) = any (v_places)
          and (p.resource_id is null or p.resource_id = any (way))
        union all
        select p.effect, p.is_conditional, coalesce(p.resource_id = v_resource_id, p.resource_id is null),
               p.granted_by is null or p.approved_by is not null
        from authz.group_permissions as p
        where p.tenant_id = _said_directly.tenant_id and p.group_id = any (_said_directly.group_ids)
          and p.permission_id = _said_directly.permission_id
          and coalesce(p.resource_id, p.tenant_id) = any (v_places)
          and (p.resource_id is null or p.resource_id = any (way))
    ) as g;
    return case
        when v_denies then 'deny'
        when v_is_unsure then 'unsure'
        when v_allows then 'allow'
    end;
end
$$;

comment on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) is
    'What the rules come to that are given to a user or their groups directly and reach the last of the
resources on a way (null: the type):
deny, allow, unsure when they have to be evaluated; null when there are none.';

revoke all on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) from public;
grant execute on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) to enterprise_ai_decider;
