-- 002_sso_and_llm_domain.sql: signing in through others, and what was said to which model at what price.
--
-- Runs on PostgreSQL 12 to 18, by the migration engine or by psql -1 -f, after 001.

--- identity: single sign-on providers --------------------------------------------
-- An account is found by provider and subject, never by its address. What decides about signing in is
-- written by functions only; applications read what they need to start a sign-in, and never a secret.

create table identity.sso_providers (
    tenant_id              uuid        not null,
    id                     uuid        not null default platform.new_id(),
    name                   text        not null,
    display_name           text        not null,
    protocol               text        not null,
    is_enabled             boolean     not null default false,
    issuer                 text        not null,
    client_id              text        not null,
    client_secret          bytea,
    signing_key            bytea,
    signing_certificate    text,
    scopes                 text[]      not null default '{}',
    authorization_endpoint text,
    token_endpoint         text,
    userinfo_endpoint      text,
    single_sign_on_url     text,
    single_logout_url      text,
    signing_certificates   text[],
    claim_names            jsonb       not null default
        '{"email": "email", "email_verified": "email_verified", "display_name": "name",
          "given_name": "given_name", "family_name": "family_name"}',
    required_claims        jsonb       not null default '{}',
    authentication_level   smallint    not null default 1,
    authentication_levels  jsonb       not null default '{}',
    linking_domain         text,
    links_verified_email   boolean     not null default false,
    creates_users          boolean     not null default false,
    default_role_id        uuid,
    created_at             timestamptz not null default now(),
    updated_at             timestamptz not null default now(),

    constraint sso_providers_pkey primary key (tenant_id, id),
    constraint sso_providers_name_key unique (tenant_id, name),
    constraint sso_providers_issuer_key unique (tenant_id, issuer, client_id),
    constraint sso_providers_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint sso_providers_default_role_id_fkey foreign key (tenant_id, default_role_id)
        references authz.roles (tenant_id, id) on delete no action,
    constraint sso_providers_name_is_a_slug check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    constraint sso_providers_display_name_is_not_blank check (display_name ~ '\S'),
    constraint sso_providers_protocol_is_known check (protocol in ('oidc', 'oauth2', 'saml')),
    constraint sso_providers_authentication_level_is_known check (authentication_level between 1 and 3),
    constraint sso_providers_claim_names_are_known check (
        jsonb_typeof(claim_names) = 'object'
        and claim_names - '{email,email_verified,display_name,given_name,family_name,job_title,department,locale,'
                          'time_zone,external_id}'::text[] = '{}'),
    -- What is not such a list would require nothing, or nobody could fulfil it.
    constraint sso_providers_required_claims_are_lists_of_text check (
        jsonb_typeof(required_claims) = 'object'
        and not jsonb_path_exists(
            required_claims,
            'strict $.* ? (@.type() != "array" || @.size() == 0
                           || exists(@[*] ? (@.type() != "string" || @ == "")))')),
    constraint sso_providers_authentication_levels_are_known check (
        jsonb_typeof(authentication_levels) = 'object'
        and not jsonb_path_exists(authentication_levels, 'strict $.* ? (!(@ == 1 || @ == 2 || @ == 3) || (@ == 1) is unknown)')),
    constraint sso_providers_only_saml_publishes_a_certificate check (
        signing_certificate is null or protocol = 'saml'),
    constraint sso_providers_have_what_their_protocol_needs check (
        case
            when protocol = 'saml'
                then single_sign_on_url is not null and signing_certificates is not null
                     and cardinality(signing_certificates) > 0
                     and num_nonnulls(authorization_endpoint, token_endpoint, userinfo_endpoint) = 0
            when protocol = 'oauth2'
                then num_nonnulls(authorization_endpoint, token_endpoint, userinfo_endpoint) = 3
                     and num_nonnulls(single_sign_on_url, single_logout_url, signing_certificates) = 0
            else num_nonnulls(single_sign_on_url, single_logout_url, signing_certificates) = 0
        end),
    -- Plain HTTP would hand the codes and assertions to whoever listens; a provider on loopback is for trials.
    constraint sso_providers_addresses_are_safe check (
        (protocol = 'saml' or issuer ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])')
        and coalesce(authorization_endpoint, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])'
        and coalesce(token_endpoint, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])'
        and coalesce(userinfo_endpoint, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])'
        and coalesce(single_sign_on_url, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])'
        and coalesce(single_logout_url, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])')
);

create index sso_providers_default_role_id_idx on identity.sso_providers (tenant_id, default_role_id);

comment on table identity.sso_providers is
    'One row for each identity provider through which people of a tenant can sign in.';
comment on column identity.sso_providers.name is
    'The provider''s name in addresses, such as the one it sends people back to.';
comment on column identity.sso_providers.issuer is
    'How the provider names itself: the OpenID Connect issuer, the SAML entity id, for plain OAuth 2.0 its
base address.';
comment on column identity.sso_providers.client_id is
    'How the provider names us: the OAuth client id, or our SAML entity id.';
comment on column identity.sso_providers.client_secret is
    'The OAuth client secret, sealed by the service that uses it under a key that is not in the database; null for a
public client.';
comment on column identity.sso_providers.signing_key is
    'The private key that signs our SAML requests and opens encrypted assertions, sealed like client_secret.';
comment on column identity.sso_providers.signing_certificate is
    'The certificate (PEM) of signing_key, which our SAML metadata publishes.';
comment on column identity.sso_providers.scopes is 'What is asked for when somebody signs in.';
comment on column identity.sso_providers.authorization_endpoint is
    'With token_endpoint and userinfo_endpoint: set for OAuth 2.0; for OpenID Connect only to override what
discovery says.';
comment on column identity.sso_providers.signing_certificates is
    'The certificates (PEM) one of which signs SAML assertions; two while the provider changes its key.';
comment on column identity.sso_providers.claim_names is
    'Where to find what in a token or assertion, as {"email": "claim", "email_verified": …, "display_name": …, a column
of the profile: …, "external_id": …}. Where external_id is named, a first sign-in joins the user whose external id the
claim says: only for the directory that provisions the users.';
comment on column identity.sso_providers.required_claims is
    'What everybody who comes through the provider must bring, each time, as {"claim": ["value", …], …}: of each claim one
of the values. Where a provider signs in more than the tenant''s own people, such as Google with {"hd": ["example.com"]}.';
comment on column identity.sso_providers.authentication_level is
    'The NIST SP 800-63 authenticator assurance level, 1 to 3, of a sign-in of which nothing more is said.';
comment on column identity.sso_providers.authentication_levels is
    'The level by what the provider says of how somebody signed in, as {"value of acr, of amr, or SAML context class":
level, …}; the highest that applies counts.';
comment on column identity.sso_providers.linking_domain is
    'Providers with the same one may share an account; null when this one keeps to itself, as every
enterprise provider does.';
comment on column identity.sso_providers.links_verified_email is
    'A sign-in with a verified address joins an existing account of its linking domain; an unverified one
never does.';
comment on column identity.sso_providers.creates_users is
    'A first sign-in makes the user (just-in-time provisioning).';
comment on column identity.sso_providers.default_role_id is
    'The role of everybody who signs in through the provider.';

create trigger touch_updated_at before update on identity.sso_providers
    for each row execute function platform.touch_updated_at();

alter table identity.sso_providers enable row level security;
alter table identity.sso_providers force row level security;
create policy sso_providers_of_my_tenant on identity.sso_providers
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select (tenant_id, id, name, display_name, protocol, is_enabled, issuer, client_id, scopes,
              authorization_endpoint, token_endpoint, userinfo_endpoint, single_sign_on_url, single_logout_url,
              signing_certificates, claim_names, authentication_level, created_at, updated_at)
    on identity.sso_providers to enterprise_ai_app;
-- Those who sign people in read all but the secrets, which identity.sso_secrets() gives them one by one.
grant select (tenant_id, id, name, display_name, protocol, is_enabled, issuer, client_id, signing_certificate, scopes,
              authorization_endpoint, token_endpoint, userinfo_endpoint, single_sign_on_url, single_logout_url,
              signing_certificates, claim_names, required_claims, authentication_level, authentication_levels,
              linking_domain, links_verified_email, creates_users, default_role_id, created_at, updated_at)
    on identity.sso_providers to enterprise_ai_gateway;

create table identity.sso_domains (
    domain             text        not null,
    tenant_id          uuid        not null,
    provider_id        uuid        not null,
    verification_token text        not null,
    verified_at        timestamptz,
    is_enforced        boolean     not null default false,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),

    constraint sso_domains_pkey primary key (domain, tenant_id),
    constraint sso_domains_domain_is_lower_case check (domain = lower(domain)),
    constraint sso_domains_domain_is_a_host_name check (
        domain ~* '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$'
        and length(domain) <= 253),
    constraint sso_domains_enforced_are_verified check (not is_enforced or verified_at is not null)
);

-- A domain leads to one tenant. Only its verified owner counts: a claim that is never verified keeps nobody out.
create unique index sso_domains_domain_key on identity.sso_domains (domain) where verified_at is not null;
-- A tenant's or a provider's domains, to list them and to remove them with it.
create index sso_domains_provider_id_idx on identity.sso_domains (tenant_id, provider_id);

comment on table identity.sso_domains is
    'One row for each e-mail domain whose people a tenant wants sent to a provider. Once verified it belongs to one
tenant of the installation, so this is shared by all of them and granted to no application; stored in lower case, it is
unique whatever its case. Without foreign keys: it leads to the tenant, before a context is open.';
comment on column identity.sso_domains.verification_token is
    'What the tenant publishes in the domain''s DNS to show that it is theirs.';
comment on column identity.sso_domains.verified_at is
    'When the token was found there; before it nobody is sent anywhere.';
comment on column identity.sso_domains.is_enforced is
    'People of the domain sign in through the provider only, not by password.';

create trigger touch_updated_at before update on identity.sso_domains
    for each row execute function platform.touch_updated_at();

grant select on identity.sso_domains to enterprise_ai_operator;

create table identity.user_sso_accounts (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    provider_id    uuid        not null,
    subject        text        not null,
    user_id        uuid        not null,
    email          text,
    email_verified boolean     not null default false,
    claims         jsonb       not null default '{}',
    linked_at      timestamptz not null default now(),
    last_login_at  timestamptz,

    constraint user_sso_accounts_pkey primary key (tenant_id, id),
    constraint user_sso_accounts_subject_key unique (tenant_id, provider_id, subject),
    constraint user_sso_accounts_one_per_provider unique (tenant_id, provider_id, user_id),
    constraint user_sso_accounts_provider_id_fkey foreign key (tenant_id, provider_id)
        references identity.sso_providers (tenant_id, id) on delete cascade,
    constraint user_sso_accounts_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_sso_accounts_subject_is_not_blank check (subject ~ '\S'),
    constraint user_sso_accounts_verified_have_an_email check (not email_verified or email is not null),
    constraint user_sso_accounts_claims_are_an_object check (jsonb_typeof(claims) = 'object')
);

-- Through which providers somebody can sign in.
create index user_sso_accounts_user_id_idx on identity.user_sso_accounts (tenant_id, user_id);

comment on table identity.user_sso_accounts is
    'One row for each account at a provider that signs a user in.';
comment on column identity.user_sso_accounts.subject is
    'What the provider calls the person for good: the sub claim, or the SAML NameID.';
comment on column identity.user_sso_accounts.email is
    'The address that the provider gave last; nobody is found by it.';
comment on column identity.user_sso_accounts.email_verified is
    'Whether the provider said that it has verified the address.';
comment on column identity.user_sso_accounts.claims is
    'What the provider said at the last sign-in, as {"claim": value, …}, of the claims that are mapped to roles: one
that is gone takes its role along.';

alter table identity.user_sso_accounts enable row level security;
alter table identity.user_sso_accounts force row level security;
create policy user_sso_accounts_of_my_tenant on identity.user_sso_accounts
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select (tenant_id, id, provider_id, subject, user_id, email, email_verified, linked_at, last_login_at)
    on identity.user_sso_accounts to enterprise_ai_app;

create table identity.sso_role_mappings (
    tenant_id   uuid        not null,
    id          uuid        not null default platform.new_id(),
    provider_id uuid        not null,
    claim_name  text        not null,
    claim_value text        not null,
    role_id     uuid        not null,
    created_at  timestamptz not null default now(),

    constraint sso_role_mappings_pkey primary key (tenant_id, id),
    constraint sso_role_mappings_one_per_claim_and_role unique (
        tenant_id, provider_id, claim_name, claim_value, role_id),
    constraint sso_role_mappings_provider_id_fkey foreign key (tenant_id, provider_id)
        references identity.sso_providers (tenant_id, id) on delete cascade,
    constraint sso_role_mappings_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint sso_role_mappings_claim_name_is_not_blank check (claim_name ~ '\S')
);

create index sso_role_mappings_role_id_idx on identity.sso_role_mappings (tenant_id, role_id);

comment on table identity.sso_role_mappings is
    'One row for each role that a claim of a provider gives, for as long as the claim is there.';
comment on column identity.sso_role_mappings.claim_value is
    'The value the claim must have; where the claim is a list, the value that must be in it.';

alter table identity.sso_role_mappings enable row level security;
alter table identity.sso_role_mappings force row level security;
create policy sso_role_mappings_of_my_tenant on identity.sso_role_mappings
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on identity.sso_role_mappings to enterprise_ai_app;

create table identity.sso_requests (
    tenant_id     uuid        not null,
    state_hash    bytea       not null,
    browser_hash  bytea       not null,
    provider_id   uuid        not null,
    redirect_uri  text        not null,
    return_to     text        not null,
    nonce         text        not null,
    code_verifier text        not null,
    max_age       interval,
    expires_at    timestamptz not null,

    constraint sso_requests_pkey primary key (tenant_id, state_hash),
    constraint sso_requests_provider_id_fkey foreign key (tenant_id, provider_id)
        references identity.sso_providers (tenant_id, id) on delete cascade,
    constraint sso_requests_state_hash_is_sha256 check (octet_length(state_hash) = 32),
    constraint sso_requests_browser_hash_is_sha256 check (octet_length(browser_hash) = 32),
    -- Back to a page of ours: neither //elsewhere nor /\elsewhere, which browsers take for another host.
    constraint sso_requests_return_to_our_own check (return_to ~ '^/([^/\\[:cntrl:]][^\\[:cntrl:]]*)?$'),
    constraint sso_requests_max_age_is_not_negative check (max_age >= '0')
);

create index sso_requests_provider_id_idx on identity.sso_requests (tenant_id, provider_id);
-- What is swept when the next one begins.
create index sso_requests_expires_at_idx on identity.sso_requests (tenant_id, expires_at);

comment on table identity.sso_requests is
    'One row for each sign-in that was sent to a provider and has not come back; it is used up by coming back.';
comment on column identity.sso_requests.state_hash is 'SHA-256 of the state (SAML: RelayState) that comes back with it.';
comment on column identity.sso_requests.browser_hash is
    'SHA-256 of what the browser that began it keeps in a cookie: nobody completes the sign-in of another.';
comment on column identity.sso_requests.return_to is 'The page that was asked for, to go on to.';
comment on column identity.sso_requests.nonce is
    'What the id token must repeat; for SAML the id of the request, which the assertion must answer.';
comment on column identity.sso_requests.code_verifier is 'The PKCE secret (RFC 7636), whose hash went along.';
comment on column identity.sso_requests.max_age is 'How long ago the person may have signed in at the provider.';

alter table identity.sso_requests enable row level security;
alter table identity.sso_requests force row level security;
create policy sso_requests_of_my_tenant on identity.sso_requests
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.sso_used_ids (
    tenant_id   uuid        not null,
    provider_id uuid        not null,
    id_hash     bytea       not null,
    expires_at  timestamptz not null,

    constraint sso_used_ids_pkey primary key (tenant_id, provider_id, id_hash),
    constraint sso_used_ids_provider_id_fkey foreign key (tenant_id, provider_id)
        references identity.sso_providers (tenant_id, id) on delete cascade,
    constraint sso_used_ids_id_hash_is_sha256 check (octet_length(id_hash) = 32)
);

-- What is swept when the next one is used.
create index sso_used_ids_expires_at_idx on identity.sso_used_ids (tenant_id, provider_id, expires_at);

comment on table identity.sso_used_ids is
    'One row for each SAML assertion and logout token that was accepted and could still be sent again.';
comment on column identity.sso_used_ids.id_hash is 'SHA-256 of the assertion''s id, or of the token''s jti.';
comment on column identity.sso_used_ids.expires_at is 'From then on it is refused for being too old.';

alter table identity.sso_used_ids enable row level security;
alter table identity.sso_used_ids force row level security;
create policy sso_used_ids_of_my_tenant on identity.sso_used_ids
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.sso_sessions (
    tenant_id           uuid  not null,
    session_id          uuid  not null,
    account_id          uuid  not null,
    provider_session_id text,
    id_token            bytea,

    constraint sso_sessions_pkey primary key (tenant_id, session_id),
    constraint sso_sessions_session_id_fkey foreign key (tenant_id, session_id)
        references identity.user_sessions (tenant_id, id) on delete cascade,
    constraint sso_sessions_account_id_fkey foreign key (tenant_id, account_id)
        references identity.user_sso_accounts (tenant_id, id) on delete cascade
);

-- The sessions that end when the provider says so: of one sign-in there, or all of a person's.
create index sso_sessions_account_id_idx on identity.sso_sessions (tenant_id, account_id);

comment on table identity.sso_sessions is
    'One row for each session that began by single sign-on, so that signing out here and there goes together.';
comment on column identity.sso_sessions.provider_session_id is
    'What the provider calls its own session: the sid claim, or the SAML SessionIndex.';
comment on column identity.sso_sessions.id_token is
    'The id token, sealed like client_secret, which the provider wants back when somebody signs out.';

alter table identity.sso_sessions enable row level security;
alter table identity.sso_sessions force row level security;
create policy sso_sessions_of_my_tenant on identity.sso_sessions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

--- identity: single sign-on rules ------------------------------------------------
-- One function decides for every way in: a browser that comes back, a token exchange, provisioning.

-- >>> sql/identity/sso_claims.sql
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
-- <<<

-- >>> sql/identity/sso_roles.sql
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
-- <<<

-- >>> sql/identity/sso_accounts.sql
-- Which user a provider's account signs in is decided once, at its first sign-in, and stays so: an address that is
-- given to somebody else leads to nobody's account.

create or replace function identity._may_join(provider identity.sso_providers, user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- Another account of the same provider is another person who has been given the address, and providers that do
    -- not share a linking domain do not answer for each other.
    return not exists (
        select
        from identity.user_sso_accounts as a
        join identity.sso_providers as p on p.tenant_id = a.tenant_id and p.id = a.provider_id
        where a.tenant_id = provider.tenant_id
          and a.user_id = _may_join.user_id
          and (p.id = provider.id or (p.linking_domain = provider.linking_domain) is not true));
end
$$;

comment on function identity._may_join(identity.sso_providers, uuid) is
    'Whether an account of the provider may be joined to a user by what the provider says: all that the user has are of
other providers in its linking domain.';

revoke all on function identity._may_join(identity.sso_providers, uuid) from public;


create or replace function identity._unlink_sso_account(account identity.user_sso_accounts)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._revoke_sessions(
        array(select s.session_id
              from identity.sso_sessions as s
              where s.tenant_id = account.tenant_id and s.account_id = account.id),
        'single sign-on account removed');
    perform authz._touch_epoch(account.tenant_id);
    perform identity._withdraw_sso_roles(account.provider_id, account.user_id, '{}');
    delete from identity.user_sso_accounts as a where a.tenant_id = account.tenant_id and a.id = account.id;
end
$$;

comment on function identity._unlink_sso_account(identity.user_sso_accounts) is
    'Remove a provider''s account with the sessions and the roles it has brought.';

revoke all on function identity._unlink_sso_account(identity.user_sso_accounts) from public;


create or replace function identity._disown(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_account identity.user_sso_accounts;
begin
    perform identity._end_access(_disown.user_id, 'taken over by the owner of the address');
    delete from identity.user_passwords as p where p.tenant_id = v_tenant_id and p.user_id = _disown.user_id;
    delete from identity.mfa_factors as f where f.tenant_id = v_tenant_id and f.user_id = _disown.user_id;
    delete from identity.mfa_recovery_codes as c where c.tenant_id = v_tenant_id and c.user_id = _disown.user_id;
    for v_account in
        select a.* from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = _disown.user_id
    loop
        perform identity._unlink_sso_account(v_account);
    end loop;
end
$$;

comment on function identity._disown(uuid) is
    'Take from a user whose address was never verified all that lets somebody in: whoever set it up may not be the one
the address belongs to.';

revoke all on function identity._disown(uuid) from public;


create or replace function identity._find_sso_user(
    provider identity.sso_providers,
    external_id text,
    email text,
    email_verified boolean,
    out outcome text,
    out user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user identity.users;
    v_by_address boolean := false;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = provider.tenant_id and u.external_id = _find_sso_user.external_id
    for no key update;
    if not found then
        select u.* into v_user
        from identity.users as u
        where u.tenant_id = provider.tenant_id
          and u.email_key = lower(_find_sso_user.email)
          and u.deleted_at is null
        for no key update;
        -- Provisioning may have made the user since the first look.
        v_by_address := found and (v_user.external_id = _find_sso_user.external_id) is not true;
    end if;

    if v_user.id is null then
        outcome := 'unknown';
    elsif v_user.status not in ('invited', 'active', 'locked') then
        outcome := 'inactive';
    elsif v_by_address and (provider.links_verified_email and email_verified) is not true
          or not identity._may_join(provider, v_user.id) then
        outcome := 'address_taken';
    else
        outcome := 'found';
        user_id := v_user.id;
        if v_user.email_verified_at is null then
            perform identity._disown(v_user.id);
        end if;
    end if;
end
$$;

comment on function identity._find_sso_user(identity.sso_providers, text, text, boolean) is
    'The user whom a first sign-in is to be joined to (found), or why there is none: unknown, inactive, address_taken.';

revoke all on function identity._find_sso_user(identity.sso_providers, text, text, boolean) from public;


create or replace function identity._create_sso_user(
    provider identity.sso_providers,
    external_id text,
    email text,
    display_name text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.users (tenant_id, id, email, display_name, external_id, status)
    values (provider.tenant_id, v_id, _create_sso_user.email,
            coalesce(_create_sso_user.display_name, _create_sso_user.email), _create_sso_user.external_id, 'active')
    on conflict do nothing;
    return case when found then v_id end;
end
$$;

comment on function identity._create_sso_user(identity.sso_providers, text, text, text) is
    'Make the user of a first sign-in; null when somebody else has just made one of the same address.';

revoke all on function identity._create_sso_user(identity.sso_providers, text, text, text) from public;


create or replace function identity._take_in(
    provider identity.sso_providers,
    claims jsonb,
    email text,
    email_verified boolean,
    out outcome text,
    out user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_external_id text := identity._claim_text(claims, provider.claim_names ->> 'external_id');
begin
    select f.outcome, f.user_id into outcome, user_id
    from identity._find_sso_user(provider, v_external_id, email, email_verified) as f;
    if outcome <> 'unknown' then
        return;
    elsif not provider.creates_users then
        outcome := 'not_invited';
    elsif email is null then
        outcome := 'no_address';
    else
        outcome := 'created';
        user_id := identity._create_sso_user(
            provider, v_external_id, email, identity._claim_text(claims, provider.claim_names ->> 'display_name'));
        if user_id is null then
            -- Somebody else was quicker, and has committed by now.
            select f.outcome, f.user_id into outcome, user_id
            from identity._find_sso_user(provider, v_external_id, email, email_verified) as f;
        end if;
    end if;
end
$$;

comment on function identity._take_in(identity.sso_providers, jsonb, text, boolean) is
    'The user of an account''s first sign-in: found or created, or why there is none.';

revoke all on function identity._take_in(identity.sso_providers, jsonb, text, boolean) from public;


create or replace function identity.link_sso_account(user_id uuid, provider_id uuid, subject text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes accounts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.user_sso_accounts (tenant_id, id, provider_id, subject, user_id)
    values (platform.current_tenant_id(), v_id, link_sso_account.provider_id, link_sso_account.subject,
            link_sso_account.user_id);
    return v_id;
end
$$;

comment on function identity.link_sso_account(uuid, uuid, text) is
    'Let an account at a provider sign in a user of the context''s tenant: the caller vouches for it, as provisioning does,
or somebody who is signed in and has come back from the provider. Raises 23505 naming user_sso_accounts_subject_key or
user_sso_accounts_one_per_provider, 23503 when there is no such user or provider.';

revoke all on function identity.link_sso_account(uuid, uuid, text) from public;
grant execute on function identity.link_sso_account(uuid, uuid, text) to enterprise_ai_gateway;


create or replace function identity.unlink_sso_account(account_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes accounts and rights, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_account identity.user_sso_accounts;
begin
    select a.* into v_account
    from identity.user_sso_accounts as a
    where a.tenant_id = platform.current_tenant_id() and a.id = unlink_sso_account.account_id
    for update;
    if not found then
        return false;
    end if;
    perform identity._unlink_sso_account(v_account);
    return true;
end
$$;

comment on function identity.unlink_sso_account(uuid) is
    'Remove an account at a provider with the sessions and roles it has brought; false when there is none of that id.';

revoke all on function identity.unlink_sso_account(uuid) from public;
grant execute on function identity.unlink_sso_account(uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/sso_sign_in.sql
create or replace function identity._refresh_sso_user(
    provider identity.sso_providers,
    user_id uuid,
    claims jsonb,
    email text,
    email_verified boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile jsonb := (
        select jsonb_object_agg(n.key, identity._claim_text(claims, n.value))
        from jsonb_each_text(provider.claim_names) as n
        where n.key in ('given_name', 'family_name', 'job_title', 'department', 'locale', 'time_zone')
          and identity._claim_text(claims, n.value) is not null);
begin
    update identity.users as u
    set display_name = coalesce(
            identity._claim_text(claims, provider.claim_names ->> 'display_name'), u.display_name),
        email_verified_at = coalesce(
            u.email_verified_at,
            case when email_verified and lower(u.email) = lower(_refresh_sso_user.email) then clock_timestamp() end)
    where u.tenant_id = provider.tenant_id and u.id = _refresh_sso_user.user_id;
    -- Apart, since naming the status takes one's turn among those who change rights.
    update identity.users as u
    set status = 'active'
    where u.tenant_id = provider.tenant_id and u.id = _refresh_sso_user.user_id and u.status = 'invited';
    if v_profile is not null then
        perform identity.save_profile(_refresh_sso_user.user_id, v_profile);
    end if;
end
$$;

comment on function identity._refresh_sso_user(identity.sso_providers, uuid, jsonb, text, boolean) is
    'Keep of a user what the provider says, but never another address: a password is reset by it.';

revoke all on function identity._refresh_sso_user(identity.sso_providers, uuid, jsonb, text, boolean) from public;


create or replace function identity._find_sso_account(provider_id uuid, subject text)
    returns identity.user_sso_accounts
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_account identity.user_sso_accounts;
begin
    select a.* into v_account
    from identity.user_sso_accounts as a
    where a.tenant_id = platform.current_tenant_id()
      and a.provider_id = _find_sso_account.provider_id
      and a.subject = _find_sso_account.subject;
    if not found then
        -- Many first sign-ins of one account at once take turns, and all but one find what that one has made.
        perform pg_advisory_xact_lock(
            hashtextextended(_find_sso_account.provider_id || ' ' || _find_sso_account.subject, 7316));
        select a.* into v_account
        from identity.user_sso_accounts as a
        where a.tenant_id = platform.current_tenant_id()
          and a.provider_id = _find_sso_account.provider_id
          and a.subject = _find_sso_account.subject;
    end if;
    return v_account;
end
$$;

comment on function identity._find_sso_account(uuid, text) is
    'The account by which a provider knows somebody; where there is none yet, the caller alone may make it.';

revoke all on function identity._find_sso_account(uuid, text) from public;


create or replace function identity.sign_in_with_sso(
    provider_id uuid,
    subject text,
    claims jsonb,
    ip_address inet default null,
    user_agent text default null)
    returns table (outcome text, user_id uuid, account_id uuid, authentication_level smallint,
                   requires_second_factor boolean)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides about people and their accounts, which no group role can write
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_provider identity.sso_providers := identity._sso_provider(sign_in_with_sso.provider_id);
    v_account identity.user_sso_accounts;
    v_user identity.users;
    v_email record;
begin
    select e.email, e.is_verified into v_email from identity._sso_email(v_provider, claims) as e;
    v_account := identity._find_sso_account(v_provider.id, sign_in_with_sso.subject);
    if not v_provider.is_enabled then
        outcome := 'provider_disabled';
    -- Before anybody is looked for: an address that such a person brings tells and changes nothing.
    elsif not identity._brings_required_claims(v_provider, claims) then
        outcome := 'claims_refused';
    elsif v_account.id is null then
        select t.outcome, t.user_id into outcome, user_id
        from identity._take_in(v_provider, claims, v_email.email, v_email.is_verified) as t;
    else
        outcome := 'known';
        user_id := v_account.user_id;
    end if;

    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = sign_in_with_sso.user_id
    for no key update;
    -- A lock-out comes from guessed passwords, which anybody can cause; here none is taken.
    if v_user.id is not null
       and (v_user.deleted_at is not null or v_user.status not in ('invited', 'active', 'locked')) then
        outcome := 'inactive';
    end if;

    if outcome in ('known', 'found', 'created') then
        outcome := 'success';
        authentication_level := identity._sso_level(v_provider, claims);
        insert into identity.user_sso_accounts as a (
            tenant_id, provider_id, subject, user_id, email, email_verified, claims, last_login_at)
        values (
            v_tenant_id, v_provider.id, sign_in_with_sso.subject, sign_in_with_sso.user_id, v_email.email,
            v_email.is_verified, identity._mapped_claims(v_provider.id, claims), clock_timestamp())
        on conflict on constraint user_sso_accounts_subject_key do update
        set email = excluded.email,
            email_verified = excluded.email_verified,
            claims = excluded.claims,
            last_login_at = excluded.last_login_at
        returning a.id into account_id;
        perform identity._refresh_sso_user(
            v_provider, sign_in_with_sso.user_id, claims, v_email.email, v_email.is_verified);
        perform identity._sync_sso_roles(v_provider, sign_in_with_sso.user_id, claims);
        requires_second_factor := authentication_level < 2
            and identity.requires_second_factor(sign_in_with_sso.user_id);
    else
        user_id := null;
    end if;
    insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, user_agent)
    values (v_tenant_id, v_user.id, coalesce(v_email.email, v_user.email, 'unknown'), 'sso',
            case when sign_in_with_sso.outcome in ('success', 'inactive') then sign_in_with_sso.outcome else 'refused' end,
            sign_in_with_sso.ip_address, sign_in_with_sso.user_agent);
    return next;
end
$$;

comment on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) is
    'Decide on somebody whom a provider of the context''s tenant calls by a subject, in claims that the caller has
verified. With success: the user, found by provider and subject, or at the first time joined or made as the provider''s
settings allow, profile and roles kept in step; start the session with the level returned, or ask for a second factor
before. Otherwise inactive, address_taken, not_invited, no_address, claims_refused or provider_disabled: it raises nothing
about the person, so that the record can be committed. Raises ZI030 when there is no such provider.';

revoke all on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) from public;
grant execute on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/sso_requests.sql
-- A state is 48 bytes in base64url: the tenant's id, so that a context can be opened for it, and 32 random ones. Its 64
-- characters fit into a SAML RelayState, which holds 80 bytes; one of our tokens would not.

create or replace function identity._tenant_of_state(state text)
    returns uuid
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select case
        when state ~ '^[A-Za-z0-9_-]{64}$'
            then encode(substr(decode(translate(state, '-_', '+/'), 'base64'), 1, 16), 'hex')::uuid
    end
$$;

comment on function identity._tenant_of_state(text) is 'The tenant that a state claims to belong to; null when it is no state.';

revoke all on function identity._tenant_of_state(text) from public;


create or replace function identity.begin_sso_request(
    provider_id uuid,
    redirect_uri text,
    return_to text,
    nonce text,
    code_verifier text,
    max_age interval default null)
    returns table (state text, browser_token text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes requests, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_provider identity.sso_providers := identity._sso_provider(begin_sso_request.provider_id);
begin
    if not v_provider.is_enabled then
        raise exception 'Provider % is not enabled', v_provider.name
            using errcode = 'ZI031', hint = 'Enable it with identity.save_sso_provider() first.';
    end if;
    state := translate(encode(uuid_send(v_tenant_id) || platform.random_bytes(32), 'base64'), E'+/\n', '-_');
    browser_token := translate(encode(platform.random_bytes(32), 'base64'), '+/=', '-_');
    delete from identity.sso_requests as r
    where r.tenant_id = v_tenant_id
      and r.state_hash in (
          select e.state_hash
          from identity.sso_requests as e
          where e.tenant_id = v_tenant_id and e.expires_at < clock_timestamp()
          order by e.expires_at
          limit 20
          for update skip locked);
    insert into identity.sso_requests (tenant_id, state_hash, browser_hash, provider_id, redirect_uri, return_to,
                                       nonce, code_verifier, max_age, expires_at)
    values (v_tenant_id, identity._token_hash(state), identity._token_hash(browser_token), v_provider.id,
            begin_sso_request.redirect_uri, begin_sso_request.return_to, begin_sso_request.nonce,
            begin_sso_request.code_verifier, begin_sso_request.max_age, clock_timestamp() + interval '10 minutes');
    return next;
end
$$;

comment on function identity.begin_sso_request(uuid, text, text, text, text, interval) is
    'Remember for ten minutes that somebody is being sent to a provider of the context''s tenant; returns the state to send
along, and what the browser is to keep in a cookie. Raises ZI030 when there is no such provider, ZI031 when it is not
enabled, 23514 naming sso_requests_return_to_our_own when return_to is no page of ours.';

revoke all on function identity.begin_sso_request(uuid, text, text, text, text, interval) from public;
grant execute on function identity.begin_sso_request(uuid, text, text, text, text, interval) to enterprise_ai_gateway;


create or replace function identity.take_sso_request(state text, browser_token text)
    returns table (tenant_id uuid, provider_id uuid, redirect_uri text, return_to text, nonce text,
                   code_verifier text, max_age interval)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- the state is the proof; it is read and used up for its bearer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_state(state);
    v_outer text := current_setting('enterprise_ai.context', true);
    v_request identity.sso_requests;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
    -- One conditional delete: of many who come back with the same state, one finds it.
    delete from identity.sso_requests as r
    where r.tenant_id = v_tenant_id
      and r.state_hash = identity._token_hash(take_sso_request.state)
      and r.browser_hash = identity._token_hash(take_sso_request.browser_token)
    returning r.* into v_request;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    if v_request.tenant_id is null or v_request.expires_at < clock_timestamp() then
        raise exception 'The sign-in was not begun in this browser, is completed already, or took too long'
            using errcode = 'ZI032', hint = 'Begin it again; nobody has been signed in.';
    end if;
    return query
        select v_request.tenant_id, v_request.provider_id, v_request.redirect_uri, v_request.return_to,
               v_request.nonce, v_request.code_verifier, v_request.max_age;
end
$$;

comment on function identity.take_sso_request(text, text) is
    'What was remembered of a sign-in that comes back from a provider, once, and only to the browser that began it. The
caller''s context stays as it was. Raises ZI032.';

revoke all on function identity.take_sso_request(text, text) from public;
grant execute on function identity.take_sso_request(text, text) to enterprise_ai_gateway;


create or replace function identity.use_sso_id(provider_id uuid, id text, expires_at timestamptz)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes what was used, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    delete from identity.sso_used_ids as i
    where i.tenant_id = v_tenant_id
      and i.provider_id = use_sso_id.provider_id
      and i.id_hash in (
          select e.id_hash
          from identity.sso_used_ids as e
          where e.tenant_id = v_tenant_id
            and e.provider_id = use_sso_id.provider_id
            and e.expires_at < clock_timestamp()
          order by e.expires_at
          limit 20
          for update skip locked);
    insert into identity.sso_used_ids (tenant_id, provider_id, id_hash, expires_at)
    values (v_tenant_id, use_sso_id.provider_id, identity._token_hash(use_sso_id.id), use_sso_id.expires_at)
    on conflict do nothing;
    if not found then
        raise exception 'The assertion or token % was used before', use_sso_id.id
            using errcode = 'ZI033', hint = 'Somebody may have copied it; nothing has been changed.';
    end if;
end
$$;

comment on function identity.use_sso_id(uuid, text, timestamptz) is
    'Accept an assertion or a logout token of a provider, by its id, until it expires. Raises ZI033 the second time.';

revoke all on function identity.use_sso_id(uuid, text, timestamptz) from public;
grant execute on function identity.use_sso_id(uuid, text, timestamptz) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/sso_sessions.sql
create or replace function identity.note_sso_session(
    session_id uuid,
    account_id uuid,
    provider_session_id text default null,
    id_token bytea default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.sso_sessions (tenant_id, session_id, account_id, provider_session_id, id_token)
    values (platform.current_tenant_id(), note_sso_session.session_id, note_sso_session.account_id,
            note_sso_session.provider_session_id, note_sso_session.id_token);
end
$$;

comment on function identity.note_sso_session(uuid, uuid, text, bytea) is
    'Remember which account at a provider began a session, what the provider calls its own, and the sealed id token.';

revoke all on function identity.note_sso_session(uuid, uuid, text, bytea) from public;
grant execute on function identity.note_sso_session(uuid, uuid, text, bytea) to enterprise_ai_gateway;


create or replace function identity.sso_session(session_id uuid)
    returns table (provider_id uuid, subject text, provider_session_id text, id_token bytea)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select a.provider_id, a.subject, s.provider_session_id, s.id_token
        from identity.sso_sessions as s
        join identity.user_sso_accounts as a on a.tenant_id = s.tenant_id and a.id = s.account_id
        where s.tenant_id = platform.current_tenant_id() and s.session_id = sso_session.session_id;
end
$$;

comment on function identity.sso_session(uuid) is
    'What is needed to sign out at the provider that a session of the context''s tenant began with; nothing when it began
otherwise.';

revoke all on function identity.sso_session(uuid) from public;
grant execute on function identity.sso_session(uuid) to enterprise_ai_gateway;


create or replace function identity.end_sso_sessions(
    provider_id uuid,
    subject text default null,
    provider_session_id text default null)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    if end_sso_sessions.subject is null and end_sso_sessions.provider_session_id is null then
        raise exception 'Neither a subject nor a session of the provider is named'
            using errcode = 'ZI034', hint = 'Nothing has been ended; a logout token names at least one of them.';
    end if;
    return identity._revoke_sessions(
        array(select s.session_id
              from identity.user_sso_accounts as a
              join identity.sso_sessions as s on s.tenant_id = a.tenant_id and s.account_id = a.id
              where a.tenant_id = v_tenant_id
                and a.provider_id = end_sso_sessions.provider_id
                and (end_sso_sessions.subject is null or a.subject = end_sso_sessions.subject)
                and (end_sso_sessions.provider_session_id is null
                     or s.provider_session_id = end_sso_sessions.provider_session_id)),
        'signed out at the identity provider');
end
$$;

comment on function identity.end_sso_sessions(uuid, text, text) is
    'End the sessions with their refresh families that began with a provider, of a subject, of one of the provider''s own
sessions, or of both; returns how many were alive. Raises ZI034 when neither is named.';

revoke all on function identity.end_sso_sessions(uuid, text, text) from public;
grant execute on function identity.end_sso_sessions(uuid, text, text) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/sso_domains.sql
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
-- <<<

-- >>> sql/identity/sso_providers.sql
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
-- <<<

--- platform: ranges of text ------------------------------------------------------
-- GiST has no equality for text without the extension btree_gist. A range of text from a value to itself
-- overlaps another such range exactly when the values are equal, and that the core can index.

create type platform.text_range as range (subtype = text, collation = "C");

comment on type platform.text_range is
    'A range of text in byte order; text_range(x, x, ''[]'') in an exclusion constraint stands for equality.';

--- llm: refusing change ----------------------------------------------------------

-- >>> sql/llm/refuse_change.sql
create or replace function llm._refuse_change()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- What it is about is an argument: on a distributed table tg_table_name is the name of a shard.
    raise exception '% cannot be changed', tg_argv[0]
        using errcode = 'ZL001', hint = tg_argv[1];
end
$$;

comment on function llm._refuse_change() is
    'Before-row trigger with two arguments, what is fixed and what to do instead: refuses the update with ZL001.';

revoke all on function llm._refuse_change() from public;
-- <<<

--- llm: providers and models -----------------------------------------------------
-- Catalogues that all tenants share. Names are those of the OpenTelemetry GenAI conventions, so usage
-- that was recorded anywhere is understood here.

create table llm.llm_providers (
    name         text        not null,
    display_name text        not null,
    base_url     text,
    is_enabled   boolean     not null default true,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint llm_providers_pkey primary key (name),
    constraint llm_providers_name_is_dotted check (name ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
    constraint llm_providers_display_name_is_not_blank check (display_name ~ '\S')
);

comment on table llm.llm_providers is
    'One row for each company or platform that serves models.';
comment on column llm.llm_providers.name is 'The value of gen_ai.provider.name, e.g. openai or aws.bedrock.';
comment on column llm.llm_providers.base_url is
    'Where its interface is; null where that depends on the account or the region.';
comment on column llm.llm_providers.is_enabled is
    'Whether applications may call it; its past usage is priced either way.';

create trigger touch_updated_at before update on llm.llm_providers
    for each row execute function platform.touch_updated_at();

grant select on llm.llm_providers to enterprise_ai_app;
grant select, insert, update, delete on llm.llm_providers to enterprise_ai_operator;

create table llm.llm_models (
    provider_name         text        not null,
    name                  text        not null,
    display_name          text        not null,
    operations            text[]      not null,
    input_modalities      text[]      not null,
    output_modalities     text[]      not null,
    capabilities          text[]      not null default '{}',
    context_window_tokens bigint      not null,
    max_output_tokens     bigint,
    knowledge_cutoff_on   date,
    released_on           date,
    deprecated_on         date,
    retired_on            date,
    is_enabled            boolean     not null default true,
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),

    constraint llm_models_pkey primary key (provider_name, name),
    constraint llm_models_provider_name_fkey foreign key (provider_name)
        references llm.llm_providers (name) on delete no action,
    constraint llm_models_name_is_one_word check (name ~ '^\S+$'),
    constraint llm_models_display_name_is_not_blank check (display_name ~ '\S'),
    constraint llm_models_operations_are_known check (
        operations <> '{}'
        and operations <@ array['chat', 'text_completion', 'generate_content', 'embeddings']),
    constraint llm_models_input_modalities_are_known check (
        input_modalities <> '{}' and input_modalities <@ array['text', 'image', 'audio', 'video']),
    constraint llm_models_output_modalities_are_known check (
        output_modalities <> '{}'
        and output_modalities <@ array['text', 'image', 'audio', 'video', 'embedding']),
    constraint llm_models_capabilities_are_known check (
        capabilities <@ array['streaming', 'tools', 'parallel_tools', 'json_mode', 'json_schema',
                              'prompt_caching', 'reasoning', 'log_probabilities', 'fine_tuning', 'batch']),
    constraint llm_models_context_window_is_positive check (context_window_tokens > 0),
    constraint llm_models_output_fits_the_context_window check (
        max_output_tokens between 1 and context_window_tokens),
    constraint llm_models_are_deprecated_after_release check (deprecated_on >= released_on),
    constraint llm_models_are_retired_after_deprecation check (retired_on >= deprecated_on)
);

comment on table llm.llm_models is
    'One row for each model of a provider. A dated name that has its own price or limits is a model of its
own.';
comment on column llm.llm_models.name is
    'What the provider calls it: gen_ai.request.model and gen_ai.response.model.';
comment on column llm.llm_models.operations is 'What it can be asked for: values of gen_ai.operation.name.';
comment on column llm.llm_models.capabilities is
    'json_mode: any valid JSON; json_schema: JSON that obeys a given schema; parallel_tools: several tool
calls in one turn.';
comment on column llm.llm_models.context_window_tokens is
    'The most tokens that input and output may have together.';
comment on column llm.llm_models.max_output_tokens is
    'The most tokens of one answer; null where nothing is generated.';
comment on column llm.llm_models.deprecated_on is
    'From this day new work should use another model; null while it is current.';
comment on column llm.llm_models.retired_on is
    'From this day the provider refuses calls; null while no such day is known.';
comment on column llm.llm_models.is_enabled is
    'Whether applications may call it; its past usage is priced either way.';

create trigger touch_updated_at before update on llm.llm_models
    for each row execute function platform.touch_updated_at();

grant select on llm.llm_models to enterprise_ai_app;
grant select, insert, update, delete on llm.llm_models to enterprise_ai_operator;

create table llm.model_aliases (
    provider_name text        not null,
    alias         text        not null,
    model_name    text        not null,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),

    constraint model_aliases_pkey primary key (provider_name, alias),
    constraint model_aliases_model_name_fkey foreign key (provider_name, model_name)
        references llm.llm_models (provider_name, name) on delete cascade,
    constraint model_aliases_alias_is_one_word check (alias ~ '^\S+$'),
    constraint model_aliases_are_not_their_model check (alias <> model_name)
);

create index model_aliases_model_name_idx on llm.model_aliases (provider_name, model_name);

comment on table llm.model_aliases is
    'One row for each other name of a model, with the same price and limits. A name that is a model itself is that
model, whatever stands here.';

create trigger touch_updated_at before update on llm.model_aliases
    for each row execute function platform.touch_updated_at();

grant select on llm.model_aliases to enterprise_ai_app;
grant select, insert, update, delete on llm.model_aliases to enterprise_ai_operator;

--- llm: prices -------------------------------------------------------------------
-- Usage is priced at the moment it happened. So a price is never rewritten: it is ended, and another begins.

create table llm.llm_model_prices (
    id                   uuid            not null default platform.new_id(),
    provider_name        text            not null,
    model_name           text            not null,
    meter                text            not null,
    service_tier         text            not null default 'default',
    processing_mode      text            not null default 'online',
    minimum_input_tokens bigint          not null default 0,
    sku_id               text            not null generated always as (
        provider_name || '/' || model_name || '/' || meter || '/' || service_tier || '/' || processing_mode
        || '/' || minimum_input_tokens::text) stored,
    unit_price           numeric(24, 12) not null,
    unit_quantity        bigint          not null default 1000000,
    currency             text            not null default 'USD',
    valid_from           timestamptz     not null,
    valid_until          timestamptz,
    created_at           timestamptz     not null default now(),
    updated_at           timestamptz     not null default now(),

    constraint llm_model_prices_pkey primary key (id),
    constraint llm_model_prices_model_name_fkey foreign key (provider_name, model_name)
        references llm.llm_models (provider_name, name) on delete no action,
    constraint llm_model_prices_do_not_overlap exclude using gist (
        platform.text_range(sku_id, sku_id, '[]') with &&,
        tstzrange(valid_from, valid_until, '[)') with &&),
    constraint llm_model_prices_meter_is_known check (
        meter in ('input_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens',
                  'input_image_tokens', 'input_audio_tokens',
                  'output_tokens', 'reasoning_output_tokens',
                  'output_image_tokens', 'output_audio_tokens',
                  'requests')),
    constraint llm_model_prices_service_tier_is_a_slug check (service_tier ~ '^[a-z][a-z0-9_-]*$'),
    constraint llm_model_prices_processing_mode_is_known check (processing_mode in ('online', 'batch')),
    constraint llm_model_prices_minimum_is_not_negative check (minimum_input_tokens >= 0),
    constraint llm_model_prices_are_not_negative check (unit_price >= 0),
    constraint llm_model_prices_unit_quantity_is_positive check (unit_quantity > 0),
    constraint llm_model_prices_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$'),
    constraint llm_model_prices_end_after_they_start check (valid_until >= valid_from)
);

-- The price of a model's meter at a moment.
create index llm_model_prices_model_name_idx
    on llm.llm_model_prices (provider_name, model_name, meter, valid_from desc);

comment on table llm.llm_model_prices is
    'One row for each list price of one meter of a model, for the time it holds: no two hold at once.';
comment on column llm.llm_model_prices.meter is
    'What is counted, each token once: input_tokens are those not billed as cached, image or audio, and so for output. A
meter without a price of its own is billed as its whole: cached input as input, reasoning as output.';
comment on column llm.llm_model_prices.service_tier is
    'The provider''s name for the class of service, e.g. default, flex, priority.';
comment on column llm.llm_model_prices.processing_mode is
    'online, or batch for what the provider works off later at its leisure.';
comment on column llm.llm_model_prices.minimum_input_tokens is
    'The price is for requests with at least so many input tokens; the highest minimum that a request reaches
counts.';
comment on column llm.llm_model_prices.sku_id is
    'Names what is priced, whatever the price: the SKU id of cost records.';
comment on column llm.llm_model_prices.unit_price is 'What unit_quantity of the meter costs.';
comment on column llm.llm_model_prices.valid_until is
    'The first moment it no longer holds; null while no end is known; the same as valid_from when it was
withdrawn before it held.';

create trigger _100_refuse_change
    before update of id, provider_name, model_name, meter, service_tier, processing_mode, minimum_input_tokens,
                     unit_price, unit_quantity, currency, valid_from
    on llm.llm_model_prices
    for each row execute function llm._refuse_change(
        'A price', 'Set valid_until on it and insert the new price with its own valid_from.');
create trigger _200_touch_updated_at before update on llm.llm_model_prices
    for each row execute function platform.touch_updated_at();

grant select on llm.llm_model_prices to enterprise_ai_app;
grant select, insert, update (valid_until) on llm.llm_model_prices to enterprise_ai_operator;

create table llm.tenant_model_prices (
    tenant_id            uuid            not null,
    id                   uuid            not null default platform.new_id(),
    provider_name        text            not null,
    model_name           text            not null,
    meter                text            not null,
    service_tier         text            not null default 'default',
    processing_mode      text            not null default 'online',
    minimum_input_tokens bigint          not null default 0,
    unit_price           numeric(24, 12),
    unit_quantity        bigint          not null default 1000000,
    currency             text            not null default 'USD',
    valid_from           timestamptz     not null,
    created_at           timestamptz     not null default now(),

    constraint tenant_model_prices_pkey primary key (tenant_id, id),
    constraint tenant_model_prices_do_not_overlap unique (
        tenant_id, provider_name, model_name, meter, service_tier, processing_mode, minimum_input_tokens,
        valid_from),
    constraint tenant_model_prices_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint tenant_model_prices_model_name_fkey foreign key (provider_name, model_name)
        references llm.llm_models (provider_name, name) on delete no action,
    constraint tenant_model_prices_meter_is_known check (
        meter in ('input_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens',
                  'input_image_tokens', 'input_audio_tokens',
                  'output_tokens', 'reasoning_output_tokens',
                  'output_image_tokens', 'output_audio_tokens',
                  'requests')),
    constraint tenant_model_prices_service_tier_is_a_slug check (service_tier ~ '^[a-z][a-z0-9_-]*$'),
    constraint tenant_model_prices_processing_mode_is_known check (processing_mode in ('online', 'batch')),
    constraint tenant_model_prices_minimum_is_not_negative check (minimum_input_tokens >= 0),
    constraint tenant_model_prices_are_not_negative check (unit_price >= 0),
    constraint tenant_model_prices_unit_quantity_is_positive check (unit_quantity > 0),
    constraint tenant_model_prices_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$')
);

create index tenant_model_prices_model_name_idx on llm.tenant_model_prices (provider_name, model_name);

comment on table llm.tenant_model_prices is
    'One row for each moment at which a price that a tenant has agreed begins. It holds until the next row of the same
meter begins, so no two can hold at once.';
comment on column llm.tenant_model_prices.unit_price is
    'What unit_quantity of the meter costs this tenant; null when the list price holds again from here on.';

create trigger refuse_change before update on llm.tenant_model_prices
    for each row execute function llm._refuse_change(
        'A tenant''s price', 'Insert the new price with its own valid_from.');

alter table llm.tenant_model_prices enable row level security;
alter table llm.tenant_model_prices force row level security;
create policy tenant_model_prices_of_my_tenant on llm.tenant_model_prices
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on llm.tenant_model_prices to enterprise_ai_app;
-- What a tenant pays is not the tenant's to write.
grant select, insert on llm.tenant_model_prices to enterprise_ai_operator;

--- llm: documents ----------------------------------------------------------------

create table llm.documents (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    owner_id       uuid        not null,
    title          text        not null,
    media_type     text        not null,
    byte_size      bigint      not null,
    content_sha256 bytea       not null,
    storage_uri    text        not null,
    status         text        not null default 'uploaded',
    attributes     jsonb       not null default '{}',
    deleted_at     timestamptz,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint documents_pkey primary key (tenant_id, id),
    constraint documents_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint documents_owner_id_fkey foreign key (tenant_id, owner_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint documents_title_is_not_blank check (title ~ '\S'),
    constraint documents_media_type_is_rfc_6838 check (media_type ~ '^[a-z]+/[a-z0-9][a-z0-9!#$&^_.+-]*$'),
    constraint documents_byte_size_is_not_negative check (byte_size >= 0),
    constraint documents_content_sha256_is_sha256 check (octet_length(content_sha256) = 32),
    constraint documents_storage_uri_has_a_scheme check (storage_uri ~ '^[a-z][a-z0-9+.-]*:'),
    constraint documents_status_is_known check (status in ('uploaded', 'processing', 'ready', 'failed')),
    constraint documents_attributes_are_an_object check (jsonb_typeof(attributes) = 'object')
);

-- Somebody's documents, newest first.
create index documents_owner_id_idx on llm.documents (tenant_id, owner_id, created_at desc);
-- Has the tenant this content already?
create index documents_content_sha256_idx on llm.documents (tenant_id, content_sha256);
-- What the purge removes.
create index documents_deleted_at_idx on llm.documents (tenant_id, deleted_at) where deleted_at is not null;

comment on table llm.documents is
    'One row for each file that a tenant has given to the system; its bytes are in an object store.';
comment on column llm.documents.content_sha256 is
    'SHA-256 of the bytes: the same content is recognised, a changed one noticed.';
comment on column llm.documents.storage_uri is
    'Where the bytes are, as a URI that the tenant''s object store understands.';
comment on column llm.documents.status is
    'How far its processing jobs have come; they set it in their own transaction.';
comment on column llm.documents.attributes is
    'What was found in or said about the file, as {"author": …, "language": …, "pages": …}.';
comment on column llm.documents.deleted_at is
    'When it was put in the bin; retention and legal holds decide when it goes.';

create trigger touch_updated_at before update on llm.documents
    for each row execute function platform.touch_updated_at();

-- >>> sql/llm/limit_contents.sql
create or replace function llm._refuse_too_large()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_largest bigint := (select max(c.byte_size) from changed as c);
    v_limit bigint := platform.setting('limits.upload_bytes')::bigint;
begin
    if v_largest > v_limit then
        raise exception 'A document of % bytes is larger than % are taken', v_largest, v_limit
            using errcode = 'ZL004', hint = 'The setting limits.upload_bytes says how large; nothing was stored.';
    end if;
    return null;
end
$$;

comment on function llm._refuse_too_large() is 'After-statement trigger: no document is larger than limits.upload_bytes.';

revoke all on function llm._refuse_too_large() from public;


create or replace function llm._limit_contents()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_longest integer;
    v_most bigint := 0;
begin
    select max(length(c.content)) into v_longest from changed as c;
    if v_longest > platform.setting('limits.message_characters')::bigint then
        raise exception 'A part of % characters is longer than messages may be', v_longest
            using errcode = 'ZL004', hint = 'The setting limits.message_characters says how long; nothing was stored.';
    end if;
    if exists (select from changed as c where c.kind = 'document') then
        select max(of_one.parts) into v_most
        from (
            select count(*) as parts
            from llm.message_contents as all_parts
            where all_parts.tenant_id = v_tenant_id
              and all_parts.message_id in (select c.message_id from changed as c where c.kind = 'document')
              and all_parts.kind = 'document'
            group by all_parts.message_id) as of_one;
        if v_most > platform.setting('limits.attachments_per_message')::bigint then
            raise exception 'A message with % documents has more than messages may have', v_most
                using errcode = 'ZL004', hint = 'The setting limits.attachments_per_message says how many; nothing was stored.';
        end if;
    end if;
    return null;
end
$$;

comment on function llm._limit_contents() is
    'After-statement trigger: no part is longer than limits.message_characters, and no message has more documents than
limits.attachments_per_message.';

revoke all on function llm._limit_contents() from public;
-- <<<

-- What is in the bin takes up room until it is deleted.
create trigger count_added after insert on llm.documents referencing new table as changed
    for each statement execute function identity._count_quota('limits.documents_per_tenant', 'count(*)');
create trigger count_added_bytes after insert on llm.documents referencing new table as changed
    for each statement execute function identity._count_quota(
        'limits.storage_bytes_per_tenant', 'coalesce(sum(byte_size), 0)');
create trigger count_deleted after delete on llm.documents referencing old table as changed
    for each statement execute function identity._count_quota('limits.documents_per_tenant', 'count(*)');
create trigger count_deleted_bytes after delete on llm.documents referencing old table as changed
    for each statement execute function identity._count_quota(
        'limits.storage_bytes_per_tenant', 'coalesce(sum(byte_size), 0)');
create trigger refuse_too_large after insert on llm.documents referencing new table as changed
    for each statement execute function llm._refuse_too_large();

alter table llm.documents enable row level security;
alter table llm.documents force row level security;
create policy documents_of_my_tenant on llm.documents
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- Applications see of it what the user of the context may see (authz.visible_scopes); a service, all of its tenant's.
create policy documents_that_i_may_see on llm.documents as restrictive for select to enterprise_ai_app
    using (array[owner_id, tenant_id, id] && (select authz.open_scopes('document.read'))
           or (select authz.hidden_scopes('document.read')) <> '{}'
              and array[owner_id, tenant_id, id] && (select authz.visible_scopes('document.read'))
              and id <> all ((select authz.hidden_scopes('document.read'))::uuid[]));
grant select on llm.documents to enterprise_ai_app;
grant insert (tenant_id, id, owner_id, title, media_type, byte_size, content_sha256, storage_uri, attributes)
    on llm.documents to enterprise_ai_app;
grant update (title, attributes, deleted_at) on llm.documents to enterprise_ai_app;

create table llm.document_chunks (
    tenant_id           uuid        not null,
    id                  uuid        not null default platform.new_id(),
    document_id         uuid        not null,
    chunk_index         integer     not null,
    content             text        not null,
    token_count         bigint      not null,
    starts_at_character bigint,
    ends_at_character   bigint,
    attributes          jsonb       not null default '{}',
    created_at          timestamptz not null default now(),

    constraint document_chunks_pkey primary key (tenant_id, id),
    constraint document_chunks_chunk_index_key unique (tenant_id, document_id, chunk_index),
    constraint document_chunks_document_id_fkey foreign key (tenant_id, document_id)
        references llm.documents (tenant_id, id) on delete cascade,
    constraint document_chunks_chunk_index_is_not_negative check (chunk_index >= 0),
    constraint document_chunks_token_count_is_not_negative check (token_count >= 0),
    constraint document_chunks_span_is_whole check (
        (starts_at_character is null) = (ends_at_character is null)),
    constraint document_chunks_end_after_they_start check (
        starts_at_character >= 0 and ends_at_character > starts_at_character),
    constraint document_chunks_attributes_are_an_object check (jsonb_typeof(attributes) = 'object')
);

comment on table llm.document_chunks is
    'One row for each passage of a document''s text, in order: what is searched and given to a model.';
comment on column llm.document_chunks.starts_at_character is
    'Where in the extracted text the passage starts, counted from 0; neighbours may overlap.';
comment on column llm.document_chunks.ends_at_character is 'The first character after the passage.';
comment on column llm.document_chunks.attributes is
    'Where the passage stands in the document, as {"page": 3, "heading": …}.';

alter table llm.document_chunks enable row level security;
alter table llm.document_chunks force row level security;
create policy document_chunks_of_my_tenant on llm.document_chunks
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- Whoever sees the document sees its text: the policy of documents holds within the sub-query.
create policy document_chunks_that_i_may_see on llm.document_chunks as restrictive for select to enterprise_ai_app
    using (exists (
        select
        from llm.documents as d
        where d.tenant_id = document_chunks.tenant_id and d.id = document_chunks.document_id));
grant select on llm.document_chunks to enterprise_ai_app;

create table llm.document_processing_jobs (
    tenant_id        uuid        not null,
    id               uuid        not null default platform.new_id(),
    document_id      uuid        not null,
    kind             text        not null,
    parameters       jsonb       not null default '{}',
    status           text        not null default 'queued',
    priority         smallint    not null default 5,
    run_after        timestamptz not null default now(),
    attempts         integer     not null default 0,
    max_attempts     integer     not null default 5,
    lease_owner      text,
    lease_expires_at timestamptz,
    heartbeat_at     timestamptz,
    fencing_token    bigint      not null default 0,
    last_error       text,
    finished_at      timestamptz,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint document_processing_jobs_pkey primary key (tenant_id, id),
    constraint document_processing_jobs_document_id_fkey foreign key (tenant_id, document_id)
        references llm.documents (tenant_id, id) on delete cascade,
    constraint document_processing_jobs_kind_is_a_slug check (kind ~ '^[a-z][a-z0-9_]*$'),
    constraint document_processing_jobs_parameters_are_object check (jsonb_typeof(parameters) = 'object'),
    constraint document_processing_jobs_status_is_known check (
        status in ('queued', 'running', 'succeeded', 'dead', 'cancelled')),
    constraint document_processing_jobs_priority_is_a_digit check (priority between 0 and 9),
    constraint document_processing_jobs_attempts_are_counted check (
        attempts between 0 and max_attempts and max_attempts > 0),
    constraint document_processing_jobs_running_are_leased check (
        num_nonnulls(lease_owner, lease_expires_at, heartbeat_at)
            = case when status = 'running' then 3 else 0 end),
    constraint document_processing_jobs_fencing_is_not_negative check (fencing_token >= 0),
    constraint document_processing_jobs_dead_say_why check (status <> 'dead' or last_error is not null),
    constraint document_processing_jobs_finished_say_when check (
        (finished_at is not null) = (status in ('succeeded', 'dead', 'cancelled')))
);

-- One job of a kind at a time for a document; asking twice is not working twice.
create unique index document_processing_jobs_one_open_key
    on llm.document_processing_jobs (tenant_id, document_id, kind) where status in ('queued', 'running');
-- What has happened to a document.
create index document_processing_jobs_document_id_idx
    on llm.document_processing_jobs (tenant_id, document_id, created_at desc);
-- What a worker takes next.
create index document_processing_jobs_queue_idx
    on llm.document_processing_jobs (tenant_id, priority, run_after, id) where status = 'queued';
-- Whose worker is gone.
create index document_processing_jobs_lease_idx
    on llm.document_processing_jobs (tenant_id, lease_expires_at) where status = 'running';
-- What waits for somebody to look at it.
create index document_processing_jobs_dead_idx
    on llm.document_processing_jobs (tenant_id, finished_at desc) where status = 'dead';

comment on table llm.document_processing_jobs is
    'One row for each piece of work on a document: queued, leased by a worker, done, or dead after too many
attempts.';
comment on column llm.document_processing_jobs.kind is
    'What to do, e.g. extract_text, chunk, classify, detect_pii.';
comment on column llm.document_processing_jobs.parameters is
    'How to do it, as {"language": …, "chunk_tokens": …}.';
comment on column llm.document_processing_jobs.priority is '0 is taken first, 9 last.';
comment on column llm.document_processing_jobs.run_after is
    'Not before this moment: a failed attempt is put off further each time.';
comment on column llm.document_processing_jobs.attempts is
    'How many times a worker has taken it since it was queued or redriven.';
comment on column llm.document_processing_jobs.lease_owner is
    'The worker that has it until lease_expires_at, unless it sends a heartbeat.';
comment on column llm.document_processing_jobs.fencing_token is
    'One more with each lease; a worker writes only with the token of its lease, so one that comes late
writes nothing.';
comment on column llm.document_processing_jobs.last_error is 'Why the last failed attempt failed.';

-- >>> sql/llm/check_job_transition.sql
create or replace function llm._check_job_transition()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if new.status <> old.status
       and old.status || ' to ' || new.status <> all (array[
           'queued to running', 'queued to cancelled',
           'running to queued', 'running to succeeded', 'running to dead', 'running to cancelled',
           'dead to queued'])
    then
        raise exception 'Document job % is % and cannot become %', old.id, old.status, new.status
            using errcode = 'ZL002',
                  hint = 'A job that has succeeded or was cancelled is over: queue a new one.';
    end if;

    -- Whoever holds an older token than the row's has lost the job, so a new lease always has a higher one.
    if new.fencing_token < old.fencing_token
       or (new.status = 'running'
           and new.lease_owner is distinct from old.lease_owner
           and new.fencing_token = old.fencing_token)
    then
        raise exception 'The lease of document job % needs a fencing token above %', old.id, old.fencing_token
            using errcode = 'ZL003',
                  hint = 'Each lease adds one to fencing_token, and it never goes back.';
    end if;
    return new;
end
$$;

comment on function llm._check_job_transition() is
    'Before-row trigger: a job goes only from queued to running to its end or back into the queue (ZL002), and
each new lease has a higher fencing token (ZL003).';

revoke all on function llm._check_job_transition() from public;
-- <<<

create trigger _100_check before update on llm.document_processing_jobs
    for each row execute function llm._check_job_transition();
create trigger _200_touch_updated_at before update on llm.document_processing_jobs
    for each row execute function platform.touch_updated_at();

alter table llm.document_processing_jobs enable row level security;
alter table llm.document_processing_jobs force row level security;
create policy document_processing_jobs_of_my_tenant on llm.document_processing_jobs
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on llm.document_processing_jobs to enterprise_ai_app;

create table llm.document_queue_turns (
    tenant_id uuid        not null,
    ready_at  timestamptz,
    served_at timestamptz not null default '-infinity',

    constraint document_queue_turns_pkey primary key (tenant_id)
);

-- Whose turn it is among those with work.
create index document_queue_turns_served_at_idx on llm.document_queue_turns (served_at) where ready_at is not null;

comment on table llm.document_queue_turns is
    'One row for each tenant that has had document jobs: workers serve the tenants in turn, so that one with many jobs
does not keep the others waiting. Shared by all tenants and granted to no application.';
comment on column llm.document_queue_turns.ready_at is
    'When its earliest waiting job may run; null when none waits.';
comment on column llm.document_queue_turns.served_at is
    'When a job of the tenant was last taken; the longest ago is next.';

grant select on llm.document_queue_turns to enterprise_ai_operator;

--- llm: conversations ------------------------------------------------------------
-- A conversation is a tree of messages: an edit or a regenerated answer is a sibling of what it replaces, and
-- nothing that was said is rewritten. What was said is kept apart from that it was said, so that content can go
-- when its time has come and the tree and its costs remain.

create table llm.conversations (
    tenant_id       uuid        not null,
    id              uuid        not null default platform.new_id(),
    user_id         uuid        not null,
    title           text,
    active_leaf_id  uuid,
    last_message_at timestamptz not null default now(),
    archived_at     timestamptz,
    deleted_at      timestamptz,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),

    constraint conversations_pkey primary key (tenant_id, id),
    constraint conversations_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint conversations_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint conversations_title_is_not_blank check (title ~ '\S')
);

-- Somebody's conversations, the latest first.
create index conversations_user_id_idx on llm.conversations (tenant_id, user_id, last_message_at desc);
-- What the purge removes.
create index conversations_deleted_at_idx on llm.conversations (tenant_id, deleted_at) where deleted_at is not null;

comment on table llm.conversations is
    'One row for each conversation of a user with models.';
comment on column llm.conversations.active_leaf_id is
    'The last message of the branch that is shown: its ancestors are the conversation as its user sees it.';
comment on column llm.conversations.last_message_at is
    'When a message was last appended; conversations are listed by it.';
comment on column llm.conversations.deleted_at is
    'When it was put in the bin; retention and legal holds decide when it goes.';

create trigger touch_updated_at before update on llm.conversations
    for each row execute function platform.touch_updated_at();

alter table llm.conversations enable row level security;
alter table llm.conversations force row level security;
create policy conversations_of_my_tenant on llm.conversations
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- Applications see of it what the user of the context may see (authz.visible_scopes); a service, all of its tenant's.
create policy conversations_that_i_may_see on llm.conversations as restrictive for select to enterprise_ai_app
    using (array[user_id, tenant_id, id] && (select authz.open_scopes('conversation.read'))
           or (select authz.hidden_scopes('conversation.read')) <> '{}'
              and array[user_id, tenant_id, id] && (select authz.visible_scopes('conversation.read'))
              and id <> all ((select authz.hidden_scopes('conversation.read'))::uuid[]));
grant select on llm.conversations to enterprise_ai_app;
grant insert (tenant_id, id, user_id, title) on llm.conversations to enterprise_ai_app;
grant update (title, active_leaf_id, last_message_at, archived_at, deleted_at)
    on llm.conversations to enterprise_ai_app;

create table llm.messages (
    tenant_id       uuid        not null,
    id              uuid        not null default platform.new_id(),
    conversation_id uuid        not null,
    parent_id       uuid,
    sibling_index   integer     not null default 0,
    role            text        not null,
    provider_name   text,
    model_name      text,
    finish_reason   text,
    created_at      timestamptz not null default now(),

    constraint messages_pkey primary key (tenant_id, id),
    constraint messages_conversation_id_key unique (tenant_id, conversation_id, id),
    constraint messages_sibling_index_key unique (tenant_id, conversation_id, parent_id, sibling_index),
    constraint messages_conversation_id_fkey foreign key (tenant_id, conversation_id)
        references llm.conversations (tenant_id, id) on delete cascade,
    constraint messages_parent_is_in_the_conversation foreign key (tenant_id, conversation_id, parent_id)
        references llm.messages (tenant_id, conversation_id, id) on delete cascade,
    constraint messages_are_not_their_own_parent check (parent_id <> id),
    constraint messages_sibling_index_is_not_negative check (sibling_index >= 0),
    constraint messages_role_is_known check (role in ('system', 'developer', 'user', 'assistant', 'tool')),
    constraint messages_by_a_model_name_it check (
        (provider_name is null) = (model_name is null) and (model_name is null or role = 'assistant')),
    constraint messages_finish_reason_is_of_an_answer check (finish_reason is null or role = 'assistant')
);

-- The unique constraint above does not bind the first messages, which have no parent.
create unique index messages_root_sibling_index_key
    on llm.messages (tenant_id, conversation_id, sibling_index) where parent_id is null;

comment on table llm.messages is
    'One row for each message of a conversation; what it says is in llm.message_contents.';
comment on column llm.messages.parent_id is
    'The message it follows, in the same conversation; null for the first.';
comment on column llm.messages.sibling_index is
    'Its place among the messages that follow the same parent, in order of their making.';
comment on column llm.messages.model_name is 'The model that answered, as it named itself.';
comment on column llm.messages.finish_reason is
    'Why the model stopped, e.g. stop, length, tool_calls, content_filter, error.';

create trigger refuse_change before update on llm.messages
    for each row execute function llm._refuse_change(
        'A message', 'Append a sibling with the same parent and the next sibling_index.');

alter table llm.messages enable row level security;
alter table llm.messages force row level security;
create policy messages_of_my_tenant on llm.messages
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- To see a conversation is not yet to read what was said in it. What may be done to messages is asked of the
-- conversation, whose own policy holds within the sub-query.
create policy messages_that_i_may_see on llm.messages as restrictive for select to enterprise_ai_app
    using (exists (
        select
        from llm.conversations as c
        where c.tenant_id = messages.tenant_id and c.id = messages.conversation_id
          and (array[c.user_id, c.tenant_id, c.id] && (select authz.open_scopes('message.read'))
               or (select authz.hidden_scopes('message.read')) <> '{}'
                  and array[c.user_id, c.tenant_id, c.id] && (select authz.visible_scopes('message.read'))
                  and c.id <> all ((select authz.hidden_scopes('message.read'))::uuid[]))));
grant select on llm.messages to enterprise_ai_app;
-- Ids are the database's: whoever cannot choose them cannot insert two messages that are each other's parent.
grant insert (tenant_id, conversation_id, parent_id, sibling_index, role, provider_name, model_name, finish_reason)
    on llm.messages to enterprise_ai_app;

-- The primary key of conversations finds the rows that this refers from, so it needs no index of its own.
alter table llm.conversations
    add constraint conversations_active_leaf_is_one_of_its_own foreign key (tenant_id, id, active_leaf_id)
        references llm.messages (tenant_id, conversation_id, id) on delete no action;

create table llm.message_contents (
    tenant_id   uuid        not null,
    message_id  uuid        not null,
    part_index  integer     not null,
    kind        text        not null,
    content     text,
    details     jsonb,
    document_id uuid,
    expires_at  timestamptz,
    created_at  timestamptz not null default now(),

    constraint message_contents_pkey primary key (tenant_id, message_id, part_index),
    constraint message_contents_message_id_fkey foreign key (tenant_id, message_id)
        references llm.messages (tenant_id, id) on delete cascade,
    constraint message_contents_document_id_fkey foreign key (tenant_id, document_id)
        references llm.documents (tenant_id, id) on delete cascade,
    constraint message_contents_part_index_is_not_negative check (part_index >= 0),
    constraint message_contents_kind_is_known check (
        kind in ('text', 'reasoning', 'tool_call', 'tool_call_response', 'uri', 'document')),
    constraint message_contents_have_what_their_kind_needs check (
        case
            when kind in ('text', 'reasoning') then content is not null and num_nonnulls(details, document_id) = 0
            when kind = 'document' then document_id is not null and num_nonnulls(content, details) = 0
            else details is not null and num_nonnulls(content, document_id) = 0
        end),
    constraint message_contents_details_are_an_object check (jsonb_typeof(details) = 'object')
);

create index message_contents_document_id_idx on llm.message_contents (tenant_id, document_id);
-- What the retention sweep removes.
create index message_contents_expires_at_idx on llm.message_contents (tenant_id, expires_at)
    where expires_at is not null;

comment on table llm.message_contents is
    'One row for each part of what a message says. Kept for as long as content is to be kept, which may be shorter than
the message that it belongs to.';
comment on column llm.message_contents.kind is
    'The part types of the OpenTelemetry GenAI conventions, and document for an attached one.';
comment on column llm.message_contents.content is 'The words of a text or reasoning part.';
comment on column llm.message_contents.details is
    'Of a tool_call {"id", "name", "arguments"}, of a tool_call_response {"id", "response"}, of a uri {"uri",
"media_type"}.';
comment on column llm.message_contents.expires_at is
    'When the part goes; null when nothing but a deletion ends it.';

alter table llm.message_contents enable row level security;
alter table llm.message_contents force row level security;
create policy message_contents_of_my_tenant on llm.message_contents
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
create policy message_contents_that_i_may_see on llm.message_contents as restrictive for select to enterprise_ai_app
    using (exists (
        select
        from llm.messages as m
        where m.tenant_id = message_contents.tenant_id and m.id = message_contents.message_id));
grant select, insert on llm.message_contents to enterprise_ai_app;

create trigger limit_contents after insert on llm.message_contents referencing new table as changed
    for each statement execute function llm._limit_contents();

create table llm.message_feedback (
    tenant_id  uuid        not null,
    id         uuid        not null default platform.new_id(),
    message_id uuid        not null,
    user_id    uuid        not null,
    rating     smallint    not null,
    reasons    text[]      not null default '{}',
    comment    text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint message_feedback_pkey primary key (tenant_id, id),
    constraint message_feedback_one_per_message_and_user unique (tenant_id, message_id, user_id),
    constraint message_feedback_message_id_fkey foreign key (tenant_id, message_id)
        references llm.messages (tenant_id, id) on delete cascade,
    constraint message_feedback_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint message_feedback_rating_is_up_or_down check (rating in (-1, 1))
);

create index message_feedback_user_id_idx on llm.message_feedback (tenant_id, user_id);

comment on table llm.message_feedback is
    'One row for each user''s judgement of an answer.';
comment on column llm.message_feedback.rating is '1 for a good answer, -1 for a bad one.';
comment on column llm.message_feedback.reasons is
    'Why, in the application''s own terms, e.g. incorrect, unsafe, slow.';

create trigger touch_updated_at before update on llm.message_feedback
    for each row execute function platform.touch_updated_at();

alter table llm.message_feedback enable row level security;
alter table llm.message_feedback force row level security;
create policy message_feedback_of_my_tenant on llm.message_feedback
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, delete on llm.message_feedback to enterprise_ai_app;
grant insert (tenant_id, id, message_id, user_id, rating, reasons, comment)
    on llm.message_feedback to enterprise_ai_app;
grant update (rating, reasons, comment) on llm.message_feedback to enterprise_ai_app;

--- llm: prompts ------------------------------------------------------------------
-- A version never changes, so what was rendered from it can always be rendered again. What moves is a label.

create table llm.prompt_templates (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    name         text        not null,
    display_name text        not null,
    description  text        not null,
    archived_at  timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint prompt_templates_pkey primary key (tenant_id, id),
    constraint prompt_templates_name_key unique (tenant_id, name),
    constraint prompt_templates_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint prompt_templates_name_is_a_slug check (name ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$'),
    constraint prompt_templates_display_name_is_not_blank check (display_name ~ '\S')
);

comment on table llm.prompt_templates is
    'One row for each prompt that a tenant keeps; its text is in its versions.';
comment on column llm.prompt_templates.name is 'What applications ask for it by.';

create trigger touch_updated_at before update on llm.prompt_templates
    for each row execute function platform.touch_updated_at();

alter table llm.prompt_templates enable row level security;
alter table llm.prompt_templates force row level security;
create policy prompt_templates_of_my_tenant on llm.prompt_templates
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on llm.prompt_templates to enterprise_ai_app;
grant insert (tenant_id, id, name, display_name, description) on llm.prompt_templates to enterprise_ai_app;
grant update (display_name, description, archived_at) on llm.prompt_templates to enterprise_ai_app;

create table llm.prompt_template_versions (
    tenant_id        uuid        not null,
    template_id      uuid        not null,
    version          integer     not null,
    messages         jsonb       not null,
    variables_schema jsonb       not null default '{"type": "object", "additionalProperties": false}',
    response_schema  jsonb,
    model_parameters jsonb       not null default '{}',
    change_note      text        not null default '',
    created_at       timestamptz not null default now(),

    constraint prompt_template_versions_pkey primary key (tenant_id, template_id, version),
    constraint prompt_template_versions_template_id_fkey foreign key (tenant_id, template_id)
        references llm.prompt_templates (tenant_id, id) on delete cascade,
    constraint prompt_template_versions_are_counted_from_one check (version >= 1),
    constraint prompt_template_versions_have_messages check (
        case when jsonb_typeof(messages) = 'array' then jsonb_array_length(messages) > 0 else false end),
    constraint prompt_template_versions_variables_are_a_schema check (jsonb_typeof(variables_schema) = 'object'),
    constraint prompt_template_versions_response_is_a_schema check (jsonb_typeof(response_schema) = 'object'),
    constraint prompt_template_versions_parameters_are_object check (jsonb_typeof(model_parameters) = 'object')
);

comment on table llm.prompt_template_versions is
    'One row for each version of a prompt, which never changes.';
comment on column llm.prompt_template_versions.messages is
    'What is sent, as [{"role": …, "content": "… {{variable}} …"}, …]. Variables are put in once: what looks like a
variable inside a value stays text.';
comment on column llm.prompt_template_versions.variables_schema is
    'The JSON schema that the variables must obey.';
comment on column llm.prompt_template_versions.response_schema is
    'The JSON schema that the answer must obey; null when it is free text.';
comment on column llm.prompt_template_versions.model_parameters is
    'How the model is asked, as {"temperature": 0, "max_output_tokens": 500, …}.';
comment on column llm.prompt_template_versions.change_note is 'What is new, for those who compare versions.';

create trigger refuse_change before update on llm.prompt_template_versions
    for each row execute function llm._refuse_change(
        'A version of a prompt', 'Insert the next version and point the label to it.');

alter table llm.prompt_template_versions enable row level security;
alter table llm.prompt_template_versions force row level security;
create policy prompt_template_versions_of_my_tenant on llm.prompt_template_versions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on llm.prompt_template_versions to enterprise_ai_app;
grant insert (tenant_id, template_id, version, messages, variables_schema, response_schema, model_parameters,
              change_note)
    on llm.prompt_template_versions to enterprise_ai_app;

create table llm.prompt_labels (
    tenant_id      uuid        not null,
    template_id    uuid        not null,
    label          text        not null,
    version        integer     not null,
    rollout_weight integer     not null default 0,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now(),

    constraint prompt_labels_pkey primary key (tenant_id, template_id, label),
    constraint prompt_labels_template_id_fkey foreign key (tenant_id, template_id)
        references llm.prompt_templates (tenant_id, id) on delete cascade,
    constraint prompt_labels_version_fkey foreign key (tenant_id, template_id, version)
        references llm.prompt_template_versions (tenant_id, template_id, version) on delete no action,
    constraint prompt_labels_label_is_a_slug check (label ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$'),
    constraint prompt_labels_rollout_weight_is_a_share check (rollout_weight between 0 and 1000)
);

create index prompt_labels_version_idx on llm.prompt_labels (tenant_id, template_id, version);

comment on table llm.prompt_labels is
    'One row for each label of a prompt: it points to exactly one version, and to another when it is moved.';
comment on column llm.prompt_labels.rollout_weight is
    'Whoever asks for the prompt without naming a label gets one in proportion to the weights, the same person always
the same one; a label of weight 0 is got only by its name.';

create trigger touch_updated_at before update on llm.prompt_labels
    for each row execute function platform.touch_updated_at();

alter table llm.prompt_labels enable row level security;
alter table llm.prompt_labels force row level security;
create policy prompt_labels_of_my_tenant on llm.prompt_labels
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, delete on llm.prompt_labels to enterprise_ai_app;
grant insert (tenant_id, template_id, label, version, rollout_weight) on llm.prompt_labels to enterprise_ai_app;
grant update (version, rollout_weight) on llm.prompt_labels to enterprise_ai_app;

--- llm: usage --------------------------------------------------------------------
-- Facts: narrow, appended, never rewritten; what turns out wrong is corrected by an adjustment. Written by
-- functions only, because they price it. Column names and meanings are those of the OpenTelemetry GenAI conventions.

create table llm.llm_usage_logs (
    tenant_id                   uuid        not null,
    occurred_at                 timestamptz not null,
    id                          uuid        not null default platform.new_id(),
    recorded_at                 timestamptz not null default now(),
    user_id                     uuid,
    api_key_id                  uuid,
    session_id                  uuid,
    conversation_id             uuid,
    message_id                  uuid,
    prompt_template_id          uuid,
    prompt_version              integer,
    cost_center_id              uuid,
    operation_name              text        not null,
    provider_name               text        not null,
    request_model               text        not null,
    response_model              text,
    response_id                 text,
    finish_reasons              text[],
    error_type                  text,
    service_tier                text        not null default 'default',
    processing_mode             text        not null default 'online',
    input_tokens                bigint      not null default 0,
    cache_read_input_tokens     bigint      not null default 0,
    cache_creation_input_tokens bigint      not null default 0,
    input_image_tokens          bigint      not null default 0,
    input_audio_tokens          bigint      not null default 0,
    output_tokens               bigint      not null default 0,
    reasoning_output_tokens     bigint      not null default 0,
    output_image_tokens         bigint      not null default 0,
    output_audio_tokens         bigint      not null default 0,
    duration_ms                 bigint,
    time_to_first_chunk_ms      bigint,
    cost                        numeric(24, 12),
    currency                    text,
    price_ids                   uuid[],
    tags                        jsonb,

    constraint llm_usage_logs_pkey primary key (tenant_id, occurred_at, id),
    constraint llm_usage_logs_operation_name_is_not_blank check (operation_name ~ '\S'),
    constraint llm_usage_logs_provider_name_is_not_blank check (provider_name ~ '\S'),
    constraint llm_usage_logs_request_model_is_not_blank check (request_model ~ '\S'),
    constraint llm_usage_logs_processing_mode_is_known check (processing_mode in ('online', 'batch')),
    constraint llm_usage_logs_tokens_are_not_negative check (
        least(input_tokens, cache_read_input_tokens, cache_creation_input_tokens, input_image_tokens,
              input_audio_tokens, output_tokens, reasoning_output_tokens, output_image_tokens,
              output_audio_tokens) >= 0),
    constraint llm_usage_logs_cached_are_part_of_input check (
        cache_read_input_tokens + cache_creation_input_tokens <= input_tokens),
    constraint llm_usage_logs_modalities_are_part_of_input check (
        input_image_tokens + input_audio_tokens <= input_tokens),
    constraint llm_usage_logs_reasoning_is_part_of_output check (reasoning_output_tokens <= output_tokens),
    constraint llm_usage_logs_modalities_are_part_of_output check (
        output_image_tokens + output_audio_tokens <= output_tokens),
    constraint llm_usage_logs_first_chunk_is_within_duration check (
        time_to_first_chunk_ms >= 0 and time_to_first_chunk_ms <= duration_ms),
    constraint llm_usage_logs_duration_is_not_negative check (duration_ms >= 0),
    constraint llm_usage_logs_cost_is_not_negative check (cost >= 0),
    constraint llm_usage_logs_cost_has_currency_and_prices check (num_nonnulls(cost, currency, price_ids) in (0, 3)),
    constraint llm_usage_logs_currency_is_iso_4217 check (currency ~ '^[A-Z]{3}$'),
    constraint llm_usage_logs_prompt_is_whole check ((prompt_template_id is null) = (prompt_version is null)),
    constraint llm_usage_logs_tags_are_an_object check (jsonb_typeof(tags) = 'object')
) partition by range (occurred_at);

-- What somebody used, latest first.
create index llm_usage_logs_user_id_idx on llm.llm_usage_logs (tenant_id, user_id, occurred_at desc)
    where user_id is not null;
-- Usage and cost by model over a time.
create index llm_usage_logs_response_model_idx on llm.llm_usage_logs (tenant_id, response_model, occurred_at);
-- What a conversation has cost.
create index llm_usage_logs_conversation_id_idx on llm.llm_usage_logs (tenant_id, conversation_id, occurred_at)
    where conversation_id is not null;
-- What still has no price.
create index llm_usage_logs_unpriced_idx on llm.llm_usage_logs (tenant_id, occurred_at) where cost is null;

comment on table llm.llm_usage_logs is
    'One row for each operation of a model that was used. It outlives what it mentions, so it has no foreign
keys.';
comment on column llm.llm_usage_logs.occurred_at is
    'When the operation began; it is priced and charged by this moment.';
comment on column llm.llm_usage_logs.id is
    'Ours: a provider''s own id may be missing, repeated or chosen by the client.';
comment on column llm.llm_usage_logs.session_id is 'The usage session that it belongs to.';
comment on column llm.llm_usage_logs.operation_name is
    'gen_ai.operation.name: chat, text_completion, embeddings, execute_tool, invoke_agent, …';
comment on column llm.llm_usage_logs.response_model is
    'The model that answered, as it named itself; its price counts, else that of request_model.';
comment on column llm.llm_usage_logs.error_type is
    'error.type when the operation failed; what it used up to then still counts.';
comment on column llm.llm_usage_logs.input_tokens is
    'All tokens of the input: cached, image and audio tokens are among them.';
comment on column llm.llm_usage_logs.output_tokens is
    'All tokens of the output: reasoning, image and audio tokens are among them.';
comment on column llm.llm_usage_logs.cost is
    'What it cost by the prices of that moment; null while a price that it needs
is not known.';
comment on column llm.llm_usage_logs.price_ids is
    'The prices that were applied, of llm.llm_model_prices or llm.tenant_model_prices.';
comment on column llm.llm_usage_logs.tags is
    'What the caller files it under, as {"project": …, "feature": …}; null for nothing.';

select platform.ensure_partitions(
    'llm.llm_usage_logs',
    (now() at time zone 'UTC')::date,
    ((now() at time zone 'UTC') + interval '12 months')::date);

alter table llm.llm_usage_logs enable row level security;
alter table llm.llm_usage_logs force row level security;
create policy llm_usage_logs_of_my_tenant on llm.llm_usage_logs
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on llm.llm_usage_logs to enterprise_ai_app;

create table llm.usage_ingest_keys (
    tenant_id    uuid        not null,
    source       text        not null,
    event_id     text        not null,
    payload_hash bytea       not null,
    occurred_at  timestamptz not null,
    usage_id     uuid        not null,
    duplicates   bigint      not null default 0,
    recorded_at  timestamptz not null default now(),

    constraint usage_ingest_keys_pkey primary key (tenant_id, source, event_id),
    constraint usage_ingest_keys_source_is_not_blank check (source ~ '\S'),
    constraint usage_ingest_keys_event_id_is_not_blank check (event_id ~ '\S'),
    constraint usage_ingest_keys_payload_hash_is_sha256 check (octet_length(payload_hash) = 32),
    constraint usage_ingest_keys_duplicates_are_counted check (duplicates >= 0)
);

-- Keys too old for their event to come again.
create index usage_ingest_keys_recorded_at_idx on llm.usage_ingest_keys (tenant_id, recorded_at);

comment on table llm.usage_ingest_keys is
    'One row for each usage event that was taken in, so that none counts twice: a unique key cannot span partitions by
time. Like the log that it guards it has no foreign keys.';
comment on column llm.usage_ingest_keys.source is
    'Who names its events, e.g. a gateway; event_id is unique within it.';
comment on column llm.usage_ingest_keys.payload_hash is
    'SHA-256 of the event: the same again is a duplicate, another under the same key is a conflict.';
comment on column llm.usage_ingest_keys.usage_id is
    'With occurred_at: the row of llm.llm_usage_logs that it made.';
comment on column llm.usage_ingest_keys.duplicates is 'How often the event came again.';

alter table llm.usage_ingest_keys enable row level security;
alter table llm.usage_ingest_keys force row level security;
create policy usage_ingest_keys_of_my_tenant on llm.usage_ingest_keys
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

-- rollback:
--   drop table llm.usage_ingest_keys;
--   drop table llm.llm_usage_logs;
--   drop table llm.prompt_labels;
--   drop table llm.prompt_template_versions;
--   drop table llm.prompt_templates;
--   drop table llm.message_feedback;
--   drop table llm.message_contents;
--   alter table llm.conversations drop constraint conversations_active_leaf_is_one_of_its_own;
--   drop table llm.messages;
--   drop table llm.conversations;
--   drop table llm.document_queue_turns;
--   drop table llm.document_processing_jobs;
--   drop table llm.document_chunks;
--   drop table llm.documents;
--   drop table llm.tenant_model_prices;
--   drop table llm.llm_model_prices;
--   drop table llm.model_aliases;
--   drop table llm.llm_models;
--   drop table llm.llm_providers;
--   drop function llm._limit_contents();
--   drop function llm._refuse_too_large();
--   drop function llm._check_job_transition();
--   drop function llm._refuse_change();
--   drop type platform.text_range;
--   drop function identity.sso_role_mappings_of(uuid);
--   drop function identity.unmap_sso_role(uuid);
--   drop function identity.map_sso_role(uuid, text, text, text);
--   drop function identity.delete_sso_provider(uuid);
--   drop function identity.sso_secrets(uuid);
--   drop function identity.set_sso_secrets(uuid, bytea, bytea);
--   drop function identity.save_sso_provider(text, jsonb);
--   drop function identity._must_use_sso(text);
--   drop function identity.route_sso(text);
--   drop function identity.sso_domains_of(uuid);
--   drop function identity.release_sso_domain(text);
--   drop function identity.verify_sso_domain(text, text[], boolean);
--   drop function identity.claim_sso_domain(text, uuid);
--   drop function identity.end_sso_sessions(uuid, text, text);
--   drop function identity.sso_session(uuid);
--   drop function identity.note_sso_session(uuid, uuid, text, bytea);
--   drop function identity.use_sso_id(uuid, text, timestamptz);
--   drop function identity.take_sso_request(text, text);
--   drop function identity.begin_sso_request(uuid, text, text, text, text, interval);
--   drop function identity._tenant_of_state(text);
--   drop function identity.sign_in_with_sso(uuid, text, jsonb, inet, text);
--   drop function identity._find_sso_account(uuid, text);
--   drop function identity._refresh_sso_user(identity.sso_providers, uuid, jsonb, text, boolean);
--   drop function identity.unlink_sso_account(uuid);
--   drop function identity.link_sso_account(uuid, uuid, text);
--   drop function identity._take_in(identity.sso_providers, jsonb, text, boolean);
--   drop function identity._create_sso_user(identity.sso_providers, text, text, text);
--   drop function identity._find_sso_user(identity.sso_providers, text, text, boolean);
--   drop function identity._disown(uuid);
--   drop function identity._unlink_sso_account(identity.user_sso_accounts);
--   drop function identity._may_join(identity.sso_providers, uuid);
--   drop function identity._sync_sso_roles(identity.sso_providers, uuid, jsonb);
--   drop function identity._withdraw_sso_roles(uuid, uuid, uuid[]);
--   drop function identity._is_last_owner(uuid);
--   drop function identity._sso_provider(uuid);
--   drop function identity._mapped_claims(uuid, jsonb);
--   drop function identity._sso_email(identity.sso_providers, jsonb);
--   drop function identity._sso_level(identity.sso_providers, jsonb);
--   drop function identity._brings_required_claims(identity.sso_providers, jsonb);
--   drop function identity._claim_has(jsonb, text, text);
--   drop function identity._claim_text(jsonb, text);
--   drop function identity._claim(jsonb, text);
--   drop table identity.sso_sessions;
--   drop table identity.sso_used_ids;
--   drop table identity.sso_requests;
--   drop table identity.sso_role_mappings;
--   drop table identity.user_sso_accounts;
--   drop table identity.sso_domains;
--   drop table identity.sso_providers;
