create or replace function identity._is_last_owner(assignment_id uuid)
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    return exists (
            select
            from authz.user_roles as a
            join authz.roles as r on r.tenant_id = a.tenant_id and r.id = a.role_id
            where a.tenant_id = v_tenant_id and a.id = assignment_id and r.template_name = 'super_admin')
        and not exists (
            select
            from authz.user_roles as a
            join authz.roles as r on r.tenant_id = a.tenant_id and r.id = a.role_id
            join identity.users as u on u.tenant_id = a.tenant_id and u.id = a.user_id
            where a.tenant_id = v_tenant_id
              and a.id <> assignment_id
              and a.resource_id is null
              and not a.is_conditional
              and r.template_name = 'super_admin'
              and u.status in ('active', 'locked'));
end
$$;

comment on function identity._is_last_owner(uuid) is
    'Whether with this assignment the tenant would lose the last of those who may everything in it.';

revoke all on function identity._is_last_owner(uuid) from public;


create or replace function identity._withdraw_sso_roles(provider_id uuid, user_id uuid, but_for uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_assignment_id uuid;
begin
    -- One by one: each may be the last owner once those before it are gone.
    for v_assignment_id in
        select a.id
        from authz.user_roles as a
        where a.tenant_id = v_tenant_id
          and a.user_id = _withdraw_sso_roles.user_id
          and a.source = 'sso'
          and a.source_id = _withdraw_sso_roles.provider_id
          and a.role_id <> all (but_for)
        order by a.id
    loop
        if not identity._is_last_owner(v_assignment_id) then
            delete from authz.user_roles as a where a.tenant_id = v_tenant_id and a.id = v_assignment_id;
        end if;
    end loop;
end
$$;

comment on function identity._withdraw_sso_roles(uuid, uuid, uuid[]) is
    'Take the roles from a user that a provider gave, but for some, and for the tenant''s last owner. Roles given by hand
are left alone.';

revoke all on function identity._withdraw_sso_roles(uuid, uuid, uuid[]) from public;


create or replace function identity._sync_sso_roles(provider identity.sso_providers, user_id uuid, claims jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_wanted uuid[];
    v_held uuid[];
begin
    select coalesce(array_agg(w.role_id order by w.role_id), '{}') into v_wanted
    from (
        select provider.default_role_id
        where provider.default_role_id is not null
        union
        select m.role_id
        from identity.sso_role_mappings as m
        where m.tenant_id = v_tenant_id
          and m.provider_id = provider.id
          and identity._claim_has(claims, m.claim_name, m.claim_value)) as w (role_id);
    select coalesce(array_agg(a.role_id order by a.role_id), '{}') into v_held
    from authz.user_roles as a
    where a.tenant_id = v_tenant_id
      and a.user_id = _sync_sso_roles.user_id
      and a.source = 'sso'
      and a.source_id = provider.id;
    if v_held = v_wanted then
        return;         -- as a rule: then nobody who changes rights is kept waiting
    end if;

    perform authz._touch_epoch(v_tenant_id);
    perform identity._withdraw_sso_roles(provider.id, _sync_sso_roles.user_id, v_wanted);
    insert into authz.user_roles (tenant_id, user_id, role_id, source, source_id)
    select v_tenant_id, _sync_sso_roles.user_id, r.id, 'sso', provider.id
    from authz.roles as r
    where r.tenant_id = v_tenant_id
      and r.id = any (v_wanted)
      -- A role that is full is not given; the person signs in without it.
      and (r.holders_limit is null or r.holders_limit > (
          select count(distinct a.user_id)
          from authz.user_roles as a
          where a.tenant_id = v_tenant_id and a.role_id = r.id and a.user_id <> _sync_sso_roles.user_id))
    on conflict do nothing;
end
$$;

comment on function identity._sync_sso_roles(identity.sso_providers, uuid, jsonb) is
    'Give a user the roles that the provider''s claims stand for, and take away those that it gave and whose claim is
gone.';

revoke all on function identity._sync_sso_roles(identity.sso_providers, uuid, jsonb) from public;
