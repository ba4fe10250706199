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
    v_length integer := (select 8 * (max(p.place) + 1) from authz.permissions as p);
    v_blank bit varying := repeat('0', v_length);
    v_counted bit varying;
begin
    select h.is_active, h.special_denied, s.roles
    into v_everyone
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = _derive_role_sets.tenant_id;

    select string_agg(case when p.id is null then '00000000' else '00001000' end, '' order by every.place)
    into v_counted
    from generate_series(0, v_length / 8 - 1) as every (place)
    left join authz.permissions as p on p.place = every.place and p.id = any (v_everyone.special_denied);

    update authz.role_sets as s
    set is_active = v_everyone.is_active,
        rights = derived.rights
    from (
        select s.id, bit_or(said.rights) as rights
        from authz.role_sets as s
        cross join lateral (
            select v_counted as rights
            union all
            -- What was derived before the youngest permissions were there is shorter.
            select substring(r.rights || v_blank, 1, v_length)
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
