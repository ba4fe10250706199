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
