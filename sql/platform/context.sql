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
