-- Every rule that could bear on a decision, and what it comes to: all that evaluates or explains starts here.

create or replace function authz._rules(
    tenant_id uuid,
    subject_id uuid,
    permission_id integer,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns table (
        rule_id uuid, source text, effect text, assignment_id uuid, role_id uuid, carrier_id uuid, scope_id uuid,
        state text, next_edge timestamptz, missing text[])
    language plpgsql
    stable
    parallel restricted
    rows 10
as $$
#variable_conflict use_column
declare
    v_groups uuid[];
    v_resource authz.resources;
    v_way uuid[];
    v_reach uuid[];
    v_needs_approval boolean := (
        select p.requires_approval from authz.permissions as p where p.id = _rules.permission_id);
begin
    select s.groups into v_groups
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _rules.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _rules.tenant_id and h.holder_id = _rules.subject_id;

    if _rules.resource_id is not null then
        select r.* into v_resource
        from authz.resources as r
        where r.tenant_id = _rules.tenant_id and r.id = _rules.resource_id;
        -- Denies come down the whole way; allows only from where nothing cuts them off.
        v_way := v_resource.ancestors || v_resource.id;
        v_reach := case when v_resource.inherits then v_way else array[v_resource.id] end;
        if v_resource.inherits and v_resource.ancestors <> '{}' then
            v_reach := v_way[coalesce((
                select max(array_position(v_way, r.id))
                from authz.resources as r
                where r.tenant_id = _rules.tenant_id and r.id = any (v_resource.ancestors) and not r.inherits), 1):];
        end if;
    end if;

    return query
    with recursive held (
        assignment_id, source, role_id, scope_id, condition, networks, level, windows, valid_from, valid_until,
        is_conditional, is_approved
    ) as (
        select a.id, 'user_role', a.role_id, a.resource_id, a.condition, a.networks, a.minimum_authentication_level,
               a.windows, a.valid_from, a.valid_until, a.is_conditional,
               a.granted_by is null or a.approved_by is not null
        from authz.user_roles as a
        where a.tenant_id = _rules.tenant_id and a.user_id = _rules.subject_id
        union all
        select a.id, 'group_role', a.role_id, a.resource_id, a.condition, a.networks, a.minimum_authentication_level,
               a.windows, a.valid_from, a.valid_until, a.is_conditional,
               a.granted_by is null or a.approved_by is not null
        from authz.group_roles as a
        where a.tenant_id = _rules.tenant_id and a.group_id = any (v_groups)
        union all
        select r.id, 'everyone', r.id, null, null, null, null, null, null, null, false, true
        from authz.roles as r
        where r.tenant_id = _rules.tenant_id and r.for_everyone
        union all
        select b.id, 'break_glass', b.role_id, b.resource_id, null, null, null, null, b.started_at,
               coalesce(b.ended_at, b.expires_at), true, true
        from authz.break_glass_events as b
        where b.tenant_id = _rules.tenant_id and b.user_id = _rules.subject_id
    ),
    -- The roles each held role stands for, and when: an edge that is not valid now may become so.
    above (role_id, carrier_id, valid_from, valid_until) as (
        select distinct h.role_id, h.role_id, null::timestamptz, null::timestamptz
        from held as h
        union
        select a.role_id, i.parent_id, greatest(a.valid_from, i.valid_from), least(a.valid_until, i.valid_until)
        from above as a
        join authz.role_inheritance as i on i.tenant_id = _rules.tenant_id and i.role_id = a.carrier_id
    ),
    candidate (
        rule_id, source, effect, assignment_id, role_id, carrier_id, scope_id, held_scope_id, only_own, is_approved,
        valid_from, valid_until, condition, networks, level, windows, held_condition, held_networks, held_level,
        held_windows, is_conditional
    ) as (
        select p.id, h.source, p.effect, h.assignment_id, h.role_id, a.carrier_id, p.resource_id, h.scope_id,
               p.only_own, h.is_approved,
               greatest(p.valid_from, h.valid_from, a.valid_from), least(p.valid_until, h.valid_until, a.valid_until),
               p.condition, p.networks, p.minimum_authentication_level, p.windows,
               h.condition, h.networks, h.level, h.windows, p.is_conditional or h.is_conditional
        from held as h
        join above as a on a.role_id = h.role_id
        join authz.role_permissions as p
            on p.tenant_id = _rules.tenant_id and p.role_id = a.carrier_id
            and p.permission_id = _rules.permission_id
            and (p.inheritable or a.carrier_id = h.role_id)
        union all
        select g.id, 'user_permission', g.effect, null, null, null, g.resource_id, null,
               false, g.granted_by is null or g.approved_by is not null, g.valid_from, g.valid_until,
               g.condition, g.networks, g.minimum_authentication_level, g.windows, null, null, null, null, g.is_conditional
        from authz.user_permissions as g
        where g.tenant_id = _rules.tenant_id and g.user_id = _rules.subject_id
          and g.permission_id = _rules.permission_id
        union all
        select g.id, 'group_permission', g.effect, null, null, null, g.resource_id, null,
               false, g.granted_by is null or g.approved_by is not null, g.valid_from, g.valid_until,
               g.condition, g.networks, g.minimum_authentication_level, g.windows, null, null, null, null, g.is_conditional
        from authz.group_permissions as g
        where g.tenant_id = _rules.tenant_id and g.group_id = any (v_groups)
          and g.permission_id = _rules.permission_id
    ),
    facts (value) as (
        select authz._facts(_rules.tenant_id, _rules.subject_id, _rules.resource_id, _rules.env)
    ),
    judged as (
        select c.*,
               case
                   when c.scope_id <> all (case c.effect when 'allow' then v_reach else v_way end)
                        or c.held_scope_id <> all (case c.effect when 'allow' then v_reach else v_way end)
                        or (v_way is null and (c.scope_id is not null or c.held_scope_id is not null))
                       then 'out_of_scope'
                   when c.only_own and v_resource.owner_id is distinct from _rules.subject_id then 'not_own'
                   when c.valid_until <= _rules.at then 'expired'
                   when c.valid_from > _rules.at then 'not_yet_valid'
                   when c.effect = 'allow' and v_needs_approval and not c.is_approved then 'not_approved'
                   when not c.is_conditional then 'true'
               end as state,
               -- Evaluated only for the rules that get as far, and then once for all.
               case when c.is_conditional then array[
                   authz._criteria_state(c.condition, c.networks, c.level, c.windows,
                                         (select f.value from facts as f), _rules.at),
                   authz._criteria_state(c.held_condition, c.held_networks, c.held_level, c.held_windows,
                                         (select f.value from facts as f), _rules.at)]
               end as parts
        from candidate as c
    )
    select j.rule_id, j.source, j.effect, j.assignment_id, j.role_id, j.carrier_id, coalesce(j.scope_id, j.held_scope_id),
           coalesce(j.state, s.state),
           case when coalesce(j.state, '') not in ('out_of_scope', 'not_own') then least(
               case when j.valid_from > _rules.at then j.valid_from end,
               case when j.valid_until > _rules.at then j.valid_until end,
               authz._next_edge(j.windows, _rules.at), authz._next_edge(j.held_windows, _rules.at))
           end,
           case when j.state is null and s.state = 'unknown' then
               authz._missing_keys(j.condition, j.networks, j.level, (select f.value from facts as f))
               || authz._missing_keys(j.held_condition, j.held_networks, j.held_level, (select f.value from facts as f))
           end
    from judged as j
    cross join lateral (
        select case
            when 'outside_window' = any (j.parts) then 'outside_window'
            when 'false' = any (j.parts) then 'false'
            when 'malformed' = any (j.parts) then 'malformed'
            when 'unknown' = any (j.parts) then 'unknown'
            else 'true'
        end) as s (state);
end
$$;

comment on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) is
    'The rules about a permission that somebody is under by themselves, with what each comes to on a resource
(null: on the type) at a time, and when that may change.';

revoke all on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) from public;
grant execute on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) to enterprise_ai_decider;
