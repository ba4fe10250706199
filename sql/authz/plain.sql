-- The plain case, for which arrays are enough. These functions are inlined into the statements that call them:
-- no set clause, not definer, nothing but one select.

create or replace function authz._rights_at(rights bytea, place integer)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- A permission that is younger than what was derived is in none of it.
    select case when place < octet_length(rights) then get_byte(rights, place) else 0 end
$$;

comment on function authz._rights_at(bytea, integer) is
    'What a role''s rights say of the permission at a place: 1 denied, 2 allowed, 4 allowed on one''s own, 8 may be denied
and 16 may be allowed, by rules that have to be evaluated.';

revoke all on function authz._rights_at(bytea, integer) from public;
grant execute on function authz._rights_at(bytea, integer) to enterprise_ai_decider;


create or replace function authz._carried(
    tenant_id uuid,
    role_ids uuid[],
    place integer,
    out rights integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    -- Each by its key. Asked for any of a list, the planner reads all roles of a tenant that has few.
    select coalesce(bit_or((
               select authz._rights_at(r.rights, _carried.place)
               from authz.role_rights as r
               where r.tenant_id = _carried.tenant_id and r.role_id = role.id)), 0)
    from (select unnest(_carried.role_ids) as id) as role
    offset 0
$$;

comment on function authz._carried(uuid, uuid[], integer) is
    'What some roles together say of the permission at a place, as authz._rights_at has it; 0 when nothing.';

revoke all on function authz._carried(uuid, uuid[], integer) from public;
grant execute on function authz._carried(uuid, uuid[], integer) to enterprise_ai_decider;


create or replace function authz._held(
    tenant_id uuid,
    user_id uuid,
    permission authz.permissions,
    out is_active boolean,
    out is_denied boolean,
    out is_allowed boolean,
    out is_allowed_on_own boolean,
    out may_deny boolean,
    out may_allow boolean)
    returns setof record
    language sql
    stable
    parallel restricted
as $$
    select held.active = 2, held.rights & 1 > 0, held.rights & 2 > 0, held.rights & 4 > 0,
           held.rights & 8 > 0 or held.sometimes & 9 > 0, held.rights & 16 > 0 or held.sometimes & 22 > 0
    from (
        select count(*) filter (where h.is_active and h.holder_id in (_held.user_id, _held.tenant_id)),
               bit_or(always.rights
                      | case when (_held.permission).id = any (h.denied) then 1 else 0 end
                      | case when (_held.permission).id = any (h.allowed) then 2 else 0 end
                      | case when (_held.permission).id = any (h.special_denied) then 8 else 0 end
                      | case when h.has_delegations or (_held.permission).id = any (h.special_allowed) then 16 else 0 end),
               bit_or(sometimes.rights)
        from authz.holders as h
        cross join lateral authz._carried(_held.tenant_id, h.roles, (_held.permission).place) as always
        cross join lateral authz._carried(_held.tenant_id, h.special_roles, (_held.permission).place) as sometimes
        where h.tenant_id = _held.tenant_id
          and h.holder_id = any (
              array[_held.user_id, _held.tenant_id]
              || (select mine.groups
                  from authz.holders as mine
                  where mine.tenant_id = _held.tenant_id and mine.holder_id = _held.user_id))
    ) as held (active, rights, sometimes)
$$;

comment on function authz._held(uuid, uuid, authz.permissions) is
    'What a user, by all that they hold, has of a permission; may_deny and may_allow when there are rules that what is
derived does not say all of.';

revoke all on function authz._held(uuid, uuid, authz.permissions) from public;
grant execute on function authz._held(uuid, uuid, authz.permissions) to enterprise_ai_decider;


create or replace function authz._settled(
    permission authz.permissions,
    parent_type text,
    resource authz.resources,
    resource_id uuid,
    user_id uuid,
    level integer,
    is_active boolean,
    is_denied boolean,
    is_allowed boolean,
    is_allowed_on_own boolean,
    may_deny boolean,
    may_allow boolean)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select case
        when not is_active or is_denied then false
        when resource_id is not null and resource.id is null then false
        when resource.id is not null
             and (resource.resource_type = any (array[permission.resource_type, parent_type])) is not true then false
        when permission.minimum_authentication_level > 1
             and coalesce(level, 0) < permission.minimum_authentication_level then false
        when permission.requires_approval then null
        when is_allowed or (is_allowed_on_own and resource.owner_id is not distinct from user_id) then
            case when not may_deny then true end
        when not may_allow then false
    end
$$;

comment on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                   boolean, boolean, boolean, boolean) is
    'The answer as far as arrays can give it; null when rules have to be evaluated that could turn it.';

revoke all on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                      boolean, boolean, boolean, boolean) from public;
grant execute on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                      boolean, boolean, boolean, boolean) to enterprise_ai_decider;
