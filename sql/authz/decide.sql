-- One decision, in full. Whatever answers a question about rights gives this answer; what is quicker
-- (authz.check, authz.check_many) only leaves out what cannot change it.

create or replace function authz._decide(
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz,
    with_delegations boolean default true)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_decision authz.decision;
    v_permission authz.permissions;
    v_resource_type text;
    v_rule record;
    v_denied boolean := false;
    v_allowed boolean := false;
    v_worst integer := 0;
    v_allowing uuid[] := '{}';
    v_break_glass uuid[] := '{}';
    v_missing text[] := '{}';
    -- The more it says about what is in the way, the later.
    v_states constant text[] := array['delegator_lost_right', 'depth', 'expired', 'not_yet_valid', 'outside_window',
                                      'unknown', 'malformed'];
    v_reasons constant text[] := array['deny_delegator_lost_right', 'deny_depth', 'deny_expired',
                                       'deny_not_yet_valid', 'deny_outside_window', 'deny_condition_unknown',
                                       'error_malformed_policy'];
begin
    v_decision.effect := 'deny';
    v_decision.rule_ids := '{}';
    v_decision.obligations := '{}';
    v_decision.missing := '{}';

    if not authz._is_active(_decide.tenant_id, _decide.subject_id) then
        v_decision.reason := 'deny_subject_inactive';
        return v_decision;
    end if;

    select p.* into v_permission from authz.permissions as p where p.name = _decide.permission;
    if v_permission.id is not null and _decide.resource_id is not null then
        select r.resource_type into v_resource_type
        from authz.resources as r
        where r.tenant_id = _decide.tenant_id and r.id = _decide.resource_id;
        -- What can be done to a message can be asked of the conversation that it lies in.
        if v_resource_type is distinct from v_permission.resource_type
           and not exists (
               select from authz.resource_types as t
               where t.name = v_permission.resource_type and t.parent_type = v_resource_type) then
            v_permission := null;
        end if;
    end if;
    if v_permission.id is null then
        v_decision.reason := 'deny_not_found';
        return v_decision;
    end if;

    for v_rule in
        select r.rule_id, r.source, r.effect, r.assignment_id, r.state, r.next_edge, r.missing
        from authz._rules(_decide.tenant_id, _decide.subject_id, v_permission.id, _decide.resource_id, _decide.env,
                          _decide.at) as r
        union all
        select d.rule_id, 'delegation', 'allow', null, d.state, d.next_edge, d.missing
        from authz._delegated(_decide.tenant_id, _decide.subject_id, _decide.permission, _decide.resource_id,
                              _decide.env, _decide.at) as d
        where _decide.with_delegations
    loop
        v_decision.expires_at := least(v_decision.expires_at, v_rule.next_edge);
        v_missing := v_missing || coalesce(v_rule.missing, '{}');
        if v_rule.effect = 'deny' then
            if v_rule.state in ('true', 'unknown', 'malformed') then
                v_denied := true;
                v_decision.rule_ids := v_decision.rule_ids || v_rule.rule_id;
                -- What a deny says for sure is the firmer reason.
                v_decision.reason := case
                    when v_rule.state = 'true' or v_decision.reason = 'deny_explicit' then 'deny_explicit'
                    when v_rule.state = 'unknown' or v_decision.reason = 'deny_condition_unknown' then
                        'deny_condition_unknown'
                    else 'error_malformed_policy'
                end;
            end if;
        elsif v_rule.state = 'true' then
            v_allowed := true;
            v_allowing := v_allowing || v_rule.rule_id;
            v_break_glass := v_break_glass || case v_rule.source when 'break_glass' then v_rule.assignment_id end;
        else
            v_worst := greatest(v_worst, coalesce(array_position(v_states, v_rule.state), 0));
        end if;
    end loop;

    if v_missing <> '{}' then
        v_decision.missing := array(select distinct m from unnest(v_missing) as m order by m);
    end if;
    if v_denied then
        return v_decision;
    elsif not v_allowed then
        v_decision.reason := coalesce(v_reasons[v_worst], 'deny_default');
        return v_decision;
    end if;

    if v_permission.minimum_authentication_level > 1
       and coalesce(authz._level(_decide.env), 0) < v_permission.minimum_authentication_level then
        v_decision.obligations := jsonb_build_object(
            'authentication_level', v_permission.minimum_authentication_level);
        v_decision.reason := 'deny_default';
        if authz._level(_decide.env) is null then
            v_decision.reason := 'deny_condition_unknown';
            v_decision.missing := array(
                select distinct m from unnest(v_decision.missing || array['env.authentication_level']) as m order by m);
        end if;
        return v_decision;
    end if;

    v_decision.effect := 'allow';
    v_decision.reason := 'allow';
    v_decision.rule_ids := array(select distinct id from unnest(v_allowing) as id order by id);
    if cardinality(array_remove(v_break_glass, null)) = cardinality(v_allowing) then
        -- It is the emergency alone that allows this, which whoever serves it should say and record.
        v_decision.obligations := jsonb_build_object('break_glass', to_jsonb(v_break_glass));
    end if;
    if exists (
        select
        from authz.access_policy_permissions as c
        where c.tenant_id = _decide.tenant_id and c.permission_id = v_permission.id
    ) then
        v_decision := authz._separated(v_decision, _decide.tenant_id, _decide.subject_id, _decide.permission,
                                       _decide.resource_id, _decide.env, _decide.at);
    end if;
    return v_decision;
end
$$;

comment on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) is
    'Decide for a subject by itself, that is without regard to who acts on its behalf.';

revoke all on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) from public;
grant execute on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) to enterprise_ai_decider;


create or replace function authz._is_active(tenant_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return exists (
        select
        from authz.holders as h
        join authz.role_sets as s on s.tenant_id = _is_active.tenant_id and s.id = h.role_set_id
        where h.tenant_id = _is_active.tenant_id and h.holder_id = _is_active.user_id and h.is_active and s.is_active);
end
$$;

comment on function authz._is_active(uuid, uuid) is 'Whether both the tenant and the user are active.';

revoke all on function authz._is_active(uuid, uuid) from public;
grant execute on function authz._is_active(uuid, uuid) to enterprise_ai_decider;


create or replace function authz._level(env jsonb)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    select case when env ->> 'authentication_level' ~ '^[1-3]$' then (env ->> 'authentication_level')::integer end
$$;

comment on function authz._level(jsonb) is 'The level at which the user has signed in; null when it is not known.';

revoke all on function authz._level(jsonb) from public;
grant execute on function authz._level(jsonb) to enterprise_ai_decider;
