create or replace function identity._set_password(user_id uuid, password_hash text, must_change boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    insert into identity.user_passwords (tenant_id, user_id, password_hash, must_change, changed_at)
    values (platform.current_tenant_id(), _set_password.user_id, _set_password.password_hash,
            _set_password.must_change, clock_timestamp())
    on conflict (tenant_id, user_id) do update
    set password_hash = excluded.password_hash,
        must_change = excluded.must_change,
        changed_at = excluded.changed_at;
end
$$;

comment on function identity._set_password(uuid, text, boolean) is
    'Store what recognises a user''s password from now on.';

revoke all on function identity._set_password(uuid, text, boolean) from public;


create or replace function identity.set_password(user_id uuid, password_hash text, must_change boolean default false)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes passwords, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._set_password(set_password.user_id, set_password.password_hash, set_password.must_change);
    perform identity.revoke_sessions_of(
        set_password.user_id, 'password changed', (platform.context() ->> 'session_id')::uuid);
end
$$;

comment on function identity.set_password(uuid, text, boolean) is
    'Set the password of a user of the context''s tenant by its Argon2id string; the user''s sessions end, but for the
one of the context.';

revoke all on function identity.set_password(uuid, text, boolean) from public;
grant execute on function identity.set_password(uuid, text, boolean) to enterprise_ai_gateway;


create or replace function identity._must_change_password(user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_days integer := identity._limit('security.password_max_age_days');
begin
    return exists (
        select from identity.user_passwords as p
        where p.tenant_id = platform.current_tenant_id()
          and p.user_id = _must_change_password.user_id
          and (p.must_change
               or v_days > 0 and p.changed_at < clock_timestamp() - make_interval(days => v_days)));
end
$$;

comment on function identity._must_change_password(uuid) is
    'Whether a user''s password was set by somebody else, or is older than security.password_max_age_days allows.';

revoke all on function identity._must_change_password(uuid) from public;


create or replace function identity.begin_login(
    email text,
    ip_address inet default null,
    user_agent text default null)
    returns table (attempt_id uuid, password_hash text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- reads passwords and records attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_now timestamptz := clock_timestamp();
    v_user identity.users;
    v_outcome text := 'started';
begin
    if begin_login.ip_address is not null then
        -- Those who try from one address at once take turns, so that each sees the attempts before it.
        perform pg_advisory_xact_lock(
            hashtext('identity.begin_login'), hashtext(v_tenant_id || host(begin_login.ip_address)));
        v_now := clock_timestamp();
        if (select count(*)
            from identity.login_attempts as a
            where a.tenant_id = v_tenant_id
              and a.ip_address = begin_login.ip_address
              and a.attempted_at > v_now - interval '1 minute'
              and a.method = 'password') >= identity._limit('limits.sign_ins_per_minute') then
            v_outcome := 'throttled';
        end if;
    end if;

    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.email_key = lower(begin_login.email) and u.deleted_at is null
    for no key update;

    if not found or v_outcome = 'throttled' then
        null;
    elsif identity._must_use_sso(v_user.email) then
        v_outcome := 'refused';
    elsif v_user.status = 'locked' and v_user.locked_until > v_now then
        v_outcome := 'locked';
    elsif v_user.status not in ('active', 'locked') then
        v_outcome := 'inactive';
    else
        -- The attempt counts as failed until it has succeeded, so that a hundred at once are counted too.
        perform identity._count_failure(v_user);
        select p.password_hash into password_hash
        from identity.user_passwords as p
        where p.tenant_id = v_tenant_id and p.user_id = v_user.id;
    end if;

    attempt_id := platform.new_id();
    insert into identity.login_attempts (tenant_id, id, user_id, email, method, outcome, ip_address, user_agent,
                                         attempted_at)
    values (v_tenant_id, attempt_id, v_user.id, begin_login.email, 'password', v_outcome, begin_login.ip_address,
            begin_login.user_agent, v_now);
    return next;
end
$$;

comment on function identity.begin_login(text, inet, text) is
    'Record an attempt to sign in to the context''s tenant with a password and count it as failed; returns what the
password is to be verified against, null where nothing can match: then verify against any other hash, so that both
take the same time. From the limit of limits.sign_ins_per_minute on an address gets no further. Commit before verifying.';

revoke all on function identity.begin_login(text, inet, text) from public;
grant execute on function identity.begin_login(text, inet, text) to enterprise_ai_gateway;


create or replace function identity.finish_login(
    attempt_id uuid,
    password_matches boolean,
    upgraded_hash text default null)
    returns table (outcome text, user_id uuid, must_change boolean, has_second_factor boolean,
                   requires_second_factor boolean)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides on attempts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_attempt identity.login_attempts;
    v_user identity.users;
begin
    select a.* into v_attempt
    from identity.login_attempts as a
    where a.tenant_id = v_tenant_id and a.id = attempt_id and a.method = 'password'
    for update;
    if not found then
        raise exception 'There is no attempt % to sign in', attempt_id
            using errcode = 'ZI009', hint = 'identity.begin_login() gives the id of the attempt it recorded.';
    end if;

    outcome := v_attempt.outcome;
    must_change := false;
    has_second_factor := false;
    requires_second_factor := false;
    if outcome = 'started' then
        select u.* into v_user
        from identity.users as u
        where u.tenant_id = v_tenant_id and u.id = v_attempt.user_id
        for no key update;
        outcome := case
            when v_user.id is null or password_matches is not true then 'wrong_credentials'
            -- Five minutes are enough to verify a password; an older attempt is not taken up again.
            when v_attempt.attempted_at < clock_timestamp() - interval '5 minutes' then 'refused'
            when v_user.status not in ('active', 'locked') then 'inactive'
            else 'success' end;
    elsif outcome = 'success' then
        outcome := 'refused';       -- decided once
    end if;

    if outcome = 'success' then
        user_id := v_user.id;
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active'
        where u.tenant_id = v_tenant_id and u.id = v_user.id;
        if upgraded_hash is not null then
            update identity.user_passwords as p
            set password_hash = upgraded_hash
            where p.tenant_id = v_tenant_id and p.user_id = v_user.id;
        end if;
        must_change := identity._must_change_password(v_user.id);
        requires_second_factor := identity.requires_second_factor(v_user.id);
        has_second_factor := exists (
            select from identity.mfa_factors as f
            where f.tenant_id = v_tenant_id and f.user_id = v_user.id and f.confirmed_at is not null);
    end if;
    if v_attempt.outcome = 'started' then
        update identity.login_attempts as a
        set outcome = finish_login.outcome
        where a.tenant_id = v_tenant_id and a.id = attempt_id;
    end if;
    return next;
end
$$;

comment on function identity.finish_login(uuid, boolean, text) is
    'Decide on an attempt once the password has been verified: success, wrong_credentials, locked, inactive,
throttled or refused; who it is, and what is still asked of them, only with success. Raises nothing about the person, so that the record can be committed. An upgraded hash
replaces the stored one.';

revoke all on function identity.finish_login(uuid, boolean, text) from public;
grant execute on function identity.finish_login(uuid, boolean, text) to enterprise_ai_gateway;
