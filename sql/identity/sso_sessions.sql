create or replace function identity.note_sso_session(
    session_id uuid,
    account_id uuid,
    provider_session_id text default null,
    id_token bytea default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.sso_sessions (tenant_id, session_id, account_id, provider_session_id, id_token)
    values (platform.current_tenant_id(), note_sso_session.session_id, note_sso_session.account_id,
            note_sso_session.provider_session_id, note_sso_session.id_token);
end
$$;

comment on function identity.note_sso_session(uuid, uuid, text, bytea) is
    'Remember which account at a provider began a session, what the provider calls its own, and the sealed id token.';

revoke all on function identity.note_sso_session(uuid, uuid, text, bytea) from public;
grant execute on function identity.note_sso_session(uuid, uuid, text, bytea) to enterprise_ai_gateway;


create or replace function identity.sso_session(session_id uuid)
    returns table (provider_id uuid, subject text, provider_session_id text, id_token bytea)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select a.provider_id, a.subject, s.provider_session_id, s.id_token
        from identity.sso_sessions as s
        join identity.user_sso_accounts as a on a.tenant_id = s.tenant_id and a.id = s.account_id
        where s.tenant_id = platform.current_tenant_id() and s.session_id = sso_session.session_id;
end
$$;

comment on function identity.sso_session(uuid) is
    'What is needed to sign out at the provider that a session of the context''s tenant began with; nothing when it began
otherwise.';

revoke all on function identity.sso_session(uuid) from public;
grant execute on function identity.sso_session(uuid) to enterprise_ai_gateway;


create or replace function identity.end_sso_sessions(
    provider_id uuid,
    subject text default null,
    provider_session_id text default null)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes sessions, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    if end_sso_sessions.subject is null and end_sso_sessions.provider_session_id is null then
        raise exception 'Neither a subject nor a session of the provider is named'
            using errcode = 'ZI034', hint = 'Nothing has been ended; a logout token names at least one of them.';
    end if;
    return identity._revoke_sessions(
        array(select s.session_id
              from identity.user_sso_accounts as a
              join identity.sso_sessions as s on s.tenant_id = a.tenant_id and s.account_id = a.id
              where a.tenant_id = v_tenant_id
                and a.provider_id = end_sso_sessions.provider_id
                and (end_sso_sessions.subject is null or a.subject = end_sso_sessions.subject)
                and (end_sso_sessions.provider_session_id is null
                     or s.provider_session_id = end_sso_sessions.provider_session_id)),
        'signed out at the identity provider');
end
$$;

comment on function identity.end_sso_sessions(uuid, text, text) is
    'End the sessions with their refresh families that began with a provider, of a subject, of one of the provider''s own
sessions, or of both; returns how many were alive. Raises ZI034 when neither is named.';

revoke all on function identity.end_sso_sessions(uuid, text, text) from public;
grant execute on function identity.end_sso_sessions(uuid, text, text) to enterprise_ai_gateway;
