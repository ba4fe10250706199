create or replace function authz._no_rights()
    returns bit varying
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return repeat('0', 8 * (max(p.place) + 1)) from authz.permissions as p;
end
$$;

comment on function authz._no_rights() is 'Rights that say nothing of any permission there is.';

revoke all on function authz._no_rights() from public;


create or replace function authz._derive_roles(tenant_id uuid, role_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_nothing bit varying := authz._no_rights();
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
    carried (role_id, place, rights) as (
        select a.heir_id, c.place, case
            when a.is_timed or p.is_conditional or p.resource_id is not null or p.only_own and p.effect = 'deny'
                then case p.effect when 'deny' then 8 else 16 end
            when p.effect = 'deny' then 1
            when p.only_own then 4
            else 2
        end
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _derive_roles.tenant_id and p.role_id = a.id and (p.inheritable or a.id = a.heir_id)
        join authz.permissions as c on c.id = p.permission_id
    )
    insert into authz.role_rights (tenant_id, role_id, rights)
    select _derive_roles.tenant_id, r.id,
           coalesce(bit_or(overlay(v_nothing placing c.rights::bit(8) from 8 * c.place + 1)), v_nothing)
    from authz.roles as r
    left join carried as c on c.role_id = r.id
    where r.tenant_id = _derive_roles.tenant_id and r.id = any (v_heirs)
    group by r.id
    on conflict on constraint role_rights_pkey do update set rights = excluded.rights;

    perform authz._derive_role_sets_with(_derive_roles.tenant_id, v_heirs, '{}');
end
$$;

comment on function authz._derive_roles(uuid, uuid[]) is
    'Derive anew what these roles, and all that inherit from them, carry, and the sets of roles that these are in.';

revoke all on function authz._derive_roles(uuid, uuid[]) from public;
