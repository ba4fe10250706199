-- The check that is made before every action. When only plain rules are in play it is settled by the arrays
-- that are derived for roles and holders, in one statement; else by the same decision that authz.evaluate gives.

create or replace function authz.check(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns boolean
    language plpgsql
    stable
    parallel unsafe         -- sets a parameter
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
    perform set_config('enterprise_ai.deciding_for', v_tenant_id::text, true);

    -- A key's scopes and acting for another limit what there is; the whole decision takes them into account.
    if not v_context ?| '{actor_id,scopes}' then
        select case
                   when p.requires_approval or held.is_special then null
                   when held.active < 2 or held.is_denied then false
                   when "check".resource_id is not null and r.id is null then false
                   when r.resource_type <> p.resource_type and not exists (
                       select
                       from authz.resource_types as t
                       where t.name = p.resource_type and t.parent_type = r.resource_type) then false
                   when p.minimum_authentication_level > 1
                        and coalesce(authz._level(v_context), 0) < p.minimum_authentication_level then false
                   else held.is_allowed or (held.is_allowed_on_own and r.owner_id is not distinct from v_subject_id)
               end
        into v_is_allowed
        from authz.permissions as p
        left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = "check".resource_id
        left join authz.holders as mine on mine.tenant_id = v_tenant_id and mine.holder_id = v_subject_id
        cross join lateral (
            select count(distinct h.holder_id) filter (
                       where h.is_active and h.holder_id in (v_subject_id, v_tenant_id)) as active,
                   bool_or(h.has_special or p.id = any (h.direct) or coalesce(p.id = any (c.special), false)) as is_special,
                   coalesce(bool_or(p.id = any (c.denied)), false) as is_denied,
                   coalesce(bool_or(p.id = any (c.allowed)), false) as is_allowed,
                   coalesce(bool_or(p.id = any (c.allowed_on_own)), false) as is_allowed_on_own
            from authz.holders as h
            left join authz.role_rights as c on c.tenant_id = v_tenant_id and c.role_id = any (h.roles)
            where h.tenant_id = v_tenant_id
              and h.holder_id = any (array[v_subject_id, v_tenant_id] || mine.groups)
        ) as held
        where p.name = "check".permission;
    end if;
    if v_is_allowed is null then
        v_is_allowed := (authz._evaluate(v_context, v_subject_id, "check".permission, "check".resource_id, "check".request,
                                         statement_timestamp())).effect = 'allow';
    end if;
    perform set_config('enterprise_ai.deciding_for', '', true);
    return v_is_allowed;
end
$$;

comment on function authz.check(text, uuid, uuid, jsonb) is
    'Whether the user of the context, or another one, has a permission (type.action) on a resource, or on the type
as such when there is none; the same answer as authz.evaluate gives, without its reasons. Anything that is
not known is false. Raises only without a context (ZA001) and, about another user, without permission.read
(ZA007).';

revoke all on function authz.check(text, uuid, uuid, jsonb) from public;
grant execute on function authz.check(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway;
