set role enterprise_ai_decider;

create or replace function authz.evaluate(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_decision authz.decision;
begin
    v_decision := authz._evaluate(
        v_context, authz._asked_about(v_context, evaluate.user_id), evaluate.permission, evaluate.resource_id,
        evaluate.request, statement_timestamp());
    return v_decision;
end
$$;

comment on function authz.evaluate(text, uuid, uuid, jsonb) is
    'Decide whether the user of the context, or another one, has a permission (type.action) on a resource, or on
the type as such when there is none: effect, reason, the rules that decided, what would have to be done
(obligations), what was not known (missing), and until when the answer holds if nothing is changed
(expires_at). What the request says goes into the conditions'' $.env. Raises only without a context (ZA001)
and, about another user, without permission.read (ZA007).';

revoke all on function authz.evaluate(text, uuid, uuid, jsonb) from public;
grant execute on function authz.evaluate(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._evaluate(
    context jsonb,
    subject_id uuid,
    permission text,
    resource_id uuid,
    request jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_actor_id uuid := context ->> 'actor_id';
    v_env jsonb := authz._env(context, request);
    v_decision authz.decision;
begin
    v_decision := authz._decide(v_tenant_id, subject_id, permission, resource_id, v_env, at);
    if v_decision.effect = 'allow' and subject_id::text = context ->> 'user_id' then
        if context ? 'scopes' and not coalesce(context -> 'scopes' ? permission, false) then
            -- A key does what it was made for, and not all that its user may.
            v_decision.effect := 'deny';
            v_decision.reason := 'deny_default';
            v_decision.rule_ids := '{}';
        elsif v_actor_id <> subject_id then
            v_decision := authz._on_behalf(v_tenant_id, v_decision, subject_id, v_actor_id, permission, resource_id,
                                           v_env, at);
        end if;
    end if;
    return v_decision;
end
$$;

comment on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) is
    'Decide for a subject in a context: by its rights, the scopes of the key it came with, and who acts for it.';

revoke all on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._on_behalf(
    tenant_id uuid,
    decision authz.decision,
    subject_id uuid,
    actor_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_actor authz.decision;
    v_grant record;
    v_worst text;
begin
    v_actor := authz._decide(_on_behalf.tenant_id, _on_behalf.actor_id, permission, _on_behalf.resource_id, env, at, false);
    decision.expires_at := least(decision.expires_at, v_actor.expires_at);
    if v_actor.reason = 'deny_subject_inactive' or (v_actor.effect = 'deny' and v_actor.rule_ids <> '{}') then
        v_actor.expires_at := decision.expires_at;
        return v_actor;
    end if;

    for v_grant in
        select g.id, g.valid_from, g.valid_until, g.windows, state.of_it
        from authz.proxy_grants as g
        left join authz.permissions as p on p.id = g.permission_id
        cross join lateral (
            select case
                when g.valid_until <= at then 'expired'
                when g.valid_from > at then 'not_yet_valid'
                when num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) = 0 then 'true'
                else authz._criteria_state(
                    g.condition, g.networks, g.minimum_authentication_level, g.windows,
                    authz._facts(_on_behalf.tenant_id, _on_behalf.actor_id, _on_behalf.resource_id, env), at)
            end) as state (of_it)
        where g.tenant_id = _on_behalf.tenant_id and g.actor_id = _on_behalf.actor_id
          and g.user_id = _on_behalf.subject_id
          and (g.all_permissions or p.name = _on_behalf.permission)
          and (g.resource_id is null or exists (
              select
              from authz.resources as r
              where r.tenant_id = _on_behalf.tenant_id and r.id = _on_behalf.resource_id
                and g.resource_id = any (r.ancestors || r.id)))
        order by g.id
    loop
        decision.expires_at := least(
            decision.expires_at, case when v_grant.valid_from > at then v_grant.valid_from end,
            case when v_grant.valid_until > at then v_grant.valid_until end, authz._next_edge(v_grant.windows, at));
        if v_grant.of_it = 'true' then
            decision.rule_ids := decision.rule_ids || v_grant.id;
            return authz._separated(decision, _on_behalf.tenant_id, _on_behalf.actor_id, permission,
                                    _on_behalf.resource_id, env, at);
        end if;
        v_worst := v_grant.of_it;
    end loop;

    decision.effect := 'deny';
    decision.rule_ids := '{}';
    decision.reason := case v_worst
        when 'expired' then 'deny_expired'
        when 'not_yet_valid' then 'deny_not_yet_valid'
        when 'outside_window' then 'deny_outside_window'
        when 'unknown' then 'deny_condition_unknown'
        when 'malformed' then 'error_malformed_policy'
        else 'deny_default'
    end;
    return decision;
end
$$;

comment on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What is left of a decision when somebody else acts for the subject: there is a grant to act that covers it, and
nothing denies it to the actor. What the actor acts for others, or was delegated, gives nothing here.';

revoke all on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._env(context jsonb, request jsonb)
    returns jsonb
    language sql
    immutable
    parallel safe
as $$
    -- What the context knows cannot be said by the caller, not even when the context does not know it.
    select (case when jsonb_typeof(request) = 'object' then request else '{}' end
            - array['ip_address', 'authentication_level', 'user_agent', 'session_id', 'actor_id', 'scopes'])
           || (context - array['tenant_id', 'user_id'])
$$;

comment on function authz._env(jsonb, jsonb) is
    'What conditions see as $.env: the request''s own keys and, over them, what the context says.';

revoke all on function authz._env(jsonb, jsonb) from public;
grant execute on function authz._env(jsonb, jsonb) to enterprise_ai_decider;


create or replace function authz._asked_about(context jsonb, user_id uuid)
    returns uuid
    language plpgsql
    stable
    parallel restricted
as $$
begin
    if context is null then
        raise exception 'A decision needs a context, and none is open'
            using errcode = 'ZA001', hint = 'Open the context of a user first.';
    end if;
    if coalesce(user_id::text <> context ->> 'user_id', false)
       and not authz._is_allowed(context, (context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid,
                                 'permission.read', null, '{}') then
        raise exception 'User % may not ask what others may do', context ->> 'user_id'
            using errcode = 'ZA007', hint = 'It takes permission.read.';
    end if;
    return coalesce(user_id, (context ->> 'user_id')::uuid);
end
$$;

comment on function authz._asked_about(jsonb, uuid) is
    'Whom a question is about, when the caller may ask it. Whose context has no user is a service, which asks about
anybody in the tenant. Raises ZA001 without a context, ZA007.';

revoke all on function authz._asked_about(jsonb, uuid) from public;
grant execute on function authz._asked_about(jsonb, uuid) to enterprise_ai_decider;
