-- Which user a provider's account signs in is decided once, at its first sign-in, and stays so: an address that is
-- given to somebody else leads to nobody's account.

create or replace function identity._may_join(provider identity.sso_providers, user_id uuid)
    returns boolean
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- Another account of the same provider is another person who has been given the address, and providers that do
    -- not share a linking domain do not answer for each other.
    return not exists (
        select
        from identity.user_sso_accounts as a
        join identity.sso_providers as p on p.tenant_id = a.tenant_id and p.id = a.provider_id
        where a.tenant_id = provider.tenant_id
          and a.user_id = _may_join.user_id
          and (p.id = provider.id or (p.linking_domain = provider.linking_domain) is not true));
end
$$;

comment on function identity._may_join(identity.sso_providers, uuid) is
    'Whether an account of the provider may be joined to a user by what the provider says: all that the user has are of
other providers in its linking domain.';

revoke all on function identity._may_join(identity.sso_providers, uuid) from public;


create or replace function identity._unlink_sso_account(account identity.user_sso_accounts)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._revoke_sessions(
        array(select s.session_id
              from identity.sso_sessions as s
              where s.tenant_id = account.tenant_id and s.account_id = account.id),
        'single sign-on account removed');
    perform authz._touch_epoch(account.tenant_id);
    perform identity._withdraw_sso_roles(account.provider_id, account.user_id, '{}');
    delete from identity.user_sso_accounts as a where a.tenant_id = account.tenant_id and a.id = account.id;
end
$$;

comment on function identity._unlink_sso_account(identity.user_sso_accounts) is
    'Remove a provider''s account with the sessions and the roles it has brought.';

revoke all on function identity._unlink_sso_account(identity.user_sso_accounts) from public;


create or replace function identity._disown(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_account identity.user_sso_accounts;
begin
    perform identity._end_access(_disown.user_id, 'taken over by the owner of the address');
    delete from identity.user_passwords as p where p.tenant_id = v_tenant_id and p.user_id = _disown.user_id;
    delete from identity.mfa_factors as f where f.tenant_id = v_tenant_id and f.user_id = _disown.user_id;
    delete from identity.mfa_recovery_codes as c where c.tenant_id = v_tenant_id and c.user_id = _disown.user_id;
    for v_account in
        select a.* from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = _disown.user_id
    loop
        perform identity._unlink_sso_account(v_account);
    end loop;
end
$$;

comment on function identity._disown(uuid) is
    'Take from a user whose address was never verified all that lets somebody in: whoever set it up may not be the one
the address belongs to.';

revoke all on function identity._disown(uuid) from public;


create or replace function identity._find_sso_user(
    provider identity.sso_providers,
    external_id text,
    email text,
    email_verified boolean,
    out outcome text,
    out user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_user identity.users;
    v_by_address boolean := false;
begin
    select u.* into v_user
    from identity.users as u
    where u.tenant_id = provider.tenant_id and u.external_id = _find_sso_user.external_id
    for no key update;
    if not found then
        select u.* into v_user
        from identity.users as u
        where u.tenant_id = provider.tenant_id
          and u.email_key = lower(_find_sso_user.email)
          and u.deleted_at is null
        for no key update;
        -- Provisioning may have made the user since the first look.
        v_by_address := found and (v_user.external_id = _find_sso_user.external_id) is not true;
    end if;

    if v_user.id is null then
        outcome := 'unknown';
    elsif v_user.status not in ('invited', 'active', 'locked') then
        outcome := 'inactive';
    elsif v_by_address and (provider.links_verified_email and email_verified) is not true
          or not identity._may_join(provider, v_user.id) then
        outcome := 'address_taken';
    else
        outcome := 'found';
        user_id := v_user.id;
        if v_user.email_verified_at is null then
            perform identity._disown(v_user.id);
        end if;
    end if;
end
$$;

comment on function identity._find_sso_user(identity.sso_providers, text, text, boolean) is
    'The user whom a first sign-in is to be joined to (found), or why there is none: unknown, inactive, address_taken.';

revoke all on function identity._find_sso_user(identity.sso_providers, text, text, boolean) from public;


create or replace function identity._create_sso_user(
    provider identity.sso_providers,
    external_id text,
    email text,
    display_name text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.users (tenant_id, id, email, display_name, external_id, status)
    values (provider.tenant_id, v_id, _create_sso_user.email,
            coalesce(_create_sso_user.display_name, _create_sso_user.email), _create_sso_user.external_id, 'active')
    on conflict do nothing;
    return case when found then v_id end;
end
$$;

comment on function identity._create_sso_user(identity.sso_providers, text, text, text) is
    'Make the user of a first sign-in; null when somebody else has just made one of the same address.';

revoke all on function identity._create_sso_user(identity.sso_providers, text, text, text) from public;


create or replace function identity._take_in(
    provider identity.sso_providers,
    claims jsonb,
    email text,
    email_verified boolean,
    out outcome text,
    out user_id uuid)
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_external_id text := identity._claim_text(claims, provider.claim_names ->> 'external_id');
begin
    select f.outcome, f.user_id into outcome, user_id
    from identity._find_sso_user(provider, v_external_id, email, email_verified) as f;
    if outcome <> 'unknown' then
        return;
    elsif not provider.creates_users then
        outcome := 'not_invited';
    elsif email is null then
        outcome := 'no_address';
    else
        outcome := 'created';
        user_id := identity._create_sso_user(
            provider, v_external_id, email, identity._claim_text(claims, provider.claim_names ->> 'display_name'));
        if user_id is null then
            -- Somebody else was quicker, and has committed by now.
            select f.outcome, f.user_id into outcome, user_id
            from identity._find_sso_user(provider, v_external_id, email, email_verified) as f;
        end if;
    end if;
end
$$;

comment on function identity._take_in(identity.sso_providers, jsonb, text, boolean) is
    'The user of an account''s first sign-in: found or created, or why there is none.';

revoke all on function identity._take_in(identity.sso_providers, jsonb, text, boolean) from public;


create or replace function identity.link_sso_account(user_id uuid, provider_id uuid, subject text)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes accounts, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.user_sso_accounts (tenant_id, id, provider_id, subject, user_id)
    values (platform.current_tenant_id(), v_id, link_sso_account.provider_id, link_sso_account.subject,
            link_sso_account.user_id);
    return v_id;
end
$$;

comment on function identity.link_sso_account(uuid, uuid, text) is
    'Let an account at a provider sign in a user of the context''s tenant: the caller vouches for it, as provisioning does,
or somebody who is signed in and has come back from the provider. Raises 23505 naming user_sso_accounts_subject_key or
user_sso_accounts_one_per_provider, 23503 when there is no such user or provider.';

revoke all on function identity.link_sso_account(uuid, uuid, text) from public;
grant execute on function identity.link_sso_account(uuid, uuid, text) to enterprise_ai_gateway;


create or replace function identity.unlink_sso_account(account_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes accounts and rights, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_account identity.user_sso_accounts;
begin
    select a.* into v_account
    from identity.user_sso_accounts as a
    where a.tenant_id = platform.current_tenant_id() and a.id = unlink_sso_account.account_id
    for update;
    if not found then
        return false;
    end if;
    perform identity._unlink_sso_account(v_account);
    return true;
end
$$;

comment on function identity.unlink_sso_account(uuid) is
    'Remove an account at a provider with the sessions and roles it has brought; false when there is none of that id.';

revoke all on function identity.unlink_sso_account(uuid) from public;
grant execute on function identity.unlink_sso_account(uuid) to enterprise_ai_gateway;
