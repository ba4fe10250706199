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
