create or replace function identity._claim(claims jsonb, name text)
    returns jsonb
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select case when claims ? name then claims -> name else claims #> string_to_array(name, '.') end
$$;

comment on function identity._claim(jsonb, text) is
    'A claim by its name, or by the path to it, with dots; null where there is none.';

revoke all on function identity._claim(jsonb, text) from public;


create or replace function identity._claim_text(claims jsonb, name text)
    returns text
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    -- An attribute of a SAML assertion is a list, mostly of one.
    select nullif(btrim(case when jsonb_typeof(c.value) = 'array' then c.value ->> 0 else c.value #>> '{}' end), '')
    from (select identity._claim(claims, name)) as c (value)
$$;

comment on function identity._claim_text(jsonb, text) is
    'A claim as text, the first of a list; null where it is missing or blank.';

revoke all on function identity._claim_text(jsonb, text) from public;


create or replace function identity._claim_has(claims jsonb, name text, value text)
    returns boolean
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        case when jsonb_typeof(c.value) = 'array' then c.value ? _claim_has.value
             else c.value #>> '{}' = _claim_has.value end,
        false)
    from (select identity._claim(claims, name)) as c (value)
$$;

comment on function identity._claim_has(jsonb, text, text) is
    'Whether a claim is the value or, being a list, has it.';

revoke all on function identity._claim_has(jsonb, text, text) from public;


create or replace function identity._brings_required_claims(provider identity.sso_providers, claims jsonb)
    returns boolean
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select
        from jsonb_each(provider.required_claims) as wanted
        where not exists (
            select
            from jsonb_array_elements_text(wanted.value) as admitted (value)
            where identity._claim_has(claims, wanted.key, admitted.value)))
$$;

comment on function identity._brings_required_claims(identity.sso_providers, jsonb) is
    'Whether of each claim that the provider''s people must bring there is a value that is admitted.';

revoke all on function identity._brings_required_claims(identity.sso_providers, jsonb) from public;


create or replace function identity._sso_level(provider identity.sso_providers, claims jsonb)
    returns smallint
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select coalesce(max(l.value::smallint), provider.authentication_level)
    from jsonb_each_text(provider.authentication_levels) as l
    where identity._claim_has(claims, 'acr', l.key) or identity._claim_has(claims, 'amr', l.key)
$$;

comment on function identity._sso_level(identity.sso_providers, jsonb) is
    'The authentication level of a sign-in by what the provider says of how it went.';

revoke all on function identity._sso_level(identity.sso_providers, jsonb) from public;


create or replace function identity._sso_email(
    provider identity.sso_providers,
    claims jsonb,
    out email text,
    out is_verified boolean)
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_said text := lower(identity._claim_text(claims, provider.claim_names ->> 'email_verified'));
begin
    email := identity._claim_text(claims, provider.claim_names ->> 'email');
    if email !~ '^[^[:space:]@]+@[^[:space:]@]+$' or length(email) > 320 then
        email := null;
    end if;
    is_verified := email is not null and (
        coalesce(v_said = 'true', false)
        -- Many a company's provider says nothing. Of addresses in a domain that the tenant has shown to be its own,
        -- and has given to this provider, it is the one to know.
        or v_said is null and exists (
            select from identity.sso_domains as d
            where d.domain = lower(split_part(email, '@', 2))
              and d.tenant_id = provider.tenant_id
              and d.provider_id = provider.id
              and d.verified_at is not null));
end
$$;

comment on function identity._sso_email(identity.sso_providers, jsonb) is
    'The address in the claims, if it is one, and whether it counts as verified: the provider says so, or it says nothing
and the address lies in a verified domain of the provider.';

revoke all on function identity._sso_email(identity.sso_providers, jsonb) from public;


create or replace function identity._mapped_claims(provider_id uuid, claims jsonb)
    returns jsonb
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_object_agg(m.claim_name, identity._claim(claims, m.claim_name)), '{}')
        from (select distinct m.claim_name
              from identity.sso_role_mappings as m
              where m.tenant_id = platform.current_tenant_id()
                and m.provider_id = _mapped_claims.provider_id) as m
        where identity._claim(claims, m.claim_name) is not null);
end
$$;

comment on function identity._mapped_claims(uuid, jsonb) is
    'Of what a provider says, the claims that roles are mapped to: no more is kept.';

revoke all on function identity._mapped_claims(uuid, jsonb) from public;


create or replace function identity._sso_provider(provider_id uuid)
    returns identity.sso_providers
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_provider identity.sso_providers;
begin
    select p.* into v_provider
    from identity.sso_providers as p
    where p.tenant_id = platform.current_tenant_id() and p.id = _sso_provider.provider_id;
    if not found then
        raise exception 'There is no single sign-on provider %', _sso_provider.provider_id
            using errcode = 'ZI030', hint = 'The tenant of the context has none of this id.';
    end if;
    return v_provider;
end
$$;

comment on function identity._sso_provider(uuid) is 'A provider of the context''s tenant. Raises ZI030.';

revoke all on function identity._sso_provider(uuid) from public;
