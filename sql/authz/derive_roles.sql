create or replace function authz._derive_roles(tenant_id uuid, role_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_heirs uuid[] := array(
        with recursive heirs (id) as (
            select unnest(_derive_roles.role_ids)
            union
            select i.role_id
            from heirs
            join authz.role_inheritance as i
                on i.tenant_id = _derive_roles.tenant_id and i.parent_id = heirs.id
        )
        select heirs.id from heirs);
begin
    with recursive above (heir_id, id, is_timed) as (
        select heir.id, heir.id, false from unnest(v_heirs) as heir (id)
        union
        select a.heir_id, i.parent_id, a.is_timed or i.valid_from is not null or i.valid_until is not null
        from above as a
        join authz.role_inheritance as i on i.tenant_id = _derive_roles.tenant_id and i.role_id = a.id
    ),
    carried (role_id, permission_id, rights) as (
        select a.heir_id, p.permission_id, bit_or(case
            when a.is_timed or p.is_conditional or p.resource_id is not null or p.only_own and p.effect = 'deny'
                then case p.effect when 'deny' then 8 else 16 end
            when p.effect = 'deny' then 1
            when p.only_own then 4
            else 2
        end)
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _derive_roles.tenant_id and p.role_id = a.id and (p.inheritable or a.id = a.heir_id)
        group by a.heir_id, p.permission_id
    )
    insert into authz.role_rights (tenant_id, role_id, rights)
    select _derive_roles.tenant_id, r.id,
           string_agg(coalesce(c.rights, 0)::bit(8)::text, '' order by every.place)::bit varying
    from authz.roles as r
    cross join generate_series(0, (select max(p.place) from authz.permissions as p)) as every (place)
    left join authz.permissions as p on p.place = every.place
    left join carried as c on c.role_id = r.id and c.permission_id = p.id
    where r.tenant_id = _derive_roles.tenant_id and r.id = any (v_heirs)
    group by r.id
    on conflict on constraint role_rights_pkey do update set rights = excluded.rights;

    perform authz._derive_role_sets_with(_derive_roles.tenant_id, v_heirs);
end
$$;

comment on function authz._derive_roles(uuid, uuid[]) is
    'Derive anew what these roles, and all that inherit from them, carry, and the sets of roles that these are in.';

revoke all on function authz._derive_roles(uuid, uuid[]) from public;
