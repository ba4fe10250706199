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
