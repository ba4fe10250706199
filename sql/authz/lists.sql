-- Lists ask the same decision of each that could be on them. They are read a page at a time by key: the last
-- one of a page is where the next begins. A page is never cut short: fewer than asked for means the end.

set role enterprise_ai_decider;

create or replace function authz.list_resources(
    permission text,
    after_id uuid default null,
    page_size integer default 100,
    user_id uuid default null,
    request jsonb default '{}',
    resource_type text default null)
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, list_resources.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_type text := coalesce(list_resources.resource_type, (
        select p.resource_type from authz.permissions as p where p.name = list_resources.permission));
    v_after uuid := coalesce(list_resources.after_id, '00000000-0000-0000-0000-000000000000');
    v_is_limited boolean := v_context ?| '{actor_id,scopes}';
    v_level integer := authz._level(v_context);
    v_standing authz.standing := authz._standing(v_context, v_tenant_id, v_subject_id, list_resources.permission);
    -- Rules about the whole type may allow any of it. Otherwise there is what they own, and what rules name.
    v_is_wide boolean := v_standing.rights & 18 > 0
        or v_standing.rights & 96 > 0 and authz._is_named_type_wide(v_tenant_id, v_subject_id, v_standing);
    v_places uuid[];
    v_size integer := authz._page(list_resources.page_size);
begin
    if v_standing.permission_id is null then
        return;
    elsif not v_is_wide then
        v_places := authz._places(v_tenant_id, v_subject_id, v_standing.permission_id, 'allow');
    end if;
    return query
    select candidate.id
    from (
        select r.id
        from authz.resources as r
        where v_is_wide and r.tenant_id = v_tenant_id and r.resource_type = v_type and r.id > v_after
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.owner_id = v_subject_id and r.resource_type = v_type
          and r.id > v_after
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.id = any (v_places) and r.resource_type = v_type
          and r.id > v_after and r.owner_id is distinct from v_subject_id
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.ancestors && v_places and r.resource_type = v_type
          and r.id > v_after and r.owner_id is distinct from v_subject_id and r.id <> all (v_places)
    ) as candidate
    join authz.resources as r on r.tenant_id = v_tenant_id and r.id = candidate.id
    join authz.permissions as p on p.name = list_resources.permission
    join authz.resource_types as t on t.name = p.resource_type
    cross join lateral authz._held(v_tenant_id, v_subject_id, p.place, statement_timestamp()) as held
    cross join lateral authz._said(v_tenant_id, v_subject_id, held.rights, held.groups, p.id, r.ancestors, r.id)
        as direct
    where coalesce(
        case when not v_is_limited then
            authz._settled(p, t.parent_type, r, r.id, v_subject_id, v_level, held.is_active, held.rights,
                           direct.said)
        end,
        authz._is_allowed(v_context, v_tenant_id, v_subject_id, list_resources.permission, r.id, list_resources.request))
    order by candidate.id
    limit v_size;
end
$$;

comment on function authz.list_resources(text, uuid, integer, uuid, jsonb, text) is
    'The resources of the permission''s type (or of the one that it can lie in) on which the user has the
permission, a page by id. Raises what authz.check raises, and ZA009 for a page of less than 1 or more than 1000.';

revoke all on function authz.list_resources(text, uuid, integer, uuid, jsonb, text) from public;
grant execute on function authz.list_resources(text, uuid, integer, uuid, jsonb, text)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.list_subjects(
    permission text,
    resource_id uuid default null,
    after_id uuid default null,
    page_size integer default 100,
    request jsonb default '{}')
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    -- About everybody: it takes the right to ask about others.
    v_nobody uuid := authz._asked_about(v_context, '00000000-0000-0000-0000-000000000000');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    -- Who asks, from where and by which key is not what others would do it with.
    v_others jsonb := v_context - array['user_id', 'actor_id', 'scopes'];
    v_level integer := authz._level(v_context);
    v_place integer := (select p.place from authz.permissions as p where p.name = list_subjects.permission);
    -- Few of a tenant's people have a rare permission. Who has it by nothing at all is not looked at further.
    v_sets uuid[] := array(
        select s.id
        from authz.role_sets as s
        where s.tenant_id = v_tenant_id and (s.has_special_roles or authz._rights_at(s.rights, v_place) & 54 > 0));
begin
    return query
    select h.holder_id
    from authz.permissions as p
    join authz.resource_types as t on t.name = p.resource_type
    left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = list_subjects.resource_id
    join authz.holders as h on h.tenant_id = v_tenant_id and h.is_active
    join identity.users as u on u.tenant_id = v_tenant_id and u.id = h.holder_id
    cross join lateral authz._held(v_tenant_id, h.holder_id, p.place, statement_timestamp()) as held
    cross join lateral authz._said(v_tenant_id, h.holder_id, held.rights, held.groups, p.id, r.ancestors,
                                   list_subjects.resource_id) as direct
    where p.name = list_subjects.permission
      and h.holder_id > coalesce(list_subjects.after_id, '00000000-0000-0000-0000-000000000000')
      and (h.role_set_id = any (v_sets) or h.has_special_roles or h.has_delegations
           or authz._rights_at(h.rights, v_place) & 34 > 0)
      and coalesce(
          authz._settled(
              p, t.parent_type, r, list_subjects.resource_id, h.holder_id, v_level, held.is_active,
              held.rights, direct.said),
          authz._is_allowed(v_others, v_tenant_id, h.holder_id, list_subjects.permission, list_subjects.resource_id,
                            list_subjects.request))
    order by h.holder_id
    limit authz._page(list_subjects.page_size);
end
$$;

comment on function authz.list_subjects(text, uuid, uuid, integer, jsonb) is
    'The users who have a permission on a resource, or on the type as such, a page by id; as if each of them asked
in this context. It takes permission.read (ZA007); raises ZA009 for a page of less than 1 or more than 1000.';

revoke all on function authz.list_subjects(text, uuid, uuid, integer, jsonb) from public;
grant execute on function authz.list_subjects(text, uuid, uuid, integer, jsonb)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.list_actions(
    resource_id uuid,
    user_id uuid default null,
    request jsonb default '{}')
    returns setof text
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, list_actions.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
begin
    return query
    select p.name
    from authz.resources as r
    join authz.resource_types as t on r.resource_type in (t.name, t.parent_type)
    join authz.permissions as p on p.resource_type = t.name
    where r.tenant_id = v_tenant_id and r.id = list_actions.resource_id
      and authz._is_allowed(v_context, v_tenant_id, v_subject_id, p.name, r.id, list_actions.request)
    order by p.id;
end
$$;

comment on function authz.list_actions(uuid, uuid, jsonb) is
    'The permissions that a user has on a resource, all of them. Raises what authz.check raises.';

revoke all on function authz.list_actions(uuid, uuid, jsonb) from public;
grant execute on function authz.list_actions(uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._is_named_type_wide(tenant_id uuid, user_id uuid, standing authz.standing)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return exists (
        select
        from authz.user_permissions as g
        where g.tenant_id = _is_named_type_wide.tenant_id and g.user_id = _is_named_type_wide.user_id
          and g.permission_id = (_is_named_type_wide.standing).permission_id
          and coalesce(g.resource_id, g.tenant_id) = _is_named_type_wide.tenant_id
    ) or exists (
        select
        from authz.group_permissions as g
        where g.tenant_id = _is_named_type_wide.tenant_id
          and g.group_id = any ((_is_named_type_wide.standing).groups)
          and g.permission_id = (_is_named_type_wide.standing).permission_id
          and coalesce(g.resource_id, g.tenant_id) = _is_named_type_wide.tenant_id
    );
end
$$;

comment on function authz._is_named_type_wide(uuid, uuid, authz.standing) is
    'Whether rules are given to a user, or to a group they are in, directly that are about all of the permission''s type.';

revoke all on function authz._is_named_type_wide(uuid, uuid, authz.standing) from public;
grant execute on function authz._is_named_type_wide(uuid, uuid, authz.standing) to enterprise_ai_decider;


create or replace function authz._page(size integer)
    returns integer
    language plpgsql
    immutable
    parallel safe
as $$
begin
    if size between 1 and 1000 then
        return size;
    end if;
    raise exception 'A page cannot have % rows', coalesce(size::text, 'null')
        using errcode = 'ZA009', hint = 'Ask for 1 to 1000 at a time, and for the next page after the last id.';
end
$$;

comment on function authz._page(integer) is 'The size of a page, when it is one; raises ZA009.';

revoke all on function authz._page(integer) from public;
grant execute on function authz._page(integer) to enterprise_ai_decider;
