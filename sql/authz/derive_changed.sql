-- After-statement triggers see all changed rows at once, so that a statement that gives a role a hundred
-- permissions derives it once.

create or replace function authz._derive_changed()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups and people, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg(distinct (c.fields ->> tg_argv[1])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        if tg_argv[0] = 'roles' then
            perform authz._derive_roles(v_tenant_id, v_ids);
        else
            perform authz._derive_holders(v_tenant_id, v_ids);
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_changed() is
    'After-statement trigger: derives the roles or the holders (first argument) that the column (second argument)
of the changed rows names.';

revoke all on function authz._derive_changed() from public;


create or replace function authz._derive_people()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change people and groups, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
    v_id uuid := v_row ->> 'id';
    v_tenant_id uuid := coalesce(v_row ->> 'tenant_id', v_row ->> 'id');
    v_ids uuid[] := array[v_id];
    v_context text := authz._enter_tenant(v_tenant_id);
begin
    if tg_op = 'DELETE' then
        delete from authz.holders as h
        where h.tenant_id = v_tenant_id and h.holder_id = v_id;
    else
        if tg_table_name = 'tenants' and tg_op = 'INSERT' then
            insert into authz.epochs (tenant_id) values (v_tenant_id);
        elsif tg_table_name = 'groups' and tg_op = 'UPDATE' then
            -- It has moved, and everybody below it now lies within other groups.
            v_ids := v_ids || array(
                select h.holder_id
                from authz.holders as h
                where h.tenant_id = v_tenant_id and h.groups @> v_ids);
        end if;
        perform authz._derive_holders(v_tenant_id, v_ids);
    end if;
    perform authz._leave_tenant(v_context);
    return null;
end
$$;

comment on function authz._derive_people() is
    'After-row trigger of identity.users, groups and tenants: keeps the row of authz.holders that each of them has.';

revoke all on function authz._derive_people() from public;
