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
