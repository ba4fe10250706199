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
    v_standing authz.standing;
    v_resource_type text;
    v_owner_id uuid;
    v_ancestors uuid[];
    v_is_allowed boolean;
    v_may_deny boolean;
    v_may_allow boolean;
begin
    -- A key's scopes and acting for another limit what there is; the whole decision takes them into account.
    if not context ?| '{actor_id,scopes}' then
        v_standing := authz._standing(context, _is_allowed.tenant_id, _is_allowed.subject_id, _is_allowed.permission);
        if v_standing.permission_id is null or v_standing.rights & 1 > 0 then
            return false;
        end if;
        if _is_allowed.resource_id is not null then
            select r.resource_type, r.owner_id, r.ancestors
            into v_resource_type, v_owner_id, v_ancestors
            from authz.resources as r
            where r.tenant_id = _is_allowed.tenant_id and r.id = _is_allowed.resource_id;
            if v_resource_type is distinct from v_standing.resource_type
               and (v_resource_type = authz._parent_type(v_standing.resource_type)) is not true then
                return false;
            end if;
        end if;

        v_is_allowed := v_standing.rights & 2 > 0
                        or v_standing.rights & 4 > 0 and coalesce(v_owner_id = _is_allowed.subject_id, false);
        v_may_deny := v_standing.rights & 8 > 0;
        v_may_allow := v_standing.rights & 16 > 0;
        if v_standing.has_direct then
            case authz._said_directly(_is_allowed.tenant_id, _is_allowed.subject_id, v_standing.groups,
                                      v_standing.permission_id, v_ancestors || _is_allowed.resource_id)
                when 'deny' then return false;
                when 'allow' then v_is_allowed := true;
                when 'unsure' then
                    v_may_deny := true;
                    v_may_allow := true;
                else null;
            end case;
        end if;
        if v_is_allowed and not v_may_deny and not v_standing.requires_approval then
            return true;
        elsif not v_is_allowed and not v_may_allow then
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
    v_said integer;             -- 1 denied, 2 allowed, 4 has to be evaluated
    v_said_to_groups integer;
begin
    select bit_or(authz._says(p.effect, p.is_conditional, coalesce(p.resource_id = v_resource_id, p.resource_id is null),
                              p.granted_by is null or p.approved_by is not null))
    into v_said
    from authz.user_permissions as p
    where p.tenant_id = _said_directly.tenant_id and p.user_id = _said_directly.user_id
      and p.permission_id = _said_directly.permission_id
      and coalesce(p.resource_id, p.tenant_id) = any (v_places)
      and (p.resource_id is null or p.resource_id = any (way));
    if group_ids <> '{}' then
        select bit_or(authz._says(p.effect, p.is_conditional, coalesce(p.resource_id = v_resource_id, p.resource_id is null),
                                  p.granted_by is null or p.approved_by is not null))
        into v_said_to_groups
        from authz.group_permissions as p
        where p.tenant_id = _said_directly.tenant_id and p.group_id = any (_said_directly.group_ids)
          and p.permission_id = _said_directly.permission_id
          and coalesce(p.resource_id, p.tenant_id) = any (v_places)
          and (p.resource_id is null or p.resource_id = any (way));
        v_said := coalesce(v_said | v_said_to_groups, v_said, v_said_to_groups);
    end if;
    return case
        when v_said & 1 > 0 then 'deny'
        when v_said & 4 > 0 then 'unsure'
        when v_said & 2 > 0 then 'allow'
    end;
end
$$;

comment on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) is
    'What the rules come to that are given to a user or their groups directly and reach the last of the
resources on a way (null: the type):
deny, allow, unsure when they have to be evaluated; null when there are none.';

revoke all on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) from public;
grant execute on function authz._said_directly(uuid, uuid, uuid[], integer, uuid[]) to enterprise_ai_decider;


create or replace function authz._says(effect text, is_conditional boolean, is_here boolean, is_approved boolean)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- What is allowed further up may be cut off on the way down, and what was not approved may not count.
    select case
        when is_conditional then 4
        when effect = 'deny' then 1
        when is_here and is_approved then 2
        else 4
    end
$$;

comment on function authz._says(text, boolean, boolean, boolean) is
    'What a rule that is given directly comes to: 1 denied, 2 allowed, 4 has to be evaluated.';

revoke all on function authz._says(text, boolean, boolean, boolean) from public;
grant execute on function authz._says(text, boolean, boolean, boolean) to enterprise_ai_decider;
