-- What everybody holds who holds the same roles is derived once. A role that ten thousand people hold is in as many
-- sets as there are combinations of roles among them, and these are what a change of the role rewrites.

create or replace function authz._role_set_id(roles uuid[])
    returns uuid
    language sql
    stable
    parallel safe
as $$
    -- By all that matters of the roles and nothing else: whoever derives it comes to the same one.
    select encode(substr(sha256(convert_to(array_to_string(roles, ','), 'UTF8')), 1, 16), 'hex')::uuid
$$;

comment on function authz._role_set_id(uuid[]) is 'The id of a set of roles, which are in their order.';

revoke all on function authz._role_set_id(uuid[]) from public;


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
    select h.rights, s.roles
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
        where r.tenant_id = _derive_role_sets.tenant_id and r.role_id = any (v_everyone.roles)
    ) as said;

    update authz.role_sets as s
    set is_active = v_is_active,
        rights = derived.rights
    from (
        select s.id, coalesce(bit_or(own.rights), v_of_everyone) | v_of_everyone as rights
        from unnest(_derive_role_sets.set_ids) as asked (id)
        join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = asked.id
        left join lateral unnest(s.roles) as role (id) on true
        left join (
            -- Once each: there are many sets of few roles.
            select r.role_id, substring(r.rights || v_nothing, 1, length(v_nothing)) as rights
            from authz.role_rights as r
            where r.tenant_id = _derive_role_sets.tenant_id
            offset 0
        ) as own on own.role_id = role.id
        group by s.id
    ) as derived
    where s.tenant_id = _derive_role_sets.tenant_id and s.id = derived.id
      and (s.is_active <> v_is_active or s.rights <> derived.rights);
end
$$;

comment on function authz._derive_role_sets(uuid, uuid[]) is
    'Derive anew what these sets of roles come to.';

revoke all on function authz._derive_role_sets(uuid, uuid[]) from public;


create or replace function authz._derive_role_sets_with(tenant_id uuid, role_ids uuid[])
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
          and (v_is_everyones or s.roles && _derive_role_sets_with.role_ids)));
end
$$;

comment on function authz._derive_role_sets_with(uuid, uuid[]) is 'Derive anew the sets that some of these roles are in.';

revoke all on function authz._derive_role_sets_with(uuid, uuid[]) from public;


create or replace function authz._drop_unheld_role_sets(tenant_id uuid, set_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- That of no roles stays: new people come to hold it without taking a turn.
    delete from authz.role_sets as s
    where s.tenant_id = _drop_unheld_role_sets.tenant_id and s.id = any (_drop_unheld_role_sets.set_ids)
      and s.roles <> '{}'
      and not exists (
          select
          from authz.holders as h
          where h.tenant_id = _drop_unheld_role_sets.tenant_id and h.role_set_id = s.id);
end
$$;

comment on function authz._drop_unheld_role_sets(uuid, uuid[]) is 'Delete those of these sets of roles that nobody holds.';

revoke all on function authz._drop_unheld_role_sets(uuid, uuid[]) from public;
