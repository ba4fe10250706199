create or replace function identity.save_sso_provider(name text, settings jsonb)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes providers, which no group role can: who sets one up decides who is who
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_provider identity.sso_providers;
    v_changed identity.sso_providers;
    v_unknown text := (
        select string_agg(k.key, ', ')
        from jsonb_object_keys(settings) as k (key)
        where k.key not in (
            'display_name', 'protocol', 'is_enabled', 'issuer', 'client_id', 'signing_certificate', 'scopes',
            'authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'single_sign_on_url',
            'single_logout_url', 'signing_certificates', 'claim_names', 'required_claims', 'authentication_level',
            'authentication_levels', 'linking_domain', 'links_verified_email', 'creates_users', 'default_role_id'));
begin
    if v_unknown is not null then
        raise exception 'A single sign-on provider has no %', v_unknown
            using errcode = 'ZI037', hint = 'Its settings are the columns of identity.sso_providers; secrets are set apart.';
    end if;
    select p.* into v_provider
    from identity.sso_providers as p
    where p.tenant_id = v_tenant_id and p.name = save_sso_provider.name
    for no key update;
    if not found then
        insert into identity.sso_providers as p (
            tenant_id, name, display_name, protocol, issuer, client_id, single_sign_on_url, signing_certificates,
            authorization_endpoint, token_endpoint, userinfo_endpoint)
        select v_tenant_id, save_sso_provider.name, coalesce(s.display_name, save_sso_provider.name), s.protocol,
               s.issuer, s.client_id, s.single_sign_on_url, s.signing_certificates, s.authorization_endpoint,
               s.token_endpoint, s.userinfo_endpoint
        from jsonb_populate_record(null::identity.sso_providers, settings) as s
        returning p.* into v_provider;
    end if;

    v_changed := jsonb_populate_record(v_provider, settings);
    -- The same subject is another person elsewhere.
    if (v_changed.protocol, v_changed.issuer) is distinct from (v_provider.protocol, v_provider.issuer)
       and exists (select from identity.user_sso_accounts as a
                   where a.tenant_id = v_tenant_id and a.provider_id = v_provider.id) then
        raise exception 'People sign in through provider %, so its protocol and issuer are fixed', name
            using errcode = 'ZI038', hint = 'Add the new one as another provider; nothing has been changed.';
    end if;
    update identity.sso_providers as p
    set display_name = v_changed.display_name,
        protocol = v_changed.protocol,
        is_enabled = v_changed.is_enabled,
        issuer = v_changed.issuer,
        client_id = v_changed.client_id,
        signing_certificate = v_changed.signing_certificate,
        scopes = v_changed.scopes,
        authorization_endpoint = v_changed.authorization_endpoint,
        token_endpoint = v_changed.token_endpoint,
        userinfo_endpoint = v_changed.userinfo_endpoint,
        single_sign_on_url = v_changed.single_sign_on_url,
        single_logout_url = v_changed.single_logout_url,
        signing_certificates = v_changed.signing_certificates,
        claim_names = v_changed.claim_names,
        required_claims = v_changed.required_claims,
        authentication_level = v_changed.authentication_level,
        authentication_levels = v_changed.authentication_levels,
        linking_domain = v_changed.linking_domain,
        links_verified_email = v_changed.links_verified_email,
        creates_users = v_changed.creates_users,
        default_role_id = v_changed.default_role_id
    where p.tenant_id = v_tenant_id and p.id = v_provider.id;
    return v_provider.id;
end
$$;

comment on function identity.save_sso_provider(text, jsonb) is
    'Make a provider of the context''s tenant, or change what is named of the one of the name, as {"column": value, …};
returns its id. Raises ZI037 for what a provider does not have, ZI038 when people already sign in through it and it would
become another, 23514 naming the rule for values that do not fit.';

revoke all on function identity.save_sso_provider(text, jsonb) from public;
grant execute on function identity.save_sso_provider(text, jsonb) to enterprise_ai_gateway;


create or replace function identity.set_sso_secrets(provider_id uuid, client_secret bytea, signing_key bytea)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes secrets, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_provider identity.sso_providers := identity._sso_provider(set_sso_secrets.provider_id);
begin
    update identity.sso_providers as p
    set client_secret = coalesce(set_sso_secrets.client_secret, p.client_secret),
        signing_key = coalesce(set_sso_secrets.signing_key, p.signing_key)
    where p.tenant_id = v_provider.tenant_id and p.id = v_provider.id;
end
$$;

comment on function identity.set_sso_secrets(uuid, bytea, bytea) is
    'Store the sealed secrets of a provider; a null leaves the one that is there. Raises ZI030.';

revoke all on function identity.set_sso_secrets(uuid, bytea, bytea) from public;
grant execute on function identity.set_sso_secrets(uuid, bytea, bytea) to enterprise_ai_gateway;


create or replace function identity.sso_secrets(provider_id uuid)
    returns table (client_secret bytea, signing_key bytea)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads secrets, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_provider identity.sso_providers := identity._sso_provider(sso_secrets.provider_id);
begin
    client_secret := v_provider.client_secret;
    signing_key := v_provider.signing_key;
    return next;
end
$$;

comment on function identity.sso_secrets(uuid) is 'The sealed secrets of a provider, for those who sign people in. Raises ZI030.';

revoke all on function identity.sso_secrets(uuid) from public;
grant execute on function identity.sso_secrets(uuid) to enterprise_ai_gateway;


create or replace function identity.delete_sso_provider(provider_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes providers, accounts and rights, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_provider identity.sso_providers := identity._sso_provider(delete_sso_provider.provider_id);
    v_account identity.user_sso_accounts;
begin
    for v_account in
        select a.*
        from identity.user_sso_accounts as a
        where a.tenant_id = v_provider.tenant_id and a.provider_id = v_provider.id
        order by a.id
    loop
        perform identity._unlink_sso_account(v_account);
    end loop;
    delete from identity.sso_domains as d where d.tenant_id = v_provider.tenant_id and d.provider_id = v_provider.id;
    delete from identity.sso_providers as p where p.tenant_id = v_provider.tenant_id and p.id = v_provider.id;
end
$$;

comment on function identity.delete_sso_provider(uuid) is
    'Remove a provider with its accounts, the sessions and roles these have brought, and its domains; the users stay. Raises
ZI030.';

revoke all on function identity.delete_sso_provider(uuid) from public;
grant execute on function identity.delete_sso_provider(uuid) to enterprise_ai_gateway;


create or replace function identity.map_sso_role(provider_id uuid, claim_name text, claim_value text, role_name text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes mappings, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_role_id uuid := (select r.id from authz.roles as r where r.tenant_id = v_tenant_id and r.name = role_name);
    v_id uuid;
begin
    if v_role_id is null then
        raise exception 'There is no role %', role_name
            using errcode = 'ZI039', hint = 'Roles are named as in authz.roles.';
    end if;
    insert into identity.sso_role_mappings as m (tenant_id, provider_id, claim_name, claim_value, role_id)
    values (v_tenant_id, map_sso_role.provider_id, map_sso_role.claim_name, map_sso_role.claim_value, v_role_id)
    on conflict on constraint sso_role_mappings_one_per_claim_and_role do nothing;
    select m.id into v_id
    from identity.sso_role_mappings as m
    where m.tenant_id = v_tenant_id
      and m.provider_id = map_sso_role.provider_id
      and m.claim_name = map_sso_role.claim_name
      and m.claim_value = map_sso_role.claim_value
      and m.role_id = v_role_id;
    return v_id;
end
$$;

comment on function identity.map_sso_role(uuid, text, text, text) is
    'Have a claim of a provider stand for a role, from each person''s next sign-in on; returns the mapping''s id. Raises
ZI039 for an unknown role.';

revoke all on function identity.map_sso_role(uuid, text, text, text) from public;
grant execute on function identity.map_sso_role(uuid, text, text, text) to enterprise_ai_gateway;


create or replace function identity.unmap_sso_role(mapping_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes mappings and rights, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_mapping identity.sso_role_mappings;
    v_account identity.user_sso_accounts;
begin
    delete from identity.sso_role_mappings as m
    where m.tenant_id = v_tenant_id and m.id = unmap_sso_role.mapping_id
    returning m.* into v_mapping;
    if not found then
        return false;
    end if;
    for v_account in
        select a.*
        from authz.user_roles as held
        join identity.user_sso_accounts as a
            on a.tenant_id = held.tenant_id and a.provider_id = held.source_id and a.user_id = held.user_id
        where held.tenant_id = v_tenant_id
          and held.source = 'sso'
          and held.source_id = v_mapping.provider_id
          and held.role_id = v_mapping.role_id
        order by a.id
    loop
        perform identity._sync_sso_roles(
            identity._sso_provider(v_mapping.provider_id), v_account.user_id, v_account.claims);
    end loop;
    return true;
end
$$;

comment on function identity.unmap_sso_role(uuid) is
    'Take a mapping away, and at once the role from those who have it by this mapping alone; false when there is none of
that id.';

revoke all on function identity.unmap_sso_role(uuid) from public;
grant execute on function identity.unmap_sso_role(uuid) to enterprise_ai_gateway;


create or replace function identity.sso_role_mappings_of(provider_id uuid)
    returns table (id uuid, claim_name text, claim_value text, role text)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads mappings and roles for those who keep providers, who need not be able to
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select m.id, m.claim_name, m.claim_value, r.name
        from identity.sso_role_mappings as m
        join authz.roles as r on r.tenant_id = m.tenant_id and r.id = m.role_id
        where m.tenant_id = platform.current_tenant_id() and m.provider_id = sso_role_mappings_of.provider_id
        order by m.claim_name, m.claim_value, r.name;
end
$$;

comment on function identity.sso_role_mappings_of(uuid) is 'The roles that the claims of a provider of the context''s tenant stand for.';

revoke all on function identity.sso_role_mappings_of(uuid) from public;
grant execute on function identity.sso_role_mappings_of(uuid) to enterprise_ai_gateway;
