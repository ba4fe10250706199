create or replace function identity.scim_lock_group(group_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- locks a row, for which its table's update privilege would be needed
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform from identity.groups as g
    where g.tenant_id = platform.current_tenant_id() and g.id = scim_lock_group.group_id
    for no key update;
    return found;
end
$$;

comment on function identity.scim_lock_group(uuid) is
    'Let nobody else change a group of the context''s tenant before this transaction ends; false when there is none.';

revoke all on function identity.scim_lock_group(uuid) from public;
grant execute on function identity.scim_lock_group(uuid) to enterprise_ai_gateway;


create or replace function identity.scim_save_group(group_id uuid, display_name text, external_id text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    if scim_save_group.group_id is null then
        return identity.create_group(scim_save_group.display_name, external_id => scim_save_group.external_id);
    end if;
    perform identity._refuse_above(array[scim_save_group.group_id]);
    update identity.groups as g
    set display_name = scim_save_group.display_name, external_id = scim_save_group.external_id
    where g.tenant_id = platform.current_tenant_id()
      and g.id = scim_save_group.group_id
      and (g.display_name, g.external_id)
          is distinct from (scim_save_group.display_name, scim_save_group.external_id);
    return scim_save_group.group_id;
end
$$;

comment on function identity.scim_save_group(uuid, text, text) is
    'Make a group of the context''s tenant, or one without an id anew, what a directory says; returns the id. Raises
23505 when another has the name or the external id, and ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_save_group(uuid, text, text) from public;
grant execute on function identity.scim_save_group(uuid, text, text) to enterprise_ai_gateway;


create or replace function identity.scim_change_members(group_id uuid, added uuid[], removed uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_missing uuid;
begin
    perform identity._refuse_above(array[scim_change_members.group_id]);
    select a.id into v_missing
    from unnest(added) as a (id)
    where not exists (
        select
        from identity.users as u
        where u.tenant_id = v_tenant_id and u.id = a.id and u.deleted_at is null)
    limit 1;
    if found then
        raise exception 'There is no user %', v_missing
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    end if;

    delete from identity.group_members as m
    where m.tenant_id = v_tenant_id and m.group_id = scim_change_members.group_id and m.user_id = any (removed);
    -- In one statement: what the members may do is derived once. Where rows are distributed over machines,
    -- identity.add_group_member() for each takes its place.
    insert into identity.group_members (tenant_id, group_id, user_id)
    select v_tenant_id, scim_change_members.group_id, a.id
    from unnest(added) as a (id)
    on conflict do nothing;
end
$$;

comment on function identity.scim_change_members(uuid, uuid[], uuid[]) is
    'Take users out of a group of the context''s tenant and put others in. Raises ZI006 when there is no such user, 23503
when there is no such group, and ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_change_members(uuid, uuid[], uuid[]) from public;
grant execute on function identity.scim_change_members(uuid, uuid[], uuid[]) to enterprise_ai_gateway;


create or replace function identity.scim_delete_group(group_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._refuse_above(array[scim_delete_group.group_id]);
    perform identity.delete_group(scim_delete_group.group_id);
end
$$;

comment on function identity.scim_delete_group(uuid) is
    'identity.delete_group() for a directory. Raises also ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_delete_group(uuid) from public;
grant execute on function identity.scim_delete_group(uuid) to enterprise_ai_gateway;
