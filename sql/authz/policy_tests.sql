-- What must stay so, written down as a row: somebody may, or may not, do something. Run before and after a change.

create or replace function authz.save_policy_test(
    name text,
    user_id uuid,
    permission text,
    expected_effect text,
    resource_id uuid default null,
    env jsonb default '{}',
    expected_reason text default null,
    decided_at timestamptz default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
    v_id uuid;
begin
    -- A misspelt permission is denied to everybody, so its test would pass for ever.
    if not exists (select from authz.permissions as p where p.name = save_policy_test.permission) then
        raise exception 'There is no permission %', permission
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    insert into authz.policy_tests (
        tenant_id, name, user_id, permission, resource_id, env, decided_at, expected_effect, expected_reason)
    values (v_tenant_id, save_policy_test.name, save_policy_test.user_id, save_policy_test.permission,
            save_policy_test.resource_id, save_policy_test.env, save_policy_test.decided_at,
            save_policy_test.expected_effect, save_policy_test.expected_reason)
    on conflict on constraint policy_tests_name_key do update
        set user_id = excluded.user_id,
            permission = excluded.permission,
            resource_id = excluded.resource_id,
            env = excluded.env,
            decided_at = excluded.decided_at,
            expected_effect = excluded.expected_effect,
            expected_reason = excluded.expected_reason
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz) is
    'Write down, or change by its name, what a decision must be: allow or deny, and why if that matters; returns its id. env
holds the facts of the request, also those that a context would know (ip_address, authentication_level, session_id,
actor_id); decided_at a moment other than that of the run. It takes permission.manage_policies (ZA010).
Raises ZA011 for an unknown permission.';

revoke all on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz) from public;
grant execute on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz)
    to enterprise_ai_app;


create or replace function authz.delete_policy_test(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.policy_tests as t
    where t.tenant_id = v_tenant_id and t.name = delete_policy_test.name;
    return found;
end
$$;

comment on function authz.delete_policy_test(text) is
    'Delete a policy test; false when there is none of that name. It takes permission.manage_policies (ZA010).';

revoke all on function authz.delete_policy_test(text) from public;
grant execute on function authz.delete_policy_test(text) to enterprise_ai_app;


create or replace function authz._policy_test_outcomes(context jsonb)
    returns table (
        name text, is_passed boolean, expected_effect text, expected_reason text, effect text, reason text)
    language plpgsql
    volatile                -- sees the changes that a simulation has made
    parallel unsafe
as $$
#variable_conflict use_column
begin
    return query
    select t.name, d.effect = t.expected_effect and coalesce(d.reason = t.expected_reason, true),
           t.expected_effect, t.expected_reason, d.effect, d.reason
    from authz.policy_tests as t
    cross join lateral authz._evaluate(
        t.env || jsonb_build_object('tenant_id', t.tenant_id, 'user_id', t.user_id), t.user_id, t.permission,
        t.resource_id, '{}', coalesce(t.decided_at, statement_timestamp())) as d
    where t.tenant_id = (context ->> 'tenant_id')::uuid
    order by t.name;
end
$$;

comment on function authz._policy_test_outcomes(jsonb) is 'The policy tests of a tenant, with what came of each.';

revoke all on function authz._policy_test_outcomes(jsonb) from public;


create or replace function authz._policy_test_results(context jsonb)
    returns jsonb
    language plpgsql
    volatile                -- sees the changes that a simulation has made
    parallel unsafe
as $$
begin
    return (
        select coalesce(jsonb_object_agg(o.name, case when o.is_passed then 'passes' else 'fails' end), '{}')
        from authz._policy_test_outcomes(context) as o);
end
$$;

comment on function authz._policy_test_results(jsonb) is 'Whether each policy test of a tenant passes, by name.';

revoke all on function authz._policy_test_results(jsonb) from public;


create or replace function authz.run_policy_tests()
    returns table (
        name text, is_passed boolean, expected_effect text, expected_reason text, effect text, reason text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides from tables of which the caller sees only part
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform authz._refuse_unless_reader(platform.context());
    return query select o.* from authz._policy_test_outcomes(platform.context()) as o;
end
$$;

comment on function authz.run_policy_tests() is
    'Run the policy tests of the tenant: what each expects and what it gets. It takes permission.read (ZA007).';

revoke all on function authz.run_policy_tests() from public;
grant execute on function authz.run_policy_tests() to enterprise_ai_app;
