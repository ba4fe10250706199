create or replace function identity._refresh_sso_user(
    provider identity.sso_providers,
    user_id uuid,
    claims jsonb,
    email text,
    email_verified boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile jsonb := (
        select jsonb_object_agg(n.key, identity._claim_text(claims, n.value))
        from jsonb_each_text(provider.claim_names) as n
        where n.key in ('given_name', 'family_name', 'job_title', 'department', 'locale', 'time_zone')
          and identity._claim_text(claims, n.value) is not null);
begin
    update identity.users as u
    set display_name = coalesce(
            identity._claim_text(claims, provider.claim_names ->> 'display_name'), u.display_name),
        email_verified_at = coalesce(
            u.email_verified_at,
            case when email_verified and lower(u.email) = lower(_refresh_sso_user.email) then clock_timestamp() end)
    where u.tenant_id = provider.tenant_id and u.id = _refresh_sso_user.user_id;
    -- Apart, since naming the status takes one's turn among those who change rights.
    update identity.users as u
    set status = 'active'
    where u.tenant_id = provider.tenant_id and u.id = _refresh_sso_user.user_id and u.status = 'invited';
    if v_profile is not null then
        perform identity.save_profile(_refresh_sso_user.user_id, v_profile);
    end if;
end
$$;

comment on function identity._refresh_sso_user(identity.sso_providers, uuid, jsonb, text, boolean) is
    'Keep of a user what the provider says, but never another address: a password is reset by it.';

revoke all on function identity._refresh_sso_user(identity.sso_providers, uuid, jsonb, text, boolean) from public;


create or replace function identity._find_sso_account(provider_id uuid, subject text)
    returns identity.user_sso_accounts
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_account identity.user_sso_accounts;
begin
    select a.* into v_account
    from identity.user_sso_accounts as a
    where a.tenant_id = platform.current_tenant_id()
      and a.provider_id = _find_sso_account.provider_id
      and a.subject = _find_sso_account.subject;
    if not found then
        -- Many first sign-ins of one account at once take turns, and all but one find what that one has made.
        perform pg_advisory_xact_lock(
            hashtextextended(_find_sso_account.provider_id || ' ' || _find_sso_account.subject, 7316));
        select a.* into v_account
        from identity.user_sso_accounts as a
        where a.tenant_id = platform.current_tenant_id()
          and a.provider_id = _find_sso_account.provider_id
          and a.subject = _find_sso_account.subject;
    end if;
    return v_account;
end
$$;

comment on function identity._find_sso_account(uuid, text) is
    'The account by which a provider knows somebody; where there is none yet, the caller alone may make it.';

revoke all on function identity._find_sso_account(uuid, text) from public;


create or replace function identity.sign_in_with_sso(
    provider_id uuid,
    subject text,
    claims jsonb,
    ip_address inet default null,
    user_agent text default null)
    returns table (outcome text, user_id uuid, account_id uuid, authentication_level smallint,
                   requires_second_factor boolean)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- decides about people and their accounts, which no group role can write
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_provider identity.sso_providers := identity._sso_provider(sign_in_with_sso.provider_id);
    v_account identity.user_sso_accounts;
    v_user identity.users;
    v_email record;
begin
    select e.email, e.is_verified into v_email from identity._sso_email(v_provider, claims) as e;
    v_account := identity._find_sso_account(v_provider.id, sign_in_with_sso.subject);
    if not v_provider.is_enabled then
        outcome := 'provider_disabled';
    -- Before anybody is looked for: an address that such a person brings tells and changes nothing.
    elsif not identity._brings_required_claims(v_provider, claims) then
        outcome := 'claims_refused';
    elsif v_account.id is null then
        select t.outcome, t.user_id into outcome, user_id
        from identity._take_in(v_provider, claims, v_email.email, v_email.is_verified) as t;
    else
        outcome := 'known';
        user_id := v_account.user_id;
    end if;

    select u.* into v_user
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = sign_in_with_sso.user_id
    for no key update;
    -- A lock-out comes from guessed passwords, which anybody can cause; here none is taken.
    if v_user.id is not null
       and (v_user.deleted_at is not null or v_user.status not in ('invited', 'active', 'locked')) then
        outcome := 'inactive';
    end if;

    if outcome in ('known', 'found', 'created') then
        outcome := 'success';
        authentication_level := identity._sso_level(v_provider, claims);
        insert into identity.user_sso_accounts as a (
            tenant_id, provider_id, subject, user_id, email, email_verified, claims, last_login_at)
        values (
            v_tenant_id, v_provider.id, sign_in_with_sso.subject, sign_in_with_sso.user_id, v_email.email,
            v_email.is_verified, identity._mapped_claims(v_provider.id, claims), clock_timestamp())
        on conflict on constraint user_sso_accounts_subject_key do update
        set email = excluded.email,
            email_verified = excluded.email_verified,
            claims = excluded.claims,
            last_login_at = excluded.last_login_at
        returning a.id into account_id;
        perform identity._refresh_sso_user(
            v_provider, sign_in_with_sso.user_id, claims, v_email.email, v_email.is_verified);
        perform identity._sync_sso_roles(v_provider, sign_in_with_sso.user_id, claims);
        requires_second_factor := authentication_level < 2
            and identity.requires_second_factor(sign_in_with_sso.user_id);
    else
        user_id := null;
    end if;
    insert into identity.login_attempts (tenant_id, user_id, email, method, outcome, ip_address, user_agent)
    values (v_tenant_id, v_user.id, coalesce(v_email.email, v_user.email, 'unknown'), 'sso',
            case when sign_in_with_sso.outcome in ('success', 'inactive') then sign_in_with_sso.outcome else 'refused' end,
            sign_in_with_sso.ip_address, sign_in_with_sso.user_agent);
    return next;
end
$$;

comment on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) is
    'Decide on somebody whom a provider of the context''s tenant calls by a subject, in claims that the caller has
verified. With success: the user, found by provider and subject, or at the first time joined or made as the provider''s
settings allow, profile and roles kept in step; start the session with the level returned, or ask for a second factor
before. Otherwise inactive, address_taken, not_invited, no_address, claims_refused or provider_disabled: it raises nothing
about the person, so that the record can be committed. Raises ZI030 when there is no such provider.';

revoke all on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) from public;
grant execute on function identity.sign_in_with_sso(uuid, text, jsonb, inet, text) to enterprise_ai_gateway;
