-- What has been passed on gives no more than its chain holds now: every link is in force, every person in it is
-- active and not denied it, and the first of them may do it by themselves. Rights are never passed on by copy.

create or replace function authz._delegated(
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns table (rule_id uuid, state text, next_edge timestamptz, missing text[])
    language plpgsql
    stable
    parallel restricted
    rows 1
as $$
#variable_conflict use_column
declare
    v_id uuid;
begin
    for v_id in
        select d.id
        from authz.delegations as d
        where d.tenant_id = _delegated.tenant_id and d.delegate_id = _delegated.subject_id
        order by d.id
    loop
        rule_id := v_id;
        select l.state, l.next_edge, l.missing into state, next_edge, missing
        from authz._link_state(_delegated.tenant_id, v_id, _delegated.permission, _delegated.resource_id,
                               _delegated.env, _delegated.at, '{}', 1) as l;
        if state is not null then
            return next;
        end if;
    end loop;
end
$$;

comment on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What has been passed on to somebody that is about a permission, with what each comes to.';

revoke all on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._link_state(
    tenant_id uuid,
    delegation_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz,
    role_ids uuid[],
    links integer,
    out state text,
    out next_edge timestamptz,
    out missing text[])
    language plpgsql
    stable
    parallel restricted
as $$
#variable_conflict use_column
declare
    v_link authz.delegations;
    v_parent authz.delegations;
    v_permission authz.permissions;
    v_resource authz.resources;
    v_facts jsonb;
    v_own authz.decision;
    v_above record;
    -- The roles that have been passed on, here and by the links after this one: it has to come through each.
    v_roles uuid[];
begin
    select d.* into v_link
    from authz.delegations as d
    where d.tenant_id = _link_state.tenant_id and d.id = _link_state.delegation_id;
    select p.* into v_permission from authz.permissions as p where p.name = _link_state.permission;

    -- Is it about this at all? Otherwise the state stays null.
    if v_permission.id is null or not v_permission.delegable
       or v_permission.id <> v_link.permission_id
       or not authz._carries(_link_state.tenant_id, v_link.role_id, v_permission.id) then
        return;
    end if;
    v_roles := array_remove(role_ids || v_link.role_id, null);
    if v_link.resource_id is not null then
        select r.* into v_resource
        from authz.resources as r
        where r.tenant_id = _link_state.tenant_id and r.id = _link_state.resource_id;
        if not coalesce(v_link.resource_id = any (v_resource.ancestors || v_resource.id), false) then
            return;
        end if;
    end if;

    next_edge := least(case when v_link.valid_from > at then v_link.valid_from end,
                       case when v_link.valid_until > at then v_link.valid_until end,
                       authz._next_edge(v_link.windows, at));
    if v_link.valid_until <= at then
        state := 'expired';
        return;
    elsif v_link.valid_from > at then
        state := 'not_yet_valid';
        return;
    elsif v_link.depth > 8 or links > 8 then
        state := 'depth';
        return;
    end if;
    if num_nonnulls(v_link.condition, v_link.networks, v_link.minimum_authentication_level, v_link.windows) > 0 then
        v_facts := authz._facts(_link_state.tenant_id, v_link.delegate_id, _link_state.resource_id, env);
        state := authz._criteria_state(v_link.condition, v_link.networks, v_link.minimum_authentication_level,
                                       v_link.windows, v_facts, at);
        if state <> 'true' then
            missing := authz._missing_keys(v_link.condition, v_link.networks, v_link.minimum_authentication_level, v_facts);
            return;
        end if;
    end if;

    v_own := authz._decide(_link_state.tenant_id, v_link.delegator_id, _link_state.permission, _link_state.resource_id,
                           env, at, false);
    next_edge := least(next_edge, v_own.expires_at);
    state := 'delegator_lost_right';
    if v_link.parent_id is null then
        if v_own.effect = 'allow' and not exists (
               select
               from unnest(v_roles) as passed (id)
               where not exists (
                   select
                   from authz._rules(_link_state.tenant_id, v_link.delegator_id, v_permission.id,
                                     _link_state.resource_id, env, at) as r
                   where r.effect = 'allow' and r.state = 'true'
                     and r.carrier_id = any (authz._roles_above(_link_state.tenant_id, passed.id)))) then
            state := 'true';
        end if;
    elsif v_own.reason <> 'deny_subject_inactive' and (v_own.effect = 'allow' or v_own.rule_ids = '{}') then
        -- A link passes on what the one before it gives, as long as nothing denies it to whoever stands between.
        select d.* into v_parent
        from authz.delegations as d
        where d.tenant_id = _link_state.tenant_id and d.id = v_link.parent_id;
        if v_parent.delegate_id = v_link.delegator_id and v_parent.may_redelegate
           and v_parent.valid_until >= v_link.valid_until then
            select a.* into v_above
            from authz._link_state(_link_state.tenant_id, v_parent.id, _link_state.permission, _link_state.resource_id,
                                   env, at, v_roles, links + 1) as a;
            next_edge := least(next_edge, v_above.next_edge);
            state := case when v_above.state in ('true', 'depth') then v_above.state else state end;
        end if;
    end if;
end
$$;

comment on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) is
    'What a delegation, with all links of the chain before it, comes to; null when it is about something else.';

revoke all on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) from public;
grant execute on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) to enterprise_ai_decider;


create or replace function authz._carries(tenant_id uuid, role_id uuid, permission_id integer)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return _carries.role_id is null or exists (
        select
        from authz.role_rights as r
        join authz.permissions as p on p.id = _carries.permission_id
        where r.tenant_id = _carries.tenant_id and r.role_id = _carries.role_id
          and authz._rights_at(r.rights, p.place) & 30 > 0);
end
$$;

comment on function authz._carries(uuid, uuid, integer) is
    'Whether a role is about a permission in any way, by itself or by what it inherits from; no role is about all.';

revoke all on function authz._carries(uuid, uuid, integer) from public;
grant execute on function authz._carries(uuid, uuid, integer) to enterprise_ai_decider;


create or replace function authz._roles_above(tenant_id uuid, role_id uuid)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return array(
        with recursive above (id) as (
            select _roles_above.role_id
            union
            select i.parent_id
            from above
            join authz.role_inheritance as i on i.tenant_id = _roles_above.tenant_id and i.role_id = above.id
        )
        select above.id from above);
end
$$;

comment on function authz._roles_above(uuid, uuid) is
    'A role and all that it inherits from, at whatever time: an edge that is not yet or no longer valid counts.';

revoke all on function authz._roles_above(uuid, uuid) from public;
grant execute on function authz._roles_above(uuid, uuid) to enterprise_ai_decider;
