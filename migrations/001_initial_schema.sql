-- 001_initial_schema.sql: the platform everything stands on, who people are, and what they may do.
--
-- Runs on PostgreSQL 12 to 18, by the migration engine or by psql -1 -f. Text between ">>>" and "<<<" is a
-- copy of the named file under sql/, where the current text of every function is kept.
--
-- The login that runs it becomes the owner of everything. It needs CREATE on the database, and either
-- CREATEROLE or the group roles below made beforehand, and membership in enterprise_ai_definer.

--- platform: group roles ---------------------------------------------------------
-- What a login may do, it may through one of these. They belong to the whole server, so several databases
-- on it share them, and undoing this migration leaves them in place.

-- enterprise_ai_decider owns the functions that decide and nobody has its rights. Whoever migrates becomes that role to
-- replace them, by way of enterprise_ai_definer, which does not inherit: a login that did, would see all tenants' rights.

do $do$
declare
    v_role text;
    v_missing text[] := array(
        select wanted.name
        from unnest(array['enterprise_ai_app', 'enterprise_ai_reader', 'enterprise_ai_auditor', 'enterprise_ai_operator',
                          'enterprise_ai_gateway', 'enterprise_ai_decider', 'enterprise_ai_definer']) as wanted (name)
        where not exists (select from pg_catalog.pg_roles as r where r.rolname = wanted.name));
    v_may_create boolean := (
        select r.rolsuper or r.rolcreaterole from pg_catalog.pg_roles as r where r.rolname = current_user);
begin
    if v_missing <> '{}' and not v_may_create then
        raise exception 'The group roles % do not exist, and % may not create roles',
            array_to_string(v_missing, ', '), current_user
            using errcode = 'insufficient_privilege',
                  hint = 'Let an administrator run: create role ' || array_to_string(v_missing, '; create role ')
                         || '; alter role enterprise_ai_definer noinherit; grant enterprise_ai_decider to'
                            ' enterprise_ai_definer; grant enterprise_ai_definer to '
                         || quote_ident(current_user) || ';';
    end if;
    foreach v_role in array v_missing loop
        begin
            execute format('create role %I nologin %s', v_role,
                           case v_role when 'enterprise_ai_definer' then 'noinherit' else 'inherit' end);
        exception
            -- Another database of this server is being set up at the same moment.
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$do$;

do $do$
begin
    begin
        set local role enterprise_ai_decider;
    exception
        when insufficient_privilege then
            if not pg_has_role('enterprise_ai_definer', 'enterprise_ai_decider', 'member') then
                grant enterprise_ai_decider to enterprise_ai_definer;
            end if;
            execute format('grant enterprise_ai_definer to %I', current_user);
            set local role enterprise_ai_decider;
    end;
    reset role;
exception
    when insufficient_privilege then
        raise exception '% may not make functions that belong to enterprise_ai_decider', current_user
            using errcode = 'insufficient_privilege',
                  hint = format('Let an administrator run: grant enterprise_ai_decider to enterprise_ai_definer; '
                                'grant enterprise_ai_definer to %I;', current_user);
end
$do$;

do $do$
declare
    v_heir name := (
        select r.rolname
        from pg_catalog.pg_roles as r
        where pg_has_role(r.oid, 'enterprise_ai_decider', 'usage')
          and not r.rolsuper and r.rolname <> 'enterprise_ai_decider'
        limit 1);
begin
    if v_heir is not null then
        raise exception '% has the rights of enterprise_ai_decider, and so would see the rights in all tenants', v_heir
            using errcode = 'invalid_grant_operation',
                  hint = format('Let an administrator run: revoke enterprise_ai_decider from %I; alter role '
                                'enterprise_ai_definer noinherit;', v_heir);
    end if;
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
create schema authz_parts;
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
comment on schema authz_parts is 'Monthly partitions of authz tables. Nobody is granted anything here: the parent has the row security.';
comment on schema llm_parts is 'Monthly partitions of llm tables. Nobody is granted anything here: the parent has the row security.';
comment on schema analytics_parts is 'Monthly partitions of analytics tables. Nobody is granted anything here: the parent has the row security.';
comment on schema audit_parts is 'Monthly partitions of audit tables. Nobody is granted anything here: the parent has the row security.';

grant usage on schema platform, identity, authz, llm, analytics to enterprise_ai_app;
grant usage on schema security, audit to enterprise_ai_app;
grant usage on schema platform, identity, authz, llm, analytics, security to enterprise_ai_reader;
grant usage on schema platform, identity, authz, audit to enterprise_ai_auditor;
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
-- fraction take the place of a random (version 4) UUID's first half, as RFC 9562 section 6.2 method 3 describes.
-- One expression without a from, so that what calls it takes it in: a default would plan it anew for each row inserted.
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
            select (overlay(
                        lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 4096000)::bigint), 15, '0')
                        placing '7' from 13 for 0)
                    || right(encode(uuid_send(%s), 'hex'), 16))::uuid
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
    id         text        not null default encode(platform.random_bytes(4), 'hex'),
    secret     bytea       not null default platform.random_bytes(128),
    created_at timestamptz not null default now(),
    retired_at timestamptz,

    constraint context_keys_pkey primary key (id),
    constraint context_keys_ids_have_eight_characters check (length(id) = 8),
    constraint context_keys_fill_two_blocks check (octet_length(secret) = 128)
);

-- One key seals.
create unique index context_keys_live_key on platform.context_keys ((true)) where retired_at is null;

comment on table platform.context_keys is
    'One row for each key that seals contexts; the one not retired seals, all of them verify. Granted to nobody.';

insert into platform.context_keys default values;

-- Every statement reads this table. Known to be small it is read as it is; without statistics it would be taken for a
-- large one and read by its index, which takes longer. No statistics of the secrets themselves.
alter table platform.context_keys alter column secret set statistics 0;
analyze platform.context_keys;

-- >>> sql/platform/context.sql
-- The context says for whom a transaction runs. It travels in a custom setting, and a custom setting
-- can be written by whoever can run SQL; so what is set is sealed: a code over the fields together with
-- this transaction's start and this backend, under a key that no group role can read. A value that was
-- not sealed here, or was sealed for another transaction, counts as no context at all.
--
-- The value, by position: 64 hexadecimal digits of the code, 8 characters of the key's id, 36 of the
-- tenant's id, then all the fields as JSON. The code is HMAC-SHA-256's construction with both of its padded
-- keys drawn at random, the halves of the secret: the server's own sha256() is quicker than pgcrypto's hmac().

create or replace function platform._seal_context(fields jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_sealed text;
begin
    select encode(
               sha256(substr(k.secret, 65) || sha256(
                   substr(k.secret, 1, 64)
                   || timestamptz_send(transaction_timestamp())
                   || int4send(pg_backend_pid())
                   || convert_to(what.is_sealed, 'UTF8'))),
               'hex') || what.is_sealed
    into strict v_sealed
    from platform.context_keys as k
    cross join lateral (
        select k.id || (fields ->> 'tenant_id') || jsonb_strip_nulls(fields)::text) as what (is_sealed)
    where k.retired_at is null;

    -- Local to the transaction: a pooled connection hands nothing on to its next user.
    perform set_config('enterprise_ai.context', coalesce(v_sealed, ''), true);
end
$$;

comment on function platform._seal_context(jsonb) is
    'Make the fields the context of the current transaction; without a tenant_id there is none.';

revoke all on function platform._seal_context(jsonb) from public;


create or replace function platform.current_tenant_id()
    returns uuid
    language plpgsql        -- its plans are kept for the session; a language sql body is planned at each call
    stable
    parallel restricted     -- a worker has another process id than the backend that sealed
    security definer        -- reads the key that the caller must not see
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- Nothing is parsed or cast before the code is right. Bytes, because characters would have to be counted; the
    -- key's id in a variable, because what a query computes is made ready anew each time it runs.
    v_value bytea := convert_to(current_setting('enterprise_ai.context', true), 'UTF8');
    v_key_id text := encode(substr(v_value, 65, 8), 'escape');
    v_secret bytea;
begin
    select k.secret into v_secret from platform.context_keys as k where k.id = v_key_id;

    if convert_to(encode(
           sha256(substr(v_secret, 65) || sha256(
               substr(v_secret, 1, 64)
               || timestamptz_send(transaction_timestamp())
               || int4send(pg_backend_pid())
               || substr(v_value, 65))),
           'hex'), 'UTF8') = substr(v_value, 1, 64)
    then
        return encode(substr(v_value, 73, 36), 'escape')::uuid;
    end if;
    return null;
end
$$;

comment on function platform.current_tenant_id() is
    'The tenant of the context; null without one. In a policy write (select platform.current_tenant_id()),
so that the context is verified once per statement and not once per row.';

revoke all on function platform.current_tenant_id() from public;
grant execute on function platform.current_tenant_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway, enterprise_ai_decider;


create or replace function platform.context()
    returns jsonb
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads the key that the caller must not see
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_value bytea := convert_to(current_setting('enterprise_ai.context', true), 'UTF8');
    v_key_id text := encode(substr(v_value, 65, 8), 'escape');
    v_secret bytea;
begin
    -- The same as above, not a call: what one more costs, every check would pay.
    select k.secret into v_secret from platform.context_keys as k where k.id = v_key_id;

    if convert_to(encode(
           sha256(substr(v_secret, 65) || sha256(
               substr(v_secret, 1, 64)
               || timestamptz_send(transaction_timestamp())
               || int4send(pg_backend_pid())
               || substr(v_value, 65))),
           'hex'), 'UTF8') = substr(v_value, 1, 64)
    then
        return convert_from(substr(v_value, 109), 'UTF8')::jsonb;
    end if;
    return null;
end
$$;

comment on function platform.context() is
    'The verified context of this transaction: tenant_id, user_id, actor_id, session_id, api_key_id, scopes,
request_id, ip_address, user_agent, authentication_level (absent keys were not given); null when there is none.';

revoke all on function platform.context() from public;
grant execute on function platform.context()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway, enterprise_ai_decider;


-- The path is pinned, although that keeps these from being inlined: an operator found along the caller's
-- path could be the caller's own and name anybody.
create or replace function platform.current_user_id()
    returns uuid
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (platform.context() ->> 'user_id')::uuid;
end
$$;

comment on function platform.current_user_id() is
    'The user whose rights the transaction uses; null for a service or without a context.';

revoke all on function platform.current_user_id() from public;
grant execute on function platform.current_user_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;


create or replace function platform.current_actor_id()
    returns uuid
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fields jsonb := platform.context();
begin
    return coalesce(v_fields ->> 'actor_id', v_fields ->> 'user_id')::uuid;
end
$$;

comment on function platform.current_actor_id() is
    'The user who is really at work: the same as the current user unless somebody acts on behalf of another.';

revoke all on function platform.current_actor_id() from public;
grant execute on function platform.current_actor_id()
    to enterprise_ai_app, enterprise_ai_reader, enterprise_ai_auditor, enterprise_ai_operator,
       enterprise_ai_gateway;
-- <<<

-- >>> sql/platform/rotate_context_key.sql
create or replace function platform.rotate_context_key(keep_for interval default '1 day')
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes keys, which no group role can even read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted integer;
begin
    -- Two who rotate at once take turns. Readers go on: they take no lock that this one conflicts with.
    lock table platform.context_keys in share row exclusive mode;

    delete from platform.context_keys as k
    where k.retired_at <= clock_timestamp() - keep_for;
    get diagnostics v_deleted = row_count;

    -- A transaction that has been sealed with the old key is verified with it to its end.
    update platform.context_keys as k set retired_at = clock_timestamp() where k.retired_at is null;
    insert into platform.context_keys default values;
    analyze platform.context_keys;      -- else it is taken for a large table and read by its index, which takes longer
    return v_deleted;
end
$$;

comment on function platform.rotate_context_key(interval) is
    'Seal contexts with a new key from now on. The old one is retired: it still verifies, and a later rotation
deletes it once it has been retired for keep_for, which is to be longer than any transaction lasts. Returns how
many were deleted. After a leak rotate twice, the second time with keep_for => ''0'': whatever runs on an old key
loses its context.';

revoke all on function platform.rotate_context_key(interval) from public;
grant execute on function platform.rotate_context_key(interval) to enterprise_ai_operator;
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

grant select on platform.configuration_settings to enterprise_ai_app, enterprise_ai_gateway;
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

create table platform.tenant_setting_changes (
    tenant_id  uuid        not null,
    id         uuid        not null default platform.new_id(),
    key        text        not null,
    old_value  jsonb,
    new_value  jsonb,
    reason     text        not null,
    changed_by uuid,
    login      text        not null default session_user,
    changed_at timestamptz not null default clock_timestamp(),

    constraint tenant_setting_changes_pkey primary key (tenant_id, id),
    constraint tenant_setting_changes_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint tenant_setting_changes_say_why check (reason ~ '\S')
);

-- The history of one setting, the newest first.
create index tenant_setting_changes_key_idx on platform.tenant_setting_changes (tenant_id, key, changed_at desc);

comment on table platform.tenant_setting_changes is
    'One row for each time that a tenant''s override of a setting was made, changed or taken back. Never changed.';
comment on column platform.tenant_setting_changes.old_value is 'The override until then; null when there was none.';
comment on column platform.tenant_setting_changes.new_value is 'The override from then on; null when there is none any more.';
comment on column platform.tenant_setting_changes.changed_by is
    'The user who changed it; null for a service or an operator, whom login names.';

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
    -- The widest declaration of the key tells its type.
    select s.* into v_declared
    from platform.configuration_settings as s
    where s.key = new.key and s.environment = 'any'
    order by s.service_name nulls first
    limit 1;

    if not found then
        raise exception 'There is no setting %', new.key
            using errcode = 'ZP002', hint = 'select key from platform.configuration_settings lists them.';
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
    'Before-row trigger: a tenant''s override names a declared setting and has its type.';

revoke all on function platform._check_tenant_setting() from public;


create or replace function platform._refuse_unoverridable(key text)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_overridable boolean;
begin
    select s.is_tenant_overridable into v_is_overridable
    from platform.configuration_settings as s
    where s.key = _refuse_unoverridable.key and s.environment = 'any'
    order by s.service_name nulls first
    limit 1;
    if not found then
        raise exception 'There is no setting %', key
            using errcode = 'ZP002', hint = 'select key from platform.configuration_settings lists them.';
    elsif not v_is_overridable then
        raise exception 'The setting % is the installation''s own; a tenant cannot override it', key
            using errcode = 'ZP003', hint = 'An operator can for the tenant, by platform.set_setting_of_tenant().';
    end if;
end
$$;

comment on function platform._refuse_unoverridable(text) is
    'Raise ZP002 for a setting that nothing declares, ZP003 for one that tenants cannot override themselves.';

revoke all on function platform._refuse_unoverridable(text) from public;


create or replace function platform.setting(
    key text,
    service_name text default null,
    environment text default null)
    returns jsonb
    language plpgsql        -- its plans are kept for the session; a language sql body is planned at each call
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_value jsonb;
begin
    select t.value into v_value
    from platform.tenant_settings as t
    where t.tenant_id = platform.current_tenant_id() and t.key = setting.key;
    if found then
        return v_value;
    end if;
    select s.value into v_value
    from platform.configuration_settings as s
    where s.key = setting.key
      and (s.service_name is null or s.service_name = setting.service_name)
      and (s.environment = 'any' or s.environment = setting.environment)
    order by s.service_name is null, s.environment = 'any'
    limit 1;
    return v_value;
end
$$;

comment on function platform.setting(text, text, text) is
    'The value of a setting: the tenant''s own, else the service''s, else the global one; within each, the named
environment''s before the one for any. Null when nothing declares the key.';

revoke all on function platform.setting(text, text, text) from public;
grant execute on function platform.setting(text, text, text)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_operator;
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
grant select on platform.tenant_settings to enterprise_ai_app, enterprise_ai_gateway;

alter table platform.tenant_setting_changes enable row level security;
alter table platform.tenant_setting_changes force row level security;
create policy tenant_setting_changes_of_my_tenant on platform.tenant_setting_changes
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on platform.tenant_setting_changes to enterprise_ai_app, enterprise_ai_auditor;

-- >>> sql/platform/tenant_settings.sql
-- Tenants override settings through functions alone: security.* is among them, and whoever can run SQL as the
-- application must not be able to switch a tenant's own security off.

create or replace function platform._write_tenant_setting(key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_before jsonb;
begin
    -- Two who set the same take turns, so that the history tells what each of them replaced.
    perform pg_advisory_xact_lock(hashtext('platform.tenant_settings'), hashtext(v_tenant_id || _write_tenant_setting.key));
    select s.value into v_before
    from platform.tenant_settings as s
    where s.tenant_id = v_tenant_id and s.key = _write_tenant_setting.key;

    if _write_tenant_setting.value is null then
        delete from platform.tenant_settings as s
        where s.tenant_id = v_tenant_id and s.key = _write_tenant_setting.key;
    else
        insert into platform.tenant_settings (tenant_id, key, value)
        values (v_tenant_id, _write_tenant_setting.key, _write_tenant_setting.value)
        on conflict (tenant_id, key) do update set value = excluded.value;
    end if;
    insert into platform.tenant_setting_changes (tenant_id, key, old_value, new_value, reason, changed_by)
    values (v_tenant_id, _write_tenant_setting.key, v_before, _write_tenant_setting.value, _write_tenant_setting.reason,
            platform.current_actor_id());
end
$$;

comment on function platform._write_tenant_setting(text, jsonb, text) is
    'Override a setting in the context''s tenant, or no longer where the value is null, and record it.';

revoke all on function platform._write_tenant_setting(text, jsonb, text) from public;


create or replace function platform.set_tenant_setting(key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write settings
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := platform.current_user_id();
begin
    if platform.current_tenant_id() is null then
        raise exception 'There is no context, so no tenant whose setting this would be'
            using errcode = 'ZP006', hint = 'Open the context of somebody who has system.configure.';
    -- Only gateways open a context for no user; they answer for what they do.
    elsif v_user_id is not null and not authz.check('system.configure') then
        raise exception 'User % may not change the settings of the tenant', v_user_id
            using errcode = 'ZP006', hint = 'It takes system.configure, after signing in with a second factor.';
    end if;
    perform platform._refuse_unoverridable(set_tenant_setting.key);
    perform platform._write_tenant_setting(set_tenant_setting.key, set_tenant_setting.value, set_tenant_setting.reason);
end
$$;

comment on function platform.set_tenant_setting(text, jsonb, text) is
    'Override a setting in the context''s tenant; with null, as in the installation again. Takes system.configure. Raises
ZP002 when nothing declares the key, ZP003 when tenants cannot override it, ZP004 when the value does not fit, ZP006 when
the user may not.';

revoke all on function platform.set_tenant_setting(text, jsonb, text) from public;
grant execute on function platform.set_tenant_setting(text, jsonb, text) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function platform.set_setting_of_tenant(tenant_id uuid, key text, value jsonb, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens the context of a tenant for an operator, who has none
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', set_setting_of_tenant.tenant_id));
    if not exists (select from identity.tenants as t where t.id = set_setting_of_tenant.tenant_id) then
        raise exception 'There is no tenant %', set_setting_of_tenant.tenant_id
            using errcode = 'ZI016', hint = 'select * from identity.tenant_directory lists them.';
    end if;
    perform platform._write_tenant_setting(
        set_setting_of_tenant.key, set_setting_of_tenant.value, set_setting_of_tenant.reason);
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function platform.set_setting_of_tenant(uuid, text, jsonb, text) is
    'Override a setting for a tenant as its operator: also what tenants cannot override themselves, such as their quotas.
Raises ZI016 when there is no such tenant, ZP002 and ZP004 as platform.set_tenant_setting().';

revoke all on function platform.set_setting_of_tenant(uuid, text, jsonb, text) from public;
grant execute on function platform.set_setting_of_tenant(uuid, text, jsonb, text) to enterprise_ai_operator;
-- <<<

--- platform: rate limits -----------------------------------------------------------
-- How often somebody may ask, counted where all instances of a service see it.

create table platform.rate_counts (
    tenant_id  uuid        not null,
    subject_id uuid        not null,
    key        text        not null,
    minute     timestamptz not null,
    amount     bigint      not null,

    constraint rate_counts_pkey primary key (tenant_id, subject_id, key),
    constraint rate_counts_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint rate_counts_are_not_negative check (amount >= 0)
)
-- Each row is updated all the time: room for its next version in the same page.
with (fillfactor = 50);

comment on table platform.rate_counts is
    'One row for each user, API key or tenant and limit that counts by the minute: what was counted in the latest minute.';
comment on column platform.rate_counts.subject_id is 'The id of the user, the API key or the tenant.';

alter table platform.rate_counts enable row level security;
alter table platform.rate_counts force row level security;
create policy rate_counts_of_my_tenant on platform.rate_counts
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

-- >>> sql/platform/rate_limits.sql
create or replace function platform.count_against_limit(key text, amount bigint default 1)
    returns interval
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- counts in a table that no group role can write
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_subject_id uuid := case
        when count_against_limit.key = 'limits.requests_per_minute_per_tenant' then v_tenant_id
        else coalesce(v_context ->> 'api_key_id', v_context ->> 'user_id', v_context ->> 'tenant_id')::uuid end;
    v_limit bigint;
    -- Not the session's own minutes: its time zone may be some seconds off, and another each time.
    v_minute timestamptz := date_trunc('minute', clock_timestamp(), 'UTC');
begin
    -- Named one by one: what counts is what a minute has.
    v_limit := case
        when count_against_limit.key = 'limits.requests_per_minute' then platform.setting('limits.requests_per_minute')
        when count_against_limit.key = 'limits.requests_per_minute_per_tenant' then
            platform.setting('limits.requests_per_minute_per_tenant')
        when count_against_limit.key = 'limits.model_calls_per_minute' then
            platform.setting('limits.model_calls_per_minute')
        when count_against_limit.key = 'limits.model_tokens_per_minute' then
            platform.setting('limits.model_tokens_per_minute')
    end::bigint;
    if v_limit is null or v_tenant_id is null or amount is null or amount < 0 then
        raise exception 'Nothing can be counted against %', coalesce(count_against_limit.key, 'null')
            using errcode = 'ZP007',
                  hint = 'Open a context, name a setting limits.…_per_minute that an amount of 0 or more counts against.';
    end if;

    insert into platform.rate_counts as r (tenant_id, subject_id, key, minute, amount)
    select v_tenant_id, v_subject_id, count_against_limit.key, v_minute, count_against_limit.amount
    where count_against_limit.amount <= v_limit
    on conflict on constraint rate_counts_pkey do update
    -- Who waited here over the end of a minute counts in the one that has begun.
    set minute = greatest(r.minute, excluded.minute),
        amount = excluded.amount + case when r.minute >= excluded.minute then r.amount else 0 end
    where excluded.amount + case when r.minute >= excluded.minute then r.amount else 0 end <= v_limit;
    if found then
        return null;
    end if;
    return v_minute + interval '1 minute' - clock_timestamp();
end
$$;

comment on function platform.count_against_limit(text, bigint) is
    'Count requests, calls of models or tokens of the context''s user, key or (where the limit is per tenant) tenant in
this minute. Null when the limit admits them; else how long to wait, and they are not counted. Commit at once: others of
the same subject wait for it. Raises ZP007 for what nothing is counted against.';

revoke all on function platform.count_against_limit(text, bigint) from public;
grant execute on function platform.count_against_limit(text, bigint) to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

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

--- identity: quotas --------------------------------------------------------------

create table identity.quota_slots (
    tenant_id uuid     not null,
    key       text     not null,
    slot      smallint not null,
    used      bigint   not null default 0,
    allowance bigint   not null default 0,
    whole     bigint   not null,

    constraint quota_slots_pkey primary key (tenant_id, key, slot),
    constraint quota_slots_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade
)
with (fillfactor = 50);

comment on table identity.quota_slots is
    'One row for each part of what a tenant has of something limited; the sum of used is how much it has.';
comment on column identity.quota_slots.key is 'The setting that limits it.';
comment on column identity.quota_slots.used is
    'What was counted in this slot; below zero where more was given back here than counted.';
comment on column identity.quota_slots.allowance is 'What used may rise to; the sum of all is not above whole.';
comment on column identity.quota_slots.whole is 'The limit that the allowance is a part of.';

alter table identity.quota_slots enable row level security;
alter table identity.quota_slots force row level security;
create policy quota_slots_of_my_tenant on identity.quota_slots
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

-- >>> sql/identity/quotas.sql
-- What a tenant has of something may not exceed a setting, however many write at once, and those who write do not
-- wait for each other as long as there is room. So the room is divided: each of 16 slots has an allowance, a
-- transaction counts in the slot of its backend, and the allowances together never exceed the limit. A slot that has
-- run out takes from those that nobody holds just now; only when that is not enough are all of them waited for.

create or replace function identity._use_quota(key text, amount bigint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_limit bigint := platform.setting(_use_quota.key)::bigint;
    v_slot integer := pg_backend_pid() % 16;
begin
    if v_tenant_id is null then
        return;     -- a superuser past row security: their own business
    end if;
    if amount <= 0 then
        update identity.quota_slots as s
        set used = s.used + amount
        where s.tenant_id = v_tenant_id and s.key = _use_quota.key and s.slot = v_slot;
        return;
    end if;

    begin
        -- The allowances were cut from the whole that was the limit then.
        update identity.quota_slots as s
        set used = s.used + amount
        where s.tenant_id = v_tenant_id and s.key = _use_quota.key and s.slot = v_slot
          and s.used + amount <= s.allowance and s.whole = v_limit;
        if not found and not identity._use_free_slots(v_tenant_id, _use_quota.key, v_slot, v_limit, amount) then
            raise no_data_found;
        end if;
        return;
    exception
        -- It also lets go of the slots, those included that were waited for and then had no room: two who each held
        -- some and waited for the rest would wait for ever.
        when no_data_found then null;
    end;
    -- The first of all finds no slots; whoever is the first at the same time waits for them here.
    insert into identity.quota_slots (tenant_id, key, slot, whole)
    select v_tenant_id, _use_quota.key, n, v_limit
    from generate_series(0, 15) as n
    where not exists (
        select from identity.quota_slots as s where s.tenant_id = v_tenant_id and s.key = _use_quota.key)
    on conflict do nothing;
    perform identity._use_all_slots(v_tenant_id, _use_quota.key, v_slot, v_limit, amount);
end
$$;

comment on function identity._use_quota(text, bigint) is
    'Count so much more (or less) of what the setting limits in the context''s tenant. Raises ZI023 when the limit is
reached.';

revoke all on function identity._use_quota(text, bigint) from public;


create or replace function identity._use_free_slots(
    tenant_id uuid, key text, slot integer, whole bigint, amount bigint)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_slots integer[];
    v_room bigint;
    v_count integer;
    v_slot integer;
begin
    select array_agg(free.slot order by free.slot), coalesce(sum(free.allowance - free.used), 0), count(*)
    into v_slots, v_room, v_count
    from (
        select s.slot, s.allowance, s.used
        from identity.quota_slots as s
        where s.tenant_id = _use_free_slots.tenant_id and s.key = _use_free_slots.key
          and s.whole = _use_free_slots.whole
        order by s.slot
        for update skip locked) as free;
    if v_room < amount then
        return false;
    end if;
    v_slot := case when _use_free_slots.slot = any (v_slots) then _use_free_slots.slot else v_slots[1] end;
    update identity.quota_slots as s
    set used = s.used + case when s.slot = v_slot then _use_free_slots.amount else 0 end,
        allowance = s.used + (v_room - _use_free_slots.amount) / v_count
                    + case when s.slot = v_slot
                           then _use_free_slots.amount + (v_room - _use_free_slots.amount) % v_count else 0 end
    where s.tenant_id = _use_free_slots.tenant_id and s.key = _use_free_slots.key and s.slot = any (v_slots);
    return true;
end
$$;

comment on function identity._use_free_slots(uuid, text, integer, bigint, bigint) is
    'Count in the room of the slots that nobody holds, and divide what is left of it among them anew; false when it is
not enough. What it looked at stays locked.';

revoke all on function identity._use_free_slots(uuid, text, integer, bigint, bigint) from public;


create or replace function identity._use_all_slots(
    tenant_id uuid, key text, slot integer, whole bigint, amount bigint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_used bigint;
    v_room bigint;
begin
    select sum(held.used) into v_used
    from (
        select s.used
        from identity.quota_slots as s
        where s.tenant_id = _use_all_slots.tenant_id and s.key = _use_all_slots.key
        order by s.slot
        for update) as held;
    v_room := _use_all_slots.whole - v_used - _use_all_slots.amount;
    if v_room < 0 then
        raise exception 'The limit % of the tenant is reached: % of % are used, and % more are asked for',
            _use_all_slots.key, v_used, _use_all_slots.whole, _use_all_slots.amount
            using errcode = 'ZI023',
                  hint = 'Remove what is no longer needed, or let an operator raise it: platform.set_setting_of_tenant().';
    end if;
    update identity.quota_slots as s
    set used = s.used + case when s.slot = _use_all_slots.slot then _use_all_slots.amount else 0 end,
        allowance = s.used + v_room / 16
                    + case when s.slot = _use_all_slots.slot then _use_all_slots.amount + v_room % 16 else 0 end,
        whole = _use_all_slots.whole
    where s.tenant_id = _use_all_slots.tenant_id and s.key = _use_all_slots.key;
end
$$;

comment on function identity._use_all_slots(uuid, text, integer, bigint, bigint) is
    'Count after everybody else who counts has committed or not, and divide the room anew. Raises ZI023.';

revoke all on function identity._use_all_slots(uuid, text, integer, bigint, bigint) from public;


create or replace function identity._count_quota()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever writes the rows cannot write the count
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_amount bigint;
begin
    -- A transition table: on Citus a row trigger takes its place.
    execute format('select %s from changed', tg_argv[1]) into v_amount;
    if v_amount <> 0 then
        perform identity._use_quota(tg_argv[0], case when tg_op = 'DELETE' then -v_amount else v_amount end);
    end if;
    return null;
end
$$;

comment on function identity._count_quota() is
    'After-statement trigger; its arguments are the setting that limits the rows and how much they are, as an aggregate.';

revoke all on function identity._count_quota() from public;


create or replace function identity._recount_user()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- as above
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._use_quota('limits.users_per_tenant', case when new.deleted_at is null then 1 else -1 end);
    return null;
end
$$;

comment on function identity._recount_user() is 'After-row trigger: somebody erased no longer counts.';

revoke all on function identity._recount_user() from public;


create or replace function identity.quota_usage()
    returns table (key text, used bigint, quota bigint)
    language plpgsql
    stable
    parallel restricted
    security definer        -- the count is granted to nobody
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select s.key, sum(s.used)::bigint, platform.setting(s.key)::bigint
        from identity.quota_slots as s
        where s.tenant_id = platform.current_tenant_id()
        group by s.key
        order by s.key;
end
$$;

comment on function identity.quota_usage() is
    'How much of each limited thing the context''s tenant has, of what it had any of, and how much it may have.';

revoke all on function identity.quota_usage() from public;
grant execute on function identity.quota_usage() to enterprise_ai_app, enterprise_ai_gateway;
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
    user_name         text,
    -- People are found by these. An index over lower(email) would not do: under row security only a comparison of
    -- plain columns is known not to leak, so it alone may choose rows by an index.
    email_key         text        not null generated always as (lower(email)) stored,
    user_name_key     text        not null generated always as (lower(coalesce(user_name, email))) stored,
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
    constraint users_user_name_is_not_blank check (user_name ~ '\S'),
    constraint users_status_is_known check (
        status in ('invited', 'active', 'locked', 'suspended', 'deactivated', 'erased')),
    constraint users_locked_have_an_end check ((status = 'locked') = (locked_until is not null)),
    constraint users_erased_are_deleted check (status <> 'erased' or deleted_at is not null),
    constraint users_failed_logins_are_counted check (failed_logins >= 0)
);

-- One living person an address; the address of somebody deleted can be given out again.
create unique index users_email_key on identity.users (tenant_id, email_key) where deleted_at is null;
-- One living person a name; who has none goes by their address.
create unique index users_user_name_key on identity.users (tenant_id, user_name_key) where deleted_at is null;
-- A directory pages through all living people and counts them.
create index users_living_idx on identity.users (tenant_id, id) where deleted_at is null;
-- Administration lists people by status, newest first.
create index users_status_idx on identity.users (tenant_id, status, created_at desc);
-- The unlocking sweep.
create index users_locked_until_idx on identity.users (tenant_id, locked_until) where status = 'locked';

comment on table identity.users is
    'One row for each person or service account in a tenant.';
comment on column identity.users.external_id is
    'What the tenant''s directory calls the person (SCIM externalId).';
comment on column identity.users.user_name is
    'What the tenant''s directory has the person sign in by (SCIM userName); null when that is the address.';
comment on column identity.users.failed_logins is
    'Failures since the last success; the lock-out grows with it.';
comment on column identity.users.deleted_at is
    'When the person was removed; the row stays for what refers to it.';

create trigger touch_updated_at before update on identity.users
    for each row execute function platform.touch_updated_at();

create trigger count_added after insert on identity.users referencing new table as changed
    for each statement execute function identity._count_quota(
        'limits.users_per_tenant', 'count(*) filter (where deleted_at is null)');
create trigger count_deleted after delete on identity.users referencing old table as changed
    for each statement execute function identity._count_quota(
        'limits.users_per_tenant', 'count(*) filter (where deleted_at is null)');
create trigger recount after update of deleted_at on identity.users
    for each row when ((old.deleted_at is null) <> (new.deleted_at is null))
    execute function identity._recount_user();

alter table identity.users enable row level security;
alter table identity.users force row level security;
create policy users_of_my_tenant on identity.users
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- An address resets a password, an external id is found by single sign-on: whoever can write them can become
-- anybody. So people are written by functions only.
grant select on identity.users to enterprise_ai_app, enterprise_ai_gateway;

-- >>> sql/identity/refuse_inactive.sql
create or replace function identity._refuse_inactive(tenant_id uuid, user_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_status text;
    v_user_status text;
begin
    select t.status, u.status into v_tenant_status, v_user_status
    from identity.tenants as t
    left join identity.users as u on u.tenant_id = t.id and u.id = _refuse_inactive.user_id
    where t.id = _refuse_inactive.tenant_id;

    if v_tenant_status is distinct from 'active' then
        raise exception 'Tenant % %', _refuse_inactive.tenant_id,
            coalesce('is ' || v_tenant_status, 'does not exist')
            using errcode = 'ZI001', hint = 'A context opens only for an active tenant.';
    elsif _refuse_inactive.user_id is not null
          -- A lock-out keeps people from signing in, not from going on: anybody could cause it from outside.
          and (v_user_status in ('active', 'locked')) is not true then
        raise exception 'User % %', _refuse_inactive.user_id,
            coalesce('is ' || v_user_status, 'does not exist in tenant ' || _refuse_inactive.tenant_id)
            using errcode = 'ZI002', hint = 'A context opens only for an active user of the tenant.';
    end if;
end
$$;

comment on function identity._refuse_inactive(uuid, uuid) is
    'Raise ZI001 unless the tenant is active, and ZI002 unless the user, where one is named, is. Reads in the
tenant''s context.';

revoke all on function identity._refuse_inactive(uuid, uuid) from public;
-- <<<

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
begin
    -- Row security binds this function's owner as well: with the tenant alone as context it sees that
    -- tenant's rows. Whatever is raised below takes this setting back with it.
    perform platform._seal_context(jsonb_build_object('tenant_id', open_context.tenant_id));

    perform identity._refuse_inactive(open_context.tenant_id, open_context.user_id);
    perform identity._refuse_inactive(open_context.tenant_id, open_context.actor_id);

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
    locale      text,
    time_zone   text,
    preferences jsonb       not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint user_profiles_pkey primary key (tenant_id, user_id),
    constraint user_profiles_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
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
comment on column identity.user_profiles.locale is 'A BCP 47 language tag; null when nobody has said.';
comment on column identity.user_profiles.time_zone is
    'An IANA time zone name; null for the one that the setting platform.default_time_zone says.';
comment on column identity.user_profiles.preferences is 'The user''s own choices, as {"application.choice": value, …}.';

create trigger touch_updated_at before update on identity.user_profiles
    for each row execute function platform.touch_updated_at();

-- >>> sql/identity/refuse_circle.sql
create or replace function identity._refuse_circle()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- The table is an argument and not tg_table_name, which on a shard is the shard's.
    v_table text := tg_argv[0];
    v_key text := tg_argv[1];
    v_parent text := tg_argv[2];
    v_id uuid := to_jsonb(new) ->> v_key;
    v_parent_id uuid := to_jsonb(new) ->> v_parent;
    v_is_circle boolean;
begin
    if v_parent_id is null then
        return new;
    elsif current_setting('transaction_isolation') <> 'read committed' then
        -- Its snapshot may be older than the change that it waited for.
        raise exception '% cannot be set in a % transaction', v_parent, current_setting('transaction_isolation')
            using errcode = 'ZI012', hint = 'Set it in a read committed transaction; nothing has been changed.';
    end if;

    -- Two changes that would close a circle together take turns, and the second sees the first.
    perform pg_advisory_xact_lock(hashtext(v_table), hashtext(new.tenant_id::text));
    execute format(
        'with recursive above (id) as (
             select $2
             union
             select t.%2$I from %1$s as t join above on t.%3$I = above.id
             where t.tenant_id = $1 and t.%2$I is not null)
         select exists (select from above where above.id = $3)',
        v_table, v_parent, v_key)
    into v_is_circle
    using new.tenant_id, v_parent_id, v_id;
    if v_is_circle then
        raise exception '% and % would lie above each other', v_id, v_parent_id
            using errcode = 'ZI013', hint = 'Choose a ' || v_parent || ' that is not below it.';
    end if;
    return new;
end
$$;

comment on function identity._refuse_circle() is
    'Before-row trigger; its arguments are the table, the column of a row''s id and the column that points to what is
above it. Following it from row to row never comes back, also when two transactions change at once. Raises ZI013, and
ZI012 in a transaction that could not see what it waited for.';

revoke all on function identity._refuse_circle() from public;
-- <<<

create trigger refuse_circle before insert or update of manager_id on identity.user_profiles
    for each row execute function identity._refuse_circle('identity.user_profiles', 'user_id', 'manager_id');

alter table identity.user_profiles enable row level security;
alter table identity.user_profiles force row level security;
create policy user_profiles_of_my_tenant on identity.user_profiles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on identity.user_profiles to enterprise_ai_app, enterprise_ai_gateway;

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

create trigger count_added after insert on identity.groups referencing new table as changed
    for each statement execute function identity._count_quota('limits.groups_per_tenant', 'count(*)');
create trigger count_deleted after delete on identity.groups referencing old table as changed
    for each statement execute function identity._count_quota('limits.groups_per_tenant', 'count(*)');

create trigger refuse_circle before insert or update of parent_id on identity.groups
    for each row execute function identity._refuse_circle('identity.groups', 'id', 'parent_id');

alter table identity.groups enable row level security;
alter table identity.groups force row level security;
create policy groups_of_my_tenant on identity.groups
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- Groups carry roles, so functions write them and their members.
grant select on identity.groups to enterprise_ai_app, enterprise_ai_gateway;

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
grant select on identity.group_members to enterprise_ai_app, enterprise_ai_gateway;

-- >>> sql/identity/touch_groups.sql
create or replace function identity._touch_groups()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever changes members need not be able to write groups
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.groups as g
    set updated_at = now()
    where (g.tenant_id, g.id) in (select c.tenant_id, c.group_id from changed as c);
    return null;
end
$$;

comment on function identity._touch_groups() is
    'After-statement trigger of identity.group_members: a group has changed when its members have.';

revoke all on function identity._touch_groups() from public;
-- <<<

create trigger touch_groups_after_insert after insert on identity.group_members
    referencing new table as changed
    for each statement execute function identity._touch_groups();
create trigger touch_groups_after_delete after delete on identity.group_members
    referencing old table as changed
    for each statement execute function identity._touch_groups();

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
    idle_timeout         interval    not null default '30 minutes',
    idle_expires_at      timestamptz not null,
    token_expires_at     timestamptz not null,
    expires_at           timestamptz not null,
    stepped_up_level     smallint,
    stepped_up_until     timestamptz,
    revoked_at           timestamptz,
    revoked_reason       text,

    constraint user_sessions_pkey primary key (tenant_id, id),
    constraint user_sessions_token_hash_key unique (tenant_id, token_hash),
    constraint user_sessions_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_sessions_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint user_sessions_end_after_they_start check (expires_at > started_at),
    constraint user_sessions_idle_within_their_life check (idle_expires_at <= token_expires_at),
    constraint user_sessions_tokens_within_their_life check (token_expires_at <= expires_at),
    constraint user_sessions_idle_timeout_is_positive check (idle_timeout > '0'),
    constraint user_sessions_authentication_level_is_known check (authentication_level between 1 and 3),
    constraint user_sessions_are_stepped_up_for_a_time check (
        (stepped_up_level is null) = (stepped_up_until is null) and stepped_up_level between authentication_level and 3),
    constraint user_sessions_revoked_say_why check ((revoked_at is null) = (revoked_reason is null))
);

-- A person's live sessions, to list and to revoke.
create index user_sessions_user_id_idx on identity.user_sessions (tenant_id, user_id, expires_at desc);
-- What the sweep removes.
create index user_sessions_expires_at_idx on identity.user_sessions (tenant_id, expires_at);

comment on table identity.user_sessions is 'One row for each sign-in of a user.';
comment on column identity.user_sessions.token_hash is 'SHA-256 of the session token, which only its bearer has.';
comment on column identity.user_sessions.authentication_level is 'NIST SP 800-63 authenticator assurance level, 1 to 3.';
comment on column identity.user_sessions.idle_timeout is 'How long the session lives on after each use, as set when it began.';
comment on column identity.user_sessions.idle_expires_at is 'When the session ends unless it is used before.';
comment on column identity.user_sessions.token_expires_at is
    'When the token is worth nothing, used or not; a refreshable session goes on with the next one.';
comment on column identity.user_sessions.stepped_up_level is
    'The level that a second factor given in the session has raised it to, until stepped_up_until.';

alter table identity.user_sessions enable row level security;
alter table identity.user_sessions force row level security;
create policy user_sessions_of_my_tenant on identity.user_sessions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.refresh_tokens (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    session_id     uuid        not null,
    family_id      uuid        not null,
    token_hash     bytea       not null,
    issued_at      timestamptz not null default now(),
    expires_at     timestamptz not null,
    used_at        timestamptz,
    successor_id   uuid,
    successor_salt bytea,
    revoked_at     timestamptz,

    constraint refresh_tokens_pkey primary key (tenant_id, id),
    constraint refresh_tokens_token_hash_key unique (tenant_id, token_hash),
    constraint refresh_tokens_session_id_fkey foreign key (tenant_id, session_id)
        references identity.user_sessions (tenant_id, id) on delete cascade,
    constraint refresh_tokens_successor_id_fkey foreign key (tenant_id, successor_id)
        references identity.refresh_tokens (tenant_id, id) on delete cascade,
    constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint refresh_tokens_end_after_they_start check (expires_at > issued_at),
    constraint refresh_tokens_used_have_a_successor check (
        num_nonnulls(used_at, successor_id, successor_salt) in (0, 3)));

create index refresh_tokens_session_id_idx on identity.refresh_tokens (tenant_id, session_id);
create index refresh_tokens_successor_id_idx on identity.refresh_tokens (tenant_id, successor_id);
-- A reused token revokes its whole family.
create index refresh_tokens_family_id_idx on identity.refresh_tokens (tenant_id, family_id);

comment on table identity.refresh_tokens is
    'One row for each refresh token; each use makes the next of its family, and a second use ends the family.';
comment on column identity.refresh_tokens.family_id is 'The same for all tokens that descend from one sign-in.';
comment on column identity.refresh_tokens.successor_salt is
    'With the token itself it leads to its successors, so that they can be given again within the grace period.';

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
    tenant_id          uuid        not null,
    id                 uuid        not null default platform.new_id(),
    user_id            uuid        not null,
    kind               text        not null,
    name               text        not null,
    totp_secret        bytea,
    totp_last_step     bigint,
    credential_id      bytea,
    public_key         bytea,
    sign_count         bigint,
    transports         text[],
    is_backup_eligible boolean,
    confirmed_at       timestamptz,
    last_used_at       timestamptz,
    created_at         timestamptz not null default now(),

    constraint mfa_factors_pkey primary key (tenant_id, id),
    constraint mfa_factors_name_key unique (tenant_id, user_id, name),
    constraint mfa_factors_credential_id_key unique (tenant_id, credential_id),
    constraint mfa_factors_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint mfa_factors_kind_is_known check (kind in ('totp', 'webauthn')),
    constraint mfa_factors_have_what_their_kind_needs check (
        case when kind = 'totp'
             then totp_secret is not null
                  and num_nonnulls(credential_id, public_key, sign_count, transports, is_backup_eligible) = 0
             else num_nonnulls(credential_id, public_key, sign_count, transports, is_backup_eligible) = 5
                  and num_nonnulls(totp_secret, totp_last_step) = 0
        end),
    constraint mfa_factors_totp_secrets_are_sealed check (
        substr(totp_secret, 1, 1) = '\x01' and octet_length(totp_secret) > 40)
);

comment on table identity.mfa_factors is 'One row for each second factor of a user: a TOTP generator or a WebAuthn key.';
comment on column identity.mfa_factors.totp_secret is
    'The shared seed (RFC 6238), sealed under a key that is not in the database: 0x01, the length of the key''s id, the id, a
nonce of 12 bytes, AES-256-GCM''s output.';
comment on column identity.mfa_factors.sign_count is 'How often the key had signed when it was last used; 0 when it does not count.';
comment on column identity.mfa_factors.transports is 'How a browser reaches the key (WebAuthn): usb, nfc, ble, hybrid, internal …';
comment on column identity.mfa_factors.is_backup_eligible is
    'The key may be copied to other devices of its owner (a synced passkey), which is worth less than one that cannot.';
comment on column identity.mfa_factors.totp_last_step is 'The time step of the last code accepted, so that no code works twice.';
comment on column identity.mfa_factors.confirmed_at is 'When the first code or signature was verified; before it the factor does not count.';

alter table identity.mfa_factors enable row level security;
alter table identity.mfa_factors force row level security;
create policy mfa_factors_of_my_tenant on identity.mfa_factors
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.webauthn_challenges (
    tenant_id  uuid        not null,
    id         uuid        not null default platform.new_id(),
    purpose    text        not null,
    user_id    uuid,
    challenge  bytea       not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,

    constraint webauthn_challenges_pkey primary key (tenant_id, id),
    constraint webauthn_challenges_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint webauthn_challenges_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint webauthn_challenges_purpose_is_known check (purpose in ('register', 'authenticate')),
    constraint webauthn_challenges_register_for_somebody check (purpose <> 'register' or user_id is not null),
    constraint webauthn_challenges_are_long_enough check (octet_length(challenge) >= 32),
    constraint webauthn_challenges_expire_after_they_start check (expires_at > created_at)
);

create index webauthn_challenges_user_id_idx on identity.webauthn_challenges (tenant_id, user_id);
-- What nobody came back with is removed a little at a time.
create index webauthn_challenges_expires_at_idx on identity.webauthn_challenges (tenant_id, expires_at);

comment on table identity.webauthn_challenges is
    'One row for each challenge that a WebAuthn key was asked to sign; it is deleted when an answer comes.';
comment on column identity.webauthn_challenges.user_id is 'Who is to answer; null for whoever has one of the tenant''s passkeys.';

alter table identity.webauthn_challenges enable row level security;
alter table identity.webauthn_challenges force row level security;
create policy webauthn_challenges_of_my_tenant on identity.webauthn_challenges
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));

create table identity.recovery_code_keys (
    is_only_one boolean     not null default true,
    secret      bytea       not null default platform.random_bytes(32),
    created_at  timestamptz not null default now(),

    constraint recovery_code_keys_pkey primary key (is_only_one),
    constraint recovery_code_keys_are_only_one check (is_only_one),
    constraint recovery_code_keys_secret_is_long_enough check (octet_length(secret) >= 32)
);

comment on table identity.recovery_code_keys is
    'One row for each installation, there is only one: the key under which recovery codes are hashed. Granted to nobody.';

insert into identity.recovery_code_keys default values;

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
        outcome in ('started', 'success', 'wrong_credentials', 'locked', 'inactive', 'mfa_required', 'mfa_failed', 'throttled',
                    'refused'))
);

-- Lock-out and alerting count recent failures by account and by address. Not by lower(email): under row security an
-- index serves only what the planner may try before the policy, and functions of a column are not among that.
create index login_attempts_user_id_idx on identity.login_attempts (tenant_id, user_id, attempted_at desc);
create index login_attempts_ip_address_idx on identity.login_attempts (tenant_id, ip_address, attempted_at desc);

comment on table identity.login_attempts is 'One row for each attempt to sign in, whether an account was found or not.';
comment on column identity.login_attempts.outcome is
    'started while a password is being verified; an attempt that stays so was broken off, and counts as a failure.';
comment on column identity.login_attempts.user_id is
    'The account that the address belonged to, without a foreign key: the record outlives the account.';

alter table identity.login_attempts enable row level security;
alter table identity.login_attempts force row level security;
create policy login_attempts_of_my_tenant on identity.login_attempts
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on identity.login_attempts to enterprise_ai_auditor;

--- identity: contexts by proof -----------------------------------------------------
-- Whoever has a live session's token or an API key proves with it who they are, and needs no trust.

-- >>> sql/identity/tokens.sql
-- A token says which tenant it belongs to, so that a context for it can be opened before anything is read:
-- eai_<kind>_<tenant, 32 hexadecimal digits>_<32 random bytes, base64url>. Kinds: s session, r refresh,
-- k API key, o one time. Only the SHA-256 of the whole is stored.
-- No set clauses: only called with a pinned path, these are inlined.

create or replace function identity._token(kind text, tenant_id uuid, secret bytea)
    returns text
    language sql
    immutable
    parallel safe
as $$
    select 'eai_' || kind || '_' || replace(tenant_id::text, '-', '') || '_'
           || translate(encode(secret, 'base64'), '+/=', '-_')
$$;

comment on function identity._token(text, uuid, bytea) is
    'The token of a kind that carries the tenant and the secret.';

revoke all on function identity._token(text, uuid, bytea) from public;


create or replace function identity._tenant_of_token(token text, kind text)
    returns uuid
    language sql
    immutable
    parallel safe
as $$
    select case
        when token ~ ('^eai_' || kind || '_[0-9a-f]{32}_[A-Za-z0-9_-]{43}$') then substr(token, 7, 32)::uuid
    end
$$;

comment on function identity._tenant_of_token(text, text) is
    'The tenant that a token of the kind claims to belong to; null when it is no such token.';

revoke all on function identity._tenant_of_token(text, text) from public;


create or replace function identity._token_hash(token text)
    returns bytea
    language sql
    immutable
    parallel safe
as $$ select sha256(convert_to(token, 'UTF8')) $$;

comment on function identity._token_hash(text) is 'What is stored of a token: enough to recognise it.';

revoke all on function identity._token_hash(text) from public;
-- <<<

-- >>> sql/identity/step_up.sql
-- Step-up: a second factor given again in a session that is going on raises its authentication level for some
-- minutes. It is decided together with the factor itself, so nobody has to vouch for it.

create or replace function identity._level_of(session identity.user_sessions)
    returns smallint
    language sql
    stable
    parallel safe
as $$
    select case when session.stepped_up_until > clock_timestamp() then session.stepped_up_level
                else session.authentication_level end
$$;

comment on function identity._level_of(identity.user_sessions) is
    'The authentication level of a session as it is at this moment.';

revoke all on function identity._level_of(identity.user_sessions) from public;


create or replace function identity._step_up(session_id uuid, user_id uuid, level smallint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_session identity.user_sessions;
begin
    select s.* into v_session
    from identity.user_sessions as s
    where s.tenant_id = v_tenant_id
      and s.id = _step_up.session_id
      and s.user_id = _step_up.user_id
      and s.revoked_at is null
      and s.expires_at > clock_timestamp()
    for no key update;
    if not found then
        raise exception 'The session is over or never was'
            using errcode = 'ZI004', hint = 'Sign in again; the code has not been used up.';
    end if;
    -- A weaker factor neither lowers the level nor draws a higher one out.
    if level >= identity._level_of(v_session) then
        update identity.user_sessions as s
        set stepped_up_level = _step_up.level,
            stepped_up_until = least(
                clock_timestamp() + make_interval(mins => identity._limit('security.step_up_minutes')), s.expires_at)
        where s.tenant_id = v_tenant_id and s.id = v_session.id;
    end if;
end
$$;

comment on function identity._step_up(uuid, uuid, smallint) is
    'Raise the level of a user''s session for as long as security.step_up_minutes says. Raises ZI004.';

revoke all on function identity._step_up(uuid, uuid, smallint) from public;


create or replace function identity.my_authentication_level()
    returns table (authentication_level smallint, stepped_up_until timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can, and shows the user's own
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select identity._level_of(s),
               case when s.stepped_up_until > clock_timestamp() then s.stepped_up_until end
        from identity.user_sessions as s
        where s.tenant_id = platform.current_tenant_id()
          and s.id = (platform.context() ->> 'session_id')::uuid
          and s.user_id = platform.current_user_id();
end
$$;

comment on function identity.my_authentication_level() is
    'The level of the context''s session as it is now, and until when, where a second factor has raised it. Contexts
opened from now on carry it.';

revoke all on function identity.my_authentication_level() from public;
grant execute on function identity.my_authentication_level() to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity._refuse_without_step_up(user_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- A session that somebody else got hold of must not make itself a second factor.
    if platform.current_user_id() is not null
       and coalesce((platform.context() ->> 'authentication_level')::integer, 0) < 2
       and exists (
           select from identity.mfa_factors as f
           where f.tenant_id = platform.current_tenant_id()
             and f.user_id = _refuse_without_step_up.user_id
             and f.confirmed_at is not null) then
        raise exception 'Second factors are changed by who has just given one'
            using errcode = 'ZI022', hint = 'Step the session up first, and open the context again.';
    end if;
end
$$;

comment on function identity._refuse_without_step_up(uuid) is
    'Raise ZI022 unless the context''s user has given a second factor, where the user concerned has any.';

revoke all on function identity._refuse_without_step_up(uuid) from public;
-- <<<

-- >>> sql/platform/open_session_context.sql
create or replace function platform.open_session_context(
    token text,
    request_id text default null,
    ip_address inet default null,
    user_agent text default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- seals with a key, and looks at sessions, neither of which callers may read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_token(token, 's');
    v_session identity.user_sessions;
    v_fields jsonb;
begin
    -- Row security binds this function's owner as well: with the tenant alone as context it sees that
    -- tenant's rows. Whatever is raised below takes this setting back with it.
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));

    select s.* into v_session
    from identity.user_sessions as s
    where s.tenant_id = v_tenant_id
      and s.token_hash = identity._token_hash(open_session_context.token)
      and s.revoked_at is null
      and s.idle_expires_at > clock_timestamp();
    if not found then
        -- The same for a token that never was and one whose time is over: nobody learns which.
        raise exception 'The session is over or never was'
            using errcode = 'ZI004', hint = 'Refresh the session, or sign in again.';
    end if;
    perform identity._refuse_inactive(v_tenant_id, v_session.user_id);

    -- Once a minute is enough to keep a session alive, and a session that another transaction is
    -- keeping alive just now is not waited for.
    if v_session.last_seen_at < clock_timestamp() - interval '1 minute'
       and current_setting('transaction_read_only') = 'off' then
        update identity.user_sessions as s
        set last_seen_at = clock_timestamp(),
            idle_expires_at = least(clock_timestamp() + s.idle_timeout, s.token_expires_at)
        where s.tenant_id = v_tenant_id
          and s.id in (
              select free.id
              from identity.user_sessions as free
              where free.tenant_id = v_tenant_id and free.id = v_session.id
              for no key update skip locked);
    end if;

    v_fields := jsonb_strip_nulls(jsonb_build_object(
        'tenant_id', v_tenant_id,
        'user_id', v_session.user_id,
        'session_id', v_session.id,
        'request_id', open_session_context.request_id,
        'ip_address', host(open_session_context.ip_address),
        'user_agent', open_session_context.user_agent,
        'authentication_level', identity._level_of(v_session)));
    perform platform._seal_context(v_fields);
    return v_fields;
end
$$;

comment on function platform.open_session_context(text, text, inet, text) is
    'Open the context of the current transaction for the person whose live session the token proves, and keep the
session alive; returns the context. Raises ZI004 when there is no such session, ZI001 when its tenant and ZI002
when its user may not work.';

revoke all on function platform.open_session_context(text, text, inet, text) from public;
grant execute on function platform.open_session_context(text, text, inet, text)
    to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/platform/open_api_key_context.sql
create or replace function platform.open_api_key_context(
    key text,
    request_id text default null,
    ip_address inet default null,
    user_agent text default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- seals with a key, and looks at API keys, neither of which callers may read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_token(key, 'k');
    v_key identity.api_keys;
    v_fields jsonb;
begin
    -- As in open_session_context().
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));

    select k.* into v_key
    from identity.api_keys as k
    where k.tenant_id = v_tenant_id
      and k.key_hash = identity._token_hash(open_api_key_context.key)
      and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > clock_timestamp());
    if not found then
        raise exception 'The API key is not valid'
            using errcode = 'ZI005', hint = 'It never was, has expired or has been revoked; use another.';
    end if;
    perform identity._refuse_inactive(v_tenant_id, v_key.user_id);

    if (v_key.last_used_at < clock_timestamp() - interval '1 minute') is not false
       and current_setting('transaction_read_only') = 'off' then
        update identity.api_keys as k
        set last_used_at = clock_timestamp()
        where k.tenant_id = v_tenant_id
          and k.id in (
              select free.id
              from identity.api_keys as free
              where free.tenant_id = v_tenant_id and free.id = v_key.id
              for no key update skip locked);
    end if;

    v_fields := jsonb_strip_nulls(jsonb_build_object(
        'tenant_id', v_tenant_id,
        'user_id', v_key.user_id,
        'api_key_id', v_key.id,
        'scopes', nullif(to_jsonb(v_key.scopes), '[]'),
        'request_id', open_api_key_context.request_id,
        'ip_address', host(open_api_key_context.ip_address),
        'user_agent', open_api_key_context.user_agent,
        'authentication_level', 1));
    perform platform._seal_context(v_fields);
    return v_fields;
end
$$;

comment on function platform.open_api_key_context(text, text, inet, text) is
    'Open the context of the current transaction for the user whose API key this is, confined to the key''s scopes;
returns the context. Raises ZI005 when there is no such key, ZI001 when its tenant and ZI002 when its user may not
work.';

revoke all on function platform.open_api_key_context(text, text, inet, text) from public;
grant execute on function platform.open_api_key_context(text, text, inet, text)
    to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

--- identity: sessions ---------------------------------------------------------------

-- >>> sql/identity/limit.sql
create or replace function identity._limit(key text)
    returns integer
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_value jsonb := platform.setting(key);
begin
    if v_value is null then
        raise exception 'There is no setting %', key
            using errcode = 'ZP002', hint = 'The fourth migration declares it; has the row been deleted?';
    end if;
    return v_value::integer;
end
$$;

comment on function identity._limit(text) is
    'The value of a whole-number setting as it holds for the tenant of the context. Raises ZP002 when there is none.';

revoke all on function identity._limit(text) from public;


create or replace function identity.sign_in_limits()
    returns table (password_min_length integer, password_max_length integer, totp_tolerance_steps integer)
    language plpgsql
    stable
    parallel restricted
    security definer        -- the settings' tables are not granted to those who sign people in
    set search_path = pg_catalog, pg_temp
as $$
begin
    password_min_length := identity._limit('security.password_min_length');
    password_max_length := identity._limit('security.password_max_length');
    totp_tolerance_steps := identity._limit('security.totp_tolerance_steps');
    return next;
end
$$;

comment on function identity.sign_in_limits() is
    'What the tenant of the context asks of passwords and codes, for those who hash the one and verify the other.';

revoke all on function identity.sign_in_limits() from public;
grant execute on function identity.sign_in_limits() to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/revoke_sessions.sql
create or replace function identity._revoke_sessions(session_ids uuid[], reason text)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_revoked integer;
begin
    update identity.user_sessions as s
    set revoked_at = clock_timestamp(), revoked_reason = reason
    where s.tenant_id = v_tenant_id and s.id = any (session_ids) and s.revoked_at is null;
    get diagnostics v_revoked = row_count;

    update identity.refresh_tokens as r
    set revoked_at = clock_timestamp()
    where r.tenant_id = v_tenant_id and r.session_id = any (session_ids) and r.revoked_at is null;
    return v_revoked;
end
$$;

comment on function identity._revoke_sessions(uuid[], text) is
    'End sessions of the context''s tenant together with their refresh families; returns how many were alive.';

revoke all on function identity._revoke_sessions(uuid[], text) from public;


create or replace function identity.revoke_session(session_id uuid, reason text default 'signed out')
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return identity._revoke_sessions(
        array(select s.id
              from identity.user_sessions as s
              where s.tenant_id = platform.current_tenant_id()
                and s.id = revoke_session.session_id
                and s.user_id = platform.current_user_id()),
        reason) = 1;
end
$$;

comment on function identity.revoke_session(uuid, text) is
    'End one of the current user''s own sessions; false when there is no such live session.';

revoke all on function identity.revoke_session(uuid, text) from public;
grant execute on function identity.revoke_session(uuid, text) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity.revoke_sessions_of(
    user_id uuid,
    reason text,
    except_session_id uuid default null)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return identity._revoke_sessions(
        array(select s.id
              from identity.user_sessions as s
              where s.tenant_id = platform.current_tenant_id()
                and s.user_id = revoke_sessions_of.user_id
                and s.id is distinct from except_session_id
                and s.revoked_at is null),
        reason);
end
$$;

comment on function identity.revoke_sessions_of(uuid, text, uuid) is
    'End all sessions of a user of the context''s tenant, but for one that may go on; returns how many were alive.';

revoke all on function identity.revoke_sessions_of(uuid, text, uuid) from public;
grant execute on function identity.revoke_sessions_of(uuid, text, uuid) to enterprise_ai_gateway;


create or replace function identity.list_my_sessions()
    returns table (id uuid, is_current boolean, authentication_level smallint, ip_address inet, user_agent text,
                   started_at timestamptz, last_seen_at timestamptz, idle_expires_at timestamptz,
                   expires_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can, and shows the user's own
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_current text := platform.context() ->> 'session_id';
begin
    return query
        select s.id, s.id::text = v_current is true, identity._level_of(s), s.ip_address, s.user_agent,
               s.started_at, s.last_seen_at, s.idle_expires_at, s.expires_at
        from identity.user_sessions as s
        where s.tenant_id = platform.current_tenant_id()
          and s.user_id = platform.current_user_id()
          and s.revoked_at is null
          and s.idle_expires_at > clock_timestamp()
        order by s.last_seen_at desc, s.id;
end
$$;

comment on function identity.list_my_sessions() is 'The current user''s live sessions, the last used first.';

revoke all on function identity.list_my_sessions() from public;
grant execute on function identity.list_my_sessions() to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/mfa_requirement.sql
create or replace function identity._is_privileged(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_groups uuid[] := array(select identity.groups_of(_is_privileged.user_id));
begin
    -- Whether or not it counts just now: a window or a condition does not make a right harmless.
    return exists (
        with recursive held (role_id) as (
            select a.role_id
            from authz.user_roles as a
            where a.tenant_id = v_tenant_id and a.user_id = _is_privileged.user_id
            union
            select a.role_id
            from authz.group_roles as a
            where a.tenant_id = v_tenant_id and a.group_id = any (v_groups)
            union
            select r.id
            from authz.roles as r
            where r.tenant_id = v_tenant_id and r.for_everyone
            union
            select i.parent_id
            from held
            join authz.role_inheritance as i on i.tenant_id = v_tenant_id and i.role_id = held.role_id),
        carried (permission_id) as (
            select c.permission_id
            from held
            join authz.role_permissions as c on c.tenant_id = v_tenant_id and c.role_id = held.role_id
            where c.effect = 'allow' and not c.only_own
            union all
            select g.permission_id
            from authz.user_permissions as g
            where g.tenant_id = v_tenant_id and g.user_id = _is_privileged.user_id and g.effect = 'allow'
            union all
            select g.permission_id
            from authz.group_permissions as g
            where g.tenant_id = v_tenant_id and g.group_id = any (v_groups) and g.effect = 'allow')
        select
        from carried
        join authz.permissions as p on p.id = carried.permission_id
        where p.minimum_authentication_level > 1
          -- Lets others act for oneself; to let them act for somebody else takes permission.grant.
          and p.name <> 'permission.proxy');
end
$$;

comment on function identity._is_privileged(uuid) is
    'Whether a user of the context''s tenant has been given, by whatever path, a permission of level 2 or 3 over more
than what is their own.';

revoke all on function identity._is_privileged(uuid) from public;


create or replace function identity.requires_second_factor(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads roles and settings that those who sign people in cannot
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_requirement text := platform.setting('security.mfa_requirement') #>> '{}';
begin
    return case
        when v_requirement = 'all' then true
        when v_requirement = 'privileged' then identity._is_privileged(requires_second_factor.user_id)
        else false
    end;
end
$$;

comment on function identity.requires_second_factor(uuid) is
    'Whether security.mfa_requirement lets a user of the context''s tenant in with a second factor only.';

revoke all on function identity.requires_second_factor(uuid) from public;
grant execute on function identity.requires_second_factor(uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/start_session.sql
create or replace function identity._successor(kind text, tenant_id uuid, parent_token text, salt bytea)
    returns text
    language sql
    immutable
    parallel safe
as $$ select identity._token(kind, tenant_id, sha256(convert_to(kind || ' ' || parent_token, 'UTF8') || salt)) $$;

comment on function identity._successor(text, uuid, text, bytea) is
    'The token of a kind that follows from a refresh token and a salt: two requests that bring the same one are given
the same, although only hashes are stored. Neither the token nor the salt alone leads to it.';

revoke all on function identity._successor(text, uuid, text, bytea) from public;


create or replace function identity._issue_tokens(
    session_id uuid,
    family_id uuid,
    parent_token text,
    successor_salt bytea)
    returns table (session_token text, refresh_token text, refresh_token_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    refresh_token_id := platform.new_id();
    if parent_token is null then
        session_token := identity._token('s', v_tenant_id, platform.random_bytes(32));
        refresh_token := identity._token('r', v_tenant_id, platform.random_bytes(32));
    else
        session_token := identity._successor('s', v_tenant_id, parent_token, successor_salt);
        refresh_token := identity._successor('r', v_tenant_id, parent_token, successor_salt);
    end if;

    update identity.user_sessions as s
    set token_hash = identity._token_hash(session_token),
        last_seen_at = clock_timestamp(),
        token_expires_at = least(clock_timestamp() + s.idle_timeout, s.expires_at),
        idle_expires_at = least(clock_timestamp() + s.idle_timeout, s.expires_at)
    where s.tenant_id = v_tenant_id and s.id = session_id;

    insert into identity.refresh_tokens (tenant_id, id, session_id, family_id, token_hash, expires_at)
    select v_tenant_id, refresh_token_id, s.id, _issue_tokens.family_id,
           identity._token_hash(refresh_token), s.expires_at
    from identity.user_sessions as s
    where s.tenant_id = v_tenant_id and s.id = session_id;
    return next;
end
$$;

comment on function identity._issue_tokens(uuid, uuid, text, bytea) is
    'Give a session a new token and a refresh token: the first of a family, or the successors of one used.';

revoke all on function identity._issue_tokens(uuid, uuid, text, bytea) from public;


create or replace function identity.start_session(
    user_id uuid,
    authentication_level smallint default 1,
    ip_address inet default null,
    user_agent text default null,
    is_refreshable boolean default false,
    by_password boolean default false)
    returns table (session_id uuid, session_token text, refresh_token text, idle_expires_at timestamptz,
                   expires_at timestamptz)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_now timestamptz := clock_timestamp();
    v_idle_timeout interval := case
        when is_refreshable then make_interval(mins => identity._limit('security.access_token_minutes'))
        else make_interval(mins => identity._limit('security.session_idle_minutes')) end;
begin
    perform identity._refuse_inactive(v_tenant_id, start_session.user_id);
    if start_session.authentication_level < 2 and identity.requires_second_factor(start_session.user_id) then
        raise exception 'User % signs in with a second factor only', start_session.user_id
            using errcode = 'ZI019', hint = 'Ask for one, or let the user add one; security.mfa_requirement wants it.';
    elsif by_password and identity._must_change_password(start_session.user_id) then
        raise exception 'User % has to change the password first', start_session.user_id
            using errcode = 'ZI020', hint = 'Set a new one with identity.set_password(), then start the session.';
    end if;

    session_id := platform.new_id();
    session_token := identity._token('s', v_tenant_id, platform.random_bytes(32));
    expires_at := v_now + case
        when is_refreshable then make_interval(days => identity._limit('security.refresh_token_days'))
        else make_interval(hours => identity._limit('security.session_absolute_hours')) end;
    idle_expires_at := least(v_now + v_idle_timeout, expires_at);

    -- The longest unused sessions give way. Who signs in twice at once takes turns.
    perform from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = start_session.user_id
    for no key update;
    perform identity._revoke_sessions(
        array(select s.id
              from identity.user_sessions as s
              where s.tenant_id = v_tenant_id
                and s.user_id = start_session.user_id
                and s.revoked_at is null
                and s.expires_at > v_now
              order by s.last_seen_at desc
              offset identity._limit('security.sessions_per_user') - 1),
        'gave way to a newer session');

    insert into identity.user_sessions (tenant_id, id, user_id, token_hash, authentication_level, ip_address,
                                        user_agent, started_at, last_seen_at, idle_timeout, idle_expires_at,
                                        token_expires_at, expires_at)
    values (v_tenant_id, session_id, start_session.user_id, identity._token_hash(session_token),
            start_session.authentication_level, start_session.ip_address, start_session.user_agent,
            v_now, v_now, v_idle_timeout, start_session.idle_expires_at,
            case when is_refreshable then start_session.idle_expires_at else start_session.expires_at end,
            start_session.expires_at);
    if is_refreshable then
        select t.session_token, t.refresh_token into session_token, refresh_token
        from identity._issue_tokens(session_id, platform.new_id(), null, null) as t;
    end if;
    update identity.users as u
    set last_login_at = v_now
    where u.tenant_id = v_tenant_id and u.id = start_session.user_id;
    return next;
end
$$;

comment on function identity.start_session(uuid, smallint, inet, text, boolean, boolean) is
    'Begin a session for a user of the context''s tenant whom the caller has authenticated at a level; returns its
token, which is not to be had again, and a refresh token where the session is refreshable: then the token is good for
security.access_token_minutes, used or not. Raises ZI001 and ZI002 when the tenant or the user may not work, ZI019 when
the settings want a second factor of the user, ZI020 when it was by a password that has to be changed.';

revoke all on function identity.start_session(uuid, smallint, inet, text, boolean, boolean) from public;
grant execute on function identity.start_session(uuid, smallint, inet, text, boolean, boolean) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/refresh_session.sql
create or replace function identity.refresh_session(
    token text,
    ip_address inet default null,
    user_agent text default null)
    returns table (outcome text, session_id uuid, user_id uuid, session_token text, refresh_token text,
                   expires_at timestamptz)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- the token is the proof; it reads and writes what no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_token(token, 'r');
    v_outer text := current_setting('enterprise_ai.context', true);
    v_now timestamptz;
    v_token identity.refresh_tokens;
    v_session identity.user_sessions;
    v_user identity.users;
    v_salt bytea := platform.random_bytes(32);
    v_successor_id uuid;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));

    -- Those who bring the same token at once take turns here.
    select r.* into v_token
    from identity.refresh_tokens as r
    where r.tenant_id = v_tenant_id and r.token_hash = identity._token_hash(refresh_session.token)
    for no key update;
    select s.* into v_session
    from identity.user_sessions as s
    where s.tenant_id = v_tenant_id and s.id = v_token.session_id;
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = v_session.user_id;
    v_now := clock_timestamp();

    outcome := case
        when v_token.id is null then 'unknown'
        when v_token.revoked_at is not null or v_session.revoked_at is not null
             or v_token.expires_at <= v_now then 'over'
        when not exists (select from identity.tenants as t where t.id = v_tenant_id and t.status = 'active')
             or v_user.status not in ('active', 'locked') then 'inactive'
        when v_token.used_at is null then 'refreshed'
        -- Two tabs, or an answer that was lost: the successors follow from the token and the same salt.
        when v_token.used_at > v_now
             - make_interval(secs => identity._limit('security.refresh_reuse_grace_seconds')) then 'repeated'
        else 'reused' end;

    if outcome = 'refreshed' then
        select t.session_token, t.refresh_token, t.refresh_token_id
        into session_token, refresh_token, v_successor_id
        from identity._issue_tokens(v_session.id, v_token.family_id, refresh_session.token, v_salt) as t;
        update identity.refresh_tokens as r
        set used_at = v_now, successor_id = v_successor_id, successor_salt = v_salt
        where r.tenant_id = v_tenant_id and r.id = v_token.id;
    elsif outcome = 'repeated' then
        session_token := identity._successor('s', v_tenant_id, refresh_session.token, v_token.successor_salt);
        refresh_token := identity._successor('r', v_tenant_id, refresh_session.token, v_token.successor_salt);
    elsif outcome = 'reused' then
        perform identity._revoke_sessions(array[v_session.id], 'refresh token used twice');
    end if;

    if outcome in ('refreshed', 'repeated') then
        session_id := v_session.id;
        user_id := v_session.user_id;
        expires_at := v_session.expires_at;
    end if;
    if v_session.id is not null then
        insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, user_agent)
        values (v_tenant_id, v_user.id, v_user.email, 'refresh_token',
                case when outcome in ('refreshed', 'repeated') then 'success'
                     when outcome = 'inactive' then 'inactive' else 'refused' end,
                refresh_session.ip_address, refresh_session.user_agent);
    end if;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    return next;
end
$$;

comment on function identity.refresh_session(text, inet, text) is
    'Exchange a refresh token for the next one of its family and a new session token. The outcome is refreshed;
repeated when the token was used seconds ago (the same successors again); reused when it was used before that: then
somebody else has it, and the session with its family is revoked; over, inactive or unknown. It raises nothing, so that
the caller can commit what it decided: do so before telling the person. The caller''s context stays as it was.';

revoke all on function identity.refresh_session(text, inet, text) from public;
grant execute on function identity.refresh_session(text, inet, text) to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

--- identity: signing in -------------------------------------------------------------
-- Functions that decide on an attempt raise nothing about the person: what they recorded has to be committed
-- although the person is turned away.

-- >>> sql/identity/count_failure.sql
create or replace function identity._count_failure(person identity.users)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_last_attempt timestamptz;
    v_failures integer := person.failed_logins + 1;
    v_beyond integer;
begin
    select max(a.attempted_at) into v_last_attempt
    from identity.login_attempts as a
    where a.tenant_id = person.tenant_id and a.user_id = person.id;
    if greatest(v_last_attempt, person.locked_until)
           < clock_timestamp() - make_interval(mins => identity._limit('security.lockout_window_minutes')) then
        v_failures := 1;
    end if;

    v_beyond := v_failures - identity._limit('security.lockout_threshold');
    update identity.users as u
    set failed_logins = v_failures,
        status = case when v_beyond >= 0 then 'locked' else 'active' end,
        locked_until = case when v_beyond >= 0 then clock_timestamp() + least(
            make_interval(secs => identity._limit('security.lockout_base_seconds') * 2.0 ^ least(v_beyond, 20)),
            make_interval(mins => identity._limit('security.lockout_max_minutes'))) end
    where u.tenant_id = person.tenant_id and u.id = person.id;
end
$$;

comment on function identity._count_failure(identity.users) is
    'Count one more failure to sign in against a user whose row the caller has locked: from the threshold on each
locks the account, twice as long as the one before, and the lock ends by itself.';

revoke all on function identity._count_failure(identity.users) from public;
-- <<<

-- >>> sql/identity/passwords.sql
create or replace function identity._set_password(user_id uuid, password_hash text, must_change boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into identity.user_passwords (tenant_id, user_id, password_hash, must_change, changed_at)
    values (platform.current_tenant_id(), _set_password.user_id, _set_password.password_hash,
            _set_password.must_change, clock_timestamp())
    on conflict (tenant_id, user_id) do update
    set password_hash = excluded.password_hash,
        must_change = excluded.must_change,
        changed_at = excluded.changed_at;
end
$$;

comment on function identity._set_password(uuid, text, boolean) is
    'Store what recognises a user''s password from now on.';

revoke all on function identity._set_password(uuid, text, boolean) from public;


create or replace function identity.set_password(user_id uuid, password_hash text, must_change boolean default false)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes passwords, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._set_password(set_password.user_id, set_password.password_hash, set_password.must_change);
    perform identity.revoke_sessions_of(
        set_password.user_id, 'password changed', (platform.context() ->> 'session_id')::uuid);
end
$$;

comment on function identity.set_password(uuid, text, boolean) is
    'Set the password of a user of the context''s tenant by its Argon2id string; the user''s sessions end, but for the
one of the context.';

revoke all on function identity.set_password(uuid, text, boolean) from public;
grant execute on function identity.set_password(uuid, text, boolean) to enterprise_ai_gateway;


create or replace function identity._must_change_password(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_days integer := identity._limit('security.password_max_age_days');
begin
    return exists (
        select from identity.user_passwords as p
        where p.tenant_id = platform.current_tenant_id()
          and p.user_id = _must_change_password.user_id
          and (p.must_change
               or v_days > 0 and p.changed_at < clock_timestamp() - make_interval(days => v_days)));
end
$$;

comment on function identity._must_change_password(uuid) is
    'Whether a user''s password was set by somebody else, or is older than security.password_max_age_days allows.';

revoke all on function identity._must_change_password(uuid) from public;


create or replace function identity.begin_login(
    email text,
    ip_address inet default null,
    user_agent text default null)
    returns table (attempt_id uuid, password_hash text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- reads passwords and records attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_now timestamptz := clock_timestamp();
    v_user identity.users;
    v_outcome text := 'started';
begin
    if begin_login.ip_address is not null then
        -- Those who try from one address at once take turns, so that each sees the attempts before it.
        perform pg_advisory_xact_lock(
            hashtext('identity.begin_login'), hashtext(v_tenant_id || host(begin_login.ip_address)));
        v_now := clock_timestamp();
        if (select count(*)
            from identity.login_attempts as a
            where a.tenant_id = v_tenant_id
              and a.ip_address = begin_login.ip_address
              and a.attempted_at > v_now - interval '1 minute'
              and a.method = 'password') >= identity._limit('limits.sign_ins_per_minute') then
            v_outcome := 'throttled';
        end if;
    end if;

    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.email_key = lower(begin_login.email) and u.deleted_at is null
    for no key update;

    if not found or v_outcome = 'throttled' then
        null;
    elsif identity._must_use_sso(v_user.email) then
        v_outcome := 'refused';
    elsif v_user.status = 'locked' and v_user.locked_until > v_now then
        v_outcome := 'locked';
    elsif v_user.status not in ('active', 'locked') then
        v_outcome := 'inactive';
    else
        -- The attempt counts as failed until it has succeeded, so that a hundred at once are counted too.
        perform identity._count_failure(v_user);
        select p.password_hash into password_hash
        from identity.user_passwords as p
        where p.tenant_id = v_tenant_id and p.user_id = v_user.id;
    end if;

    attempt_id := platform.new_id();
    insert into identity.login_attempts (tenant_id, id, user_id, email, method, outcome, ip_address, user_agent,
                                         attempted_at)
    values (v_tenant_id, attempt_id, v_user.id, begin_login.email, 'password', v_outcome, begin_login.ip_address,
            begin_login.user_agent, v_now);
    return next;
end
$$;

comment on function identity.begin_login(text, inet, text) is
    'Record an attempt to sign in to the context''s tenant with a password and count it as failed; returns what the
password is to be verified against, null where nothing can match: then verify against any other hash, so that both
take the same time. From the limit of limits.sign_ins_per_minute on an address gets no further. Commit before verifying.';

revoke all on function identity.begin_login(text, inet, text) from public;
grant execute on function identity.begin_login(text, inet, text) to enterprise_ai_gateway;


create or replace function identity.finish_login(
    attempt_id uuid,
    password_matches boolean,
    upgraded_hash text default null)
    returns table (outcome text, user_id uuid, must_change boolean, has_second_factor boolean,
                   requires_second_factor boolean)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides on attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_attempt identity.login_attempts;
    v_user identity.users;
begin
    select a.* into v_attempt
    from identity.login_attempts as a
    where a.tenant_id = v_tenant_id and a.id = attempt_id and a.method = 'password'
    for update;
    if not found then
        raise exception 'There is no attempt % to sign in', attempt_id
            using errcode = 'ZI009', hint = 'identity.begin_login() gives the id of the attempt it recorded.';
    end if;

    outcome := v_attempt.outcome;
    must_change := false;
    has_second_factor := false;
    requires_second_factor := false;
    if outcome = 'started' then
        select u.* into v_user
        from identity.users as u
        where u.tenant_id = v_tenant_id and u.id = v_attempt.user_id
        for no key update;
        outcome := case
            when v_user.id is null or password_matches is not true then 'wrong_credentials'
            -- Five minutes are enough to verify a password; an older attempt is not taken up again.
            when v_attempt.attempted_at < clock_timestamp() - interval '5 minutes' then 'refused'
            when v_user.status not in ('active', 'locked') then 'inactive'
            else 'success' end;
    elsif outcome = 'success' then
        outcome := 'refused';       -- decided once
    end if;

    if outcome = 'success' then
        user_id := v_user.id;
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active'
        where u.tenant_id = v_tenant_id and u.id = v_user.id;
        if upgraded_hash is not null then
            update identity.user_passwords as p
            set password_hash = upgraded_hash
            where p.tenant_id = v_tenant_id and p.user_id = v_user.id;
        end if;
        must_change := identity._must_change_password(v_user.id);
        requires_second_factor := identity.requires_second_factor(v_user.id);
        has_second_factor := exists (
            select from identity.mfa_factors as f
            where f.tenant_id = v_tenant_id and f.user_id = v_user.id and f.confirmed_at is not null);
    end if;
    if v_attempt.outcome = 'started' then
        update identity.login_attempts as a
        set outcome = finish_login.outcome
        where a.tenant_id = v_tenant_id and a.id = attempt_id;
    end if;
    return next;
end
$$;

comment on function identity.finish_login(uuid, boolean, text) is
    'Decide on an attempt once the password has been verified: success, wrong_credentials, locked, inactive,
throttled or refused; who it is, and what is still asked of them, only with success. Raises nothing about the person, so that the record can be committed. An upgraded hash
replaces the stored one.';

revoke all on function identity.finish_login(uuid, boolean, text) from public;
grant execute on function identity.finish_login(uuid, boolean, text) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/second_factors.sql
create or replace function identity.add_totp_factor(user_id uuid, name text, totp_secret bytea)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    perform identity._refuse_without_step_up(add_totp_factor.user_id);
    insert into identity.mfa_factors (tenant_id, id, user_id, kind, name, totp_secret)
    values (platform.current_tenant_id(), v_id, add_totp_factor.user_id, 'totp', add_totp_factor.name,
            add_totp_factor.totp_secret);
    return v_id;
end
$$;

comment on function identity.add_totp_factor(uuid, text, bytea) is
    'Give a user of the context''s tenant a TOTP generator, its seed sealed; it counts once a first code has been accepted.
Raises ZI022 without step-up.';

revoke all on function identity.add_totp_factor(uuid, text, bytea) from public;
grant execute on function identity.add_totp_factor(uuid, text, bytea) to enterprise_ai_gateway;


create or replace function identity.totp_factors_of(user_id uuid)
    returns table (id uuid, name text, totp_secret bytea, is_confirmed boolean)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select f.id, f.name, f.totp_secret, f.confirmed_at is not null
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = totp_factors_of.user_id
          and f.kind = 'totp'
        order by f.created_at, f.id;
end
$$;

comment on function identity.totp_factors_of(uuid) is
    'What the codes of a user of the context''s tenant are verified with.';

revoke all on function identity.totp_factors_of(uuid) from public;
grant execute on function identity.totp_factors_of(uuid) to enterprise_ai_gateway;


create or replace function identity.totp_secrets()
    returns table (id uuid, user_id uuid, totp_secret bytea)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.user_id, f.totp_secret
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id() and f.kind = 'totp'
        order by f.id;
end
$$;

comment on function identity.totp_secrets() is
    'The sealed seeds of the context''s tenant, for those who rotate the key that they are sealed under.';

revoke all on function identity.totp_secrets() from public;
grant execute on function identity.totp_secrets() to enterprise_ai_gateway;


create or replace function identity.reseal_totp_secret(factor_id uuid, old_secret bytea, new_secret bytea)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.mfa_factors as f
    set totp_secret = new_secret
    where f.tenant_id = platform.current_tenant_id() and f.id = factor_id and f.totp_secret = old_secret;
    return found;
end
$$;

comment on function identity.reseal_totp_secret(uuid, bytea, bytea) is
    'Store a seed as sealed under another key; false when it is no longer what it was.';

revoke all on function identity.reseal_totp_secret(uuid, bytea, bytea) from public;
grant execute on function identity.reseal_totp_secret(uuid, bytea, bytea) to enterprise_ai_gateway;

create or replace function identity._finish_second_factor(
    user_id uuid, is_right boolean, method text, ip_address inet, user_agent text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_user identity.users;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = _finish_second_factor.user_id
    for no key update;
    if is_right then
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active'
        where u.tenant_id = v_tenant_id and u.id = v_user.id;
    elsif v_user.status in ('active', 'locked') and method <> 'webauthn' then
        -- Six digits can be guessed, so the lock-out counts them too. A signature cannot.
        perform identity._count_failure(v_user);
    end if;
    insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, user_agent)
    values (v_tenant_id, v_user.id, coalesce(v_user.email, 'unknown'), _finish_second_factor.method,
            case when is_right then 'success' else 'mfa_failed' end,
            _finish_second_factor.ip_address, _finish_second_factor.user_agent);
end
$$;

comment on function identity._finish_second_factor(uuid, boolean, text, inet, text) is
    'Record how a second factor went and count a failure.';

revoke all on function identity._finish_second_factor(uuid, boolean, text, inet, text) from public;


create or replace function identity._may_try_second_factor(user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user identity.users;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = platform.current_tenant_id() and u.id = _may_try_second_factor.user_id
    for no key update;
    return coalesce(
        v_user.status = 'active' or v_user.status = 'locked' and v_user.locked_until <= clock_timestamp(), false);
end
$$;

comment on function identity._may_try_second_factor(uuid) is
    'True when the user is active and not locked out; keeps others who try at once waiting.';

revoke all on function identity._may_try_second_factor(uuid) from public;


create or replace function identity.finish_totp(
    user_id uuid,
    factor_id uuid,
    step bigint,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_right boolean := false;
begin
    if identity._may_try_second_factor(finish_totp.user_id) then
        -- One conditional update: a step is accepted once, and none before it any more.
        update identity.mfa_factors as f
        set totp_last_step = step,
            confirmed_at = coalesce(f.confirmed_at, clock_timestamp()),
            last_used_at = clock_timestamp()
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = finish_totp.user_id
          and f.id = factor_id
          and f.kind = 'totp'
          and coalesce(f.totp_last_step, -1) < step;
        v_is_right := found;
    end if;
    perform identity._finish_second_factor(finish_totp.user_id, v_is_right, 'totp', ip_address, user_agent);
    if v_is_right and finish_totp.session_id is not null then
        perform identity._step_up(finish_totp.session_id, finish_totp.user_id, 2::smallint);
    end if;
    return v_is_right;
end
$$;

comment on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) is
    'Decide on a TOTP code: step is the time step that it belongs to, null when it belongs to none. True when it is
accepted; a code works once. Where a session is named, it is stepped up. Refusing raises nothing, so that the caller can
commit the record of a failure.';

revoke all on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) from public;
grant execute on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) to enterprise_ai_gateway;


create or replace function identity._recovery_code_hash(code text)
    returns bytea
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return platform.hmac_sha256(
        convert_to(upper(regexp_replace(code, '[^[:alnum:]]', '', 'g')), 'UTF8'),
        (select k.secret from identity.recovery_code_keys as k));
end
$$;

comment on function identity._recovery_code_hash(text) is
    'What is stored of a recovery code; dashes, blanks and case make no difference.';

revoke all on function identity._recovery_code_hash(text) from public;


create or replace function identity.new_recovery_codes(user_id uuid)
    returns setof text
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes codes, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_code text;
begin
    perform identity._refuse_without_step_up(new_recovery_codes.user_id);
    delete from identity.mfa_recovery_codes as c
    where c.tenant_id = v_tenant_id and c.user_id = new_recovery_codes.user_id;
    for i in 1 .. identity._limit('security.mfa_recovery_codes') loop
        v_code := upper(regexp_replace(encode(platform.random_bytes(8), 'hex'), '(.{4})(?=.)', e'\\1-', 'g'));
        insert into identity.mfa_recovery_codes (tenant_id, user_id, code_hash)
        values (v_tenant_id, new_recovery_codes.user_id, identity._recovery_code_hash(v_code));
        return next v_code;
    end loop;
end
$$;

comment on function identity.new_recovery_codes(uuid) is
    'Recovery codes for a user of the context''s tenant, in the place of all earlier ones; they are not to be had
again. Raises ZI022 without step-up.';

revoke all on function identity.new_recovery_codes(uuid) from public;
grant execute on function identity.new_recovery_codes(uuid) to enterprise_ai_gateway;


create or replace function identity.use_recovery_code(
    user_id uuid,
    code text,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes codes and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_right boolean := false;
begin
    if identity._may_try_second_factor(use_recovery_code.user_id) then
        update identity.mfa_recovery_codes as c
        set used_at = clock_timestamp()
        where c.tenant_id = platform.current_tenant_id()
          and c.user_id = use_recovery_code.user_id
          and c.code_hash = identity._recovery_code_hash(code)
          and c.used_at is null;
        v_is_right := found;
    end if;
    perform identity._finish_second_factor(
        use_recovery_code.user_id, v_is_right, 'recovery_code', ip_address, user_agent);
    if v_is_right and use_recovery_code.session_id is not null then
        perform identity._step_up(use_recovery_code.session_id, use_recovery_code.user_id, 2::smallint);
    end if;
    return v_is_right;
end
$$;

comment on function identity.use_recovery_code(uuid, text, inet, text, uuid) is
    'Decide on a recovery code: true when it is one of the user''s and has not been used. Where a session is named, it is
stepped up. Refusing raises nothing, so that the caller can commit the record of a failure.';

revoke all on function identity.use_recovery_code(uuid, text, inet, text, uuid) from public;
grant execute on function identity.use_recovery_code(uuid, text, inet, text, uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/webauthn.sql
-- Passkeys and security keys (WebAuthn). The service verifies signatures, which takes a library; what is decided
-- by them is decided here. A challenge is stored, works once and for five minutes.

create or replace function identity.begin_webauthn(purpose text, user_id uuid default null)
    returns table (challenge_id uuid, challenge bytea)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes challenges, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    -- What nobody came back with goes a little at a time, and nobody waits for it.
    delete from identity.webauthn_challenges as c
    where c.tenant_id = v_tenant_id
      and c.id in (
          select old.id
          from identity.webauthn_challenges as old
          where old.tenant_id = v_tenant_id and old.expires_at < clock_timestamp()
          order by old.expires_at
          limit 20
          for update skip locked);

    challenge_id := platform.new_id();
    challenge := platform.random_bytes(32);
    insert into identity.webauthn_challenges (tenant_id, id, purpose, user_id, challenge, expires_at)
    values (v_tenant_id, begin_webauthn.challenge_id, begin_webauthn.purpose, begin_webauthn.user_id,
            begin_webauthn.challenge, clock_timestamp() + interval '5 minutes');
    return next;
end
$$;

comment on function identity.begin_webauthn(text, uuid) is
    'A challenge to register a key for a user of the context''s tenant, or to authenticate: the user, or whoever it is
that has one of the tenant''s passkeys when none is named.';

revoke all on function identity.begin_webauthn(text, uuid) from public;
grant execute on function identity.begin_webauthn(text, uuid) to enterprise_ai_gateway;


create or replace function identity.take_webauthn_challenge(challenge_id uuid, purpose text)
    returns table (challenge bytea, user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- uses challenges up, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- One delete: of many who come with the same challenge, one finds it.
    delete from identity.webauthn_challenges as c
    where c.tenant_id = platform.current_tenant_id()
      and c.id = challenge_id
      and c.purpose = take_webauthn_challenge.purpose
      and c.expires_at > clock_timestamp()
    returning c.challenge, c.user_id into challenge, user_id;
    if found then
        return next;
    end if;
end
$$;

comment on function identity.take_webauthn_challenge(uuid, text) is
    'Use a challenge up and return it with the user it was made for; no row when it was used, has expired or was for
something else. Commit, so that it stays used whatever the answer is worth.';

revoke all on function identity.take_webauthn_challenge(uuid, text) from public;
grant execute on function identity.take_webauthn_challenge(uuid, text) to enterprise_ai_gateway;


create or replace function identity.webauthn_credentials(
    user_id uuid default null, credential_id bytea default null)
    returns table (factor_id uuid, owner_id uuid, id bytea, public_key bytea, sign_count bigint, transports text[])
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.user_id, f.credential_id, f.public_key, f.sign_count, f.transports
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.kind = 'webauthn'
          and f.user_id = webauthn_credentials.user_id
        union
        select f.id, f.user_id, f.credential_id, f.public_key, f.sign_count, f.transports
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.credential_id = webauthn_credentials.credential_id;
end
$$;

comment on function identity.webauthn_credentials(uuid, bytea) is
    'The keys of a user of the context''s tenant, or the one key of an id: what signatures are verified with.';

revoke all on function identity.webauthn_credentials(uuid, bytea) from public;
grant execute on function identity.webauthn_credentials(uuid, bytea) to enterprise_ai_gateway;


create or replace function identity.add_webauthn_factor(
    user_id uuid,
    name text,
    credential_id bytea,
    public_key bytea,
    sign_count bigint,
    transports text[],
    is_backup_eligible boolean)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    perform identity._refuse_without_step_up(add_webauthn_factor.user_id);
    insert into identity.mfa_factors (tenant_id, id, user_id, kind, name, credential_id, public_key, sign_count,
                                      transports, is_backup_eligible, confirmed_at)
    values (platform.current_tenant_id(), v_id, add_webauthn_factor.user_id, 'webauthn', add_webauthn_factor.name,
            add_webauthn_factor.credential_id, add_webauthn_factor.public_key, add_webauthn_factor.sign_count,
            add_webauthn_factor.transports, add_webauthn_factor.is_backup_eligible, clock_timestamp());
    return v_id;
end
$$;

comment on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean) is
    'Give a user of the context''s tenant a key whose registration the caller has verified. Raises 23505 naming
mfa_factors_credential_id_key when it is registered already and mfa_factors_name_key when the user has a factor of the
name, ZI022 without step-up.';

revoke all on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean) from public;
grant execute on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean)
    to enterprise_ai_gateway;


create or replace function identity.finish_webauthn(
    user_id uuid,
    factor_id uuid,
    is_verified boolean,
    sign_count bigint,
    is_user_verified boolean,
    is_only_factor boolean,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns smallint
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_level smallint;
begin
    -- Without a password beside it, the key has to have recognised its owner by a finger, a face or a PIN.
    if is_verified and (is_user_verified or not is_only_factor)
       and identity._may_try_second_factor(finish_webauthn.user_id) then
        -- A counter that does not go forward: the key was copied. Both zero: the key does not count.
        update identity.mfa_factors as f
        set sign_count = finish_webauthn.sign_count, last_used_at = clock_timestamp()
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = finish_webauthn.user_id
          and f.id = factor_id
          and f.kind = 'webauthn'
          and (f.sign_count < finish_webauthn.sign_count or (f.sign_count = 0 and finish_webauthn.sign_count = 0))
        returning case when is_user_verified and not f.is_backup_eligible then 3 else 2 end into v_level;
    end if;
    perform identity._finish_second_factor(
        finish_webauthn.user_id, v_level is not null, 'webauthn', ip_address, user_agent);
    if v_level is not null and finish_webauthn.session_id is not null then
        perform identity._step_up(finish_webauthn.session_id, finish_webauthn.user_id, v_level);
    end if;
    return v_level;
end
$$;

comment on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid) is
    'Decide on a signature that the caller has verified or not; returns the authentication level that it is worth: 3 by
a key that cannot be copied and has verified its user, else 2; null when it is refused, as when the key''s counter went
back. Where a session is named, it is stepped up. Refusing raises nothing, so that the caller can commit the record.';

revoke all on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid)
    from public;
grant execute on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid)
    to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/manage_factors.sql
create or replace function identity.list_second_factors(user_id uuid default null)
    returns table (id uuid, kind text, name text, created_at timestamptz, confirmed_at timestamptz,
                   last_used_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can, and leaves out what they consist of
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.kind, f.name, f.created_at, f.confirmed_at, f.last_used_at
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          -- A user sees their own; a service that was opened for no user sees anybody's.
          and f.user_id = coalesce(platform.current_user_id(), list_second_factors.user_id)
        order by f.created_at, f.id;
end
$$;

comment on function identity.list_second_factors(uuid) is
    'The second factors of the current user, or of any user of the tenant when the context is a service''s; the oldest
first, without secrets.';

revoke all on function identity.list_second_factors(uuid) from public;
grant execute on function identity.list_second_factors(uuid) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity.remove_second_factor(user_id uuid, factor_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_was_confirmed boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        -- Its snapshot may be older than what it waits for below.
        raise exception 'A second factor cannot be removed in a % transaction', current_setting('transaction_isolation')
            using errcode = 'ZI012', hint = 'Remove it in a read committed transaction; it is still there.';
    end if;
    -- Two who remove one each take turns, and the second sees what is left.
    perform from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = remove_second_factor.user_id
    for no key update;
    perform identity._refuse_without_step_up(remove_second_factor.user_id);

    delete from identity.mfa_factors as f
    where f.tenant_id = v_tenant_id and f.user_id = remove_second_factor.user_id and f.id = factor_id
    returning f.confirmed_at is not null into v_was_confirmed;
    if v_was_confirmed
       and not exists (
           select from identity.mfa_factors as f
           where f.tenant_id = v_tenant_id and f.user_id = remove_second_factor.user_id
             and f.confirmed_at is not null)
       and identity.requires_second_factor(remove_second_factor.user_id) then
        raise exception 'It is the last second factor of user %, who needs one', remove_second_factor.user_id
            using errcode = 'ZI021', hint = 'Add another first. It has not been removed.';
    end if;
    return v_was_confirmed is not null;
end
$$;

comment on function identity.remove_second_factor(uuid, uuid) is
    'Remove a second factor of a user of the context''s tenant; false when there is none of the id. Raises ZI021 for the
last one of a user whom the settings want to have one, ZI022 without step-up, ZI012 in a transaction that could not see
what it waited for.';

revoke all on function identity.remove_second_factor(uuid, uuid) from public;
grant execute on function identity.remove_second_factor(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.reset_second_factors(user_id uuid)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_current uuid := platform.current_user_id();
    v_removed integer;
begin
    if v_current is not null
       and (v_current = reset_second_factors.user_id or not authz.check('user.reset_credentials')) then
        raise exception 'User % may not reset second factors', v_current
            using errcode = 'ZI010', hint = 'It takes user.reset_credentials, and somebody else than the user.';
    end if;
    delete from identity.mfa_factors as f
    where f.tenant_id = v_tenant_id and f.user_id = reset_second_factors.user_id;
    get diagnostics v_removed = row_count;
    delete from identity.mfa_recovery_codes as c
    where c.tenant_id = v_tenant_id and c.user_id = reset_second_factors.user_id;
    perform identity.revoke_sessions_of(reset_second_factors.user_id, 'second factors reset');
    return v_removed;
end
$$;

comment on function identity.reset_second_factors(uuid) is
    'Remove all second factors and recovery codes of a user who has lost them, and end the user''s sessions; returns how
many factors there were. Raises ZI010 for a context whose user may not.';

revoke all on function identity.reset_second_factors(uuid) from public;
grant execute on function identity.reset_second_factors(uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/api_keys.sql
create or replace function identity.create_api_key(
    name text,
    scopes text[] default '{}',
    expires_at timestamptz default null,
    user_id uuid default null)
    returns table (id uuid, key text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes keys, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_fields jsonb := platform.context();
    v_current uuid := platform.current_user_id();
    v_latest timestamptz := now() + make_interval(days => identity._limit('security.api_key_days'));
begin
    -- A user makes keys for themselves; a service that was opened for no user makes them for anybody.
    if v_current is not null and create_api_key.user_id <> v_current then
        raise exception 'User % makes API keys for themselves only', v_current
            using errcode = 'ZI010', hint = 'Leave user_id out.';
    elsif v_fields ? 'api_key_id' then
        raise exception 'An API key cannot make another'
            using errcode = 'ZI010', hint = 'Sign in to make one: a key that leaks must not outlive its own end.';
    elsif v_current is not null and 'scim' = any (create_api_key.scopes) and not authz.check('user.deactivate') then
        raise exception 'User % may not make a key for provisioning', v_current
            using errcode = 'ZI010', hint = 'It takes user.deactivate, and the sign-in that this asks for.';
    elsif create_api_key.expires_at > v_latest then
        raise exception 'An API key is good until % at the longest', v_latest
            using errcode = 'ZI011', hint = 'The setting security.api_key_days says how long.';
    elsif current_setting('transaction_isolation') <> 'read committed' then
        -- Its snapshot may be older than the keys that it waits for below, and nothing tells it that they are missing.
        raise exception 'An API key cannot be made in a % transaction', current_setting('transaction_isolation')
            using errcode = 'ZI012', hint = 'Make it in a read committed transaction.';
    end if;

    -- Who makes two at once takes turns.
    perform from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = coalesce(create_api_key.user_id, v_current)
    for no key update;
    if (select count(*)
        from identity.api_keys as k
        where k.tenant_id = v_tenant_id
          and k.user_id = coalesce(create_api_key.user_id, v_current)
          and k.revoked_at is null
          and k.expires_at > now()) >= identity._limit('limits.api_keys_per_user') then
        raise exception 'The user has as many API keys as a user may have'
            using errcode = 'ZI023', hint = 'Revoke one first; the setting limits.api_keys_per_user says how many.';
    end if;

    id := platform.new_id();
    key := identity._token('k', v_tenant_id, platform.random_bytes(32));
    insert into identity.api_keys (tenant_id, id, user_id, name, prefix, key_hash, scopes, expires_at)
    values (v_tenant_id, create_api_key.id, coalesce(create_api_key.user_id, v_current), create_api_key.name,
            left(create_api_key.key, 6) || substr(create_api_key.key, 40, 6), identity._token_hash(create_api_key.key),
            create_api_key.scopes, coalesce(create_api_key.expires_at, v_latest));
    return next;
end
$$;

comment on function identity.create_api_key(text, text[], timestamptz, uuid) is
    'Make a key with which a program acts as the current user, confined to scopes where any are given; returns it, and
it is not to be had again. Raises ZI010 for somebody else''s, when the context was opened by a key, or when the scope is
scim and the user may not deactivate others, ZI011 when it would last longer than the settings allow, ZI012 in a
transaction that could not see what others have just made, and ZI023 when the user has as many as they allow.';

revoke all on function identity.create_api_key(text, text[], timestamptz, uuid) from public;
grant execute on function identity.create_api_key(text, text[], timestamptz, uuid)
    to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity.revoke_api_key(key_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes keys, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_current uuid := platform.current_user_id();
begin
    update identity.api_keys as k
    set revoked_at = clock_timestamp()
    where k.tenant_id = platform.current_tenant_id()
      and k.id = key_id
      and (k.user_id = v_current or v_current is null)
      and k.revoked_at is null;
    return found;
end
$$;

comment on function identity.revoke_api_key(uuid) is
    'End a key of the current user, or of anybody in the tenant when the context is a service''s; false when there is
no such live key.';

revoke all on function identity.revoke_api_key(uuid) from public;
grant execute on function identity.revoke_api_key(uuid) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity.list_my_api_keys()
    returns table (id uuid, name text, prefix text, scopes text[], created_at timestamptz, expires_at timestamptz,
                   last_used_at timestamptz, revoked_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads keys, which no group role can, and shows the user's own
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select k.id, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.last_used_at, k.revoked_at
        from identity.api_keys as k
        where k.tenant_id = platform.current_tenant_id() and k.user_id = platform.current_user_id()
        order by k.created_at desc, k.id desc;
end
$$;

comment on function identity.list_my_api_keys() is 'The current user''s API keys, the newest first; never the keys themselves.';

revoke all on function identity.list_my_api_keys() from public;
grant execute on function identity.list_my_api_keys() to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

--- identity: people -----------------------------------------------------------------

-- >>> sql/identity/end_access.sql
create or replace function identity._end_access(user_id uuid, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    perform identity._revoke_sessions(
        array(select s.id
              from identity.user_sessions as s
              where s.tenant_id = v_tenant_id and s.user_id = _end_access.user_id and s.revoked_at is null),
        reason);
    update identity.api_keys as k
    set revoked_at = clock_timestamp()
    where k.tenant_id = v_tenant_id and k.user_id = _end_access.user_id and k.revoked_at is null;
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id and t.user_id = _end_access.user_id and t.used_at is null;
    -- What the person passed on, and what was passed on to them, ends where it stands.
    update authz.delegations as d
    set valid_until = greatest(clock_timestamp(), d.valid_from + interval '1 microsecond')
    where d.tenant_id = v_tenant_id
      and _end_access.user_id in (d.delegator_id, d.delegate_id)
      and d.valid_until > clock_timestamp();
end
$$;

comment on function identity._end_access(uuid, text) is
    'End for good what lets a user of the context''s tenant in: sessions with their refresh families, API keys,
one-time tokens, delegations from and to them.';

revoke all on function identity._end_access(uuid, text) from public;
-- <<<

-- >>> sql/identity/user_status.sql
-- The status of a user. Who may come from where is here and nowhere else:
--
--   invited --activate--> active <--lock-out--> locked
--   invited, active, locked --suspend--> suspended --reactivate--> active
--   invited, active, locked, suspended --deactivate--> deactivated --reactivate--> active
--   any of them --remove--> deactivated, and no longer to be found
--   any of them --erase--> erased, for good
--
-- Whatever is not open ends sessions, refresh families, API keys, one-time tokens and delegations in the same
-- transaction, and reactivating does not bring them back.

create or replace function identity._change_status(user_id uuid, new_status text, from_statuses text[], reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_status text;
begin
    -- Who was removed stays so; all that is left to do is to erase them.
    select case when u.deleted_at is not null and u.status <> 'erased' then 'removed' else u.status end
    into v_status
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = _change_status.user_id
    for no key update;
    if not found then
        raise exception 'There is no user %', _change_status.user_id
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    elsif v_status <> all (from_statuses) then
        raise exception 'User % is % and cannot become %', _change_status.user_id, v_status, new_status
            using errcode = 'ZI007', hint = 'That is possible from: ' || array_to_string(from_statuses, ', ') || '.';
    end if;

    update identity.users as u
    set status = new_status, failed_logins = 0, locked_until = null
    where u.tenant_id = v_tenant_id and u.id = _change_status.user_id;
    if new_status <> 'active' then
        perform identity._end_access(_change_status.user_id, reason);
    end if;
end
$$;

comment on function identity._change_status(uuid, text, text[], text) is
    'Give a user of the context''s tenant another status, if it can come from the one it has. Raises ZI006 when there
is no such user, ZI007 when the status cannot follow.';

revoke all on function identity._change_status(uuid, text, text[], text) from public;


create or replace function identity.activate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(activate_user.user_id, 'active', '{invited}', 'activated');
end
$$;

comment on function identity.activate_user(uuid) is 'Let an invited user in. Raises ZI006 and ZI007.';

revoke all on function identity.activate_user(uuid) from public;
grant execute on function identity.activate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.suspend_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(suspend_user.user_id, 'suspended', '{invited,active,locked}', 'suspended');
end
$$;

comment on function identity.suspend_user(uuid) is
    'Keep a user out for the time being; what let them in ends. Raises ZI006 and ZI007.';

revoke all on function identity.suspend_user(uuid) from public;
grant execute on function identity.suspend_user(uuid) to enterprise_ai_gateway;


create or replace function identity.deactivate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(
        deactivate_user.user_id, 'deactivated', '{invited,active,locked,suspended}', 'deactivated');
end
$$;

comment on function identity.deactivate_user(uuid) is
    'Put a user who has left out of work; what let them in ends. Raises ZI006 and ZI007.';

revoke all on function identity.deactivate_user(uuid) from public;
grant execute on function identity.deactivate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.reactivate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(reactivate_user.user_id, 'active', '{suspended,deactivated}', 'reactivated');
end
$$;

comment on function identity.reactivate_user(uuid) is
    'Let a suspended or deactivated user in again; what ended then stays ended. Raises ZI006 and ZI007.';

revoke all on function identity.reactivate_user(uuid) from public;
grant execute on function identity.reactivate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.unlock_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(unlock_user.user_id, 'active', '{locked}', 'unlocked');
end
$$;

comment on function identity.unlock_user(uuid) is
    'End a lock-out before its time, and forget the failures that led to it. Raises ZI006 and ZI007.';

revoke all on function identity.unlock_user(uuid) from public;
grant execute on function identity.unlock_user(uuid) to enterprise_ai_gateway;


create or replace function identity.remove_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    perform identity._change_status(
        remove_user.user_id, 'deactivated', '{invited,active,locked,suspended,deactivated}', 'removed');
    delete from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = remove_user.user_id;
    delete from identity.group_members as m where m.tenant_id = v_tenant_id and m.user_id = remove_user.user_id;
    update identity.user_profiles as p
    set manager_id = null
    where p.tenant_id = v_tenant_id and p.manager_id = remove_user.user_id;
    update identity.users as u
    set deleted_at = now(), external_id = null
    where u.tenant_id = v_tenant_id and u.id = remove_user.user_id;
end
$$;

comment on function identity.remove_user(uuid) is
    'Deactivate a user for good: nobody finds them any more, and their address, name and external id can be given out
again. The row stays, with what is known of the person, for what refers to it; identity.erase_user() removes that too.
Raises ZI006 and ZI007.';

revoke all on function identity.remove_user(uuid) from public;
grant execute on function identity.remove_user(uuid) to enterprise_ai_gateway;


create or replace function identity.erase_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, and reads legal holds, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_email text := (
        select u.email from identity.users as u where u.tenant_id = v_tenant_id and u.id = erase_user.user_id);
    v_hold record;
begin
    select h.id, h.matter into v_hold
    from security.legal_holds as h
    where h.tenant_id = v_tenant_id
      and h.released_at is null
      and (exists (select from security.legal_hold_custodians as c
                   where c.tenant_id = h.tenant_id and c.hold_id = h.id and c.user_id = erase_user.user_id)
           or not exists (select from security.legal_hold_custodians as c
                          where c.tenant_id = h.tenant_id and c.hold_id = h.id))
    limit 1;
    if found then
        raise exception 'Legal hold % ("%") is in force; nothing was erased', v_hold.id, v_hold.matter
            using errcode = 'ZS001', hint = 'Release the hold first.';
    end if;

    perform identity._change_status(
        erase_user.user_id, 'deactivated', '{invited,active,locked,suspended,deactivated,removed}', 'erased');
    delete from identity.user_passwords as p where p.tenant_id = v_tenant_id and p.user_id = erase_user.user_id;
    delete from identity.mfa_factors as f where f.tenant_id = v_tenant_id and f.user_id = erase_user.user_id;
    delete from identity.mfa_recovery_codes as c where c.tenant_id = v_tenant_id and c.user_id = erase_user.user_id;
    delete from identity.one_time_tokens as t where t.tenant_id = v_tenant_id and t.user_id = erase_user.user_id;
    delete from identity.api_keys as k where k.tenant_id = v_tenant_id and k.user_id = erase_user.user_id;
    delete from identity.user_sessions as s where s.tenant_id = v_tenant_id and s.user_id = erase_user.user_id;
    delete from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = erase_user.user_id;
    delete from identity.group_members as m where m.tenant_id = v_tenant_id and m.user_id = erase_user.user_id;
    delete from identity.user_profiles as p where p.tenant_id = v_tenant_id and p.user_id = erase_user.user_id;
    update identity.user_profiles as p
    set manager_id = null
    where p.tenant_id = v_tenant_id and p.manager_id = erase_user.user_id;
    update identity.login_attempts as a
    set email = 'erased', ip_address = null, user_agent = null
    where a.tenant_id = v_tenant_id
      and (a.user_id = erase_user.user_id
           -- Such as a refused sign-in by a provider: it was nobody's yet, and has the address all the same.
           or a.user_id is null and lower(a.email) = lower(v_email));
    update identity.users as u
    set status = 'erased', deleted_at = now(), email = u.id || '@erased.invalid', email_verified_at = null,
        display_name = 'Erased user', external_id = null, user_name = null, last_login_at = null
    where u.tenant_id = v_tenant_id and u.id = erase_user.user_id;
end
$$;

comment on function identity.erase_user(uuid) is
    'Remove for good what this domain knows of a person; the row stays, without them, for what refers to it. Raises
ZI006 and ZI007, and ZS001 when a legal hold keeps the person''s data.';

revoke all on function identity.erase_user(uuid) from public;
grant execute on function identity.erase_user(uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/one_time_tokens.sql
create or replace function identity.issue_one_time_token(user_id uuid, purpose text, email text default null)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tokens, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_token text := identity._token('o', v_tenant_id, platform.random_bytes(32));
begin
    -- The last one sent is the one that works.
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id
      and t.user_id = issue_one_time_token.user_id
      and t.purpose = issue_one_time_token.purpose
      and t.used_at is null;

    insert into identity.one_time_tokens (tenant_id, token_hash, user_id, purpose, email, expires_at)
    values (v_tenant_id, identity._token_hash(v_token), issue_one_time_token.user_id, issue_one_time_token.purpose,
            issue_one_time_token.email,
            now() + case
                when issue_one_time_token.purpose = 'verify_email'
                    then make_interval(hours => identity._limit('security.email_verification_hours'))
                when issue_one_time_token.purpose = 'reset_password'
                    then make_interval(mins => identity._limit('security.password_reset_minutes'))
                else make_interval(days => identity._limit('security.invitation_days')) end);
    return v_token;
end
$$;

comment on function identity.issue_one_time_token(uuid, text, text) is
    'A token to send to a user of the context''s tenant: to verify_email (the address given), reset_password or invite.
It works once, for as long as the settings say, and takes the place of earlier ones.';

revoke all on function identity.issue_one_time_token(uuid, text, text) from public;
grant execute on function identity.issue_one_time_token(uuid, text, text) to enterprise_ai_gateway;


create or replace function identity.redeem_one_time_token(token text, purpose text, password_hash text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- the token is the proof; what it does is done for its bearer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_token(token, 'o');
    v_outer text := current_setting('enterprise_ai.context', true);
    v_token identity.one_time_tokens;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));

    -- One conditional update: of many who bring the same token at once, one finds it unused.
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id
      and t.token_hash = identity._token_hash(redeem_one_time_token.token)
      and t.purpose = redeem_one_time_token.purpose
      and t.used_at is null
      and t.expires_at > clock_timestamp()
    returning t.* into v_token;
    if not found then
        raise exception 'The token does not work'
            using errcode = 'ZI008', hint = 'It was used, has expired, or is for something else; ask for another.';
    end if;

    if v_token.purpose = 'verify_email' then
        perform identity._refuse_inactive(v_tenant_id, v_token.user_id);
        update identity.users as u
        set email = v_token.email, email_verified_at = clock_timestamp()
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
    elsif v_token.purpose = 'reset_password' then
        perform identity._refuse_inactive(v_tenant_id, v_token.user_id);
        perform identity._set_password(v_token.user_id, redeem_one_time_token.password_hash, false);
        -- Whoever was in with the old one is out; a lock-out is over for who reads the person's mail.
        perform identity.revoke_sessions_of(v_token.user_id, 'password reset');
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active',
            email_verified_at = coalesce(u.email_verified_at, clock_timestamp())
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
    else
        perform identity._refuse_inactive(v_tenant_id, null);
        perform identity._change_status(v_token.user_id, 'active', '{invited}', 'activated');
        update identity.users as u
        set email_verified_at = clock_timestamp()
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
        if redeem_one_time_token.password_hash is not null then
            perform identity._set_password(v_token.user_id, redeem_one_time_token.password_hash, false);
        end if;
    end if;

    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    return v_token.user_id;
end
$$;

comment on function identity.redeem_one_time_token(text, text, text) is
    'Do what a token was sent for: verify the address, set the password, accept the invitation; returns the user. The
caller''s context stays as it was. Raises ZI008 when the token does not work; then nothing has changed.';

revoke all on function identity.redeem_one_time_token(text, text, text) from public;
grant execute on function identity.redeem_one_time_token(text, text, text)
    to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/people.sql
create or replace function identity.create_user(
    email text,
    display_name text,
    external_id text default null,
    user_name text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.users (tenant_id, id, email, display_name, external_id, user_name, status)
    values (platform.current_tenant_id(), v_id, create_user.email, create_user.display_name, create_user.external_id,
            create_user.user_name, 'active');
    return v_id;
end
$$;

comment on function identity.create_user(text, text, text, text) is
    'Make a user in the context''s tenant who is active at once: a service account, or somebody whom the tenant''s
directory vouches for. Raises 23505 naming users_email_key, users_user_name_key or users_external_id_key when somebody
living has the address, the name or the external id.';

revoke all on function identity.create_user(text, text, text, text) from public;
grant execute on function identity.create_user(text, text, text, text) to enterprise_ai_gateway;


create or replace function identity.invite_user(email text, display_name text, external_id text default null)
    returns table (user_id uuid, token text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    user_id := platform.new_id();
    insert into identity.users (tenant_id, id, email, display_name, external_id)
    values (platform.current_tenant_id(), invite_user.user_id, invite_user.email, invite_user.display_name,
            invite_user.external_id);
    token := identity.issue_one_time_token(invite_user.user_id, 'invite');
    return next;
end
$$;

comment on function identity.invite_user(text, text, text) is
    'Make a user in the context''s tenant who becomes active by the token, which is to be sent to the address. Raises
23505 naming users_email_key when somebody living has the address.';

revoke all on function identity.invite_user(text, text, text) from public;
grant execute on function identity.invite_user(text, text, text) to enterprise_ai_gateway;


create or replace function identity.save_profile(user_id uuid, changes jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile identity.user_profiles;
    v_unknown text := (
        select string_agg(k.key, ', ')
        from jsonb_object_keys(changes) as k (key)
        where k.key not in ('given_name', 'family_name', 'job_title', 'department', 'manager_id', 'locale',
                            'time_zone', 'preferences'));
begin
    if v_unknown is not null then
        raise exception 'A profile has no %', v_unknown
            using errcode = 'ZI014', hint = 'The columns of identity.user_profiles but for its keys can be changed.';
    end if;
    insert into identity.user_profiles (tenant_id, user_id)
    values (platform.current_tenant_id(), save_profile.user_id)
    on conflict do nothing;
    select p.* into v_profile
    from identity.user_profiles as p
    where p.tenant_id = platform.current_tenant_id() and p.user_id = save_profile.user_id
    for no key update;
    v_profile := jsonb_populate_record(v_profile, changes);
    update identity.user_profiles as p
    set given_name = v_profile.given_name,
        family_name = v_profile.family_name,
        job_title = v_profile.job_title,
        department = v_profile.department,
        manager_id = v_profile.manager_id,
        locale = v_profile.locale,
        time_zone = v_profile.time_zone,
        preferences = v_profile.preferences
    where p.tenant_id = platform.current_tenant_id() and p.user_id = save_profile.user_id;
end
$$;

comment on function identity.save_profile(uuid, jsonb) is
    'Change what is named, as {"column": value, …}, in the profile of a user of the context''s tenant. Raises ZI014 for
what a profile does not have and ZI013 when somebody would be their own manager''s manager.';

revoke all on function identity.save_profile(uuid, jsonb) from public;
grant execute on function identity.save_profile(uuid, jsonb) to enterprise_ai_gateway;


create or replace function identity.save_my_preferences(preferences jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can, and here the user's own choices
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.user_profiles (tenant_id, user_id, preferences)
    values (platform.current_tenant_id(), platform.current_user_id(), save_my_preferences.preferences)
    on conflict (tenant_id, user_id) do update set preferences = excluded.preferences;
end
$$;

comment on function identity.save_my_preferences(jsonb) is 'Replace the current user''s own preferences.';

revoke all on function identity.save_my_preferences(jsonb) from public;
grant execute on function identity.save_my_preferences(jsonb) to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/groups.sql
create or replace function identity.create_group(display_name text, parent_id uuid default null, external_id text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.groups (tenant_id, id, parent_id, display_name, external_id)
    values (platform.current_tenant_id(), v_id, create_group.parent_id, create_group.display_name,
            create_group.external_id);
    return v_id;
end
$$;

comment on function identity.create_group(text, uuid, text) is
    'Make a group in the context''s tenant, within another where one is named; returns its id. Raises 23505 naming
groups_display_name_key when there is one of the name.';

revoke all on function identity.create_group(text, uuid, text) from public;
grant execute on function identity.create_group(text, uuid, text) to enterprise_ai_gateway;


create or replace function identity.move_group(group_id uuid, parent_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.groups as g
    set parent_id = move_group.parent_id
    where g.tenant_id = platform.current_tenant_id() and g.id = group_id;
    if not found then
        raise exception 'There is no group %', group_id
            using errcode = 'ZI015', hint = 'The tenant of the context has none of this id.';
    end if;
end
$$;

comment on function identity.move_group(uuid, uuid) is
    'Put a group within another, or within none. Raises ZI015 when there is no such group, ZI013 when the other lies
within it.';

revoke all on function identity.move_group(uuid, uuid) from public;
grant execute on function identity.move_group(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.delete_group(group_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from identity.groups as g
    where g.tenant_id = platform.current_tenant_id() and g.id = delete_group.group_id;
    if not found then
        raise exception 'There is no group %', delete_group.group_id
            using errcode = 'ZI015', hint = 'The tenant of the context has none of this id.';
    end if;
end
$$;

comment on function identity.delete_group(uuid) is
    'Delete a group with its memberships. Raises ZI015 when there is no such group, 23503 while others lie within it.';

revoke all on function identity.delete_group(uuid) from public;
grant execute on function identity.delete_group(uuid) to enterprise_ai_gateway;


create or replace function identity.add_group_member(group_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.group_members (tenant_id, group_id, user_id)
    values (platform.current_tenant_id(), add_group_member.group_id, add_group_member.user_id)
    on conflict do nothing;
    return found;
end
$$;

comment on function identity.add_group_member(uuid, uuid) is
    'Put a user into a group; false when they were in it. Raises 23503 when there is no such group or user.';

revoke all on function identity.add_group_member(uuid, uuid) from public;
grant execute on function identity.add_group_member(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.remove_group_member(group_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from identity.group_members as m
    where m.tenant_id = platform.current_tenant_id()
      and m.group_id = remove_group_member.group_id
      and m.user_id = remove_group_member.user_id;
    return found;
end
$$;

comment on function identity.remove_group_member(uuid, uuid) is 'Take a user out of a group; false when they were not in it.';

revoke all on function identity.remove_group_member(uuid, uuid) from public;
grant execute on function identity.remove_group_member(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.groups_of(user_id uuid)
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    return query
        with recursive of_user (id) as (
            select m.group_id
            from identity.group_members as m
            where m.tenant_id = v_tenant_id and m.user_id = groups_of.user_id
            union
            select g.parent_id
            from identity.groups as g
            join of_user on of_user.id = g.id
            where g.tenant_id = v_tenant_id and g.parent_id is not null)
        select of_user.id from of_user;
end
$$;

comment on function identity.groups_of(uuid) is
    'The groups that a user of the context''s tenant is in, and those that these lie within.';

revoke all on function identity.groups_of(uuid) from public;
grant execute on function identity.groups_of(uuid) to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

--- identity: the end of a tenant ---------------------------------------------------

create table identity.tenant_deletions (
    id           uuid        not null default platform.new_id(),
    tenant_id    uuid        not null,
    slug         text        not null,
    display_name text        not null,
    reason       text        not null,
    row_counts   jsonb       not null,
    started_by   text        not null default session_user,
    started_at   timestamptz not null default clock_timestamp(),
    finished_at  timestamptz,

    constraint tenant_deletions_pkey primary key (id),
    constraint tenant_deletions_tenant_id_key unique (tenant_id),
    constraint tenant_deletions_say_why check (reason ~ '\S'),
    constraint tenant_deletions_counts_are_an_object check (jsonb_typeof(row_counts) = 'object'),
    constraint tenant_deletions_end_after_they_start check (finished_at >= started_at)
);

comment on table identity.tenant_deletions is
    'One row for each tenant that is being deleted or has been: the receipt. It outlives the tenant, so it refers to
nothing.';
comment on column identity.tenant_deletions.row_counts is
    'How many rows the tenant had in each table when the deletion began, as {"schema.table": count, …}.';
comment on column identity.tenant_deletions.started_by is 'The login that began it.';

grant select on identity.tenant_deletions to enterprise_ai_operator, enterprise_ai_auditor;

-- >>> sql/identity/tenant_status.sql
create or replace function identity._change_tenant_status(tenant_id uuid, new_status text, from_statuses text[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_status text;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', _change_tenant_status.tenant_id));
    select t.status into v_status
    from identity.tenants as t
    where t.id = _change_tenant_status.tenant_id
    for no key update;
    if v_status is null or v_status <> all (from_statuses) then
        raise exception 'Tenant % %', _change_tenant_status.tenant_id,
            coalesce('is ' || v_status || ' and cannot become ' || new_status, 'does not exist')
            using errcode = 'ZI016', hint = 'That is possible from: ' || array_to_string(from_statuses, ', ') || '.';
    end if;
    update identity.tenants as t set status = new_status where t.id = _change_tenant_status.tenant_id;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity._change_tenant_status(uuid, text, text[]) is
    'Give a tenant another status, if it can come from the one it has. Raises ZI016.';

revoke all on function identity._change_tenant_status(uuid, text, text[]) from public;


create or replace function identity.suspend_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(suspend_tenant.tenant_id, 'suspended', '{active}');
end
$$;

comment on function identity.suspend_tenant(uuid) is
    'Keep everybody of a tenant out: no context opens for it. Sessions and keys work again once it is active. Raises
ZI016.';

revoke all on function identity.suspend_tenant(uuid) from public;
grant execute on function identity.suspend_tenant(uuid) to enterprise_ai_operator;


create or replace function identity.archive_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(archive_tenant.tenant_id, 'archived', '{active,suspended}');
end
$$;

comment on function identity.archive_tenant(uuid) is
    'Put a tenant away whose data is to be kept: no context opens for it. Raises ZI016.';

revoke all on function identity.archive_tenant(uuid) from public;
grant execute on function identity.archive_tenant(uuid) to enterprise_ai_operator;


create or replace function identity.reactivate_tenant(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_tenant_status(reactivate_tenant.tenant_id, 'active', '{suspended,archived}');
end
$$;

comment on function identity.reactivate_tenant(uuid) is 'Let a suspended or archived tenant work again. Raises ZI016.';

revoke all on function identity.reactivate_tenant(uuid) from public;
grant execute on function identity.reactivate_tenant(uuid) to enterprise_ai_operator;
-- <<<

-- >>> sql/identity/delete_tenant.sql
-- Deleting a tenant takes batches, each a transaction of its own, so that neither locks nor the log of the server
-- grow with the tenant and whatever breaks off goes on where it stopped:
--
--   select identity.begin_tenant_deletion('0198…', 'contract 17 ended');
--   select identity.delete_tenant_batch('0198…');        -- again and again, until it returns 0
--   select * from identity.tenant_deletions;             -- the receipt

create or replace function identity._tenant_tables()
    returns table (name regclass, key_columns text, deletes_at_once boolean)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    with recursive owned (oid) as (
        select c.oid
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relnamespace::regnamespace::name = any (platform.domains())
          and c.relkind in ('r', 'p')
          and not c.relispartition
          and c.oid not in ('identity.tenant_deletions'::regclass, 'identity.tenant_directory'::regclass)
    ),
    reference (referred, referring) as materialized (
        select distinct f.confrelid, f.conrelid
        from pg_constraint as f
        where f.contype = 'f' and f.conrelid <> f.confrelid
          and f.conrelid in (select o.oid from owned as o)
          and f.confrelid in (select o.oid from owned as o)
    ),
    -- How far a table is from those that refer to nothing. A circle of tables ends at the limit.
    height (oid, level) as (
        select o.oid, 0 from owned as o
        union
        select r.referring, h.level + 1
        from height as h
        join reference as r on r.referred = h.oid
        where h.level < 12
    )
    select o.oid::regclass,
           (select string_agg(quote_ident(a.attname), ', ' order by k.place)
            from pg_index as i
            cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
            join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = o.oid and i.indisprimary),
           -- Rows of which one holds another are deleted together, or the one that is held could come first.
           exists (select from pg_constraint as f
                   where f.conrelid = o.oid and f.confrelid = o.oid and f.contype = 'f' and f.confdeltype <> 'c')
    from owned as o
    join (select h.oid, max(h.level) as level from height as h group by h.oid) as highest on highest.oid = o.oid
    order by highest.level desc, o.oid::regclass::text;
$$;

comment on function identity._tenant_tables() is
    'The tables that hold rows of tenants, those first that refer to others.';

revoke all on function identity._tenant_tables() from public;


create or replace function identity._refuse_under_hold(tenant_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_hold record;
begin
    select h.id, h.matter into v_hold
    from security.legal_holds as h
    where h.tenant_id = _refuse_under_hold.tenant_id and h.released_at is null
    limit 1;
    if found then
        raise exception 'Legal hold % ("%") is in force; nothing more is deleted', v_hold.id, v_hold.matter
            using errcode = 'ZS001', hint = 'Release the hold first: set released_at, released_by and release_reason.';
    end if;
end
$$;

comment on function identity._refuse_under_hold(uuid) is 'Raise ZS001 while a legal hold of the tenant is in force.';

revoke all on function identity._refuse_under_hold(uuid) from public;


create or replace function identity.begin_tenant_deletion(tenant_id uuid, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants and reads legal holds, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_table record;
    v_rows bigint;
    v_counts jsonb := '{}';
begin
    perform identity._change_tenant_status(
        begin_tenant_deletion.tenant_id, 'deleting', '{active,suspended,archived}');
    perform platform._seal_context(jsonb_build_object('tenant_id', begin_tenant_deletion.tenant_id));
    perform identity._refuse_under_hold(begin_tenant_deletion.tenant_id);

    for v_table in select t.name from identity._tenant_tables() as t loop
        execute format('select count(*) from %s where tenant_id = $1', v_table.name)
            into v_rows using begin_tenant_deletion.tenant_id;
        if v_rows > 0 then
            v_counts := v_counts || jsonb_build_object(v_table.name::text, v_rows);
        end if;
    end loop;
    insert into identity.tenant_deletions (tenant_id, slug, display_name, reason, row_counts)
    select t.id, t.slug, t.display_name, begin_tenant_deletion.reason, v_counts
    from identity.tenants as t
    where t.id = begin_tenant_deletion.tenant_id;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.begin_tenant_deletion(uuid, text) is
    'Begin to delete a tenant: from now on no context opens for it, and the receipt counts its rows. Raises ZI016 when
there is no such tenant or it is being deleted, ZS001 while a legal hold is in force; then nothing has changed.';

revoke all on function identity.begin_tenant_deletion(uuid, text) from public;
grant execute on function identity.begin_tenant_deletion(uuid, text) to enterprise_ai_operator;


create or replace function identity.delete_tenant_batch(tenant_id uuid, batch_size integer default 5000)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes what no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    -- A batch of no rows would find none left, and delete all that the tenant's own row takes along at once.
    v_size bigint := greatest(batch_size, 1);
    v_table record;
    v_rows bigint;
    v_deleted bigint := 0;
begin
    perform from identity.tenant_deletions as d
    where d.tenant_id = delete_tenant_batch.tenant_id and d.finished_at is null
    for update;
    if not found then
        raise exception 'Tenant % is not being deleted', delete_tenant_batch.tenant_id
            using errcode = 'ZI017', hint = 'identity.begin_tenant_deletion() begins it; a finished one has a receipt.';
    end if;
    perform platform._seal_context(jsonb_build_object('tenant_id', delete_tenant_batch.tenant_id));
    perform identity._refuse_under_hold(delete_tenant_batch.tenant_id);

    for v_table in select * from identity._tenant_tables() loop
        begin
            execute format(
                'delete from %1$s where (%2$s) in (select %2$s from %1$s where tenant_id = $1 limit $2)',
                v_table.name, v_table.key_columns)
                using delete_tenant_batch.tenant_id,
                      case when not v_table.deletes_at_once then v_size - v_deleted end;
            get diagnostics v_rows = row_count;
            v_deleted := v_deleted + v_rows;
        exception
            -- Two tables that refer to each other: it is the other's turn first.
            when foreign_key_violation then null;
        end;
        exit when v_deleted >= v_size;
    end loop;

    if v_deleted = 0 then
        delete from identity.tenants as t where t.id = delete_tenant_batch.tenant_id;
        for v_table in select t.name from identity._tenant_tables() as t loop
            execute format('select count(*) from (select from %s where tenant_id = $1 limit 1) as one', v_table.name)
                into v_rows using delete_tenant_batch.tenant_id;
            if v_rows > 0 then
                raise exception 'Rows of tenant % are left in %', delete_tenant_batch.tenant_id, v_table.name
                    using errcode = 'ZI018', hint = 'Something still writes there; call again once it has ended.';
            end if;
        end loop;
        delete from identity.tenant_directory as d where d.tenant_id = delete_tenant_batch.tenant_id;
        update identity.tenant_deletions as d
        set finished_at = clock_timestamp()
        where d.tenant_id = delete_tenant_batch.tenant_id;
    end if;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    return v_deleted;
end
$$;

comment on function identity.delete_tenant_batch(uuid, integer) is
    'Delete some more rows of a tenant being deleted; returns how many, 0 when that was all: then the tenant is gone
and its receipt is finished. What other rows take along with them is not counted in a batch. Commit after each. Raises
ZI017 when the tenant is not being deleted, ZI018 when something still writes rows of it, ZS001 under a legal hold.';

revoke all on function identity.delete_tenant_batch(uuid, integer) from public;
grant execute on function identity.delete_tenant_batch(uuid, integer) to enterprise_ai_operator;
-- <<<

--- authz: resource types and permissions ------------------------------------------
-- What there is to protect and what can be done to it: catalogues that all tenants share.

create table authz.resource_types (
    name         text        not null,
    display_name text        not null,
    description  text        not null,
    parent_type  text,
    created_at   timestamptz not null default now(),

    constraint resource_types_pkey primary key (name),
    constraint resource_types_parent_type_fkey foreign key (parent_type)
        references authz.resource_types (name) on delete no action,
    constraint resource_types_name_is_a_word check (name ~ '^[a-z][a-z0-9_]{0,40}$'),
    constraint resource_types_are_not_their_own_parent check (parent_type <> name)
);

create index resource_types_parent_type_idx on authz.resource_types (parent_type);

comment on table authz.resource_types is 'One row for each kind of thing that rights can be given on.';
comment on column authz.resource_types.parent_type is
    'The type that resources of this one may lie within, besides their own; null for what lies within nothing else.';

grant select on authz.resource_types to enterprise_ai_app;
grant select, insert, update, delete on authz.resource_types to enterprise_ai_operator;

create table authz.permissions (
    id                           integer     not null,
    resource_type                text        not null,
    action                       text        not null,
    name                         text        not null generated always as (resource_type || '.' || action) stored,
    description                  text        not null,
    requires_approval            boolean     not null default false,
    delegable                    boolean     not null default true,
    minimum_authentication_level smallint    not null default 1,
    place                        integer     not null generated always as identity (minvalue 0 start with 0),
    created_at                   timestamptz not null default now(),

    constraint permissions_pkey primary key (id),
    constraint permissions_place_key unique (place),
    constraint permissions_resource_type_action_key unique (resource_type, action),
    constraint permissions_name_key unique (name),
    constraint permissions_resource_type_fkey foreign key (resource_type)
        references authz.resource_types (name) on delete no action,
    constraint permissions_id_is_positive check (id > 0),
    constraint permissions_action_is_a_word check (action ~ '^[a-z][a-z0-9_]{0,40}$'),
    constraint permissions_authentication_level_is_known check (minimum_authentication_level between 1 and 3)
) with (fillfactor = 10);     -- on few pages the planner would read all of it rather than look a name up, at each check

comment on table authz.permissions is 'One row for each action on a type of resource: what a role can carry.';
comment on column authz.permissions.id is
    'A number, the same in every installation.';
comment on column authz.permissions.name is
    'type.action, e.g. conversation.read: what applications ask for and scopes of API keys list.';
comment on column authz.permissions.requires_approval is
    'What one user grants of it counts only once another has approved it; what no user granted needs no approval.';
comment on column authz.permissions.delegable is 'Whoever has it may pass it on for a time.';
comment on column authz.permissions.minimum_authentication_level is
    'The NIST SP 800-63 level at which the user must have signed in to use it.';

comment on column authz.permissions.place is
    'Where the rights of a role speak of it (authz.role_rights); each installation has its own order.';

grant select on authz.permissions to enterprise_ai_app;
grant select, insert, update, delete on authz.permissions to enterprise_ai_operator;

--- authz: role templates -----------------------------------------------------------
-- The roles that every tenant starts with. authz.copy_role_templates() brings a tenant's copies in step.

create table authz.role_templates (
    name         text        not null,
    display_name text        not null,
    description  text        not null,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint role_templates_pkey primary key (name),
    constraint role_templates_name_is_a_word check (name ~ '^[a-z][a-z0-9_]{0,62}$')
);

comment on table authz.role_templates is 'One row for each role that every tenant is given.';

create trigger touch_updated_at before update on authz.role_templates
    for each row execute function platform.touch_updated_at();

grant select on authz.role_templates to enterprise_ai_app;
grant select, insert, update, delete on authz.role_templates to enterprise_ai_operator;

create table authz.role_template_permissions (
    role_name     text    not null,
    permission_id integer not null,
    only_own      boolean not null default false,
    inheritable   boolean not null default true,

    constraint role_template_permissions_pkey primary key (role_name, permission_id),
    constraint role_template_permissions_role_name_fkey foreign key (role_name)
        references authz.role_templates (name) on delete cascade,
    constraint role_template_permissions_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action
);

create index role_template_permissions_permission_id_idx on authz.role_template_permissions (permission_id);

comment on table authz.role_template_permissions is 'One row for each permission that a role template allows.';
comment on column authz.role_template_permissions.only_own is 'Only on resources that the user owns.';
comment on column authz.role_template_permissions.inheritable is
    'Roles that inherit from this one get it too; false stops it here.';

grant select on authz.role_template_permissions to enterprise_ai_app;
grant select, insert, update, delete on authz.role_template_permissions to enterprise_ai_operator;

create table authz.role_template_inheritance (
    role_name   text not null,
    parent_name text not null,

    constraint role_template_inheritance_pkey primary key (role_name, parent_name),
    constraint role_template_inheritance_role_name_fkey foreign key (role_name)
        references authz.role_templates (name) on delete cascade,
    constraint role_template_inheritance_parent_name_fkey foreign key (parent_name)
        references authz.role_templates (name) on delete cascade,
    constraint role_template_inheritance_not_from_itself check (role_name <> parent_name)
);

create index role_template_inheritance_parent_name_idx on authz.role_template_inheritance (parent_name);

comment on table authz.role_template_inheritance is
    'One row for each role template that has the permissions of another besides its own.';
comment on column authz.role_template_inheritance.parent_name is 'The template whose permissions are inherited.';

grant select on authz.role_template_inheritance to enterprise_ai_app;
grant select, insert, update, delete on authz.role_template_inheritance to enterprise_ai_operator;

--- authz: resources ----------------------------------------------------------------
-- Applications read the tables of a tenant's rights; they are written by functions that ask whether the
-- caller may give what is given. Whoever could insert a row here could make it their own.

create table authz.resources (
    tenant_id     uuid        not null,
    id            uuid        not null default platform.new_id(),
    resource_type text        not null,
    parent_id     uuid,
    ancestors     uuid[]      not null default '{}',
    inherits      boolean     not null default true,
    owner_id      uuid,
    display_name  text,
    attributes    jsonb       not null default '{}',
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),

    constraint resources_pkey primary key (tenant_id, id),
    constraint resources_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint resources_resource_type_fkey foreign key (resource_type)
        references authz.resource_types (name) on delete no action,
    constraint resources_parent_id_fkey foreign key (tenant_id, parent_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint resources_owner_id_fkey foreign key (tenant_id, owner_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint resources_are_not_their_own_parent check (parent_id <> id),
    constraint resources_ancestors_end_at_the_parent check (
        parent_id is not distinct from ancestors[cardinality(ancestors)]),
    constraint resources_lie_at_most_32_deep check (cardinality(ancestors) <= 32),
    constraint resources_attributes_are_an_object check (jsonb_typeof(attributes) = 'object')
);

create index resources_parent_id_idx on authz.resources (tenant_id, parent_id);
-- What somebody owns, of one type, newest last.
create index resources_owner_id_idx on authz.resources (tenant_id, owner_id, resource_type, id);
-- All of a type in a tenant, a page at a time; and the foreign key to the catalogue.
create index resources_resource_type_idx on authz.resources (resource_type, tenant_id, id);
-- What lies below a resource: a subtree that moves, or that a right is scoped to.
create index resources_ancestors_idx on authz.resources using gin (ancestors);

comment on table authz.resources is
    'One row for each thing that rights are given on by itself: a document, a conversation, a cost centre.';
comment on column authz.resources.id is 'The id that the thing has in its own domain''s table, where it has one.';
comment on column authz.resources.ancestors is
    'The resources that this one lies within, from the root to the parent; kept by a trigger.';
comment on column authz.resources.inherits is
    'False cuts off what is allowed on the ancestors; what is denied on them still holds.';
comment on column authz.resources.attributes is
    'What conditions may ask of the resource, as {"name": value, …}.';

-- >>> sql/authz/resource_tree.sql
-- A resource knows the way down to it (ancestors, the root first), so that a decision reads one row and
-- not a chain. It is kept in the transaction that places or moves the resource, which locks all that the
-- resource will lie below: none of it can be moved meanwhile, and a snapshot from before a move fails (40001).
-- A move has to see what others placed below the resource until the lock was had, so it needs new snapshots.

create or replace function authz._keep_ancestors()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_parent authz.resources;
    v_way uuid[];
    v_parent_type text;
begin
    if tg_op = 'UPDATE' and new.parent_id is distinct from old.parent_id
       and current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'Resource % cannot be moved in a % transaction', new.id,
            current_setting('transaction_isolation')
            using errcode = 'ZA005', hint = 'Move it in a read committed transaction; nothing has been changed.';
    end if;

    -- Row security compares a row's owner and tenant with one list of scopes: what is shared under such an id would
    -- show all that is theirs.
    if (tg_op = 'INSERT' or new.id <> old.id) and exists (
        select
        from authz.holders as h
        where h.tenant_id = new.tenant_id and h.holder_id = new.id
    ) then
        raise exception 'Resource % would have the id of a user, a group or the tenant', new.id
            using errcode = 'check_violation', schema = 'authz', table = 'resources',
                  hint = 'Leave the id to the database, or take the one of the row that the resource stands for.';
    end if;

    new.ancestors := '{}';
    if new.parent_id is null then
        return new;
    end if;

    -- Waiting for a lock may mean that the parent has been moved; then the new way is locked as well.
    loop
        select r.* into v_parent
        from authz.resources as r
        where r.tenant_id = new.tenant_id and r.id = new.parent_id;
        if not found then
            -- The foreign key alone would let a statement insert a child before its parent.
            raise exception 'There is no resource % for % to lie within', new.parent_id, new.id
                using errcode = 'foreign_key_violation', constraint = 'resources_parent_id_fkey',
                      schema = 'authz', table = 'resources', hint = 'Insert parents before what lies within them.';
        end if;
        exit when v_way = v_parent.ancestors || v_parent.id;
        v_way := v_parent.ancestors || v_parent.id;
        perform from authz.resources as r
        where r.tenant_id = new.tenant_id and r.id = any (v_way) and r.id <> new.id
        order by cardinality(r.ancestors)
        for share;
    end loop;

    select t.parent_type into v_parent_type
    from authz.resource_types as t
    where t.name = new.resource_type;
    if new.id = any (v_way) then
        raise exception 'Resource % cannot lie within itself', new.id
            using errcode = 'ZA003', hint = 'Its new parent ' || v_parent.id || ' is one of its descendants.';
    elsif v_parent.resource_type <> new.resource_type and v_parent.resource_type is distinct from v_parent_type then
        raise exception 'A % cannot lie within a %', new.resource_type, v_parent.resource_type
            using errcode = 'ZA004',
                  hint = 'A resource lies within one of its own type'
                         || coalesce(' or of type ' || v_parent_type, '') || '.';
    end if;
    new.ancestors := v_way;
    return new;
end
$$;

comment on function authz._keep_ancestors() is
    'Before-row trigger: ancestors is the way from the root to the parent. Raises ZA003 for a circle, ZA004 for a
parent of the wrong type, ZA005 for a move in a transaction that could not see all it has to move.';

revoke all on function authz._keep_ancestors() from public;


create or replace function authz._move_descendants()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    update authz.resources as r
    set ancestors = new.ancestors || r.ancestors[array_position(r.ancestors, new.id):]
    where r.tenant_id = new.tenant_id
      and r.ancestors @> array[new.id];
    return null;
end
$$;

comment on function authz._move_descendants() is
    'After-row trigger: what lies below a resource that has moved goes with it.';

revoke all on function authz._move_descendants() from public;
-- <<<

create trigger _100_keep_ancestors before insert or update of parent_id, resource_type on authz.resources
    for each row execute function authz._keep_ancestors();
create trigger _200_touch_updated_at before update on authz.resources
    for each row execute function platform.touch_updated_at();
create trigger _300_move_descendants after update of parent_id on authz.resources
    for each row when (new.ancestors is distinct from old.ancestors)
    execute function authz._move_descendants();

alter table authz.resources enable row level security;
alter table authz.resources force row level security;
create policy resources_of_my_tenant on authz.resources
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.resources to enterprise_ai_app;

--- authz: roles --------------------------------------------------------------------

create table authz.roles (
    tenant_id     uuid        not null,
    id            uuid        not null default platform.new_id(),
    name          text        not null,
    display_name  text        not null,
    description   text        not null default '',
    template_name text,
    for_everyone  boolean     not null default false,
    holders_limit integer,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),

    constraint roles_pkey primary key (tenant_id, id),
    constraint roles_name_key unique (tenant_id, name),
    constraint roles_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade,
    constraint roles_template_name_fkey foreign key (template_name)
        references authz.role_templates (name) on delete no action,
    constraint roles_name_is_a_word check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    constraint roles_display_name_is_not_blank check (display_name ~ '\S'),
    constraint roles_holders_limit_is_positive check (holders_limit > 0)
);

create index roles_template_name_idx on authz.roles (template_name);

comment on table authz.roles is
    'One row for each role in a tenant: those it has from a template, and those of its own making.';
comment on column authz.roles.template_name is
    'The template that the role is a copy of and is kept in step with; null for a role of the tenant''s own making.';
comment on column authz.roles.for_everyone is 'Every active user of the tenant holds it without being given it.';
comment on column authz.roles.holders_limit is 'How many users may hold it at a time; null for any number.';
comment on column authz.roles.updated_at is 'When the role, or what it inherits from, last changed.';

create trigger touch_updated_at before update on authz.roles
    for each row execute function platform.touch_updated_at();

alter table authz.roles enable row level security;
alter table authz.roles force row level security;
create policy roles_of_my_tenant on authz.roles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.roles to enterprise_ai_app;

create table authz.role_inheritance (
    tenant_id   uuid        not null,
    role_id     uuid        not null,
    parent_id   uuid        not null,
    valid_from  timestamptz,
    valid_until timestamptz,
    created_at  timestamptz not null default now(),

    constraint role_inheritance_pkey primary key (tenant_id, role_id, parent_id),
    constraint role_inheritance_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint role_inheritance_parent_id_fkey foreign key (tenant_id, parent_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint role_inheritance_not_from_itself check (role_id <> parent_id),
    constraint role_inheritance_ends_after_it_starts check (valid_until > valid_from)
);

-- The heirs of a role, who are derived anew when it changes.
create index role_inheritance_parent_id_idx on authz.role_inheritance (tenant_id, parent_id);

comment on table authz.role_inheritance is
    'One row for each role that has the permissions of another besides its own.';
comment on column authz.role_inheritance.parent_id is 'The role whose permissions are inherited.';

-- >>> sql/authz/role_graph.sql
-- Inheritance between roles has no circles, not even one that two sessions close together: whoever adds an
-- edge has taken their turn among all who change rights in the tenant, so they see all edges there are.

create or replace function authz._refuse_circles()
    returns trigger
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        with recursive above (id) as (
            select new.parent_id
            union
            select i.parent_id
            from above
            join authz.role_inheritance as i on i.tenant_id = new.tenant_id and i.role_id = above.id
        )
        select from above where above.id = new.role_id
    ) then
        raise exception 'Role % cannot inherit from role %, which inherits from it',
            (select r.name from authz.roles as r where r.tenant_id = new.tenant_id and r.id = new.role_id),
            (select r.name from authz.roles as r where r.tenant_id = new.tenant_id and r.id = new.parent_id)
            using errcode = 'ZA002', hint = 'Remove the inheritance the other way round first.';
    end if;
    return new;
end
$$;

comment on function authz._refuse_circles() is
    'Before-row trigger: no role comes to inherit from itself, not even at different times. Raises ZA002.';

revoke all on function authz._refuse_circles() from public;
-- <<<

create trigger _100_refuse_circles before insert or update of role_id, parent_id on authz.role_inheritance
    for each row execute function authz._refuse_circles();

alter table authz.role_inheritance enable row level security;
alter table authz.role_inheritance force row level security;
create policy role_inheritance_of_my_tenant on authz.role_inheritance
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.role_inheritance to enterprise_ai_app;

--- authz: what roles carry ---------------------------------------------------------
-- Six columns say when a grant counts; they mean the same wherever they stand (see "conditions" below).

create table authz.role_permissions (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    role_id                      uuid        not null,
    permission_id                integer     not null,
    effect                       text        not null default 'allow',
    resource_id                  uuid,
    only_own                     boolean     not null default false,
    inheritable                  boolean     not null default true,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    is_conditional               boolean     not null generated always as (
        num_nonnulls(condition, networks, minimum_authentication_level, windows, valid_from, valid_until) > 0) stored,
    created_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint role_permissions_pkey primary key (tenant_id, id),
    constraint role_permissions_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint role_permissions_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint role_permissions_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint role_permissions_effect_is_known check (effect in ('allow', 'deny')),
    constraint role_permissions_condition_is_strict check (condition::text like 'strict %'),
    constraint role_permissions_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint role_permissions_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint role_permissions_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint role_permissions_end_after_they_start check (valid_until > valid_from)
);

-- The same thing is said once; with conditions it can be said in several ways, of which any is enough.
create unique index role_permissions_plain_key on authz.role_permissions
    (tenant_id, role_id, permission_id, effect, coalesce(resource_id, tenant_id), only_own)
    where not is_conditional;
create index role_permissions_role_id_idx on authz.role_permissions (tenant_id, role_id, permission_id);
-- Which roles carry a permission; and the foreign key to the catalogue.
create index role_permissions_permission_id_idx on authz.role_permissions (permission_id, tenant_id);
create index role_permissions_resource_id_idx on authz.role_permissions (tenant_id, resource_id);

comment on table authz.role_permissions is 'One row for each permission that a role allows or denies its holders.';
comment on column authz.role_permissions.resource_id is
    'On this resource and what lies below it; null for all resources of the type.';
comment on column authz.role_permissions.only_own is 'Only on resources that the user owns.';
comment on column authz.role_permissions.inheritable is
    'Roles that inherit from this one get it too; false stops it here.';

create trigger touch_updated_at before update on authz.role_permissions
    for each row execute function platform.touch_updated_at();

alter table authz.role_permissions enable row level security;
alter table authz.role_permissions force row level security;
create policy role_permissions_of_my_tenant on authz.role_permissions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.role_permissions to enterprise_ai_app;

-- >>> sql/authz/copy_role_templates.sql
create or replace function authz.copy_role_templates()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    if v_tenant_id is null then
        raise exception 'Roles are copied into the tenant of the context, and there is no context'
            using errcode = 'ZA001', hint = 'Open the context of the tenant first.';
    end if;

    insert into authz.roles as r (tenant_id, name, display_name, description, template_name)
    select v_tenant_id, t.name, t.display_name, t.description, t.name
    from authz.role_templates as t
    on conflict (tenant_id, name) do update
        set display_name = excluded.display_name,
            description = excluded.description
        -- A role that the tenant made under that name stays the tenant's.
        where r.template_name = excluded.template_name
          and (r.display_name, r.description) is distinct from (excluded.display_name, excluded.description);

    delete from authz.role_permissions as p
    using authz.roles as r
    where r.tenant_id = v_tenant_id and r.template_name is not null
      and p.tenant_id = v_tenant_id and p.role_id = r.id
      and not exists (
          select from authz.role_template_permissions as t
          where t.role_name = r.template_name
            and (t.permission_id, t.only_own, t.inheritable) = (p.permission_id, p.only_own, p.inheritable)
            and p.effect = 'allow' and p.resource_id is null and not p.is_conditional);

    insert into authz.role_permissions (tenant_id, role_id, permission_id, only_own, inheritable)
    select v_tenant_id, r.id, t.permission_id, t.only_own, t.inheritable
    from authz.role_template_permissions as t
    join authz.roles as r on r.tenant_id = v_tenant_id and r.template_name = t.role_name
    on conflict do nothing;

    delete from authz.role_inheritance as i
    using authz.roles as heir
    where heir.tenant_id = v_tenant_id and heir.template_name is not null
      and i.tenant_id = v_tenant_id and i.role_id = heir.id
      and not exists (
          select
          from authz.role_template_inheritance as t
          join authz.roles as parent on parent.tenant_id = v_tenant_id and parent.template_name = t.parent_name
          where t.role_name = heir.template_name
            and parent.id = i.parent_id and i.valid_from is null and i.valid_until is null);

    insert into authz.role_inheritance (tenant_id, role_id, parent_id)
    select v_tenant_id, heir.id, parent.id
    from authz.role_template_inheritance as t
    join authz.roles as heir on heir.tenant_id = v_tenant_id and heir.template_name = t.role_name
    join authz.roles as parent on parent.tenant_id = v_tenant_id and parent.template_name = t.parent_name
    on conflict do nothing;
end
$$;

comment on function authz.copy_role_templates() is
    'Bring the roles that the tenant of the context has from templates in step with them: what is missing is
added, what the templates do not say is taken away. Roles of the tenant''s own making and who holds which
role stay as they are. Raises ZA001 without a context.';

revoke all on function authz.copy_role_templates() from public;
-- <<<

--- authz: who holds which role -----------------------------------------------------
-- An assignment is a fact, not a flag: revoking deletes the row, and the audit log keeps what it said.

create table authz.user_roles (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    user_id                      uuid        not null,
    role_id                      uuid        not null,
    resource_id                  uuid,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    is_conditional               boolean     not null generated always as (
        num_nonnulls(condition, networks, minimum_authentication_level, windows, valid_from, valid_until) > 0) stored,
    source                       text        not null default 'manual',
    source_id                    uuid,
    approved_by                  uuid,
    approved_at                  timestamptz,
    granted_by                   uuid,
    granted_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint user_roles_pkey primary key (tenant_id, id),
    constraint user_roles_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_roles_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint user_roles_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint user_roles_source_is_known check (source in ('manual', 'sso', 'scim', 'rule')),
    constraint user_roles_automatic_ones_name_their_source check (
        (source = 'manual') = (source_id is null)),
    constraint user_roles_approvals_are_whole check ((approved_by is null) = (approved_at is null)),
    constraint user_roles_are_approved_by_another check (approved_by <> granted_by),
    constraint user_roles_condition_is_strict check (condition::text like 'strict %'),
    constraint user_roles_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint user_roles_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint user_roles_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint user_roles_end_after_they_start check (valid_until > valid_from)
);

create unique index user_roles_plain_key on authz.user_roles
    (tenant_id, user_id, role_id, coalesce(resource_id, tenant_id), source, coalesce(source_id, tenant_id))
    where not is_conditional;
-- What somebody holds: asked at every decision.
create index user_roles_user_id_idx on authz.user_roles (tenant_id, user_id, role_id);
-- Who holds a role, a page at a time.
create index user_roles_role_id_idx on authz.user_roles (tenant_id, role_id, user_id);
create index user_roles_resource_id_idx on authz.user_roles (tenant_id, resource_id);
-- What single sign-on, provisioning or a rule gave, to withdraw when its reason goes.
create index user_roles_source_id_idx on authz.user_roles (tenant_id, source_id) where source_id is not null;
-- What has ended, to sweep, or is about to, to remind of.
create index user_roles_valid_until_idx on authz.user_roles (tenant_id, valid_until) where valid_until is not null;

comment on table authz.user_roles is 'One row for each role that a user has been given.';
comment on column authz.user_roles.resource_id is
    'Only on this resource and what lies below it; null for the whole tenant.';
comment on column authz.user_roles.source_id is
    'The single sign-on or provisioning provider, or the rule, that gave the role and will take it back.';
comment on column authz.user_roles.granted_by is
    'The user who gave the role, without a foreign key: the fact outlives the account.';
comment on column authz.user_roles.approved_by is
    'Who agreed to it, where the role carries a permission that requires approval.';

create trigger touch_updated_at before update on authz.user_roles
    for each row execute function platform.touch_updated_at();

alter table authz.user_roles enable row level security;
alter table authz.user_roles force row level security;
create policy user_roles_of_my_tenant on authz.user_roles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.user_roles to enterprise_ai_app;

create table authz.group_roles (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    group_id                     uuid        not null,
    role_id                      uuid        not null,
    resource_id                  uuid,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    is_conditional               boolean     not null generated always as (
        num_nonnulls(condition, networks, minimum_authentication_level, windows, valid_from, valid_until) > 0) stored,
    approved_by                  uuid,
    approved_at                  timestamptz,
    granted_by                   uuid,
    granted_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint group_roles_pkey primary key (tenant_id, id),
    constraint group_roles_group_id_fkey foreign key (tenant_id, group_id)
        references identity.groups (tenant_id, id) on delete cascade,
    constraint group_roles_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint group_roles_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint group_roles_approvals_are_whole check ((approved_by is null) = (approved_at is null)),
    constraint group_roles_are_approved_by_another check (approved_by <> granted_by),
    constraint group_roles_condition_is_strict check (condition::text like 'strict %'),
    constraint group_roles_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint group_roles_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint group_roles_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint group_roles_end_after_they_start check (valid_until > valid_from)
);

create unique index group_roles_plain_key on authz.group_roles
    (tenant_id, group_id, role_id, coalesce(resource_id, tenant_id))
    where not is_conditional;
-- What the groups of somebody hold: asked at every decision.
create index group_roles_group_id_idx on authz.group_roles (tenant_id, group_id, role_id);
create index group_roles_role_id_idx on authz.group_roles (tenant_id, role_id, group_id);
create index group_roles_resource_id_idx on authz.group_roles (tenant_id, resource_id);

comment on table authz.group_roles is
    'One row for each role that a group has been given, for all its members and those of the groups within it.';
comment on column authz.group_roles.resource_id is
    'Only on this resource and what lies below it; null for the whole tenant.';
comment on column authz.group_roles.granted_by is
    'The user who gave the role, without a foreign key: the fact outlives the account.';
comment on column authz.group_roles.approved_by is
    'Who agreed to it, where the role carries a permission that requires approval.';

create trigger touch_updated_at before update on authz.group_roles
    for each row execute function platform.touch_updated_at();

alter table authz.group_roles enable row level security;
alter table authz.group_roles force row level security;
create policy group_roles_of_my_tenant on authz.group_roles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.group_roles to enterprise_ai_app;

--- authz: direct grants ------------------------------------------------------------
-- Beside the roles: somebody is given, or denied, one thing. Sharing a document is a row here.

create table authz.user_permissions (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    user_id                      uuid        not null,
    permission_id                integer     not null,
    effect                       text        not null default 'allow',
    resource_id                  uuid,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    is_conditional               boolean     not null generated always as (
        num_nonnulls(condition, networks, minimum_authentication_level, windows, valid_from, valid_until) > 0) stored,
    approved_by                  uuid,
    approved_at                  timestamptz,
    granted_by                   uuid,
    granted_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint user_permissions_pkey primary key (tenant_id, id),
    constraint user_permissions_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint user_permissions_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint user_permissions_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint user_permissions_effect_is_known check (effect in ('allow', 'deny')),
    constraint user_permissions_approvals_are_whole check ((approved_by is null) = (approved_at is null)),
    constraint user_permissions_are_approved_by_another check (approved_by <> granted_by),
    constraint user_permissions_condition_is_strict check (condition::text like 'strict %'),
    constraint user_permissions_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint user_permissions_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint user_permissions_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint user_permissions_end_after_they_start check (valid_until > valid_from)
);

create unique index user_permissions_plain_key on authz.user_permissions
    (tenant_id, user_id, permission_id, effect, coalesce(resource_id, tenant_id))
    where not is_conditional;
-- By the place too: those who share much have thousands.
create index user_permissions_user_id_idx on authz.user_permissions
    (tenant_id, user_id, permission_id, coalesce(resource_id, tenant_id));
-- Who has a permission; and the foreign key to the catalogue.
create index user_permissions_permission_id_idx on authz.user_permissions (permission_id, tenant_id);
-- With whom a resource is shared.
create index user_permissions_resource_id_idx on authz.user_permissions (tenant_id, resource_id);

comment on table authz.user_permissions is
    'One row for each permission allowed or denied to a user directly.';
comment on column authz.user_permissions.resource_id is
    'On this resource and what lies below it; null for all resources of the type.';
comment on column authz.user_permissions.granted_by is
    'The user who said so, without a foreign key: the fact outlives the account.';
comment on column authz.user_permissions.approved_by is
    'Who agreed to it, where the permission requires approval.';

create trigger touch_updated_at before update on authz.user_permissions
    for each row execute function platform.touch_updated_at();

alter table authz.user_permissions enable row level security;
alter table authz.user_permissions force row level security;
create policy user_permissions_of_my_tenant on authz.user_permissions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.user_permissions to enterprise_ai_app;

create table authz.group_permissions (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    group_id                     uuid        not null,
    permission_id                integer     not null,
    effect                       text        not null default 'allow',
    resource_id                  uuid,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    is_conditional               boolean     not null generated always as (
        num_nonnulls(condition, networks, minimum_authentication_level, windows, valid_from, valid_until) > 0) stored,
    approved_by                  uuid,
    approved_at                  timestamptz,
    granted_by                   uuid,
    granted_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint group_permissions_pkey primary key (tenant_id, id),
    constraint group_permissions_group_id_fkey foreign key (tenant_id, group_id)
        references identity.groups (tenant_id, id) on delete cascade,
    constraint group_permissions_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint group_permissions_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint group_permissions_effect_is_known check (effect in ('allow', 'deny')),
    constraint group_permissions_approvals_are_whole check ((approved_by is null) = (approved_at is null)),
    constraint group_permissions_are_approved_by_another check (approved_by <> granted_by),
    constraint group_permissions_condition_is_strict check (condition::text like 'strict %'),
    constraint group_permissions_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint group_permissions_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint group_permissions_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint group_permissions_end_after_they_start check (valid_until > valid_from)
);

create unique index group_permissions_plain_key on authz.group_permissions
    (tenant_id, group_id, permission_id, effect, coalesce(resource_id, tenant_id))
    where not is_conditional;
-- By the place too: those who share much have thousands.
create index group_permissions_group_id_idx on authz.group_permissions
    (tenant_id, group_id, permission_id, coalesce(resource_id, tenant_id));
-- Who has a permission; and the foreign key to the catalogue.
create index group_permissions_permission_id_idx on authz.group_permissions (permission_id, tenant_id);
-- With whom a resource is shared.
create index group_permissions_resource_id_idx on authz.group_permissions (tenant_id, resource_id);

comment on table authz.group_permissions is
    'One row for each permission allowed or denied to a group directly, that is to each of its members.';
comment on column authz.group_permissions.resource_id is
    'On this resource and what lies below it; null for all resources of the type.';
comment on column authz.group_permissions.granted_by is
    'The user who said so, without a foreign key: the fact outlives the account.';
comment on column authz.group_permissions.approved_by is
    'Who agreed to it, where the permission requires approval.';

create trigger touch_updated_at before update on authz.group_permissions
    for each row execute function platform.touch_updated_at();

alter table authz.group_permissions enable row level security;
alter table authz.group_permissions force row level security;
create policy group_permissions_of_my_tenant on authz.group_permissions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.group_permissions to enterprise_ai_app;

--- authz: delegation and acting on behalf -------------------------------------------
-- A delegate gains what the delegator has now; an actor on behalf of a user acts with that user's rights.

create table authz.delegations (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    delegator_id                 uuid        not null,
    delegate_id                  uuid        not null,
    parent_id                    uuid,
    depth                        smallint    not null default 1,
    role_id                      uuid,
    permission_id                integer,
    resource_id                  uuid,
    may_redelegate               boolean     not null default false,
    reason                       text,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz not null default now(),
    valid_until                  timestamptz not null,
    created_at                   timestamptz not null default now(),

    constraint delegations_pkey primary key (tenant_id, id),
    constraint delegations_delegator_id_fkey foreign key (tenant_id, delegator_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint delegations_delegate_id_fkey foreign key (tenant_id, delegate_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint delegations_parent_id_fkey foreign key (tenant_id, parent_id)
        references authz.delegations (tenant_id, id) on delete cascade,
    constraint delegations_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint delegations_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint delegations_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint delegations_are_to_somebody_else check (delegate_id <> delegator_id),
    constraint delegations_pass_on_a_role_or_a_permission check (num_nonnulls(role_id, permission_id) = 1),
    constraint delegations_depth_counts_the_links check (
        depth between 1 and 8 and (depth = 1) = (parent_id is null)),
    constraint delegations_are_not_their_own_parent check (parent_id <> id),
    constraint delegations_condition_is_strict check (condition::text like 'strict %'),
    constraint delegations_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint delegations_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint delegations_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint delegations_end_after_they_start check (valid_until > valid_from)
);

-- What has been passed on to somebody: asked at every decision.
create index delegations_delegate_id_idx on authz.delegations (tenant_id, delegate_id, permission_id);
create index delegations_delegator_id_idx on authz.delegations (tenant_id, delegator_id);
create index delegations_parent_id_idx on authz.delegations (tenant_id, parent_id);
create index delegations_role_id_idx on authz.delegations (tenant_id, role_id);
create index delegations_permission_id_idx on authz.delegations (permission_id, tenant_id);
create index delegations_resource_id_idx on authz.delegations (tenant_id, resource_id);

comment on table authz.delegations is
    'One row for each role or permission that a user has passed on for a time; revoking it deletes what was
passed on further too.';
comment on column authz.delegations.parent_id is 'The delegation by which the delegator has it; null when by their own rights.';
comment on column authz.delegations.depth is 'Which link of the chain this is, from 1.';
comment on column authz.delegations.resource_id is
    'Only on this resource and what lies below it; null wherever the delegator has it.';
comment on column authz.delegations.may_redelegate is 'The delegate may pass it on in turn.';

alter table authz.delegations enable row level security;
alter table authz.delegations force row level security;
create policy delegations_of_my_tenant on authz.delegations
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.delegations to enterprise_ai_app;

create table authz.proxy_grants (
    tenant_id                    uuid        not null,
    id                           uuid        not null default platform.new_id(),
    user_id                      uuid        not null,
    actor_id                     uuid        not null,
    permission_id                integer,
    all_permissions              boolean     not null default false,
    resource_id                  uuid,
    reason                       text,
    condition                    jsonpath,
    networks                     cidr[],
    minimum_authentication_level smallint,
    windows                      jsonb,
    valid_from                   timestamptz,
    valid_until                  timestamptz,
    granted_by                   uuid,
    granted_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    constraint proxy_grants_pkey primary key (tenant_id, id),
    constraint proxy_grants_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint proxy_grants_actor_id_fkey foreign key (tenant_id, actor_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint proxy_grants_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint proxy_grants_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint proxy_grants_are_to_somebody_else check (actor_id <> user_id),
    constraint proxy_grants_name_a_permission_or_all check (all_permissions = (permission_id is null)),
    constraint proxy_grants_condition_is_strict check (condition::text like 'strict %'),
    constraint proxy_grants_networks_are_listed check (
        cardinality(networks) > 0 and array_position(networks, null) is null),
    constraint proxy_grants_authentication_level_is_known check (
        minimum_authentication_level between 1 and 3),
    constraint proxy_grants_windows_are_a_list check (jsonb_typeof(windows) = 'array' and windows <> '[]'),
    constraint proxy_grants_end_after_they_start check (valid_until > valid_from)
);

-- For whom somebody may act: asked whenever the actor is not the user.
create index proxy_grants_actor_id_idx on authz.proxy_grants (tenant_id, actor_id, user_id);
create index proxy_grants_user_id_idx on authz.proxy_grants (tenant_id, user_id);
create index proxy_grants_permission_id_idx on authz.proxy_grants (permission_id, tenant_id);
create index proxy_grants_resource_id_idx on authz.proxy_grants (tenant_id, resource_id);

comment on table authz.proxy_grants is
    'One row for each thing that somebody may do on behalf of another, with that user''s rights.';
comment on column authz.proxy_grants.user_id is 'On whose behalf.';
comment on column authz.proxy_grants.actor_id is 'Who may act.';
comment on column authz.proxy_grants.all_permissions is 'Whatever the user may do; said aloud, never by leaving the permission out.';
comment on column authz.proxy_grants.resource_id is
    'Only on this resource and what lies below it; null wherever the user may.';
comment on column authz.proxy_grants.granted_by is
    'The user who said so, without a foreign key: the fact outlives the account.';

create trigger touch_updated_at before update on authz.proxy_grants
    for each row execute function platform.touch_updated_at();

alter table authz.proxy_grants enable row level security;
alter table authz.proxy_grants force row level security;
create policy proxy_grants_of_my_tenant on authz.proxy_grants
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.proxy_grants to enterprise_ai_app;

--- authz: conditions ---------------------------------------------------------------

do $do$
declare
    v_table text;
begin
    foreach v_table in array array['role_permissions', 'user_roles', 'group_roles', 'user_permissions',
                                   'group_permissions', 'delegations', 'proxy_grants'] loop
        execute format($sql$
            comment on column authz.%1$I.condition is
                'A predicate in SQL/JSON path, strict, over {"subject": {…}, "resource": {…}, "env": {…}}; what it cannot decide is denied.';
            comment on column authz.%1$I.networks is
                'The request comes from one of these networks; null from anywhere.';
            comment on column authz.%1$I.minimum_authentication_level is
                'The user signed in at this NIST SP 800-63 level or above; null at any.';
            comment on column authz.%1$I.windows is
                'Recurring times by the clock of their zone, as [{"days": [1 to 7, Monday is 1], "from": "09:00", "until": "17:00", "time_zone": "Europe/Paris", "except": ["2026-12-25"]}, …], half-open; until before from means overnight.';
            comment on column authz.%1$I.valid_from is 'The first moment at which it counts; null since ever.';
            comment on column authz.%1$I.valid_until is 'The first moment at which it no longer counts; null without end.';
        $sql$, v_table);
    end loop;
end
$do$;

--- authz: separation of duties -------------------------------------------------------

create table authz.access_policies (
    tenant_id    uuid        not null,
    id           uuid        not null default platform.new_id(),
    name         text        not null,
    description  text        not null default '',
    kind         text        not null,
    maximum_held smallint    not null default 1,
    counted_per  text,
    enforcement  text        not null default 'refuse',
    is_enabled   boolean     not null default true,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint access_policies_pkey primary key (tenant_id, id),
    constraint access_policies_name_key unique (tenant_id, name),
    constraint access_policies_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint access_policies_name_is_not_blank check (name ~ '\S'),
    constraint access_policies_kind_is_known check (kind in ('static', 'dynamic')),
    constraint access_policies_dynamic_ones_count_per_something check (
        (kind = 'dynamic') = (counted_per is not null)),
    constraint access_policies_counted_per_is_known check (counted_per in ('resource', 'session')),
    constraint access_policies_maximum_held_is_positive check (maximum_held > 0),
    constraint access_policies_enforcement_is_known check (enforcement in ('refuse', 'report'))
);

comment on table authz.access_policies is
    'One row for each rule that keeps duties apart: of some roles and permissions nobody may have too many.';
comment on column authz.access_policies.kind is
    'static: nobody may be given more than maximum_held of them; dynamic: nobody may use more.';
comment on column authz.access_policies.counted_per is
    'dynamic: what is used is counted on each resource, with all it lies within, or in each session.';
comment on column authz.access_policies.enforcement is 'refuse what breaks the rule, or only report it.';

create trigger touch_updated_at before update on authz.access_policies
    for each row execute function platform.touch_updated_at();

alter table authz.access_policies enable row level security;
alter table authz.access_policies force row level security;
create policy access_policies_of_my_tenant on authz.access_policies
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.access_policies to enterprise_ai_app;

create table authz.access_policy_roles (
    tenant_id uuid not null,
    policy_id uuid not null,
    role_id   uuid not null,

    constraint access_policy_roles_pkey primary key (tenant_id, policy_id, role_id),
    constraint access_policy_roles_policy_id_fkey foreign key (tenant_id, policy_id)
        references authz.access_policies (tenant_id, id) on delete cascade,
    constraint access_policy_roles_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade
);

-- The rules that giving a role has to obey.
create index access_policy_roles_role_id_idx on authz.access_policy_roles (tenant_id, role_id);

comment on table authz.access_policy_roles is 'One row for each role that a static separation of duties counts.';

alter table authz.access_policy_roles enable row level security;
alter table authz.access_policy_roles force row level security;
create policy access_policy_roles_of_my_tenant on authz.access_policy_roles
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.access_policy_roles to enterprise_ai_app;

create table authz.access_policy_permissions (
    tenant_id     uuid    not null,
    policy_id     uuid    not null,
    permission_id integer not null,

    constraint access_policy_permissions_pkey primary key (tenant_id, policy_id, permission_id),
    constraint access_policy_permissions_policy_id_fkey foreign key (tenant_id, policy_id)
        references authz.access_policies (tenant_id, id) on delete cascade,
    constraint access_policy_permissions_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action
);

-- The rules that giving a permission has to obey; and the foreign key to the catalogue.
create index access_policy_permissions_permission_id_idx
    on authz.access_policy_permissions (permission_id, tenant_id);

comment on table authz.access_policy_permissions is 'One row for each permission that a separation of duties counts.';

alter table authz.access_policy_permissions enable row level security;
alter table authz.access_policy_permissions force row level security;
create policy access_policy_permissions_of_my_tenant on authz.access_policy_permissions
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.access_policy_permissions to enterprise_ai_app;

create table authz.duty_acts (
    tenant_id     uuid        not null,
    id            uuid        not null default platform.new_id(),
    policy_id     uuid        not null,
    person_id     uuid        not null,
    permission_id integer     not null,
    resource_id   uuid,
    session_id    uuid,
    acted_at      timestamptz not null default now(),

    constraint duty_acts_pkey primary key (tenant_id, id),
    constraint duty_acts_policy_id_fkey foreign key (tenant_id, policy_id)
        references authz.access_policies (tenant_id, id) on delete cascade,
    constraint duty_acts_permission_id_fkey foreign key (permission_id)
        references authz.permissions (id) on delete no action,
    constraint duty_acts_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint duty_acts_session_id_fkey foreign key (tenant_id, session_id)
        references identity.user_sessions (tenant_id, id) on delete cascade,
    constraint duty_acts_are_on_a_resource_or_in_a_session check (num_nonnulls(resource_id, session_id) = 1)
);

-- What somebody has done that a policy counts: asked when a permission that it counts is; each is recorded once.
create unique index duty_acts_person_id_key on authz.duty_acts
    (tenant_id, policy_id, person_id, permission_id, coalesce(resource_id, session_id));
create index duty_acts_permission_id_idx on authz.duty_acts (permission_id, tenant_id);
create index duty_acts_resource_id_idx on authz.duty_acts (tenant_id, resource_id);
create index duty_acts_session_id_idx on authz.duty_acts (tenant_id, session_id);

comment on table authz.duty_acts is
    'One row for each permission that somebody has used and a dynamic separation of duties counts.';
comment on column authz.duty_acts.person_id is
    'The user whose right it was, or who acted on their behalf, without a foreign key: the fact outlives the account.';

alter table authz.duty_acts enable row level security;
alter table authz.duty_acts force row level security;
create policy duty_acts_of_my_tenant on authz.duty_acts
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.duty_acts to enterprise_ai_app;

--- authz: access reviews -----------------------------------------------------------

create table authz.access_reviews (
    tenant_id   uuid        not null,
    id          uuid        not null default platform.new_id(),
    name        text        not null,
    scope       jsonb       not null default '{}',
    reviewers   text        not null default 'named',
    reviewer_id uuid        not null,
    auto_revoke boolean     not null default false,
    status      text        not null default 'open',
    opened_at   timestamptz not null default now(),
    due_at      timestamptz not null,
    closed_at   timestamptz,
    created_by  uuid,
    updated_at  timestamptz not null default now(),

    constraint access_reviews_pkey primary key (tenant_id, id),
    constraint access_reviews_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint access_reviews_reviewer_id_fkey foreign key (tenant_id, reviewer_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint access_reviews_name_is_not_blank check (name ~ '\S'),
    constraint access_reviews_scope_is_an_object check (jsonb_typeof(scope) = 'object'),
    constraint access_reviews_reviewers_are_known check (reviewers in ('named', 'manager', 'owner')),
    constraint access_reviews_status_is_known check (status in ('open', 'closed', 'cancelled')),
    constraint access_reviews_closed_ones_say_when check ((closed_at is null) = (status = 'open')),
    constraint access_reviews_are_due_after_they_open check (due_at > opened_at)
);

create index access_reviews_reviewer_id_idx on authz.access_reviews (tenant_id, reviewer_id);
-- The campaigns that are running, the most urgent first.
create index access_reviews_due_at_idx on authz.access_reviews (tenant_id, due_at) where status = 'open';

comment on table authz.access_reviews is
    'One row for each campaign in which reviewers confirm or withdraw what people have been given.';
comment on column authz.access_reviews.scope is
    'What is reviewed, as {"kinds": [assignment kinds], "role_ids": […], "group_ids": […], "user_ids": […]}; an absent key means all.';
comment on column authz.access_reviews.reviewers is
    'Who decides first: the named reviewer, the manager of whom it is about, or the owner of the resource.';
comment on column authz.access_reviews.reviewer_id is 'The named reviewer, who decides where those cannot.';
comment on column authz.access_reviews.auto_revoke is 'What nobody has confirmed when the review is due is withdrawn.';
comment on column authz.access_reviews.created_by is
    'The user who opened it, without a foreign key: the fact outlives the account.';

create trigger touch_updated_at before update on authz.access_reviews
    for each row execute function platform.touch_updated_at();

alter table authz.access_reviews enable row level security;
alter table authz.access_reviews force row level security;
create policy access_reviews_of_my_tenant on authz.access_reviews
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.access_reviews to enterprise_ai_app;

create table authz.access_review_items (
    tenant_id       uuid        not null,
    id              uuid        not null default platform.new_id(),
    review_id       uuid        not null,
    assignment_kind text        not null,
    assignment_id   uuid        not null,
    subject_id      uuid        not null,
    assignment      jsonb       not null,
    reviewer_id     uuid        not null,
    decision        text,
    decided_by      uuid,
    decided_at      timestamptz,
    comment         text,
    revoked_at      timestamptz,

    constraint access_review_items_pkey primary key (tenant_id, id),
    constraint access_review_items_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint access_review_items_assignment_key unique (tenant_id, review_id, assignment_kind, assignment_id),
    constraint access_review_items_review_id_fkey foreign key (tenant_id, review_id)
        references authz.access_reviews (tenant_id, id) on delete cascade,
    constraint access_review_items_reviewer_id_fkey foreign key (tenant_id, reviewer_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint access_review_items_assignment_kind_is_known check (
        assignment_kind in ('user_role', 'group_role', 'user_permission', 'group_permission', 'delegation',
                            'proxy_grant')),
    constraint access_review_items_assignment_is_an_object check (jsonb_typeof(assignment) = 'object'),
    constraint access_review_items_nobody_reviews_themselves check (reviewer_id <> subject_id and decided_by <> subject_id),
    constraint access_review_items_decision_is_known check (decision in ('keep', 'revoke')),
    constraint access_review_items_decisions_are_dated check (
        (decision is null) = (decided_at is null) and (decided_by is null or decision is not null)),
    constraint access_review_items_only_revoked_ones_are_revoked check (
        revoked_at is null or decision is not distinct from 'revoke')
);

-- What waits for a reviewer.
create index access_review_items_reviewer_id_idx on authz.access_review_items (tenant_id, reviewer_id, decided_at);

comment on table authz.access_review_items is 'One row for each assignment to decide on in an access review.';
comment on column authz.access_review_items.assignment_id is
    'The row of the table that assignment_kind names, without a foreign key: the decision outlives what it revokes.';
comment on column authz.access_review_items.subject_id is 'The user or group that the assignment is to.';
comment on column authz.access_review_items.assignment is 'The assignment as it was when the review opened, a column a key.';
comment on column authz.access_review_items.decided_by is
    'The user who decided, without a foreign key; null when the due date did.';
comment on column authz.access_review_items.revoked_at is 'When the assignment was withdrawn.';

alter table authz.access_review_items enable row level security;
alter table authz.access_review_items force row level security;
create policy access_review_items_of_my_tenant on authz.access_review_items
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.access_review_items to enterprise_ai_app;

--- authz: break-glass access -------------------------------------------------------
-- In an emergency somebody takes a role they have not been given: with a reason, for hours, under review.

create table authz.break_glass_events (
    tenant_id      uuid        not null,
    id             uuid        not null default platform.new_id(),
    user_id        uuid        not null,
    role_id        uuid        not null,
    resource_id    uuid,
    reason         text        not null,
    started_at     timestamptz not null default now(),
    expires_at     timestamptz not null,
    ended_at       timestamptz,
    review_outcome text,
    review_comment text,
    reviewed_by    uuid,
    reviewed_at    timestamptz,

    constraint break_glass_events_pkey primary key (tenant_id, id),
    constraint break_glass_events_tenant_id_fkey foreign key (tenant_id)
        references identity.tenants (id) on delete cascade,
    constraint break_glass_events_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete no action,
    constraint break_glass_events_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete no action,
    constraint break_glass_events_give_a_reason check (length(btrim(reason)) >= 10),
    constraint break_glass_events_last_at_most_a_day check (
        expires_at > started_at and expires_at <= started_at + interval '24 hours'),
    constraint break_glass_events_end_after_they_start check (ended_at between started_at and expires_at),
    constraint break_glass_events_review_outcome_is_known check (review_outcome in ('justified', 'unjustified')),
    constraint break_glass_events_reviews_are_whole check (
        num_nonnulls(review_outcome, reviewed_by, reviewed_at) in (0, 3)),
    constraint break_glass_events_are_reviewed_by_another check (reviewed_by <> user_id)
);

-- The emergencies of somebody: asked at every decision, and few.
create index break_glass_events_user_id_idx on authz.break_glass_events (tenant_id, user_id, expires_at);
create index break_glass_events_role_id_idx on authz.break_glass_events (tenant_id, role_id);
-- What nobody has reviewed yet, the oldest first.
create index break_glass_events_unreviewed_idx on authz.break_glass_events (tenant_id, started_at)
    where reviewed_at is null;

comment on table authz.break_glass_events is
    'One row for each time somebody took a role in an emergency. It stays: it is what the review looks at.';
comment on column authz.break_glass_events.resource_id is
    'Only on this resource and what lies below it, without a foreign key: the record outlives it; null for the
whole tenant.';
comment on column authz.break_glass_events.ended_at is 'When it was ended before it expired; null when it was not.';
comment on column authz.break_glass_events.reviewed_by is
    'The user who reviewed it, without a foreign key: the fact outlives the account.';

alter table authz.break_glass_events enable row level security;
alter table authz.break_glass_events force row level security;
create policy break_glass_events_of_my_tenant on authz.break_glass_events
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.break_glass_events to enterprise_ai_app;

create table authz.break_glass_uses (
    tenant_id   uuid        not null,
    id          uuid        not null default platform.new_id(),
    event_id    uuid        not null,
    permission  text        not null,
    resource_id uuid,
    used_at     timestamptz not null default clock_timestamp(),

    constraint break_glass_uses_pkey primary key (tenant_id, id),
    constraint break_glass_uses_event_id_fkey foreign key (tenant_id, event_id)
        references authz.break_glass_events (tenant_id, id) on delete cascade
);

-- What was done in an emergency, in the order of its doing.
create index break_glass_uses_event_id_idx on authz.break_glass_uses (tenant_id, event_id, used_at);

comment on table authz.break_glass_uses is
    'One row for each act that an emergency alone allowed, as recorded by authz.authorize.';
comment on column authz.break_glass_uses.resource_id is
    'What was acted on, without a foreign key: the record outlives it; null for the type as such.';

alter table authz.break_glass_uses enable row level security;
alter table authz.break_glass_uses force row level security;
create policy break_glass_uses_of_my_tenant on authz.break_glass_uses
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.break_glass_uses to enterprise_ai_app;

--- authz: decision log -------------------------------------------------------------

create table authz.decision_log (
    tenant_id      uuid         not null,
    decided_at     timestamptz  not null,
    id             uuid         not null,
    user_id        uuid         not null,
    actor_id       uuid,
    session_id     uuid,
    request_id     text,
    permission     text         not null,
    resource_id    uuid,
    effect         text         not null,
    reason         text         not null,
    rule_ids       uuid[]       not null,
    missing        text[]       not null,
    epoch          bigint       not null,
    sample_percent numeric(5,2) not null,

    constraint decision_log_pkey primary key (tenant_id, decided_at, id),
    constraint decision_log_effect_is_known check (effect in ('allow', 'deny')),
    constraint decision_log_sample_is_a_percentage check (sample_percent between 0 and 100)
) partition by range (decided_at);

-- What somebody did, and what was refused them, latest first.
create index decision_log_user_id_idx on authz.decision_log (tenant_id, user_id, decided_at desc);
-- Who did something to a resource.
create index decision_log_resource_id_idx on authz.decision_log (tenant_id, resource_id, decided_at desc)
    where resource_id is not null;

comment on table authz.decision_log is
    'One row for each decision of authz.authorize that the tenant logs; written in its transaction, and gone when that is rolled back.';
comment on column authz.decision_log.permission is 'As it was asked for, whether there is such a permission or not.';
comment on column authz.decision_log.rule_ids is 'The rules that decided.';
comment on column authz.decision_log.epoch is 'Which state of the tenant''s rights it was decided by.';
comment on column authz.decision_log.sample_percent is
    'The part of such decisions that is logged: one row stands for 100 / sample_percent of them.';

alter table authz.decision_log enable row level security;
alter table authz.decision_log force row level security;
create policy decision_log_of_my_tenant on authz.decision_log
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.decision_log to enterprise_ai_auditor;

select platform.ensure_partitions(
    'authz.decision_log', (now() at time zone 'UTC')::date, ((now() at time zone 'UTC') + interval '12 months')::date);

--- authz: assignment rules -----------------------------------------------------------

create table authz.assignment_rules (
    tenant_id   uuid        not null,
    id          uuid        not null default platform.new_id(),
    name        text        not null,
    role_id     uuid        not null,
    resource_id uuid,
    condition   jsonpath    not null,
    is_enabled  boolean     not null default true,
    created_by  uuid,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint assignment_rules_pkey primary key (tenant_id, id),
    constraint assignment_rules_name_key unique (tenant_id, name),
    constraint assignment_rules_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade,
    constraint assignment_rules_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint assignment_rules_name_is_not_blank check (name ~ '\S'),
    constraint assignment_rules_condition_is_strict check (condition::text like 'strict %')
);

create index assignment_rules_role_id_idx on authz.assignment_rules (tenant_id, role_id);
create index assignment_rules_resource_id_idx on authz.assignment_rules (tenant_id, resource_id);

comment on table authz.assignment_rules is
    'One row for each rule that gives a role to all people of whom something is true, for as long as it is.';
comment on column authz.assignment_rules.condition is
    'A predicate in SQL/JSON path, strict, over {"subject": {…}}; who of it is not true does not get the role.';
comment on column authz.assignment_rules.resource_id is
    'Only on this resource and what lies below it; null for the whole tenant.';
comment on column authz.assignment_rules.created_by is
    'The user who said so last, without a foreign key: the fact outlives the account.';

create trigger touch_updated_at before update on authz.assignment_rules
    for each row execute function platform.touch_updated_at();

alter table authz.assignment_rules enable row level security;
alter table authz.assignment_rules force row level security;
create policy assignment_rules_of_my_tenant on authz.assignment_rules
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.assignment_rules to enterprise_ai_app;

--- authz: policy tests -----------------------------------------------------------------

create table authz.policy_tests (
    tenant_id       uuid        not null,
    id              uuid        not null default platform.new_id(),
    name            text        not null,
    user_id         uuid        not null,
    permission      text        not null,
    resource_id     uuid,
    env             jsonb       not null default '{}',
    decided_at      timestamptz,
    expected_effect text        not null,
    expected_reason text,
    updated_at      timestamptz not null default now(),

    constraint policy_tests_pkey primary key (tenant_id, id),
    constraint policy_tests_name_key unique (tenant_id, name),
    constraint policy_tests_user_id_fkey foreign key (tenant_id, user_id)
        references identity.users (tenant_id, id) on delete cascade,
    constraint policy_tests_resource_id_fkey foreign key (tenant_id, resource_id)
        references authz.resources (tenant_id, id) on delete cascade,
    constraint policy_tests_name_is_not_blank check (name ~ '\S'),
    constraint policy_tests_env_is_an_object check (jsonb_typeof(env) = 'object'),
    constraint policy_tests_expected_effect_is_known check (expected_effect in ('allow', 'deny'))
);

create index policy_tests_user_id_idx on authz.policy_tests (tenant_id, user_id);
create index policy_tests_resource_id_idx on authz.policy_tests (tenant_id, resource_id);

comment on table authz.policy_tests is
    'One row for each decision that must fall in one way: what authz.run_policy_tests() and simulations look at.';
comment on column authz.policy_tests.permission is 'Of this name, or of a name that must not become one.';
comment on column authz.policy_tests.env is 'The facts of the request, also those that a context would know.';
comment on column authz.policy_tests.decided_at is 'The moment it is asked for; null for that of the run.';
comment on column authz.policy_tests.expected_reason is 'The reason code it must have; null for any.';

create trigger touch_updated_at before update on authz.policy_tests
    for each row execute function platform.touch_updated_at();

alter table authz.policy_tests enable row level security;
alter table authz.policy_tests force row level security;
create policy policy_tests_of_my_tenant on authz.policy_tests
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.policy_tests to enterprise_ai_app;

--- authz: derived rights ------------------------------------------------------------
-- What decisions read first: what each role carries with all it inherits, and what each user and group holds.
-- Both are derived in the transaction that changes the tables above, never later. A role that ten thousand
-- people hold is one row. What depends on time, conditions or the resource is left to be evaluated.

create table authz.epochs (
    tenant_id  uuid   not null,
    epoch      bigint not null default 1,
    changed_in bigint not null default 0,

    constraint epochs_pkey primary key (tenant_id),
    constraint epochs_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade
);

comment on table authz.epochs is
    'One row for each tenant: it changes with the rights in the tenant, and whoever changes them locks it.';
comment on column authz.epochs.epoch is 'What was decided at an earlier epoch may no longer hold.';
comment on column authz.epochs.changed_in is 'The transaction that changed it last.';

alter table authz.epochs enable row level security;
alter table authz.epochs force row level security;
create policy epochs_of_my_tenant on authz.epochs
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
-- So that a client's cache of decisions finds out whether its own transaction has changed rights.
grant select on authz.epochs to enterprise_ai_app, enterprise_ai_gateway;

create table authz.role_rights (
    tenant_id uuid        not null,
    role_id   uuid        not null,
    rights    bit varying not null,

    constraint role_rights_pkey primary key (tenant_id, role_id),
    constraint role_rights_role_id_fkey foreign key (tenant_id, role_id)
        references authz.roles (tenant_id, id) on delete cascade
);

comment on table authz.role_rights is
    'One row for each role that carries anything: what it stands for with all that it inherits.';
comment on column authz.role_rights.rights is
    'Eight bits for each permission, at its place: 1 denied and 2 allowed on all of the type, 4 allowed on what the holder
owns, always; 8 may be denied and 16 may be allowed, by rules that depend on a time, a condition or a resource.
authz._rights_at reads it.';

alter table authz.role_rights enable row level security;
alter table authz.role_rights force row level security;
create policy role_rights_of_my_tenant on authz.role_rights
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.role_rights to enterprise_ai_app;

create table authz.role_sets (
    tenant_id         uuid        not null,
    id                uuid        not null,
    own_roles         uuid[]      not null,
    groups            uuid[]      not null,
    roles             uuid[]      not null,
    is_active         boolean     not null,
    has_special_roles boolean     not null,
    rights            bit varying not null,

    constraint role_sets_pkey primary key (tenant_id, id),
    constraint role_sets_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade
);

comment on table authz.role_sets is
    'One row for each set of roles and groups that anybody has, so that a check reads one row whatever somebody holds. There
are far fewer of them than people; when a role or a group changes, the sets with it do.';
comment on column authz.role_sets.id is
    'By own_roles and groups (authz._role_set_id), so that it need not be looked for.';
comment on column authz.role_sets.own_roles is 'The roles held without a group, in the whole tenant, always; in their order.';
comment on column authz.role_sets.groups is 'The groups that one is in, and those these lie within; in their order.';
comment on column authz.role_sets.roles is 'The own roles and those that the groups hold in the whole tenant, always.';
comment on column authz.role_sets.is_active is 'Whether the tenant is, here so that a check need not read a row more.';
comment on column authz.role_sets.has_special_roles is 'One of the groups has special roles (authz.holders).';
comment on column authz.role_sets.rights is
    'What its roles, its groups and everyone say together, as in authz.role_rights and authz.holders.';

alter table authz.role_sets enable row level security;
alter table authz.role_sets force row level security;
create policy role_sets_of_my_tenant on authz.role_sets
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.role_sets to enterprise_ai_app;

create table authz.holders (
    tenant_id         uuid        not null,
    holder_id         uuid        not null,
    is_active         boolean     not null,
    role_set_id       uuid        not null,
    has_special_roles boolean     not null,
    rights            bit varying not null,
    has_delegations   boolean     not null,

    constraint holders_pkey primary key (tenant_id, holder_id),
    constraint holders_tenant_id_fkey foreign key (tenant_id) references identity.tenants (id) on delete cascade
);

-- Who holds a set; which has no foreign key: every new person would lock the one row of who holds nothing.
create index holders_role_set_id_idx on authz.holders (tenant_id, role_set_id);

comment on table authz.holders is
    'One row for each user and group, and one under the tenant''s own id for everyone: what it holds by itself.';
comment on column authz.holders.is_active is 'An active user: nobody asks as a group, or as everyone.';
comment on column authz.holders.role_set_id is 'The roles held in the whole tenant, always, and the groups that a user is in.';
comment on column authz.holders.has_special_roles is
    'There are roles held at times, under a condition or on a resource, or taken in an emergency.';
comment on column authz.holders.rights is
    'What is given to this holder directly, as in authz.role_rights, and 32 where rules may allow and 64 where rules may
deny a permission that depend on a time, a condition, a resource or an approval. Empty when there is nothing. For
everyone, 8 where a dynamic separation of duties counts the use of a permission.';
comment on column authz.holders.has_delegations is 'Something was delegated to this user.';

alter table authz.holders enable row level security;
alter table authz.holders force row level security;
create policy holders_of_my_tenant on authz.holders
    using (tenant_id = (select platform.current_tenant_id()))
    with check (tenant_id = (select platform.current_tenant_id()));
grant select on authz.holders to enterprise_ai_app;

-- >>> sql/authz/epochs.sql
-- All that changes the rights in a tenant first changes the tenant's one row in authz.epochs. So such writers
-- come one after another, and whoever derives anything sees what those before have committed: a read committed
-- transaction waits, one with an older snapshot fails with 40001. Nothing derived is ever made from a state
-- that somebody else was just changing. The number tells caches that what they know may no longer hold.

create or replace function authz._touch_epoch(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_epoch bigint;
begin
    update authz.epochs as e
    set epoch = e.epoch + 1, changed_in = txid_current()
    where e.tenant_id = _touch_epoch.tenant_id and e.changed_in <> txid_current()
    returning e.epoch into v_epoch;
    if found then
        perform pg_notify('enterprise_ai_authz', _touch_epoch.tenant_id::text || ' ' || v_epoch);
    end if;
end
$$;

comment on function authz._touch_epoch(uuid) is
    'Take one''s turn among those who change the rights in a tenant, until the end of the transaction, and
notify enterprise_ai_authz of the tenant and its new epoch.';

revoke all on function authz._touch_epoch(uuid) from public;


create or replace function authz._enter_tenant(tenant_id uuid)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_before text := coalesce(current_setting('enterprise_ai.context', true), '');
begin
    if platform.current_tenant_id() = _enter_tenant.tenant_id then
        return null;
    end if;
    perform platform._seal_context(jsonb_build_object('tenant_id', _enter_tenant.tenant_id));
    return v_before;
end
$$;

comment on function authz._enter_tenant(uuid) is
    'For triggers: what they derive is read and written under the row security of the tenant of the row, also when a
superuser writes without a context. Returns what to hand to _leave_tenant; null when the context was right.';

revoke all on function authz._enter_tenant(uuid) from public;


create or replace function authz._leave_tenant(context text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if context is not null then
        perform set_config('enterprise_ai.context', context, true);
    end if;
end
$$;

comment on function authz._leave_tenant(text) is 'Put back the context that _enter_tenant has replaced, if it has.';

revoke all on function authz._leave_tenant(text) from public;


create or replace function authz._take_turn()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups and people, but never epochs
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
    v_tenant_id uuid := coalesce(v_row ->> 'tenant_id', v_row ->> 'id');
    v_context text;
begin
    if tg_nargs > 0 and tg_op = 'UPDATE' and to_jsonb(old) -> tg_argv[0] <> v_row -> tg_argv[0] then
        raise exception 'The % of a row of %.% cannot be changed', tg_argv[0], tg_table_schema, tg_table_name
            using errcode = 'ZA008', hint = 'Delete the row and insert another.';
    end if;
    -- The first row takes the turn; the others of a large statement only look.
    if not exists (
        select
        from authz.epochs as e
        where e.tenant_id = v_tenant_id and e.changed_in = txid_current()
    ) then
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._touch_epoch(v_tenant_id);
        perform authz._leave_tenant(v_context);
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function authz._take_turn() is
    'Before-row trigger of all tables that rights are derived from; the column that its argument names cannot be
changed (ZA008).';

revoke all on function authz._take_turn() from public;
-- <<<

-- >>> sql/authz/derive_roles.sql
create or replace function authz._no_rights()
    returns bit varying
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return repeat('0', 8 * (max(p.place) + 1)) from authz.permissions as p;
end
$$;

comment on function authz._no_rights() is 'Rights that say nothing of any permission there is.';

revoke all on function authz._no_rights() from public;


create or replace function authz._derive_roles(tenant_id uuid, role_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_nothing bit varying := authz._no_rights();
    v_heirs uuid[] := array(
        with recursive heirs (id) as (
            select unnest(_derive_roles.role_ids)
            union
            select i.role_id
            from heirs
            join authz.role_inheritance as i
                on i.tenant_id = _derive_roles.tenant_id and i.parent_id = heirs.id
        )
        select heirs.id from heirs);
begin
    with recursive above (heir_id, id, is_timed) as (
        select heir.id, heir.id, false from unnest(v_heirs) as heir (id)
        union
        select a.heir_id, i.parent_id, a.is_timed or i.valid_from is not null or i.valid_until is not null
        from above as a
        join authz.role_inheritance as i on i.tenant_id = _derive_roles.tenant_id and i.role_id = a.id
    ),
    carried (role_id, place, rights) as (
        select a.heir_id, c.place, case
            when a.is_timed or p.is_conditional or p.resource_id is not null or p.only_own and p.effect = 'deny'
                then case p.effect when 'deny' then 8 else 16 end
            when p.effect = 'deny' then 1
            when p.only_own then 4
            else 2
        end
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _derive_roles.tenant_id and p.role_id = a.id and (p.inheritable or a.id = a.heir_id)
        join authz.permissions as c on c.id = p.permission_id
    )
    insert into authz.role_rights (tenant_id, role_id, rights)
    select _derive_roles.tenant_id, r.id,
           coalesce(bit_or(overlay(v_nothing placing c.rights::bit(8) from 8 * c.place + 1)), v_nothing)
    from authz.roles as r
    left join carried as c on c.role_id = r.id
    where r.tenant_id = _derive_roles.tenant_id and r.id = any (v_heirs)
    group by r.id
    on conflict on constraint role_rights_pkey do update set rights = excluded.rights;

    perform authz._derive_role_sets_with(_derive_roles.tenant_id, v_heirs, '{}');
end
$$;

comment on function authz._derive_roles(uuid, uuid[]) is
    'Derive anew what these roles, and all that inherit from them, carry, and the sets of roles that these are in.';

revoke all on function authz._derive_roles(uuid, uuid[]) from public;
-- <<<

-- >>> sql/authz/role_sets.sql
-- What everybody holds who holds the same roles and is in the same groups is derived once. A role that ten thousand people
-- hold is in as many sets as there are combinations among them, and these are what a change of it rewrites.

create or replace function authz._role_set_id(roles uuid[], groups uuid[])
    returns uuid
    language sql
    stable
    parallel safe
as $$
    -- By all that matters and nothing else: whoever derives it comes to the same one.
    select encode(substr(sha256(convert_to(
        array_to_string(roles, ',') || ';' || array_to_string(groups, ','), 'UTF8')), 1, 16), 'hex')::uuid
$$;

comment on function authz._role_set_id(uuid[], uuid[]) is 'The id of a set of roles and groups, each in their order.';

revoke all on function authz._role_set_id(uuid[], uuid[]) from public;


create or replace function authz._derive_role_sets(tenant_id uuid, set_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_everyone record;
    v_is_active boolean := exists (
        select from identity.tenants as t where t.id = _derive_role_sets.tenant_id and t.status = 'active');
    v_nothing bit varying := authz._no_rights();
    v_of_everyone bit varying;
begin
    if _derive_role_sets.set_ids = '{}' then
        return;
    end if;
    select h.rights, s.own_roles
    into v_everyone
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = _derive_role_sets.tenant_id;

    select bit_or(substring(said.rights || v_nothing, 1, length(v_nothing)))
    into v_of_everyone
    from (
        select v_everyone.rights
        union all
        select r.rights
        from authz.role_rights as r
        where r.tenant_id = _derive_role_sets.tenant_id and r.role_id = any (v_everyone.own_roles)
    ) as said;

    with asked (id, own_roles, groups) as (
        select s.id, s.own_roles, s.groups
        from unnest(_derive_role_sets.set_ids) as wanted (id)
        join authz.role_sets as s on s.tenant_id = _derive_role_sets.tenant_id and s.id = wanted.id
    ),
    by_group (id, own_roles, rights, has_special_roles) as (
        select a.id, of_group.own_roles, h.rights, h.has_special_roles
        from asked as a
        cross join lateral unnest(a.groups) as within (id)
        join authz.holders as h on h.tenant_id = _derive_role_sets.tenant_id and h.holder_id = within.id
        join authz.role_sets as of_group
            on of_group.tenant_id = _derive_role_sets.tenant_id and of_group.id = h.role_set_id
    ),
    together (id, role_id) as (
        select a.id, role.id
        from asked as a
        cross join lateral unnest(a.own_roles) as role (id)
        union
        select g.id, role.id
        from by_group as g
        cross join lateral unnest(g.own_roles) as role (id)
    ),
    facts (id, role_id, rights, has_special_roles) as (
        select a.id, null::uuid, v_of_everyone, false from asked as a
        union all
        select g.id, null, g.rights, g.has_special_roles from by_group as g
        union all
        select t.id, t.role_id, own.rights, false
        from together as t
        left join (
            -- Once each: there are many sets of few roles.
            select r.role_id, r.rights
            from authz.role_rights as r
            where r.tenant_id = _derive_role_sets.tenant_id
            offset 0
        ) as own on own.role_id = t.role_id
    ),
    derived as (
        select f.id, coalesce(array_agg(f.role_id order by f.role_id) filter (where f.role_id is not null), '{}') as roles,
               bool_or(f.has_special_roles) as has_special_roles,
               -- What was derived before the youngest permissions were there is shorter.
               bit_or(substring(f.rights || v_nothing, 1, length(v_nothing))) as rights
        from facts as f
        group by f.id
    )
    update authz.role_sets as s
    set roles = derived.roles,
        is_active = v_is_active,
        has_special_roles = derived.has_special_roles,
        rights = derived.rights
    from derived
    where s.tenant_id = _derive_role_sets.tenant_id and s.id = derived.id
      and (s.is_active <> v_is_active or s.rights <> derived.rights or s.roles <> derived.roles
           or s.has_special_roles <> derived.has_special_roles);
end
$$;

comment on function authz._derive_role_sets(uuid, uuid[]) is
    'Derive anew what these sets of roles and groups come to.';

revoke all on function authz._derive_role_sets(uuid, uuid[]) from public;


create or replace function authz._derive_role_sets_with(tenant_id uuid, role_ids uuid[], group_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_everyones boolean := exists (
        select
        from authz.roles as r
        where r.tenant_id = _derive_role_sets_with.tenant_id and r.for_everyone
          and r.id = any (_derive_role_sets_with.role_ids));
begin
    perform authz._derive_role_sets(_derive_role_sets_with.tenant_id, array(
        select s.id
        from authz.role_sets as s
        where s.tenant_id = _derive_role_sets_with.tenant_id
          and (v_is_everyones or s.roles && _derive_role_sets_with.role_ids or s.groups && _derive_role_sets_with.group_ids)));
end
$$;

comment on function authz._derive_role_sets_with(uuid, uuid[], uuid[]) is
    'Derive anew the sets that some of these roles or groups are in.';

revoke all on function authz._derive_role_sets_with(uuid, uuid[], uuid[]) from public;


create or replace function authz._drop_unheld_role_sets(tenant_id uuid, set_ids uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- That of nothing stays: new people come to hold it without taking a turn.
    delete from authz.role_sets as s
    where s.tenant_id = _drop_unheld_role_sets.tenant_id and s.id = any (_drop_unheld_role_sets.set_ids)
      and not (s.own_roles = '{}' and s.groups = '{}')
      and not exists (
          select
          from authz.holders as h
          where h.tenant_id = _drop_unheld_role_sets.tenant_id and h.role_set_id = s.id);
end
$$;

comment on function authz._drop_unheld_role_sets(uuid, uuid[]) is 'Delete those of these sets of roles that nobody holds.';

revoke all on function authz._drop_unheld_role_sets(uuid, uuid[]) from public;
-- <<<

-- >>> sql/authz/derive_holders.sql
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
-- <<<

-- >>> sql/authz/derive_changed.sql
-- After-statement triggers see all changed rows at once, so that a statement that gives a role a hundred
-- permissions derives it once.

create or replace function authz._derive_changed()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups and people, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg(distinct (c.fields ->> tg_argv[1])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        if tg_argv[0] = 'roles' then
            perform authz._derive_roles(v_tenant_id, v_ids);
        else
            perform authz._derive_holders(v_tenant_id, v_ids);
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_changed() is
    'After-statement trigger: derives the roles or the holders (first argument) that the column (second argument)
of the changed rows names.';

revoke all on function authz._derive_changed() from public;


create or replace function authz._derive_added()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever may share a thing may not write what is derived from it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_nothing bit varying := authz._no_rights();
    v_tenant_id uuid;
    v_written uuid[];
    v_new uuid[];
    v_context text;
begin
    -- Another rule only adds to what is said: those that were given before need not be read, thousands as they may be.
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        with written as (
            update authz.holders as h
            set rights = said.before | said.added
            from (
                select h.holder_id, substring(h.rights || v_nothing, 1, length(v_nothing)) as before, added.rights as added
                from (
                    select (c.fields ->> tg_argv[0])::uuid as holder_id,
                           bit_or(overlay(v_nothing placing authz._says_always(
                               c.fields ->> 'effect', c.fields ->> 'resource_id' is null,
                               (c.fields ->> 'is_conditional')::boolean,
                               not p.requires_approval or c.fields ->> 'granted_by' is null
                               or c.fields ->> 'approved_by' is not null)::bit(8) from 8 * p.place + 1)) as rights
                    from (
                        select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
                    ) as c (fields)
                    join authz.permissions as p on p.id = (c.fields ->> 'permission_id')::integer
                    group by 1
                ) as added
                join authz.holders as h on h.tenant_id = v_tenant_id and h.holder_id = added.holder_id
            ) as said
            where h.tenant_id = v_tenant_id and h.holder_id = said.holder_id and said.before | said.added <> said.before
            returning h.holder_id
        )
        select array_agg(w.holder_id) into v_written from written as w;
        perform authz._derive_members(v_tenant_id, v_written);
        -- Whom the same statement makes may not be there yet.
        v_new := array(
            select distinct given.holder_id
            from (
                select (to_jsonb(changed) ->> tg_argv[0])::uuid from changed where changed.tenant_id = v_tenant_id
            ) as given (holder_id)
            where not exists (
                select
                from authz.holders as h
                where h.tenant_id = v_tenant_id and h.holder_id = given.holder_id));
        if v_new <> '{}' then
            perform authz._derive_holders(v_tenant_id, v_new);
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_added() is
    'After-statement trigger: adds rules that are given directly to what the users or the groups that the column (argument)
names hold.';

revoke all on function authz._derive_added() from public;


create or replace function authz._derive_taken()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever may share a thing may not write what is derived from it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_context text;
begin
    -- As long as there is another rule of its kind, nothing is different, and one of thousands is found at once. Kinds
    -- are told apart by all that matters, also where it does not now: a permission may come to require approval.
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._derive_holders(v_tenant_id, array(
            select distinct taken.holder_id
            from (
                select (c.fields ->> tg_argv[0])::uuid as holder_id, (c.fields ->> 'permission_id')::integer as permission_id,
                       c.fields ->> 'effect' as effect, c.fields ->> 'resource_id' is null as is_wide,
                       (c.fields ->> 'is_conditional')::boolean as is_conditional,
                       c.fields ->> 'granted_by' is null or c.fields ->> 'approved_by' is not null as is_approved
                from (
                    select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
                ) as c (fields)
            ) as taken
            where not exists (
                select
                from authz.user_permissions as g
                where tg_argv[0] = 'user_id' and g.tenant_id = v_tenant_id and g.user_id = taken.holder_id
                  and g.permission_id = taken.permission_id
                  and g.effect = taken.effect and (g.resource_id is null) = taken.is_wide
                  and g.is_conditional = taken.is_conditional
                  and (g.granted_by is null or g.approved_by is not null) = taken.is_approved)
              and not exists (
                select
                from authz.group_permissions as g
                where tg_argv[0] = 'group_id' and g.tenant_id = v_tenant_id and g.group_id = taken.holder_id
                  and g.permission_id = taken.permission_id
                  and g.effect = taken.effect and (g.resource_id is null) = taken.is_wide
                  and g.is_conditional = taken.is_conditional
                  and (g.granted_by is null or g.approved_by is not null) = taken.is_approved)));
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._derive_taken() is
    'After-statement trigger: derives the users or the groups that the column (argument) names from whom the last rule of
its kind about a permission was taken.';

revoke all on function authz._derive_taken() from public;


create or replace function authz._keep_holders()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications make and delete people and groups, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_sets uuid[];
    v_context text;
begin
    for v_tenant_id in select distinct c.tenant_id from changed as c loop
        v_context := authz._enter_tenant(v_tenant_id);
        if tg_op = 'DELETE' then
            v_sets := array(
                select distinct h.role_set_id
                from authz.holders as h
                join changed as c on c.id = h.holder_id
                where h.tenant_id = v_tenant_id and c.tenant_id = v_tenant_id);
            delete from authz.holders as h
            using changed as c
            where h.tenant_id = v_tenant_id and c.tenant_id = v_tenant_id and h.holder_id = c.id;
            perform authz._drop_unheld_role_sets(v_tenant_id, v_sets);
        else
            -- Nobody holds anything before they are there. Who does by now has been derived since.
            insert into authz.holders (
                tenant_id, holder_id, is_active, role_set_id, has_special_roles, rights, has_delegations)
            select v_tenant_id, (c.fields ->> 'id')::uuid,
                   coalesce(c.fields ->> 'status' = 'active' and c.fields ->> 'deleted_at' is null, false),
                   authz._role_set_id('{}', '{}'), false, '', false
            from (
                select to_jsonb(changed) from changed where changed.tenant_id = v_tenant_id
            ) as c (fields)
            on conflict on constraint holders_pkey do nothing;
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._keep_holders() is
    'After-statement trigger: the rows of authz.holders of users and groups come and go with them.';

revoke all on function authz._keep_holders() from public;


create or replace function authz._derive_people()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change people and groups, but never what is derived from them
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(new);
    v_tenant_id uuid := coalesce(v_row ->> 'tenant_id', v_row ->> 'id');
    v_ids uuid[] := array[new.id];
    v_context text := authz._enter_tenant(v_tenant_id);
begin
    if tg_table_name = 'tenants' and tg_op = 'INSERT' then
        insert into authz.epochs (tenant_id) values (v_tenant_id);
    elsif tg_table_name = 'groups' then
        -- It has moved, and everybody below it now lies within other groups.
        v_ids := v_ids || array(
            select h.holder_id
            from authz.role_sets as s
            join authz.holders as h on h.tenant_id = v_tenant_id and h.role_set_id = s.id
            where s.tenant_id = v_tenant_id and s.groups @> v_ids);
    end if;
    perform authz._derive_holders(v_tenant_id, v_ids);
    if tg_table_name = 'tenants' and tg_op = 'UPDATE' then
        perform authz._derive_role_sets(v_tenant_id, array(
            select s.id from authz.role_sets as s where s.tenant_id = v_tenant_id));
    end if;
    perform authz._leave_tenant(v_context);
    return null;
end
$$;

comment on function authz._derive_people() is
    'After-row trigger of identity.users, groups and tenants that have changed, and of new tenants: derives their row of
authz.holders.';

revoke all on function authz._derive_people() from public;
-- <<<

-- Statement triggers with transition tables, because a row at a time the same role would be derived again and
-- again; where rows are distributed over machines, row triggers take their place.
do $do$
declare
    v_source record;
    v_event text;
begin
    for v_source in
        select *
        from (values
            ('authz.role_permissions', 'roles', 'role_id'),
            ('authz.role_inheritance', 'roles', 'role_id'),
            ('authz.roles', 'holders', 'tenant_id'),
            ('authz.user_roles', 'holders', 'user_id'),
            ('authz.group_roles', 'holders', 'group_id'),
            ('authz.user_permissions', 'direct', 'user_id'),
            ('authz.group_permissions', 'direct', 'group_id'),
            ('authz.delegations', 'holders', 'delegate_id'),
            ('authz.break_glass_events', 'holders', 'user_id'),
            ('identity.group_members', 'holders', 'user_id')
        ) as source (table_name, derives, column_name)
    loop
        execute format(
            'create trigger _000_take_turn before insert or update or delete on %s
                 for each row execute function authz._take_turn(%L)', v_source.table_name, v_source.column_name);
        foreach v_event in array array['insert', 'update', 'delete'] loop
            if v_event <> 'update' and v_source.derives = 'direct' then
                execute format(
                    'create trigger derive_after_%1$s after %1$s on %2$s referencing %3$s table as changed
                         for each statement execute function authz.%4$I(%5$L)',
                    v_event, v_source.table_name, case v_event when 'delete' then 'old' else 'new' end,
                    case v_event when 'delete' then '_derive_taken' else '_derive_added' end, v_source.column_name);
            else
                execute format(
                    'create trigger derive_after_%1$s after %1$s on %2$s referencing %3$s table as changed
                         for each statement execute function authz._derive_changed(%4$L, %5$L)',
                    v_event, v_source.table_name, case v_event when 'delete' then 'old' else 'new' end,
                    v_source.derives, v_source.column_name);
            end if;
        end loop;
    end loop;
end
$do$;

create trigger _000_take_turn before update of parent_id or delete on identity.groups
    for each row execute function authz._take_turn();
create trigger derive after update of parent_id on identity.groups
    for each row execute function authz._derive_people();
create trigger derive_after_insert after insert on identity.groups referencing new table as changed
    for each statement execute function authz._keep_holders();
create trigger derive_after_delete after delete on identity.groups referencing old table as changed
    for each statement execute function authz._keep_holders();
create trigger _000_take_turn before update of status, deleted_at or delete on identity.users
    for each row execute function authz._take_turn();
create trigger derive after update of status, deleted_at on identity.users
    for each row execute function authz._derive_people();
create trigger derive_after_insert after insert on identity.users referencing new table as changed
    for each statement execute function authz._keep_holders();
create trigger derive_after_delete after delete on identity.users referencing old table as changed
    for each statement execute function authz._keep_holders();
create trigger _000_take_turn before update of status on identity.tenants
    for each row execute function authz._take_turn();
create trigger derive after insert or update of status on identity.tenants
    for each row execute function authz._derive_people();
create trigger _000_take_turn before update of parent_id, inherits, owner_id, attributes or delete on authz.resources
    for each row execute function authz._take_turn();
create trigger _000_take_turn before insert or update or delete on authz.proxy_grants
    for each row execute function authz._take_turn();

--- authz: decisions ----------------------------------------------------------------

create type authz.decision as (
    effect      text,
    reason      text,
    rule_ids    uuid[],
    obligations jsonb,
    missing     text[],
    expires_at  timestamptz
);

comment on type authz.decision is
    'effect: allow or deny; reason: one of a fixed set; rule_ids: the rules that decided; obligations: what would
have to be done, or has to be recorded; missing: what was asked for and not known; expires_at: until when it
holds as long as nothing is changed, null without end.';

create type authz.standing as (
    permission_id     integer,
    resource_type     text,
    requires_approval boolean,
    groups            uuid[],
    rights            integer
);

comment on type authz.standing is
    'What somebody has of a permission, whatever the resource. groups: those the user is in; rights: as authz._held has
them.';

create type authz.shares as (
    resource_ids uuid[],
    may_allow    boolean
);

comment on type authz.shares is
    'What is allowed to somebody directly. resource_ids: on which resources; may_allow: besides there is what has to be
evaluated.';

-- Row security costs nothing inside a decision: the functions that decide belong to a role of their own, which reads
-- the tables that rights are in, all tenants' rows, and nothing else. So each of these functions verifies the context
-- first and names that tenant in every query, holds no dynamic SQL, and calls nothing that the caller could replace.
-- Nobody has that role's rights but these functions, the owner's included: see the group roles at the top.
grant usage, create on schema authz to enterprise_ai_decider;
grant usage on schema platform, identity to enterprise_ai_decider;
grant select on authz.permissions, authz.resource_types to enterprise_ai_decider;

do $do$
declare
    v_table text;
begin
    foreach v_table in array array[
        'authz.role_rights', 'authz.role_sets', 'authz.holders', 'authz.resources', 'authz.roles',
        'authz.role_inheritance', 'authz.role_permissions', 'authz.user_roles', 'authz.group_roles', 'authz.user_permissions',
        'authz.group_permissions', 'authz.delegations', 'authz.proxy_grants', 'authz.break_glass_events',
        'authz.access_policies', 'authz.access_policy_permissions', 'authz.duty_acts',
        'identity.users', 'identity.user_profiles']
    loop
        execute format('grant select on %s to enterprise_ai_decider', v_table);
        execute format('create policy read_to_decide on %s for select to enterprise_ai_decider using (true)', v_table);
    end loop;
end
$do$;

-- >>> sql/authz/windows.sql
-- A window is a time by the clock on the wall of its zone. An instant is in it when the clock of that instant
-- is: an hour that the clock skips never comes, one that it repeats counts twice.

create or replace function authz._fault_of_windows(windows jsonb)
    returns text
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_window jsonb;
    v_fault text;
begin
    if jsonb_typeof(windows) is distinct from 'array' or windows = '[]' then
        return 'windows are a list of at least one window';
    end if;
    for v_window in select w.value from jsonb_array_elements(windows) as w loop
        v_fault := case
            when jsonb_typeof(v_window) <> 'object' then 'a window is an object'
            when v_window - array['days', 'from', 'until', 'time_zone', 'except'] <> '{}' then
                'a window has only days, from, until, time_zone and except'
            when coalesce(v_window ->> 'from', '') !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' then
                '"from" is a time from "00:00" to "23:59"'
            when coalesce(v_window ->> 'until', '') !~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' then
                '"until" is a time from "00:00" to "24:00"'
            when v_window ->> 'from' = v_window ->> 'until' then '"from" and "until" are different times'
            when jsonb_typeof(coalesce(v_window -> 'days', '[1]')) <> 'array'
                 or not coalesce(v_window -> 'days', '[1]') <@ '[1, 2, 3, 4, 5, 6, 7]'
                 or v_window -> 'days' = '[]' then '"days" is a list of 1 (Monday) to 7'
            when jsonb_typeof(coalesce(v_window -> 'except', '[]')) <> 'array'
                 or exists (
                     select from jsonb_array_elements_text(coalesce(v_window -> 'except', '[]')) as d (day)
                     where d.day is null or d.day !~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$')
                 then '"except" is a list of dates like "2026-12-25"'
            when not exists (select from pg_timezone_names as z where z.name = v_window ->> 'time_zone') then
                '"time_zone" is the name of a time zone, like "Europe/Paris"'
        end;
        if v_fault is not null then
            return v_fault;
        end if;
    end loop;
    return null;
end
$$;

comment on function authz._fault_of_windows(jsonb) is 'What is wrong with recurring windows, as a phrase; null when nothing is.';

revoke all on function authz._fault_of_windows(jsonb) from public;


create or replace function authz._windows_at(windows jsonb, at timestamptz, out is_within boolean, out next_edge timestamptz)
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_window jsonb;
    v_zone text;
    v_clock timestamp;
    v_from interval;
    v_length interval;
    v_day date;
    v_edge timestamp;
    v_change timestamptz;
begin
    is_within := false;
    for v_window in select w.value from jsonb_array_elements(windows) as w loop
        v_zone := v_window ->> 'time_zone';
        v_clock := _windows_at.at at time zone v_zone;
        v_from := (v_window ->> 'from')::interval;
        v_length := (v_window ->> 'until')::interval - v_from;
        if v_zone is null or coalesce(v_length, interval '0') = interval '0' then
            raise exception 'The window % is not whole', v_window using errcode = 'ZA006';
        elsif v_length < interval '0' then      -- overnight: it belongs to the day on which it starts
            v_length := v_length + interval '24 hours';
        end if;
        for v_day in select generate_series(v_clock::date - 1, v_clock::date + 1, '1 day')::date loop
            if v_clock >= v_day + v_from and v_clock < v_day + v_from + v_length
               and coalesce(v_window -> 'days' @> to_jsonb(extract(isodow from v_day)::integer), true)
               and not coalesce(v_window -> 'except' ? v_day::text, false) then
                is_within := true;
            end if;
            foreach v_edge in array array[v_day + v_from, v_day + v_from + v_length] loop
                continue when v_edge <= v_clock;
                v_change := _windows_at.at + (v_edge - v_clock);
                -- The clock is changed before that moment; that happens at full quarters of an hour.
                if v_change at time zone v_zone <> v_edge then
                    v_change := date_trunc('hour', _windows_at.at)
                        + (floor(extract(minute from _windows_at.at) / 15) + 1) * interval '15 minutes';
                end if;
                next_edge := least(next_edge, v_change);
            end loop;
        end loop;
    end loop;
end
$$;

comment on function authz._windows_at(jsonb, timestamptz) is
    'Whether an instant lies in one of the windows, and until when at least that stays so.';

revoke all on function authz._windows_at(jsonb, timestamptz) from public;
grant execute on function authz._windows_at(jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._next_edge(windows jsonb, at timestamptz)
    returns timestamptz
    language plpgsql
    stable
    parallel safe
as $$
begin
    if windows is null then
        return null;
    end if;
    return (select w.next_edge from authz._windows_at(_next_edge.windows, _next_edge.at) as w);
exception
    when others then
        return null;            -- malformed, at any time
end
$$;

comment on function authz._next_edge(jsonb, timestamptz) is 'Until when at least it stays as it is whether now lies in the windows.';

revoke all on function authz._next_edge(jsonb, timestamptz) from public;
grant execute on function authz._next_edge(jsonb, timestamptz) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/conditions.sql
-- Conditions have three values. What a rule asks is FALSE as soon as one part is, else malformed or unknown
-- as soon as one part is: then an allow does not apply, and a deny does.

create or replace function authz._fault_of_condition(condition jsonpath, spaces text default 'subject|resource|env')
    returns text
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := condition::text;
begin
    if v_text not like 'strict %' then      -- is refused by the constraint
        return null;
    end if;
    -- A key is a string after a dot; every other string is a value, in which anything may stand.
    v_text := regexp_replace(v_text, $r$(\."(?:\\.|[^"\\])*")|"(?:\\.|[^"\\])*"$r$, $r$\1""$r$, 'g');
    if v_text ~ 'is unknown' then
        return '"is unknown" would make a missing value grant something';
    elsif v_text ~ ('[$](?![.]"(' || spaces || ')"""[.])') then
        return 'it may ask only about $.' || replace(spaces, '|', '.…, $.') || '.…';
    end if;
    perform jsonb_path_match('{"subject": {}, "resource": {}, "env": {}}', condition, '{}', false);
    return null;
exception
    when others then
        return 'it is not a predicate (' || sqlerrm || ')';
end
$$;

comment on function authz._fault_of_condition(jsonpath, text) is
    'What is wrong with a condition over these objects, as a phrase; null when nothing is.';

revoke all on function authz._fault_of_condition(jsonpath, text) from public;


create or replace function authz._check_criteria()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fault text := authz._fault_of_condition(new.condition);
begin
    if v_fault is not null then
        raise exception 'The condition % cannot be used: %', new.condition, v_fault
            using errcode = 'ZA006', hint = 'Write a predicate like: strict $.env.risk < 3';
    end if;

    if jsonb_typeof(new.windows) = 'array' and new.windows <> '[]' then
        v_fault := authz._fault_of_windows(new.windows);
        if v_fault is not null then
            raise exception 'The windows % cannot be used: %', new.windows, v_fault
                using errcode = 'ZA006',
                      hint = 'A window is {"days": [1, 2, 3, 4, 5], "from": "09:00", "until": "17:00", '
                             '"time_zone": "Europe/Paris", "except": ["2026-12-25"]}; days and except may be absent.';
        end if;
    end if;
    return new;
end
$$;

comment on function authz._check_criteria() is
    'Before-row trigger: a condition is a predicate that can be evaluated, windows are whole. Raises ZA006.';

revoke all on function authz._check_criteria() from public;


create or replace function authz._criteria_state(
    condition jsonpath,
    networks cidr[],
    minimum_authentication_level smallint,
    windows jsonb,
    facts jsonb,
    at timestamptz)
    returns text
    language plpgsql
    stable
    parallel safe
as $$
declare
    v_address inet;
    v_is_unknown boolean := false;
begin
    -- Runs only with the search path of its callers, which is pinned; a set clause would cost more than the rest.
    if windows is not null then
        if not (select w.is_within from authz._windows_at(_criteria_state.windows, _criteria_state.at) as w) then
            return 'outside_window';
        end if;
    end if;
    if networks is not null then
        v_address := facts #>> '{env,ip_address}';
        if v_address is null then
            v_is_unknown := true;
        elsif not v_address <<= any (networks::inet[]) then
            return 'false';
        end if;
    end if;
    if minimum_authentication_level is not null then
        if facts #> '{env,authentication_level}' is null then
            v_is_unknown := true;
        elsif (facts #>> '{env,authentication_level}')::numeric < minimum_authentication_level then
            return 'false';
        end if;
    end if;
    if condition is not null then
        if condition::text not like 'strict %' then
            return 'malformed';     -- lax, a negation over what is missing would be true
        end if;
        case jsonb_path_match(facts, condition, '{}', true)
            when false then return 'false';
            when true then null;
            else v_is_unknown := true;
        end case;
    end if;
    return case when v_is_unknown then 'unknown' else 'true' end;
exception
    when others then
        return 'malformed';
end
$$;

comment on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) is
    'What the criteria of a rule come to: true, false, outside_window, unknown, or malformed, which a rule can
only be when it was written past the checks.';

revoke all on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) from public;
grant execute on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._missing_keys(condition jsonpath, networks cidr[], level smallint, facts jsonb)
    returns text[]
    language plpgsql
    stable
    parallel safe
as $$
begin
    return array(
        select asked.key
        from (
            select array_to_string(array[m.part[1], trim(both '"' from m.part[2])], '.')
            from regexp_matches(condition::text, $r$[$]\."(subject|resource|env)"\.("(?:\\.|[^"\\])*")$r$, 'g') as m (part)
            union
            select 'env.ip_address' where networks is not null
            union
            select 'env.authentication_level' where level is not null
        ) as asked (key)
        where facts #> string_to_array(asked.key, '.', null) is null
        order by 1);
end
$$;

comment on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) is
    'What the criteria of a rule ask for and the facts do not say.';

revoke all on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) from public;
grant execute on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) to enterprise_ai_decider;


create or replace function authz._facts(
    tenant_id uuid,
    subject_id uuid,
    resource_id uuid,
    env jsonb)
    returns jsonb
    language plpgsql
    stable
    parallel safe
as $$
begin
    return jsonb_strip_nulls(jsonb_build_object(
        'subject', coalesce((
            select jsonb_build_object(
                'id', u.id, 'email', u.email, 'email_verified', u.email_verified_at is not null,
                'job_title', p.job_title, 'department', p.department, 'manager_id', p.manager_id)
            from identity.users as u
            left join identity.user_profiles as p on p.tenant_id = u.tenant_id and p.user_id = u.id
            where u.tenant_id = _facts.tenant_id and u.id = _facts.subject_id), '{}'),
        'resource', coalesce((
            select r.attributes || jsonb_build_object(
                'id', r.id, 'type', r.resource_type, 'owner_id', r.owner_id, 'parent_id', r.parent_id)
            from authz.resources as r
            where r.tenant_id = _facts.tenant_id and r.id = _facts.resource_id), '{}'),
        'env', coalesce(_facts.env, '{}')));
end
$$;

comment on function authz._facts(uuid, uuid, uuid, jsonb) is
    'What conditions are evaluated over. Of the subject and the resource it says only what the database says.';

revoke all on function authz._facts(uuid, uuid, uuid, jsonb) from public;
grant execute on function authz._facts(uuid, uuid, uuid, jsonb) to enterprise_ai_decider;
-- <<<

do $do$
declare
    v_table text;
begin
    foreach v_table in array array['role_permissions', 'user_roles', 'group_roles', 'user_permissions',
                                   'group_permissions', 'delegations', 'proxy_grants'] loop
        execute format(
            'create trigger _100_check_criteria before insert or update of condition, windows on authz.%I
                 for each row when (new.condition is not null or new.windows is not null)
                 execute function authz._check_criteria()', v_table);
    end loop;
end
$do$;

-- >>> sql/authz/rules.sql
-- Every rule that could bear on a decision, and what it comes to: all that evaluates or explains starts here.

create or replace function authz._rules(
    tenant_id uuid,
    subject_id uuid,
    permission_id integer,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns table (
        rule_id uuid, source text, effect text, assignment_id uuid, role_id uuid, carrier_id uuid, scope_id uuid,
        state text, next_edge timestamptz, missing text[])
    language plpgsql
    stable
    parallel restricted
    rows 10
as $$
#variable_conflict use_column
declare
    v_groups uuid[];
    v_resource authz.resources;
    v_way uuid[];
    v_reach uuid[];
    v_needs_approval boolean := (
        select p.requires_approval from authz.permissions as p where p.id = _rules.permission_id);
begin
    select s.groups into v_groups
    from authz.holders as h
    join authz.role_sets as s on s.tenant_id = _rules.tenant_id and s.id = h.role_set_id
    where h.tenant_id = _rules.tenant_id and h.holder_id = _rules.subject_id;

    if _rules.resource_id is not null then
        select r.* into v_resource
        from authz.resources as r
        where r.tenant_id = _rules.tenant_id and r.id = _rules.resource_id;
        -- Denies come down the whole way; allows only from where nothing cuts them off.
        v_way := v_resource.ancestors || v_resource.id;
        v_reach := case when v_resource.inherits then v_way else array[v_resource.id] end;
        if v_resource.inherits and v_resource.ancestors <> '{}' then
            v_reach := v_way[coalesce((
                select max(array_position(v_way, r.id))
                from authz.resources as r
                where r.tenant_id = _rules.tenant_id and r.id = any (v_resource.ancestors) and not r.inherits), 1):];
        end if;
    end if;

    return query
    with recursive held (
        assignment_id, source, role_id, scope_id, condition, networks, level, windows, valid_from, valid_until,
        is_conditional, is_approved
    ) as (
        select a.id, 'user_role', a.role_id, a.resource_id, a.condition, a.networks, a.minimum_authentication_level,
               a.windows, a.valid_from, a.valid_until, a.is_conditional,
               a.granted_by is null or a.approved_by is not null
        from authz.user_roles as a
        where a.tenant_id = _rules.tenant_id and a.user_id = _rules.subject_id
        union all
        select a.id, 'group_role', a.role_id, a.resource_id, a.condition, a.networks, a.minimum_authentication_level,
               a.windows, a.valid_from, a.valid_until, a.is_conditional,
               a.granted_by is null or a.approved_by is not null
        from authz.group_roles as a
        where a.tenant_id = _rules.tenant_id and a.group_id = any (v_groups)
        union all
        select r.id, 'everyone', r.id, null, null, null, null, null, null, null, false, true
        from authz.roles as r
        where r.tenant_id = _rules.tenant_id and r.for_everyone
        union all
        select b.id, 'break_glass', b.role_id, b.resource_id, null, null, null, null, b.started_at,
               coalesce(b.ended_at, b.expires_at), true, true
        from authz.break_glass_events as b
        where b.tenant_id = _rules.tenant_id and b.user_id = _rules.subject_id
    ),
    -- The roles each held role stands for, and when: an edge that is not valid now may become so.
    above (role_id, carrier_id, valid_from, valid_until) as (
        select distinct h.role_id, h.role_id, null::timestamptz, null::timestamptz
        from held as h
        union
        select a.role_id, i.parent_id, greatest(a.valid_from, i.valid_from), least(a.valid_until, i.valid_until)
        from above as a
        join authz.role_inheritance as i on i.tenant_id = _rules.tenant_id and i.role_id = a.carrier_id
    ),
    candidate (
        rule_id, source, effect, assignment_id, role_id, carrier_id, scope_id, held_scope_id, only_own, is_approved,
        valid_from, valid_until, condition, networks, level, windows, held_condition, held_networks, held_level,
        held_windows, is_conditional
    ) as (
        select p.id, h.source, p.effect, h.assignment_id, h.role_id, a.carrier_id, p.resource_id, h.scope_id,
               p.only_own, h.is_approved,
               greatest(p.valid_from, h.valid_from, a.valid_from), least(p.valid_until, h.valid_until, a.valid_until),
               p.condition, p.networks, p.minimum_authentication_level, p.windows,
               h.condition, h.networks, h.level, h.windows, p.is_conditional or h.is_conditional
        from held as h
        join above as a on a.role_id = h.role_id
        join authz.role_permissions as p
            on p.tenant_id = _rules.tenant_id and p.role_id = a.carrier_id
            and p.permission_id = _rules.permission_id
            and (p.inheritable or a.carrier_id = h.role_id)
        union all
        select g.id, 'user_permission', g.effect, null, null, null, g.resource_id, null,
               false, g.granted_by is null or g.approved_by is not null, g.valid_from, g.valid_until,
               g.condition, g.networks, g.minimum_authentication_level, g.windows, null, null, null, null, g.is_conditional
        from authz.user_permissions as g
        where g.tenant_id = _rules.tenant_id and g.user_id = _rules.subject_id
          and g.permission_id = _rules.permission_id
        union all
        select g.id, 'group_permission', g.effect, null, null, null, g.resource_id, null,
               false, g.granted_by is null or g.approved_by is not null, g.valid_from, g.valid_until,
               g.condition, g.networks, g.minimum_authentication_level, g.windows, null, null, null, null, g.is_conditional
        from authz.group_permissions as g
        where g.tenant_id = _rules.tenant_id and g.group_id = any (v_groups)
          and g.permission_id = _rules.permission_id
    ),
    facts (value) as (
        select authz._facts(_rules.tenant_id, _rules.subject_id, _rules.resource_id, _rules.env)
    ),
    judged as (
        select c.*,
               case
                   when c.scope_id <> all (case c.effect when 'allow' then v_reach else v_way end)
                        or c.held_scope_id <> all (case c.effect when 'allow' then v_reach else v_way end)
                        or (v_way is null and (c.scope_id is not null or c.held_scope_id is not null))
                       then 'out_of_scope'
                   when c.only_own and v_resource.owner_id is distinct from _rules.subject_id then 'not_own'
                   when c.valid_until <= _rules.at then 'expired'
                   when c.valid_from > _rules.at then 'not_yet_valid'
                   when c.effect = 'allow' and v_needs_approval and not c.is_approved then 'not_approved'
                   when not c.is_conditional then 'true'
               end as state,
               -- Evaluated only for the rules that get as far, and then once for all.
               case when c.is_conditional then array[
                   authz._criteria_state(c.condition, c.networks, c.level, c.windows,
                                         (select f.value from facts as f), _rules.at),
                   authz._criteria_state(c.held_condition, c.held_networks, c.held_level, c.held_windows,
                                         (select f.value from facts as f), _rules.at)]
               end as parts
        from candidate as c
    )
    select j.rule_id, j.source, j.effect, j.assignment_id, j.role_id, j.carrier_id, coalesce(j.scope_id, j.held_scope_id),
           coalesce(j.state, s.state),
           case when coalesce(j.state, '') not in ('out_of_scope', 'not_own') then least(
               case when j.valid_from > _rules.at then j.valid_from end,
               case when j.valid_until > _rules.at then j.valid_until end,
               authz._next_edge(j.windows, _rules.at), authz._next_edge(j.held_windows, _rules.at))
           end,
           case when j.state is null and s.state = 'unknown' then
               authz._missing_keys(j.condition, j.networks, j.level, (select f.value from facts as f))
               || authz._missing_keys(j.held_condition, j.held_networks, j.held_level, (select f.value from facts as f))
           end
    from judged as j
    cross join lateral (
        select case
            when 'outside_window' = any (j.parts) then 'outside_window'
            when 'false' = any (j.parts) then 'false'
            when 'malformed' = any (j.parts) then 'malformed'
            when 'unknown' = any (j.parts) then 'unknown'
            else 'true'
        end) as s (state);
end
$$;

comment on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) is
    'The rules about a permission that somebody is under by themselves, with what each comes to on a resource
(null: on the type) at a time, and when that may change.';

revoke all on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) from public;
grant execute on function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/delegated.sql
-- What has been passed on gives no more than its chain holds now: every link is in force, every person in it is
-- active and not denied it, and the first of them may do it by themselves. Rights are never passed on by copy.

create or replace function authz._delegated(
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns table (rule_id uuid, state text, next_edge timestamptz, missing text[])
    language plpgsql
    stable
    parallel restricted
    rows 1
as $$
#variable_conflict use_column
declare
    v_id uuid;
begin
    for v_id in
        select d.id
        from authz.delegations as d
        where d.tenant_id = _delegated.tenant_id and d.delegate_id = _delegated.subject_id
        order by d.id
    loop
        rule_id := v_id;
        select l.state, l.next_edge, l.missing into state, next_edge, missing
        from authz._link_state(_delegated.tenant_id, v_id, _delegated.permission, _delegated.resource_id,
                               _delegated.env, _delegated.at, '{}', 1) as l;
        if state is not null then
            return next;
        end if;
    end loop;
end
$$;

comment on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What has been passed on to somebody that is about a permission, with what each comes to.';

revoke all on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._link_state(
    tenant_id uuid,
    delegation_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz,
    role_ids uuid[],
    links integer,
    out state text,
    out next_edge timestamptz,
    out missing text[])
    language plpgsql
    stable
    parallel restricted
as $$
#variable_conflict use_column
declare
    v_link authz.delegations;
    v_parent authz.delegations;
    v_permission authz.permissions;
    v_resource authz.resources;
    v_facts jsonb;
    v_own authz.decision;
    v_above record;
    -- The roles that have been passed on, here and by the links after this one: it has to come through each.
    v_roles uuid[];
begin
    select d.* into v_link
    from authz.delegations as d
    where d.tenant_id = _link_state.tenant_id and d.id = _link_state.delegation_id;
    select p.* into v_permission from authz.permissions as p where p.name = _link_state.permission;

    -- Is it about this at all? Otherwise the state stays null.
    if v_permission.id is null or not v_permission.delegable
       or v_permission.id <> v_link.permission_id
       or not authz._carries(_link_state.tenant_id, v_link.role_id, v_permission.id) then
        return;
    end if;
    v_roles := array_remove(role_ids || v_link.role_id, null);
    if v_link.resource_id is not null then
        select r.* into v_resource
        from authz.resources as r
        where r.tenant_id = _link_state.tenant_id and r.id = _link_state.resource_id;
        if not coalesce(v_link.resource_id = any (v_resource.ancestors || v_resource.id), false) then
            return;
        end if;
    end if;

    next_edge := least(case when v_link.valid_from > at then v_link.valid_from end,
                       case when v_link.valid_until > at then v_link.valid_until end,
                       authz._next_edge(v_link.windows, at));
    if v_link.valid_until <= at then
        state := 'expired';
        return;
    elsif v_link.valid_from > at then
        state := 'not_yet_valid';
        return;
    elsif v_link.depth > 8 or links > 8 then
        state := 'depth';
        return;
    end if;
    if num_nonnulls(v_link.condition, v_link.networks, v_link.minimum_authentication_level, v_link.windows) > 0 then
        v_facts := authz._facts(_link_state.tenant_id, v_link.delegate_id, _link_state.resource_id, env);
        state := authz._criteria_state(v_link.condition, v_link.networks, v_link.minimum_authentication_level,
                                       v_link.windows, v_facts, at);
        if state <> 'true' then
            missing := authz._missing_keys(v_link.condition, v_link.networks, v_link.minimum_authentication_level, v_facts);
            return;
        end if;
    end if;

    v_own := authz._decide(_link_state.tenant_id, v_link.delegator_id, _link_state.permission, _link_state.resource_id,
                           env, at, false);
    next_edge := least(next_edge, v_own.expires_at);
    state := 'delegator_lost_right';
    if v_link.parent_id is null then
        if v_own.effect = 'allow' and not exists (
               select
               from unnest(v_roles) as passed (id)
               where not exists (
                   select
                   from authz._rules(_link_state.tenant_id, v_link.delegator_id, v_permission.id,
                                     _link_state.resource_id, env, at) as r
                   where r.effect = 'allow' and r.state = 'true'
                     and r.carrier_id = any (authz._roles_above(_link_state.tenant_id, passed.id)))) then
            state := 'true';
        end if;
    elsif v_own.reason <> 'deny_subject_inactive' and (v_own.effect = 'allow' or v_own.rule_ids = '{}') then
        -- A link passes on what the one before it gives, as long as nothing denies it to whoever stands between.
        select d.* into v_parent
        from authz.delegations as d
        where d.tenant_id = _link_state.tenant_id and d.id = v_link.parent_id;
        if v_parent.delegate_id = v_link.delegator_id and v_parent.may_redelegate
           and v_parent.valid_until >= v_link.valid_until then
            select a.* into v_above
            from authz._link_state(_link_state.tenant_id, v_parent.id, _link_state.permission, _link_state.resource_id,
                                   env, at, v_roles, links + 1) as a;
            next_edge := least(next_edge, v_above.next_edge);
            state := case when v_above.state in ('true', 'depth') then v_above.state else state end;
        end if;
    end if;
end
$$;

comment on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) is
    'What a delegation, with all links of the chain before it, comes to; null when it is about something else.';

revoke all on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) from public;
grant execute on function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer) to enterprise_ai_decider;


create or replace function authz._carries(tenant_id uuid, role_id uuid, permission_id integer)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return _carries.role_id is null or exists (
        select
        from authz.role_rights as r
        join authz.permissions as p on p.id = _carries.permission_id
        where r.tenant_id = _carries.tenant_id and r.role_id = _carries.role_id
          and authz._rights_at(r.rights, p.place) & 30 > 0);
end
$$;

comment on function authz._carries(uuid, uuid, integer) is
    'Whether a role is about a permission in any way, by itself or by what it inherits from; no role is about all.';

revoke all on function authz._carries(uuid, uuid, integer) from public;
grant execute on function authz._carries(uuid, uuid, integer) to enterprise_ai_decider;


create or replace function authz._roles_above(tenant_id uuid, role_id uuid)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return array(
        with recursive above (id) as (
            select _roles_above.role_id
            union
            select i.parent_id
            from above
            join authz.role_inheritance as i on i.tenant_id = _roles_above.tenant_id and i.role_id = above.id
        )
        select above.id from above);
end
$$;

comment on function authz._roles_above(uuid, uuid) is
    'A role and all that it inherits from, at whatever time: an edge that is not yet or no longer valid counts.';

revoke all on function authz._roles_above(uuid, uuid) from public;
grant execute on function authz._roles_above(uuid, uuid) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/decide.sql
-- One decision, in full. Whatever answers a question about rights gives this answer; what is quicker
-- (authz.check, authz.check_many) only leaves out what cannot change it.

create or replace function authz._decide(
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz,
    with_delegations boolean default true)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_decision authz.decision;
    v_permission authz.permissions;
    v_resource_type text;
    v_rule record;
    v_denied boolean := false;
    v_allowed boolean := false;
    v_worst integer := 0;
    v_allowing uuid[] := '{}';
    v_break_glass uuid[] := '{}';
    v_missing text[] := '{}';
    -- The more it says about what is in the way, the later.
    v_states constant text[] := array['delegator_lost_right', 'depth', 'expired', 'not_yet_valid', 'outside_window',
                                      'unknown', 'malformed'];
    v_reasons constant text[] := array['deny_delegator_lost_right', 'deny_depth', 'deny_expired',
                                       'deny_not_yet_valid', 'deny_outside_window', 'deny_condition_unknown',
                                       'error_malformed_policy'];
begin
    v_decision.effect := 'deny';
    v_decision.rule_ids := '{}';
    v_decision.obligations := '{}';
    v_decision.missing := '{}';

    if not authz._is_active(_decide.tenant_id, _decide.subject_id) then
        v_decision.reason := 'deny_subject_inactive';
        return v_decision;
    end if;

    select p.* into v_permission from authz.permissions as p where p.name = _decide.permission;
    if v_permission.id is not null and _decide.resource_id is not null then
        select r.resource_type into v_resource_type
        from authz.resources as r
        where r.tenant_id = _decide.tenant_id and r.id = _decide.resource_id;
        -- What can be done to a message can be asked of the conversation that it lies in.
        if v_resource_type is distinct from v_permission.resource_type
           and not exists (
               select from authz.resource_types as t
               where t.name = v_permission.resource_type and t.parent_type = v_resource_type) then
            v_permission := null;
        end if;
    end if;
    if v_permission.id is null then
        v_decision.reason := 'deny_not_found';
        return v_decision;
    end if;

    for v_rule in
        select r.rule_id, r.source, r.effect, r.assignment_id, r.state, r.next_edge, r.missing
        from authz._rules(_decide.tenant_id, _decide.subject_id, v_permission.id, _decide.resource_id, _decide.env,
                          _decide.at) as r
        union all
        select d.rule_id, 'delegation', 'allow', null, d.state, d.next_edge, d.missing
        from authz._delegated(_decide.tenant_id, _decide.subject_id, _decide.permission, _decide.resource_id,
                              _decide.env, _decide.at) as d
        where _decide.with_delegations
    loop
        v_decision.expires_at := least(v_decision.expires_at, v_rule.next_edge);
        v_missing := v_missing || coalesce(v_rule.missing, '{}');
        if v_rule.effect = 'deny' then
            if v_rule.state in ('true', 'unknown', 'malformed') then
                v_denied := true;
                v_decision.rule_ids := v_decision.rule_ids || v_rule.rule_id;
                -- What a deny says for sure is the firmer reason.
                v_decision.reason := case
                    when v_rule.state = 'true' or v_decision.reason = 'deny_explicit' then 'deny_explicit'
                    when v_rule.state = 'unknown' or v_decision.reason = 'deny_condition_unknown' then
                        'deny_condition_unknown'
                    else 'error_malformed_policy'
                end;
            end if;
        elsif v_rule.state = 'true' then
            v_allowed := true;
            v_allowing := v_allowing || v_rule.rule_id;
            v_break_glass := v_break_glass || case v_rule.source when 'break_glass' then v_rule.assignment_id end;
        else
            v_worst := greatest(v_worst, coalesce(array_position(v_states, v_rule.state), 0));
        end if;
    end loop;

    if v_missing <> '{}' then
        v_decision.missing := array(select distinct m from unnest(v_missing) as m order by m);
    end if;
    if v_denied then
        return v_decision;
    elsif not v_allowed then
        v_decision.reason := coalesce(v_reasons[v_worst], 'deny_default');
        return v_decision;
    end if;

    if v_permission.minimum_authentication_level > 1
       and coalesce(authz._level(_decide.env), 0) < v_permission.minimum_authentication_level then
        v_decision.obligations := jsonb_build_object(
            'authentication_level', v_permission.minimum_authentication_level);
        v_decision.reason := 'deny_default';
        if authz._level(_decide.env) is null then
            v_decision.reason := 'deny_condition_unknown';
            v_decision.missing := array(
                select distinct m from unnest(v_decision.missing || array['env.authentication_level']) as m order by m);
        end if;
        return v_decision;
    end if;

    v_decision.effect := 'allow';
    v_decision.reason := 'allow';
    v_decision.rule_ids := array(select distinct id from unnest(v_allowing) as id order by id);
    if cardinality(array_remove(v_break_glass, null)) = cardinality(v_allowing) then
        -- It is the emergency alone that allows this, which whoever serves it should say and record.
        v_decision.obligations := jsonb_build_object('break_glass', to_jsonb(v_break_glass));
    end if;
    if exists (
        select
        from authz.access_policy_permissions as c
        where c.tenant_id = _decide.tenant_id and c.permission_id = v_permission.id
    ) then
        v_decision := authz._separated(v_decision, _decide.tenant_id, _decide.subject_id, _decide.permission,
                                       _decide.resource_id, _decide.env, _decide.at);
    end if;
    return v_decision;
end
$$;

comment on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) is
    'Decide for a subject by itself, that is without regard to who acts on its behalf.';

revoke all on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) from public;
grant execute on function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean) to enterprise_ai_decider;


create or replace function authz._is_active(tenant_id uuid, user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return exists (
        select
        from authz.holders as h
        join authz.role_sets as s on s.tenant_id = _is_active.tenant_id and s.id = h.role_set_id
        where h.tenant_id = _is_active.tenant_id and h.holder_id = _is_active.user_id and h.is_active and s.is_active);
end
$$;

comment on function authz._is_active(uuid, uuid) is 'Whether both the tenant and the user are active.';

revoke all on function authz._is_active(uuid, uuid) from public;
grant execute on function authz._is_active(uuid, uuid) to enterprise_ai_decider;


create or replace function authz._level(env jsonb)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    select case when env ->> 'authentication_level' ~ '^[1-3]$' then (env ->> 'authentication_level')::integer end
$$;

comment on function authz._level(jsonb) is 'The level at which the user has signed in; null when it is not known.';

revoke all on function authz._level(jsonb) from public;
grant execute on function authz._level(jsonb) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/evaluate.sql
set role enterprise_ai_decider;

create or replace function authz.evaluate(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_decision authz.decision;
begin
    v_decision := authz._evaluate(
        v_context, authz._asked_about(v_context, evaluate.user_id), evaluate.permission, evaluate.resource_id,
        evaluate.request, statement_timestamp());
    return v_decision;
end
$$;

comment on function authz.evaluate(text, uuid, uuid, jsonb) is
    'Decide whether the user of the context, or another one, has a permission (type.action) on a resource, or on
the type as such when there is none: effect, reason, the rules that decided, what would have to be done
(obligations), what was not known (missing), and until when the answer holds if nothing is changed
(expires_at). What the request says goes into the conditions'' $.env. Raises only without a context (ZA001)
and, about another user, without permission.read (ZA007).';

revoke all on function authz.evaluate(text, uuid, uuid, jsonb) from public;
grant execute on function authz.evaluate(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._evaluate(
    context jsonb,
    subject_id uuid,
    permission text,
    resource_id uuid,
    request jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_actor_id uuid := context ->> 'actor_id';
    v_env jsonb := authz._env(context, request);
    v_decision authz.decision;
begin
    v_decision := authz._decide(v_tenant_id, subject_id, permission, resource_id, v_env, at);
    if v_decision.effect = 'allow' and subject_id::text = context ->> 'user_id' then
        if context ? 'scopes' and not coalesce(context -> 'scopes' ? permission, false) then
            -- A key does what it was made for, and not all that its user may.
            v_decision.effect := 'deny';
            v_decision.reason := 'deny_default';
            v_decision.rule_ids := '{}';
        elsif v_actor_id <> subject_id then
            v_decision := authz._on_behalf(v_tenant_id, v_decision, subject_id, v_actor_id, permission, resource_id,
                                           v_env, at);
        end if;
    end if;
    return v_decision;
end
$$;

comment on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) is
    'Decide for a subject in a context: by its rights, the scopes of the key it came with, and who acts for it.';

revoke all on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._on_behalf(
    tenant_id uuid,
    decision authz.decision,
    subject_id uuid,
    actor_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_actor authz.decision;
    v_grant record;
    v_worst text;
begin
    v_actor := authz._decide(_on_behalf.tenant_id, _on_behalf.actor_id, permission, _on_behalf.resource_id, env, at, false);
    decision.expires_at := least(decision.expires_at, v_actor.expires_at);
    if v_actor.reason = 'deny_subject_inactive' or (v_actor.effect = 'deny' and v_actor.rule_ids <> '{}') then
        v_actor.expires_at := decision.expires_at;
        return v_actor;
    end if;

    for v_grant in
        select g.id, g.valid_from, g.valid_until, g.windows, state.of_it
        from authz.proxy_grants as g
        left join authz.permissions as p on p.id = g.permission_id
        cross join lateral (
            select case
                when g.valid_until <= at then 'expired'
                when g.valid_from > at then 'not_yet_valid'
                when num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) = 0 then 'true'
                else authz._criteria_state(
                    g.condition, g.networks, g.minimum_authentication_level, g.windows,
                    authz._facts(_on_behalf.tenant_id, _on_behalf.actor_id, _on_behalf.resource_id, env), at)
            end) as state (of_it)
        where g.tenant_id = _on_behalf.tenant_id and g.actor_id = _on_behalf.actor_id
          and g.user_id = _on_behalf.subject_id
          and (g.all_permissions or p.name = _on_behalf.permission)
          and (g.resource_id is null or exists (
              select
              from authz.resources as r
              where r.tenant_id = _on_behalf.tenant_id and r.id = _on_behalf.resource_id
                and g.resource_id = any (r.ancestors || r.id)))
        order by g.id
    loop
        decision.expires_at := least(
            decision.expires_at, case when v_grant.valid_from > at then v_grant.valid_from end,
            case when v_grant.valid_until > at then v_grant.valid_until end, authz._next_edge(v_grant.windows, at));
        if v_grant.of_it = 'true' then
            decision.rule_ids := decision.rule_ids || v_grant.id;
            return authz._separated(decision, _on_behalf.tenant_id, _on_behalf.actor_id, permission,
                                    _on_behalf.resource_id, env, at);
        end if;
        v_worst := v_grant.of_it;
    end loop;

    decision.effect := 'deny';
    decision.rule_ids := '{}';
    decision.reason := case v_worst
        when 'expired' then 'deny_expired'
        when 'not_yet_valid' then 'deny_not_yet_valid'
        when 'outside_window' then 'deny_outside_window'
        when 'unknown' then 'deny_condition_unknown'
        when 'malformed' then 'error_malformed_policy'
        else 'deny_default'
    end;
    return decision;
end
$$;

comment on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What is left of a decision when somebody else acts for the subject: there is a grant to act that covers it, and
nothing denies it to the actor. What the actor acts for others, or was delegated, gives nothing here.';

revoke all on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._env(context jsonb, request jsonb)
    returns jsonb
    language sql
    immutable
    parallel safe
as $$
    -- What the context knows cannot be said by the caller, not even when the context does not know it.
    select (case when jsonb_typeof(request) = 'object' then request else '{}' end
            - array['ip_address', 'authentication_level', 'user_agent', 'session_id', 'actor_id', 'scopes'])
           || (context - array['tenant_id', 'user_id'])
$$;

comment on function authz._env(jsonb, jsonb) is
    'What conditions see as $.env: the request''s own keys and, over them, what the context says.';

revoke all on function authz._env(jsonb, jsonb) from public;
grant execute on function authz._env(jsonb, jsonb) to enterprise_ai_decider;


create or replace function authz._asked_about(context jsonb, user_id uuid)
    returns uuid
    language plpgsql
    stable
    parallel restricted
as $$
begin
    if context is null then
        raise exception 'A decision needs a context, and none is open'
            using errcode = 'ZA001', hint = 'Open the context of a user first.';
    end if;
    if coalesce(user_id::text <> context ->> 'user_id', false)
       and not authz._is_allowed(context, (context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid,
                                 'permission.read', null, '{}') then
        raise exception 'User % may not ask what others may do', context ->> 'user_id'
            using errcode = 'ZA007', hint = 'It takes permission.read.';
    end if;
    return coalesce(user_id, (context ->> 'user_id')::uuid);
end
$$;

comment on function authz._asked_about(jsonb, uuid) is
    'Whom a question is about, when the caller may ask it. Whose context has no user is a service, which asks about
anybody in the tenant. Raises ZA001 without a context, ZA007.';

revoke all on function authz._asked_about(jsonb, uuid) from public;
grant execute on function authz._asked_about(jsonb, uuid) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/plain.sql
-- The plain case, for which what is derived is enough. These functions are inlined into the statements that call them:
-- no set clause, not definer, nothing but one select.
--
-- Rights are bits, so that what many roles and groups say is one bitwise or:
--    1 denied, 2 allowed, on all of the type and always; 4 allowed always on what one owns;
--    8 may be denied, 16 may be allowed, by rules of roles and by what was delegated, which have to be evaluated;
--   32 may be allowed, 64 may be denied, by rules given to the user or a group directly, which have to be looked up.

create or replace function authz._rights_at(rights bit varying, place integer)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- A permission that is younger than what was derived is in none of it: past the end there are no bits, which is 0.
    select substring(rights, 8 * place + 1, 8)::integer
$$;

comment on function authz._rights_at(bit varying, integer) is
    'What a role''s rights say of the permission at a place: 1 denied, 2 allowed, 4 allowed on one''s own, 8 may be denied
and 16 may be allowed, by rules that have to be evaluated.';

revoke all on function authz._rights_at(bit varying, integer) from public;
grant execute on function authz._rights_at(bit varying, integer) to enterprise_ai_decider;


create or replace function authz._of_holder(holder authz.holders, rights bit varying, place integer)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    select authz._rights_at(rights, place) | authz._rights_at(holder.rights, place)
           | case when holder.has_delegations then 16 else 0 end
$$;

comment on function authz._of_holder(authz.holders, bit varying, integer) is
    'What a user has of the permission at a place, as authz._held has it, by the rights of their set of roles and by what
is given to them directly: not by roles that are held at times.';

revoke all on function authz._of_holder(authz.holders, bit varying, integer) from public;
grant execute on function authz._of_holder(authz.holders, bit varying, integer) to enterprise_ai_decider;


create or replace function authz._at_times(
    tenant_id uuid,
    holder_id uuid,
    place integer,
    at timestamptz,
    out rights integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(case
               when not given.is_by_time_alone or _at_times.at is null then
                   case when carried.rights & 9 > 0 then 8 else 0 end | case when carried.rights & 22 > 0 then 16 else 0 end
               when (given.valid_from <= _at_times.at) is not false and (given.valid_until > _at_times.at) is not false then
                   carried.rights
               else 0
           end), 0)
    from (
        select a.role_id, a.valid_from, a.valid_until,
               a.resource_id is null
               and num_nonnulls(a.condition, a.networks, a.minimum_authentication_level, a.windows) = 0 as is_by_time_alone
        from authz.user_roles as a
        where a.tenant_id = _at_times.tenant_id and a.user_id = _at_times.holder_id
          and (a.is_conditional or a.resource_id is not null)
        union all
        select a.role_id, a.valid_from, a.valid_until,
               a.resource_id is null
               and num_nonnulls(a.condition, a.networks, a.minimum_authentication_level, a.windows) = 0
        from authz.group_roles as a
        where a.tenant_id = _at_times.tenant_id and a.group_id = _at_times.holder_id
          and (a.is_conditional or a.resource_id is not null)
        union all
        -- Whoever acts in an emergency is told so: that takes the whole decision.
        select b.role_id, null, null, false
        from authz.break_glass_events as b
        where b.tenant_id = _at_times.tenant_id and b.user_id = _at_times.holder_id
    ) as given
    cross join lateral (
        select authz._rights_at(r.rights, _at_times.place) as rights
        from authz.role_rights as r
        where r.tenant_id = _at_times.tenant_id and r.role_id = given.role_id
        offset 0
    ) as carried
    offset 0
$$;

comment on function authz._at_times(uuid, uuid, integer, timestamptz) is
    'What a user or a group has of the permission at a place by roles that they do not hold always and everywhere: what
hangs on the time alone as it is at that time, of all else 8 where it may deny and 16 where it may allow; without a time
all of it so.';

revoke all on function authz._at_times(uuid, uuid, integer, timestamptz) from public;
grant execute on function authz._at_times(uuid, uuid, integer, timestamptz) to enterprise_ai_decider;


create or replace function authz._held(
    tenant_id uuid,
    user_id uuid,
    place integer,
    at timestamptz,
    out is_active boolean,
    out rights integer,
    out groups uuid[])
    returns setof record
    language sql
    stable
    parallel restricted
as $$
    select mine.is_active and together.is_active,
           authz._of_holder(mine, together.rights, _held.place)
           | case
               when not mine.has_special_roles then 0
               else (select at_times.rights
                     from authz._at_times(_held.tenant_id, _held.user_id, _held.place, _held.at) as at_times)
           end
           | case
               when not together.has_special_roles then 0
               else (select coalesce(bit_or(at_times.rights), 0)
                     from (select unnest(together.groups) as id) as within
                     cross join lateral authz._at_times(_held.tenant_id, within.id, _held.place, _held.at) as at_times)
           end,
           together.groups
    from authz.holders as mine
    join authz.role_sets as together on together.tenant_id = _held.tenant_id and together.id = mine.role_set_id
    where mine.tenant_id = _held.tenant_id and mine.holder_id = _held.user_id
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._held(uuid, uuid, integer, timestamptz) is
    'What a user, by all that they hold, has of the permission at a place. rights: as authz._rights_at
has them at that time (null: as they are at any), and 32 and 64 when rules that are given to the user or a group directly
may allow or deny it besides.';

revoke all on function authz._held(uuid, uuid, integer, timestamptz) from public;
grant execute on function authz._held(uuid, uuid, integer, timestamptz) to enterprise_ai_decider;


create or replace function authz._says(effect text, depends boolean, is_in_time boolean, is_here boolean)
    returns integer
    language sql
    immutable
    parallel safe
as $$
    -- What is allowed further up may be cut off on the way down.
    select case
        when depends then 4
        when not is_in_time then 0
        when effect = 'deny' then 1
        when is_here then 2
        else 4
    end
$$;

comment on function authz._says(text, boolean, boolean, boolean) is
    'What a rule that is given directly comes to, where no approval is needed: 0 nothing, 1 denied, 2 allowed, 4 has to be
evaluated.';

revoke all on function authz._says(text, boolean, boolean, boolean) from public;
grant execute on function authz._says(text, boolean, boolean, boolean) to enterprise_ai_decider;


create or replace function authz._said_to_user(
    tenant_id uuid,
    user_id uuid,
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(authz._says(
        p.effect, num_nonnulls(p.condition, p.networks, p.minimum_authentication_level, p.windows) > 0,
        (p.valid_from <= statement_timestamp()) is not false and (p.valid_until > statement_timestamp()) is not false,
        coalesce(p.resource_id = _said_to_user.resource_id, p.resource_id is null))), 0)
    from authz.user_permissions as p
    where p.tenant_id = _said_to_user.tenant_id and p.user_id = _said_to_user.user_id
      and p.permission_id = _said_to_user.permission_id
      -- As the index has it: the tenant's id stands for the type as such.
      and coalesce(p.resource_id, p.tenant_id)
          = any (_said_to_user.ancestors || array[_said_to_user.resource_id, _said_to_user.tenant_id])
      and (p.resource_id is null or p.resource_id = any (_said_to_user.ancestors || _said_to_user.resource_id))
$$;

comment on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) is
    'What the rules come to that are given to a user directly and reach a resource (null: the type), as authz._says has it.';

revoke all on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) from public;
grant execute on function authz._said_to_user(uuid, uuid, integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._said_to_groups(
    tenant_id uuid,
    group_ids uuid[],
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select coalesce(bit_or(authz._says(
        p.effect, num_nonnulls(p.condition, p.networks, p.minimum_authentication_level, p.windows) > 0,
        (p.valid_from <= statement_timestamp()) is not false and (p.valid_until > statement_timestamp()) is not false,
        coalesce(p.resource_id = _said_to_groups.resource_id, p.resource_id is null))), 0)
    from authz.group_permissions as p
    where p.tenant_id = _said_to_groups.tenant_id and p.group_id = any (_said_to_groups.group_ids)
      and p.permission_id = _said_to_groups.permission_id
      and coalesce(p.resource_id, p.tenant_id)
          = any (_said_to_groups.ancestors || array[_said_to_groups.resource_id, _said_to_groups.tenant_id])
      and (p.resource_id is null or p.resource_id = any (_said_to_groups.ancestors || _said_to_groups.resource_id))
$$;

comment on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) is
    'The same as authz._said_to_user of the rules that are given to some groups.';

revoke all on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) from public;
grant execute on function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._said(
    tenant_id uuid,
    user_id uuid,
    rights integer,
    group_ids uuid[],
    permission_id integer,
    ancestors uuid[],
    resource_id uuid,
    out said integer)
    returns setof integer
    language sql
    stable
    parallel restricted
as $$
    select case
        -- Nothing is looked up that could not turn the answer.
        when _said.rights & 64 > 0 or _said.rights & 34 = 32 then
            (select u.said
             from authz._said_to_user(_said.tenant_id, _said.user_id, _said.permission_id, _said.ancestors,
                                      _said.resource_id) as u)
            | case
                when _said.group_ids = '{}' then 0
                else (select g.said
                      from authz._said_to_groups(_said.tenant_id, _said.group_ids, _said.permission_id, _said.ancestors,
                                                 _said.resource_id) as g)
            end
        else 0
    end
    offset 0    -- found out once, however often it is looked at
$$;

comment on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) is
    'What is said directly to a user and to the groups they are in, if anything is that matters beside their rights.';

revoke all on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) from public;
grant execute on function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid) to enterprise_ai_decider;


create or replace function authz._settled(
    permission authz.permissions,
    parent_type text,
    resource authz.resources,
    resource_id uuid,
    user_id uuid,
    level integer,
    is_active boolean,
    rights integer,
    said integer)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select case
        when not is_active or (rights | said) & 1 > 0 then false
        when resource_id is not null and resource.id is null then false
        when resource.id is not null
             and (resource.resource_type = any (array[permission.resource_type, parent_type])) is not true then false
        when permission.minimum_authentication_level > 1
             and coalesce(level, 0) < permission.minimum_authentication_level then false
        when permission.requires_approval or said & 4 > 0 then null
        when (rights | said) & 2 > 0 or (rights & 4 > 0 and resource.owner_id is not distinct from user_id) then
            case when rights & 8 = 0 then true end
        when rights & 16 = 0 then false
    end
$$;

comment on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                   integer) is
    'The answer as far as what is derived (authz._held) and what was said directly can give it; null when rules have to be
evaluated that could turn it.';

revoke all on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                      integer) from public;
grant execute on function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer,
                                         integer) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/standing.sql
-- What somebody has of a permission before one looks at any resource, from what is derived for roles and holders.

create or replace function authz._standing(context jsonb, tenant_id uuid, subject_id uuid, permission text)
    returns authz.standing
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_standing authz.standing;
    v_place integer;
    v_level integer;
    v_is_active boolean;
    v_is_plain boolean;         -- without roles held at times, by themselves or by their groups
begin
    -- Small statements: each finds rows by their keys, and to start a large join costs more than all of them.
    select p.id, p.place, p.resource_type, p.requires_approval, p.minimum_authentication_level
    into v_standing.permission_id, v_place, v_standing.resource_type, v_standing.requires_approval, v_level
    from authz.permissions as p
    where p.name = _standing.permission;
    select h.is_active and together.is_active, together.groups, not h.has_special_roles and not together.has_special_roles,
           authz._of_holder(h, together.rights, v_place)
    into v_is_active, v_standing.groups, v_is_plain, v_standing.rights
    from authz.holders as h
    join authz.role_sets as together on together.tenant_id = _standing.tenant_id and together.id = h.role_set_id
    where h.tenant_id = _standing.tenant_id and h.holder_id = _standing.subject_id;
    if v_standing.permission_id is null or v_is_active is not true
       or v_level > 1 and v_level > coalesce(authz._level(context), 0) then
        return null;
    end if;

    if not v_is_plain then
        select v_standing.rights | coalesce(bit_or(at_times.rights), 0)
        into v_standing.rights
        from (select unnest(_standing.subject_id || v_standing.groups) as id) as holder
        cross join lateral authz._at_times(_standing.tenant_id, holder.id, v_place, statement_timestamp()) as at_times;
    end if;
    return v_standing;
end
$$;

comment on function authz._standing(jsonb, uuid, uuid, text) is
    'What a subject has of a permission, whatever the resource; null when nothing can allow it: there is no such
permission, the subject or the tenant is not active, or the level of the sign-in is too low.';

revoke all on function authz._standing(jsonb, uuid, uuid, text) from public;
grant execute on function authz._standing(jsonb, uuid, uuid, text) to enterprise_ai_decider;


create or replace function authz._parent_type(resource_type text)
    returns text
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return (select t.parent_type from authz.resource_types as t where t.name = _parent_type.resource_type);
end
$$;

comment on function authz._parent_type(text) is
    'The type that resources of a type can lie in: what can be done to a message can be asked of its conversation.';

revoke all on function authz._parent_type(text) from public;
grant execute on function authz._parent_type(text) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/check.sql
-- The check that is made before every action. What is derived for holders and their sets of roles, read by key,
-- settle it unless there are rules that could turn the answer about this very permission. Of these, those given
-- directly (what is shared with somebody) are looked up on the resource and what it lies within. Only what is left is
-- decided in full, as authz.evaluate does.

set role enterprise_ai_decider;

create or replace function authz.check(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns boolean
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_subject_id uuid := v_context ->> 'user_id';
begin
    if v_subject_id is null or "check".user_id <> v_subject_id then
        v_subject_id := authz._asked_about(v_context, "check".user_id);
    end if;
    return authz._is_allowed(v_context, v_tenant_id, v_subject_id, "check".permission, "check".resource_id,
                             "check".request);
end
$$;

comment on function authz.check(text, uuid, uuid, jsonb) is
    'Whether the user of the context, or another one, has a permission (type.action) on a resource, or on the type
as such when there is none; the same answer as authz.evaluate gives, without its reasons. Anything that is
not known is false. Raises only without a context (ZA001) and, about another user, without permission.read
(ZA007).';

revoke all on function authz.check(text, uuid, uuid, jsonb) from public;
grant execute on function authz.check(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._is_allowed(
    context jsonb,
    tenant_id uuid,
    subject_id uuid,
    permission text,
    resource_id uuid,
    request jsonb)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_standing authz.standing;
    v_resource_type text;
    v_owner_id uuid;
    v_ancestors uuid[];
    v_said integer := 0;
    v_said_to_groups integer;
    v_is_allowed boolean;
begin
    -- A key's scopes and acting for another limit what there is; the whole decision takes them into account.
    if not context ?| '{actor_id,scopes}' then
        v_standing := authz._standing(context, _is_allowed.tenant_id, _is_allowed.subject_id, _is_allowed.permission);
        if v_standing.permission_id is null or v_standing.rights & 1 > 0 then
            return false;
        end if;
        if _is_allowed.resource_id is not null then
            select r.resource_type, r.owner_id, r.ancestors
            into v_resource_type, v_owner_id, v_ancestors
            from authz.resources as r
            where r.tenant_id = _is_allowed.tenant_id and r.id = _is_allowed.resource_id;
            if v_resource_type is distinct from v_standing.resource_type
               and (v_resource_type = authz._parent_type(v_standing.resource_type)) is not true then
                return false;
            end if;
        end if;

        v_is_allowed := v_standing.rights & 2 > 0
                        or v_standing.rights & 4 > 0 and coalesce(v_owner_id = _is_allowed.subject_id, false);
        -- What is said directly is looked up when it could turn the answer.
        if v_standing.rights & 64 > 0 or v_standing.rights & 32 > 0 and not v_is_allowed then
            select u.said
            into v_said
            from authz._said_to_user(_is_allowed.tenant_id, _is_allowed.subject_id, v_standing.permission_id, v_ancestors,
                                     _is_allowed.resource_id) as u;
            if v_standing.groups <> '{}' then
                select g.said
                into v_said_to_groups
                from authz._said_to_groups(_is_allowed.tenant_id, v_standing.groups, v_standing.permission_id,
                                           v_ancestors, _is_allowed.resource_id) as g;
                v_said := v_said | v_said_to_groups;
            end if;
        end if;

        if v_said & 1 > 0 then
            return false;
        elsif v_said & 4 = 0 then
            v_is_allowed := v_is_allowed or v_said & 2 > 0;
            if v_is_allowed and v_standing.rights & 8 = 0 and not v_standing.requires_approval then
                return true;
            elsif not v_is_allowed and v_standing.rights & 16 = 0 then
                return false;
            end if;
        end if;
    end if;
    return (authz._evaluate(context, _is_allowed.subject_id, _is_allowed.permission, _is_allowed.resource_id,
                            _is_allowed.request, statement_timestamp())).effect = 'allow';
end
$$;

comment on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) is
    'Whether a subject has a permission in a context: the effect of authz._evaluate, by less where less is enough.';

revoke all on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) from public;
grant execute on function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/check_many.sql
set role enterprise_ai_decider;

create or replace function authz.check_many(
    permissions text[],
    resource_ids uuid[],
    user_ids uuid[] default null,
    request jsonb default '{}')
    returns boolean[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := authz._asked_about(
        v_context, (select u.id from unnest(check_many.user_ids) as u (id)
                    where u.id::text is distinct from v_context ->> 'user_id' limit 1));
    v_is_limited boolean := v_context ?| '{actor_id,scopes}';
    v_level integer := authz._level(v_context);
    v_answers boolean[];
begin
    v_user_id := v_context ->> 'user_id';
    if cardinality(permissions) <> cardinality(resource_ids)
       or cardinality(permissions) <> cardinality(user_ids) then
        raise exception 'The lists of what to check are of different lengths'
            using errcode = 'ZA009', hint = 'Each check has a permission, a resource (or null) and, if users are '
                                            'given, a user.';
    end if;

    select array_agg(
        coalesce(
            authz._settled(permission.it, t.parent_type, r, a.resource_id, who.id, v_level, held.is_active, held.rights,
                           direct.said),
            authz._is_allowed(v_context, v_tenant_id, who.id, a.permission, a.resource_id, check_many.request))
        order by a.place)
    into v_answers
    from unnest(check_many.permissions, check_many.resource_ids, check_many.user_ids)
        with ordinality as a (permission, resource_id, user_id, place)
    cross join lateral (select coalesce(a.user_id, v_user_id)) as who (id)
    left join lateral (
        -- By its key: joined, each question may be compared with all names there are.
        select p as it
        from authz.permissions as p
        where p.name = a.permission and not v_is_limited
        offset 0
    ) as permission on true
    left join authz.resource_types as t on t.name = (permission.it).resource_type
    left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = a.resource_id
    left join lateral authz._held(v_tenant_id, who.id, (permission.it).place, statement_timestamp()) as held on true
    cross join lateral authz._said(v_tenant_id, who.id, held.rights, held.groups, (permission.it).id, r.ancestors,
                                   a.resource_id) as direct;
    return coalesce(v_answers, '{}');
end
$$;

comment on function authz.check_many(text[], uuid[], uuid[], jsonb) is
    'The answers of authz.check to many questions at once, in their order: the nth permission on the nth resource
(null: on the type) for the nth user (no list, or null: the user of the context). Raises what authz.check
raises, and ZA009 when the lists are of different lengths.';

revoke all on function authz.check_many(text[], uuid[], uuid[], jsonb) from public;
grant execute on function authz.check_many(text[], uuid[], uuid[], jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;
-- <<<

-- >>> sql/authz/explain.sql
set role enterprise_ai_decider;

create or replace function authz.explain(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns jsonb
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, explain.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_env jsonb := authz._env(v_context, explain.request);
    v_decision authz.decision;
    v_rules jsonb;
begin
    v_decision := authz._evaluate(v_context, v_subject_id, explain.permission, explain.resource_id, explain.request,
                                  statement_timestamp());
    select jsonb_agg(
               jsonb_strip_nulls(jsonb_build_object(
                   'rule_id', r.rule_id, 'source', r.source, 'effect', r.effect, 'state', r.state,
                   'assignment_id', r.assignment_id, 'role', held.name,
                   'inherited_from', nullif(carrier.name, held.name), 'on_resource', r.scope_id,
                   'until', r.next_edge, 'missing', r.missing, 'decided', r.rule_id = any (v_decision.rule_ids)))
               order by r.effect desc, r.state, r.rule_id, r.assignment_id)
    into v_rules
    from (
        select x.*
        from authz.permissions as p
        cross join lateral authz._rules(v_tenant_id, v_subject_id, p.id, explain.resource_id, v_env,
                                        statement_timestamp()) as x
        where p.name = explain.permission
        union all
        select d.rule_id, 'delegation', 'allow', null, null, null, null, d.state, d.next_edge, d.missing
        from authz._delegated(v_tenant_id, v_subject_id, explain.permission, explain.resource_id, v_env,
                              statement_timestamp()) as d
    ) as r
    left join authz.roles as held on held.tenant_id = v_tenant_id and held.id = r.role_id
    left join authz.roles as carrier on carrier.tenant_id = v_tenant_id and carrier.id = r.carrier_id;

    return jsonb_build_object(
        'permission', explain.permission, 'resource_id', explain.resource_id, 'user_id', v_subject_id,
        'actor_id', v_context -> 'actor_id', 'at', statement_timestamp(),
        'decision', to_jsonb(v_decision), 'rules', coalesce(v_rules, '[]'));
end
$$;

comment on function authz.explain(text, uuid, uuid, jsonb) is
    'The decision that authz.evaluate gives, with every rule that could bear on it and what each came to: true, or
why not (out_of_scope, not_own, expired, not_yet_valid, outside_window, false, unknown, malformed,
not_approved, delegator_lost_right, depth). Raises what authz.check raises.';

revoke all on function authz.explain(text, uuid, uuid, jsonb) from public;
grant execute on function authz.explain(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz.explain_text(
    permission text,
    resource_id uuid default null,
    user_id uuid default null,
    request jsonb default '{}')
    returns text
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_explained jsonb := authz.explain(permission, resource_id, user_id, request);
    v_decision jsonb := v_explained -> 'decision';
begin
    return concat_ws(
        e'\n',
        format('%s: %s may%s %s%s', v_decision ->> 'reason', v_explained ->> 'user_id',
               case v_decision ->> 'effect' when 'deny' then ' not' else '' end, permission,
               ' on ' || resource_id),
        '  missing: ' || nullif(translate(v_decision ->> 'missing', '[]"', ''), ''),
        '  it would take: ' || nullif(v_decision ->> 'obligations', '{}'),
        '  holds until: ' || (v_decision ->> 'expires_at'),
        (select string_agg(
                    format('  %s %s: %s by %s%s%s%s', case when (r.rule ->> 'decided')::boolean then '*' else '-' end,
                           r.rule ->> 'state', r.rule ->> 'effect', replace(r.rule ->> 'source', '_', ' '),
                           ' ' || (r.rule ->> 'role'), ' from ' || (r.rule ->> 'inherited_from'),
                           ' on ' || (r.rule ->> 'on_resource')),
                    e'\n' order by r.place)
         from jsonb_array_elements(v_explained -> 'rules') with ordinality as r (rule, place)));
end
$$;

comment on function authz.explain_text(text, uuid, uuid, jsonb) is
    'What authz.explain says, for people to read; the rules that decided are marked with a star.';

revoke all on function authz.explain_text(text, uuid, uuid, jsonb) from public;
grant execute on function authz.explain_text(text, uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;
-- <<<

-- >>> sql/authz/visible.sql
-- What row security goes by. A policy asks once for each statement what somebody may see, and gets it as a list of
-- scopes that it compares with each row: the tenant's id stands for all of the type, the user's own for what they own,
-- any other is that one thing. What is denied on single things is a second list, empty for nearly everybody, so that a
-- policy asks first for the scopes of those to whom nothing is denied, and for the two lists only where that says no.
--
-- It may show less than authz.check allows, never more: a rule for the whole type whose condition asks about the
-- resource counts for nothing here, and neither does what was delegated on no resource.

set role enterprise_ai_decider;

create or replace function authz.open_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
    v_standing authz.standing := authz._standing_of_user(v_context, open_scopes.permission);
begin
    -- Acting for another, and rules that may deny, may hide something; nearly always there is neither.
    if (v_standing.rights & 72 > 0 or v_context ? 'actor_id')
       and authz._hidden(v_context, v_standing, open_scopes.permission) <> '{}' then
        return '{}';
    end if;
    return authz._visible(v_context, v_standing, open_scopes.permission);
end
$$;

comment on function authz.open_scopes(text) is
    'For policies, as (select authz.open_scopes(…)): the same as authz.visible_scopes as long as authz.hidden_scopes holds
nothing, otherwise nothing.';

revoke all on function authz.open_scopes(text) from public;
grant execute on function authz.open_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.visible_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
begin
    return authz._visible(v_context, authz._standing_of_user(v_context, visible_scopes.permission), visible_scopes.permission);
end
$$;

comment on function authz.visible_scopes(text) is
    'As (select authz.visible_scopes(…)): on what the user of the context has a permission. Holds the
tenant''s id for all of the type, the user''s own for what they own, and the ids of single resources. Without a user, for
a service, the tenant''s id; without a context nothing.';

revoke all on function authz.visible_scopes(text) from public;
grant execute on function authz.visible_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.hidden_scopes(permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
declare
    v_context jsonb := platform.context();
begin
    return authz._hidden(v_context, authz._standing_of_user(v_context, hidden_scopes.permission), hidden_scopes.permission);
end
$$;

comment on function authz.hidden_scopes(text) is
    'For policies, beside authz.visible_scopes: the resources that are denied, whatever else allows them.';

revoke all on function authz.hidden_scopes(text) from public;
grant execute on function authz.hidden_scopes(text) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._standing_of_user(context jsonb, permission text)
    returns authz.standing
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return case when context ? 'user_id' then
        authz._standing(context, (context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid,
                        _standing_of_user.permission)
    end;
end
$$;

comment on function authz._standing_of_user(jsonb, text) is
    'What the user of a context has of a permission (authz._standing); null when the context has none.';

revoke all on function authz._standing_of_user(jsonb, text) from public;
grant execute on function authz._standing_of_user(jsonb, text) to enterprise_ai_decider;


create or replace function authz._visible(context jsonb, standing authz.standing, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_shared authz.shares;
    v_scopes uuid[] := '{}';
begin
    if context is null then
        return '{}';
    elsif v_user_id is null then
        return array[v_tenant_id];
    end if;
    if (standing).permission_id is null or (standing).rights & 1 > 0 then
        return '{}';
    end if;

    -- As long as nothing limits it: all of the type, or all that is one's own and what is simply shared.
    if (standing).rights & 72 = 0 and not (standing).requires_approval and not context ?| '{actor_id,scopes}' then
        if (standing).rights & 2 > 0 then
            return array[v_tenant_id, v_user_id];
        elsif (standing).rights & 32 > 0 then
            v_shared := authz._shared(v_tenant_id, v_user_id, standing);
        end if;
        v_scopes := case when (standing).rights & 4 > 0 then array[v_user_id] else '{}' end;
        if v_shared.resource_ids <> '{}' then
            v_scopes := v_scopes
                || authz._with_what_lies_below(context, standing, _visible.permission, v_shared.resource_ids);
        end if;
        if (standing).rights & 16 = 0 and not coalesce(v_shared.may_allow, false) then
            return v_scopes;
        end if;
    end if;
    if (authz._evaluate(context, v_user_id, _visible.permission, null, '{}', statement_timestamp())).effect = 'allow'
       and not authz._asks_about_resources(v_tenant_id, v_user_id, (standing).permission_id, context) then
        return v_scopes || array[v_tenant_id, v_user_id];
    end if;
    return v_scopes || authz._single(context, standing, _visible.permission, v_scopes);
end
$$;

comment on function authz._visible(jsonb, authz.standing, text) is
    'The answer of authz.visible_scopes in a context whose user has this standing.';

revoke all on function authz._visible(jsonb, authz.standing, text) from public;
grant execute on function authz._visible(jsonb, authz.standing, text) to enterprise_ai_decider;


create or replace function authz._single(context jsonb, standing authz.standing, permission text, known uuid[])
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_parent_type text := authz._parent_type((_single.standing).resource_type);
    v_places uuid[] := authz._places(v_tenant_id, v_user_id, (_single.standing).permission_id, 'allow');
begin
    return array(
        select other.id
        from (
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.id = any (v_places)
            union
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.ancestors && v_places
            union
            -- What is limited in some way leaves of one's own what is a resource.
            select r.id
            from authz.resources as r
            where r.tenant_id = v_tenant_id and r.resource_type in ((_single.standing).resource_type, v_parent_type)
              and r.owner_id = v_user_id and not _single.known @> array[v_user_id]
            except
            select unnest(_single.known)
        ) as other
        where authz._is_allowed(context, v_tenant_id, v_user_id, _single.permission, other.id, '{}'));
end
$$;

comment on function authz._single(jsonb, authz.standing, text, uuid[]) is
    'Single resources, besides the scopes that are known, that the user of a context has a permission on, decided one by
one: those that rules name, what lies below them, and what the user owns.';

revoke all on function authz._single(jsonb, authz.standing, text, uuid[]) from public;
grant execute on function authz._single(jsonb, authz.standing, text, uuid[]) to enterprise_ai_decider;


create or replace function authz._hidden(context jsonb, standing authz.standing, permission text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_places uuid[];
begin
    if v_user_id is null then
        return '{}';
    end if;
    -- Who acts for another is held to what is denied to either.
    if (standing).permission_id is null
       or (standing).rights & 72 = 0 and not context ? 'actor_id' then
        return '{}';
    end if;
    v_places := authz._places(v_tenant_id, v_user_id, (standing).permission_id, 'deny');
    if context ? 'actor_id' then
        v_places := v_places
            || authz._places(v_tenant_id, (context ->> 'actor_id')::uuid, (standing).permission_id, 'deny');
    end if;
    if v_places = '{}' then
        return '{}';
    end if;
    return array(
        select r.id
        from authz.resources as r
        where r.tenant_id = v_tenant_id and (r.id = any (v_places) or r.ancestors && v_places)
          and not authz._is_allowed(context, v_tenant_id, v_user_id, _hidden.permission, r.id, '{}')
        order by r.id);
end
$$;

comment on function authz._hidden(jsonb, authz.standing, text) is
    'The answer of authz.hidden_scopes in a context whose user has this standing.';

revoke all on function authz._hidden(jsonb, authz.standing, text) from public;
grant execute on function authz._hidden(jsonb, authz.standing, text) to enterprise_ai_decider;


create or replace function authz._shared(tenant_id uuid, user_id uuid, standing authz.standing)
    returns authz.shares
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_mine authz.shares;
    v_of_groups authz.shares;
begin
    -- What is about the whole type, always, the rights say; for a time, it has to be evaluated.
    select array_agg(g.resource_id) filter (where says.it = 2 and g.resource_id is not null),
           coalesce(bool_or(says.it = 4 or says.it = 2 and g.resource_id is null), false)
    into v_mine
    from authz.user_permissions as g
    cross join lateral authz._says(
        g.effect, num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) > 0,
        (g.valid_from <= statement_timestamp()) is not false and (g.valid_until > statement_timestamp()) is not false,
        true) as says (it)
    where g.tenant_id = _shared.tenant_id and g.user_id = _shared.user_id
      and g.permission_id = (_shared.standing).permission_id;
    if (_shared.standing).groups <> '{}' then
        select array_agg(g.resource_id) filter (where says.it = 2 and g.resource_id is not null),
               coalesce(bool_or(says.it = 4 or says.it = 2 and g.resource_id is null), false)
        into v_of_groups
        from authz.group_permissions as g
        cross join lateral authz._says(
            g.effect, num_nonnulls(g.condition, g.networks, g.minimum_authentication_level, g.windows) > 0,
            (g.valid_from <= statement_timestamp()) is not false and (g.valid_until > statement_timestamp()) is not false,
            true) as says (it)
        where g.tenant_id = _shared.tenant_id and g.group_id = any ((_shared.standing).groups)
          and g.permission_id = (_shared.standing).permission_id;
        v_mine.resource_ids := v_mine.resource_ids || v_of_groups.resource_ids;
        v_mine.may_allow := v_mine.may_allow or v_of_groups.may_allow;
    end if;
    return v_mine;
end
$$;

comment on function authz._shared(uuid, uuid, authz.standing) is
    'The resources on which somebody, or a group they are in, is allowed a permission directly and without condition.';

revoke all on function authz._shared(uuid, uuid, authz.standing) from public;
grant execute on function authz._shared(uuid, uuid, authz.standing) to enterprise_ai_decider;


create or replace function authz._with_what_lies_below(
    context jsonb,
    standing authz.standing,
    permission text,
    resource_ids uuid[])
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_user_id uuid := context ->> 'user_id';
    v_type text := (_with_what_lies_below.standing).resource_type;
    v_parent_type text := authz._parent_type(v_type);
begin
    return array(
        select r.id
        from (select distinct shared.id from unnest(_with_what_lies_below.resource_ids) as shared (id)) as shared
        join authz.resources as r on r.tenant_id = v_tenant_id and r.id = shared.id
        where r.resource_type in (v_type, v_parent_type)
    ) || array(
        select r.id
        from authz.resources as r
        where r.tenant_id = v_tenant_id and r.resource_type in (v_type, v_parent_type)
          and r.ancestors && _with_what_lies_below.resource_ids
          and r.id <> all (_with_what_lies_below.resource_ids)
          -- On the way down it may be cut off.
          and authz._is_allowed(context, v_tenant_id, v_user_id, _with_what_lies_below.permission, r.id, '{}'));
end
$$;

comment on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) is
    'Of these resources, on which a permission is allowed, those that it can be asked on, and what lies below them.';

revoke all on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) from public;
grant execute on function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]) to enterprise_ai_decider;


create or replace function authz._places(tenant_id uuid, user_id uuid, permission_id integer, effect text)
    returns uuid[]
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_groups uuid[] := (
        select s.groups
        from authz.holders as h
        join authz.role_sets as s on s.tenant_id = _places.tenant_id and s.id = h.role_set_id
        where h.tenant_id = _places.tenant_id and h.holder_id = _places.user_id);
begin
    return array(
        select g.resource_id
        from authz.user_permissions as g
        where g.tenant_id = _places.tenant_id and g.user_id = _places.user_id
          and g.permission_id = _places.permission_id and g.effect = _places.effect and g.resource_id is not null
        union
        select g.resource_id
        from authz.group_permissions as g
        where g.tenant_id = _places.tenant_id and g.group_id = any (v_groups)
          and g.permission_id = _places.permission_id and g.effect = _places.effect and g.resource_id is not null
        union
        select a.resource_id
        from authz.user_roles as a
        where a.tenant_id = _places.tenant_id and a.user_id = _places.user_id and a.resource_id is not null
        union
        select a.resource_id
        from authz.group_roles as a
        where a.tenant_id = _places.tenant_id and a.group_id = any (v_groups) and a.resource_id is not null
        union
        select p.resource_id
        from authz.role_permissions as p
        where p.tenant_id = _places.tenant_id and p.permission_id = _places.permission_id
          and p.effect = _places.effect and p.resource_id is not null
        union
        select b.resource_id
        from authz.break_glass_events as b
        where b.tenant_id = _places.tenant_id and b.user_id = _places.user_id and b.resource_id is not null
        union
        select d.resource_id
        from authz.delegations as d
        where d.tenant_id = _places.tenant_id and d.delegate_id = _places.user_id and d.resource_id is not null
        union
        select g.resource_id
        from authz.proxy_grants as g
        where g.tenant_id = _places.tenant_id and g.user_id = _places.user_id and g.resource_id is not null);
end
$$;

comment on function authz._places(uuid, uuid, integer, text) is
    'The resources that rules name which could allow, or deny, somebody a permission there and below.';

revoke all on function authz._places(uuid, uuid, integer, text) from public;
grant execute on function authz._places(uuid, uuid, integer, text) to enterprise_ai_decider;


create or replace function authz._asks_about_resources(
    tenant_id uuid,
    user_id uuid,
    permission_id integer,
    context jsonb)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_env jsonb := authz._env(context, '{}');
    v_rules uuid[];
    v_assignments uuid[];
begin
    select array_agg(r.rule_id), array_agg(r.assignment_id)
    into v_rules, v_assignments
    from unnest(array[_asks_about_resources.user_id, (context ->> 'actor_id')::uuid]) as person (id)
    cross join lateral authz._rules(_asks_about_resources.tenant_id, person.id, _asks_about_resources.permission_id, null,
                                    v_env, statement_timestamp()) as r
    where r.state not in ('out_of_scope', 'expired', 'not_yet_valid');

    return exists (
        select
        from (
            select case when p.only_own and p.effect = 'deny' then '$' else p.condition::text end
            from authz.role_permissions as p
            where p.tenant_id = _asks_about_resources.tenant_id and p.id = any (v_rules)
            union all
            select g.condition::text
            from authz.user_permissions as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.id = any (v_rules)
            union all
            select g.condition::text
            from authz.group_permissions as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.id = any (v_rules)
            union all
            select a.condition::text
            from authz.user_roles as a
            where a.tenant_id = _asks_about_resources.tenant_id and a.id = any (v_assignments)
            union all
            select a.condition::text
            from authz.group_roles as a
            where a.tenant_id = _asks_about_resources.tenant_id and a.id = any (v_assignments)
            union all
            select g.condition::text
            from authz.proxy_grants as g
            where g.tenant_id = _asks_about_resources.tenant_id and g.user_id = _asks_about_resources.user_id
        ) as rule (asks)
        -- By its canonical text: all but what the request and the person say.
        where rule.asks ~ '[$](?![.]"(env|subject)")')
        -- A chain of delegation has the conditions of everybody in it, and what was done is done to a resource.
        or exists (
            select
            from authz.holders as h
            join authz.permissions as p on p.id = _asks_about_resources.permission_id
            where h.tenant_id = _asks_about_resources.tenant_id
              and (h.holder_id = _asks_about_resources.user_id and h.has_delegations
                   or h.holder_id = _asks_about_resources.tenant_id and authz._rights_at(h.rights, p.place) & 8 > 0));
end
$$;

comment on function authz._asks_about_resources(uuid, uuid, integer, jsonb) is
    'Whether what is decided for the type as such may fall otherwise for a resource, by the condition of a rule about all
of the type, by delegation or by a dynamic separation of duties.';

revoke all on function authz._asks_about_resources(uuid, uuid, integer, jsonb) from public;
grant execute on function authz._asks_about_resources(uuid, uuid, integer, jsonb) to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/lists.sql
-- Lists ask the same decision of each that could be on them. They are read a page at a time by key: the last
-- one of a page is where the next begins. A page is never cut short: fewer than asked for means the end.

set role enterprise_ai_decider;

create or replace function authz.list_resources(
    permission text,
    after_id uuid default null,
    page_size integer default 100,
    user_id uuid default null,
    request jsonb default '{}',
    resource_type text default null)
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, list_resources.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_type text := coalesce(list_resources.resource_type, (
        select p.resource_type from authz.permissions as p where p.name = list_resources.permission));
    v_after uuid := coalesce(list_resources.after_id, '00000000-0000-0000-0000-000000000000');
    v_is_limited boolean := v_context ?| '{actor_id,scopes}';
    v_level integer := authz._level(v_context);
    v_standing authz.standing := authz._standing(v_context, v_tenant_id, v_subject_id, list_resources.permission);
    -- Rules about the whole type may allow any of it. Otherwise there is what they own, and what rules name.
    v_is_wide boolean := v_standing.rights & 18 > 0
        or v_standing.rights & 96 > 0 and authz._is_named_type_wide(v_tenant_id, v_subject_id, v_standing);
    v_places uuid[];
    v_size integer := authz._page(list_resources.page_size);
begin
    if v_standing.permission_id is null then
        return;
    elsif not v_is_wide then
        v_places := authz._places(v_tenant_id, v_subject_id, v_standing.permission_id, 'allow');
    end if;
    return query
    select candidate.id
    from (
        select r.id
        from authz.resources as r
        where v_is_wide and r.tenant_id = v_tenant_id and r.resource_type = v_type and r.id > v_after
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.owner_id = v_subject_id and r.resource_type = v_type
          and r.id > v_after
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.id = any (v_places) and r.resource_type = v_type
          and r.id > v_after and r.owner_id is distinct from v_subject_id
        union all
        select r.id
        from authz.resources as r
        where not v_is_wide and r.tenant_id = v_tenant_id and r.ancestors && v_places and r.resource_type = v_type
          and r.id > v_after and r.owner_id is distinct from v_subject_id and r.id <> all (v_places)
    ) as candidate
    join authz.resources as r on r.tenant_id = v_tenant_id and r.id = candidate.id
    join authz.permissions as p on p.name = list_resources.permission
    join authz.resource_types as t on t.name = p.resource_type
    cross join lateral authz._held(v_tenant_id, v_subject_id, p.place, statement_timestamp()) as held
    cross join lateral authz._said(v_tenant_id, v_subject_id, held.rights, held.groups, p.id, r.ancestors, r.id)
        as direct
    where coalesce(
        case when not v_is_limited then
            authz._settled(p, t.parent_type, r, r.id, v_subject_id, v_level, held.is_active, held.rights,
                           direct.said)
        end,
        authz._is_allowed(v_context, v_tenant_id, v_subject_id, list_resources.permission, r.id, list_resources.request))
    order by candidate.id
    limit v_size;
end
$$;

comment on function authz.list_resources(text, uuid, integer, uuid, jsonb, text) is
    'The resources of the permission''s type (or of the one that it can lie in) on which the user has the
permission, a page by id. Raises what authz.check raises, and ZA009 for a page of less than 1 or more than 1000.';

revoke all on function authz.list_resources(text, uuid, integer, uuid, jsonb, text) from public;
grant execute on function authz.list_resources(text, uuid, integer, uuid, jsonb, text)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.list_subjects(
    permission text,
    resource_id uuid default null,
    after_id uuid default null,
    page_size integer default 100,
    request jsonb default '{}')
    returns setof uuid
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    -- About everybody: it takes the right to ask about others.
    v_nobody uuid := authz._asked_about(v_context, '00000000-0000-0000-0000-000000000000');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    -- Who asks, from where and by which key is not what others would do it with.
    v_others jsonb := v_context - array['user_id', 'actor_id', 'scopes'];
    v_level integer := authz._level(v_context);
    v_place integer := (select p.place from authz.permissions as p where p.name = list_subjects.permission);
    -- Few of a tenant's people have a rare permission. Who has it by nothing at all is not looked at further.
    v_sets uuid[] := array(
        select s.id
        from authz.role_sets as s
        where s.tenant_id = v_tenant_id and (s.has_special_roles or authz._rights_at(s.rights, v_place) & 54 > 0));
begin
    return query
    select h.holder_id
    from authz.permissions as p
    join authz.resource_types as t on t.name = p.resource_type
    left join authz.resources as r on r.tenant_id = v_tenant_id and r.id = list_subjects.resource_id
    join authz.holders as h on h.tenant_id = v_tenant_id and h.is_active
    join identity.users as u on u.tenant_id = v_tenant_id and u.id = h.holder_id
    cross join lateral authz._held(v_tenant_id, h.holder_id, p.place, statement_timestamp()) as held
    cross join lateral authz._said(v_tenant_id, h.holder_id, held.rights, held.groups, p.id, r.ancestors,
                                   list_subjects.resource_id) as direct
    where p.name = list_subjects.permission
      and h.holder_id > coalesce(list_subjects.after_id, '00000000-0000-0000-0000-000000000000')
      and (h.role_set_id = any (v_sets) or h.has_special_roles or h.has_delegations
           or authz._rights_at(h.rights, v_place) & 34 > 0)
      and coalesce(
          authz._settled(
              p, t.parent_type, r, list_subjects.resource_id, h.holder_id, v_level, held.is_active,
              held.rights, direct.said),
          authz._is_allowed(v_others, v_tenant_id, h.holder_id, list_subjects.permission, list_subjects.resource_id,
                            list_subjects.request))
    order by h.holder_id
    limit authz._page(list_subjects.page_size);
end
$$;

comment on function authz.list_subjects(text, uuid, uuid, integer, jsonb) is
    'The users who have a permission on a resource, or on the type as such, a page by id; as if each of them asked
in this context. It takes permission.read (ZA007); raises ZA009 for a page of less than 1 or more than 1000.';

revoke all on function authz.list_subjects(text, uuid, uuid, integer, jsonb) from public;
grant execute on function authz.list_subjects(text, uuid, uuid, integer, jsonb)
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;


create or replace function authz.list_actions(
    resource_id uuid,
    user_id uuid default null,
    request jsonb default '{}')
    returns setof text
    language plpgsql
    stable
    parallel restricted
    security definer        -- decides from tables of which the caller sees only part, and from what is derived
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan    -- to plan anew for each few roles costs more than it saves
    set jit = off                               -- to compile a plan at each call takes a hundred times as long as it
as $$
#variable_conflict use_column
declare
    v_context jsonb := platform.context();
    v_subject_id uuid := authz._asked_about(v_context, list_actions.user_id);
    v_tenant_id uuid := v_context ->> 'tenant_id';
begin
    return query
    select p.name
    from authz.resources as r
    join authz.resource_types as t on r.resource_type in (t.name, t.parent_type)
    join authz.permissions as p on p.resource_type = t.name
    where r.tenant_id = v_tenant_id and r.id = list_actions.resource_id
      and authz._is_allowed(v_context, v_tenant_id, v_subject_id, p.name, r.id, list_actions.request)
    order by p.id;
end
$$;

comment on function authz.list_actions(uuid, uuid, jsonb) is
    'The permissions that a user has on a resource, all of them. Raises what authz.check raises.';

revoke all on function authz.list_actions(uuid, uuid, jsonb) from public;
grant execute on function authz.list_actions(uuid, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_definer;

reset role;


create or replace function authz._is_named_type_wide(tenant_id uuid, user_id uuid, standing authz.standing)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return exists (
        select
        from authz.user_permissions as g
        where g.tenant_id = _is_named_type_wide.tenant_id and g.user_id = _is_named_type_wide.user_id
          and g.permission_id = (_is_named_type_wide.standing).permission_id
          and coalesce(g.resource_id, g.tenant_id) = _is_named_type_wide.tenant_id
    ) or exists (
        select
        from authz.group_permissions as g
        where g.tenant_id = _is_named_type_wide.tenant_id
          and g.group_id = any ((_is_named_type_wide.standing).groups)
          and g.permission_id = (_is_named_type_wide.standing).permission_id
          and coalesce(g.resource_id, g.tenant_id) = _is_named_type_wide.tenant_id
    );
end
$$;

comment on function authz._is_named_type_wide(uuid, uuid, authz.standing) is
    'Whether rules are given to a user, or to a group they are in, directly that are about all of the permission''s type.';

revoke all on function authz._is_named_type_wide(uuid, uuid, authz.standing) from public;
grant execute on function authz._is_named_type_wide(uuid, uuid, authz.standing) to enterprise_ai_decider;


create or replace function authz._page(size integer)
    returns integer
    language plpgsql
    immutable
    parallel safe
as $$
begin
    if size between 1 and 1000 then
        return size;
    end if;
    raise exception 'A page cannot have % rows', coalesce(size::text, 'null')
        using errcode = 'ZA009', hint = 'Ask for 1 to 1000 at a time, and for the next page after the last id.';
end
$$;

comment on function authz._page(integer) is 'The size of a page, when it is one; raises ZA009.';

revoke all on function authz._page(integer) from public;
grant execute on function authz._page(integer) to enterprise_ai_decider;
-- <<<

--- authz: keeping duties apart, and what is on record ---------------------------------

-- >>> sql/authz/separation.sql
-- Static separation of duties: of what a policy counts nobody comes to hold more than it admits. Whoever changes
-- rights has taken their turn (authz.epochs), so two sessions cannot break together what neither breaks alone.
-- What will only count later, under a condition or once approved counts already, so time alone breaks nothing;
-- what has ended does not count, nor do denies, which can be lifted, nor emergencies, which are reviewed.

create or replace function authz._separation_violations(tenant_id uuid, user_ids uuid[] default null)
    returns table (policy_id uuid, user_id uuid, held bigint)
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with recursive policy (id, maximum_held) as (
        select p.id, p.maximum_held
        from authz.access_policies as p
        where p.tenant_id = _separation_violations.tenant_id and p.kind = 'static' and p.is_enabled
    ),
    -- A role stands for what is counted when it is it, carries it or inherits it.
    stands_for (policy_id, counted, role_id, goes_on) as (
        select c.policy_id, c.role_id::text, c.role_id, true
        from authz.access_policy_roles as c
        join policy on policy.id = c.policy_id
        where c.tenant_id = _separation_violations.tenant_id
        union
        select c.policy_id, c.permission_id::text, r.role_id, r.inheritable
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.role_permissions as r
            on r.tenant_id = _separation_violations.tenant_id and r.permission_id = c.permission_id
            and r.effect = 'allow' and (r.valid_until is null or r.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select s.policy_id, s.counted, i.role_id, true
        from stands_for as s
        join authz.role_inheritance as i
            on i.tenant_id = _separation_violations.tenant_id and i.parent_id = s.role_id
            and (i.valid_until is null or i.valid_until > now())
        where s.goes_on
    ),
    by_group (policy_id, counted, group_id) as (
        select s.policy_id, s.counted, a.group_id
        from stands_for as s
        join authz.group_roles as a
            on a.tenant_id = _separation_violations.tenant_id and a.role_id = s.role_id
            and (a.valid_until is null or a.valid_until > now())
        union
        select c.policy_id, c.permission_id::text, g.group_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.group_permissions as g
            on g.tenant_id = _separation_violations.tenant_id and g.permission_id = c.permission_id
            and g.effect = 'allow' and (g.valid_until is null or g.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select b.policy_id, b.counted, g.id
        from by_group as b
        join identity.groups as g
            on g.tenant_id = _separation_violations.tenant_id and g.parent_id = b.group_id
    ),
    held (policy_id, counted, user_id) as (
        select s.policy_id, s.counted, a.user_id
        from stands_for as s
        join authz.user_roles as a
            on a.tenant_id = _separation_violations.tenant_id and a.role_id = s.role_id
            and (a.valid_until is null or a.valid_until > now())
        union
        select s.policy_id, s.counted, d.delegate_id
        from stands_for as s
        join authz.delegations as d
            on d.tenant_id = _separation_violations.tenant_id and d.role_id = s.role_id and d.valid_until > now()
        union
        select s.policy_id, s.counted, u.id
        from stands_for as s
        join authz.roles as r
            on r.tenant_id = _separation_violations.tenant_id and r.id = s.role_id and r.for_everyone
        cross join identity.users as u
        where u.tenant_id = _separation_violations.tenant_id and u.deleted_at is null
        union
        select b.policy_id, b.counted, m.user_id
        from by_group as b
        join identity.group_members as m
            on m.tenant_id = _separation_violations.tenant_id and m.group_id = b.group_id
        union
        select c.policy_id, c.permission_id::text, g.user_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.user_permissions as g
            on g.tenant_id = _separation_violations.tenant_id and g.permission_id = c.permission_id
            and g.effect = 'allow' and (g.valid_until is null or g.valid_until > now())
        where c.tenant_id = _separation_violations.tenant_id
        union
        select c.policy_id, c.permission_id::text, d.delegate_id
        from authz.access_policy_permissions as c
        join policy on policy.id = c.policy_id
        join authz.delegations as d
            on d.tenant_id = _separation_violations.tenant_id and d.permission_id = c.permission_id
            and d.valid_until > now()
        where c.tenant_id = _separation_violations.tenant_id
    )
    select h.policy_id, h.user_id, count(*)
    from held as h
    join policy as p on p.id = h.policy_id
    where _separation_violations.user_ids is null or h.user_id = any (_separation_violations.user_ids)
    group by h.policy_id, h.user_id, p.maximum_held
    having count(*) > p.maximum_held
    order by 1, 2;
end
$$;

comment on function authz._separation_violations(uuid, uuid[]) is
    'Who, of these users or of all, holds more of what a static separation of duties counts than it admits.';

revoke all on function authz._separation_violations(uuid, uuid[]) from public;


create or replace function authz._separate_duties()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups, and see only part of what is counted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
    v_found record;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg(distinct (c.fields ->> tg_argv[0])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        if exists (
            select
            from authz.access_policies as p
            where p.tenant_id = v_tenant_id and p.kind = 'static' and p.is_enabled and p.enforcement = 'refuse'
        ) then
            select p.name, p.maximum_held, v.user_id, v.held into v_found
            from authz._separation_violations(v_tenant_id, case when tg_nargs > 0 then v_ids end) as v
            join authz.access_policies as p on p.tenant_id = v_tenant_id and p.id = v.policy_id
            where p.enforcement = 'refuse'
            limit 1;
            if found then
                raise exception 'User % would hold % of what "%" keeps apart', v_found.user_id, v_found.held, v_found.name
                    using errcode = 'ZA013',
                          detail = format('Nobody may hold more than %s of it; nothing has been changed.',
                                          v_found.maximum_held),
                          hint = 'Take from them what they hold already first, or let the policy only report.';
            end if;
        end if;
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._separate_duties() is
    'After-statement trigger: refuses what breaks a static separation of duties (ZA013) for the users that the column
given as argument names, or without one for anybody.';

revoke all on function authz._separate_duties() from public;


create or replace function authz._check_policy_roles()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from authz.access_policies as p
        where p.tenant_id = new.tenant_id and p.id = new.policy_id and p.kind = 'dynamic'
    ) then
        raise exception 'A dynamic separation of duties counts permissions, not roles'
            using errcode = 'ZA014', hint = 'Name the permissions that one person may not use together.';
    end if;
    return new;
end
$$;

comment on function authz._check_policy_roles() is
    'Before-row trigger: what is used is a permission, whatever role it came by. Raises ZA014.';

revoke all on function authz._check_policy_roles() from public;
-- <<<

-- >>> sql/authz/duties.sql
-- Dynamic separation of duties: somebody may hold all of what a policy counts, but not use too much of it on the
-- same resource, or in the same session. What they have used is on record (authz.duty_acts): decisions read it,
-- and authz.authorize writes it, together with the decision that it belongs to.

create or replace function authz._duties(
    tenant_id uuid,
    person_id uuid,
    permission_id integer,
    resource_id uuid,
    env jsonb,
    out refusing uuid[],
    out unsure uuid[],
    out reporting uuid[],
    out recording uuid[])
    language plpgsql
    stable
    parallel restricted
as $$
begin
    select coalesce(array_agg(j.id order by j.id) filter (where j.is_broken and j.enforcement = 'refuse'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where j.is_unsure and j.enforcement = 'refuse'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where j.is_broken and j.enforcement = 'report'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where not j.is_unsure), '{}')
    into refusing, unsure, reporting, recording
    from (
        select p.id, p.enforcement,
               p.counted_per = 'session' and _duties.env ->> 'session_id' is null as is_unsure,
               p.maximum_held <= (
                   select count(distinct a.permission_id)
                   from authz.duty_acts as a
                   where a.tenant_id = _duties.tenant_id and a.policy_id = p.id and a.person_id = _duties.person_id
                     and a.permission_id <> _duties.permission_id
                     and case p.counted_per
                         when 'session' then a.session_id::text = _duties.env ->> 'session_id'
                         -- What was done to the whole was done to its parts.
                         else a.resource_id = _duties.resource_id or a.resource_id = any (r.ancestors) end
               ) as is_broken
        from authz.access_policy_permissions as c
        join authz.access_policies as p
            on p.tenant_id = _duties.tenant_id and p.id = c.policy_id and p.kind = 'dynamic' and p.is_enabled
        left join authz.resources as r on r.tenant_id = _duties.tenant_id and r.id = _duties.resource_id
        where c.tenant_id = _duties.tenant_id and c.permission_id = _duties.permission_id
          and (p.counted_per = 'session' or _duties.resource_id is not null)
    ) as j;
end
$$;

comment on function authz._duties(uuid, uuid, integer, uuid, jsonb) is
    'The dynamic separations of duties that a use of a permission comes under: those that what the person has done
already breaks and that refuse it, those that cannot be judged without a session, those broken that only report,
and those under which the use is to be recorded.';

revoke all on function authz._duties(uuid, uuid, integer, uuid, jsonb) from public;
grant execute on function authz._duties(uuid, uuid, integer, uuid, jsonb) to enterprise_ai_decider;


create or replace function authz._separated(
    decision authz.decision,
    tenant_id uuid,
    person_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_duties record;
begin
    select d.* into v_duties
    from authz.permissions as p
    cross join lateral authz._duties(_separated.tenant_id, _separated.person_id, p.id, _separated.resource_id,
                                     _separated.env) as d
    where p.name = _separated.permission;

    if v_duties.refusing || v_duties.unsure <> '{}' then
        decision.effect := 'deny';
        decision.reason := 'deny_sod';
        decision.rule_ids := v_duties.refusing || v_duties.unsure;
        decision.obligations := '{}';
        if v_duties.refusing = '{}' then
            decision.missing := array(
                select distinct m from unnest(decision.missing || array['env.session_id']) as m order by m);
        end if;
    elsif v_duties.recording <> '{}' then
        decision.obligations := decision.obligations || jsonb_build_object('duties', to_jsonb(v_duties.recording));
        -- What is done next changes the answer without any change of rights: it is not to be kept.
        decision.expires_at := least(decision.expires_at, _separated.at);
        if v_duties.reporting <> '{}' then
            decision.obligations := decision.obligations
                || jsonb_build_object('separation_of_duties', to_jsonb(v_duties.reporting));
        end if;
    end if;
    return decision;
end
$$;

comment on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What is left of an allow when a person has done what is kept apart from it.';

revoke all on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz)
    to enterprise_ai_decider;
-- <<<

-- >>> sql/authz/access_policies.sql
create or replace function authz.save_access_policy(
    name text,
    kind text,
    permissions text[] default '{}',
    role_names text[] default '{}',
    maximum_held integer default 1,
    counted_per text default null,
    enforcement text default 'refuse',
    is_enabled boolean default true,
    description text default '')
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
    v_policy authz.access_policies;
    v_unknown text;
begin
    select coalesce(
        (select p from unnest(save_access_policy.permissions) as p
         where not exists (select from authz.permissions as known where known.name = p) limit 1),
        (select r from unnest(save_access_policy.role_names) as r
         where not exists (
             select from authz.roles as known where known.tenant_id = v_tenant_id and known.name = r) limit 1))
    into v_unknown;
    if v_unknown is not null then
        raise exception 'There is no role or permission %', v_unknown
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles, permissions as in authz.permissions.';
    end if;

    select p.* into v_policy
    from authz.access_policies as p
    where p.tenant_id = v_tenant_id and p.name = save_access_policy.name;
    if v_policy.kind <> save_access_policy.kind then
        raise exception 'The policy "%" is %, and stays so', save_access_policy.name, v_policy.kind
            using errcode = 'ZA008', hint = 'Delete it and make another.';
    end if;
    -- It counts for nothing until it is whole.
    insert into authz.access_policies (tenant_id, name, description, kind, maximum_held, counted_per, enforcement, is_enabled)
    values (v_tenant_id, save_access_policy.name, save_access_policy.description, save_access_policy.kind,
            save_access_policy.maximum_held, save_access_policy.counted_per, save_access_policy.enforcement, false)
    on conflict on constraint access_policies_name_key do update
        set description = excluded.description,
            maximum_held = excluded.maximum_held,
            counted_per = excluded.counted_per,
            enforcement = excluded.enforcement,
            is_enabled = false
    returning * into v_policy;

    delete from authz.access_policy_roles as c where c.tenant_id = v_tenant_id and c.policy_id = v_policy.id;
    delete from authz.access_policy_permissions as c where c.tenant_id = v_tenant_id and c.policy_id = v_policy.id;
    insert into authz.access_policy_roles (tenant_id, policy_id, role_id)
    select v_tenant_id, v_policy.id, r.id
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = any (save_access_policy.role_names);
    insert into authz.access_policy_permissions (tenant_id, policy_id, permission_id)
    select v_tenant_id, v_policy.id, p.id
    from authz.permissions as p
    where p.name = any (save_access_policy.permissions);

    update authz.access_policies as p
    set is_enabled = save_access_policy.is_enabled
    where p.tenant_id = v_tenant_id and p.id = v_policy.id;
    return v_policy.id;
end
$$;

comment on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text) is
    'Make or change a separation of duties by its name; returns its id. static: nobody may hold more than maximum_held of
these roles and permissions; dynamic: nobody may use more of these permissions on one resource or in one session
(counted_per). It takes permission.manage_policies (ZA010). Raises ZA011 for an unknown role or permission, ZA008 when
the policy is of the other kind, ZA013 when somebody holds too much of it already and it is to refuse, ZA014 for roles
in a dynamic one.';

revoke all on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text) from public;
grant execute on function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text)
    to enterprise_ai_app;


create or replace function authz.delete_access_policy(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.access_policies as p
    where p.tenant_id = v_tenant_id and p.name = delete_access_policy.name;
    return found;
end
$$;

comment on function authz.delete_access_policy(text) is
    'Delete a separation of duties, with what was recorded under it; false when there is none of that name. It takes
permission.manage_policies (ZA010).';

revoke all on function authz.delete_access_policy(text) from public;
grant execute on function authz.delete_access_policy(text) to enterprise_ai_app;
-- <<<

-- >>> sql/authz/keep_evidence.sql
create or replace function authz._keep_evidence()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        -- It goes only together with its tenant.
        if exists (select from identity.tenants as t where t.id = old.tenant_id and t.status <> 'deleting') then
            raise exception '% cannot be deleted', tg_argv[0]
                using errcode = 'ZA020', hint = 'It is what later reviews look at.';
        end if;
        return old;
    end if;
    if to_jsonb(old) ->> tg_argv[1] is not null
       or to_jsonb(new) - tg_argv[2]::text[] <> to_jsonb(old) - tg_argv[2]::text[] then
        raise exception '% cannot be changed', tg_argv[0]
            using errcode = 'ZA020', hint = 'It is what later reviews look at.';
    end if;
    return new;
end
$$;

comment on function authz._keep_evidence() is
    'Before-row trigger with three arguments: what is kept, the column that makes a row final once it is set, and the
columns that may change until then. Raises ZA020.';

revoke all on function authz._keep_evidence() from public;
-- <<<

-- >>> sql/authz/check_and_hold.sql
-- A check says how things are when it is made; what is written a moment later may come after a revocation that it did not
-- see. This one keeps it from coming to be: until the transaction ends nobody changes rights in the tenant. Those who hold
-- do not wait for each other; who changes rights waits for them, and they for who is just changing some.

create or replace function authz.check_and_hold(
    permission text,
    resource_id uuid default null,
    request jsonb default '{}')
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while it waited
    parallel unsafe
    security definer        -- applications cannot lock what tells of changes
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
begin
    if v_user_id is null then
        raise exception 'An act is somebody''s, and the context has no user'
            using errcode = 'ZA001', hint = 'Open the context of the user who acts; authz.check answers about others.';
    end if;
    -- Who writes after an older snapshot fails here (40001) when rights have changed since.
    perform from authz.epochs as e where e.tenant_id = v_tenant_id for share;
    return (authz._evaluate(v_context, v_user_id, check_and_hold.permission, check_and_hold.resource_id,
                            check_and_hold.request, clock_timestamp())).effect = 'allow';
end
$$;

comment on function authz.check_and_hold(text, uuid, jsonb) is
    'Whether the user of the context has a permission, for a transaction that writes because of it: until it ends nobody
changes rights in the tenant, so that it is still true when it commits, unless a rule ends by the clock. Waits for who is
just changing rights, and sees that. In a repeatable read or serializable transaction fails with 40001 when rights have
changed since its snapshot. Raises ZA001 without a user.';

revoke all on function authz.check_and_hold(text, uuid, jsonb) from public;
grant execute on function authz.check_and_hold(text, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway;
-- <<<

-- >>> sql/authz/authorize.sql
-- What decides by itself only reads. Whoever is about to act calls this instead: it takes the same decision, and
-- writes down what has to be: the use of a duty that is kept apart from others, the use of an emergency, and the
-- decision itself as far as the tenant logs them.

create or replace function authz.authorize(
    permission text,
    resource_id uuid default null,
    request jsonb default '{}')
    returns authz.decision
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_people uuid[] := array(
        select distinct p from unnest(array[v_user_id, (v_context ->> 'actor_id')::uuid]) as p
        where p is not null order by p);
    v_person uuid;
    v_decision authz.decision;
begin
    if v_user_id is null then
        raise exception 'An act is somebody''s, and the context has no user'
            using errcode = 'ZA001', hint = 'Open the context of the user who acts; authz.check answers about others.';
    end if;

    if exists (
        select
        from authz.access_policy_permissions as c
        join authz.permissions as p on p.id = c.permission_id
        where c.tenant_id = v_tenant_id and p.name = authorize.permission
    ) then
        if current_setting('transaction_isolation') = 'repeatable read' then
            raise exception 'Duties cannot be kept apart in a repeatable read transaction'
                using errcode = 'ZA005', hint = 'Act in a read committed or a serializable one; nothing has been changed.';
        end if;
        -- Two acts of one person at once come one after the other, and the second sees the first.
        foreach v_person in array v_people loop
            perform pg_advisory_xact_lock(hashtextextended('authz.duties ' || v_tenant_id || v_person, 0));
        end loop;
    end if;

    v_decision := authz._evaluate(v_context, v_user_id, authorize.permission, authorize.resource_id, authorize.request,
                                  clock_timestamp());
    if v_decision.effect = 'allow' and v_decision.obligations <> '{}' then
        perform authz._record_use(v_context, v_people, authorize.permission, authorize.resource_id,
                                  v_decision.obligations);
    end if;
    perform authz._log_decision(v_context, authorize.permission, authorize.resource_id, v_decision);
    return v_decision;
end
$$;

comment on function authz.authorize(text, uuid, jsonb) is
    'Decide for the user of the context, who is about to act, and record what is to be recorded: the use of duties that
are kept apart, the use of emergencies, the decision as the setting authz.decision_log says. The same decision as
authz.evaluate gives. Raises ZA001 without a user, and ZA005 in a repeatable read transaction when duties are at stake.';

revoke all on function authz.authorize(text, uuid, jsonb) from public;
grant execute on function authz.authorize(text, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function authz._record_use(
    context jsonb,
    people uuid[],
    permission text,
    resource_id uuid,
    obligations jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
begin
    insert into authz.duty_acts (tenant_id, policy_id, person_id, permission_id, resource_id, session_id)
    select v_tenant_id, d.policy_id, who.id, p.id,
           case when d.counted_per = 'resource' then _record_use.resource_id end,
           case when d.counted_per = 'session' then (context ->> 'session_id')::uuid end
    from authz.permissions as p
    cross join unnest(people) as who (id)
    cross join lateral (
        select c.id, c.counted_per
        from authz.access_policies as c
        where c.tenant_id = v_tenant_id
          and c.id in (select o.id::uuid from jsonb_array_elements_text(obligations -> 'duties') as o (id))
    ) as d (policy_id, counted_per)
    where p.name = _record_use.permission
    on conflict do nothing;

    insert into authz.break_glass_uses (tenant_id, event_id, permission, resource_id)
    select v_tenant_id, o.id::uuid, _record_use.permission, _record_use.resource_id
    from jsonb_array_elements_text(obligations -> 'break_glass') as o (id);
end
$$;

comment on function authz._record_use(jsonb, uuid[], text, uuid, jsonb) is
    'Write down what an allow obliges to: the duties that were used, and the emergencies that alone allowed it.';

revoke all on function authz._record_use(jsonb, uuid[], text, uuid, jsonb) from public;


create or replace function authz._log_decision(context jsonb, permission text, resource_id uuid, decision authz.decision)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_tenant_id uuid := context ->> 'tenant_id';
    v_mode text := platform.setting('authz.decision_log') #>> '{}';
    v_percent numeric := 100;
    v_row authz.decision_log;
begin
    if v_mode = 'sample' and decision.effect = 'allow' then
        v_percent := (platform.setting('authz.decision_log_sample_percent') #>> '{}')::numeric;
    end if;
    if coalesce(v_mode, 'off') = 'off' or (v_mode = 'denials' and decision.effect = 'allow')
       or random() * 100 >= v_percent then
        return;
    end if;

    v_row.tenant_id := v_tenant_id;
    v_row.decided_at := clock_timestamp();
    v_row.id := platform.new_id();
    v_row.user_id := context ->> 'user_id';
    v_row.actor_id := context ->> 'actor_id';
    v_row.session_id := context ->> 'session_id';
    v_row.request_id := context ->> 'request_id';
    v_row.permission := coalesce(left(_log_decision.permission, 200), '');
    v_row.resource_id := _log_decision.resource_id;
    v_row.effect := decision.effect;
    v_row.reason := decision.reason;
    v_row.rule_ids := decision.rule_ids;
    v_row.missing := decision.missing;
    v_row.epoch := (select e.epoch from authz.epochs as e where e.tenant_id = v_tenant_id);
    v_row.sample_percent := v_percent;
    begin
        insert into authz.decision_log select (v_row).*;
    exception
        when check_violation then       -- nobody has made the month
            perform platform.ensure_partitions('authz.decision_log', (v_row.decided_at at time zone 'UTC')::date,
                                               (v_row.decided_at at time zone 'UTC')::date);
            insert into authz.decision_log select (v_row).*;
    end;
    if platform.setting('authz.decision_log_to_server') = 'true' then
        raise log 'authz decision %', jsonb_strip_nulls(to_jsonb(v_row));
    end if;
end
$$;

comment on function authz._log_decision(jsonb, text, uuid, authz.decision) is
    'Log a decision as the tenant''s setting authz.decision_log says: off, denials, sample (denials, and of what is allowed
authz.decision_log_sample_percent), full.';

revoke all on function authz._log_decision(jsonb, text, uuid, authz.decision) from public;
-- <<<

create trigger _000_take_turn before insert or update or delete on authz.access_policies
    for each row execute function authz._take_turn('kind');
create trigger _000_take_turn before insert or update or delete on authz.access_policy_permissions
    for each row execute function authz._take_turn();
create trigger _000_take_turn before insert or update or delete on authz.access_policy_roles
    for each row execute function authz._take_turn();
create trigger _100_check before insert or update on authz.access_policy_roles
    for each row execute function authz._check_policy_roles();

-- What was decided, and what an emergency was for, stays as it was said.
create trigger _100_keep before update or delete on authz.access_review_items
    for each row execute function authz._keep_evidence(
        'An item of an access review', 'decided_at', '{decision,decided_by,decided_at,comment,revoked_at}');
create trigger _100_keep before update or delete on authz.access_reviews
    for each row execute function authz._keep_evidence('An access review', 'closed_at', '{status,closed_at,updated_at}');
create trigger _100_keep before update or delete on authz.break_glass_events
    for each row execute function authz._keep_evidence(
        'The record of an emergency', 'reviewed_at',
        '{ended_at,review_outcome,review_comment,reviewed_by,reviewed_at}');
create trigger _100_keep before update or delete on authz.break_glass_uses
    for each row execute function authz._keep_evidence('The record of an emergency', 'used_at', '{}');

-- Which permissions a decision cannot be quick about is derived with what everyone holds; and what would break a
-- static policy is refused after it is derived (by name: derive_ before separate_).
do $do$
declare
    v_source record;
    v_event text;
begin
    for v_source in
        select *
        from (values
            ('authz.access_policies', true, null),
            ('authz.access_policy_permissions', true, null),
            ('authz.access_policy_roles', false, null),
            ('authz.user_roles', false, 'user_id'),
            ('authz.group_roles', false, null),
            ('authz.user_permissions', false, 'user_id'),
            ('authz.group_permissions', false, null),
            ('authz.role_permissions', false, null),
            ('authz.role_inheritance', false, null),
            ('authz.roles', false, null),
            ('authz.delegations', false, 'delegate_id'),
            ('identity.group_members', false, 'user_id'),
            ('identity.groups', false, null)
        ) as source (table_name, is_derived_from, column_name)
    loop
        foreach v_event in array array['insert', 'update', 'delete'] loop
            if v_source.is_derived_from then
                execute format(
                    'create trigger derive_after_%1$s after %1$s on %2$s referencing %3$s table as changed
                         for each statement execute function authz._derive_changed(''holders'', ''tenant_id'')',
                    v_event, v_source.table_name, case v_event when 'delete' then 'old' else 'new' end);
            end if;
            if v_event <> 'delete' then     -- less is never too much
                execute format(
                    'create trigger separate_after_%1$s after %1$s on %2$s referencing new table as changed
                         for each statement execute function authz._separate_duties(%3$s)',
                    v_event, v_source.table_name, coalesce(quote_literal(v_source.column_name), ''));
            end if;
        end loop;
    end loop;
end
$do$;

--- authz: giving and taking rights -----------------------------------------------------

-- >>> sql/authz/grants.sql
-- Rights are given by who may give them, and nobody gives more than they have: a role only with all it carries
-- held by the giver, a permission only where the giver has it. Taking back asks for the right to give alone.

create or replace function authz._user_in_turn()
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_context jsonb := platform.context();
begin
    if v_context ->> 'user_id' is null then
        raise exception 'Rights are given by a user, and the context has none'
            using errcode = 'ZA001', hint = 'Open the context of the user who gives or takes them.';
    end if;
    perform authz._touch_epoch((v_context ->> 'tenant_id')::uuid);
    return v_context;
end
$$;

comment on function authz._user_in_turn() is 'The context, which is a user''s, after taking their turn. Raises ZA001.';

revoke all on function authz._user_in_turn() from public;


create or replace function authz._giver(permission text, resource_id uuid default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    -- First one's turn, then the question: what the giver has cannot be taken from them in between.
    v_context jsonb := authz._user_in_turn();
    v_level text;
begin
    if not authz._may(v_context, permission, resource_id) then
        v_level := (authz._evaluate(v_context, (v_context ->> 'user_id')::uuid, permission, resource_id, '{}',
                                    clock_timestamp())).obligations ->> 'authentication_level';
        raise exception 'User % may not do this', v_context ->> 'user_id'
            using errcode = 'ZA010', hint = 'It takes ' || permission || coalesce(', signed in at level ' || v_level, '') || '.';
    end if;
    return v_context;
end
$$;

comment on function authz._giver(text, uuid) is
    'The context of a user who has the permission, after taking their turn. Raises ZA001, ZA010.';

revoke all on function authz._giver(text, uuid) from public;


create or replace function authz._may(context jsonb, permission text, resource_id uuid)
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
as $$
begin
    return (authz._evaluate(context, (context ->> 'user_id')::uuid, permission, resource_id, '{}',
                            clock_timestamp())).effect = 'allow';
end
$$;

comment on function authz._may(jsonb, text, uuid) is 'Whether the user of a context has a permission, as things are now.';

revoke all on function authz._may(jsonb, text, uuid) from public;


create or replace function authz._refuse_excess(context jsonb, role_id uuid, role_name text)
    returns void
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
declare
    v_lacking text;
begin
    select p.name into v_lacking
    from authz.role_rights as carried
    join authz.permissions as p on authz._rights_at(carried.rights, p.place) & 30 > 0
    cross join lateral authz._held((context ->> 'tenant_id')::uuid, (context ->> 'user_id')::uuid, p.place, null)
        as held
    where carried.tenant_id = (context ->> 'tenant_id')::uuid and carried.role_id = _refuse_excess.role_id
      and (held.rights & 1 > 0
           or held.rights & 2 = 0
              and not (held.rights & 4 > 0 and authz._rights_at(carried.rights, p.place) & 30 = 4))
    order by p.id
    limit 1;
    if v_lacking is not null then
        raise exception 'User % cannot give role %, which carries %', context ->> 'user_id', _refuse_excess.role_name, v_lacking
            using errcode = 'ZA010', hint = 'Nobody gives more than they have themselves, always and everywhere.';
    end if;
end
$$;

comment on function authz._refuse_excess(jsonb, uuid, text) is
    'Raise ZA010 when a role carries what the user of a context does not have.';

revoke all on function authz._refuse_excess(jsonb, uuid, text) from public;


create or replace function authz.assign_role(
    user_id uuid,
    role_name text,
    resource_id uuid default null,
    valid_from timestamptz default null,
    valid_until timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('role.assign');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_role authz.roles;
    v_id uuid;
begin
    select r.* into v_role
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = assign_role.role_name;
    if v_role.id is null then
        raise exception 'There is no role %', assign_role.role_name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    end if;

    perform authz._refuse_excess(v_context, v_role.id, v_role.name);
    if v_role.holders_limit is not null and not exists (
           select
           from authz.user_roles as a
           where a.tenant_id = v_tenant_id and a.role_id = v_role.id and a.user_id = assign_role.user_id)
       and v_role.holders_limit <= (
           select count(distinct a.user_id)
           from authz.user_roles as a
           where a.tenant_id = v_tenant_id and a.role_id = v_role.id) then
        raise exception 'Role % has % holders, as many as it may have', v_role.name, v_role.holders_limit
            using errcode = 'ZA012', hint = 'Take it from somebody first.';
    end if;

    insert into authz.user_roles (
        tenant_id, user_id, role_id, resource_id, valid_from, valid_until, condition, networks, windows, granted_by)
    values (
        v_tenant_id, assign_role.user_id, v_role.id, assign_role.resource_id, assign_role.valid_from,
        assign_role.valid_until, assign_role.condition, assign_role.networks, assign_role.windows,
        (v_context ->> 'user_id')::uuid)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb) is
    'Give a user a role, in the whole tenant or on a resource and what lies below it; returns the assignment''s id.
It takes role.assign and everything that the role carries (ZA010). Raises ZA011 for an unknown role, ZA012
when the role has as many holders as it may have, ZA006 for a condition that cannot be used, 23505 when the
user has it already and 23503 for an unknown user or resource.';

revoke all on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb)
    from public;
grant execute on function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb)
    to enterprise_ai_app;


create or replace function authz.revoke_role(assignment_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('role.assign') ->> 'tenant_id';
    v_found boolean;
begin
    delete from authz.user_roles as a
    where a.tenant_id = v_tenant_id and a.id = revoke_role.assignment_id;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.revoke_role(uuid) is
    'Take back a role by its assignment; false when there is none of that id. It takes role.assign (ZA010).';

revoke all on function authz.revoke_role(uuid) from public;
grant execute on function authz.revoke_role(uuid) to enterprise_ai_app;


create or replace function authz.grant_permission(
    user_id uuid,
    permission text,
    resource_id uuid default null,
    effect text default 'allow',
    valid_from timestamptz default null,
    valid_until timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb;
    v_tenant_id uuid;
    v_id uuid;
    v_type text := (select p.resource_type from authz.permissions as p where p.name = grant_permission.permission);
begin
    -- Whoever may share a thing may let others do with it what they may themselves.
    if resource_id is not null and effect = 'allow'
       and exists (select from authz.permissions as p where p.name = v_type || '.share')
       and authz._may(platform.context(), v_type || '.share', resource_id) then
        v_context := authz._giver(v_type || '.share', resource_id);
    else
        v_context := authz._giver('permission.grant');
    end if;
    v_tenant_id := v_context ->> 'tenant_id';
    if v_type is null then
        raise exception 'There is no permission %', permission
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    if effect = 'allow' and not authz._may(v_context, permission, resource_id) then
        raise exception 'User % cannot give % without having it', v_context ->> 'user_id', permission
            using errcode = 'ZA010', hint = 'Nobody gives more than they have themselves, nor on what is not there.';
    end if;

    insert into authz.user_permissions (
        tenant_id, user_id, permission_id, effect, resource_id, valid_from, valid_until, condition, networks, windows,
        granted_by)
    select v_tenant_id, grant_permission.user_id, p.id, grant_permission.effect, grant_permission.resource_id,
           grant_permission.valid_from, grant_permission.valid_until, grant_permission.condition,
           grant_permission.networks, grant_permission.windows, (v_context ->> 'user_id')::uuid
    from authz.permissions as p
    where p.name = grant_permission.permission
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) is
    'Allow or deny a user one thing, on a resource and what lies below it or on the type; returns the grant''s id.
It takes permission.grant, or to allow something on a resource that type''s share permission on it, and to allow
also the permission itself (ZA010). Raises ZA011 for an unknown permission, and as authz.assign_role does.';

revoke all on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.grant_permission(
    uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz.revoke_permission(grant_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_given record;
    v_found boolean;
begin
    select g.resource_id, g.effect, p.resource_type || '.share' as share
    into v_given
    from authz.user_permissions as g
    join authz.permissions as p on p.id = g.permission_id
    where g.tenant_id = v_tenant_id and g.id = revoke_permission.grant_id;
    if v_given.effect = 'allow' and v_given.resource_id is not null and v_context ->> 'user_id' is not null
       and authz._may(v_context, v_given.share, v_given.resource_id) then
        perform authz._giver(v_given.share, v_given.resource_id);
    else
        perform authz._giver('permission.grant');
    end if;
    delete from authz.user_permissions as g
    where g.tenant_id = v_tenant_id and g.id = revoke_permission.grant_id;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.revoke_permission(uuid) is
    'Take back what a user was allowed or denied; false when there is none of that id. It takes what giving it takes
(ZA010).';

revoke all on function authz.revoke_permission(uuid) from public;
grant execute on function authz.revoke_permission(uuid) to enterprise_ai_app;


create or replace function authz.approve(kind text, id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_context jsonb := authz._giver('permission.approve');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_approver_id uuid := v_context ->> 'user_id';
    v_found boolean;
begin
    if kind = 'user_role' then
        update authz.user_roles as g
        set approved_by = v_approver_id, approved_at = now()
        where g.tenant_id = v_tenant_id and g.id = approve.id and g.approved_by is null
          and g.user_id <> v_approver_id;
    elsif kind = 'user_permission' then
        update authz.user_permissions as g
        set approved_by = v_approver_id, approved_at = now()
        where g.tenant_id = v_tenant_id and g.id = approve.id and g.approved_by is null
          and g.user_id <> v_approver_id;
    else
        raise exception 'There is nothing to approve of kind %', kind
            using errcode = 'ZA011', hint = 'The kinds are user_role and user_permission.';
    end if;
    v_found := found;
    return v_found;
end
$$;

comment on function authz.approve(text, uuid) is
    'Agree to what another has given; false when there is none of that id that waits for it. It takes
permission.approve (ZA010); nobody approves what they gave themselves (23514), or what they are given (false).';

revoke all on function authz.approve(text, uuid) from public;
grant execute on function authz.approve(text, uuid) to enterprise_ai_app;
-- <<<

--- authz: passing rights on, emergencies and reviews ---------------------------------

-- >>> sql/authz/delegate.sql
-- Passing rights on for a time. What is refused here is what could never be worth anything; whether a delegation is
-- worth something is found out at each decision, link by link.

create or replace function authz._refuse_actor(context jsonb)
    returns void
    language plpgsql
    stable
    parallel restricted
as $$
begin
    if context ->> 'actor_id' <> context ->> 'user_id' then
        raise exception 'User % acts for %, whose rights only they themselves pass on', context ->> 'actor_id',
            context ->> 'user_id'
            using errcode = 'ZA015', hint = 'Who acts for another cannot make that outlast, or widen it.';
    end if;
end
$$;

comment on function authz._refuse_actor(jsonb) is 'Raise ZA015 when somebody acts on behalf of the user of a context.';

revoke all on function authz._refuse_actor(jsonb) from public;


create or replace function authz._holds_role(tenant_id uuid, user_id uuid, role_id uuid)
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
begin
    return exists (
        with recursive heirs (id) as (
            select _holds_role.role_id
            union
            select i.role_id
            from heirs
            join authz.role_inheritance as i on i.tenant_id = _holds_role.tenant_id and i.parent_id = heirs.id
            where coalesce(i.valid_from <= now(), true) and coalesce(i.valid_until > now(), true)
        )
        select
        from heirs
        join authz.roles as r on r.tenant_id = _holds_role.tenant_id and r.id = heirs.id
        where r.for_everyone
           or exists (
               select
               from authz.user_roles as a
               where a.tenant_id = _holds_role.tenant_id and a.user_id = _holds_role.user_id and a.role_id = r.id
                 and coalesce(a.valid_from <= now(), true) and coalesce(a.valid_until > now(), true))
           or exists (
               select
               from authz.group_roles as a
               where a.tenant_id = _holds_role.tenant_id and a.role_id = r.id
                 and a.group_id in (select g.id from identity.groups_of(_holds_role.user_id) as g (id))
                 and coalesce(a.valid_from <= now(), true) and coalesce(a.valid_until > now(), true)));
end
$$;

comment on function authz._holds_role(uuid, uuid, uuid) is
    'Whether a user holds a role now, in the tenant or on a resource, by themselves, a group, inheritance or as everyone.';

revoke all on function authz._holds_role(uuid, uuid, uuid) from public;


create or replace function authz.delegate(
    delegate_id uuid,
    what text,
    valid_until timestamptz,
    resource_id uuid default null,
    may_redelegate boolean default false,
    parent_id uuid default null,
    reason text default null,
    valid_from timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.delegate');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_days integer := platform.setting('security.delegation_max_days') #>> '{}';
    v_permission authz.permissions;
    v_role_id uuid;
    v_depth integer := 1;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    if delegate.valid_until > now() + make_interval(days => v_days) then
        raise exception 'A delegation lasts % days at the most', v_days
            using errcode = 'ZA016', hint = 'The setting security.delegation_max_days says how many.';
    end if;

    select p.* into v_permission from authz.permissions as p where p.name = delegate.what;
    select r.id into v_role_id from authz.roles as r where r.tenant_id = v_tenant_id and r.name = delegate.what;
    if v_permission.id is null and v_role_id is null then
        raise exception 'There is no role or permission %', delegate.what
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles, permissions as in authz.permissions.';
    elsif not v_permission.delegable then
        raise exception '% cannot be delegated', delegate.what
            using errcode = 'ZA017', hint = 'Whoever shall do it is given it for themselves.';
    end if;

    if delegate.parent_id is not null then
        v_depth := authz._next_depth(v_tenant_id, v_user_id, delegate.parent_id, v_role_id, v_permission.id,
                                     delegate.resource_id, delegate.valid_until);
    elsif (v_role_id is not null and not authz._holds_role(v_tenant_id, v_user_id, v_role_id))
          or (v_permission.id is not null
              and (authz._decide(v_tenant_id, v_user_id, delegate.what, delegate.resource_id, authz._env(v_context, '{}'),
                                 clock_timestamp(), false)).effect = 'deny') then
        raise exception 'User % cannot delegate % without having it', v_user_id, delegate.what
            using errcode = 'ZA010', hint = 'What was delegated to them they pass on by naming that delegation (parent_id).';
    end if;

    insert into authz.delegations (
        tenant_id, delegator_id, delegate_id, parent_id, depth, role_id, permission_id, resource_id, may_redelegate,
        reason, condition, networks, windows, valid_from, valid_until)
    values (
        v_tenant_id, v_user_id, delegate.delegate_id, delegate.parent_id, v_depth, v_role_id, v_permission.id,
        delegate.resource_id, delegate.may_redelegate, delegate.reason, delegate.condition, delegate.networks,
        delegate.windows, coalesce(delegate.valid_from, now()), delegate.valid_until)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) is
    'Pass a role or a permission (type.action) on to another user for a time, on a resource and what lies below it or
wherever one has it; returns the delegation''s id. It gives what the delegator may do at each moment, and of a role only
what can be delegated. It takes permission.delegate and what is delegated (ZA010). Raises ZA011 for an unknown role or
permission, ZA015 when somebody acts for the user, ZA016 when it would last too long, ZA017 for what cannot be delegated,
ZA018 when the delegation that it passes on does not cover it, ZA013 when the delegate may not hold it.';

revoke all on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.delegate(
    uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz._next_depth(
    tenant_id uuid,
    user_id uuid,
    parent_id uuid,
    role_id uuid,
    permission_id integer,
    resource_id uuid,
    valid_until timestamptz)
    returns integer
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
as $$
declare
    v_parent authz.delegations;
    v_depth integer := platform.setting('security.delegation_max_depth') #>> '{}';
    v_fault text;
begin
    select d.* into v_parent
    from authz.delegations as d
    where d.tenant_id = _next_depth.tenant_id and d.id = _next_depth.parent_id
      and d.delegate_id = _next_depth.user_id;
    v_fault := case
        when v_parent.id is null then 'there is no such delegation to them'
        when not v_parent.may_redelegate then 'it may not be passed on'
        when v_parent.valid_from > now() or v_parent.valid_until <= now() then 'it is not in force'
        when v_parent.depth >= v_depth then format('a chain has %s links at the most', v_depth)
        when _next_depth.valid_until > v_parent.valid_until then 'it ends before that'
        when _next_depth.permission_id is not null
             and _next_depth.permission_id is distinct from v_parent.permission_id
             and (v_parent.role_id is null
                  or not authz._carries(_next_depth.tenant_id, v_parent.role_id, _next_depth.permission_id))
             then 'it does not carry that permission'
        when _next_depth.role_id is not null
             and (v_parent.role_id is null
                  or _next_depth.role_id <> all (authz._roles_above(_next_depth.tenant_id, v_parent.role_id)))
             then 'it is not of that role'
        when v_parent.resource_id is not null and not exists (
             select
             from authz.resources as r
             where r.tenant_id = _next_depth.tenant_id and r.id = _next_depth.resource_id
               and v_parent.resource_id = any (r.ancestors || r.id)) then 'it is about another resource'
    end;
    if v_fault is not null then
        raise exception 'Delegation % cannot be passed on like that: %', _next_depth.parent_id, v_fault
            using errcode = 'ZA018', hint = 'Whoever gave it can give the other their part directly.';
    end if;
    return v_parent.depth + 1;
end
$$;

comment on function authz._next_depth(uuid, uuid, uuid, uuid, integer, uuid, timestamptz) is
    'Which link of a chain it would be to pass a delegation on. Raises ZA018 when it does not cover what is passed on.';

revoke all on function authz._next_depth(uuid, uuid, uuid, uuid, integer, uuid, timestamptz) from public;


create or replace function authz.revoke_delegation(delegation_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_parties uuid[];
begin
    with recursive chain (delegator_id, delegate_id, parent_id) as (
        select d.delegator_id, d.delegate_id, d.parent_id
        from authz.delegations as d
        where d.tenant_id = v_tenant_id and d.id = revoke_delegation.delegation_id
        union all
        select d.delegator_id, d.delegate_id, d.parent_id
        from chain
        join authz.delegations as d on d.tenant_id = v_tenant_id and d.id = chain.parent_id
    )
    select array_agg(c.delegator_id) || array_agg(c.delegate_id) into v_parties from chain as c;
    -- All who stand in the chain up to it: who passed it on, and who gives it back.
    perform authz._refuse_unless_party(v_context, v_parties);
    delete from authz.delegations as d
    where d.tenant_id = v_tenant_id and d.id = revoke_delegation.delegation_id;
    return found;
end
$$;

comment on function authz.revoke_delegation(uuid) is
    'Take back a delegation, and all that was passed on by it; false when there is none of that id. For those in the chain
up to it, and for who has permission.grant (ZA010).';

revoke all on function authz.revoke_delegation(uuid) from public;
grant execute on function authz.revoke_delegation(uuid) to enterprise_ai_app;


create or replace function authz._refuse_unless_party(context jsonb, parties uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    if (context ->> 'user_id')::uuid = any (parties)
       and coalesce(context ->> 'actor_id', context ->> 'user_id') = context ->> 'user_id' then
        return;
    elsif not authz._may(context, 'permission.grant', null) then
        raise exception 'User % has no part in this', context ->> 'user_id'
            using errcode = 'ZA010', hint = 'It takes permission.grant.';
    end if;
end
$$;

comment on function authz._refuse_unless_party(jsonb, uuid[]) is
    'Raise ZA010 unless the user of a context is one of these, in person, or has permission.grant.';

revoke all on function authz._refuse_unless_party(jsonb, uuid[]) from public;
-- <<<

-- >>> sql/authz/proxy.sql
-- Acting on behalf of another. Users let others act for them; who gives rights lets others act for users, in what
-- they may do themselves, and never wholesale.

create or replace function authz.grant_proxy(
    actor_id uuid,
    permission text default null,
    all_permissions boolean default false,
    user_id uuid default null,
    resource_id uuid default null,
    valid_until timestamptz default null,
    reason text default null,
    valid_from timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_giver_id uuid := v_context ->> 'user_id';
    v_user_id uuid := coalesce(grant_proxy.user_id, v_giver_id);
    v_permission_id integer;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    if permission is null and not all_permissions then
        raise exception 'It is not said in what % is to act', grant_proxy.actor_id
            using errcode = 'ZA011', hint = 'Name a permission, or say all_permissions => true.';
    end if;
    if v_user_id = v_giver_id then
        v_context := authz._giver('permission.proxy');
    else
        v_context := authz._giver('permission.grant');
        if all_permissions or grant_proxy.actor_id = v_giver_id
           or not authz._may(v_context, permission, grant_proxy.resource_id) then
            raise exception 'User % cannot let % act for % in this', v_giver_id, grant_proxy.actor_id, v_user_id
                using errcode = 'ZA010',
                      hint = 'For another one lets a third act, and only in a permission that one has oneself.';
        end if;
    end if;
    if not all_permissions then
        select p.id into v_permission_id from authz.permissions as p where p.name = grant_proxy.permission;
        if v_permission_id is null then
            raise exception 'There is no permission %', grant_proxy.permission
                using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
        end if;
    end if;

    insert into authz.proxy_grants (
        tenant_id, user_id, actor_id, permission_id, all_permissions, resource_id, reason, condition, networks, windows,
        valid_from, valid_until, granted_by)
    values (
        v_tenant_id, v_user_id, grant_proxy.actor_id, v_permission_id, grant_proxy.all_permissions,
        grant_proxy.resource_id, grant_proxy.reason, grant_proxy.condition, grant_proxy.networks, grant_proxy.windows,
        grant_proxy.valid_from, grant_proxy.valid_until, v_giver_id)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) is
    'Let somebody act on behalf of the user of the context, in one permission or in all; returns the grant''s id. It takes
permission.proxy; to let somebody act for another user permission.grant and the permission itself, never all of them and
never oneself (ZA010). Raises ZA011 for an unknown permission, ZA015 when somebody acts for the user.';

revoke all on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz.revoke_proxy(grant_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
begin
    perform authz._refuse_unless_party(v_context, array(
        select unnest(array[g.user_id, g.actor_id])
        from authz.proxy_grants as g
        where g.tenant_id = v_tenant_id and g.id = revoke_proxy.grant_id));
    delete from authz.proxy_grants as g
    where g.tenant_id = v_tenant_id and g.id = revoke_proxy.grant_id;
    return found;
end
$$;

comment on function authz.revoke_proxy(uuid) is
    'End a grant to act on behalf; false when there is none of that id. For both people in it, and for who has
permission.grant (ZA010).';

revoke all on function authz.revoke_proxy(uuid) from public;
grant execute on function authz.revoke_proxy(uuid) to enterprise_ai_app;
-- <<<

-- >>> sql/authz/break_glass.sql
-- In an emergency somebody takes a role that they have not been given. It is said aloud (NOTIFY), ends by itself,
-- and waits for a review by somebody else from the moment it is over.

create or replace function authz.break_glass(
    role_name text,
    reason text,
    minutes integer default null,
    resource_id uuid default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('system.break_glass');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_most integer := platform.setting('security.break_glass_minutes') #>> '{}';
    v_role_id uuid;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    select r.id into v_role_id
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = break_glass.role_name;
    if v_role_id is null then
        raise exception 'There is no role %', break_glass.role_name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    elsif break_glass.resource_id is not null and not exists (
              select
              from authz.resources as r
              where r.tenant_id = v_tenant_id and r.id = break_glass.resource_id) then
        raise exception 'There is no resource %', break_glass.resource_id
            using errcode = 'ZA011', hint = 'Leave it out to have the role in the whole tenant.';
    elsif break_glass.minutes not between 1 and v_most then
        raise exception 'Emergency access lasts from 1 to % minutes, not %', v_most, break_glass.minutes
            using errcode = 'ZA016', hint = 'The setting security.break_glass_minutes says how long.';
    end if;

    insert into authz.break_glass_events (tenant_id, user_id, role_id, resource_id, reason, expires_at)
    values (v_tenant_id, (v_context ->> 'user_id')::uuid, v_role_id, break_glass.resource_id, break_glass.reason,
            now() + make_interval(mins => coalesce(break_glass.minutes, v_most)))
    returning id into v_id;
    perform pg_notify('enterprise_ai_break_glass', v_tenant_id || ' ' || v_id);
    return v_id;
end
$$;

comment on function authz.break_glass(text, text, integer, uuid) is
    'Take a role in an emergency, for so many minutes (those of the setting security.break_glass_minutes, which are the
most), on a resource and what lies below it or in the whole tenant; returns the event''s id and notifies
enterprise_ai_break_glass of the tenant and the event. It takes system.break_glass (ZA010) and a reason of at least ten
characters (23514). Raises ZA011 for an unknown role or resource, ZA015 when somebody acts for the user, ZA016 when it
would last too long.';

revoke all on function authz.break_glass(text, text, integer, uuid) from public;
grant execute on function authz.break_glass(text, text, integer, uuid) to enterprise_ai_app;


create or replace function authz.end_break_glass(event_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
begin
    perform authz._refuse_unless_party(v_context, array(
        select e.user_id
        from authz.break_glass_events as e
        where e.tenant_id = v_tenant_id and e.id = end_break_glass.event_id));
    update authz.break_glass_events as e
    set ended_at = greatest(e.started_at, clock_timestamp())
    where e.tenant_id = v_tenant_id and e.id = end_break_glass.event_id
      and e.ended_at is null and e.expires_at > clock_timestamp();
    return found;
end
$$;

comment on function authz.end_break_glass(uuid) is
    'End emergency access before its time; false when there is none of that id that goes on. For whoever took it, and for
who has permission.grant (ZA010).';

revoke all on function authz.end_break_glass(uuid) from public;
grant execute on function authz.end_break_glass(uuid) to enterprise_ai_app;


create or replace function authz.list_break_glass_reviews()
    returns table (
        event_id uuid, user_id uuid, role_name text, resource_id uuid, reason text, started_at timestamptz,
        over_at timestamptz, uses bigint)
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select e.id, e.user_id, r.name, e.resource_id, e.reason, e.started_at, coalesce(e.ended_at, e.expires_at),
           (select count(*)
            from authz.break_glass_uses as u
            where u.tenant_id = e.tenant_id and u.event_id = e.id)
    from authz.break_glass_events as e
    join authz.roles as r on r.tenant_id = e.tenant_id and r.id = e.role_id
    where e.tenant_id = platform.current_tenant_id() and e.reviewed_at is null
      and coalesce(e.ended_at, e.expires_at) <= statement_timestamp()
    order by e.started_at, e.id;
end
$$;

comment on function authz.list_break_glass_reviews() is
    'The emergencies that are over and that nobody has reviewed, the oldest first, with how often each was used;
what was done is in authz.break_glass_uses.';

revoke all on function authz.list_break_glass_reviews() from public;
grant execute on function authz.list_break_glass_reviews() to enterprise_ai_app;


create or replace function authz.review_break_glass(event_id uuid, outcome text, comment text default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.review');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_event authz.break_glass_events;
begin
    select e.* into v_event
    from authz.break_glass_events as e
    where e.tenant_id = v_tenant_id and e.id = review_break_glass.event_id and e.reviewed_at is null;
    if v_event.id is null then
        return false;
    elsif v_event.user_id::text in (v_context ->> 'user_id', v_context ->> 'actor_id') then
        raise exception 'Nobody reviews their own emergency'
            using errcode = 'ZA010', hint = 'It takes permission.review, and another person.';
    elsif coalesce(v_event.ended_at, v_event.expires_at) > clock_timestamp() then
        raise exception 'Emergency % is not over', v_event.id
            using errcode = 'ZA019', hint = 'authz.end_break_glass() ends it.';
    end if;
    update authz.break_glass_events as e
    set review_outcome = review_break_glass.outcome, review_comment = review_break_glass.comment,
        reviewed_by = (v_context ->> 'user_id')::uuid, reviewed_at = clock_timestamp()
    where e.tenant_id = v_tenant_id and e.id = v_event.id;
    return found;
end
$$;

comment on function authz.review_break_glass(uuid, text, text) is
    'Say of an emergency that is over whether it was justified or unjustified (23514 for anything else), for good; false when
there is none of that id that waits for it. It takes permission.review, and somebody else than who took it (ZA010).
Raises ZA019 while it goes on.';

revoke all on function authz.review_break_glass(uuid, text, text) from public;
grant execute on function authz.review_break_glass(uuid, text, text) to enterprise_ai_app;
-- <<<

-- >>> sql/authz/assignments.sql
create or replace function authz._assignments(tenant_id uuid)
    returns table (
        kind text, id uuid, subject_id uuid, is_group boolean, role_id uuid, permission_id integer, resource_id uuid,
        valid_until timestamptz, assignment jsonb)
    language plpgsql
    stable
    parallel restricted
as $$
#variable_conflict use_column
begin
    return query
    select 'user_role', a.id, a.user_id, false, a.role_id, null::integer, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.user_roles as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'group_role', a.id, a.group_id, true, a.role_id, null, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.group_roles as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'user_permission', a.id, a.user_id, false, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.user_permissions as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'group_permission', a.id, a.group_id, true, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.group_permissions as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'delegation', a.id, a.delegate_id, false, a.role_id, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.delegations as a
    where a.tenant_id = _assignments.tenant_id
    union all
    select 'proxy_grant', a.id, a.actor_id, false, null, a.permission_id, a.resource_id, a.valid_until, to_jsonb(a)
    from authz.proxy_grants as a
    where a.tenant_id = _assignments.tenant_id;
end
$$;

comment on function authz._assignments(uuid) is 'Whatever somebody has been given in a tenant, of all kinds, as one list.';

revoke all on function authz._assignments(uuid) from public;


create or replace function authz._withdraw(tenant_id uuid, kind text, id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    if kind = 'user_role' then
        delete from authz.user_roles as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'group_role' then
        delete from authz.group_roles as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'user_permission' then
        delete from authz.user_permissions as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'group_permission' then
        delete from authz.group_permissions as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'delegation' then
        delete from authz.delegations as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    elsif kind = 'proxy_grant' then
        delete from authz.proxy_grants as a where a.tenant_id = _withdraw.tenant_id and a.id = _withdraw.id;
    end if;
    return found;
end
$$;

comment on function authz._withdraw(uuid, text, uuid) is
    'Take back what authz._assignments lists; false when it is gone already.';

revoke all on function authz._withdraw(uuid, text, uuid) from public;
-- <<<

-- >>> sql/authz/reviews.sql
-- A campaign lists what people and groups have been given, and names somebody for each who says whether it stays.
-- What a rule or a directory gives is not listed: it would come back, and is looked at where the rule is.

create or replace function authz.open_access_review(
    name text,
    reviewer_id uuid,
    due_at timestamptz default null,
    scope jsonb default '{}',
    reviewers text default 'named',
    auto_revoke boolean default false)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.manage_policies');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_id uuid;
    v_unreviewed record;
    v_kinds constant jsonb :=
        '["user_role", "group_role", "user_permission", "group_permission", "delegation", "proxy_grant"]';
begin
    if not scope - array['kinds', 'role_ids', 'group_ids', 'user_ids'] = '{}'
       or exists (select from jsonb_each(scope) as s where jsonb_typeof(s.value) <> 'array')
       -- A review of a kind that there is not would have nothing to decide, and be over at once.
       or not coalesce(scope -> 'kinds', '[]') <@ v_kinds then
        raise exception 'The scope % cannot be used', scope
            using errcode = 'ZA009',
                  hint = 'It has lists under kinds, role_ids, group_ids and user_ids; any may be absent. A kind is '
                         'user_role, group_role, user_permission, group_permission, delegation or proxy_grant.';
    end if;
    insert into authz.access_reviews (tenant_id, name, scope, reviewers, reviewer_id, due_at, auto_revoke, created_by)
    values (v_tenant_id, open_access_review.name, open_access_review.scope, open_access_review.reviewers,
            open_access_review.reviewer_id, coalesce(open_access_review.due_at, now() + interval '30 days'),
            open_access_review.auto_revoke, (v_context ->> 'user_id')::uuid)
    returning id into v_id;

    for v_unreviewed in
        select a.kind, a.subject_id
        from authz._assignments(v_tenant_id) as a
        where authz._is_in_scope(a.kind, a.subject_id, a.is_group, a.role_id, scope)
          and coalesce(a.valid_until > now(), true)
          and coalesce(a.assignment ->> 'source', 'manual') = 'manual'
          and authz._reviewer_of(v_tenant_id, v_id, a.subject_id, a.is_group, a.resource_id) is null
        limit 1
    loop
        raise exception 'Nobody is left to review the % of %', v_unreviewed.kind, v_unreviewed.subject_id
            using errcode = 'ZA021',
                  hint = 'Name a reviewer who is active, and is neither the one reviewed nor in the group.';
    end loop;

    insert into authz.access_review_items (
        tenant_id, review_id, assignment_kind, assignment_id, subject_id, assignment, reviewer_id)
    select v_tenant_id, v_id, a.kind, a.id, a.subject_id,
           jsonb_strip_nulls(a.assignment || jsonb_build_object('role', r.name, 'permission', p.name)),
           authz._reviewer_of(v_tenant_id, v_id, a.subject_id, a.is_group, a.resource_id)
    from authz._assignments(v_tenant_id) as a
    left join authz.roles as r on r.tenant_id = v_tenant_id and r.id = a.role_id
    left join authz.permissions as p on p.id = a.permission_id
    where authz._is_in_scope(a.kind, a.subject_id, a.is_group, a.role_id, scope)
      and coalesce(a.valid_until > now(), true)
      and coalesce(a.assignment ->> 'source', 'manual') = 'manual';
    perform authz._close_if_decided(v_tenant_id, v_id);
    return v_id;
end
$$;

comment on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) is
    'Begin a review of what has been given by hand and has not ended, of everything or of a scope
{"kinds": […], "role_ids": […], "group_ids": […], "user_ids": […]}; returns its id. For each one person decides: the named
reviewer, or first the manager, or the owner of the resource (reviewers). With auto_revoke what nobody has confirmed by
then is withdrawn. It takes permission.manage_policies (ZA010). Raises ZA009 for a scope of another shape, ZA021 when
nobody could review something but the one who has it.';

revoke all on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) from public;
grant execute on function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean) to enterprise_ai_app;


create or replace function authz._is_in_scope(kind text, subject_id uuid, is_group boolean, role_id uuid, scope jsonb)
    returns boolean
    language sql
    immutable
    parallel safe
as $$
    select (not scope ? 'kinds' or scope -> 'kinds' ? kind)
       and (not scope ? 'role_ids' or coalesce(scope -> 'role_ids' ? role_id::text, false))
       and (not scope ?| '{group_ids,user_ids}'
            or coalesce(scope -> case when is_group then 'group_ids' else 'user_ids' end ? subject_id::text, false))
$$;

comment on function authz._is_in_scope(text, uuid, boolean, uuid, jsonb) is
    'Whether an assignment is of what a review looks at.';

revoke all on function authz._is_in_scope(text, uuid, boolean, uuid, jsonb) from public;


create or replace function authz._reviewer_of(
    tenant_id uuid,
    review_id uuid,
    subject_id uuid,
    is_group boolean,
    resource_id uuid)
    returns uuid
    language plpgsql
    stable
    parallel restricted
as $$
begin
    -- The one that the rule names, else the named one, else that one's manager, else who opened the review.
    return (
        select c.id
        from authz.access_reviews as v
        cross join lateral (
            values (1, case
                        when v.reviewers = 'manager' and not is_group then (
                            select p.manager_id
                            from identity.user_profiles as p
                            where p.tenant_id = _reviewer_of.tenant_id and p.user_id = subject_id)
                        when v.reviewers = 'owner' then (
                            select r.owner_id
                            from authz.resources as r
                            where r.tenant_id = _reviewer_of.tenant_id and r.id = _reviewer_of.resource_id)
                    end),
                   (2, v.reviewer_id),
                   (3, (select p.manager_id
                        from identity.user_profiles as p
                        where p.tenant_id = _reviewer_of.tenant_id and p.user_id = v.reviewer_id)),
                   (4, v.created_by)
        ) as c (place, id)
        join identity.users as u on u.tenant_id = _reviewer_of.tenant_id and u.id = c.id and u.status = 'active'
        where v.tenant_id = _reviewer_of.tenant_id and v.id = _reviewer_of.review_id
          and authz._may_review(c.id, subject_id, is_group)
        order by c.place
        limit 1);
end
$$;

comment on function authz._reviewer_of(uuid, uuid, uuid, boolean, uuid) is
    'Who is to review what somebody has been given; null when nobody can.';

revoke all on function authz._reviewer_of(uuid, uuid, uuid, boolean, uuid) from public;


create or replace function authz._may_review(user_id uuid, subject_id uuid, is_group boolean)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return _may_review.user_id <> subject_id
       and not (is_group and subject_id in (select g.id from identity.groups_of(_may_review.user_id) as g (id)));
end
$$;

comment on function authz._may_review(uuid, uuid, boolean) is
    'Whether what a user or a group has is somebody else''s, and so theirs to review.';

revoke all on function authz._may_review(uuid, uuid, boolean) from public;


create or replace function authz.decide_review_item(item_id uuid, decision text, comment text default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record, or rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
    v_item authz.access_review_items;
    v_is_group boolean;
    v_is_withdrawn boolean := false;
begin
    select i.* into v_item
    from authz.access_review_items as i
    join authz.access_reviews as r on r.tenant_id = v_tenant_id and r.id = i.review_id and r.status = 'open'
    where i.tenant_id = v_tenant_id and i.id = decide_review_item.item_id and i.decided_at is null;
    if v_item.id is null then
        raise exception 'There is nothing to decide under %', decide_review_item.item_id
            using errcode = 'ZA022', hint = 'It is decided, its review is over, or it never was.';
    end if;
    v_is_group := v_item.assignment_kind like 'group%';
    if not authz._may_review(v_user_id, v_item.subject_id, v_is_group)
       or not authz._may_review(coalesce((v_context ->> 'actor_id')::uuid, v_user_id), v_item.subject_id, v_is_group)
       or (v_user_id <> v_item.reviewer_id and not authz._may(v_context, 'permission.review', null)) then
        raise exception 'User % cannot decide on this', v_user_id
            using errcode = 'ZA010', hint = 'It takes its reviewer, or permission.review; nobody reviews what they have.';
    end if;

    if decide_review_item.decision = 'revoke' then
        v_is_withdrawn := authz._withdraw(v_tenant_id, v_item.assignment_kind, v_item.assignment_id);
    end if;
    update authz.access_review_items as i
    set decision = decide_review_item.decision, comment = decide_review_item.comment, decided_by = v_user_id,
        decided_at = clock_timestamp(), revoked_at = case when v_is_withdrawn then clock_timestamp() end
    where i.tenant_id = v_tenant_id and i.id = v_item.id;
    perform authz._close_if_decided(v_tenant_id, v_item.review_id);
    return v_is_withdrawn;
end
$$;

comment on function authz.decide_review_item(uuid, text, text) is
    'Decide on one assignment of a review, for good: keep, or revoke, which withdraws it at once; true when it was
withdrawn. The last decision closes the review. For its reviewer, or who has permission.review, never for who has the
assignment (ZA010). Raises ZA022 when there is nothing to decide, 23514 for another decision.';

revoke all on function authz.decide_review_item(uuid, text, text) from public;
grant execute on function authz.decide_review_item(uuid, text, text) to enterprise_ai_app;


create or replace function authz._close_if_decided(tenant_id uuid, review_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    update authz.access_reviews as r
    set status = 'closed', closed_at = clock_timestamp()
    where r.tenant_id = _close_if_decided.tenant_id and r.id = _close_if_decided.review_id and r.status = 'open'
      and not exists (
          select
          from authz.access_review_items as i
          where i.tenant_id = _close_if_decided.tenant_id and i.review_id = _close_if_decided.review_id
            and i.decided_at is null);
end
$$;

comment on function authz._close_if_decided(uuid, uuid) is 'Close a review in which nothing is left to decide.';

revoke all on function authz._close_if_decided(uuid, uuid) from public;


create or replace function authz.cancel_access_review(review_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    update authz.access_reviews as r
    set status = 'cancelled', closed_at = clock_timestamp()
    where r.tenant_id = v_tenant_id and r.id = cancel_access_review.review_id and r.status = 'open';
    return found;
end
$$;

comment on function authz.cancel_access_review(uuid) is
    'Give up a review; what was decided in it stays. False when there is none of that id that is open. It takes
permission.manage_policies (ZA010).';

revoke all on function authz.cancel_access_review(uuid) from public;
grant execute on function authz.cancel_access_review(uuid) to enterprise_ai_app;


create or replace function authz.access_review_progress(review_id uuid)
    returns table (total bigint, kept bigint, revoked bigint, undecided bigint, is_overdue boolean)
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select count(i.id), count(*) filter (where i.decision = 'keep'), count(*) filter (where i.decision = 'revoke'),
           count(i.id) filter (where i.decision is null), r.status = 'open' and r.due_at <= statement_timestamp()
    from authz.access_reviews as r
    left join authz.access_review_items as i on i.tenant_id = r.tenant_id and i.review_id = r.id
    where r.tenant_id = platform.current_tenant_id() and r.id = access_review_progress.review_id
    group by r.status, r.due_at;
end
$$;

comment on function authz.access_review_progress(uuid) is
    'How far a review is: complete when nothing is undecided. No row when there is none of that id.';

revoke all on function authz.access_review_progress(uuid) from public;
grant execute on function authz.access_review_progress(uuid) to enterprise_ai_app;
-- <<<

-- >>> sql/authz/close_due_reviews.sql
create or replace function authz.close_due_reviews()
    returns table (tenant_id uuid, review_id uuid, withdrawn integer, error text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens one tenant's context after the other, and withdraws rights
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_outer text := current_setting('enterprise_ai.context', true);
begin
    for tenant_id in select d.tenant_id from identity.tenant_directory as d order by d.tenant_id loop
        perform platform._seal_context(jsonb_build_object('tenant_id', tenant_id));
        for review_id in
            select r.id
            from authz.access_reviews as r
            join identity.tenants as t on t.id = close_due_reviews.tenant_id and t.status <> 'deleting'
            where r.tenant_id = close_due_reviews.tenant_id and r.status = 'open' and r.auto_revoke
              and r.due_at <= statement_timestamp()
            order by r.due_at
        loop
            -- What goes wrong with one holds up no other.
            begin
                error := null;
                withdrawn := authz._close_due(tenant_id, review_id);
            exception
                when others then
                    withdrawn := 0;
                    error := sqlstate || ' ' || sqlerrm;
            end;
            return next;
        end loop;
    end loop;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function authz.close_due_reviews() is
    'Close the reviews of all tenants that are due and withdraw by themselves what nobody has confirmed; call it again and
again. Returns each with how much it withdrew, or what stood in its way: that one stays as it was.';

revoke all on function authz.close_due_reviews() from public;
grant execute on function authz.close_due_reviews() to enterprise_ai_operator;


create or replace function authz._close_due(tenant_id uuid, review_id uuid)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_item record;
    v_is_withdrawn boolean;
    v_withdrawn integer := 0;
begin
    perform authz._touch_epoch(_close_due.tenant_id);
    for v_item in
        select i.id, i.assignment_kind, i.assignment_id
        from authz.access_review_items as i
        where i.tenant_id = _close_due.tenant_id and i.review_id = _close_due.review_id and i.decided_at is null
    loop
        v_is_withdrawn := authz._withdraw(_close_due.tenant_id, v_item.assignment_kind, v_item.assignment_id);
        v_withdrawn := v_withdrawn + v_is_withdrawn::integer;
        update authz.access_review_items as i
        set decision = 'revoke', decided_at = clock_timestamp(),
            revoked_at = case when v_is_withdrawn then clock_timestamp() end
        where i.tenant_id = _close_due.tenant_id and i.id = v_item.id and i.decided_at is null;
    end loop;
    perform authz._close_if_decided(_close_due.tenant_id, _close_due.review_id);
    return v_withdrawn;
end
$$;

comment on function authz._close_due(uuid, uuid) is
    'Withdraw what nobody has confirmed in a review, and close it; returns how much was withdrawn.';

revoke all on function authz._close_due(uuid, uuid) from public;
-- <<<

--- authz: rules that give roles, and looking before one changes ------------------------

-- >>> sql/authz/assignment_rules.sql
-- Roles that people have for what they are, not because somebody gave them: the department, the title, the manager,
-- the address. Evaluated in the transaction that changes a person or a rule, after taking a turn, so that of two
-- who change one each the second sees the other. What a rule gives is its own (user_roles.source); it touches no
-- assignment made by hand.

create or replace function authz._check_assignment_rule()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fault text := authz._fault_of_condition(new.condition, 'subject');
begin
    if v_fault is not null then
        raise exception 'The condition % cannot be used: %', new.condition, v_fault
            using errcode = 'ZA006', hint = 'Write a predicate like: strict $.subject.department == "Finance"';
    end if;
    return new;
end
$$;

comment on function authz._check_assignment_rule() is
    'Before-row trigger: the condition of a rule is a predicate about the person alone. Raises ZA006.';

revoke all on function authz._check_assignment_rule() from public;


create or replace function authz._missing_assignments(tenant_id uuid, user_ids uuid[], rule_ids uuid[])
    returns table (rule_id uuid, user_id uuid, role_id uuid, resource_id uuid, holders_limit integer)
    language plpgsql
    volatile                -- sees what was committed while the caller waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select r.id, u.id, r.role_id, r.resource_id, held.holders_limit
    from authz.assignment_rules as r
    join authz.roles as held on held.tenant_id = _missing_assignments.tenant_id and held.id = r.role_id
    join identity.users as u on u.tenant_id = _missing_assignments.tenant_id and u.deleted_at is null
    where r.tenant_id = _missing_assignments.tenant_id and r.is_enabled
      and (_missing_assignments.rule_ids is null or r.id = any (_missing_assignments.rule_ids))
      and (_missing_assignments.user_ids is null or u.id = any (_missing_assignments.user_ids))
      and authz._rule_holds(_missing_assignments.tenant_id, u.id, r.condition)
      and not exists (
          select
          from authz.user_roles as a
          where a.tenant_id = _missing_assignments.tenant_id and a.user_id = u.id and a.role_id = r.role_id
            and a.source = 'rule' and a.source_id = r.id)
    order by r.id, u.id;
end
$$;

comment on function authz._missing_assignments(uuid, uuid[], uuid[]) is
    'What these rules, or all, would give these users, or all, and has not been given.';

revoke all on function authz._missing_assignments(uuid, uuid[], uuid[]) from public;


create or replace function authz._rule_holds(tenant_id uuid, user_id uuid, condition jsonpath)
    returns boolean
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return coalesce(
        jsonb_path_match(authz._facts(_rule_holds.tenant_id, _rule_holds.user_id, null, '{}'), condition, '{}', true), false);
exception
    when others then return false;      -- malformed, and written past the checks
end
$$;

comment on function authz._rule_holds(uuid, uuid, jsonpath) is
    'Whether the condition of a rule is true of a person; what is missing makes it no truer.';

revoke all on function authz._rule_holds(uuid, uuid, jsonpath) from public;


create or replace function authz._apply_assignment_rules(
    tenant_id uuid, user_ids uuid[] default null, rule_ids uuid[] default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_done boolean := false;
    v_missing record;
begin
    if not exists (
        select
        from authz.assignment_rules as r
        -- Not while the tenant is being deleted with all its rows.
        join identity.tenants as t on t.id = _apply_assignment_rules.tenant_id and t.status <> 'deleting'
        where r.tenant_id = _apply_assignment_rules.tenant_id
    ) then
        return;
    end if;
    delete from authz.user_roles as a
    where a.tenant_id = _apply_assignment_rules.tenant_id and a.source = 'rule'
      and (_apply_assignment_rules.rule_ids is null or a.source_id = any (_apply_assignment_rules.rule_ids))
      and (_apply_assignment_rules.user_ids is null or a.user_id = any (_apply_assignment_rules.user_ids))
      and not exists (
          select
          from authz.assignment_rules as r
          join identity.users as u on u.tenant_id = _apply_assignment_rules.tenant_id and u.id = a.user_id
          where r.tenant_id = _apply_assignment_rules.tenant_id and r.id = a.source_id and r.is_enabled
            and r.role_id = a.role_id and r.resource_id is not distinct from a.resource_id and u.deleted_at is null
            and authz._rule_holds(_apply_assignment_rules.tenant_id, a.user_id, r.condition));

    -- All at once where nothing stands in the way, else one by one: one who may not have the role because of a
    -- separation of duties, or a full role, keeps nobody else from it, and no change of a person from being made.
    begin
        insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, source, source_id)
        select _apply_assignment_rules.tenant_id, m.user_id, m.role_id, m.resource_id, 'rule', m.rule_id
        from authz._missing_assignments(
            _apply_assignment_rules.tenant_id, _apply_assignment_rules.user_ids, _apply_assignment_rules.rule_ids) as m
        where m.holders_limit is null;
        v_is_done := true;
    exception
        when sqlstate 'ZA013' then null;
    end;
    for v_missing in
        select m.*
        from authz._missing_assignments(
            _apply_assignment_rules.tenant_id, _apply_assignment_rules.user_ids, _apply_assignment_rules.rule_ids) as m
        where not v_is_done or m.holders_limit is not null
    loop
        begin
            insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, source, source_id)
            select _apply_assignment_rules.tenant_id, v_missing.user_id, v_missing.role_id, v_missing.resource_id, 'rule',
                   v_missing.rule_id
            where v_missing.holders_limit is null or v_missing.holders_limit > (
                select count(distinct a.user_id)
                from authz.user_roles as a
                where a.tenant_id = _apply_assignment_rules.tenant_id and a.role_id = v_missing.role_id
                  and a.user_id <> v_missing.user_id);
        exception
            when sqlstate 'ZA013' then null;
        end;
    end loop;
end
$$;

comment on function authz._apply_assignment_rules(uuid, uuid[], uuid[]) is
    'Bring what these rules, or all, have given these users, or all, in step with what they say. What a separation of duties
or a limit of holders forbids is left out; authz.lint() lists it.';

revoke all on function authz._apply_assignment_rules(uuid, uuid[], uuid[]) from public;


create or replace function authz._apply_rules()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever changes a person cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
    v_tenant_id uuid := v_row ->> 'tenant_id';
    v_context text := authz._enter_tenant(v_tenant_id);
    v_ids uuid[] := array[(v_row ->> tg_argv[1])::uuid];
begin
    if tg_argv[0] = 'rule' and tg_op = 'DELETE' then
        delete from authz.user_roles as a
        where a.tenant_id = v_tenant_id and a.source = 'rule' and a.source_id = any (v_ids);
    elsif tg_argv[0] = 'rule' then
        perform authz._apply_assignment_rules(v_tenant_id, null, v_ids);
    else
        perform authz._apply_assignment_rules(v_tenant_id, v_ids, null);
    end if;
    perform authz._leave_tenant(v_context);
    return null;
end
$$;

comment on function authz._apply_rules() is
    'After-row trigger: applies the rule, or all rules to the person (first argument), that the column (second argument) names.';

revoke all on function authz._apply_rules() from public;


create or replace function authz._apply_rules_to_changed()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever makes people cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
    v_ids uuid[];
    v_context text;
begin
    for v_tenant_id, v_ids in
        select (c.fields ->> 'tenant_id')::uuid, array_agg((c.fields ->> tg_argv[0])::uuid)
        from (
            select to_jsonb(changed) from changed
        ) as c (fields)
        group by 1
    loop
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._apply_assignment_rules(v_tenant_id, v_ids, null);
        perform authz._leave_tenant(v_context);
    end loop;
    return null;
end
$$;

comment on function authz._apply_rules_to_changed() is
    'After-statement trigger: applies all rules to the people that the column given as argument names.';

revoke all on function authz._apply_rules_to_changed() from public;


create or replace function authz.save_assignment_rule(
    name text,
    role_name text,
    condition jsonpath,
    resource_id uuid default null,
    is_enabled boolean default true)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.manage_policies');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_role_id uuid := authz._role_named(v_tenant_id, role_name);
    v_id uuid;
begin
    v_context := authz._giver('role.assign');
    perform authz._refuse_excess(v_context, v_role_id, role_name);
    insert into authz.assignment_rules (tenant_id, name, role_id, resource_id, condition, is_enabled, created_by)
    values (v_tenant_id, save_assignment_rule.name, v_role_id, save_assignment_rule.resource_id,
            save_assignment_rule.condition, save_assignment_rule.is_enabled, (v_context ->> 'user_id')::uuid)
    on conflict on constraint assignment_rules_name_key do update
        set role_id = excluded.role_id,
            resource_id = excluded.resource_id,
            condition = excluded.condition,
            is_enabled = excluded.is_enabled,
            created_by = excluded.created_by
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) is
    'Give a role, in the tenant or on a resource, to all of whom a condition on $.subject is true, for as long as it is; or
change such a rule by its name. Returns its id. It takes permission.manage_policies, role.assign and everything that the
role carries (ZA010). Raises ZA011 for an unknown role, ZA006 for a condition that cannot be used.';

revoke all on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) from public;
grant execute on function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean) to enterprise_ai_app;


create or replace function authz.delete_assignment_rule(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.assignment_rules as r
    where r.tenant_id = v_tenant_id and r.name = delete_assignment_rule.name;
    return found;
end
$$;

comment on function authz.delete_assignment_rule(text) is
    'Delete a rule, and take back what it gave; false when there is none of that name. It takes permission.manage_policies
(ZA010).';

revoke all on function authz.delete_assignment_rule(text) from public;
grant execute on function authz.delete_assignment_rule(text) to enterprise_ai_app;
-- <<<

-- >>> sql/authz/rule_turns.sql
-- Whoever makes a person meets whoever makes a rule, and otherwise nobody: a new person takes a turn among those who
-- change rights only in a tenant that has rules, so that people can be made side by side. That none was there is
-- certain because both first take one advisory lock: makers of people share it, a maker of rules has it alone.

create or replace function authz._await_new_people()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> 'tenant_id';
begin
    perform pg_advisory_xact_lock(hashtextextended('authz.assignment_rules ' || v_tenant_id, 0));
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function authz._await_new_people() is
    'Before-row trigger, ahead of _take_turn: wait until those who make people now have ended, and hold off others.';

revoke all on function authz._await_new_people() from public;


create or replace function authz._take_turn_if_ruled()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- those who make people may not read rules
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context text := authz._enter_tenant(new.tenant_id);
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('authz.assignment_rules ' || new.tenant_id, 0));
    -- An older snapshot does not show a rule that was committed since; the turn then fails with 40001.
    if current_setting('transaction_isolation') <> 'read committed' or exists (
        select
        from authz.assignment_rules as r
        where r.tenant_id = new.tenant_id and r.is_enabled
    ) then
        perform authz._touch_epoch(new.tenant_id);
    end if;
    perform authz._leave_tenant(v_context);
    return new;
end
$$;

comment on function authz._take_turn_if_ruled() is
    'Before-row trigger: whoever makes a person takes a turn where rules could give that person a role.';

revoke all on function authz._take_turn_if_ruled() from public;
-- <<<

-- >>> sql/authz/policy_tests.sql
-- What must stay so, written down as a row: somebody may, or may not, do something. Run before and after a change.

create or replace function authz.save_policy_test(
    name text,
    user_id uuid,
    permission text,
    expected_effect text,
    resource_id uuid default null,
    env jsonb default '{}',
    expected_reason text default null,
    decided_at timestamptz default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
    v_id uuid;
begin
    -- A misspelt permission is denied to everybody, so its test would pass for ever.
    if not exists (select from authz.permissions as p where p.name = save_policy_test.permission) then
        raise exception 'There is no permission %', permission
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    insert into authz.policy_tests (
        tenant_id, name, user_id, permission, resource_id, env, decided_at, expected_effect, expected_reason)
    values (v_tenant_id, save_policy_test.name, save_policy_test.user_id, save_policy_test.permission,
            save_policy_test.resource_id, save_policy_test.env, save_policy_test.decided_at,
            save_policy_test.expected_effect, save_policy_test.expected_reason)
    on conflict on constraint policy_tests_name_key do update
        set user_id = excluded.user_id,
            permission = excluded.permission,
            resource_id = excluded.resource_id,
            env = excluded.env,
            decided_at = excluded.decided_at,
            expected_effect = excluded.expected_effect,
            expected_reason = excluded.expected_reason
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz) is
    'Write down, or change by its name, what a decision must be: allow or deny, and why if that matters; returns its id. env
holds the facts of the request, also those that a context would know (ip_address, authentication_level, session_id,
actor_id); decided_at a moment other than that of the run. It takes permission.manage_policies (ZA010).
Raises ZA011 for an unknown permission.';

revoke all on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz) from public;
grant execute on function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz)
    to enterprise_ai_app;


create or replace function authz.delete_policy_test(name text)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write policies
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := authz._giver('permission.manage_policies') ->> 'tenant_id';
begin
    delete from authz.policy_tests as t
    where t.tenant_id = v_tenant_id and t.name = delete_policy_test.name;
    return found;
end
$$;

comment on function authz.delete_policy_test(text) is
    'Delete a policy test; false when there is none of that name. It takes permission.manage_policies (ZA010).';

revoke all on function authz.delete_policy_test(text) from public;
grant execute on function authz.delete_policy_test(text) to enterprise_ai_app;


create or replace function authz._policy_test_outcomes(context jsonb)
    returns table (
        name text, is_passed boolean, expected_effect text, expected_reason text, effect text, reason text)
    language plpgsql
    volatile                -- sees the changes that a simulation has made
    parallel unsafe
as $$
#variable_conflict use_column
begin
    return query
    select t.name, d.effect = t.expected_effect and coalesce(d.reason = t.expected_reason, true),
           t.expected_effect, t.expected_reason, d.effect, d.reason
    from authz.policy_tests as t
    cross join lateral authz._evaluate(
        t.env || jsonb_build_object('tenant_id', t.tenant_id, 'user_id', t.user_id), t.user_id, t.permission,
        t.resource_id, '{}', coalesce(t.decided_at, statement_timestamp())) as d
    where t.tenant_id = (context ->> 'tenant_id')::uuid
    order by t.name;
end
$$;

comment on function authz._policy_test_outcomes(jsonb) is 'The policy tests of a tenant, with what came of each.';

revoke all on function authz._policy_test_outcomes(jsonb) from public;


create or replace function authz._policy_test_results(context jsonb)
    returns jsonb
    language plpgsql
    volatile                -- sees the changes that a simulation has made
    parallel unsafe
as $$
begin
    return (
        select coalesce(jsonb_object_agg(o.name, case when o.is_passed then 'passes' else 'fails' end), '{}')
        from authz._policy_test_outcomes(context) as o);
end
$$;

comment on function authz._policy_test_results(jsonb) is 'Whether each policy test of a tenant passes, by name.';

revoke all on function authz._policy_test_results(jsonb) from public;


create or replace function authz.run_policy_tests()
    returns table (
        name text, is_passed boolean, expected_effect text, expected_reason text, effect text, reason text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides from tables of which the caller sees only part
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform authz._refuse_unless_reader(platform.context());
    return query select o.* from authz._policy_test_outcomes(platform.context()) as o;
end
$$;

comment on function authz.run_policy_tests() is
    'Run the policy tests of the tenant: what each expects and what it gets. It takes permission.read (ZA007).';

revoke all on function authz.run_policy_tests() from public;
grant execute on function authz.run_policy_tests() to enterprise_ai_app;
-- <<<

-- >>> sql/authz/apply_change.sql
create or replace function authz._apply_change(tenant_id uuid, change jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
as $$
declare
    v_do constant text := change ->> 'do';
    v_user_id constant uuid := change ->> 'user_id';
    v_group_id constant uuid := change ->> 'group_id';
    v_resource_id constant uuid := change ->> 'resource_id';
    v_role_id constant uuid := authz._role_named(_apply_change.tenant_id, change ->> 'role');
    v_parent_id constant uuid := authz._role_named(_apply_change.tenant_id, change ->> 'parent');
    v_permission_id constant integer := (select p.id from authz.permissions as p where p.name = change ->> 'permission');
    v_effect constant text := coalesce(change ->> 'effect', 'allow');
    v_condition constant jsonpath := change ->> 'condition';
    v_from constant timestamptz := change ->> 'valid_from';
    v_until constant timestamptz := change ->> 'valid_until';
    v_unknown text;
begin
    -- A misspelt key would make a change other than the one that was meant, as wide as a tenant perhaps.
    if jsonb_typeof(change) = 'object' then
        select string_agg(k, ', ' order by k) into v_unknown
        from jsonb_object_keys(change) as k
        where k <> all (array['do', 'user_id', 'group_id', 'role', 'parent', 'permission', 'effect', 'resource_id',
                              'parent_id', 'condition', 'valid_from', 'valid_until']);
    end if;
    if v_unknown is not null then
        raise exception 'The change % has %, which means nothing', change, v_unknown
            using errcode = 'ZA009', hint = 'Beside "do" there are user_id, group_id, role, parent, permission, effect, '
                                            'resource_id, parent_id, condition, valid_from and valid_until.';
    end if;
    if num_nonnulls(v_user_id, v_group_id, v_role_id) > 1 and v_do in ('grant_permission', 'revoke_permission')
       or num_nonnulls(v_user_id, v_group_id) > 1 and v_do in ('assign_role', 'revoke_role') then
        raise exception 'The change % is about more than one', change
            using errcode = 'ZA009', hint = 'Name a user, a group or a role, and make a change for each of them.';
    end if;
    if change ->> 'permission' is not null and v_permission_id is null then
        raise exception 'There is no permission %', change ->> 'permission'
            using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
    end if;
    if v_do = 'assign_role' and v_user_id is not null then
        insert into authz.user_roles (tenant_id, user_id, role_id, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_user_id, v_role_id, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'assign_role' and v_group_id is not null then
        insert into authz.group_roles (tenant_id, group_id, role_id, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_group_id, v_role_id, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'revoke_role' and v_user_id is not null then
        delete from authz.user_roles as a
        where a.tenant_id = _apply_change.tenant_id and a.user_id = v_user_id and a.role_id = v_role_id
          and (v_resource_id is null or a.resource_id = v_resource_id);
    elsif v_do = 'revoke_role' and v_group_id is not null then
        delete from authz.group_roles as a
        where a.tenant_id = _apply_change.tenant_id and a.group_id = v_group_id and a.role_id = v_role_id
          and (v_resource_id is null or a.resource_id = v_resource_id);
    elsif v_do = 'grant_permission' and v_user_id is not null then
        insert into authz.user_permissions (
            tenant_id, user_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_user_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'grant_permission' and v_group_id is not null then
        insert into authz.group_permissions (
            tenant_id, group_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_group_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'grant_permission' and v_role_id is not null then
        insert into authz.role_permissions (
            tenant_id, role_id, permission_id, effect, resource_id, condition, valid_from, valid_until)
        values (_apply_change.tenant_id, v_role_id, v_permission_id, v_effect, v_resource_id, v_condition, v_from, v_until);
    elsif v_do = 'revoke_permission' and v_user_id is not null then
        delete from authz.user_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.user_id = v_user_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'revoke_permission' and v_group_id is not null then
        delete from authz.group_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.group_id = v_group_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'revoke_permission' and v_role_id is not null then
        delete from authz.role_permissions as g
        where g.tenant_id = _apply_change.tenant_id and g.role_id = v_role_id and g.permission_id = v_permission_id
          and g.effect = v_effect and (v_resource_id is null or g.resource_id = v_resource_id);
    elsif v_do = 'add_member' then
        insert into identity.group_members (tenant_id, group_id, user_id)
        values (_apply_change.tenant_id, v_group_id, v_user_id);
    elsif v_do = 'remove_member' then
        delete from identity.group_members as m
        where m.tenant_id = _apply_change.tenant_id and m.group_id = v_group_id and m.user_id = v_user_id;
    elsif v_do = 'inherit' then
        insert into authz.role_inheritance (tenant_id, role_id, parent_id, valid_from, valid_until)
        values (_apply_change.tenant_id, v_role_id, v_parent_id, v_from, v_until);
    elsif v_do = 'disinherit' then
        delete from authz.role_inheritance as i
        where i.tenant_id = _apply_change.tenant_id and i.role_id = v_role_id and i.parent_id = v_parent_id;
    elsif v_do = 'suspend_user' then
        update identity.users as u
        set status = 'suspended', locked_until = null
        where u.tenant_id = _apply_change.tenant_id and u.id = v_user_id;
    elsif v_do = 'move_resource' then
        update authz.resources as r
        set parent_id = (change ->> 'parent_id')::uuid
        where r.tenant_id = _apply_change.tenant_id and r.id = v_resource_id;
    elsif v_do = 'set_owner' then
        update authz.resources as r
        set owner_id = v_user_id
        where r.tenant_id = _apply_change.tenant_id and r.id = v_resource_id;
    else
        raise exception 'The change % cannot be made', change
            using errcode = 'ZA009',
                  hint = '"do" is assign_role, revoke_role (of a user_id or group_id), grant_permission, revoke_permission '
                         '(of those or a role), add_member, remove_member, inherit, disinherit (role, parent), suspend_user, '
                         'move_resource or set_owner.';
    end if;
    if not found then
        raise exception 'There is nothing that % could change', change
            using errcode = 'ZA011', hint = 'Nobody has it, or there is no such user, group or resource.';
    end if;
end
$$;

comment on function authz._apply_change(uuid, jsonb) is
    'Make one change to who may do what, described as for authz.simulate. Raises what refuses it.';

revoke all on function authz._apply_change(uuid, jsonb) from public;


create or replace function authz._role_named(tenant_id uuid, name text)
    returns uuid
    language plpgsql
    volatile                -- sees roles that the caller has just made
    parallel unsafe
as $$
declare
    v_id uuid := (select r.id from authz.roles as r where r.tenant_id = _role_named.tenant_id and r.name = _role_named.name);
begin
    if v_id is null and name is not null then
        raise exception 'There is no role %', name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    end if;
    return v_id;
end
$$;

comment on function authz._role_named(uuid, text) is 'The id of a role by its name; null without one. Raises ZA011.';

revoke all on function authz._role_named(uuid, text) from public;
-- <<<

-- >>> sql/authz/simulate.sql
-- What would change if … : the changes are really made, with all that follows from them and all that refuses them,
-- in a subtransaction that is then rolled back. No row, no notification and no epoch is left of it.

create or replace function authz.simulate(changes jsonb, checks jsonb default null)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_at constant timestamptz := statement_timestamp();
    v_checks jsonb;
    v_change record;
    v_outcomes jsonb := '[]';
    v_before jsonb;
    v_after jsonb;
    v_tests_before jsonb;
    v_tests_after jsonb;
begin
    perform authz._refuse_unless_reader(v_context, 'permission.grant');
    if jsonb_typeof(changes) is distinct from 'array' or jsonb_typeof(coalesce(checks, '[]')) <> 'array' then
        raise exception 'Changes and checks are lists'
            using errcode = 'ZA009', hint = 'As in [{"do": "assign_role", "user_id": "…", "role": "viewer"}].';
    end if;
    if exists (
        select from jsonb_array_elements(checks) as c
        where case
                  when jsonb_typeof(c) <> 'object' then true
                  else c ->> 'user_id' is null or c ->> 'permission' is null
                       or c - '{user_id,permission,resource_id,request}'::text[] <> '{}'
              end
    ) then
        raise exception 'A check names a user_id and a permission, and may have resource_id and request'
            using errcode = 'ZA009', hint = 'As in [{"user_id": "…", "permission": "document.read"}].';
    end if;
    v_checks := coalesce(checks, authz._checks_of(v_tenant_id, changes));
    if jsonb_array_length(v_checks) > 10000 then
        raise exception 'These are % checks, and 10000 are the most', jsonb_array_length(v_checks)
            using errcode = 'ZA009', hint = 'Name the checks that matter, or make fewer changes at a time.';
    end if;
    v_before := authz._answers(v_context, v_checks, v_at);
    v_tests_before := authz._policy_test_results(v_context);
    begin
        for v_change in select c.value, c.place from jsonb_array_elements(changes) with ordinality as c (value, place) loop
            v_outcomes := v_outcomes || authz._try_change(v_tenant_id, v_change.value, v_change.place);
        end loop;
        v_after := authz._answers(v_context, v_checks, v_at);
        v_tests_after := authz._policy_test_results(v_context);
        raise sqlstate 'ZA000';         -- takes everything back; what the variables hold stays
    exception
        when sqlstate 'ZA000' then null;
    end;

    return jsonb_build_object(
        'changes', v_outcomes,
        'checked', jsonb_array_length(v_checks),
        'flips', (
            select coalesce(jsonb_agg(c.value || jsonb_build_object('before', b.value, 'after', a.value) order by c.place), '[]')
            from jsonb_array_elements(v_checks) with ordinality as c (value, place)
            join jsonb_array_elements(v_before) with ordinality as b (value, place) on b.place = c.place
            join jsonb_array_elements(v_after) with ordinality as a (value, place) on a.place = c.place
            where a.value ->> 'effect' <> b.value ->> 'effect'),
        'tests', (
            select coalesce(jsonb_agg(jsonb_build_object('name', b.key, 'before', b.value, 'after', v_tests_after -> b.key)
                                      order by b.key), '[]')
            from jsonb_each(v_tests_before) as b
            where v_tests_after -> b.key <> b.value));
end
$$;

comment on function authz.simulate(jsonb, jsonb) is
    'What a list of changes would change, without making them: {"changes": [whether each would be applied, or refused and
why], "checked": n, "flips": [each check whose answer would turn, with before and after], "tests": [policy tests that would
come to pass or fail]}. A check is {"user_id", "permission", "resource_id"?, "request"?}; without a list every permission is
asked for all users that the changes name, on the type and on the resources they name. It takes permission.read and
permission.grant (ZA007). Raises ZA001 without a user, ZA009 for what is no list of such, or too long.';

revoke all on function authz.simulate(jsonb, jsonb) from public;
grant execute on function authz.simulate(jsonb, jsonb) to enterprise_ai_app;


create or replace function authz._refuse_unless_reader(context jsonb, also text default null)
    returns void
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_lacking text;
begin
    if context ->> 'user_id' is null then
        raise exception 'Who asks about rights is a user, and the context has none'
            using errcode = 'ZA001', hint = 'Open the context of the user who asks.';
    end if;
    select p || coalesce(', signed in at level ' || (d.obligations ->> 'authentication_level'), '') into v_lacking
    from unnest(array['permission.read', also]) as p
    cross join lateral authz._evaluate(context, (context ->> 'user_id')::uuid, p, null, '{}', statement_timestamp()) as d
    where p is not null and d.effect = 'deny'
    limit 1;
    if v_lacking is not null then
        raise exception 'User % may not look into this', context ->> 'user_id'
            using errcode = 'ZA007', hint = 'It takes ' || v_lacking || '.';
    end if;
end
$$;

comment on function authz._refuse_unless_reader(jsonb, text) is
    'Raise ZA007 unless the user of a context has permission.read, and what else is named; ZA001 without a user.';

revoke all on function authz._refuse_unless_reader(jsonb, text) from public;


create or replace function authz._answers(context jsonb, checks jsonb, at timestamptz)
    returns jsonb
    language plpgsql
    volatile                -- sees the changes that the caller has made
    parallel unsafe
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object('effect', d.effect, 'reason', d.reason) order by c.place), '[]')
        from jsonb_array_elements(checks) with ordinality as c (value, place)
        cross join lateral authz._evaluate(
            context, (c.value ->> 'user_id')::uuid, c.value ->> 'permission', (c.value ->> 'resource_id')::uuid,
            coalesce(c.value -> 'request', '{}'), _answers.at) as d);
end
$$;

comment on function authz._answers(jsonb, jsonb, timestamptz) is 'The decisions on a list of checks, in their order.';

revoke all on function authz._answers(jsonb, jsonb, timestamptz) from public;


create or replace function authz._checks_of(tenant_id uuid, changes jsonb)
    returns jsonb
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return (
        with named (user_id, group_id, resource_id) as (
            select c ->> 'user_id', c ->> 'group_id', c ->> 'resource_id' from jsonb_array_elements(changes) as c
        ),
        people (id) as (
            select n.user_id from named as n where n.user_id is not null
            union
            select m.user_id::text
            from identity.group_members as m
            where m.tenant_id = _checks_of.tenant_id and m.group_id::text in (select n.group_id from named as n)
        )
        select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                            'user_id', people.id, 'permission', p.name, 'resource_id', what.resource_id))), '[]')
        from people
        cross join authz.permissions as p
        cross join (
            select null as resource_id, null as resource_type
            union
            select r.id::text, r.resource_type
            from authz.resources as r
            where r.tenant_id = _checks_of.tenant_id and r.id::text in (select n.resource_id from named as n)
        ) as what
        where what.resource_id is null or what.resource_type = p.resource_type);
end
$$;

comment on function authz._checks_of(uuid, jsonb) is
    'Every permission of all users that a list of changes names, on the type and on the resources that it names.';

revoke all on function authz._checks_of(uuid, jsonb) from public;


create or replace function authz._try_change(tenant_id uuid, change jsonb, place bigint)
    returns jsonb
    language plpgsql
    volatile
    parallel unsafe
as $$
begin
    perform authz._apply_change(_try_change.tenant_id, change);
    return jsonb_build_object('change', place, 'outcome', 'applied');
exception
    -- What another session or the server itself is in the way of says nothing about the change.
    when transaction_rollback or insufficient_resources or operator_intervention or lock_not_available
        or read_only_sql_transaction then raise;
    when others then
        return jsonb_build_object('change', place, 'outcome', 'refused', 'sqlstate', sqlstate, 'message', sqlerrm);
end
$$;

comment on function authz._try_change(uuid, jsonb, bigint) is 'Make one change of a simulation, and say what came of it.';

revoke all on function authz._try_change(uuid, jsonb, bigint) from public;
-- <<<

-- >>> sql/authz/lint.sql
-- What is wrong with the rights in a tenant without being an error: rules that do nothing, that say what is said
-- already, that say too much, and duties of governance left undone. Each finding names the row it is about.

create or replace function authz.lint()
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    volatile                -- its parts are
    parallel unsafe
    security definer        -- looks at tables of which the caller sees only part
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.context() ->> 'tenant_id';
begin
    perform authz._refuse_unless_reader(platform.context());
    return query
        select f.* from authz._lint_assignments(v_tenant_id) as f
        union all
        select f.* from authz._lint_rules(v_tenant_id) as f
        union all
        select f.* from authz._lint_roles(v_tenant_id) as f
        union all
        select f.* from authz._lint_governance(v_tenant_id) as f
        order by 1, 3, 4;
end
$$;

comment on function authz.lint() is
    'What somebody should look at: finding (expired, inactive_subject, denied_anyway, redundant, over_broad, role_unheld,
permission_unused, separation_broken, separation_unrecorded, rule_withheld, review_overdue, emergency_unreviewed), severity
(note, warning, error), the kind and id of the row it is about, and a sentence. It takes permission.read (ZA007).';

revoke all on function authz.lint() from public;
grant execute on function authz.lint() to enterprise_ai_app;


create or replace function authz._lint_assignments(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    select 'expired', 'note', a.kind, a.id, format('It ended at %s and does nothing any more', a.valid_until)
    from authz._assignments(_lint_assignments.tenant_id) as a
    where a.valid_until <= statement_timestamp()
    union all
    select 'expired', 'note', 'role_permission', p.id, format('It ended at %s and does nothing any more', p.valid_until)
    from authz.role_permissions as p
    where p.tenant_id = _lint_assignments.tenant_id and p.valid_until <= statement_timestamp()
    union all
    select 'inactive_subject', 'warning', a.kind, a.id,
           format('User %s, who has it, is %s', a.subject_id, case when u.deleted_at is null then u.status else 'deleted' end)
    from authz._assignments(_lint_assignments.tenant_id) as a
    join identity.users as u on u.tenant_id = _lint_assignments.tenant_id and u.id = a.subject_id
    where not a.is_group and (u.deleted_at is not null or u.status in ('deactivated', 'erased'));
end
$$;

comment on function authz._lint_assignments(uuid) is 'Assignments that do nothing.';

revoke all on function authz._lint_assignments(uuid) from public;


create or replace function authz._lint_rules(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    with recursive above (role_id, carrier_id) as (
        select r.id, r.id from authz.roles as r where r.tenant_id = _lint_rules.tenant_id
        union
        select a.role_id, i.parent_id
        from above as a
        join authz.role_inheritance as i
            on i.tenant_id = _lint_rules.tenant_id and i.role_id = a.carrier_id
            and i.valid_from is null and i.valid_until is null
    ),
    -- What a role says always and everywhere.
    said (role_id, permission_id, effect) as (
        select distinct a.role_id, p.permission_id, p.effect
        from above as a
        join authz.role_permissions as p
            on p.tenant_id = _lint_rules.tenant_id and p.role_id = a.carrier_id
            and (p.inheritable or a.carrier_id = a.role_id)
            and not p.is_conditional and p.resource_id is null and not p.only_own
    ),
    told (user_id, permission_id, effect) as (
        select h.user_id, s.permission_id, s.effect
        from authz.user_roles as h
        join said as s on s.role_id = h.role_id
        where h.tenant_id = _lint_rules.tenant_id and not h.is_conditional and h.resource_id is null
          and (h.granted_by is null or h.approved_by is not null or not exists (
                   select from authz.permissions as p where p.id = s.permission_id and p.requires_approval))
        union
        select g.user_id, g.permission_id, g.effect
        from authz.user_permissions as g
        where g.tenant_id = _lint_rules.tenant_id and g.effect = 'deny' and not g.is_conditional and g.resource_id is null
    )
    select 'denied_anyway', 'warning', 'role_permission', p.id,
           format('Role %s allows %s, and denies it by itself or by what it inherits', r.name, c.name)
    from authz.role_permissions as p
    join said as s on s.role_id = p.role_id and s.permission_id = p.permission_id and s.effect = 'deny'
    join authz.roles as r on r.tenant_id = _lint_rules.tenant_id and r.id = p.role_id
    join authz.permissions as c on c.id = p.permission_id
    where p.tenant_id = _lint_rules.tenant_id and p.effect = 'allow'
    union all
    select 'denied_anyway', 'warning', 'user_permission', g.id,
           format('User %s is denied %s always, so this allows nothing', g.user_id, c.name)
    from authz.user_permissions as g
    join told as t on t.user_id = g.user_id and t.permission_id = g.permission_id and t.effect = 'deny'
    join authz.permissions as c on c.id = g.permission_id
    where g.tenant_id = _lint_rules.tenant_id and g.effect = 'allow'
    union all
    select 'redundant', 'note', 'user_permission', g.id,
           format('User %s has %s by a role already, everywhere and always', g.user_id, c.name)
    from authz.user_permissions as g
    join told as t on t.user_id = g.user_id and t.permission_id = g.permission_id and t.effect = 'allow'
    join authz.permissions as c on c.id = g.permission_id
    where g.tenant_id = _lint_rules.tenant_id and g.effect = 'allow'
    union all
    select 'over_broad', 'error', 'role', r.id, format('Everyone has %s, which %s, by role %s', c.name,
           case when c.requires_approval then 'requires approval' else 'asks for a second factor' end, r.name)
    from authz.roles as r
    join said as s on s.role_id = r.id and s.effect = 'allow'
    join authz.permissions as c
        on c.id = s.permission_id and (c.requires_approval or c.minimum_authentication_level > 1)
    where r.tenant_id = _lint_rules.tenant_id and r.for_everyone
    union all
    select 'over_broad', 'warning', a.kind, a.id, format('%s is given directly, on everything there is', c.name)
    from authz._assignments(_lint_rules.tenant_id) as a
    join authz.permissions as c
        on c.id = a.permission_id and (c.requires_approval or c.action in ('delete', 'destroy', 'export'))
    where a.kind in ('user_permission', 'group_permission') and a.resource_id is null
      and a.assignment ->> 'effect' = 'allow' and a.valid_until is null;
end
$$;

comment on function authz._lint_rules(uuid) is 'Rules that others beat or make needless, and rules that allow too much.';

revoke all on function authz._lint_rules(uuid) from public;


create or replace function authz._lint_roles(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    stable
    parallel restricted
as $$
begin
    return query
    with recursive held (role_id) as (
        select a.role_id from authz._assignments(_lint_roles.tenant_id) as a where a.role_id is not null
        union
        select r.id from authz.roles as r where r.tenant_id = _lint_roles.tenant_id and r.for_everyone
        union
        select r.role_id from authz.assignment_rules as r where r.tenant_id = _lint_roles.tenant_id and r.is_enabled
        union
        select i.parent_id
        from held as h
        join authz.role_inheritance as i on i.tenant_id = _lint_roles.tenant_id and i.role_id = h.role_id
    )
    select 'role_unheld', 'note', 'role', r.id, format('Nobody holds role %s, or a role that inherits from it', r.name)
    from authz.roles as r
    where r.tenant_id = _lint_roles.tenant_id and r.id not in (select h.role_id from held as h)
    union all
    select 'permission_unused', 'note', 'permission', null, format('No role allows %s', p.name)
    from authz.permissions as p
    where not exists (
        select
        from authz.role_permissions as c
        where c.tenant_id = _lint_roles.tenant_id and c.permission_id = p.id and c.effect = 'allow');
end
$$;

comment on function authz._lint_roles(uuid) is 'Roles that nobody holds and permissions that no role carries.';

revoke all on function authz._lint_roles(uuid) from public;
-- <<<

-- >>> sql/authz/lint_governance.sql
create or replace function authz._lint_governance(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    volatile                -- its parts are
    parallel unsafe
as $$
declare
    v_days integer := platform.setting('security.access_review_days') #>> '{}';
begin
    return query
    select 'separation_broken', 'error', 'access_policy', v.policy_id,
           format('User %s holds %s of what "%s" keeps apart', v.user_id, v.held, p.name)
    from authz._separation_violations(_lint_governance.tenant_id) as v
    join authz.access_policies as p on p.tenant_id = _lint_governance.tenant_id and p.id = v.policy_id
    union all
    -- Who never calls authz.authorize is never kept from anything.
    select 'separation_unrecorded', 'warning', 'access_policy', p.id,
           format('No use of what "%s" keeps apart was ever recorded: is authz.authorize called?', p.name)
    from authz.access_policies as p
    where p.tenant_id = _lint_governance.tenant_id and p.kind = 'dynamic' and p.is_enabled
      and p.created_at < statement_timestamp() - interval '7 days'
      and not exists (
          select
          from authz.duty_acts as a
          where a.tenant_id = _lint_governance.tenant_id and a.policy_id = p.id)
    union all
    select 'rule_withheld', 'warning', 'assignment_rule', m.rule_id,
           format('User %s does not get the role, for a separation of duties or because it is full', m.user_id)
    from authz._missing_assignments(_lint_governance.tenant_id, null, null) as m
    union all
    select 'review_overdue', 'warning', 'access_review', r.id, format('Review "%s" was due at %s', r.name, r.due_at)
    from authz.access_reviews as r
    where r.tenant_id = _lint_governance.tenant_id and r.status = 'open' and r.due_at <= statement_timestamp()
    union all
    select 'review_overdue', 'warning', 'tenant', t.id, format('No review was closed in the last %s days', v_days)
    from identity.tenants as t
    where t.id = _lint_governance.tenant_id
      and t.created_at <= statement_timestamp() - make_interval(days => v_days)
      and not exists (
          select
          from authz.access_reviews as r
          where r.tenant_id = _lint_governance.tenant_id and r.status = 'closed'
            and r.closed_at > statement_timestamp() - make_interval(days => v_days))
    union all
    select 'emergency_unreviewed', 'warning', 'break_glass_event', e.event_id,
           format('User %s held role %s in an emergency that nobody has reviewed', e.user_id, e.role_name)
    from authz.list_break_glass_reviews() as e;
end
$$;

comment on function authz._lint_governance(uuid) is
    'Separations of duties that are broken or idle, rules that could not give their role, reviews left undone.';

revoke all on function authz._lint_governance(uuid) from public;
-- <<<

create trigger _000_await_new_people before insert or update or delete on authz.assignment_rules
    for each row execute function authz._await_new_people();
create trigger _000_take_turn before insert or update or delete on authz.assignment_rules
    for each row execute function authz._take_turn();
create trigger _100_check before insert or update on authz.assignment_rules
    for each row execute function authz._check_assignment_rule();
create trigger apply_rules after insert or update or delete on authz.assignment_rules
    for each row execute function authz._apply_rules('rule', 'id');

-- What conditions and rules ask of a person. Whoever changes it takes a turn among those who change the rules.
create trigger _000_take_turn_if_ruled before insert on identity.users
    for each row execute function authz._take_turn_if_ruled();
create trigger _000_take_turn_before_attributes before update of email, email_verified_at on identity.users
    for each row
    when (old.email is distinct from new.email or old.email_verified_at is distinct from new.email_verified_at)
    execute function authz._take_turn();
create trigger apply_rules after update of email, email_verified_at, deleted_at on identity.users
    for each row execute function authz._apply_rules('person', 'id');
create trigger apply_rules_after_insert after insert on identity.users referencing new table as changed
    for each statement execute function authz._apply_rules_to_changed('id');
create trigger _000_take_turn_for_insert before insert on identity.user_profiles
    for each row
    when (new.job_title is not null or new.department is not null or new.manager_id is not null)
    execute function authz._take_turn();
create trigger _000_take_turn_for_update before update of job_title, department, manager_id on identity.user_profiles
    for each row
    when ((old.job_title, old.department, old.manager_id) is distinct from (new.job_title, new.department, new.manager_id))
    execute function authz._take_turn();
create trigger _000_take_turn_for_delete before delete on identity.user_profiles
    for each row execute function authz._take_turn();
create trigger apply_rules after update of job_title, department, manager_id on identity.user_profiles
    for each row execute function authz._apply_rules('person', 'user_id');
create trigger apply_rules_after_insert after insert on identity.user_profiles referencing new table as changed
    for each statement execute function authz._apply_rules_to_changed('user_id');
create trigger apply_rules_after_delete after delete on identity.user_profiles referencing old table as changed
    for each statement execute function authz._apply_rules_to_changed('user_id');

--- identity: administration ---------------------------------------------------------

-- >>> sql/identity/list_tenants.sql
create or replace function identity.list_tenants(
    after_slug text default '',
    page_size integer default 1000,
    named text default null)
    returns table (id uuid, slug text, display_name text, status text, region text, created_at timestamptz)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens one tenant's context after the other, since row security binds its owner as well
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_tenant_id uuid;
begin
    for v_tenant_id in
        select d.tenant_id
        from identity.tenant_directory as d
        where d.slug > after_slug and (named is null or named in (d.slug, d.tenant_id::text))
        order by d.slug
        limit page_size
    loop
        perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
        return query
            select t.id, t.slug, t.display_name, t.status, t.region, t.created_at
            from identity.tenants as t
            where t.id = v_tenant_id;
    end loop;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.list_tenants(text, integer, text) is
    'The tenants of the installation by slug, or the one of a slug or id: what they are called and their status, and
nothing of what is theirs. The caller''s context stays as it was.';

revoke all on function identity.list_tenants(text, integer, text) from public;
grant execute on function identity.list_tenants(text, integer, text) to enterprise_ai_operator;
-- <<<

-- >>> sql/identity/first_administrator.sql
create or replace function identity.appoint_first_administrator(tenant_id uuid, user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- gives a role, which otherwise takes somebody who has it
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_role_id uuid;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', appoint_first_administrator.tenant_id));
    perform identity._refuse_inactive(appoint_first_administrator.tenant_id, appoint_first_administrator.user_id);
    -- Two who appoint at once take turns, and the second finds the first's.
    perform authz._touch_epoch(appoint_first_administrator.tenant_id);
    select r.id into v_role_id
    from authz.roles as r
    where r.tenant_id = appoint_first_administrator.tenant_id and r.name = 'super_admin';
    if exists (
           select
           from authz.user_roles as a
           join identity.users as u on u.tenant_id = a.tenant_id and u.id = a.user_id
           where a.tenant_id = appoint_first_administrator.tenant_id
             and a.role_id = v_role_id
             and u.status in ('invited', 'active', 'locked')
             and u.deleted_at is null)
       or v_role_id is null then
        raise exception 'The tenant has an administrator, or no role super_admin'
            using errcode = 'ZI041', hint = 'Its administrators give roles with authz.assign_role().';
    end if;
    insert into authz.user_roles (tenant_id, user_id, role_id)
    values (appoint_first_administrator.tenant_id, appoint_first_administrator.user_id, v_role_id);
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.appoint_first_administrator(uuid, uuid) is
    'Give the role super_admin to an active user of a tenant in which nobody has it who could sign in. Raises ZI041
when somebody has, ZI001 and ZI002 when the tenant or the user is not active.';

revoke all on function identity.appoint_first_administrator(uuid, uuid) from public;
grant execute on function identity.appoint_first_administrator(uuid, uuid) to enterprise_ai_operator;
-- <<<

-- >>> sql/identity/access_lists.sql
create or replace function identity.list_sessions_of(user_id uuid)
    returns table (id uuid, authentication_level smallint, ip_address inet, user_agent text, started_at timestamptz,
                   last_seen_at timestamptz, idle_expires_at timestamptz, expires_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select s.id, s.authentication_level, s.ip_address, s.user_agent, s.started_at, s.last_seen_at,
               s.idle_expires_at, s.expires_at
        from identity.user_sessions as s
        where s.tenant_id = platform.current_tenant_id()
          and s.user_id = list_sessions_of.user_id
          and s.revoked_at is null
          and s.idle_expires_at > clock_timestamp()
        order by s.last_seen_at desc, s.id;
end
$$;

comment on function identity.list_sessions_of(uuid) is
    'The live sessions of a user of the context''s tenant, the last used first.';

revoke all on function identity.list_sessions_of(uuid) from public;
grant execute on function identity.list_sessions_of(uuid) to enterprise_ai_gateway;


create or replace function identity.list_api_keys(of_user uuid default null)
    returns table (id uuid, user_id uuid, name text, prefix text, scopes text[], created_at timestamptz,
                   expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads keys, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select k.id, k.user_id, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.last_used_at, k.revoked_at
        from identity.api_keys as k
        where k.tenant_id = platform.current_tenant_id()
          and k.user_id = coalesce(of_user, k.user_id)
        order by k.created_at desc, k.id desc;
end
$$;

comment on function identity.list_api_keys(uuid) is
    'The API keys of a user of the context''s tenant, or of everybody in it, the newest first; never the keys
themselves.';

revoke all on function identity.list_api_keys(uuid) from public;
grant execute on function identity.list_api_keys(uuid) to enterprise_ai_gateway;
-- <<<

--- identity: provisioning -----------------------------------------------------------
-- The tenant's directory makes, changes and removes people and groups (SCIM 2.0).

-- >>> sql/identity/scim_context.sql
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
-- <<<

-- >>> sql/identity/scim_users.sql
-- What a directory says of a person, put into effect by the same functions as every other entry path uses. An
-- account is active in SCIM's sense until it is deactivated: whether somebody is invited, locked or suspended is
-- decided here and not by the directory.

create or replace function identity.scim_lock_user(user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- locks a row, for which its table's update privilege would be needed
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform from identity.users as u
    where u.tenant_id = platform.current_tenant_id() and u.id = scim_lock_user.user_id and u.deleted_at is null
    for no key update;
    return found;
end
$$;

comment on function identity.scim_lock_user(uuid) is
    'Let nobody else change a user of the context''s tenant before this transaction ends; false when there is none.';

revoke all on function identity.scim_lock_user(uuid) from public;
grant execute on function identity.scim_lock_user(uuid) to enterprise_ai_gateway;


create or replace function identity.scim_save_user(user_id uuid, attributes jsonb)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_id uuid := scim_save_user.user_id;
    v_before identity.users;
    v_after identity.users;
    v_is_active boolean := (attributes ->> 'is_active')::boolean;
    v_profile jsonb := attributes -> 'profile';
begin
    if v_id is null then
        v_id := identity.create_user(
            attributes ->> 'email', attributes ->> 'display_name', attributes ->> 'external_id',
            attributes ->> 'user_name');
    else
        perform identity._refuse_above(array[v_id]);
    end if;

    select u.* into v_before
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = v_id and u.deleted_at is null
    for no key update;
    if not found then
        raise exception 'There is no user %', v_id
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    end if;

    v_after := jsonb_populate_record(v_before, attributes - array['is_active', 'profile']);
    if v_after is distinct from v_before then
        if lower(v_after.email) <> lower(v_before.email) then
            -- Nobody has shown that they read the new address, and what was sent to the old one no longer counts.
            v_after.email_verified_at := null;
            update identity.one_time_tokens as t
            set used_at = clock_timestamp()
            where t.tenant_id = v_tenant_id and t.user_id = v_id and t.used_at is null and t.purpose <> 'invite';
        end if;
        update identity.users as u
        set email = v_after.email,
            email_verified_at = v_after.email_verified_at,
            display_name = v_after.display_name,
            external_id = v_after.external_id,
            user_name = v_after.user_name
        where u.tenant_id = v_tenant_id and u.id = v_id;
    end if;

    if not coalesce((select to_jsonb(p) @> v_profile
                     from identity.user_profiles as p
                     where p.tenant_id = v_tenant_id and p.user_id = v_id),
                    jsonb_strip_nulls(v_profile) = '{}') then
        perform identity.save_profile(v_id, v_profile);
    end if;

    if v_is_active and v_before.status = 'deactivated' then
        perform identity.reactivate_user(v_id);
    elsif not v_is_active and v_before.status <> 'deactivated' then
        perform identity.deactivate_user(v_id);
    end if;
    return v_id;
end
$$;

comment on function identity.scim_save_user(uuid, jsonb) is
    'Make a user of the context''s tenant, or one without an id anew, what a directory says: {"user_name": …, "email": …,
"display_name": …, "external_id": …, "is_active": …, "profile": {column: value, …}}; returns the id. Raises 23505 when
the name, the address or the external id is somebody else''s, ZI006, ZI013, and ZI040 when the user may do more than the
user of the context.';

revoke all on function identity.scim_save_user(uuid, jsonb) from public;
grant execute on function identity.scim_save_user(uuid, jsonb) to enterprise_ai_gateway;


create or replace function identity.scim_delete_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._refuse_above(array[scim_delete_user.user_id]);
    perform identity.remove_user(scim_delete_user.user_id);
end
$$;

comment on function identity.scim_delete_user(uuid) is
    'identity.remove_user() for a directory. Raises also ZI040 when the user may do more than the user of the context.';

revoke all on function identity.scim_delete_user(uuid) from public;
grant execute on function identity.scim_delete_user(uuid) to enterprise_ai_gateway;
-- <<<

-- >>> sql/identity/scim_groups.sql
create or replace function identity.scim_lock_group(group_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- locks a row, for which its table's update privilege would be needed
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform from identity.groups as g
    where g.tenant_id = platform.current_tenant_id() and g.id = scim_lock_group.group_id
    for no key update;
    return found;
end
$$;

comment on function identity.scim_lock_group(uuid) is
    'Let nobody else change a group of the context''s tenant before this transaction ends; false when there is none.';

revoke all on function identity.scim_lock_group(uuid) from public;
grant execute on function identity.scim_lock_group(uuid) to enterprise_ai_gateway;


create or replace function identity.scim_save_group(group_id uuid, display_name text, external_id text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    if scim_save_group.group_id is null then
        return identity.create_group(scim_save_group.display_name, external_id => scim_save_group.external_id);
    end if;
    perform identity._refuse_above(array[scim_save_group.group_id]);
    update identity.groups as g
    set display_name = scim_save_group.display_name, external_id = scim_save_group.external_id
    where g.tenant_id = platform.current_tenant_id()
      and g.id = scim_save_group.group_id
      and (g.display_name, g.external_id)
          is distinct from (scim_save_group.display_name, scim_save_group.external_id);
    return scim_save_group.group_id;
end
$$;

comment on function identity.scim_save_group(uuid, text, text) is
    'Make a group of the context''s tenant, or one without an id anew, what a directory says; returns the id. Raises
23505 when another has the name or the external id, and ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_save_group(uuid, text, text) from public;
grant execute on function identity.scim_save_group(uuid, text, text) to enterprise_ai_gateway;


create or replace function identity.scim_change_members(group_id uuid, added uuid[], removed uuid[])
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes memberships, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_missing uuid;
begin
    perform identity._refuse_above(array[scim_change_members.group_id]);
    select a.id into v_missing
    from unnest(added) as a (id)
    where not exists (
        select
        from identity.users as u
        where u.tenant_id = v_tenant_id and u.id = a.id and u.deleted_at is null)
    limit 1;
    if found then
        raise exception 'There is no user %', v_missing
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    end if;

    delete from identity.group_members as m
    where m.tenant_id = v_tenant_id and m.group_id = scim_change_members.group_id and m.user_id = any (removed);
    -- In one statement: what the members may do is derived once. Where rows are distributed over machines,
    -- identity.add_group_member() for each takes its place.
    insert into identity.group_members (tenant_id, group_id, user_id)
    select v_tenant_id, scim_change_members.group_id, a.id
    from unnest(added) as a (id)
    on conflict do nothing;
end
$$;

comment on function identity.scim_change_members(uuid, uuid[], uuid[]) is
    'Take users out of a group of the context''s tenant and put others in. Raises ZI006 when there is no such user, 23503
when there is no such group, and ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_change_members(uuid, uuid[], uuid[]) from public;
grant execute on function identity.scim_change_members(uuid, uuid[], uuid[]) to enterprise_ai_gateway;


create or replace function identity.scim_delete_group(group_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes groups, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._refuse_above(array[scim_delete_group.group_id]);
    perform identity.delete_group(scim_delete_group.group_id);
end
$$;

comment on function identity.scim_delete_group(uuid) is
    'identity.delete_group() for a directory. Raises also ZI040 when the group may do more than the user of the context.';

revoke all on function identity.scim_delete_group(uuid) from public;
grant execute on function identity.scim_delete_group(uuid) to enterprise_ai_gateway;
-- <<<

-- rollback:
--   -- The group roles and the extensions stay, since others may use them; public stays closed to the public.
--   drop policy read_to_decide on identity.users;
--   drop policy read_to_decide on identity.user_profiles;
--   drop trigger derive_after_insert on identity.group_members;
--   drop trigger derive_after_update on identity.group_members;
--   drop trigger derive_after_delete on identity.group_members;
--   drop trigger _000_take_turn on identity.group_members;
--   drop trigger separate_after_insert on identity.group_members;
--   drop trigger separate_after_update on identity.group_members;
--   drop trigger separate_after_insert on identity.groups;
--   drop trigger separate_after_update on identity.groups;
--   drop trigger apply_rules_after_insert on identity.users;
--   drop trigger apply_rules on identity.users;
--   drop trigger _000_take_turn_before_attributes on identity.users;
--   drop trigger _000_take_turn_if_ruled on identity.users;
--   drop trigger apply_rules_after_delete on identity.user_profiles;
--   drop trigger apply_rules_after_insert on identity.user_profiles;
--   drop trigger apply_rules on identity.user_profiles;
--   drop trigger _000_take_turn_for_insert on identity.user_profiles;
--   drop trigger _000_take_turn_for_update on identity.user_profiles;
--   drop trigger _000_take_turn_for_delete on identity.user_profiles;
--   drop trigger derive_after_delete on identity.groups;
--   drop trigger derive_after_insert on identity.groups;
--   drop trigger derive on identity.groups;
--   drop trigger _000_take_turn on identity.groups;
--   drop trigger derive_after_delete on identity.users;
--   drop trigger derive_after_insert on identity.users;
--   drop trigger derive on identity.users;
--   drop trigger _000_take_turn on identity.users;
--   drop trigger derive on identity.tenants;
--   drop trigger _000_take_turn on identity.tenants;
--   drop function authz._held(uuid, uuid, integer, timestamptz);
--   drop function authz._of_holder(authz.holders, bit varying, integer);
--   drop function authz._settled(authz.permissions, text, authz.resources, uuid, uuid, integer, boolean, integer, integer);
--   drop table authz.holders;
--   drop table authz.role_sets;
--   drop table authz.role_rights;
--   drop table authz.epochs;
--   drop table authz.policy_tests;
--   drop table authz.assignment_rules;
--   drop table authz.decision_log;
--   drop table authz.break_glass_uses;
--   drop table authz.break_glass_events;
--   drop table authz.access_review_items;
--   drop table authz.access_reviews;
--   drop table authz.duty_acts;
--   drop table authz.access_policy_permissions;
--   drop table authz.access_policy_roles;
--   drop table authz.access_policies;
--   drop table authz.proxy_grants;
--   drop table authz.delegations;
--   drop table authz.group_permissions;
--   drop table authz.user_permissions;
--   drop table authz.group_roles;
--   drop table authz.user_roles;
--   drop table authz.role_permissions;
--   drop table authz.role_inheritance;
--   drop table authz.roles;
--   drop table authz.resources;
--   drop table authz.role_template_inheritance;
--   drop table authz.role_template_permissions;
--   drop table authz.role_templates;
--   drop table authz.permissions;
--   drop table authz.resource_types;
--   drop function authz."check"(text, uuid, uuid, jsonb);
--   drop function authz.check_many(text[], uuid[], uuid[], jsonb);
--   drop function authz._check_criteria();
--   drop function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz);
--   drop function authz._missing_keys(jsonpath, cidr[], smallint, jsonb);
--   drop function authz._facts(uuid, uuid, uuid, jsonb);
--   drop function authz._decide(uuid, uuid, text, uuid, jsonb, timestamptz, boolean);
--   drop function authz._is_active(uuid, uuid);
--   drop function authz._level(jsonb);
--   drop function authz._delegated(uuid, uuid, text, uuid, jsonb, timestamptz);
--   drop function authz._link_state(uuid, uuid, text, uuid, jsonb, timestamptz, uuid[], integer);
--   drop function authz._carries(uuid, uuid, integer);
--   drop function authz._roles_above(uuid, uuid);
--   drop function authz._derive_changed();
--   drop function authz._derive_added();
--   drop function authz._derive_taken();
--   drop function authz._keep_holders();
--   drop function authz._derive_people();
--   drop function authz._derive_holders(uuid, uuid[]);
--   drop function authz._everyone(uuid);
--   drop function authz._says_always(text, boolean, boolean, boolean);
--   drop function authz._drop_unheld_role_sets(uuid, uuid[]);
--   drop function authz._derive_role_sets_with(uuid, uuid[], uuid[]);
--   drop function authz._derive_members(uuid, uuid[]);
--   drop function authz._derive_role_sets(uuid, uuid[]);
--   drop function authz._role_set_id(uuid[], uuid[]);
--   drop function authz._derive_roles(uuid, uuid[]);
--   drop function authz._no_rights();
--   drop function authz._touch_epoch(uuid);
--   drop function authz._take_turn();
--   drop function authz._enter_tenant(uuid);
--   drop function authz._leave_tenant(text);
--   drop function authz.evaluate(text, uuid, uuid, jsonb);
--   drop function authz._evaluate(jsonb, uuid, text, uuid, jsonb, timestamptz);
--   drop function authz._on_behalf(uuid, authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz);
--   drop function authz._env(jsonb, jsonb);
--   drop function authz._asked_about(jsonb, uuid);
--   drop function authz.explain(text, uuid, uuid, jsonb);
--   drop function authz.explain_text(text, uuid, uuid, jsonb);
--   drop function authz._giver(text, uuid);
--   drop function authz._may(jsonb, text, uuid);
--   drop function authz.assign_role(uuid, text, uuid, timestamptz, timestamptz, jsonpath, cidr[], jsonb);
--   drop function authz.revoke_role(uuid);
--   drop function authz.grant_permission( uuid, text, uuid, text, timestamptz, timestamptz, jsonpath, cidr[], jsonb);
--   drop function authz.revoke_permission(uuid);
--   drop function authz.approve(text, uuid);
--   drop function authz.list_resources(text, uuid, integer, uuid, jsonb, text);
--   drop function authz.list_subjects(text, uuid, uuid, integer, jsonb);
--   drop function authz.list_actions(uuid, uuid, jsonb);
--   drop function authz._page(integer);
--   drop function authz.visible_scopes(text);
--   drop function authz.hidden_scopes(text);
--   drop function authz.open_scopes(text);
--   drop function authz._standing_of_user(jsonb, text);
--   drop function authz._visible(jsonb, authz.standing, text);
--   drop function authz._hidden(jsonb, authz.standing, text);
--   drop function authz._single(jsonb, authz.standing, text, uuid[]);
--   drop function authz._with_what_lies_below(jsonb, authz.standing, text, uuid[]);
--   drop function authz._is_named_type_wide(uuid, uuid, authz.standing);
--   drop function authz._standing(jsonb, uuid, uuid, text);
--   drop function authz._parent_type(text);
--   drop function authz._says(text, boolean, boolean, boolean);
--   drop function authz._rights_at(bit varying, integer);
--   drop function authz._shared(uuid, uuid, authz.standing);
--   drop function authz._places(uuid, uuid, integer, text);
--   drop function authz._asks_about_resources(uuid, uuid, integer, jsonb);
--   drop function authz._at_times(uuid, uuid, integer, timestamptz);
--   drop function authz._is_allowed(jsonb, uuid, uuid, text, uuid, jsonb);
--   drop function authz._said(uuid, uuid, integer, uuid[], integer, uuid[], uuid);
--   drop function authz._said_to_user(uuid, uuid, integer, uuid[], uuid);
--   drop function authz._said_to_groups(uuid, uuid[], integer, uuid[], uuid);
--   drop function authz._rules(uuid, uuid, integer, uuid, jsonb, timestamptz);
--   drop function authz._fault_of_windows(jsonb);
--   drop function authz._windows_at(jsonb, timestamptz);
--   drop function authz._next_edge(jsonb, timestamptz);
--   drop function authz._lint_governance(uuid);
--   drop function authz._lint_roles(uuid);
--   drop function authz._lint_rules(uuid);
--   drop function authz._lint_assignments(uuid);
--   drop function authz.lint();
--   drop function authz._try_change(uuid, jsonb, bigint);
--   drop function authz._checks_of(uuid, jsonb);
--   drop function authz._answers(jsonb, jsonb, timestamptz);
--   drop function authz._refuse_unless_reader(jsonb, text);
--   drop function authz.simulate(jsonb, jsonb);
--   drop function authz._role_named(uuid, text);
--   drop function authz._apply_change(uuid, jsonb);
--   drop function authz.run_policy_tests();
--   drop function authz._policy_test_results(jsonb);
--   drop function authz._policy_test_outcomes(jsonb);
--   drop function authz.delete_policy_test(text);
--   drop function authz.save_policy_test(text, uuid, text, text, uuid, jsonb, text, timestamptz);
--   drop function authz.delete_assignment_rule(text);
--   drop function authz.save_assignment_rule(text, text, jsonpath, uuid, boolean);
--   drop function authz._apply_rules_to_changed();
--   drop function authz._apply_rules();
--   drop function authz._take_turn_if_ruled();
--   drop function authz._await_new_people();
--   drop function authz._apply_assignment_rules(uuid, uuid[], uuid[]);
--   drop function authz._rule_holds(uuid, uuid, jsonpath);
--   drop function authz._missing_assignments(uuid, uuid[], uuid[]);
--   drop function authz._check_assignment_rule();
--   drop function authz._refuse_excess(jsonb, uuid, text);
--   drop function authz._fault_of_condition(jsonpath, text);
--   drop function authz.close_due_reviews();
--   drop function authz._close_due(uuid, uuid);
--   drop function authz.access_review_progress(uuid);
--   drop function authz.cancel_access_review(uuid);
--   drop function authz._close_if_decided(uuid, uuid);
--   drop function authz.decide_review_item(uuid, text, text);
--   drop function authz._may_review(uuid, uuid, boolean);
--   drop function authz._reviewer_of(uuid, uuid, uuid, boolean, uuid);
--   drop function authz._is_in_scope(text, uuid, boolean, uuid, jsonb);
--   drop function authz.open_access_review(text, uuid, timestamptz, jsonb, text, boolean);
--   drop function authz._withdraw(uuid, text, uuid);
--   drop function authz._assignments(uuid);
--   drop function authz.review_break_glass(uuid, text, text);
--   drop function authz.list_break_glass_reviews();
--   drop function authz.end_break_glass(uuid);
--   drop function authz.break_glass(text, text, integer, uuid);
--   drop function authz.revoke_proxy(uuid);
--   drop function authz.grant_proxy(uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb);
--   drop function authz._refuse_unless_party(jsonb, uuid[]);
--   drop function authz.revoke_delegation(uuid);
--   drop function authz._next_depth(uuid, uuid, uuid, uuid, integer, uuid, timestamptz);
--   drop function authz.delegate(uuid, text, timestamptz, uuid, boolean, uuid, text, timestamptz, jsonpath, cidr[], jsonb);
--   drop function authz._holds_role(uuid, uuid, uuid);
--   drop function authz._refuse_actor(jsonb);
--   drop function authz._user_in_turn();
--   drop function authz._keep_evidence();
--   drop function authz.check_and_hold(text, uuid, jsonb);
--   drop function authz.authorize(text, uuid, jsonb);
--   drop function authz._record_use(jsonb, uuid[], text, uuid, jsonb);
--   drop function authz._log_decision(jsonb, text, uuid, authz.decision);
--   drop function authz.delete_access_policy(text);
--   drop function authz.save_access_policy(text, text, text[], text[], integer, text, text, boolean, text);
--   drop function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz);
--   drop function authz._duties(uuid, uuid, integer, uuid, jsonb);
--   drop function authz._check_policy_roles();
--   drop function authz._separate_duties();
--   drop function authz._separation_violations(uuid, uuid[]);
--   drop type authz.decision;
--   drop type authz.standing;
--   drop type authz.shares;
--   drop function authz.copy_role_templates();
--   drop function authz._refuse_circles();
--   drop function authz._move_descendants();
--   drop function authz._keep_ancestors();
--   drop function identity.scim_delete_group(uuid);
--   drop function identity.scim_change_members(uuid, uuid[], uuid[]);
--   drop function identity.scim_save_group(uuid, text, text);
--   drop function identity.scim_lock_group(uuid);
--   drop function identity.scim_delete_user(uuid);
--   drop function identity.scim_save_user(uuid, jsonb);
--   drop function identity.scim_lock_user(uuid);
--   drop function identity._refuse_above(uuid[]);
--   drop function identity.open_scim_context(text, text, inet, text);
--   drop function identity.list_api_keys(uuid);
--   drop function identity.list_sessions_of(uuid);
--   drop function identity.appoint_first_administrator(uuid, uuid);
--   drop function identity.list_tenants(text, integer, text);
--   drop function identity.delete_tenant_batch(uuid, integer);
--   drop function identity.begin_tenant_deletion(uuid, text);
--   drop function identity._refuse_under_hold(uuid);
--   drop function identity._tenant_tables();
--   drop function identity.reactivate_tenant(uuid);
--   drop function identity.archive_tenant(uuid);
--   drop function identity.suspend_tenant(uuid);
--   drop function identity._change_tenant_status(uuid, text, text[]);
--   drop table identity.tenant_deletions;
--   drop function identity.groups_of(uuid);
--   drop function identity.remove_group_member(uuid, uuid);
--   drop function identity.add_group_member(uuid, uuid);
--   drop function identity.delete_group(uuid);
--   drop function identity.move_group(uuid, uuid);
--   drop function identity.create_group(text, uuid, text);
--   drop function identity.save_my_preferences(jsonb);
--   drop function identity.save_profile(uuid, jsonb);
--   drop function identity.invite_user(text, text, text);
--   drop function identity.create_user(text, text, text, text);
--   drop function identity.redeem_one_time_token(text, text, text);
--   drop function identity.issue_one_time_token(uuid, text, text);
--   drop function identity.erase_user(uuid);
--   drop function identity.remove_user(uuid);
--   drop function identity.unlock_user(uuid);
--   drop function identity.reactivate_user(uuid);
--   drop function identity.deactivate_user(uuid);
--   drop function identity.suspend_user(uuid);
--   drop function identity.activate_user(uuid);
--   drop function identity._change_status(uuid, text, text[], text);
--   drop function identity._end_access(uuid, text);
--   drop function identity.list_my_api_keys();
--   drop function identity.revoke_api_key(uuid);
--   drop function identity.create_api_key(text, text[], timestamptz, uuid);
--   drop function identity.reset_second_factors(uuid);
--   drop function identity.remove_second_factor(uuid, uuid);
--   drop function identity.list_second_factors(uuid);
--   drop function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid);
--   drop function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean);
--   drop function identity.webauthn_credentials(uuid, bytea);
--   drop function identity.take_webauthn_challenge(uuid, text);
--   drop function identity.begin_webauthn(text, uuid);
--   drop function identity.use_recovery_code(uuid, text, inet, text, uuid);
--   drop function identity.new_recovery_codes(uuid);
--   drop function identity._recovery_code_hash(text);
--   drop function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid);
--   drop function identity._may_try_second_factor(uuid);
--   drop function identity._finish_second_factor(uuid, boolean, text, inet, text);
--   drop function identity.reseal_totp_secret(uuid, bytea, bytea);
--   drop function identity.totp_secrets();
--   drop function identity.totp_factors_of(uuid);
--   drop function identity.add_totp_factor(uuid, text, bytea);
--   drop function identity.finish_login(uuid, boolean, text);
--   drop function identity.begin_login(text, inet, text);
--   drop function identity._must_change_password(uuid);
--   drop function identity.set_password(uuid, text, boolean);
--   drop function identity._set_password(uuid, text, boolean);
--   drop function identity._count_failure(identity.users);
--   drop function identity.refresh_session(text, inet, text);
--   drop function identity.start_session(uuid, smallint, inet, text, boolean, boolean);
--   drop function identity.requires_second_factor(uuid);
--   drop function identity._is_privileged(uuid);
--   drop function identity._issue_tokens(uuid, uuid, text, bytea);
--   drop function identity._successor(text, uuid, text, bytea);
--   drop function identity.list_my_sessions();
--   drop function identity.revoke_sessions_of(uuid, text, uuid);
--   drop function identity.revoke_session(uuid, text);
--   drop function identity._revoke_sessions(uuid[], text);
--   drop function identity.sign_in_limits();
--   drop function identity._limit(text);
--   drop function platform.open_api_key_context(text, text, inet, text);
--   drop function platform.open_session_context(text, text, inet, text);
--   drop function identity._refuse_without_step_up(uuid);
--   drop function identity.my_authentication_level();
--   drop function identity._step_up(uuid, uuid, smallint);
--   drop function identity._level_of(identity.user_sessions);
--   drop function identity._token_hash(text);
--   drop function identity._tenant_of_token(text, text);
--   drop function identity._token(text, uuid, bytea);
--   drop table identity.login_attempts;
--   drop table identity.one_time_tokens;
--   drop table identity.mfa_recovery_codes;
--   drop table identity.recovery_code_keys;
--   drop table identity.webauthn_challenges;
--   drop table identity.mfa_factors;
--   drop table identity.api_keys;
--   drop table identity.refresh_tokens;
--   drop table identity.user_sessions;
--   drop table identity.user_passwords;
--   drop table identity.group_members;
--   drop function identity._touch_groups();
--   drop table identity.groups;
--   drop table identity.user_profiles;
--   drop function identity._refuse_circle();
--   drop function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint);
--   drop function identity._refuse_inactive(uuid, uuid);
--   drop table identity.users;
--   drop function identity.quota_usage();
--   drop function identity._recount_user();
--   drop function identity._count_quota();
--   drop function identity._use_quota(text, bigint);
--   drop function identity._use_all_slots(uuid, text, integer, bigint, bigint);
--   drop function identity._use_free_slots(uuid, text, integer, bigint, bigint);
--   drop table identity.quota_slots;
--   drop function platform.count_against_limit(text, bigint);
--   drop table platform.rate_counts;
--   drop function platform.set_setting_of_tenant(uuid, text, jsonb, text);
--   drop function platform.set_tenant_setting(text, jsonb, text);
--   drop function platform._write_tenant_setting(text, jsonb, text);
--   drop table platform.tenant_setting_changes;
--   drop table platform.tenant_settings;
--   drop table platform.configuration_settings;
--   drop table identity.tenants;
--   drop table identity.tenant_directory;
--   drop table platform.services;
--   drop function platform.maintain_partitions(integer);
--   drop function platform.ensure_partitions(regclass, date, date);
--   drop function platform.partitions(regclass);
--   drop function platform.setting(text, text, text);
--   drop function platform._refuse_unoverridable(text);
--   drop function platform._check_tenant_setting();
--   drop function platform.value_fits(jsonb, text, numeric, numeric, jsonb);
--   drop function platform.service_health();
--   drop function platform.report_health(text, text, jsonb);
--   drop function platform.current_actor_id();
--   drop function platform.current_user_id();
--   drop function platform.current_tenant_id();
--   drop function platform.context();
--   drop function platform.rotate_context_key(interval);
--   drop function platform._seal_context(jsonb);
--   drop table platform.context_keys;
--   drop function platform.touch_updated_at();
--   drop function platform.domains();
--   drop function platform.new_id();
--   drop function platform.random_bytes(integer);
--   drop function platform.hmac_sha256(bytea, bytea);
--   drop schema authz_parts, llm_parts, analytics_parts, audit_parts;
--   drop schema audit, security, analytics, llm, authz, identity, platform;
--   do $do$
--   begin
--       if (select pg_catalog.pg_has_role(d.datdba, 'usage')
--           from pg_catalog.pg_database as d where d.datname = current_database()) then
--           execute format('alter database %I reset search_path', current_database());
--       else
--           execute format('alter role %I in database %I reset search_path', current_user, current_database());
--       end if;
--   end
--   $do$;
