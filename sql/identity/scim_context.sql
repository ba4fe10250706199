create or replace function identity.open_scim_context(
    key text,
    request_id text default null,
    ip_address inet default null,
    user_agent text default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- seals with a key that callers may not read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fields jsonb := platform.open_api_key_context(
        open_scim_context.key, open_scim_context.request_id, open_scim_context.ip_address,
        open_scim_context.user_agent);
    v_answers boolean[];
begin
    -- The scope is given to a key by a sign-in that was strong enough for the rights it stands for, so its user's
    -- rights count here as after such a sign-in, and without what the scope confines the key to elsewhere.
    if v_fields -> 'scopes' ? 'scim' then
        perform platform._seal_context(
            v_fields - array['scopes', 'api_key_id'] || '{"authentication_level": 2}');
        v_answers := authz.check_many('{user.create,user.update,user.deactivate}', '{null,null,null}');
        perform platform._seal_context(v_fields);
    end if;
    if not coalesce(true = all (v_answers), false) then
        raise exception 'The API key is not for provisioning'
            using errcode = 'ZI040',
                  hint = 'It takes the scope scim, and a user with user.create, user.update and user.deactivate.';
    end if;
    return v_fields;
end
$$;

comment on function identity.open_scim_context(text, text, inet, text) is
    'Open the context of the current transaction by an API key with which a directory provisions its tenant; returns
the context. Raises what platform.open_api_key_context() raises, and ZI040 when the key or its user may not provision.';

revoke all on function identity.open_scim_context(text, text, inet, text) from public;
grant execute on function identity.open_scim_context(text, text, inet, text) to enterprise_ai_gateway;


create or replace function identity._refuse_above(holder_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_user_id uuid := platform.current_user_id();
    v_lacking text;
begin
    -- A service that was opened for no user answers for itself what it does.
    if v_user_id is null then
        return;
    end if;

    with recursive within (id) as (
        (select unnest(holder_ids)
         union
         select m.group_id
         from identity.group_members as m
         where m.tenant_id = v_tenant_id and m.user_id = any (holder_ids))
        union
        select g.parent_id
        from identity.groups as g
        join within as w on w.id = g.id
        where g.tenant_id = v_tenant_id and g.parent_id is not null
    ),
    held_roles (role_id) as (
        select a.role_id
        from within as w
        join authz.user_roles as a on a.tenant_id = v_tenant_id and a.user_id = w.id
        union
        select a.role_id
        from within as w
        join authz.group_roles as a on a.tenant_id = v_tenant_id and a.group_id = w.id
    ),
    carried (permission_id, only_own) as (
        select p.id, authz._rights_at(r.rights, p.place) & 30 = 4
        from held_roles as h
        join authz.role_rights as r on r.tenant_id = v_tenant_id and r.role_id = h.role_id
        join authz.permissions as p on authz._rights_at(r.rights, p.place) & 30 > 0
        union
        select g.permission_id, g.resource_id is not null
        from within as w
        join authz.user_permissions as g on g.tenant_id = v_tenant_id and g.user_id = w.id and g.effect = 'allow'
        union
        select g.permission_id, g.resource_id is not null
        from within as w
        join authz.group_permissions as g on g.tenant_id = v_tenant_id and g.group_id = w.id and g.effect = 'allow'
    )
    select p.name into v_lacking
    from carried as c
    join authz.permissions as p on p.id = c.permission_id
    cross join lateral authz._held(v_tenant_id, v_user_id, p.place, null) as held
    where held.rights & 1 > 0 or held.rights & 2 = 0 and not (c.only_own and held.rights & 4 > 0)
    order by p.id
    limit 1;
    if v_lacking is not null then
        raise exception 'User % may not change this, since it carries %', v_user_id, v_lacking
            using errcode = 'ZI040',
                  hint = 'A key for provisioning changes nobody, and no group, that may do more than the key''s own user.';
    end if;
end
$$;

comment on function identity._refuse_above(uuid[]) is
    'Raise ZI040 when one of these users or groups may do what the user of the context may not.';

revoke all on function identity._refuse_above(uuid[]) from public;
