-- Inheritance between roles has no circles, not even one that two sessions close together. Whoever adds an
-- edge changes the heir's row and locks the rows of all it will inherit from: of two edges of one circle,
-- each heir is among the other's ancestors, so the second waits, fails with a deadlock (40P01) or, when its
-- snapshot is older, with 40001. It never goes through unseen.

create or replace function authz._ancestors_of_role(tenant_id uuid, role_id uuid)
    returns uuid[]
    language plpgsql
    volatile                -- sees what was committed while it waited for a lock
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        with recursive above (id) as (
            select _ancestors_of_role.role_id
            union
            select i.parent_id
            from above
            join authz.role_inheritance as i
                on i.tenant_id = _ancestors_of_role.tenant_id and i.role_id = above.id
        )
        select above.id from above order by above.id);
end
$$;

comment on function authz._ancestors_of_role(uuid, uuid) is
    'A role and all that it inherits from, at whatever time: an edge that is not yet or no longer valid counts.';

revoke all on function authz._ancestors_of_role(uuid, uuid) from public;


create or replace function authz._refuse_circles()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_locked uuid[] := '{}';
    v_above uuid[];
begin
    update authz.roles as r
    set updated_at = now()
    where r.tenant_id = new.tenant_id and r.id = new.role_id;

    -- Waiting for a lock may have brought new ancestors; they are locked in the next round.
    loop
        v_above := authz._ancestors_of_role(new.tenant_id, new.parent_id);
        exit when v_above <@ v_locked;
        perform from authz.roles as r
        where r.tenant_id = new.tenant_id and r.id = any (v_above) and r.id <> new.role_id
        order by r.id
        for share;
        v_locked := v_above;
    end loop;

    if new.role_id = any (v_above) then
        raise exception 'Role % cannot inherit from role %, which inherits from it', new.role_id, new.parent_id
            using errcode = 'ZA002', hint = 'Remove the inheritance the other way round first.';
    end if;
    return new;
end
$$;

comment on function authz._refuse_circles() is
    'Before-row trigger: no role comes to inherit from itself. Raises ZA002.';

revoke all on function authz._refuse_circles() from public;
