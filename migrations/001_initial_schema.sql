-- 001_initial_schema.sql: the platform everything stands on, who people are, and what they may do.
--
-- Runs on PostgreSQL 12 to 18, by the migration engine or by psql -1 -f. Text between ">>>" and "<<<" is a
-- copy of the named file under sql/, where the current text of every function is kept.
--
-- The login that runs it becomes the owner of everything. It needs CREATE on the database, and either
-- CREATEROLE or the group roles below made beforehand.

--- platform: group roles ---------------------------------------------------------
-- What a login may do, it may through one of these. They belong to the whole server, so several databases
-- on it share them, and undoing this migration leaves them in place.

do $do$
declare
    v_role text;
    v_missing text[] := array(
        select wanted.name
        from unnest(array['enterprise_ai_app', 'enterprise_ai_reader', 'enterprise_ai_auditor',
                          'enterprise_ai_operator', 'enterprise_ai_gateway']) as wanted (name)
        where not exists (select from pg_catalog.pg_roles as r where r.rolname = wanted.name));
    v_may_create boolean := (
        select r.rolsuper or r.rolcreaterole from pg_catalog.pg_roles as r where r.rolname = current_user);
begin
    if v_missing <> '{}' and not v_may_create then
        raise exception 'The group roles % do not exist, and % may not create roles',
            array_to_string(v_missing, ', '), current_user
            using errcode = 'insufficient_privilege',
                  hint = 'Let an administrator run: create role ' || array_to_string(v_missing, '; create role ')
                         || ';';
    end if;
    foreach v_role in array v_missing loop
        begin
            execute format('create role %I nologin', v_role);
        exception
            -- Another database of this server is being set up at the same moment.
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$do$;

--- platform: extensions ----------------------------------------------------------
-- Where an administrator has installed them already, any login will do.

create extension if not exists pgcrypto;
create extension if not exists "uuid-ossp";

--- platform: schemas -------------------------------------------------------------

create schema platform;
create schema identity;
create schema authz;
create schema llm;
create schema analytics;
create schema security;
create schema audit;
create schema llm_parts;
create schema analytics_parts;
create schema audit_parts;

comment on schema platform is 'What every domain uses: ids, the context of a transaction, settings, partitions.';
comment on schema identity is 'Who: tenants, people, groups, sessions, single sign-on.';
comment on schema authz is 'May they: roles, permissions, grants, delegation.';
comment on schema llm is 'What was said to which model: providers, prices, conversations, documents, prompts, usage.';
comment on schema analytics is 'What it cost and against whose budget; how the system is used.';
comment on schema security is 'Which data is sensitive and how it is protected; compliance.';
comment on schema audit is 'What happened: events, row versions, approvals, security events, evidence.';
comment on schema llm_parts is 'Monthly partitions of llm tables. Nobody is granted anything here: the parent has the row security.';
comment on schema analytics_parts is 'Monthly partitions of analytics tables. Nobody is granted anything here: the parent has the row security.';
comment on schema audit_parts is 'Monthly partitions of audit tables. Nobody is granted anything here: the parent has the row security.';

grant usage on schema platform, identity, authz, llm, analytics to enterprise_ai_app;
grant usage on schema security, audit to enterprise_ai_app;
grant usage on schema platform, identity, authz, llm, analytics, security to enterprise_ai_reader;
grant usage on schema platform, identity, audit to enterprise_ai_auditor;
grant usage on schema platform, identity, authz, llm, analytics, security, audit to enterprise_ai_operator;
grant usage on schema platform, identity to enterprise_ai_gateway;

-- Unqualified names find our tables: for every login where this one owns the database, else for this one.
do $do$
declare
    v_path constant text := '"$user", public, platform, identity, authz, llm, analytics, security, audit, migrations';
begin
    -- Before PostgreSQL 15 anybody could plant a table in public, ahead of ours on the path.
    if (select pg_catalog.pg_has_role(n.nspowner, 'usage')
        from pg_catalog.pg_namespace as n where n.nspname = 'public') then
        revoke create on schema public from public;
    end if;

    if (select pg_catalog.pg_has_role(d.datdba, 'usage')
        from pg_catalog.pg_database as d where d.datname = current_database()) then
        execute format('alter database %I set search_path = %s', current_database(), v_path);
    else
        execute format('alter role %I in database %I set search_path = %s',
                       current_user, current_database(), v_path);
        raise notice 'only the owner of the database can set its search path; it is set for % alone', current_user;
    end if;
end
$do$;

--- platform: ids -----------------------------------------------------------------

-- >>> sql/platform/pgcrypto.sql
-- pgcrypto may live in any schema (public, extensions, ...), so nothing else names it: what the
-- schema needs of it is wrapped here, once, and found again wherever the extension is.
do $do$
declare
    v_home name := (select n.nspname
                    from pg_catalog.pg_extension as e
                    join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
                    where e.extname = 'pgcrypto');
begin
    execute format($sql$
        create or replace function platform.hmac_sha256(message bytea, secret bytea)
            returns bytea
            language sql
            immutable
            parallel safe
            strict
        as $$ select %I.hmac(message, secret, 'sha256') $$
    $sql$, v_home);

    execute format($sql$
        create or replace function platform.random_bytes(length integer)
            returns bytea
            language sql
            volatile
            parallel safe
            strict
        as $$ select %I.gen_random_bytes(length) $$
    $sql$, v_home);
end
$do$;

comment on function platform.hmac_sha256(bytea, bytea) is
    'The 32 bytes of HMAC-SHA-256 (RFC 2104) of a message under a secret.';
comment on function platform.random_bytes(integer) is
    'So many bytes from the operating system''s cryptographic random source.';

revoke all on function platform.hmac_sha256(bytea, bytea) from public;
revoke all on function platform.random_bytes(integer) from public;
-- <<<

-- >>> sql/platform/new_id.sql
-- Keys that sort by time keep the newest rows together at the right edge of every index.
-- PostgreSQL 18 makes them itself; before it, the 48 bits of milliseconds and 12 bits of their
-- fraction are laid over a random (version 4) UUID, as RFC 9562 section 6.2 method 3 describes.
do $do$
declare
    -- gen_random_uuid() is the server's own from 13 on, and pgcrypto's on 12.
    v_random text := case
        when current_setting('server_version_num')::integer >= 130000 then 'pg_catalog'
        else (select quote_ident(n.nspname)
              from pg_catalog.pg_extension as e
              join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
              where e.extname = 'pgcrypto')
    end || '.gen_random_uuid()';
    v_body text := case
        when current_setting('server_version_num')::integer >= 180000 then 'select pg_catalog.uuidv7()'
        else format($sql$
            select encode(
                overlay(uuid_send(%s)
                    placing substring(int8send((ticks / 4096) << 16 | 28672 | ticks %% 4096) from 1 for 8)
                    from 1 for 8),
                'hex')::uuid
            from (select floor(extract(epoch from clock_timestamp()) * 4096000)::bigint) as now (ticks)
        $sql$, v_random)
    end;
begin
    execute format($sql$
        create or replace function platform.new_id()
            returns uuid
            language sql
            volatile
            parallel safe
        as $$ %s $$
    $sql$, v_body);
end
$do$;

comment on function platform.new_id() is
    'A new UUID of version 7 (RFC 9562): ids made later sort later, down to a quarter of a microsecond.';

revoke all on function platform.new_id() from public;
grant execute on function platform.new_id() to enterprise_ai_app, enterprise_ai_operator;
-- <<<

-- >>> sql/platform/domains.sql
create or replace function platform.domains()
    returns name[]
    language sql
    immutable
    parallel safe
as $$ select array['platform', 'identity', 'authz', 'llm', 'analytics', 'security', 'audit']::name[] $$;

comment on function platform.domains() is
    'The schemas that hold this database''s tables; the partitions of each lie in <domain>_parts.';

revoke all on function platform.domains() from public;
grant execute on function platform.domains() to enterprise_ai_operator;
-- <<<

-- >>> sql/platform/touch_updated_at.sql
create or replace function platform.touch_updated_at()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;

comment on function platform.touch_updated_at() is
    'Before-row trigger: updated_at is when the row last changed, whatever the writer sent.';

revoke all on function platform.touch_updated_at() from public;
-- <<<

--- platform: context -------------------------------------------------------------
-- For whom a transaction runs. See sql/platform/context.sql for why it cannot be forged.

create table platform.context_keys (
    id         integer     not null,
    secret     bytea       not null default platform.random_bytes(32),
    created_at timestamptz not null default now(),

    constraint context_keys_pkey primary key (id),
    constraint context_keys_are_long_enough check (octet_length(secret) >= 32)
);

comment on table platform.context_keys is
    'One row for each key that seals contexts; the newest seals, all of them verify. Granted to nobody.';

insert into platform.context_keys (id) values (1);

-- >>> sql/platform/context.sql
-- The context says for whom a transaction runs. It travels in a custom setting, and a custom setting
-- can be written by whoever can run SQL; so what is set is sealed: an HMAC over the fields together
-- with this transaction's start and this backend, under a key that no group role can read. A value
-- that was not sealed here, or was sealed for another transaction, counts as no context at all.

create or replace function platform._context_mac(fields text, key_id text)
    returns bytea
    language plpgsql        -- its plans are kept for the session; a language sql body is planned at each call
    stable
    parallel restricted     -- a worker has another process id than the backend that sealed
as $$
declare
    -- Only ever called with a pinned search path, so it needs no set clause, which would cost as much again.
    v_secret bytea := (select k.secret from platform.context_keys as k where k.id::text = key_id);
begin
    return platform.hmac_sha256(
        convert_to(
            pg_backend_pid()::text || ' ' || extract(epoch from transaction_timestamp())::text || ' ' || fields,
            'UTF8'),
        v_secret);
end
$$;

comment on function platform._context_mac(text, text) is
    'The code that proves that the fields of a context were sealed for this transaction of this backend.';

revoke all on function platform._context_mac(text, text) from public;


create or replace function platform._seal_context(fields jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fields text := jsonb_strip_nulls(fields)::text;
    v_key_id text := (select max(k.id) from platform.context_keys as k)::text;
begin
    -- Local to the transaction: a pooled connection hands nothing on to its next user.
    perform set_config(
        'enterprise_ai.context',
        encode(platform._context_mac(v_fields, v_key_id), 'hex') || v_key_id || v_fields,
        true);
end
$$;

comment on function platform._seal_context(jsonb) is
    'Make the fields the context of the current transaction.';

revoke all on function platform._seal_context(jsonb) from public;


create or replace function platform.context()
    returns jsonb
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads the key that the caller must not see
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- 64 hexadecimal digits, the number of the key, a JSON object. Taken apart by position: a regular
    -- expression costs more than all the rest. Nothing is parsed or cast before the code is right.
    v_sealed text := current_setting('enterprise_ai.context', true);
    v_brace integer := strpos(v_sealed, '{');
    v_fields text := substr(v_sealed, v_brace);
begin
    if v_brace > 65
       and left(v_sealed, 64)
           = encode(platform._context_mac(v_fields, substr(v_sealed, 65, v_brace - 65)), 'hex') then
        return v_fields::jsonb;
    end if;
    return null;
end
$$;

comment on function platform.context() is
    'The verified context of this transaction: tenant_id, user_id, actor_id, session_id, request_id, ip_address,
user_agent, authentication_level (absent keys were not given); null when there is none.';

revoke all on function platform.context() from public;
grant execute on function platform.context()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;


create or replace function platform.current_tenant_id()
    returns uuid
    language sql
    stable
    parallel restricted
as $$ select (platform.context() ->> 'tenant_id')::uuid $$;

comment on function platform.current_tenant_id() is
    'The tenant of the context; null without one. In a policy write (select platform.current_tenant_id()),
so that it is verified once per statement and not once per row.';

revoke all on function platform.current_tenant_id() from public;
grant execute on function platform.current_tenant_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;


create or replace function platform.current_user_id()
    returns uuid
    language sql
    stable
    parallel restricted
as $$ select (platform.context() ->> 'user_id')::uuid $$;

comment on function platform.current_user_id() is
    'The user whose rights the transaction uses; null for a service or without a context.';

revoke all on function platform.current_user_id() from public;
grant execute on function platform.current_user_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;


create or replace function platform.current_actor_id()
    returns uuid
    language sql
    stable
    parallel restricted
as $$
    select coalesce(context.fields ->> 'actor_id', context.fields ->> 'user_id')::uuid
    from (select platform.context()) as context (fields)
$$;

comment on function platform.current_actor_id() is
    'The user who is really at work: the same as the current user unless somebody acts on behalf of another.';

revoke all on function platform.current_actor_id() from public;
grant execute on function platform.current_actor_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;
-- <<<

--- platform: services ------------------------------------------------------------

create table platform.services (
    name               text        not null,
    display_name       text        not null,
    description        text        not null,
    heartbeat_interval interval    not null default '1 minute',
    health_status      text        not null default 'unknown',
    health_details     jsonb       not null default '{}',
    health_reported_at timestamptz,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),

    constraint services_pkey primary key (name),
    constraint services_name_is_a_slug check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    constraint services_health_is_known check (health_status in ('unknown', 'healthy', 'degraded', 'unhealthy')),
    constraint services_health_details_are_an_object check (jsonb_typeof(health_details) = 'object'),
    constraint services_heartbeat_is_positive check (heartbeat_interval > '0'),
    constraint services_say_when_they_report check ((health_reported_at is null) = (health_status = 'unknown'))
);

comment on table platform.services is
    'One row for each service of the installation, with what it last said of its health.';
comment on column platform.services.heartbeat_interval is
    'How often the service reports; three missed reports make its health unknown.';
comment on column platform.services.health_details is
    'What the service adds to its status, as {"check": "finding", …}.';

create trigger touch_updated_at before update on platform.services
    for each row execute function platform.touch_updated_at();

grant select on platform.services to enterprise_ai_app;
grant select, insert, update, delete on platform.services to enterprise_ai_operator;

-- >>> sql/platform/report_health.sql
create or replace function platform.report_health(
    service_name text,
    status text,
    details jsonb default '{}')
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- services report on themselves without any right to the registry
    set search_path = pg_catalog, pg_temp
as $$
begin
    update platform.services as s
    set health_status = report_health.status,
        health_details = report_health.details,
        health_reported_at = clock_timestamp()
    where s.name = report_health.service_name;
    if not found then
        raise exception 'There is no service %', report_health.service_name
            using errcode = 'ZP005', hint = 'Services are registered in platform.services.';
    end if;
end
$$;

comment on function platform.report_health(text, text, jsonb) is
    'Record how a service is now: healthy, degraded or unhealthy, with details. Raises ZP005 for an unknown one.';

revoke all on function platform.report_health(text, text, jsonb) from public;
grant execute on function platform.report_health(text, text, jsonb)
    to enterprise_ai_gateway, enterprise_ai_operator;


create or replace function platform.service_health()
    returns table (name text, status text, details jsonb, reported_at timestamptz)
    language sql
    stable
    parallel safe
    security definer        -- whoever watches the services needs no right to the registry
    set search_path = pg_catalog, pg_temp
as $$
    select s.name,
           case
               when s.health_reported_at is null
                    or s.health_reported_at < statement_timestamp() - s.heartbeat_interval * 3 then 'unknown'
               else s.health_status
           end,
           s.health_details,
           s.health_reported_at
    from platform.services as s
    order by s.name;
$$;

comment on function platform.service_health() is
    'How each registered service is: what it last said, or unknown when it missed three heartbeats.';

revoke all on function platform.service_health() from public;
grant execute on function platform.service_health()
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_operator;
-- <<<

--- identity: tenants -------------------------------------------------------------
-- Every tenant-owned table has tenant_id first in its primary key and in every unique constraint and
-- foreign key, and a policy that shows the rows of the context's tenant alone. The policies name no
-- role: whoever is granted a table, its owner included, is held to the tenant.

create table identity.tenant_directory (
    slug       text        not null,
    tenant_id  uuid        not null,
    created_at timestamptz not null default now(),

    constraint tenant_directory_pkey primary key (slug),
    constraint tenant_directory_tenant_id_key unique (tenant_id),
    constraint tenant_directory_slug_is_a_slug check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')
);

comment on table identity.tenant_directory is
    'One row for each tenant of the installation: the only list of them all. Shared by all tenants, so nothing
but the name is in it, and applications cannot read it.';

grant select on identity.tenant_directory to enterprise_ai_operator;

create table identity.tenants (
    id           uuid        not null default platform.new_id(),
    slug         text        not null,
    display_name text        not null,
    status       text        not null default 'active',
    region       text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint tenants_pkey primary key (id),
    constraint tenants_status_is_known check (status in ('active', 'suspended', 'archived', 'deleting')),
    constraint tenants_display_name_is_not_blank check (display_name ~ '\S')
);

comment on table identity.tenants is
    'One row for each tenant: an organisation whose data is kept apart from every other''s.';
comment on column identity.tenants.slug is
    'The name in addresses and on the command line; unique through identity.tenant_directory.';
comment on column identity.tenants.region is
    'Where the tenant''s data has to stay, as the operator names its regions; null when anywhere.';

create trigger touch_updated_at before update on identity.tenants
    for each row execute function platform.touch_updated_at();

alter table identity.tenants enable row level security;
alter table identity.tenants force row level security;
create policy tenants_of_my_context on identity.tenants
    using (id = (select platform.current_tenant_id()))
    with check (id = (select platform.current_tenant_id()));
grant select on identity.tenants to enterprise_ai_app, enterprise_ai_gateway;

--- platform: settings ------------------------------------------------------------
-- Declared once for the installation or a service; a tenant may override what is declared overridable.

-- >>> sql/platform/value_fits.sql
create or replace function platform.value_fits(
    value jsonb, value_type text, minimum numeric, maximum numeric, allowed_values jsonb)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select (allowed_values is null or allowed_values @> jsonb_build_array(value))
       and case
               when value_type = 'integer' and jsonb_typeof(value) = 'number' then value::numeric % 1 = 0
               else jsonb_typeof(value) = value_type
           end
       and case
               when jsonb_typeof(value) <> 'number' then true
               else (minimum is null or value::numeric >= minimum)
                    and (maximum is null or value::numeric <= maximum)
           end
$$;

comment on function platform.value_fits(jsonb, text, numeric, numeric, jsonb) is
    'True when a setting''s value has its declared type, lies within its bounds and is one of its allowed values.';

revoke all on function platform.value_fits(jsonb, text, numeric, numeric, jsonb) from public;
grant execute on function platform.value_fits(jsonb, text, numeric, numeric, jsonb)
    to enterprise_ai_app, enterprise_ai_operator;
-- <<<

create table platform.configuration_settings (
    id                    uuid        not null default platform.new_id(),
    key                   text        not null,
    service_name          text,
    environment           text        not null default 'any',
    scope                 text        not null generated always as (
        case when service_name is null then 'global' else 'service' end) stored,
    value                 jsonb       not null,
    value_type            text        not null,
    minimum               numeric,
    maximum               numeric,
    allowed_values        jsonb,
    is_tenant_overridable boolean     not null default false,
    description           text        not null,
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),

    constraint configuration_settings_pkey primary key (id),
    constraint configuration_settings_service_name_fkey foreign key (service_name)
        references platform.services (name) on delete cascade,
    constraint configuration_settings_key_is_dotted check (key ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$'),
    constraint configuration_settings_environment_is_known check (
        environment in ('any', 'development', 'staging', 'production')),
    constraint configuration_settings_value_type_is_known check (
        value_type in ('boolean', 'integer', 'number', 'string', 'array', 'object')),
    constraint configuration_settings_bounds_are_ordered check (minimum <= maximum),
    constraint configuration_settings_allowed_values_are_a_list check (jsonb_typeof(allowed_values) = 'array'),
    constraint configuration_settings_value_fits check (
        platform.value_fits(value, value_type, minimum, maximum, allowed_values))
);

create unique index configuration_settings_global_key
    on platform.configuration_settings (key, environment) where service_name is null;
create unique index configuration_settings_service_key
    on platform.configuration_settings (service_name, key, environment) where service_name is not null;
-- The partial index above cannot serve the foreign key's look-ups.
create index configuration_settings_service_name_idx on platform.configuration_settings (service_name);

comment on table platform.configuration_settings is
    'One row for each value of a setting: global or a service''s own, for one environment or any.';
comment on column platform.configuration_settings.key is 'domain.name, e.g. security.session_idle_minutes.';
comment on column platform.configuration_settings.allowed_values is 'A JSON list the value must be in; null when free.';

create trigger touch_updated_at before update on platform.configuration_settings
    for each row execute function platform.touch_updated_at();

grant select on platform.configuration_settings to enterprise_ai_app;
grant select, insert, update, delete on platform.configuration_settings to enterprise_ai_operator;

create table platform.tenant_settings (
    tenant_id  uuid        not null,
    key        text        not null,
    value      jsonb       not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),

    constraint tenant_settings_pkey primary key (tenant_id, key),
    constraint tenant_settings_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade
);

comment on table platform.tenant_settings is
    'One row for each setting that a tenant overrides, for all services and environments.';

-- >>> sql/platform/settings.sql
create or replace function platform._check_tenant_setting()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_declared platform.configuration_settings;
begin
    -- The widest declaration of the key tells its type and whether tenants may say otherwise.
    select s.* into v_declared
    from platform.configuration_settings as s
    where s.key = new.key and s.environment = 'any'
    order by s.service_name nulls first
    limit 1;

    if not found then
        raise exception 'There is no setting %', new.key
            using errcode = 'ZP002', hint = 'select key from platform.configuration_settings lists them.';
    elsif not v_declared.is_tenant_overridable then
        raise exception 'The setting % is the installation''s own; a tenant cannot override it', new.key
            using errcode = 'ZP003';
    elsif not platform.value_fits(
        new.value, v_declared.value_type, v_declared.minimum, v_declared.maximum, v_declared.allowed_values)
    then
        raise exception 'The setting % takes %, not %', new.key,
            v_declared.value_type
            || coalesce(' out of ' || v_declared.allowed_values::text, '')
            || coalesce(' from ' || v_declared.minimum::text, '')
            || coalesce(' up to ' || v_declared.maximum::text, ''),
            new.value
            using errcode = 'ZP004';
    end if;
    return new;
end
$$;

comment on function platform._check_tenant_setting() is
    'Before-row trigger: a tenant''s override names a declared, overridable setting and has its type.';

revoke all on function platform._check_tenant_setting() from public;


create or replace function platform.setting(
    key text,
    service_name text default null,
    environment text default null)
    returns jsonb
    language sql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
    select candidate.value
    from (
        select t.value, 0 as distance
        from platform.tenant_settings as t
        where t.tenant_id = (select platform.current_tenant_id())
          and t.key = setting.key
        union all
        select s.value,
               1 + case when s.service_name is null then 2 else 0 end
                 + case when s.environment = 'any' then 1 else 0 end
        from platform.configuration_settings as s
        where s.key = setting.key
          and (s.service_name is null or s.service_name = setting.service_name)
          and (s.environment = 'any' or s.environment = setting.environment)
    ) as candidate
    order by candidate.distance
    limit 1;
$$;

comment on function platform.setting(text, text, text) is
    'The value of a setting: the tenant''s own, else the service''s, else the global one; within each, the named
environment''s before the one for any. Null when nothing declares the key.';

revoke all on function platform.setting(text, text, text) from public;
grant execute on function platform.setting(text, text, text) to enterprise_ai_app, enterprise_ai_operator;
-- <<<

create trigger _100_check before insert or update on platform.tenant_settings
    for each row execute function platform._check_tenant_setting();
create trigger _200_touch_updated_at before update on platform.tenant_settings
    for each row execute function platform.touch_updated_at();

alter table platform.tenant_settings enable row level security;
alter table platform.tenant_settings force row level security;
create policy tenant_settings_of_my_tenant on platform.tenant_settings
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on platform.tenant_settings to enterprise_ai_app;

--- platform: partitions ----------------------------------------------------------

-- >>> sql/platform/partitions.sql
-- Months are cut in UTC whatever the session's zone, made with LIKE and ATTACH (PARTITION OF would stop
-- readers and writers of the parent), and kept in <domain>_parts, where nobody is granted anything.

create or replace function platform.partitions(parent regclass)
    returns table (partition regclass, starts_at timestamptz, ends_at timestamptz)
    language sql
    stable
    parallel safe
    set timezone = 'UTC'
    set search_path = pg_catalog, pg_temp
as $$
    select c.oid::regclass, bound.starts_at, bound.ends_at
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    cross join lateral (
        select (regexp_match(pg_get_expr(c.relpartbound, c.oid), $r$FROM \('([^']+)'\)$r$))[1]::timestamptz,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), $r$TO \('([^']+)'\)$r$))[1]::timestamptz
    ) as bound (starts_at, ends_at)
    where i.inhparent = parent
      and c.relispartition
    order by bound.starts_at;
$$;

comment on function platform.partitions(regclass) is
    'The partitions of a table partitioned by month, oldest first, with their half-open bounds.';

revoke all on function platform.partitions(regclass) from public;
grant execute on function platform.partitions(regclass) to enterprise_ai_operator;


create or replace function platform.ensure_partitions(parent regclass, from_month date, to_month date)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- makes tables, which only the owner of the parent can
    set timezone = 'UTC'
    set lock_timeout = '3s'
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_schema name;
    v_table name;
    v_month date;
    v_starts_at timestamptz;
    v_ends_at timestamptz;
    v_partition text;
    v_made integer := 0;
begin
    select n.nspname, c.relname into v_schema, v_table
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = parent
      and c.relkind = 'p'
      and n.nspname = any (platform.domains());
    if not found then
        raise exception '% is not a partitioned table of this schema', parent
            using errcode = 'ZP001';
    end if;

    -- Two who maintain at once take turns; the second finds everything made.
    perform pg_advisory_xact_lock(hashtext('platform.ensure_partitions'), parent::oid::integer);

    for v_month in
        select month::date
        from generate_series(
            date_trunc('month', from_month::timestamp), date_trunc('month', to_month::timestamp), '1 month'
        ) as month
    loop
        v_starts_at := v_month::timestamp at time zone 'UTC';
        v_ends_at := (v_month + interval '1 month') at time zone 'UTC';
        continue when exists (
            select from platform.partitions(parent) as p
            where p.starts_at = v_starts_at and p.ends_at = v_ends_at);

        v_partition := format('%I.%I', v_schema || '_parts', v_table || to_char(v_month, '"_"YYYY"_"MM'));
        execute format(
            'create table %s (like %s including all excluding indexes excluding identity excluding statistics)',
            v_partition, parent);
        execute format(
            'alter table %s attach partition %s for values from (%L) to (%L)',
            parent, v_partition, v_starts_at, v_ends_at);
        v_made := v_made + 1;
    end loop;
    return v_made;
end
$$;

comment on function platform.ensure_partitions(regclass, date, date) is
    'Make the monthly partitions that are missing from the first month to the last; returns how many were made.
Readers and writers of the table go on meanwhile. Raises ZP001 for a table that is not partitioned here.';

revoke all on function platform.ensure_partitions(regclass, date, date) from public;
grant execute on function platform.ensure_partitions(regclass, date, date) to enterprise_ai_operator;


create or replace function platform.maintain_partitions(months_ahead integer default 12)
    returns table (parent regclass, made integer)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_today date := (now() at time zone 'UTC')::date;
begin
    for parent in
        select c.oid::regclass
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname = any (platform.domains())
        order by n.nspname, c.relname
    loop
        made := platform.ensure_partitions(
            parent, v_today, (v_today + make_interval(months => months_ahead))::date);
        return next;
    end loop;
end
$$;

comment on function platform.maintain_partitions(integer) is
    'Make the partitions of this month and so many months ahead for every table partitioned by month.';

revoke all on function platform.maintain_partitions(integer) from public;
grant execute on function platform.maintain_partitions(integer) to enterprise_ai_operator;
-- <<<

--- identity: users ---------------------------------------------------------------

create table identity.users (
    tenant_id         uuid        not null,
    id                uuid        not null default platform.new_id(),
    email             text        not null,
    email_verified_at timestamptz,
    display_name      text        not null,
    status            text        not null default 'invited',
    external_id       text,
    failed_logins     integer     not null default 0,
    locked_until      timestamptz,
    last_login_at     timestamptz,
    deleted_at        timestamptz,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),

    constraint users_pkey primary key (tenant_id, id),
    constraint users_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint users_external_id_key unique (tenant_id, external_id),
    constraint users_email_has_a_domain check (email ~ '^[^\s@]+@[^\s@]+$' and length(email) <= 320),
    constraint users_display_name_is_not_blank check (display_name ~ '\S'),
    constraint users_status_is_known check (
        status in ('invited', 'active', 'locked', 'suspended', 'deactivated', 'erased')),
    constraint users_locked_have_an_end check ((status = 'locked') = (locked_until is not null)),
    constraint users_erased_are_deleted check (status <> 'erased' or deleted_at is not null),
    constraint users_failed_logins_are_counted check (failed_logins >= 0)
);

-- One living person an address; the address of somebody deleted can be given out again.
create unique index users_email_key on identity.users (tenant_id, lower(email)) where deleted_at is null;
-- Administration lists people by status, newest first.
create index users_status_idx on identity.users (tenant_id, status, created_at desc);
-- The unlocking sweep.
create index users_locked_until_idx on identity.users (tenant_id, locked_until) where status = 'locked';

comment on table identity.users is
    'One row for each person or service account in a tenant.';
comment on column identity.users.external_id is
    'What the tenant''s directory calls the person (SCIM externalId).';
comment on column identity.users.failed_logins is
    'Failures since the last success; the lock-out grows with it.';
comment on column identity.users.deleted_at is
    'When the person was removed; the row stays for what refers to it.';

create trigger touch_updated_at before update on identity.users
    for each row execute function platform.touch_updated_at();

alter table identity.users enable row level security;
alter table identity.users force row level security;
create policy users_of_my_tenant on identity.users
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on identity.users to enterprise_ai_app;
-- An application makes and edits people; what signing in decides is not its to write.
grant insert (tenant_id, id, email, display_name, external_id) on identity.users to enterprise_ai_app;
grant update (email, display_name, external_id) on identity.users to enterprise_ai_app;

-- >>> sql/platform/open_context.sql
create or replace function platform.open_context(
    tenant_id uuid,
    user_id uuid default null,
    actor_id uuid default null,
    session_id uuid default null,
    request_id text default null,
    ip_address inet default null,
    user_agent text default null,
    authentication_level smallint default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- seals with a key, and looks at people, neither of which callers may read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_status text;
    v_person uuid;
    v_person_status text;
begin
    -- Row security binds this function's owner as well: with the tenant alone as context it sees that
    -- tenant's rows. Whatever is raised below takes this setting back with it.
    perform platform._seal_context(jsonb_build_object('tenant_id', open_context.tenant_id));

    select t.status into v_tenant_status
    from identity.tenants as t
    where t.id = open_context.tenant_id;
    if v_tenant_status is distinct from 'active' then
        raise exception 'Tenant % %', open_context.tenant_id,
            coalesce('is ' || v_tenant_status, 'does not exist')
            using errcode = 'ZI001', hint = 'A context opens only for an active tenant.';
    end if;

    foreach v_person in array array_remove(array[open_context.user_id, open_context.actor_id], null) loop
        select u.status into v_person_status
        from identity.users as u
        where u.tenant_id = open_context.tenant_id and u.id = v_person;
        if v_person_status is distinct from 'active' then
            raise exception 'User % %', v_person,
                coalesce('is ' || v_person_status, 'does not exist in tenant ' || open_context.tenant_id)
                using errcode = 'ZI002', hint = 'A context opens only for an active user of the tenant.';
        end if;
    end loop;

    perform platform._seal_context(jsonb_build_object(
        'tenant_id', open_context.tenant_id,
        'user_id', open_context.user_id,
        'actor_id', open_context.actor_id,
        'session_id', open_context.session_id,
        'request_id', open_context.request_id,
        'ip_address', host(open_context.ip_address),
        'user_agent', open_context.user_agent,
        'authentication_level', open_context.authentication_level));
end
$$;

comment on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint) is
    'Open the context of the current transaction for a tenant and, as a rule, a user of it. The caller vouches
for both, so only services that authenticate people themselves (enterprise_ai_gateway) may call it.
Raises ZI001 when the tenant, ZI002 when a person is not active or not there.';

revoke all on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint) from public;
grant execute on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint)
    to enterprise_ai_gateway;
-- <<<

create table identity.user_profiles (
    tenant_id   uuid        not null,
    user_id     uuid        not null,
    given_name  text,
    family_name text,
    job_title   text,
    department  text,
    manager_id  uuid,
    locale      text        not null default 'en',
    time_zone   text        not null default 'UTC',
    preferences jsonb       not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint user_profiles_pkey primary key (tenant_id, user_id),
    constraint user_profiles_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_profiles_manager_id_fkey foreign key (tenant_id, manager_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint user_profiles_nobody_manages_themselves check (manager_id <> user_id),
    constraint user_profiles_preferences_are_an_object check (jsonb_typeof(preferences) = 'object')
);

-- Who reports to whom.
create index user_profiles_manager_id_idx on identity.user_profiles (tenant_id, manager_id);
create index user_profiles_department_idx on identity.user_profiles (tenant_id, department)
    where department is not null;

comment on table identity.user_profiles is
    'One row for each user who has told more about themselves than signing in needs.';
comment on column identity.user_profiles.locale is 'A BCP 47 language tag.';
comment on column identity.user_profiles.time_zone is 'An IANA time zone name.';
comment on column identity.user_profiles.preferences is 'The user''s own choices, as {"application.choice": value, …}.';

create trigger touch_updated_at before update on identity.user_profiles
    for each row execute function platform.touch_updated_at();

alter table identity.user_profiles enable row level security;
alter table identity.user_profiles force row level security;
create policy user_profiles_of_my_tenant on identity.user_profiles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on identity.user_profiles to enterprise_ai_app;

--- identity: groups --------------------------------------------------------------

create table identity.groups (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    parent_id    uuid,
    display_name text        not null,
    external_id  text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint groups_pkey primary key (tenant_id, id),
    constraint groups_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint groups_parent_id_fkey foreign key (tenant_id, parent_id)
        references identity.groups (tenant_id, id) on delete no action,
    constraint groups_display_name_key unique (tenant_id, display_name),
    constraint groups_external_id_key unique (tenant_id, external_id),
    constraint groups_display_name_is_not_blank check (display_name ~ '\S'),
    constraint groups_are_not_their_own_parent check (parent_id <> id)
);

create index groups_parent_id_idx on identity.groups (tenant_id, parent_id);

comment on table identity.groups is
    'One row for each group of people in a tenant; a group may lie within another.';
comment on column identity.groups.external_id is
    'What the tenant''s directory calls the group (SCIM externalId).';

create trigger touch_updated_at before update on identity.groups
    for each row execute function platform.touch_updated_at();

alter table identity.groups enable row level security;
alter table identity.groups force row level security;
create policy groups_of_my_tenant on identity.groups
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, update, delete on identity.groups to enterprise_ai_app;

create table identity.group_members (
    tenant_id uuid        not null,
    group_id  uuid        not null,
    user_id   uuid        not null,
    joined_at timestamptz not null default now(),

    constraint group_members_pkey primary key (tenant_id, group_id, user_id),
    constraint group_members_group_id_fkey foreign key (tenant_id, group_id)
        references identity.groups (tenant_id, id) on delete cascade,
    constraint group_members_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade
);

-- Which groups somebody is in: asked at every decision.
create index group_members_user_id_idx on identity.group_members (tenant_id, user_id);

comment on table identity.group_members is 'One row for each user in a group.';

alter table identity.group_members enable row level security;
alter table identity.group_members force row level security;
create policy group_members_of_my_tenant on identity.group_members
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select, insert, delete on identity.group_members to enterprise_ai_app;

--- identity: credentials ---------------------------------------------------------
-- Secrets are never stored, only what recognises them: an Argon2id string, a SHA-256, a wrapped seed.
-- No group role can read these tables; signing in goes through functions.

create table identity.user_passwords (
    tenant_id     uuid        not null,
    user_id       uuid        not null,
    password_hash text        not null,
    must_change   boolean     not null default false,
    changed_at    timestamptz not null default now(),

    constraint user_passwords_pkey primary key (tenant_id, user_id),
    constraint user_passwords_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_passwords_are_argon2id check (password_hash like '$argon2id$%')
);

comment on table identity.user_passwords is 'One row for each user who signs in with a password.';
comment on column identity.user_passwords.password_hash is 'An Argon2id string (RFC 9106) with its own salt and parameters.';
comment on column identity.user_passwords.must_change is 'The password was set by somebody else and serves for one sign-in.';

alter table identity.user_passwords enable row level security;
alter table identity.user_passwords force row level security;
create policy user_passwords_of_my_tenant on identity.user_passwords
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.user_sessions (
    tenant_id            uuid        not null,
    id                   uuid        not null default platform.new_id(),
    user_id              uuid        not null,
    token_hash           bytea       not null,
    authentication_level smallint    not null default 1,
    ip_address           inet,
    user_agent           text,
    started_at           timestamptz not null default now(),
    last_seen_at         timestamptz not null default now(),
    idle_expires_at      timestamptz not null,
    expires_at           timestamptz not null,
    revoked_at           timestamptz,
    revoked_reason       text,

    constraint user_sessions_pkey primary key (tenant_id, id),
    constraint user_sessions_token_hash_key unique (tenant_id, token_hash),
    constraint user_sessions_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_sessions_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint user_sessions_end_after_they_start check (expires_at > started_at),
    constraint user_sessions_idle_within_their_life check (idle_expires_at <= expires_at),
    constraint user_sessions_authentication_level_is_known check (authentication_level between 1 and 3),
    constraint user_sessions_revoked_say_why check ((revoked_at is null) = (revoked_reason is null))
);

-- A person's live sessions, to list and to revoke.
create index user_sessions_user_id_idx on identity.user_sessions (tenant_id, user_id, expires_at desc);
-- What the sweep removes.
create index user_sessions_expires_at_idx on identity.user_sessions (tenant_id, expires_at);

comment on table identity.user_sessions is 'One row for each sign-in of a user.';
comment on column identity.user_sessions.token_hash is 'SHA-256 of the session token, which only its bearer has.';
comment on column identity.user_sessions.authentication_level is 'NIST SP 800-63 authenticator assurance level, 1 to 3.';
comment on column identity.user_sessions.idle_expires_at is 'When the session ends unless it is used before.';

alter table identity.user_sessions enable row level security;
alter table identity.user_sessions force row level security;
create policy user_sessions_of_my_tenant on identity.user_sessions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.refresh_tokens (
    tenant_id   uuid        not null,
    id          uuid        not null default platform.new_id(),
    session_id  uuid        not null,
    family_id   uuid        not null,
    token_hash  bytea       not null,
    issued_at   timestamptz not null default now(),
    expires_at  timestamptz not null,
    used_at     timestamptz,
    successor_id uuid,
    revoked_at  timestamptz,

    constraint refresh_tokens_pkey primary key (tenant_id, id),
    constraint refresh_tokens_token_hash_key unique (tenant_id, token_hash),
    constraint refresh_tokens_session_id_fkey foreign key (tenant_id, session_id)
        references identity.user_sessions (tenant_id, id) on delete cascade,
    constraint refresh_tokens_successor_id_fkey foreign key (tenant_id, successor_id)
        references identity.refresh_tokens (tenant_id, id) on delete cascade,
    constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint refresh_tokens_end_after_they_start check (expires_at > issued_at),
    constraint refresh_tokens_used_have_a_successor check ((used_at is null) = (successor_id is null))
);

create index refresh_tokens_session_id_idx on identity.refresh_tokens (tenant_id, session_id);
create index refresh_tokens_successor_id_idx on identity.refresh_tokens (tenant_id, successor_id);
-- A reused token revokes its whole family.
create index refresh_tokens_family_id_idx on identity.refresh_tokens (tenant_id, family_id);

comment on table identity.refresh_tokens is
    'One row for each refresh token; each use makes the next of its family, and a second use ends the family.';
comment on column identity.refresh_tokens.family_id is 'The same for all tokens that descend from one sign-in.';

alter table identity.refresh_tokens enable row level security;
alter table identity.refresh_tokens force row level security;
create policy refresh_tokens_of_my_tenant on identity.refresh_tokens
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.api_keys (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    user_id      uuid        not null,
    name         text        not null,
    prefix       text        not null,
    key_hash     bytea       not null,
    scopes       text[]      not null default '{}',
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,

    constraint api_keys_pkey primary key (tenant_id, id),
    constraint api_keys_key_hash_key unique (tenant_id, key_hash),
    constraint api_keys_name_key unique (tenant_id, user_id, name),
    constraint api_keys_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint api_keys_key_hash_is_sha256 check (octet_length(key_hash) = 32),
    constraint api_keys_prefix_is_short check (length(prefix) between 4 and 16),
    constraint api_keys_expire_after_they_start check (expires_at > created_at)
);

comment on table identity.api_keys is 'One row for each key with which a program acts as a user.';
comment on column identity.api_keys.prefix is 'The first characters of the key, shown so that people can tell keys apart.';
comment on column identity.api_keys.scopes is 'Permissions that the key is confined to; empty when all of the user''s.';

alter table identity.api_keys enable row level security;
alter table identity.api_keys force row level security;
create policy api_keys_of_my_tenant on identity.api_keys
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.mfa_factors (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    user_id        uuid        not null,
    kind           text        not null,
    name           text        not null,
    totp_secret    bytea,
    totp_last_step bigint,
    credential_id  bytea,
    public_key     bytea,
    sign_count     bigint,
    confirmed_at   timestamptz,
    last_used_at   timestamptz,
    created_at     timestamptz not null default now(),

    constraint mfa_factors_pkey primary key (tenant_id, id),
    constraint mfa_factors_name_key unique (tenant_id, user_id, name),
    constraint mfa_factors_credential_id_key unique (tenant_id, credential_id),
    constraint mfa_factors_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint mfa_factors_kind_is_known check (kind in ('totp', 'webauthn')),
    constraint mfa_factors_have_what_their_kind_needs check (
        case when kind = 'totp'
             then totp_secret is not null and num_nonnulls(credential_id, public_key, sign_count) = 0
             else num_nonnulls(credential_id, public_key, sign_count) = 3
                  and num_nonnulls(totp_secret, totp_last_step) = 0
        end)
);

comment on table identity.mfa_factors is 'One row for each second factor of a user: a TOTP generator or a WebAuthn key.';
comment on column identity.mfa_factors.totp_secret is 'The shared seed (RFC 6238), encrypted.';
comment on column identity.mfa_factors.totp_last_step is 'The time step of the last code accepted, so that no code works twice.';
comment on column identity.mfa_factors.confirmed_at is 'When the first code or signature was verified; before it the factor does not count.';

alter table identity.mfa_factors enable row level security;
alter table identity.mfa_factors force row level security;
create policy mfa_factors_of_my_tenant on identity.mfa_factors
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.mfa_recovery_codes (
    tenant_id  uuid        not null,
    user_id    uuid        not null,
    code_hash  bytea       not null,
    created_at timestamptz not null default now(),
    used_at    timestamptz,

    constraint mfa_recovery_codes_pkey primary key (tenant_id, user_id, code_hash),
    constraint mfa_recovery_codes_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint mfa_recovery_codes_hash_is_sha256 check (octet_length(code_hash) = 32)
);

comment on table identity.mfa_recovery_codes is 'One row for each recovery code of a user; each works once.';
comment on column identity.mfa_recovery_codes.code_hash is 'HMAC-SHA-256 of the code under a key outside this table: codes are short.';

alter table identity.mfa_recovery_codes enable row level security;
alter table identity.mfa_recovery_codes force row level security;
create policy mfa_recovery_codes_of_my_tenant on identity.mfa_recovery_codes
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.one_time_tokens (
    tenant_id  uuid        not null,
    token_hash bytea       not null,
    user_id    uuid        not null,
    purpose    text        not null,
    email      text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at    timestamptz,

    constraint one_time_tokens_pkey primary key (tenant_id, token_hash),
    constraint one_time_tokens_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint one_time_tokens_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint one_time_tokens_purpose_is_known check (purpose in ('verify_email', 'reset_password', 'invite')),
    constraint one_time_tokens_email_is_for_verification check ((purpose = 'verify_email') = (email is not null)),
    constraint one_time_tokens_expire_after_they_start check (expires_at > created_at)
);

create index one_time_tokens_user_id_idx on identity.one_time_tokens (tenant_id, user_id);

comment on table identity.one_time_tokens is
    'One row for each token sent to a user to verify an address, reset a password or accept an invitation.';
comment on column identity.one_time_tokens.email is 'The address that the token proves.';

alter table identity.one_time_tokens enable row level security;
alter table identity.one_time_tokens force row level security;
create policy one_time_tokens_of_my_tenant on identity.one_time_tokens
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.login_attempts (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    user_id      uuid,
    email        text        not null,
    method       text        not null,
    outcome      text        not null,
    ip_address   inet,
    user_agent   text,
    attempted_at timestamptz not null default now(),

    constraint login_attempts_pkey primary key (tenant_id, id),
    constraint login_attempts_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint login_attempts_method_is_known check (
        method in ('password', 'sso', 'api_key', 'refresh_token', 'totp', 'webauthn', 'recovery_code')),
    constraint login_attempts_outcome_is_known check (
        outcome in ('success', 'wrong_credentials', 'locked', 'inactive', 'mfa_required', 'mfa_failed', 'refused'))
);

-- Lock-out and alerting count recent failures by account and by address.
create index login_attempts_email_idx on identity.login_attempts (tenant_id, lower(email), attempted_at desc);
create index login_attempts_ip_address_idx on identity.login_attempts (tenant_id, ip_address, attempted_at desc);

comment on table identity.login_attempts is 'One row for each attempt to sign in, whether an account was found or not.';
comment on column identity.login_attempts.user_id is
    'The account that the address belonged to, without a foreign key: the record outlives the account.';

alter table identity.login_attempts enable row level security;
alter table identity.login_attempts force row level security;
create policy login_attempts_of_my_tenant on identity.login_attempts
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on identity.login_attempts to enterprise_ai_auditor;

