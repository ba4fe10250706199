-- What decides by itself only reads. Whoever is about to act calls this instead: it takes the same decision, and
-- writes down what has to be: the use of a duty that is kept apart from others, the use of an emergency, and the
-- decision itself as far as the tenant logs them.

create or replace function authz.authorize(
    permission text,
    resource_id uuid default null,
    request jsonb default '{}')
    returns authz.decision
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_people uuid[] := array(
        select distinct p from unnest(array[v_user_id, (v_context ->> 'actor_id')::uuid]) as p
        where p is not null order by p);
    v_person uuid;
    v_decision authz.decision;
begin
    if v_user_id is null then
        raise exception 'An act is somebody''s, and the context has no user'
            using errcode = 'ZA001', hint = 'Open the context of the user who acts; authz.check answers about others.';
    end if;

    if exists (
        select
        from authz.access_policy_permissions as c
        join authz.permissions as p on p.id = c.permission_id
        where c.tenant_id = v_tenant_id and p.name = authorize.permission
    ) then
        if current_setting('transaction_isolation') = 'repeatable read' then
            raise exception 'Duties cannot be kept apart in a repeatable read transaction'
                using errcode = 'ZA005', hint = 'Act in a read committed or a serializable one; nothing has been changed.';
        end if;
        -- Two acts of one person at once come one after the other, and the second sees the first.
        foreach v_person in array v_people loop
            perform pg_advisory_xact_lock(hashtextextended('authz.duties ' || v_tenant_id || v_person, 0));
        end loop;
    end if;

    v_decision := authz._evaluate(v_context, v_user_id, authorize.permission, authorize.resource_id, authorize.request,
                                  clock_timestamp());
    if v_decision.effect = 'allow' and v_decision.obligations <> '{}' then
        perform authz._record_use(v_context, v_people, authorize.permission, authorize.resource_id,
                                  v_decision.obligations);
    end if;
    perform authz._log_decision(v_context, authorize.permission, authorize.resource_id, v_decision);
    return v_decision;
end
$$;

comment on function authz.authorize(text, uuid, jsonb) is
    'Decide for the user of the context, who is about to act, and record what is to be recorded: the use of duties that
are kept apart, the use of emergencies, the decision as the setting authz.decision_log says. The same decision as
authz.evaluate gives. Raises ZA001 without a user, and ZA005 in a repeatable read transaction when duties are at stake.';

revoke all on function authz.authorize(text, uuid, jsonb) from public;
grant execute on function authz.authorize(text, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function authz._record_use(
    context jsonb,
    people uuid[],
    permission text,
    resource_id uuid,
    obligations jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
begin
    insert into authz.duty_acts (tenant_id, policy_id, person_id, permission_id, resource_id, session_id)
    select v_tenant_id, d.policy_id, who.id, p.id,
           case when d.counted_per = 'resource' then _record_use.resource_id end,
           case when d.counted_per = 'session' then (context ->> 'session_id')::uuid end
    from authz.permissions as p
    cross join unnest(people) as who (id)
    cross join lateral (
        select c.id, c.counted_per
        from authz.access_policies as c
        where c.tenant_id = v_tenant_id
          and c.id in (select o.id::uuid from jsonb_array_elements_text(obligations -> 'duties') as o (id))
    ) as d (policy_id, counted_per)
    where p.name = _record_use.permission
    on conflict do nothing;

    insert into authz.break_glass_uses (tenant_id, event_id, permission, resource_id)
    select v_tenant_id, o.id::uuid, _record_use.permission, _record_use.resource_id
    from jsonb_array_elements_text(obligations -> 'break_glass') as o (id);
end
$$;

comment on function authz._record_use(jsonb, uuid[], text, uuid, jsonb) is
    'Write down what an allow obliges to: the duties that were used, and the emergencies that alone allowed it.';

revoke all on function authz._record_use(jsonb, uuid[], text, uuid, jsonb) from public;


create or replace function authz._log_decision(context jsonb, permission text, resource_id uuid, decision authz.decision)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_mode text := platform.setting('authz.decision_log') #>> '{}';
    v_percent numeric := 100;
    v_row authz.decision_log;
begin
    if v_mode = 'sample' and decision.effect = 'allow' then
        v_percent := (platform.setting('authz.decision_log_sample_percent') #>> '{}')::numeric;
    end if;
    if coalesce(v_mode, 'off') = 'off' or (v_mode = 'denials' and decision.effect = 'allow')
       or random() * 100 >= v_percent then
        return;
    end if;

    v_row.tenant_id := v_tenant_id;
    v_row.decided_at := clock_timestamp();
    v_row.id := platform.new_id();
    v_row.user_id := context ->> 'user_id';
    v_row.actor_id := context ->> 'actor_id';
    v_row.session_id := context ->> 'session_id';
    v_row.request_id := context ->> 'request_id';
    v_row.permission := coalesce(left(_log_decision.permission, 200), '');
    v_row.resource_id := _log_decision.resource_id;
    v_row.effect := decision.effect;
    v_row.reason := decision.reason;
    v_row.rule_ids := decision.rule_ids;
    v_row.missing := decision.missing;
    v_row.epoch := (select e.epoch from authz.epochs as e where e.tenant_id = v_tenant_id);
    v_row.sample_percent := v_percent;
    begin
        insert into authz.decision_log select (v_row).*;
    exception
        when check_violation then       -- nobody has made the month
            perform platform.ensure_partitions('authz.decision_log', (v_row.decided_at at time zone 'UTC')::date,
                                               (v_row.decided_at at time zone 'UTC')::date);
            insert into authz.decision_log select (v_row).*;
    end;
    if platform.setting('authz.decision_log_to_server') = 'true' then
        raise log 'authz decision %', jsonb_strip_nulls(to_jsonb(v_row));
    end if;
end
$$;

comment on function authz._log_decision(jsonb, text, uuid, authz.decision) is
    'Log a decision as the tenant''s setting authz.decision_log says: off, denials, sample (denials, and of what is allowed
authz.decision_log_sample_percent), full.';

revoke all on function authz._log_decision(jsonb, text, uuid, authz.decision) from public;
