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
