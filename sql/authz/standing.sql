-- What somebody has of a permission before one looks at any resource, from what is derived for roles and holders.

create or replace function authz._standing(context jsonb, tenant_id uuid, subject_id uuid, permission text)
    returns authz.standing
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_standing authz.standing;
    v_place integer;
    v_level integer;
    v_is_active boolean;
    v_is_plain boolean;         -- without roles held at times, by themselves or by their groups
begin
    -- Small statements: each finds rows by their keys, and to start a large join costs more than all of them.
    select p.id, p.place, p.resource_type, p.requires_approval, p.minimum_authentication_level
    into v_standing.permission_id, v_place, v_standing.resource_type, v_standing.requires_approval, v_level
    from authz.permissions as p
    where p.name = _standing.permission;
    select h.is_active and together.is_active, together.groups, not h.has_special_roles and not together.has_special_roles,
           authz._of_holder(h, together.rights, v_place)
    into v_is_active, v_standing.groups, v_is_plain, v_standing.rights
    from authz.holders as h
    join authz.role_sets as together on together.tenant_id = _standing.tenant_id and together.id = h.role_set_id
    where h.tenant_id = _standing.tenant_id and h.holder_id = _standing.subject_id;
    if v_standing.permission_id is null or v_is_active is not true
       or v_level > 1 and v_level > coalesce(authz._level(context), 0) then
        return null;
    end if;

    if not v_is_plain then
        select v_standing.rights | coalesce(bit_or(at_times.rights), 0)
        into v_standing.rights
        from (select unnest(_standing.subject_id || v_standing.groups) as id) as holder
        cross join lateral authz._at_times(_standing.tenant_id, holder.id, v_place, statement_timestamp()) as at_times;
    end if;
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
