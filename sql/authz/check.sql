-- The check that is made before every action. When only plain rules are in play it is settled by the arrays
-- that are derived for roles and holders, in one statement; else by the same decision that authz.evaluate gives.

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
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_subject_id uuid := v_context ->> 'user_id';
    v_is_allowed boolean;
begin
    if v_subject_id is null or "check".user_id <> v_subject_id then
        v_subject_id := authz._asked_about(v_context, "check".user_id);
    end if;

    -- A key's scopes and acting for another limit what there is; the whole decision takes them into account.
    if not v_context ?| '{actor_id,scopes}' then
        select authz._settled(
            p, (select t.parent_type from authz.resource_types as t where t.name = p.resource_type), r, "check".resource_id, v_subject_id, authz._level(v_context),
            held.is_active, held.is_special, held.is_denied, held.is_allowed, held.is_allowed_on_own)
        into v_is_allowed
        from authz.permissions as p
        left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = "check".resource_id
        cross join lateral authz._held(v_tenant_id, v_subject_id, p.id) as held
        where p.name = "check".permission;
    end if;
    if v_is_allowed is null then
        v_is_allowed := (authz._evaluate(v_context, v_subject_id, "check".permission, "check".resource_id, "check".request,
                                         statement_timestamp())).effect = 'allow';
    end if;
    return v_is_allowed;
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
