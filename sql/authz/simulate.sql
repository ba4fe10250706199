-- What would change if … : the changes are really made, with all that follows from them and all that refuses them,
-- in a subtransaction that is then rolled back. No row, no notification and no epoch is left of it.

create or replace function authz.simulate(changes jsonb, checks jsonb default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_at constant timestamptz := statement_timestamp();
    v_checks jsonb;
    v_change record;
    v_outcomes jsonb := '[]';
    v_before jsonb;
    v_after jsonb;
    v_tests_before jsonb;
    v_tests_after jsonb;
begin
    perform authz._refuse_unless_reader(v_context, 'permission.grant');
    if jsonb_typeof(changes) is distinct from 'array' or jsonb_typeof(coalesce(checks, '[]')) <> 'array' then
        raise exception 'Changes and checks are lists'
            using errcode = 'ZA009', hint = 'As in [{"do": "assign_role", "user_id": "…", "role": "viewer"}].';
    end if;
    if exists (
        select from jsonb_array_elements(checks) as c
        where case
                  when jsonb_typeof(c) <> 'object' then true
                  else c ->> 'user_id' is null or c ->> 'permission' is null
                       or c - '{user_id,permission,resource_id,request}'::text[] <> '{}'
              end
    ) then
        raise exception 'A check names a user_id and a permission, and may have resource_id and request'
            using errcode = 'ZA009', hint = 'As in [{"user_id": "…", "permission": "document.read"}].';
    end if;
    v_checks := coalesce(checks, authz._checks_of(v_tenant_id, changes));
    if jsonb_array_length(v_checks) > 10000 then
        raise exception 'These are % checks, and 10000 are the most', jsonb_array_length(v_checks)
            using errcode = 'ZA009', hint = 'Name the checks that matter, or make fewer changes at a time.';
    end if;
    v_before := authz._answers(v_context, v_checks, v_at);
    v_tests_before := authz._policy_test_results(v_context);
    begin
        for v_change in select c.value, c.place from jsonb_array_elements(changes) with ordinality as c (value, place) loop
            v_outcomes := v_outcomes || authz._try_change(v_tenant_id, v_change.value, v_change.place);
        end loop;
        v_after := authz._answers(v_context, v_checks, v_at);
        v_tests_after := authz._policy_test_results(v_context);
        raise sqlstate 'ZA000';         -- takes everything back; what the variables hold stays
    exception
        when sqlstate 'ZA000' then null;
    end;

    return jsonb_build_object(
        'changes', v_outcomes,
        'checked', jsonb_array_length(v_checks),
        'flips', (
            select coalesce(jsonb_agg(c.value || jsonb_build_object('before', b.value, 'after', a.value) order by c.place), '[]')
            from jsonb_array_elements(v_checks) with ordinality as c (value, place)
            join jsonb_array_elements(v_before) with ordinality as b (value, place) on b.place = c.place
            join jsonb_array_elements(v_after) with ordinality as a (value, place) on a.place = c.place
            where a.value ->> 'effect' <> b.value ->> 'effect'),
        'tests', (
            select coalesce(jsonb_agg(jsonb_build_object('name', b.key, 'before', b.value, 'after', v_tests_after -> b.key)
                                      order by b.key), '[]')
            from jsonb_each(v_tests_before) as b
            where v_tests_after -> b.key <> b.value));
end
$$;

comment on function authz.simulate(jsonb, jsonb) is
    'What a list of changes would change, without making them: {"changes": [whether each would be applied, or refused and
why], "checked": n, "flips": [each check whose answer would turn, with before and after], "tests": [policy tests that would
come to pass or fail]}. A check is {"user_id", "permission", "resource_id"?, "request"?}; without a list every permission is
asked for all users that the changes name, on the type and on the resources they name. It takes permission.read and
permission.grant (ZA007). Raises ZA001 without a user, ZA009 for what is no list of such, or too long.';

revoke all on function authz.simulate(jsonb, jsonb) from public;
grant execute on function authz.simulate(jsonb, jsonb) to enterprise_ai_app;


create or replace function authz._refuse_unless_reader(context jsonb, also text default null)
    returns void
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_lacking text;
begin
    if context ->> 'user_id' is null then
        raise exception 'Who asks about rights is a user, and the context has none'
            using errcode = 'ZA001', hint = 'Open the context of the user who asks.';
    end if;
    select p || coalesce(', signed in at level ' || (d.obligations ->> 'authentication_level'), '') into v_lacking
    from unnest(array['permission.read', also]) as p
    cross join lateral authz._evaluate(context, (context ->> 'user_id')::uuid, p, null, '{}', statement_timestamp()) as d
    where p is not null and d.effect = 'deny'
    limit 1;
    if v_lacking is not null then
        raise exception 'User % may not look into this', context ->> 'user_id'
            using errcode = 'ZA007', hint = 'It takes ' || v_lacking || '.';
    end if;
end
$$;

comment on function authz._refuse_unless_reader(jsonb, text) is
    'Raise ZA007 unless the user of a context has permission.read, and what else is named; ZA001 without a user.';

revoke all on function authz._refuse_unless_reader(jsonb, text) from public;


create or replace function authz._answers(context jsonb, checks jsonb, at timestamptz)
    returns jsonb
    language plpgsql
    volatile                -- sees the changes that the caller has made
    parallel unsafe
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object('effect', d.effect, 'reason', d.reason) order by c.place), '[]')
        from jsonb_array_elements(checks) with ordinality as c (value, place)
        cross join lateral authz._evaluate(
            context, (c.value ->> 'user_id')::uuid, c.value ->> 'permission', (c.value ->> 'resource_id')::uuid,
            coalesce(c.value -> 'request', '{}'), _answers.at) as d);
end
$$;

comment on function authz._answers(jsonb, jsonb, timestamptz) is 'The decisions on a list of checks, in their order.';

revoke all on function authz._answers(jsonb, jsonb, timestamptz) from public;


create or replace function authz._checks_of(tenant_id uuid, changes jsonb)
    returns jsonb
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return (
        with named (user_id, group_id, resource_id) as (
            select c ->> 'user_id', c ->> 'group_id', c ->> 'resource_id' from jsonb_array_elements(changes) as c
        ),
        people (id) as (
            select n.user_id from named as n where n.user_id is not null
            union
            select m.user_id::text
            from identity.group_members as m
            where m.tenant_id = _checks_of.tenant_id and m.group_id::text in (select n.group_id from named as n)
        )
        select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                            'user_id', people.id, 'permission', p.name, 'resource_id', what.resource_id))), '[]')
        from people
        cross join authz.permissions as p
        cross join (
            select null as resource_id, null as resource_type
            union
            select r.id::text, r.resource_type
            from authz.resources as r
            where r.tenant_id = _checks_of.tenant_id and r.id::text in (select n.resource_id from named as n)
        ) as what
        where what.resource_id is null or what.resource_type = p.resource_type);
end
$$;

comment on function authz._checks_of(uuid, jsonb) is
    'Every permission of all users that a list of changes names, on the type and on the resources that it names.';

revoke all on function authz._checks_of(uuid, jsonb) from public;


create or replace function authz._try_change(tenant_id uuid, change jsonb, place bigint)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    perform authz._apply_change(_try_change.tenant_id, change);
    return jsonb_build_object('change', place, 'outcome', 'applied');
exception
    -- What another session or the server itself is in the way of says nothing about the change.
    when transaction_rollback or insufficient_resources or operator_intervention or lock_not_available
        or read_only_sql_transaction then raise;
    when others then
        return jsonb_build_object('change', place, 'outcome', 'refused', 'sqlstate', sqlstate, 'message', sqlerrm);
end
$$;

comment on function authz._try_change(uuid, jsonb, bigint) is 'Make one change of a simulation, and say what came of it.';

revoke all on function authz._try_change(uuid, jsonb, bigint) from public;
