create or replace function authz._derive_roles(tenant_id uuid, role_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    with recursive heirs (id) as (
        select unnest(_derive_roles.role_ids)
        union
        select i.role_id
        from heirs
        join authz.role_inheritance as i
            on i.tenant_id = _derive_roles.tenant_id and i.parent_id = heirs.id
    ),
    above (heir_id, id, is_timed) as (
        select heirs.id, heirs.id, false from heirs
        union
        select a.heir_id, i.parent_id, a.is_timed or i.valid_from is not null or i.valid_until is not null
        from above as a
        join authz.role_inheritance as i on i.tenant_id = _derive_roles.tenant_id and i.role_id = a.id
    ),
    carried as (
        select a.heir_id, p.permission_id, p.effect, p.only_own,
               not (a.is_timed or p.is_conditional or p.resource_id is not null
                    or (p.only_own and p.effect = 'deny')) as is_plain
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _derive_roles.tenant_id and p.role_id = a.id and (p.inheritable or a.id = a.heir_id)
    )
    insert into authz.role_rights (
        tenant_id, role_id, allowed, allowed_on_own, denied, special_allowed, special_denied)
    select _derive_roles.tenant_id, r.id,
           array(select distinct c.permission_id from carried as c
                 where c.heir_id = r.id and c.is_plain and c.effect = 'allow' and not c.only_own order by 1),
           array(select distinct c.permission_id from carried as c
                 where c.heir_id = r.id and c.is_plain and c.effect = 'allow' and c.only_own order by 1),
           array(select distinct c.permission_id from carried as c
                 where c.heir_id = r.id and c.is_plain and c.effect = 'deny' order by 1),
           array(select distinct c.permission_id from carried as c
                 where c.heir_id = r.id and not c.is_plain and c.effect = 'allow' order by 1),
           array(select distinct c.permission_id from carried as c
                 where c.heir_id = r.id and not c.is_plain and c.effect = 'deny' order by 1)
    from heirs
    join authz.roles as r on r.tenant_id = _derive_roles.tenant_id and r.id = heirs.id
    on conflict on constraint role_rights_pkey do update
        set allowed = excluded.allowed,
            allowed_on_own = excluded.allowed_on_own,
            denied = excluded.denied,
            special_allowed = excluded.special_allowed,
            special_denied = excluded.special_denied;
end
$$;

comment on function authz._derive_roles(uuid, uuid[]) is
    'Derive anew what these roles, and all that inherit from them, carry.';

revoke all on function authz._derive_roles(uuid, uuid[]) from public;
