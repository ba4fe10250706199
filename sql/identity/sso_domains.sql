create or replace function identity.claim_sso_domain(domain text, provider_id uuid)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes a catalogue of all tenants
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_provider identity.sso_providers := identity._sso_provider(claim_sso_domain.provider_id);
    v_token text := 'enterprise-ai-verification=' || encode(platform.random_bytes(16), 'hex');
begin
    if exists (select from identity.sso_domains as d
               where d.domain = lower(claim_sso_domain.domain)
                 and d.tenant_id <> v_provider.tenant_id
                 and d.verified_at is not null) then
        raise exception 'The domain % belongs to somebody else', lower(claim_sso_domain.domain)
            using errcode = 'ZI035', hint = 'Another tenant has shown that it is theirs.';
    end if;
    insert into identity.sso_domains as d (domain, tenant_id, provider_id, verification_token)
    values (lower(claim_sso_domain.domain), v_provider.tenant_id, v_provider.id, v_token)
    on conflict on constraint sso_domains_pkey do update set provider_id = excluded.provider_id
    returning d.verification_token into v_token;
    return v_token;
end
$$;

comment on function identity.claim_sso_domain(text, uuid) is
    'Have the people of an e-mail domain sent to a provider of the context''s tenant, once the domain is shown to be the
tenant''s: by a TXT record in its DNS with the text returned. Again for a domain that the tenant has: another provider,
the same text. Raises ZI030, and ZI035 when another tenant has shown that it is theirs.';

revoke all on function identity.claim_sso_domain(text, uuid) from public;
grant execute on function identity.claim_sso_domain(text, uuid) to enterprise_ai_gateway;


create or replace function identity.verify_sso_domain(domain text, found_texts text[], is_enforced boolean default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes a catalogue of all tenants
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_domain identity.sso_domains;
begin
    select d.* into v_domain
    from identity.sso_domains as d
    where d.domain = lower(verify_sso_domain.domain) and d.tenant_id = v_tenant_id
    for update;
    if not found then
        raise exception 'The domain % was not claimed', lower(verify_sso_domain.domain)
            using errcode = 'ZI036', hint = 'Claim it with identity.claim_sso_domain() first.';
    elsif (v_domain.verification_token = any (found_texts)) is not true then
        return false;
    end if;
    update identity.sso_domains as d
    set verified_at = coalesce(d.verified_at, clock_timestamp()),
        is_enforced = coalesce(verify_sso_domain.is_enforced, d.is_enforced)
    where d.domain = v_domain.domain and d.tenant_id = v_tenant_id;
    return true;
end
$$;

comment on function identity.verify_sso_domain(text, text[], boolean) is
    'Whether the text that shows that a domain is the tenant''s is among those that the caller has just found in its DNS; if
so the domain counts, and with is_enforced its people no longer sign in by password. Raises ZI036 when it was not
claimed, 23505 naming sso_domains_domain_key when another tenant has been quicker.';

revoke all on function identity.verify_sso_domain(text, text[], boolean) from public;
grant execute on function identity.verify_sso_domain(text, text[], boolean) to enterprise_ai_gateway;


create or replace function identity.release_sso_domain(domain text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes a catalogue of all tenants
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from identity.sso_domains as d
    where d.domain = lower(release_sso_domain.domain) and d.tenant_id = platform.current_tenant_id();
    return found;
end
$$;

comment on function identity.release_sso_domain(text) is
    'Give up a domain of the context''s tenant; false when it has none of the name.';

revoke all on function identity.release_sso_domain(text) from public;
grant execute on function identity.release_sso_domain(text) to enterprise_ai_gateway;


create or replace function identity.sso_domains_of(provider_id uuid)
    returns table (domain text, verification_token text, verified_at timestamptz, is_enforced boolean)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads a catalogue of all tenants, and shows the tenant's own
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select d.domain, d.verification_token, d.verified_at, d.is_enforced
        from identity.sso_domains as d
        where d.tenant_id = platform.current_tenant_id() and d.provider_id = sso_domains_of.provider_id
        order by d.domain;
end
$$;

comment on function identity.sso_domains_of(uuid) is 'The domains that a provider of the context''s tenant has, or has claimed.';

revoke all on function identity.sso_domains_of(uuid) from public;
grant execute on function identity.sso_domains_of(uuid) to enterprise_ai_gateway;


create or replace function identity.route_sso(email text)
    returns table (tenant_id uuid, provider_id uuid, is_enforced boolean)
    language plpgsql
    stable
    parallel restricted
    security definer        -- leads to the tenant, before a context is open
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select d.tenant_id, d.provider_id, d.is_enforced
        from identity.sso_domains as d
        where d.domain = lower(substring(route_sso.email from '@([^@]+)$')) and d.verified_at is not null;
end
$$;

comment on function identity.route_sso(text) is
    'The tenant and the provider where people of an address''s domain sign in; nothing when the domain is nobody''s.';

revoke all on function identity.route_sso(text) from public;
grant execute on function identity.route_sso(text) to enterprise_ai_gateway;


create or replace function identity._must_use_sso(email text)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select
        from identity.sso_domains as d
        join identity.sso_providers as p on p.tenant_id = d.tenant_id and p.id = d.provider_id
        where d.domain = lower(split_part(_must_use_sso.email, '@', 2))
          and d.tenant_id = platform.current_tenant_id()
          and d.is_enforced
          and p.is_enabled);
end
$$;

comment on function identity._must_use_sso(text) is
    'Whether people of an address''s domain sign in to the context''s tenant through their provider only.';

revoke all on function identity._must_use_sso(text) from public;
