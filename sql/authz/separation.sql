-- Static separation of duties: of what a policy counts nobody comes to hold more than it admits. Whoever changes
-- rights has taken their turn (authz.epochs), so two sessions cannot break together what neither breaks alone.
-- What will only count later, under a condition or once approved counts already, so time alone breaks nothing;
-- what has ended does not count, nor do denies, which can be lifted, nor emergencies, which are reviewed.

create or replace function authz._separation_violations(tenant_id uuid, user_ids uuid[] default null)
    returns table (policy_id uuid, user_id uuid, held bigint)
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with recursive policy (id, maximum_held) as (
        select p.id, p.maximum_held
        from authz.access_policies as p
        where p.tenant_id = _separation_violations.tenant_id and p.kind = 'static' and p.is_enabled
    ),
    -- A role stands for what is counted when it is it, carries it or inherits it.
    stands_for (policy_id, counted, role_id, goes_on) as (
        select c.policy_id, c.role_id::text, c.role_id, true
        from authz.access_policy_roles as c
        join policy on policy.id = c.policy_id
        where c.tenant_id = _separation_violations.tenant_id
        union
        select c.policy_id, c.permission_id::text, r.role_id, r.inheritable
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.role_permissions as r
            on r.tenant_id = _separation_violations.tenant_id and r.permission_id = c.permission_id
            and r.effect = 'allow' and (r.valid_until is null or r.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select s.policy_id, s.counted, i.role_id, true
        from stands_for as s
        join authz.role_inheritance as i
            on i.tenant_id = _separation_violations.tenant_id and i.parent_id = s.role_id
            and (i.valid_until is null or i.valid_until > now())
        where s.goes_on
    ),
    by_group (policy_id, counted, group_id) as (
        select s.policy_id, s.counted, a.group_id
        from stands_for as s
        join authz.group_roles as a
            on a.tenant_id = _separation_violations.tenant_id and a.role_id = s.role_id
            and (a.valid_until is null or a.valid_until > now())
        union
        select c.policy_id, c.permission_id::text, g.group_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.group_permissions as g
            on g.tenant_id = _separation_violations.tenant_id and g.permission_id = c.permission_id
            and g.effect = 'allow' and (g.valid_until is null or g.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select b.policy_id, b.counted, g.id
        from by_group as b
        join identity.groups as g
            on g.tenant_id = _separation_violations.tenant_id and g.parent_id = b.group_id
    ),
    held (policy_id, counted, user_id) as (
        select s.policy_id, s.counted, a.user_id
        from stands_for as s
        join authz.user_roles as a
            on a.tenant_id = _separation_violations.tenant_id and a.role_id = s.role_id
            and (a.valid_until is null or a.valid_until > now())
        union
        select s.policy_id, s.counted, d.delegate_id
        from stands_for as s
        join authz.delegations as d
            on d.tenant_id = _separation_violations.tenant_id and d.role_id = s.role_id and d.valid_until > now()
        union
        select s.policy_id, s.counted, u.id
        from stands_for as s
        join authz.roles as r
            on r.tenant_id = _separation_violations.tenant_id and r.id = s.role_id and r.for_everyone
        cross join identity.users as u
        where u.tenant_id = _separation_violations.tenant_id and u.deleted_at is null
        union
        select b.policy_id, b.counted, m.user_id
        from by_group as b
        join identity.group_members as m
            on m.tenant_id = _separation_violations.tenant_id and m.group_id = b.group_id
        union
        select c.policy_id, c.permission_id::text, g.user_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.user_permissions as g
            on g.tenant_id = _separation_violations.tenant_id and g.permission_id = c.permission_id
            and g.effect = 'allow' and (g.valid_until is null or g.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select c.policy_id, c.permission_id::text, d.delegate_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.delegations as d
            on d.tenant_id = _separation_violations.tenant_id and d.permission_id = c.permission_id
            and d.valid_until > now()
        where c.tenant_id = _separation_violations.tenant_id
    )
    select h.policy_id, h.user_id, count(*)
    from held as h
    join policy as p on p.id = h.policy_id
    where _separation_violations.user_ids is null or h.user_id = any (_separation_violations.user_ids)
    group by h.policy_id, h.user_id, p.maximum_held
    having count(*) > p.maximum_held
    order by 1, 2;
end
$$;

comment on function authz._separation_violations(uuid, uuid[]) is
    'Who, of these users or of all, holds more of what a static separation of duties counts than it admits.';

revoke all on function authz._separation_violations(uuid, uuid[]) from public;


create or replace function authz._separate_duties()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups, and see only part of what is counted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
    v_found record;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg(distinct (c.fields ->> tg_argv[0])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        if exists (
            select
            from authz.access_policies as p
            where p.tenant_id = v_tenant_id and p.kind = 'static' and p.is_enabled and p.enforcement = 'refuse'
        ) then
            select p.name, p.maximum_held, v.user_id, v.held into v_found
            from authz._separation_violations(v_tenant_id, case when tg_nargs > 0 then v_ids end) as v
            join authz.access_policies as p on p.tenant_id = v_tenant_id and p.id = v.policy_id
            where p.enforcement = 'refuse'
            limit 1;
            if found then
                raise exception 'User % would hold % of what "%" keeps apart', v_found.user_id, v_found.held, v_found.name
                    using errcode = 'ZA013',
                          detail = format('Nobody may hold more than %s of it; nothing has been changed.',
                                          v_found.maximum_held),
                          hint = 'Take from them what they hold already first, or let the policy only report.';
            end if;
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._separate_duties() is
    'After-statement trigger: refuses what breaks a static separation of duties (ZA013) for the users that the column
given as argument names, or without one for anybody.';

revoke all on function authz._separate_duties() from public;


create or replace function authz._check_policy_roles()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from authz.access_policies as p
        where p.tenant_id = new.tenant_id and p.id = new.policy_id and p.kind = 'dynamic'
    ) then
        raise exception 'A dynamic separation of duties counts permissions, not roles'
            using errcode = 'ZA014', hint = 'Name the permissions that one person may not use together.';
    end if;
    return new;
end
$$;

comment on function authz._check_policy_roles() is
    'Before-row trigger: what is used is a permission, whatever role it came by. Raises ZA014.';

revoke all on function authz._check_policy_roles() from public;
