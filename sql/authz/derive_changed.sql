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


create or replace function authz._derive_added()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever may share a thing may not write what is derived from it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_nothing bit varying := authz._no_rights();
    v_tenant_id uuid;
    v_written uuid[];
    v_new uuid[];
    v_context text;
begin
    -- Another rule only adds to what is said: those that were given before need not be read, thousands as they may be.
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        with written as (
            update authz.holders as h
            set rights = said.before | said.added
            from (
                select h.holder_id, substring(h.rights || v_nothing, 1, length(v_nothing)) as before, added.rights as added
                from (
                    select (c.fields ->> tg_argv[0])::uuid as holder_id,
                           bit_or(overlay(v_nothing placing authz._says_always(
                               c.fields ->> 'effect', c.fields ->> 'resource_id' is null,
                               (c.fields ->> 'is_conditional')::boolean,
                               not p.requires_approval or c.fields ->> 'granted_by' is null
                               or c.fields ->> 'approved_by' is not null)::bit(8) from 8 * p.place + 1)) as rights
                    from (
                        select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
                    ) as c (fields)
                    join authz.permissions as p on p.id = (c.fields ->> 'permission_id')::integer
                    group by 1
                ) as added
                join authz.holders as h on h.tenant_id = v_tenant_id and h.holder_id = added.holder_id
            ) as said
            where h.tenant_id = v_tenant_id and h.holder_id = said.holder_id and said.before | said.added <> said.before
            returning h.holder_id
        )
        select array_agg(w.holder_id) into v_written from written as w;
        perform authz._derive_members(v_tenant_id, v_written);
        -- Whom the same statement makes may not be there yet.
        v_new := array(
            select distinct given.holder_id
            from (
                select (to_jsonb(changed) ->> tg_argv[0])::uuid from changed where changed.tenant_id = v_tenant_id
            ) as given (holder_id)
            where not exists (
                select
                from authz.holders as h
                where h.tenant_id = v_tenant_id and h.holder_id = given.holder_id));
        if v_new <> '{}' then
            perform authz._derive_holders(v_tenant_id, v_new);
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_added() is
    'After-statement trigger: adds rules that are given directly to what the users or the groups that the column (argument)
names hold.';

revoke all on function authz._derive_added() from public;


create or replace function authz._derive_taken()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever may share a thing may not write what is derived from it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_context text;
begin
    -- As long as there is another rule of its kind, nothing is different, and one of thousands is found at once. Kinds
    -- are told apart by all that matters, also where it does not now: a permission may come to require approval.
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._derive_holders(v_tenant_id, array(
            select distinct taken.holder_id
            from (
                select (c.fields ->> tg_argv[0])::uuid as holder_id, (c.fields ->> 'permission_id')::integer as permission_id,
                       c.fields ->> 'effect' as effect, c.fields ->> 'resource_id' is null as is_wide,
                       (c.fields ->> 'is_conditional')::boolean as is_conditional,
                       c.fields ->> 'granted_by' is null or c.fields ->> 'approved_by' is not null as is_approved
                from (
                    select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
                ) as c (fields)
            ) as taken
            where not exists (
                select
                from authz.user_permissions as g
                where tg_argv[0] = 'user_id' and g.tenant_id = v_tenant_id and g.user_id = taken.holder_id
                  and g.permission_id = taken.permission_id
                  and g.effect = taken.effect and (g.resource_id is null) = taken.is_wide
                  and g.is_conditional = taken.is_conditional
                  and (g.granted_by is null or g.approved_by is not null) = taken.is_approved)
              and not exists (
                select
                from authz.group_permissions as g
                where tg_argv[0] = 'group_id' and g.tenant_id = v_tenant_id and g.group_id = taken.holder_id
                  and g.permission_id = taken.permission_id
                  and g.effect = taken.effect and (g.resource_id is null) = taken.is_wide
                  and g.is_conditional = taken.is_conditional
                  and (g.granted_by is null or g.approved_by is not null) = taken.is_approved)));
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_taken() is
    'After-statement trigger: derives the users or the groups that the column (argument) names from whom the last rule of
its kind about a permission was taken.';

revoke all on function authz._derive_taken() from public;


create or replace function authz._keep_holders()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications make and delete people and groups, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_sets uuid[];
    v_context text;
begin
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        if tg_op = 'DELETE' then
            v_sets := array(
                select distinct h.role_set_id
                from authz.holders as h
                join changed as c on c.id = h.holder_id
                where h.tenant_id = v_tenant_id and c.tenant_id = v_tenant_id);
            delete from authz.holders as h
            using changed as c
            where h.tenant_id = v_tenant_id and c.tenant_id = v_tenant_id and h.holder_id = c.id;
            perform authz._drop_unheld_role_sets(v_tenant_id, v_sets);
        else
            -- Nobody holds anything before they are there. Who does by now has been derived since.
            insert into authz.holders (
                tenant_id, holder_id, is_active, role_set_id, has_special_roles, rights, has_delegations)
            select v_tenant_id, (c.fields ->> 'id')::uuid,
                   coalesce(c.fields ->> 'status' = 'active' and c.fields ->> 'deleted_at' is null, false),
                   authz._role_set_id('{}', '{}'), false, '', false
            from (
                select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
            ) as c (fields)
            on conflict on constraint holders_pkey do nothing;
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._keep_holders() is
    'After-statement trigger: the rows of authz.holders of users and groups come and go with them.';

revoke all on function authz._keep_holders() from public;


create or replace function authz._derive_people()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change people and groups, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(new);
    v_tenant_id uuid := coalesce(v_row ->> 'tenant_id', v_row ->> 'id');
    v_ids uuid[] := array[new.id];
    v_context text := authz._enter_tenant(v_tenant_id);
begin
    if tg_table_name = 'tenants' and tg_op = 'INSERT' then
        insert into authz.epochs (tenant_id) values (v_tenant_id);
    elsif tg_table_name = 'groups' then
        -- It has moved, and everybody below it now lies within other groups.
        v_ids := v_ids || array(
            select h.holder_id
            from authz.role_sets as s
            join authz.holders as h on h.tenant_id = v_tenant_id and h.role_set_id = s.id
            where s.tenant_id = v_tenant_id and s.groups @> v_ids);
    end if;
    perform authz._derive_holders(v_tenant_id, v_ids);
    if tg_table_name = 'tenants' and tg_op = 'UPDATE' then
        perform authz._derive_role_sets(v_tenant_id, array(
            select s.id from authz.role_sets as s where s.tenant_id = v_tenant_id));
    end if;
    perform authz._leave_tenant(v_context);
    return null;
end
$$;

comment on function authz._derive_people() is
    'After-row trigger of identity.users, groups and tenants that have changed, and of new tenants: derives their row of
authz.holders.';

revoke all on function authz._derive_people() from public;
