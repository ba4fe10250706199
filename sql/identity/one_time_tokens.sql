create or replace function identity.issue_one_time_token(user_id uuid, purpose text, email text default null)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tokens, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_token text := identity._token('o', v_tenant_id, platform.random_bytes(32));
begin
    -- The last one sent is the one that works.
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id
      and t.user_id = issue_one_time_token.user_id
      and t.purpose = issue_one_time_token.purpose
      and t.used_at is null;

    insert into identity.one_time_tokens (tenant_id, token_hash, user_id, purpose, email, expires_at)
    values (v_tenant_id, identity._token_hash(v_token), issue_one_time_token.user_id, issue_one_time_token.purpose,
            issue_one_time_token.email,
            now() + case
                when issue_one_time_token.purpose = 'verify_email'
                    then make_interval(hours => identity._limit('security.email_verification_hours'))
                when issue_one_time_token.purpose = 'reset_password'
                    then make_interval(mins => identity._limit('security.password_reset_minutes'))
                else make_interval(days => identity._limit('security.invitation_days')) end);
    return v_token;
end
$$;

comment on function identity.issue_one_time_token(uuid, text, text) is
    'A token to send to a user of the context''s tenant: to verify_email (the address given), reset_password or invite.
It works once, for as long as the settings say, and takes the place of earlier ones.';

revoke all on function identity.issue_one_time_token(uuid, text, text) from public;
grant execute on function identity.issue_one_time_token(uuid, text, text) to enterprise_ai_gateway;


create or replace function identity.redeem_one_time_token(token text, purpose text, password_hash text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- the token is the proof; what it does is done for its bearer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := identity._tenant_of_token(token, 'o');
    v_outer text := current_setting('enterprise_ai.context', true);
    v_token identity.one_time_tokens;
begin
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));

    -- One conditional update: of many who bring the same token at once, one finds it unused.
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id
      and t.token_hash = identity._token_hash(redeem_one_time_token.token)
      and t.purpose = redeem_one_time_token.purpose
      and t.used_at is null
      and t.expires_at > clock_timestamp()
    returning t.* into v_token;
    if not found then
        raise exception 'The token does not work'
            using errcode = 'ZI008', hint = 'It was used, has expired, or is for something else; ask for another.';
    end if;

    if v_token.purpose = 'verify_email' then
        perform identity._refuse_inactive(v_tenant_id, v_token.user_id);
        update identity.users as u
        set email = v_token.email, email_verified_at = clock_timestamp()
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
    elsif v_token.purpose = 'reset_password' then
        perform identity._refuse_inactive(v_tenant_id, v_token.user_id);
        perform identity._set_password(v_token.user_id, redeem_one_time_token.password_hash, false);
        -- Whoever was in with the old one is out; a lock-out is over for who reads the person's mail.
        perform identity.revoke_sessions_of(v_token.user_id, 'password reset');
        update identity.users as u
        set failed_logins = 0, locked_until = null, status = 'active',
            email_verified_at = coalesce(u.email_verified_at, clock_timestamp())
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
    else
        perform identity._refuse_inactive(v_tenant_id, null);
        perform identity._change_status(v_token.user_id, 'active', '{invited}', 'activated');
        update identity.users as u
        set email_verified_at = clock_timestamp()
        where u.tenant_id = v_tenant_id and u.id = v_token.user_id;
        if redeem_one_time_token.password_hash is not null then
            perform identity._set_password(v_token.user_id, redeem_one_time_token.password_hash, false);
        end if;
    end if;

    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    return v_token.user_id;
end
$$;

comment on function identity.redeem_one_time_token(text, text, text) is
    'Do what a token was sent for: verify the address, set the password, accept the invitation; returns the user. The
caller''s context stays as it was. Raises ZI008 when the token does not work; then nothing has changed.';

revoke all on function identity.redeem_one_time_token(text, text, text) from public;
grant execute on function identity.redeem_one_time_token(text, text, text)
    to enterprise_ai_app, enterprise_ai_gateway;
