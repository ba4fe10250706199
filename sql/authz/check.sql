-- The check that is made before every action. What is derived for holders and their sets of roles, read by key,
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
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
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
    v_said integer := 0;
    v_said_to_groups integer;
    v_is_allowed boolean;
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
        -- What is said directly is looked up when it could turn the answer.
        if v_standing.rights & 64 > 0 or v_standing.rights & 32 > 0 and not v_is_allowed then
            select u.said
            into v_said
            from authz._said_to_user(_is_allowed.tenant_id, _is_allowed.subject_id, v_standing.permission_id, v_ancestors,
                                     _is_allowed.resource_id) as u;
            if v_standing.groups <> '{}' then
                select g.said
                into v_said_to_groups
                from authz._said_to_groups(_is_allowed.tenant_id, v_standing.groups, v_standing.permission_id,
                                           v_ancestors, _is_allowed.resource_id) as g;
                v_said := v_said | v_said_to_groups;
            end if;
        end if;

        if v_said & 1 > 0 then
            return false;
        elsif v_said & 4 = 0 then
            v_is_allowed := v_is_allowed or v_said & 2 > 0;
            if v_is_allowed and v_standing.rights & 8 = 0 and not v_standing.requires_approval then
                return true;
            elsif not v_is_allowed and v_standing.rights & 16 = 0 then
                return false;
            end if;
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
