create or replace function identity.create_group(display_name text, parent_id uuid default null, external_id text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.groups (tenant_id, id, parent_id, display_name, external_id)
    values (platform.current_tenant_id(), v_id, create_group.parent_id, create_group.display_name,
            create_group.external_id);
    return v_id;
end
$$;

comment on function identity.create_group(text, uuid, text) is
    'Make a group in the context''s tenant, within another where one is named; returns its id. Raises 23505 naming
groups_display_name_key when there is one of the name.';

revoke all on function identity.create_group(text, uuid, text) from public;
grant execute on function identity.create_group(text, uuid, text) to enterprise_ai_gateway;


create or replace function identity.move_group(group_id uuid, parent_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.groups as g
    set parent_id = move_group.parent_id
    where g.tenant_id = platform.current_tenant_id() and g.id = group_id;
    if not found then
        raise exception 'There is no group %', group_id
            using errcode = 'ZI015', hint = 'The tenant of the context has none of this id.';
    end if;
end
$$;

comment on function identity.move_group(uuid, uuid) is
    'Put a group within another, or within none. Raises ZI015 when there is no such group, ZI013 when the other lies
within it.';

revoke all on function identity.move_group(uuid, uuid) from public;
grant execute on function identity.move_group(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.delete_group(group_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from identity.groups as g
    where g.tenant_id = platform.current_tenant_id() and g.id = delete_group.group_id;
    if not found then
        raise exception 'There is no group %', delete_group.group_id
            using errcode = 'ZI015', hint = 'The tenant of the context has none of this id.';
    end if;
end
$$;

comment on function identity.delete_group(uuid) is
    'Delete a group with its memberships. Raises ZI015 when there is no such group, 23503 while others lie within it.';

revoke all on function identity.delete_group(uuid) from public;
grant execute on function identity.delete_group(uuid) to enterprise_ai_gateway;


create or replace function identity.add_group_member(group_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.group_members (tenant_id, group_id, user_id)
    values (platform.current_tenant_id(), add_group_member.group_id, add_group_member.user_id)
    on conflict do nothing;
    return found;
end
$$;

comment on function identity.add_group_member(uuid, uuid) is
    'Put a user into a group; false when they were in it. Raises 23503 when there is no such group or user.';

revoke all on function identity.add_group_member(uuid, uuid) from public;
grant execute on function identity.add_group_member(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.remove_group_member(group_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from identity.group_members as m
    where m.tenant_id = platform.current_tenant_id()
      and m.group_id = remove_group_member.group_id
      and m.user_id = remove_group_member.user_id;
    return found;
end
$$;

comment on function identity.remove_group_member(uuid, uuid) is 'Take a user out of a group; false when they were not in it.';

revoke all on function identity.remove_group_member(uuid, uuid) from public;
grant execute on function identity.remove_group_member(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.groups_of(user_id uuid)
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    return query
        with recursive of_user (id) as (
            select m.group_id
            from identity.group_members as m
            where m.tenant_id = v_tenant_id and m.user_id = groups_of.user_id
            union
            select g.parent_id
            from identity.groups as g
            join of_user on of_user.id = g.id
            where g.tenant_id = v_tenant_id and g.parent_id is not null)
        select of_user.id from of_user;
end
$$;

comment on function identity.groups_of(uuid) is
    'The groups that a user of the context''s tenant is in, and those that these lie within.';

revoke all on function identity.groups_of(uuid) from public;
grant execute on function identity.groups_of(uuid) to enterprise_ai_app, enterprise_ai_gateway;
