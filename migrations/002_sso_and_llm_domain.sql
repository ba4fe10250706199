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
    scopes                 text[]      not null default '{}',
    authorization_endpoint text,
    token_endpoint         text,
    userinfo_endpoint      text,
    single_sign_on_url     text,
    single_logout_url      text,
    signing_certificates   text[],
    claim_names            jsonb       not null default
        '{"email": "email", "email_verified": "email_verified", "display_name": "name", "groups": "groups"}',
    authentication_level   smallint    not null default 1,
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
    constraint sso_providers_claim_names_are_an_object check (jsonb_typeof(claim_names) = 'object'),
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
        coalesce(authorization_endpoint, 'https:') ~ '^(https:|http://(localhost|127\.0\.0\.1|\[::1\])[:/])'
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
    'The OAuth client secret, encrypted; null for a public client.';
comment on column identity.sso_providers.signing_key is
    'The private key that signs our client assertions or SAML requests, encrypted.';
comment on column identity.sso_providers.scopes is 'What is asked for when somebody signs in.';
comment on column identity.sso_providers.authorization_endpoint is
    'With token_endpoint and userinfo_endpoint: set for OAuth 2.0; for OpenID Connect only to override what
discovery says.';
comment on column identity.sso_providers.signing_certificates is
    'The certificates (PEM) one of which signs SAML assertions; two while the provider changes its key.';
comment on column identity.sso_providers.claim_names is
    'Where to find what in a token or assertion, as {"email": "claim", "email_verified": …, "display_name":
…, "groups": …}.';
comment on column identity.sso_providers.authentication_level is
    'The NIST SP 800-63 authenticator assurance level, 1 to 3, of a sign-in through this provider.';
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

create table identity.sso_domains (
    domain             text        not null,
    tenant_id          uuid        not null,
    provider_id        uuid        not null,
    verification_token text        not null,
    verified_at        timestamptz,
    is_enforced        boolean     not null default false,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),

    constraint sso_domains_pkey primary key (domain),
    constraint sso_domains_domain_is_lower_case check (domain = lower(domain)),
    constraint sso_domains_domain_is_a_host_name check (
        domain ~* '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$'
        and length(domain) <= 253),
    constraint sso_domains_enforced_are_verified check (not is_enforced or verified_at is not null)
);

-- A tenant's or a provider's domains, to list them and to remove them with it.
create index sso_domains_provider_id_idx on identity.sso_domains (tenant_id, provider_id);

comment on table identity.sso_domains is
    'One row for each e-mail domain whose people are sent to a provider. A domain belongs to one tenant of the
installation, so this is shared by all of them and granted to no application; stored in lower case, it is unique
whatever its case. Without foreign keys: it leads to the tenant, before a context is open.';
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
    'What the provider said at the last sign-in, as {"claim": value, …}: a mapped claim that is gone takes
its role along.';

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
--   drop table identity.sso_role_mappings;
--   drop table identity.user_sso_accounts;
--   drop table identity.sso_domains;
--   drop table identity.sso_providers;
