-- What is wrong with the rights in a tenant without being an error: rules that do nothing, that say what is said
-- already, that say too much, and duties of governance left undone. Each finding names the row it is about.

create or replace function authz.lint()
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    volatile                -- its parts are
    parallel unsafe
    security definer        -- looks at tables of which the caller sees only part
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.context() ->> 'tenant_id';
begin
    perform authz._refuse_unless_reader(platform.context());
    return query
        select f.* from authz._lint_assignments(v_tenant_id) as f
        union all
        select f.* from authz._lint_rules(v_tenant_id) as f
        union all
        select f.* from authz._lint_roles(v_tenant_id) as f
        union all
        select f.* from authz._lint_governance(v_tenant_id) as f
        order by 1, 3, 4;
end
$$;

comment on function authz.lint() is
    'What somebody should look at: finding (expired, inactive_subject, denied_anyway, redundant, over_broad, role_unheld,
permission_unused, separation_broken, separation_unrecorded, rule_withheld, review_overdue, emergency_unreviewed), severity
(note, warning, error), the kind and id of the row it is about, and a sentence. It takes permission.read (ZA007).';

revoke all on function authz.lint() from public;
grant execute on function authz.lint() to enterprise_ai_app;


create or replace function authz._lint_assignments(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    select 'expired', 'note', a.kind, a.id, format('It ended at %s and does nothing any more', a.valid_until)
    from authz._assignments(_lint_assignments.tenant_id) as a
    where a.valid_until <= statement_timestamp()
    union all
    select 'expired', 'note', 'role_permission', p.id, format('It ended at %s and does nothing any more', p.valid_until)
    from authz.role_permissions as p
    where p.tenant_id = _lint_assignments.tenant_id and p.valid_until <= statement_timestamp()
    union all
    select 'inactive_subject', 'warning', a.kind, a.id,
           format('User %s, who has it, is %s', a.subject_id, case when u.deleted_at is null then u.status else 'deleted' end)
    from authz._assignments(_lint_assignments.tenant_id) as a
    join identity.users as u on u.tenant_id = _lint_assignments.tenant_id and u.id = a.subject_id
    where not a.is_group and (u.deleted_at is not null or u.status in ('deactivated', 'erased'));
end
$$;

comment on function authz._lint_assignments(uuid) is 'Assignments that do nothing.';

revoke all on function authz._lint_assignments(uuid) from public;


create or replace function authz._lint_rules(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    with recursive above (role_id, carrier_id) as (
        select r.id, r.id from authz.roles as r where r.tenant_id = _lint_rules.tenant_id
        union
        select a.role_id, i.parent_id
        from above as a
        join authz.role_inheritance as i
            on i.tenant_id = _lint_rules.tenant_id and i.role_id = a.carrier_id
            and i.valid_from is null and i.valid_until is null
    ),
    -- What a role says always and everywhere.
    said (role_id, permission_id, effect) as (
        select distinct a.role_id, p.permission_id, p.effect
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _lint_rules.tenant_id and p.role_id = a.carrier_id
            and (p.inheritable or a.carrier_id = a.role_id)
            and not p.is_conditional and p.resource_id is null and not p.only_own
    ),
    told (user_id, permission_id, effect) as (
        select h.user_id, s.permission_id, s.effect
        from authz.user_roles as h
        join said as s on s.role_id = h.role_id
        where h.tenant_id = _lint_rules.tenant_id and not h.is_conditional and h.resource_id is null
          and (h.granted_by is null or h.approved_by is not null or not exists (
                   select from authz.permissions as p where p.id = s.permission_id and p.requires_approval))
        union
        select g.user_id, g.permission_id, g.effect
        from authz.user_permissions as g
        where g.tenant_id = _lint_rules.tenant_id and g.effect = 'deny' and not g.is_conditional and g.resource_id is null
    )
    select 'denied_anyway', 'warning', 'role_permission', p.id,
           format('Role %s allows %s, and denies it by itself or by what it inherits', r.name, c.name)
    from authz.role_permissions as p
    join said as s on s.role_id = p.role_id and s.permission_id = p.permission_id and s.effect = 'deny'
    join authz.roles as r on r.tenant_id = _lint_rules.tenant_id and r.id = p.role_id
    join authz.permissions as c on c.id = p.permission_id
    where p.tenant_id = _lint_rules.tenant_id and p.effect = 'allow'
    union all
    select 'denied_anyway', 'warning', 'user_permission', g.id,
           format('User %s is denied %s always, so this allows nothing', g.user_id, c.name)
    from authz.user_permissions as g
    join told as t on t.user_id = g.user_id and t.permission_id = g.permission_id and t.effect = 'deny'
    join authz.permissions as c on c.id = g.permission_id
    where g.tenant_id = _lint_rules.tenant_id and g.effect = 'allow'
    union all
    select 'redundant', 'note', 'user_permission', g.id,
           format('User %s has %s by a role already, everywhere and always', g.user_id, c.name)
    from authz.user_permissions as g
    join told as t on t.user_id = g.user_id and t.permission_id = g.permission_id and t.effect = 'allow'
    join authz.permissions as c on c.id = g.permission_id
    where g.tenant_id = _lint_rules.tenant_id and g.effect = 'allow'
    union all
    select 'over_broad', 'error', 'role', r.id, format('Everyone has %s, which %s, by role %s', c.name,
           case when c.requires_approval then 'requires approval' else 'asks for a second factor' end, r.name)
    from authz.roles as r
    join said as s on s.role_id = r.id and s.effect = 'allow'
    join authz.permissions as c
        on c.id = s.permission_id and (c.requires_approval or c.minimum_authentication_level > 1)
    where r.tenant_id = _lint_rules.tenant_id and r.for_everyone
    union all
    select 'over_broad', 'warning', a.kind, a.id, format('%s is given directly, on everything there is', c.name)
    from authz._assignments(_lint_rules.tenant_id) as a
    join authz.permissions as c
        on c.id = a.permission_id and (c.requires_approval or c.action in ('delete', 'destroy', 'export'))
    where a.kind in ('user_permission', 'group_permission') and a.resource_id is null
      and a.assignment ->> 'effect' = 'allow' and a.valid_until is null;
end
$$;

comment on function authz._lint_rules(uuid) is 'Rules that others beat or make needless, and rules that allow too much.';

revoke all on function authz._lint_rules(uuid) from public;


create or replace function authz._lint_roles(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    with recursive held (role_id) as (
        select a.role_id from authz._assignments(_lint_roles.tenant_id) as a where a.role_id is not null
        union
        select r.id from authz.roles as r where r.tenant_id = _lint_roles.tenant_id and r.for_everyone
        union
        select r.role_id from authz.assignment_rules as r where r.tenant_id = _lint_roles.tenant_id and r.is_enabled
        union
        select i.parent_id
        from held as h
        join authz.role_inheritance as i on i.tenant_id = _lint_roles.tenant_id and i.role_id = h.role_id
    )
    select 'role_unheld', 'note', 'role', r.id, format('Nobody holds role %s, or a role that inherits from it', r.name)
    from authz.roles as r
    where r.tenant_id = _lint_roles.tenant_id and r.id not in (select h.role_id from held as h)
    union all
    select 'permission_unused', 'note', 'permission', null, format('No role allows %s', p.name)
    from authz.permissions as p
    where not exists (
        select
        from authz.role_permissions as c
        where c.tenant_id = _lint_roles.tenant_id and c.permission_id = p.id and c.effect = 'allow');
end
$$;

comment on function authz._lint_roles(uuid) is 'Roles that nobody holds and permissions that no role carries.';

revoke all on function authz._lint_roles(uuid) from public;
