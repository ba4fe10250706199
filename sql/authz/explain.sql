set role enterprise_ai_decider;

create or replace function authz.explain(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns jsonb
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, explain.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_env jsonb := authz._env(v_context, explain.request);
    v_decision authz.decision;
    v_rules jsonb;
begin
    v_decision := authz._evaluate(v_context, v_subject_id, explain.permission, explain.resource_id, explain.request,
                                  statement_timestamp());
    select jsonb_agg(
               jsonb_strip_nulls(jsonb_build_object(
                   'rule_id', r.rule_id, 'source', r.source, 'effect', r.effect, 'state', r.state,
                   'assignment_id', r.assignment_id, 'role', held.name,
                   'inherited_from', nullif(carrier.name, held.name), 'on_resource', r.scope_id,
                   'until', r.next_edge, 'missing', r.missing, 'decided', r.rule_id = any (v_decision.rule_ids)))
               order by r.effect desc, r.state, r.rule_id, r.assignment_id)
    into v_rules
    from (
        select x.*
        from authz.permissions as p
        cross join lateral authz._rules(v_tenant_id, v_subject_id, p.id, explain.resource_id, v_env,
                                        statement_timestamp()) as x
        where p.name = explain.permission
        union all
        select d.rule_id, 'delegation', 'allow', null, null, null, null, d.state, d.next_edge, d.missing
        from authz._delegated(v_tenant_id, v_subject_id, explain.permission, explain.resource_id, v_env,
                              statement_timestamp()) as d
    ) as r
    left join authz.roles as held on held.tenant_id = v_tenant_id and held.id = r.role_id
    left join authz.roles as carrier on carrier.tenant_id = v_tenant_id and carrier.id = r.carrier_id;

    return jsonb_build_object(
        'permission', explain.permission, 'resource_id', explain.resource_id, 'user_id', v_subject_id,
        'actor_id', v_context -> 'actor_id', 'at', statement_timestamp(),
        'decision', to_jsonb(v_decision), 'rules', coalesce(v_rules, '[]'));
end
$$;

comment on function authz.explain(text, uuid, uuid, jsonb) is
    'The decision that authz.evaluate gives, with every rule that could bear on it and what each came to: true, or
why not (out_of_scope, not_own, expired, not_yet_valid, outside_window, false, unknown, malformed,
not_approved, delegator_lost_right, depth). Raises what authz.check raises.';

revoke all on function authz.explain(text, uuid, uuid, jsonb) from public;
grant execute on function authz.explain(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz.explain_text(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns text
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_explained jsonb := authz.explain(permission, resource_id, user_id, request);
    v_decision jsonb := v_explained -> 'decision';
begin
    return concat_ws(
        e'\n',
        format('%s: %s may%s %s%s', v_decision ->> 'reason', v_explained ->> 'user_id',
               case v_decision ->> 'effect' when 'deny' then ' not' else '' end, permission,
               ' on ' || resource_id),
        '  missing: ' || nullif(translate(v_decision ->> 'missing', '[]"', ''), ''),
        '  it would take: ' || nullif(v_decision ->> 'obligations', '{}'),
        '  holds until: ' || (v_decision ->> 'expires_at'),
        (select string_agg(
                    format('  %s %s: %s by %s%s%s%s', case when (r.rule ->> 'decided')::boolean then '*' else '-' end,
                           r.rule ->> 'state', r.rule ->> 'effect', replace(r.rule ->> 'source', '_', ' '),
                           ' ' || (r.rule ->> 'role'), ' from ' || (r.rule ->> 'inherited_from'),
                           ' on ' || (r.rule ->> 'on_resource')),
                    e'\n' order by r.place)
         from jsonb_array_elements(v_explained -> 'rules') with ordinality as r (rule, place)));
end
$$;

comment on function authz.explain_text(text, uuid, uuid, jsonb) is
    'What authz.explain says, for people to read; the rules that decided are marked with a star.';

revoke all on function authz.explain_text(text, uuid, uuid, jsonb) from public;
grant execute on function authz.explain_text(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;
