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
    permission_id integer,
    place integer,
    out is_active boolean,
    out is_denied boolean,
    out is_allowed boolean,
    out is_allowed_on_own boolean,
    out may_deny boolean,
    out may_allow boolean,
    out has_direct boolean,
    out groups uuid[])
    returns setof record
    language sql
    stable
    parallel restricted
as $$
    -- What everyone holds does not hang on the user: each of the three is read once a statement.
    select mine.is_active
           and (select e.is_active from authz.holders as e
                where e.tenant_id = _held.tenant_id and e.holder_id = _held.tenant_id),
           always.rights & 1 > 0 or _held.permission_id = any (mine.denied) or of_groups.rights & 1 > 0,
           always.rights & 2 > 0 or _held.permission_id = any (mine.allowed) or of_groups.rights & 2 > 0,
           (always.rights | of_groups.rights) & 4 > 0,
           (always.rights | of_groups.rights) & 8 > 0 or sometimes.rights & 9 > 0
           or _held.permission_id = any ((
               select e.special_denied from authz.holders as e
               where e.tenant_id = _held.tenant_id and e.holder_id = _held.tenant_id)::integer[]),
           (always.rights | of_groups.rights) & 16 > 0 or sometimes.rights & 22 > 0 or mine.has_delegations,
           _held.permission_id = any (mine.special_allowed || mine.special_denied) or of_groups.has_direct,
           mine.groups
    from authz.holders as mine
    cross join lateral authz._carried(
        _held.tenant_id,
        mine.roles || (
            select e.roles from authz.holders as e
            where e.tenant_id = _held.tenant_id and e.holder_id = _held.tenant_id),
        _held.place) as always
    cross join lateral authz._carried(_held.tenant_id, mine.special_roles, _held.place) as sometimes
    cross join lateral (
        select coalesce(bit_or(
                   g_always.rights
                   | case when _held.permission_id = any (g.denied) then 1 else 0 end
                   | case when _held.permission_id = any (g.allowed) then 2 else 0 end
                   | case when g_sometimes.rights & 9 > 0 then 8 else 0 end
                   | case when g_sometimes.rights & 22 > 0 then 16 else 0 end), 0),
               coalesce(bool_or(_held.permission_id = any (g.special_allowed || g.special_denied)), false)
        from authz.holders as g
        cross join lateral authz._carried(_held.tenant_id, g.roles, _held.place) as g_always
        cross join lateral authz._carried(_held.tenant_id, g.special_roles, _held.place) as g_sometimes
        where g.tenant_id = _held.tenant_id and g.holder_id = any (mine.groups)
    ) as of_groups (rights, has_direct)
    where mine.tenant_id = _held.tenant_id and mine.holder_id = _held.user_id
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._held(uuid, uuid, integer, integer) is
    'What a user, by all that they hold, has of a permission; may_deny and may_allow when roles or delegations have rules
that what is derived does not say all of, has_direct when rules do that are given to the user or a group directly.';

revoke all on function authz._held(uuid, uuid, integer, integer) from public;
grant execute on function authz._held(uuid, uuid, integer, integer) to enterprise_ai_decider;


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


create or replace function authz._said_to_user(
    tenant_id uuid,
    user_id uuid,
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(authz._says(
        p.effect, p.is_conditional, coalesce(p.resource_id = _said_to_user.resource_id, p.resource_id is null),
        p.granted_by is null or p.approved_by is not null)), 0)
    from authz.user_permissions as p
    where p.tenant_id = _said_to_user.tenant_id and p.user_id = _said_to_user.user_id
      and p.permission_id = _said_to_user.permission_id
      -- As the index has it: the tenant's id stands for the type as such.
      and coalesce(p.resource_id, p.tenant_id)
          = any (_said_to_user.ancestors || array[_said_to_user.resource_id, _said_to_user.tenant_id])
      and (p.resource_id is null or p.resource_id = any (_said_to_user.ancestors || _said_to_user.resource_id))
$$;

comment on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) is
    'What the rules come to that are given to a user directly and reach a resource (null: the type), as authz._says has it.';

revoke all on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) from public;
grant execute on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._said_to_groups(
    tenant_id uuid,
    group_ids uuid[],
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(authz._says(
        p.effect, p.is_conditional, coalesce(p.resource_id = _said_to_groups.resource_id, p.resource_id is null),
        p.granted_by is null or p.approved_by is not null)), 0)
    from authz.group_permissions as p
    where p.tenant_id = _said_to_groups.tenant_id and p.group_id = any (_said_to_groups.group_ids)
      and p.permission_id = _said_to_groups.permission_id
      and coalesce(p.resource_id, p.tenant_id)
          = any (_said_to_groups.ancestors || array[_said_to_groups.resource_id, _said_to_groups.tenant_id])
      and (p.resource_id is null or p.resource_id = any (_said_to_groups.ancestors || _said_to_groups.resource_id))
$$;

comment on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) is
    'The same as authz._said_to_user of the rules that are given to some groups.';

revoke all on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) from public;
grant execute on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._said(
    tenant_id uuid,
    user_id uuid,
    has_direct boolean,
    group_ids uuid[],
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select case
        when _said.has_direct then
            (select u.said
             from authz._said_to_user(_said.tenant_id, _said.user_id, _said.permission_id, _said.ancestors,
                                      _said.resource_id) as u)
            | (select g.said
               from authz._said_to_groups(_said.tenant_id, _said.group_ids, _said.permission_id, _said.ancestors,
                                          _said.resource_id) as g)
        else 0
    end
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._said(uuid, uuid, boolean, uuid[], integer, uuid[], uuid) is
    'What is said directly to a user and to the groups they are in, if anything is.';

revoke all on function authz._said(uuid, uuid, boolean, uuid[], integer, uuid[], uuid) from public;
grant execute on function authz._said(uuid, uuid, boolean, uuid[], integer, uuid[], uuid) to enterprise_ai_decider;


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
    may_allow boolean,
    said integer)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select case
        when not is_active or is_denied or said & 1 > 0 then false
        when resource_id is not null and resource.id is null then false
        when resource.id is not null
             and (resource.resource_type = any (array[permission.resource_type, parent_type])) is not true then false
        when permission.minimum_authentication_level > 1
             and coalesce(level, 0) < permission.minimum_authentication_level then false
        when permission.requires_approval or said & 4 > 0 then null
        when is_allowed or said & 2 > 0 or (is_allowed_on_own and resource.owner_id is not distinct from user_id) then
            case when not may_deny then true end
        when not may_allow then false
    end
$$;

comment on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                   boolean, boolean, boolean, boolean, integer) is
    'The answer as far as what is derived (authz._held) and what was said directly can give it; null when rules have to be
evaluated that could turn it.';

revoke all on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                      boolean, boolean, boolean, boolean, integer) from public;
grant execute on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, boolean,
                                         boolean, boolean, boolean, boolean, integer) to enterprise_ai_decider;
