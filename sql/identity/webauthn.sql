-- Passkeys and security keys (WebAuthn). The service verifies signatures, which takes a library; what is decided
-- by them is decided here. A challenge is stored, works once and for five minutes.

create or replace function identity.begin_webauthn(purpose text, user_id uuid default null)
    returns table (challenge_id uuid, challenge bytea)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes challenges, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    -- What nobody came back with goes a little at a time, and nobody waits for it.
    delete from identity.webauthn_challenges as c
    where c.tenant_id = v_tenant_id
      and c.id in (
          select old.id
          from identity.webauthn_challenges as old
          where old.tenant_id = v_tenant_id and old.expires_at < clock_timestamp()
          order by old.expires_at
          limit 20
          for update skip locked);

    challenge_id := platform.new_id();
    challenge := platform.random_bytes(32);
    insert into identity.webauthn_challenges (tenant_id, id, purpose, user_id, challenge, expires_at)
    values (v_tenant_id, begin_webauthn.challenge_id, begin_webauthn.purpose, begin_webauthn.user_id,
            begin_webauthn.challenge, clock_timestamp() + interval '5 minutes');
    return next;
end
$$;

comment on function identity.begin_webauthn(text, uuid) is
    'A challenge to register a key for a user of the context''s tenant, or to authenticate: the user, or whoever it is
that has one of the tenant''s passkeys when none is named.';

revoke all on function identity.begin_webauthn(text, uuid) from public;
grant execute on function identity.begin_webauthn(text, uuid) to enterprise_ai_gateway;


create or replace function identity.take_webauthn_challenge(challenge_id uuid, purpose text)
    returns table (challenge bytea, user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- uses challenges up, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- One delete: of many who come with the same challenge, one finds it.
    delete from identity.webauthn_challenges as c
    where c.tenant_id = platform.current_tenant_id()
      and c.id = challenge_id
      and c.purpose = take_webauthn_challenge.purpose
      and c.expires_at > clock_timestamp()
    returning c.challenge, c.user_id into challenge, user_id;
    if found then
        return next;
    end if;
end
$$;

comment on function identity.take_webauthn_challenge(uuid, text) is
    'Use a challenge up and return it with the user it was made for; no row when it was used, has expired or was for
something else. Commit, so that it stays used whatever the answer is worth.';

revoke all on function identity.take_webauthn_challenge(uuid, text) from public;
grant execute on function identity.take_webauthn_challenge(uuid, text) to enterprise_ai_gateway;


create or replace function identity.webauthn_credentials(
    user_id uuid default null, credential_id bytea default null)
    returns table (factor_id uuid, owner_id uuid, id bytea, public_key bytea, sign_count bigint, transports text[])
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.user_id, f.credential_id, f.public_key, f.sign_count, f.transports
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.kind = 'webauthn'
          and f.user_id = webauthn_credentials.user_id
        union
        select f.id, f.user_id, f.credential_id, f.public_key, f.sign_count, f.transports
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.credential_id = webauthn_credentials.credential_id;
end
$$;

comment on function identity.webauthn_credentials(uuid, bytea) is
    'The keys of a user of the context''s tenant, or the one key of an id: what signatures are verified with.';

revoke all on function identity.webauthn_credentials(uuid, bytea) from public;
grant execute on function identity.webauthn_credentials(uuid, bytea) to enterprise_ai_gateway;


create or replace function identity.add_webauthn_factor(
    user_id uuid,
    name text,
    credential_id bytea,
    public_key bytea,
    sign_count bigint,
    transports text[],
    is_backup_eligible boolean)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    perform identity._refuse_without_step_up(add_webauthn_factor.user_id);
    insert into identity.mfa_factors (tenant_id, id, user_id, kind, name, credential_id, public_key, sign_count,
                                      transports, is_backup_eligible, confirmed_at)
    values (platform.current_tenant_id(), v_id, add_webauthn_factor.user_id, 'webauthn', add_webauthn_factor.name,
            add_webauthn_factor.credential_id, add_webauthn_factor.public_key, add_webauthn_factor.sign_count,
            add_webauthn_factor.transports, add_webauthn_factor.is_backup_eligible, clock_timestamp());
    return v_id;
end
$$;

comment on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean) is
    'Give a user of the context''s tenant a key whose registration the caller has verified. Raises 23505 naming
mfa_factors_credential_id_key when it is registered already and mfa_factors_name_key when the user has a factor of the
name, ZI022 without step-up.';

revoke all on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean) from public;
grant execute on function identity.add_webauthn_factor(uuid, text, bytea, bytea, bigint, text[], boolean)
    to enterprise_ai_gateway;


create or replace function identity.finish_webauthn(
    user_id uuid,
    factor_id uuid,
    is_verified boolean,
    sign_count bigint,
    is_user_verified boolean,
    is_only_factor boolean,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns smallint
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_level smallint;
begin
    -- Without a password beside it, the key has to have recognised its owner by a finger, a face or a PIN.
    if is_verified and (is_user_verified or not is_only_factor)
       and identity._may_try_second_factor(finish_webauthn.user_id) then
        -- A counter that does not go forward: the key was copied. Both zero: the key does not count.
        update identity.mfa_factors as f
        set sign_count = finish_webauthn.sign_count, last_used_at = clock_timestamp()
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = finish_webauthn.user_id
          and f.id = factor_id
          and f.kind = 'webauthn'
          and (f.sign_count < finish_webauthn.sign_count or (f.sign_count = 0 and finish_webauthn.sign_count = 0))
        returning case when is_user_verified and not f.is_backup_eligible then 3 else 2 end into v_level;
    end if;
    perform identity._finish_second_factor(
        finish_webauthn.user_id, v_level is not null, 'webauthn', ip_address, user_agent);
    if v_level is not null and finish_webauthn.session_id is not null then
        perform identity._step_up(finish_webauthn.session_id, finish_webauthn.user_id, v_level);
    end if;
    return v_level;
end
$$;

comment on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid) is
    'Decide on a signature that the caller has verified or not; returns the authentication level that it is worth: 3 by
a key that cannot be copied and has verified its user, else 2; null when it is refused, as when the key''s counter went
back. Where a session is named, it is stepped up. Refusing raises nothing, so that the caller can commit the record.';

revoke all on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid)
    from public;
grant execute on function identity.finish_webauthn(uuid, uuid, boolean, bigint, boolean, boolean, inet, text, uuid)
    to enterprise_ai_gateway;
