-- Roles that people have for what they are, not because somebody gave them: the department, the title, the manager,
-- the address. Evaluated in the transaction that changes a person or a rule, after taking a turn, so that of two
-- who change one each the second sees the other. What a rule gives is its own (user_roles.source); it touches no
-- assignment made by hand.

create or replace function authz._check_assignment_rule()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fault text := authz._fault_of_condition(new.condition, 'subject');
begin
    if v_fault is not null then
        raise exception 'The condition % cannot be used: %', new.condition, v_fault
            using errcode = 'ZA006', hint = 'Write a predicate like: strict $.subject.department == "Finance"';
    end if;
    return new;
end
$$;

comment on function authz._check_assignment_rule() is
    'Before-row trigger: the condition of a rule is a predicate about the person alone. Raises ZA006.';

revoke all on function authz._check_assignment_rule() from public;


create or replace function authz._missing_assignments(tenant_id uuid, user_ids uuid[], rule_ids uuid[])
    returns table (rule_id uuid, user_id uuid, role_id uuid, resource_id uuid, holders_limit integer)
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select r.id, u.id, r.role_id, r.resource_id, held.holders_limit
    from authz.assignment_rules as r
    join authz.roles as held on held.tenant_id = _missing_assignments.tenant_id and held.id = r.role_id
    join identity.users as u on u.tenant_id = _missing_assignments.tenant_id and u.deleted_at is null
    where r.tenant_id = _missing_assignments.tenant_id and r.is_enabled
      and (_missing_assignments.rule_ids is null or r.id = any (_missing_assignments.rule_ids))
      and (_missing_assignments.user_ids is null or u.id = any (_missing_assignments.user_ids))
      and authz._rule_holds(_missing_assignments.tenant_id, u.id, r.condition)
      and not exists (
          select
          from authz.user_roles as a
          where a.tenant_id = _missing_assignments.tenant_id and a.user_id = u.id and a.role_id = r.role_id
            and a.source = 'rule' and a.source_id = r.id)
    order by r.id, u.id;
end
$$;

comment on function authz._missing_assignments(uuid, uuid[], uuid[]) is
    'What these rules, or all, would give these users, or all, and has not been given.';

revoke all on function authz._missing_assignments(uuid, uuid[], uuid[]) from public;


create or replace function authz._rule_holds(tenant_id uuid, user_id uuid, condition jsonpath)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return coalesce(
        jsonb_path_match(authz._facts(_rule_holds.tenant_id, _rule_holds.user_id, null, '{}'), condition, '{}', true), false);
exception
    when others then return false;      -- malformed, and written past the checks
end
$$;

comment on function authz._rule_holds(uuid, uuid, jsonpath) is
    'Whether the condition of a rule is true of a person; what is missing makes it no truer.';

revoke all on function authz._rule_holds(uuid, uuid, jsonpath) from public;


create or replace function authz._apply_assignment_rules(
    tenant_id uuid, user_ids uuid[] default null, rule_ids uuid[] default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_done boolean := false;
    v_missing record;
begin
    if not exists (
        select
        from authz.assignment_rules as r
        -- Not while the tenant is being deleted with all its rows.
        join identity.tenants as t on t.id = _apply_assignment_rules.tenant_id and t.status <> 'deleting'
        where r.tenant_id = _apply_assignment_rules.tenant_id
    ) then
        return;
    end if;
    delete from authz.user_roles as a
    where a.tenant_id = _apply_assignment_rules.tenant_id and a.source = 'rule'
      and (_apply_assignment_rules.rule_ids is null or a.source_id = any (_apply_assignment_rules.rule_ids))
      and (_apply_assignment_rules.user_ids is null or a.user_id = any (_apply_assignment_rules.user_ids))
      and not exists (
          select
          from authz.assignment_rules as r
          join identity.users as u on u.tenant_id = _apply_assignment_rules.tenant_id and u.id = a.user_id
          where r.tenant_id = _apply_assignment_rules.tenant_id and r.id = a.source_id and r.is_enabled
            and r.role_id = a.role_id and r.resource_id is not distinct from a.resource_id and u.deleted_at is null
            and authz._rule_holds(_apply_assignment_rules.tenant_id, a.user_id, r.condition));

    -- All at once where nothing stands in the way, else one by one: one who may not have the role because of a
    -- separation of duties, or a full role, keeps nobody else from it, and no change of a person from being made.
    begin
        insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, source, source_id)
        select _apply_assignment_rules.tenant_id, m.user_id, m.role_id, m.resource_id, 'rule', m.rule_id
        from authz._missing_assignments(
            _apply_assignment_rules.tenant_id, _apply_assignment_rules.user_ids, _apply_assignment_rules.rule_ids) as m
        where m.holders_limit is null;
        v_is_done := true;
    exception
        when sqlstate 'ZA013' then null;
    end;
    for v_missing in
        select m.*
        from authz._missing_assignments(
            _apply_assignment_rules.tenant_id, _apply_assignment_rules.user_ids, _apply_assignment_rules.rule_ids) as m
        where not v_is_done or m.holders_limit is not null
    loop
        begin
            insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, source, source_id)
            select _apply_assignment_rules.tenant_id, v_missing.user_id, v_missing.role_id, v_missing.resource_id, 'rule',
                   v_missing.rule_id
            where v_missing.holders_limit is null or v_missing.holders_limit > (
                select count(distinct a.user_id)
                from authz.user_roles as a
                where a.tenant_id = _apply_assignment_rules.tenant_id and a.role_id = v_missing.role_id
                  and a.user_id <> v_missing.user_id);
        exception
            when sqlstate 'ZA013' then null;
        end;
    end loop;
end
$$;

comment on function authz._apply_assignment_rules(uuid, uuid[], uuid[]) is
    'Bring what these rules, or all, have given these users, or all, in step with what they say. What a separation of duties
or a limit of holders forbids is left out; authz.lint() lists it.';

revoke all on function authz._apply_assignment_rules(uuid, uuid[], uuid[]) from public;


create or replace function authz._apply_rules()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever changes a person cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
    v_tenant_id uuid := v_row ->> 'tenant_id';
    v_context text := authz._enter_tenant(v_tenant_id);
    v_ids uuid[] := array[(v_row ->> tg_argv[1])::uuid];
begin
    if tg_argv[0] = 'rule' and tg_op = 'DELETE' then
        delete from authz.user_roles as a
        where a.tenant_id = v_tenant_id and a.source = 'rule' and a.source_id = any (v_ids);
    elsif tg_argv[0] = 'rule' then
        perform authz._apply_assignment_rules(v_tenant_id, null, v_ids);
    else
        perform authz._apply_assignment_rules(v_tenant_id, v_ids, null);
    end if;
    perform authz._leave_tenant(v_context);
    return null;
end
$$;

comment on function authz._apply_rules() is
    'After-row trigger: applies the rule, or all rules to the person (first argument), that the column (second argument) names.';

revoke all on function authz._apply_rules() from public;


create or replace function authz._apply_rules_to_changed()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever makes people cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg((c.fields ->> tg_argv[0])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._apply_assignment_rules(v_tenant_id, v_ids, null);
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._apply_rules_to_changed() is
    'After-statement trigger: applies all rules to the people that the column given as argument names.';

revoke all on function authz._apply_rules_to_changed() from public;


create or replace function authz.save_assignment_rule(
    name text,
    role_name text,
    condition jsonpath,
    resource_id uuid default null,
    is_enabled boolean default true)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.manage_policies');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_role_id uuid := authz._role_named(v_tenant_id, role_name);
    v_id uuid;
begin
    v_context := authz._giver('role.assign');
    perform authz._refuse_excess(v_context, v_role_id, role_name);
    insert into authz.assignment_rules (tenant_id, name, role_id, resource_id, condition, is_enabled, created_by)
    values (v_tenant_id, save_assignment_rule.name, v_role_id, save_assignment_rule.resource_id,
            save_assignment_rule.condition, save_assignment_rule.is_enabled, (v_context ->> 'user_id')::uuid)
    on conflict on constraint assignment_rules_name_key do update
        set role_id = excluded.role_id,
            resource_id = excluded.resource_id,
            condition = excluded.condition,
            is_enabled = excluded.is_enabled,
            created_by = excluded.created_by
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) is
    'Give a role, in the tenant or on a resource, to all of whom a condition on $.subject is true, for as long as it is; or
change such a rule by its name. Returns its id. It takes permission.manage_policies, role.assign and everything that the
role carries (ZA010). Raises ZA011 for an unknown role, ZA006 for a condition that cannot be used.';

revoke all on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) from public;
grant execute on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) to enterprise_ai_app;


create or replace function authz.delete_assignment_rule(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.assignment_rules as r
    where r.tenant_id = v_tenant_id and r.name = delete_assignment_rule.name;
    return found;
end
$$;

comment on function authz.delete_assignment_rule(text) is
    'Delete a rule, and take back what it gave; false when there is none of that name. It takes permission.manage_policies
(ZA010).';

revoke all on function authz.delete_assignment_rule(text) from public;
grant execute on function authz.delete_assignment_rule(text) to enterprise_ai_app;
