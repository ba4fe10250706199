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
