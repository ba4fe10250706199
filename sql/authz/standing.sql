-- What somebody has of a permission before one looks at any resource, from what is derived for roles and holders.

create or replace function authz._standing(context jsonb, tenant_id uuid, subject_id uuid, permission text)
    returns authz.standing
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_standing authz.standing;
    v_permission record;
    v_mine record;
    v_everyone record;
    v_of_groups record;
    v_special_roles uuid[];
    v_rights integer;
    v_sometimes integer := 0;   -- by roles held at times
    v_has_direct boolean;
begin
    -- Many small statements: each finds one row by its key, and to start a join costs more than all of them.
    select p.id, p.place, p.resource_type, p.requires_approval, p.minimum_authentication_level as level
    into v_permission
    from authz.permissions as p
    where p.name = _standing.permission;
    select h.is_active, h.groups, h.roles, h.special_roles, h.allowed, h.denied, h.special_allowed, h.special_denied,
           h.has_delegations
    into v_mine
    from authz.holders as h
    where h.tenant_id = _standing.tenant_id and h.holder_id = _standing.subject_id;
    select h.is_active, h.roles, h.special_denied
    into v_everyone
    from authz.holders as h
    where h.tenant_id = _standing.tenant_id and h.holder_id = _standing.tenant_id;
    if v_permission.id is null or v_mine.is_active is not true or v_everyone.is_active is not true
       or v_permission.level > 1 and v_permission.level > coalesce(authz._level(context), 0) then
        return null;
    end if;

    select carried.rights
    into v_rights
    from authz._carried(_standing.tenant_id, v_mine.roles || v_everyone.roles, v_permission.place) as carried;
    v_special_roles := v_mine.special_roles;
    v_has_direct := v_permission.id = any (v_mine.special_allowed) or v_permission.id = any (v_mine.special_denied);
    if v_mine.groups <> '{}' then
        select bit_or(carried.rights
                      | case when v_permission.id = any (g.denied) then 1 else 0 end
                      | case when v_permission.id = any (g.allowed) then 2 else 0 end) as rights,
               array_agg(role.id) filter (where role.id is not null) as special_roles,
               bool_or(v_permission.id = any (g.special_allowed || g.special_denied)) as has_direct
        into v_of_groups
        from authz.holders as g
        cross join lateral authz._carried(_standing.tenant_id, g.roles, v_permission.place) as carried
        left join lateral unnest(g.special_roles) as role (id) on true
        where g.tenant_id = _standing.tenant_id and g.holder_id = any (v_mine.groups);
        v_rights := v_rights | v_of_groups.rights;
        v_special_roles := v_special_roles || v_of_groups.special_roles;
        v_has_direct := v_has_direct or v_of_groups.has_direct;
    end if;
    if v_special_roles <> '{}' then
        select carried.rights
        into v_sometimes
        from authz._carried(_standing.tenant_id, v_special_roles, v_permission.place) as carried;
    end if;

    v_standing.permission_id := v_permission.id;
    v_standing.resource_type := v_permission.resource_type;
    v_standing.requires_approval := v_permission.requires_approval;
    v_standing.groups := v_mine.groups;
    v_standing.has_direct := v_has_direct;
    v_standing.rights := v_rights
        | case when v_permission.id = any (v_mine.denied) then 1 else 0 end
        | case when v_permission.id = any (v_mine.allowed) then 2 else 0 end
        | case when v_sometimes & 9 > 0 or v_permission.id = any (v_everyone.special_denied) then 8 else 0 end
        | case when v_sometimes & 22 > 0 or v_mine.has_delegations then 16 else 0 end;
    return v_standing;
end
$$;

comment on function authz._standing(jsonb, uuid, uuid, text) is
    'What a subject has of a permission, whatever the resource; null when nothing can allow it: there is no such
permission, the subject or the tenant is not active, or the level of the sign-in is too low.';

revoke all on function authz._standing(jsonb, uuid, uuid, text) from public;
grant execute on function authz._standing(jsonb, uuid, uuid, text) to enterprise_ai_decider;


create or replace function authz._parent_type(resource_type text)
    returns text
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return (select t.parent_type from authz.resource_types as t where t.name = _parent_type.resource_type);
end
$$;

comment on function authz._parent_type(text) is
    'The type that resources of a type can lie in: what can be done to a message can be asked of its conversation.';

revoke all on function authz._parent_type(text) from public;
grant execute on function authz._parent_type(text) to enterprise_ai_decider;
