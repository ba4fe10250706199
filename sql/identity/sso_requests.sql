-- A state is 48 bytes in base64url: the tenant's id, so that a context can be opened for it, and 32 random ones. Its 64
-- characters fit into a SAML RelayState, which holds 80 bytes; one of our tokens would not.

create or replace function identity._tenant_of_state(state text)
    returns uuid
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select case
        when state ~ '^[A-Za-z0-9_-]{64}$'
            then encode(substr(decode(translate(state, '-_', '+/'), 'base64'), 1, 16), 'hex')::uuid
    end
$$;

comment on function identity._tenant_of_state(text) is 'The tenant that a state claims to belong to; null when it is no state.';

revoke all on function identity._tenant_of_state(text) from public;


create or replace function identity.begin_sso_request(
    provider_id uuid,
    redirect_uri text,
    return_to text,
    nonce text,
    code_verifier text,
    max_age interval default null)
    returns table (state text, browser_token text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes requests, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_provider identity.sso_providers := identity._sso_provider(begin_sso_request.provider_id);
begin
    if not v_provider.is_enabled then
        raise exception 'Provider % is not enabled', v_provider.name
            using errcode = 'ZI031', hint = 'Enable it with identity.save_sso_provider() first.';
    end if;
    state := translate(encode(uuid_send(v_tenant_id) || platform.random_bytes(32), 'base64'), E'+/\n', '-_');
    browser_token := translate(encode(platform.random_bytes(32), 'base64'), '+/=', '-_');
    delete from identity.sso_requests as r
    where r.tenant_id = v_tenant_id
      and r.state_hash in (
          select e.state_hash
          from identity.sso_requests as e
          where e.tenant_id = v_tenant_id and e.expires_at < clock_timestamp()
          order by e.expires_at
          limit 20
          for update skip locked);
    insert into identity.sso_requests (tenant_id, state_hash, browser_hash, provider_id, redirect_uri, return_to,
                                       nonce, code_verifier, max_age, expires_at)
    values (v_tenant_id, identity._token_hash(state), identity._token_hash(browser_token), v_provider.id,
            begin_sso_request.redirect_uri, begin_sso_request.return_to, begin_sso_request.nonce,
            begin_sso_request.code_verifier, begin_sso_request.max_age, clock_timestamp() + interval '10 minutes');
    return next;
end
$$;

comment on function identity.begin_sso_request(uuid, text, text, text, text, interval) is
    'Remember for ten minutes that somebody is being sent to a provider of the context''s tenant; returns the state to send
along, and what the browser is to keep in a cookie. Raises ZI030 when there is no such provider, ZI031 when it is not
enabled, 23514 naming sso_requests_return_to_our_own when return_to is no page of ours.';

revoke all on function identity.begin_sso_request(uuid, text, text, text, text, interval) from public;
grant execute on function identity.begin_sso_request(uuid, text, text, text, text, interval) to enterprise_ai_gateway;


create or replace function identity.take_sso_request(state text, browser_token text)
    returns table (tenant_id uuid, provider_id uuid, redirect_uri text, return_to text, nonce text,
                   code_verifier text, max_age interval)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- the state is the proof; it is read and used up for its bearer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_state(state);
    v_outer text := current_setting('enterprise_ai.context', true);
    v_request identity.sso_requests;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
    -- One conditional delete: of many who come back with the same state, one finds it.
    delete from identity.sso_requests as r
    where r.tenant_id = v_tenant_id
      and r.state_hash = identity._token_hash(take_sso_request.state)
      and r.browser_hash = identity._token_hash(take_sso_request.browser_token)
    returning r.* into v_request;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    if v_request.tenant_id is null or v_request.expires_at < clock_timestamp() then
        raise exception 'The sign-in was not begun in this browser, is completed already, or took too long'
            using errcode = 'ZI032', hint = 'Begin it again; nobody has been signed in.';
    end if;
    return query
        select v_request.tenant_id, v_request.provider_id, v_request.redirect_uri, v_request.return_to,
               v_request.nonce, v_request.code_verifier, v_request.max_age;
end
$$;

comment on function identity.take_sso_request(text, text) is
    'What was remembered of a sign-in that comes back from a provider, once, and only to the browser that began it. The
caller''s context stays as it was. Raises ZI032.';

revoke all on function identity.take_sso_request(text, text) from public;
grant execute on function identity.take_sso_request(text, text) to enterprise_ai_gateway;


create or replace function identity.use_sso_id(provider_id uuid, id text, expires_at timestamptz)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes what was used, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    delete from identity.sso_used_ids as i
    where i.tenant_id = v_tenant_id
      and i.provider_id = use_sso_id.provider_id
      and i.id_hash in (
          select e.id_hash
          from identity.sso_used_ids as e
          where e.tenant_id = v_tenant_id
            and e.provider_id = use_sso_id.provider_id
            and e.expires_at < clock_timestamp()
          order by e.expires_at
          limit 20
          for update skip locked);
    insert into identity.sso_used_ids (tenant_id, provider_id, id_hash, expires_at)
    values (v_tenant_id, use_sso_id.provider_id, identity._token_hash(use_sso_id.id), use_sso_id.expires_at)
    on conflict do nothing;
    if not found then
        raise exception 'The assertion or token % was used before', use_sso_id.id
            using errcode = 'ZI033', hint = 'Somebody may have copied it; nothing has been changed.';
    end if;
end
$$;

comment on function identity.use_sso_id(uuid, text, timestamptz) is
    'Accept an assertion or a logout token of a provider, by its id, until it expires. Raises ZI033 the second time.';

revoke all on function identity.use_sso_id(uuid, text, timestamptz) from public;
grant execute on function identity.use_sso_id(uuid, text, timestamptz) to enterprise_ai_gateway;
