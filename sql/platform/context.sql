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
