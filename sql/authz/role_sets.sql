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
    v_nothing bit varying := authz._no_rights();
begin
    select h.is_active, h.rights, s.roles
    into v_everyone
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = _derive_role_sets.tenant_id;

    update authz.role_sets as s
    set is_active = v_everyone.is_active,
        rights = derived.rights
    from (
        -- What was derived before the youngest permissions were there is shorter.
        select s.id, bit_or(substring(said.rights || v_nothing, 1, length(v_nothing))) as rights
        from authz.role_sets as s
        cross join lateral (
            select v_everyone.rights
            union all
            select r.rights
            from authz.role_rights as r
            where r.tenant_id = _derive_role_sets.tenant_id and r.role_id = any (s.roles || v_everyone.roles)
        ) as said
        where s.tenant_id = _derive_role_sets.tenant_id
          and (_derive_role_sets.set_ids is null or s.id = any (_derive_role_sets.set_ids))
        group by s.id
    ) as derived
    where s.tenant_id = _derive_role_sets.tenant_id and s.id = derived.id
      and (s.is_active, s.rights) is distinct from (v_everyone.is_active, derived.rights);
end
$$;

comment on function authz._derive_role_sets(uuid, uuid[]) is
    'Derive anew what these sets of roles come to; null: all of the tenant.';

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
