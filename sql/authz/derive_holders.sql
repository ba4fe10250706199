create or replace function authz._derive_holders(tenant_id uuid, holder_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_nothing bit varying := authz._no_rights();
    v_sets uuid[] := array(
        select distinct h.role_set_id
        from authz.holders as h
        where h.tenant_id = _derive_holders.tenant_id and h.holder_id = any (_derive_holders.holder_ids));
    v_everyone text := authz._everyone(_derive_holders.tenant_id);
begin
    with recursive who (id, is_active) as (
        select u.id, u.status = 'active' and u.deleted_at is null
        from identity.users as u
        where u.tenant_id = _derive_holders.tenant_id and u.id = any (_derive_holders.holder_ids)
        union all
        select g.id, false        -- nobody asks as a group, or as everyone
        from identity.groups as g
        where g.tenant_id = _derive_holders.tenant_id and g.id = any (_derive_holders.holder_ids)
        union all
        select t.id, false
        from identity.tenants as t
        where t.id = _derive_holders.tenant_id and t.id = any (_derive_holders.holder_ids)
    ),
    within (user_id, group_id) as (
        select m.user_id, m.group_id
        from identity.group_members as m
        where m.tenant_id = _derive_holders.tenant_id and m.user_id = any (_derive_holders.holder_ids)
        union
        select w.user_id, g.parent_id
        from within as w
        join identity.groups as g
            on g.tenant_id = _derive_holders.tenant_id and g.id = w.group_id and g.parent_id is not null
    ),
    assigned (holder_id, role_id, is_plain) as (   -- a role is null for what comes by delegation
        select a.user_id, a.role_id, a.resource_id is null and not a.is_conditional
        from authz.user_roles as a
        where a.tenant_id = _derive_holders.tenant_id and a.user_id = any (_derive_holders.holder_ids)
        union all
        select a.group_id, a.role_id, a.resource_id is null and not a.is_conditional
        from authz.group_roles as a
        where a.tenant_id = _derive_holders.tenant_id and a.group_id = any (_derive_holders.holder_ids)
        union all
        select r.tenant_id, r.id, true
        from authz.roles as r
        where r.tenant_id = _derive_holders.tenant_id and r.for_everyone
        union all
        select d.delegate_id, null, false
        from authz.delegations as d
        where d.tenant_id = _derive_holders.tenant_id and d.delegate_id = any (_derive_holders.holder_ids)
        union all
        select b.user_id, b.role_id, false
        from authz.break_glass_events as b
        where b.tenant_id = _derive_holders.tenant_id and b.user_id = any (_derive_holders.holder_ids)
          and coalesce(b.ended_at, b.expires_at) > now()
    ),
    direct (holder_id, place, says) as (
        select g.user_id, p.place, authz._says_always(
                   g.effect, g.resource_id is null, g.is_conditional,
                   not p.requires_approval or g.granted_by is null or g.approved_by is not null)
        from authz.user_permissions as g
        join authz.permissions as p on p.id = g.permission_id
        where g.tenant_id = _derive_holders.tenant_id and g.user_id = any (_derive_holders.holder_ids)
        union
        select g.group_id, p.place, authz._says_always(
                   g.effect, g.resource_id is null, g.is_conditional,
                   not p.requires_approval or g.granted_by is null or g.approved_by is not null)
        from authz.group_permissions as g
        join authz.permissions as p on p.id = g.permission_id
        where g.tenant_id = _derive_holders.tenant_id and g.group_id = any (_derive_holders.holder_ids)
        union
        -- What everyone did before bears on these, whoever asks.
        select c.tenant_id, p.place, 8
        from authz.access_policy_permissions as c
        join authz.access_policies as policy
            on policy.tenant_id = _derive_holders.tenant_id and policy.id = c.policy_id and policy.kind = 'dynamic'
            and policy.is_enabled
        join authz.permissions as p on p.id = c.permission_id
        where c.tenant_id = _derive_holders.tenant_id and c.tenant_id = any (_derive_holders.holder_ids)
    ),
    -- All in one list and grouped once: to look through each of them for each holder would take the square of the time.
    facts (holder_id, is_active, group_id, role_id, is_plain, is_delegated, rights) as (
        select who.id, who.is_active, null::uuid, null::uuid, null::boolean, false, null::bit varying from who
        union all
        select w.user_id, null, w.group_id, null, null, false, null from within as w
        union all
        select a.holder_id, null, null, a.role_id, a.is_plain, a.role_id is null, null from assigned as a
        union all
        select d.holder_id, null, null, null, null, false,
               overlay(v_nothing placing d.says::bit(8) from 8 * d.place + 1)
        from direct as d
    ),
    derived as (
        select f.holder_id, bool_or(f.is_active) as is_active,
               coalesce(array_agg(f.group_id order by f.group_id) filter (where f.group_id is not null), '{}') as groups,
               coalesce(array_agg(distinct f.role_id) filter (where f.role_id is not null and f.is_plain), '{}') as roles,
               bool_or(f.role_id is not null and not f.is_plain) as has_special_roles,
               coalesce(bit_or(f.rights), '') as rights,
               bool_or(f.is_delegated) as has_delegations
        from facts as f
        -- Not while the tenant is being deleted with all its rows.
        where exists (select from identity.tenants as t where t.id = _derive_holders.tenant_id)
        group by f.holder_id
        having bool_or(f.is_active) is not null     -- whoever is asked about and is there
    ),
    sets as (
        insert into authz.role_sets (tenant_id, id, own_roles, groups, roles, is_active, has_special_roles, rights)
        select distinct _derive_holders.tenant_id, authz._role_set_id(d.roles, d.groups), d.roles, d.groups, d.roles, false,
               false, ''::bit varying
        from derived as d
        on conflict on constraint role_sets_pkey do nothing
    )
    insert into authz.holders (tenant_id, holder_id, is_active, role_set_id, has_special_roles, rights, has_delegations)
    select _derive_holders.tenant_id, d.holder_id, d.is_active, authz._role_set_id(d.roles, d.groups), d.has_special_roles,
           d.rights, d.has_delegations
    from derived as d
    on conflict on constraint holders_pkey do update
        set is_active = excluded.is_active,
            role_set_id = excluded.role_set_id,
            has_special_roles = excluded.has_special_roles,
            rights = excluded.rights,
            has_delegations = excluded.has_delegations;

    perform authz._drop_unheld_role_sets(_derive_holders.tenant_id, v_sets);
    if authz._everyone(_derive_holders.tenant_id) is distinct from v_everyone then
        perform authz._derive_role_sets(_derive_holders.tenant_id, array(
            select s.id from authz.role_sets as s where s.tenant_id = _derive_holders.tenant_id));
    else
        perform authz._derive_role_sets(_derive_holders.tenant_id, array(
            select distinct s.id
            from authz.holders as h
            join authz.role_sets as s on s.tenant_id = _derive_holders.tenant_id and s.id = h.role_set_id
            where h.tenant_id = _derive_holders.tenant_id and h.holder_id = any (_derive_holders.holder_ids)
              and s.rights = ''::bit varying));
        perform authz._derive_members(_derive_holders.tenant_id, _derive_holders.holder_ids);
    end if;
end
$$;

comment on function authz._derive_holders(uuid, uuid[]) is
    'Derive anew what these users and groups hold; the tenant''s own id stands for what everyone in it holds.';

revoke all on function authz._derive_holders(uuid, uuid[]) from public;


create or replace function authz._everyone(tenant_id uuid)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select concat_ws(' ', h.role_set_id, h.rights)
        from authz.holders as h
        where h.tenant_id = _everyone.tenant_id and h.holder_id = _everyone.tenant_id);
end
$$;

comment on function authz._everyone(uuid) is 'All that every set of roles has from what everyone in the tenant holds.';

revoke all on function authz._everyone(uuid) from public;


create or replace function authz._says_always(effect text, is_wide boolean, is_conditional boolean, is_approved boolean)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    select case
        when is_wide and is_approved and not is_conditional then case effect when 'deny' then 1 else 2 end
        else case effect when 'deny' then 64 else 32 end
    end
$$;

comment on function authz._says_always(text, boolean, boolean, boolean) is
    'What a rule that is given directly says in what is derived, which is about all of the type or not, depends on anything
or not, and is approved or need not be.';

revoke all on function authz._says_always(text, boolean, boolean, boolean) from public;


create or replace function authz._derive_members(tenant_id uuid, group_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_groups uuid[] := array(
        select g.id
        from identity.groups as g
        where g.tenant_id = _derive_members.tenant_id and g.id = any (_derive_members.group_ids));
begin
    if v_groups <> '{}' then
        perform authz._derive_role_sets_with(_derive_members.tenant_id, '{}', v_groups);
    end if;
end
$$;

comment on function authz._derive_members(uuid, uuid[]) is
    'Derive anew the sets of those who are in these groups, among which may be ids of others.';

revoke all on function authz._derive_members(uuid, uuid[]) from public;
