-- The statements of SCIM. Those that find begin what `storage` completes with a filter, an order and a page.

-- name: find_users
select u.id, u.external_id, coalesce(u.user_name, u.email) as user_name, u.email, u.display_name,
       u.status <> 'deactivated' as is_active, p.given_name, p.family_name, p.job_title, p.locale, p.time_zone,
       p.department, p.manager_id, u.created_at,
       greatest(u.updated_at, p.updated_at) as updated_at,
       -- Over what is shown: signing in changes the row, but nothing that a directory has said.
       left(encode(sha256(convert_to(
           row (u.external_id, u.user_name, u.email, u.display_name, u.status <> 'deactivated', p.given_name,
                p.family_name, p.job_title, p.locale, p.time_zone, p.department, p.manager_id)::text,
           'UTF8')), 'hex'), 32) as version,
       case when %(with_groups)s then (
           select jsonb_agg(jsonb_build_object('value', g.id, 'display', g.display_name) order by g.id)
           from identity.group_members as gm
           join identity.groups as g on g.tenant_id = gm.tenant_id and g.id = gm.group_id
           where gm.tenant_id = u.tenant_id and gm.user_id = u.id) end as groups
from identity.users as u
left join identity.user_profiles as p on p.tenant_id = u.tenant_id and p.user_id = u.id
where u.tenant_id = (select platform.current_tenant_id()) and u.deleted_at is null

-- name: count_users
select count(*)
from identity.users as u
left join identity.user_profiles as p on p.tenant_id = u.tenant_id and p.user_id = u.id
where u.tenant_id = (select platform.current_tenant_id()) and u.deleted_at is null

-- name: lock_user
select identity.scim_lock_user(%(id)s)

-- name: save_user
select identity.scim_save_user(%(id)s, %(attributes)s)

-- name: delete_user
select identity.scim_delete_user(%(id)s)

-- name: find_groups
select g.id, g.external_id, g.display_name, g.created_at, g.updated_at,
       -- Who changes members touches their group, so this need not read them.
       to_char(g.updated_at at time zone 'UTC', 'YYYYMMDDHH24MISSUS') as version,
       case when %(with_members)s then (
           select array_agg(gm.user_id::text order by gm.user_id)
           from identity.group_members as gm
           where gm.tenant_id = g.tenant_id and gm.group_id = g.id) end as members
from identity.groups as g
where g.tenant_id = (select platform.current_tenant_id())

-- name: count_groups
select count(*)
from identity.groups as g
where g.tenant_id = (select platform.current_tenant_id())

-- name: lock_group
select identity.scim_lock_group(%(id)s)

-- name: save_group
select identity.scim_save_group(%(id)s, %(display_name)s, %(external_id)s)

-- name: members_of
select gm.user_id
from identity.group_members as gm
where gm.tenant_id = (select platform.current_tenant_id()) and gm.group_id = %(id)s

-- name: change_members
select identity.scim_change_members(%(id)s, %(added)s, %(removed)s)

-- name: delete_group
select identity.scim_delete_group(%(id)s)
