-- The plain case, for which arrays are enough. Both functions are inlined into the statements that call them:
-- no set clause, not definer, nothing but one select.

create or replace function authz._held(
    tenant_id uuid,
    user_id uuid,
    permission_id integer,
    out is_active boolean,
    out is_special boolean,
    out is_denied boolean,
    out is_allowed boolean,
    out is_allowed_on_own boolean)
    returns setof record
    language sql
    stable
    parallel restricted
as $$
    select count(*) filter (where h.is_active and h.holder_id = _held.user_id) > 0
           and count(*) filter (where h.is_active and h.holder_id = _held.tenant_id) > 0,
           coalesce(bool_or(h.has_special or _held.permission_id = any (h.direct) or _held.permission_id = any (c.special)), false),
           coalesce(bool_or(_held.permission_id = any (c.denied)), false),
           coalesce(bool_or(_held.permission_id = any (c.allowed)), false),
           coalesce(bool_or(_held.permission_id = any (c.allowed_on_own)), false)
    from authz.holders as h
    left join unnest(h.roles) as role (id) on true
    -- One by one by their key ("offset" keeps it so): there are few among however many the tenant has.
    left join lateral (
        select r.allowed, r.allowed_on_own, r.denied, r.special
        from authz.role_rights as r
        where r.tenant_id = _held.tenant_id and r.role_id = role.id
        offset 0
    ) as c on true
    where h.tenant_id = _held.tenant_id
      and h.holder_id = any (
          array[_held.user_id, _held.tenant_id]
          || (select mine.groups
              from authz.holders as mine
              where mine.tenant_id = _held.tenant_id and mine.holder_id = _held.user_id))
$$;

comment on function authz._held(uuid, uuid, integer) is
    'What a user, by all that they hold, has of a permission; is_special when arrays do not say it all.';

revoke all on function authz._held(uuid, uuid, integer) from public;
grant execute on function authz._held(uuid, uuid, integer) to enterprise_ai_decider;


create or replace function authz._settled(
    permission authz.permissions,
    parent_type text,
    resource authz.resources,
    resource_id uuid,
    user_id uuid,
    level integer,
    is_active boolean,
    is_special boolean,
    is_denied boolean,
    is_allowed boolean,
    is_allowed_on_own boolean)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select case
        when permission.requires_approval or is_special then null
        when not is_active or is_denied then false
        when resource_id is not null and resource.id is null then false
        when resource.id is not null
             and (resource.resource_type = any (array[permission.resource_type, parent_type])) is not true then false
        when permission.minimum_authentication_level > 1
             and coalesce(level, 0) < permission.minimum_authentication_level then false
        else is_allowed or (is_allowed_on_own and resource.owner_id is not distinct from user_id)
    end
$$;

comment on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                   boolean, boolean, boolean) is
    'The answer as far as arrays can give it; null when rules have to be evaluated.';

revoke all on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                      boolean, boolean, boolean) from public;
grant execute on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                      boolean, boolean, boolean) to enterprise_ai_decider;
