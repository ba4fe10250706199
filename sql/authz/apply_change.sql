create or replace function authz._apply_change(tenant_id uuid, change jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_do constant text := change ->> 'do';
    v_user_id constant uuid := change ->> 'user_id';
    v_group_id constant uuid := change ->> 'group_id';
    v_resource_id constant uuid := change ->> 'resource_id';
    v_role_id constant uuid := authz._role_named(_apply_change.tenant_id, change ->> 'role');
    v_parent_id constant uuid := authz._role_named(_apply_change.tenant_id, change ->> 'parent');
    v_permission_id constant integer := (select p.id from authz.permissions as p where p.name = change ->> 'permission');
    v_effect constant text := coalesce(change ->> 'effect', 'allow');
    v_condition constant jsonpath := change ->> 'condition';
    v_from constant timestamptz := change ->> 'valid_from';
    v_until constant timestamptz := change ->> 'valid_until';
    v_unknown text;
begin
    -- A misspelt key would make a change other than the one that was meant, as wide as a tenant perhaps.
    if jsonb_typeof(change) = 'object' then
        select string_agg(k, ', ' order by k) into v_unknown
        from jsonb_object_keys(change) as k
        where k <> all (array['do', 'user_id', 'group_id', 'role', 'parent', 'permission', 'effect', 'resource_id',
                              'parent_id', 'condition', 'valid_from', 'valid_until']);
    end if;
    if v_unknown is not null then
        raise exception 'The change % has %, which means nothing', change, v_unknown
            using errcode = 'ZA009', hint = 'Beside "do" there are user_id, group_id, role, parent, permission, effect, '
                                            'resource_id, parent_id, condition, valid_from and valid_until.';
    end if;
    if num_nonnulls(v_user_id, v_group_id, v_role_id) > 1 and v_do in ('grant_permission', 'revoke_permission')
       or num_nonnulls(v_user_id, v_group_id) > 1 and v_do in ('assign_role', 'revoke_role') then
        raise exception 'The change % is about more than one', change
            using errcode = 'ZA009', hint = 'Name a user, a group or a role, and make a change for each of them.';
    end if;
    if change ->> 'permission' is not null and v_permission_id is null then
        raise exception 'There is no permission %', change ->> 'permission'
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    if v_do = 'assign_role' and v_user_id is not null then
        insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_user_id, v_role_id, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'assign_role' and v_group_id is not null then
        insert into authz.group_roles (tenant_id, group_id, role_id, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_group_id, v_role_id, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'revoke_role' and v_user_id is not null then
        delete from authz.user_roles as a
        where a.tenant_id = _apply_change.tenant_id and a.user_id = v_user_id and a.role_id = v_role_id
          and (v_resource_id is null or a.resource_id = v_resource_id);
    elsif v_do = 'revoke_role' and v_group_id is not null then
        delete from authz.group_roles as a
        where a.tenant_id = _apply_change.tenant_id and a.group_id = v_group_id and a.role_id = v_role_id
          and (v_resource_id is null or a.resource_id = v_resource_id);
    elsif v_do = 'grant_permission' and v_user_id is not null then
        insert into authz.user_permissions (
            tenant_id, user_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_user_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'grant_permission' and v_group_id is not null then
        insert into authz.group_permissions (
            tenant_id, group_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_group_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'grant_permission' and v_role_id is not null then
        insert into authz.role_permissions (
            tenant_id, role_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_role_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'revoke_permission' and v_user_id is not null then
        delete from authz.user_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.user_id = v_user_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'revoke_permission' and v_group_id is not null then
        delete from authz.group_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.group_id = v_group_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'revoke_permission' and v_role_id is not null then
        delete from authz.role_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.role_id = v_role_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'add_member' then
        insert into identity.group_members (tenant_id, group_id, user_id)
        values (_apply_change.tenant_id, v_group_id, v_user_id);
    elsif v_do = 'remove_member' then
        delete from identity.group_members as m
        where m.tenant_id = _apply_change.tenant_id and m.group_id = v_group_id and m.user_id = v_user_id;
    elsif v_do = 'inherit' then
        insert into authz.role_inheritance (tenant_id, role_id, parent_id, valid_from, valid_until)
        values (_apply_change.tenant_id, v_role_id, v_parent_id, v_from, v_until);
    elsif v_do = 'disinherit' then
        delete from authz.role_inheritance as i
        where i.tenant_id = _apply_change.tenant_id and i.role_id = v_role_id and i.parent_id = v_parent_id;
    elsif v_do = 'suspend_user' then
        update identity.users as u
        set status = 'suspended', locked_until = null
        where u.tenant_id = _apply_change.tenant_id and u.id = v_user_id;
    elsif v_do = 'move_resource' then
        update authz.resources as r
        set parent_id = (change ->> 'parent_id')::uuid
        where r.tenant_id = _apply_change.tenant_id and r.id = v_resource_id;
    elsif v_do = 'set_owner' then
        update authz.resources as r
        set owner_id = v_user_id
        where r.tenant_id = _apply_change.tenant_id and r.id = v_resource_id;
    else
        raise exception 'The change % cannot be made', change
            using errcode = 'ZA009',
                  hint = '"do" is assign_role, revoke_role (of a user_id or group_id), grant_permission, revoke_permission '
                         '(of those or a role), add_member, remove_member, inherit, disinherit (role, parent), suspend_user, '
                         'move_resource or set_owner.';
    end if;
    if not found then
        raise exception 'There is nothing that % could change', change
            using errcode = 'ZA011', hint = 'Nobody has it, or there is no such user, group or resource.';
    end if;
end
$$;

comment on function authz._apply_change(uuid, jsonb) is
    'Make one change to who may do what, described as for authz.simulate. Raises what refuses it.';

revoke all on function authz._apply_change(uuid, jsonb) from public;


create or replace function authz._role_named(tenant_id uuid, name text)
    returns uuid
    language plpgsql
    volatile                -- sees roles that the caller has just made
    parallel unsafe
as $$
declare
    v_id uuid := (select r.id from authz.roles as r where r.tenant_id = _role_named.tenant_id and r.name = _role_named.name);
begin
    if v_id is null and name is not null then
        raise exception 'There is no role %', name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    end if;
    return v_id;
end
$$;

comment on function authz._role_named(uuid, text) is 'The id of a role by its name; null without one. Raises ZA011.';

revoke all on function authz._role_named(uuid, text) from public;
