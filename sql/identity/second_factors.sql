create or replace function identity.add_totp_factor(user_id uuid, name text, totp_secret bytea)
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
    perform identity._refuse_without_step_up(add_totp_factor.user_id);
    insert into identity.mfa_factors (tenant_id, id, user_id, kind, name, totp_secret)
    values (platform.current_tenant_id(), v_id, add_totp_factor.user_id, 'totp', add_totp_factor.name,
            add_totp_factor.totp_secret);
    return v_id;
end
$$;

comment on function identity.add_totp_factor(uuid, text, bytea) is
    'Give a user of the context''s tenant a TOTP generator, its seed sealed; it counts once a first code has been accepted.
Raises ZI022 without step-up.';

revoke all on function identity.add_totp_factor(uuid, text, bytea) from public;
grant execute on function identity.add_totp_factor(uuid, text, bytea) to enterprise_ai_gateway;


create or replace function identity.totp_factors_of(user_id uuid)
    returns table (id uuid, name text, totp_secret bytea, is_confirmed boolean)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select f.id, f.name, f.totp_secret, f.confirmed_at is not null
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = totp_factors_of.user_id
          and f.kind = 'totp'
        order by f.created_at, f.id;
end
$$;

comment on function identity.totp_factors_of(uuid) is
    'What the codes of a user of the context''s tenant are verified with.';

revoke all on function identity.totp_factors_of(uuid) from public;
grant execute on function identity.totp_factors_of(uuid) to enterprise_ai_gateway;


create or replace function identity.totp_secrets()
    returns table (id uuid, user_id uuid, totp_secret bytea)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.user_id, f.totp_secret
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id() and f.kind = 'totp'
        order by f.id;
end
$$;

comment on function identity.totp_secrets() is
    'The sealed seeds of the context''s tenant, for those who rotate the key that they are sealed under.';

revoke all on function identity.totp_secrets() from public;
grant execute on function identity.totp_secrets() to enterprise_ai_gateway;


create or replace function identity.reseal_totp_secret(factor_id uuid, old_secret bytea, new_secret bytea)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.mfa_factors as f
    set totp_secret = new_secret
    where f.tenant_id = platform.current_tenant_id() and f.id = factor_id and f.totp_secret = old_secret;
    return found;
end
$$;

comment on function identity.reseal_totp_secret(uuid, bytea, bytea) is
    'Store a seed as sealed under another key; false when it is no longer what it was.';

revoke all on function identity.reseal_totp_secret(uuid, bytea, bytea) from public;
grant execute on function identity.reseal_totp_secret(uuid, bytea, bytea) to enterprise_ai_gateway;

create or replace function identity._finish_second_factor(
    user_id uuid, is_right boolean, method text, ip_address inet, user_agent text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_user identity.users;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = _finish_second_factor.user_id
    for no key update;
    if is_right then
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active'
        where u.tenant_id = v_tenant_id and u.id = v_user.id;
    elsif v_user.status in ('active', 'locked') and method <> 'webauthn' then
        -- Six digits can be guessed, so the lock-out counts them too. A signature cannot.
        perform identity._count_failure(v_user);
    end if;
    insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, user_agent)
    values (v_tenant_id, v_user.id, coalesce(v_user.email, 'unknown'), _finish_second_factor.method,
            case when is_right then 'success' else 'mfa_failed' end,
            _finish_second_factor.ip_address, _finish_second_factor.user_agent);
end
$$;

comment on function identity._finish_second_factor(uuid, boolean, text, inet, text) is
    'Record how a second factor went and count a failure.';

revoke all on function identity._finish_second_factor(uuid, boolean, text, inet, text) from public;


create or replace function identity._may_try_second_factor(user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user identity.users;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = platform.current_tenant_id() and u.id = _may_try_second_factor.user_id
    for no key update;
    return coalesce(
        v_user.status = 'active' or v_user.status = 'locked' and v_user.locked_until <= clock_timestamp(), false);
end
$$;

comment on function identity._may_try_second_factor(uuid) is
    'True when the user is active and not locked out; keeps others who try at once waiting.';

revoke all on function identity._may_try_second_factor(uuid) from public;


create or replace function identity.finish_totp(
    user_id uuid,
    factor_id uuid,
    step bigint,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes factors and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_right boolean := false;
begin
    if identity._may_try_second_factor(finish_totp.user_id) then
        -- One conditional update: a step is accepted once, and none before it any more.
        update identity.mfa_factors as f
        set totp_last_step = step,
            confirmed_at = coalesce(f.confirmed_at, clock_timestamp()),
            last_used_at = clock_timestamp()
        where f.tenant_id = platform.current_tenant_id()
          and f.user_id = finish_totp.user_id
          and f.id = factor_id
          and f.kind = 'totp'
          and coalesce(f.totp_last_step, -1) < step;
        v_is_right := found;
    end if;
    perform identity._finish_second_factor(finish_totp.user_id, v_is_right, 'totp', ip_address, user_agent);
    if v_is_right and finish_totp.session_id is not null then
        perform identity._step_up(finish_totp.session_id, finish_totp.user_id, 2::smallint);
    end if;
    return v_is_right;
end
$$;

comment on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) is
    'Decide on a TOTP code: step is the time step that it belongs to, null when it belongs to none. True when it is
accepted; a code works once. Where a session is named, it is stepped up. Refusing raises nothing, so that the caller can
commit the record of a failure.';

revoke all on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) from public;
grant execute on function identity.finish_totp(uuid, uuid, bigint, inet, text, uuid) to enterprise_ai_gateway;


create or replace function identity._recovery_code_hash(code text)
    returns bytea
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    return platform.hmac_sha256(
        convert_to(upper(regexp_replace(code, '[^[:alnum:]]', '', 'g')), 'UTF8'),
        (select k.secret from identity.recovery_code_keys as k));
end
$$;

comment on function identity._recovery_code_hash(text) is
    'What is stored of a recovery code; dashes, blanks and case make no difference.';

revoke all on function identity._recovery_code_hash(text) from public;


create or replace function identity.new_recovery_codes(user_id uuid)
    returns setof text
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes codes, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_code text;
begin
    perform identity._refuse_without_step_up(new_recovery_codes.user_id);
    delete from identity.mfa_recovery_codes as c
    where c.tenant_id = v_tenant_id and c.user_id = new_recovery_codes.user_id;
    for i in 1 .. identity._limit('security.mfa_recovery_codes') loop
        v_code := upper(regexp_replace(encode(platform.random_bytes(8), 'hex'), '(.{4})(?=.)', e'\\1-', 'g'));
        insert into identity.mfa_recovery_codes (tenant_id, user_id, code_hash)
        values (v_tenant_id, new_recovery_codes.user_id, identity._recovery_code_hash(v_code));
        return next v_code;
    end loop;
end
$$;

comment on function identity.new_recovery_codes(uuid) is
    'Recovery codes for a user of the context''s tenant, in the place of all earlier ones; they are not to be had
again. Raises ZI022 without step-up.';

revoke all on function identity.new_recovery_codes(uuid) from public;
grant execute on function identity.new_recovery_codes(uuid) to enterprise_ai_gateway;


create or replace function identity.use_recovery_code(
    user_id uuid,
    code text,
    ip_address inet default null,
    user_agent text default null,
    session_id uuid default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes codes and attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_right boolean := false;
begin
    if identity._may_try_second_factor(use_recovery_code.user_id) then
        update identity.mfa_recovery_codes as c
        set used_at = clock_timestamp()
        where c.tenant_id = platform.current_tenant_id()
          and c.user_id = use_recovery_code.user_id
          and c.code_hash = identity._recovery_code_hash(code)
          and c.used_at is null;
        v_is_right := found;
    end if;
    perform identity._finish_second_factor(
        use_recovery_code.user_id, v_is_right, 'recovery_code', ip_address, user_agent);
    if v_is_right and use_recovery_code.session_id is not null then
        perform identity._step_up(use_recovery_code.session_id, use_recovery_code.user_id, 2::smallint);
    end if;
    return v_is_right;
end
$$;

comment on function identity.use_recovery_code(uuid, text, inet, text, uuid) is
    'Decide on a recovery code: true when it is one of the user''s and has not been used. Where a session is named, it is
stepped up. Refusing raises nothing, so that the caller can commit the record of a failure.';

revoke all on function identity.use_recovery_code(uuid, text, inet, text, uuid) from public;
grant execute on function identity.use_recovery_code(uuid, text, inet, text, uuid) to enterprise_ai_gateway;
