-- What everybody holds who holds the same roles and is in the same groups is derived once. A role that ten thousand people
-- hold is in as many sets as there are combinations among them, and these are what a change of it rewrites.

create or replace function authz._role_set_id(roles uuid[], groups uuid[])
    returns uuid
    language sql
    stable
    parallel safe
as $$
    -- By all that matters and nothing else: whoever derives it comes to the same one.
    select encode(substr(sha256(convert_to(
        array_to_string(roles, ',') || ';' || array_to_string(groups, ','), 'UTF8')), 1, 16), 'hex')::uuid
$$;

comment on function authz._role_set_id(uuid[], uuid[]) is 'The id of a set of roles and groups, each in their order.';

revoke all on function authz._role_set_id(uuid[], uuid[]) from public;


create or replace function authz._derive_role_sets(tenant_id uuid, set_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_everyone record;
    v_is_active boolean := exists (
        select from identity.tenants as t where t.id = _derive_role_sets.tenant_id and t.status = 'active');
    v_nothing bit varying := authz._no_rights();
    v_of_everyone bit varying;
begin
    if _derive_role_sets.set_ids = '{}' then
        return;
    end if;
    select h.rights, s.own_roles
    into v_everyone
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = _derive_role_sets.tenant_id;

    select bit_or(substring(said.rights || v_nothing, 1, length(v_nothing)))
    into v_of_everyone
    from (
        select v_everyone.rights
        union all
        select r.rights
        from authz.role_rights as r
        where r.tenant_id = _derive_role_sets.tenant_id and r.role_id = any (v_everyone.own_roles)
    ) as said;

    with asked (id, own_roles, groups) as (
        select s.id, s.own_roles, s.groups
        from unnest(_derive_role_sets.set_ids) as wanted (id)
        join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = wanted.id
    ),
    by_group (id, own_roles, rights, has_special_roles) as (
        select a.id, of_group.own_roles, h.rights, h.has_special_roles
        from asked as a
        cross join lateral unnest(a.groups) as within (id)
        join authz.holders as h on h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = within.id
        join authz.role_sets as of_group
            on of_group.tenant_id = _derive_role_sets.tenant_id and of_group.id = h.role_set_id
    ),
    together (id, role_id) as (
        select a.id, role.id
        from asked as a
        cross join lateral unnest(a.own_roles) as role (id)
        union
        select g.id, role.id
        from by_group as g
        cross join lateral unnest(g.own_roles) as role (id)
    ),
    facts (id, role_id, rights, has_special_roles) as (
        select a.id, null::uuid, v_of_everyone, false from asked as a
        union all
        select g.id, null, g.rights, g.has_special_roles from by_group as g
        union all
        select t.id, t.role_id, own.rights, false
        from together as t
        left join (
            -- Once each: there are many sets of few roles.
            select r.role_id, r.rights
            from authz.role_rights as r
            where r.tenant_id = _derive_role_sets.tenant_id
            offset 0
        ) as own on own.role_id = t.role_id
    ),
    derived as (
        select f.id, coalesce(array_agg(f.role_id order by f.role_id) filter (where f.role_id is not null), '{}') as roles,
               bool_or(f.has_special_roles) as has_special_roles,
               -- What was derived before the youngest permissions were there is shorter.
               bit_or(substring(f.rights || v_nothing, 1, length(v_nothing))) as rights
        from facts as f
        group by f.id
    )
    update authz.role_sets as s
    set roles = derived.roles,
        is_active = v_is_active,
        has_special_roles = derived.has_special_roles,
        rights = derived.rights
    from derived
    where s.tenant_id = _derive_role_sets.tenant_id and s.id = derived.id
      and (s.is_active <> v_is_active or s.rights <> derived.rights or s.roles <> derived.roles
           or s.has_special_roles <> derived.has_special_roles);
end
$$;

comment on function authz._derive_role_sets(uuid, uuid[]) is
    'Derive anew what these sets of roles and groups come to.';

revoke all on function authz._derive_role_sets(uuid, uuid[]) from public;


create or replace function authz._derive_role_sets_with(tenant_id uuid, role_ids uuid[], group_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_everyones boolean := exists (
        select
        from authz.roles as r
        where r.tenant_id = _derive_role_sets_with.tenant_id and r.for_everyone
          and r.id = any (_derive_role_sets_with.role_ids));
begin
    perform authz._derive_role_sets(_derive_role_sets_with.tenant_id, array(
        select s.id
        from authz.role_sets as s
        where s.tenant_id = _derive_role_sets_with.tenant_id
          and (v_is_everyones or s.roles && _derive_role_sets_with.role_ids or s.groups && _derive_role_sets_with.group_ids)));
end
$$;

comment on function authz._derive_role_sets_with(uuid, uuid[], uuid[]) is
    'Derive anew the sets that some of these roles or groups are in.';

revoke all on function authz._derive_role_sets_with(uuid, uuid[], uuid[]) from public;


create or replace function authz._drop_unheld_role_sets(tenant_id uuid, set_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- That of nothing stays: new people come to hold it without taking a turn.
    delete from authz.role_sets as s
    where s.tenant_id = _drop_unheld_role_sets.tenant_id and s.id = any (_drop_unheld_role_sets.set_ids)
      and not (s.own_roles = '{}' and s.groups = '{}')
      and not exists (
          select
          from authz.holders as h
          where h.tenant_id = _drop_unheld_role_sets.tenant_id and h.role_set_id = s.id);
end
$$;

comment on function authz._drop_unheld_role_sets(uuid, uuid[]) is 'Delete those of these sets of roles that nobody holds.';

revoke all on function authz._drop_unheld_role_sets(uuid, uuid[]) from public;
