-- The plain case, for which what is derived is enough. These functions are inlined into the statements that call them:
-- no set clause, not definer, nothing but one select.
--
-- Rights are bits, so that what many roles and groups say is one bitwise or:
--    1 denied, 2 allowed, on all of the type and always; 4 allowed always on what one owns;
--    8 may be denied, 16 may be allowed, by rules of roles and by what was delegated, which have to be evaluated;
--   32 may be allowed, 64 may be denied, by rules given to the user or a group directly, which have to be looked up.

create or replace function authz._rights_at(rights bit varying, place integer)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- A permission that is younger than what was derived is in none of it: past the end there are no bits, which is 0.
    select substring(rights, 8 * place + 1, 8)::integer
$$;

comment on function authz._rights_at(bit varying, integer) is
    'What a role''s rights say of the permission at a place: 1 denied, 2 allowed, 4 allowed on one''s own, 8 may be denied
and 16 may be allowed, by rules that have to be evaluated.';

revoke all on function authz._rights_at(bit varying, integer) from public;
grant execute on function authz._rights_at(bit varying, integer) to enterprise_ai_decider;


create or replace function authz._of_holder(holder authz.holders, rights bit varying, place integer)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    select authz._rights_at(rights, place) | authz._rights_at(holder.rights, place)
           | case when holder.has_delegations then 16 else 0 end
$$;

comment on function authz._of_holder(authz.holders, bit varying, integer) is
    'What a user has of the permission at a place, as authz._held has it, by the rights of their set of roles and by what
is given to them directly: not by roles that are held at times.';

revoke all on function authz._of_holder(authz.holders, bit varying, integer) from public;
grant execute on function authz._of_holder(authz.holders, bit varying, integer) to enterprise_ai_decider;


create or replace function authz._at_times(
    tenant_id uuid,
    holder_id uuid,
    place integer,
    at timestamptz,
    out rights integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(case
               when not given.is_by_time_alone or _at_times.at is null then
                   case when carried.rights & 9 > 0 then 8 else 0 end | case when carried.rights & 22 > 0 then 16 else 0 end
               when (given.valid_from <= _at_times.at) is not false and (given.valid_until > _at_times.at) is not false then
                   carried.rights
               else 0
           end), 0)
    from (
        select a.role_id, a.valid_from, a.valid_until,
               a.resource_id is null
               and num_nonnulls(a.condition, a.networks, a.minimum_authentication_level, a.windows) = 0 as is_by_time_alone
        from authz.user_roles as a
        where a.tenant_id = _at_times.tenant_id and a.user_id = _at_times.holder_id
          and (a.is_conditional or a.resource_id is not null)
        union all
        select a.role_id, a.valid_from, a.valid_until,
               a.resource_id is null
               and num_nonnulls(a.condition, a.networks, a.minimum_authentication_level, a.windows) = 0
        from authz.group_roles as a
        where a.tenant_id = _at_times.tenant_id and a.group_id = _at_times.holder_id
          and (a.is_conditional or a.resource_id is not null)
        union all
        -- Whoever acts in an emergency is told so: that takes the whole decision.
        select b.role_id, null, null, false
        from authz.break_glass_events as b
        where b.tenant_id = _at_times.tenant_id and b.user_id = _at_times.holder_id
    ) as given
    cross join lateral (
        select authz._rights_at(r.rights, _at_times.place) as rights
        from authz.role_rights as r
        where r.tenant_id = _at_times.tenant_id and r.role_id = given.role_id
        offset 0
    ) as carried
    offset 0
$$;

comment on function authz._at_times(uuid, uuid, integer, timestamptz) is
    'What a user or a group has of the permission at a place by roles that they do not hold always and everywhere: what
hangs on the time alone as it is at that time, of all else 8 where it may deny and 16 where it may allow; without a time
all of it so.';

revoke all on function authz._at_times(uuid, uuid, integer, timestamptz) from public;
grant execute on function authz._at_times(uuid, uuid, integer, timestamptz) to enterprise_ai_decider;


create or replace function authz._held(
    tenant_id uuid,
    user_id uuid,
    place integer,
    at timestamptz,
    out is_active boolean,
    out rights integer,
    out groups uuid[])
    returns setof record
    language sql
    stable
    parallel restricted
as $$
    select mine.is_active and together.is_active,
           authz._of_holder(mine, together.rights, _held.place)
           | case
               when not mine.has_special_roles then 0
               else (select at_times.rights
                     from authz._at_times(_held.tenant_id, _held.user_id, _held.place, _held.at) as at_times)
           end
           | case
               when not together.has_special_roles then 0
               else (select coalesce(bit_or(at_times.rights), 0)
                     from (select unnest(together.groups) as id) as within
                     cross join lateral authz._at_times(_held.tenant_id, within.id, _held.place, _held.at) as at_times)
           end,
           together.groups
    from authz.holders as mine
    join authz.role_sets as together on together.tenant_id = _held.tenant_id and together.id = mine.role_set_id
    where mine.tenant_id = _held.tenant_id and mine.holder_id = _held.user_id
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._held(uuid, uuid, integer, timestamptz) is
    'What a user, by all that they hold, has of the permission at a place. rights: as authz._rights_at
has them at that time (null: as they are at any), and 32 and 64 when rules that are given to the user or a group directly
may allow or deny it besides.';

revoke all on function authz._held(uuid, uuid, integer, timestamptz) from public;
grant execute on function authz._held(uuid, uuid, integer, timestamptz) to enterprise_ai_decider;


create or replace function authz._says(effect text, depends boolean, is_in_time boolean, is_here boolean)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- What is allowed further up may be cut off on the way down.
    select case
        when depends then 4
        when not is_in_time then 0
        when effect = 'deny' then 1
        when is_here then 2
        else 4
    end
$$;

comment on function authz._says(text, boolean, boolean, boolean) is
    'What a rule that is given directly comes to, where no approval is needed: 0 nothing, 1 denied, 2 allowed, 4 has to be
evaluated.';

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
        p.effect, num_nonnulls(p.condition, p.networks, p.minimum_authentication_level, p.windows) > 0,
        (p.valid_from <= statement_timestamp()) is not false and (p.valid_until > statement_timestamp()) is not false,
        coalesce(p.resource_id = _said_to_user.resource_id, p.resource_id is null))), 0)
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
        p.effect, num_nonnulls(p.condition, p.networks, p.minimum_authentication_level, p.windows) > 0,
        (p.valid_from <= statement_timestamp()) is not false and (p.valid_until > statement_timestamp()) is not false,
        coalesce(p.resource_id = _said_to_groups.resource_id, p.resource_id is null))), 0)
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
    rights integer,
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
        -- Nothing is looked up that could not turn the answer.
        when _said.rights & 64 > 0 or _said.rights & 34 = 32 then
            (select u.said
             from authz._said_to_user(_said.tenant_id, _said.user_id, _said.permission_id, _said.ancestors,
                                      _said.resource_id) as u)
            | case
                when _said.group_ids = '{}' then 0
                else (select g.said
                      from authz._said_to_groups(_said.tenant_id, _said.group_ids, _said.permission_id, _said.ancestors,
                                                 _said.resource_id) as g)
            end
        else 0
    end
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) is
    'What is said directly to a user and to the groups they are in, if anything is that matters beside their rights.';

revoke all on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) from public;
grant execute on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._settled(
    permission authz.permissions,
    parent_type text,
    resource authz.resources,
    resource_id uuid,
    user_id uuid,
    level integer,
    is_active boolean,
    rights integer,
    said integer)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select case
        when not is_active or (rights | said) & 1 > 0 then false
        when resource_id is not null and resource.id is null then false
        when resource.id is not null
             and (resource.resource_type = any (array[permission.resource_type, parent_type])) is not true then false
        when permission.minimum_authentication_level > 1
             and coalesce(level, 0) < permission.minimum_authentication_level then false
        when permission.requires_approval or said & 4 > 0 then null
        when (rights | said) & 2 > 0 or (rights & 4 > 0 and resource.owner_id is not distinct from user_id) then
            case when rights & 8 = 0 then true end
        when rights & 16 = 0 then false
    end
$$;

comment on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                   integer) is
    'The answer as far as what is derived (authz._held) and what was said directly can give it; null when rules have to be
evaluated that could turn it.';

revoke all on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                      integer) from public;
grant execute on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                         integer) to enterprise_ai_decider;
