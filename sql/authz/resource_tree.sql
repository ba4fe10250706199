-- A resource knows the way down to it (ancestors, the root first), so that a decision reads one row and
-- not a chain. It is kept in the transaction that places or moves the resource, which locks all that the
-- resource will lie below: none of it can be moved meanwhile, and a snapshot from before a move fails (40001).
-- A move has to see what others placed below the resource until the lock was had, so it needs new snapshots.

create or replace function authz._keep_ancestors()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_parent authz.resources;
    v_way uuid[];
    v_parent_type text;
begin
    if tg_op = 'UPDATE' and new.parent_id is distinct from old.parent_id
       and current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'Resource % cannot be moved in a % transaction', new.id,
            current_setting('transaction_isolation')
            using errcode = 'ZA005', hint = 'Move it in a read committed transaction; nothing has been changed.';
    end if;

    -- Row security compares a row's owner and tenant with one list of scopes: what is shared under such an id would
    -- show all that is theirs.
    if (tg_op = 'INSERT' or new.id <> old.id) and exists (
        select
        from authz.holders as h
        where h.tenant_id = new.tenant_id and h.holder_id = new.id
    ) then
        raise exception 'Resource % would have the id of a user, a group or the tenant', new.id
            using errcode = 'check_violation', schema = 'authz', table = 'resources',
                  hint = 'Leave the id to the database, or take the one of the row that the resource stands for.';
    end if;

    new.ancestors := '{}';
    if new.parent_id is null then
        return new;
    end if;

    -- Waiting for a lock may mean that the parent has been moved; then the new way is locked as well.
    loop
        select r.* into v_parent
        from authz.resources as r
        where r.tenant_id = new.tenant_id and r.id = new.parent_id;
        if not found then
            -- The foreign key alone would let a statement insert a child before its parent.
            raise exception 'There is no resource % for % to lie within', new.parent_id, new.id
                using errcode = 'foreign_key_violation', constraint = 'resources_parent_id_fkey',
                      schema = 'authz', table = 'resources', hint = 'Insert parents before what lies within them.';
        end if;
        exit when v_way = v_parent.ancestors || v_parent.id;
        v_way := v_parent.ancestors || v_parent.id;
        perform from authz.resources as r
        where r.tenant_id = new.tenant_id and r.id = any (v_way) and r.id <> new.id
        order by cardinality(r.ancestors)
        for share;
    end loop;

    select t.parent_type into v_parent_type
    from authz.resource_types as t
    where t.name = new.resource_type;
    if new.id = any (v_way) then
        raise exception 'Resource % cannot lie within itself', new.id
            using errcode = 'ZA003', hint = 'Its new parent ' || v_parent.id || ' is one of its descendants.';
    elsif v_parent.resource_type <> new.resource_type and v_parent.resource_type is distinct from v_parent_type then
        raise exception 'A % cannot lie within a %', new.resource_type, v_parent.resource_type
            using errcode = 'ZA004',
                  hint = 'A resource lies within one of its own type'
                         || coalesce(' or of type ' || v_parent_type, '') || '.';
    end if;
    new.ancestors := v_way;
    return new;
end
$$;

comment on function authz._keep_ancestors() is
    'Before-row trigger: ancestors is the way from the root to the parent. Raises ZA003 for a circle, ZA004 for a
parent of the wrong type, ZA005 for a move in a transaction that could not see all it has to move.';

revoke all on function authz._keep_ancestors() from public;


create or replace function authz._move_descendants()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    update authz.resources as r
    set ancestors = new.ancestors || r.ancestors[array_position(r.ancestors, new.id):]
    where r.tenant_id = new.tenant_id
      and r.ancestors @> array[new.id];
    return null;
end
$$;

comment on function authz._move_descendants() is
    'After-row trigger: what lies below a resource that has moved goes with it.';

revoke all on function authz._move_descendants() from public;
