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
