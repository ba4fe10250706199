-- The status of a user. Who may come from where is here and nowhere else:
--
--   invited --activate--> active <--lock-out--> locked
--   invited, active, locked --suspend--> suspended --reactivate--> active
--   invited, active, locked, suspended --deactivate--> deactivated --reactivate--> active
--   any of them --remove--> deactivated, and no longer to be found
--   any of them --erase--> erased, for good
--
-- Whatever is not open ends sessions, refresh families, API keys, one-time tokens and delegations in the same
-- transaction, and reactivating does not bring them back.

create or replace function identity._change_status(user_id uuid, new_status text, from_statuses text[], reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_status text;
begin
    -- Who was removed stays so; all that is left to do is to erase them.
    select case when u.deleted_at is not null and u.status <> 'erased' then 'removed' else u.status end
    into v_status
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = _change_status.user_id
    for no key update;
    if not found then
        raise exception 'There is no user %', _change_status.user_id
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    elsif v_status <> all (from_statuses) then
        raise exception 'User % is % and cannot become %', _change_status.user_id, v_status, new_status
            using errcode = 'ZI007', hint = 'That is possible from: ' || array_to_string(from_statuses, ', ') || '.';
    end if;

    update identity.users as u
    set status = new_status, failed_logins = 0, locked_until = null
    where u.tenant_id = v_tenant_id and u.id = _change_status.user_id;
    if new_status <> 'active' then
        perform identity._end_access(_change_status.user_id, reason);
    end if;
end
$$;

comment on function identity._change_status(uuid, text, text[], text) is
    'Give a user of the context''s tenant another status, if it can come from the one it has. Raises ZI006 when there
is no such user, ZI007 when the status cannot follow.';

revoke all on function identity._change_status(uuid, text, text[], text) from public;


create or replace function identity.activate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(activate_user.user_id, 'active', '{invited}', 'activated');
end
$$;

comment on function identity.activate_user(uuid) is 'Let an invited user in. Raises ZI006 and ZI007.';

revoke all on function identity.activate_user(uuid) from public;
grant execute on function identity.activate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.suspend_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(suspend_user.user_id, 'suspended', '{invited,active,locked}', 'suspended');
end
$$;

comment on function identity.suspend_user(uuid) is
    'Keep a user out for the time being; what let them in ends. Raises ZI006 and ZI007.';

revoke all on function identity.suspend_user(uuid) from public;
grant execute on function identity.suspend_user(uuid) to enterprise_ai_gateway;


create or replace function identity.deactivate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(
        deactivate_user.user_id, 'deactivated', '{invited,active,locked,suspended}', 'deactivated');
end
$$;

comment on function identity.deactivate_user(uuid) is
    'Put a user who has left out of work; what let them in ends. Raises ZI006 and ZI007.';

revoke all on function identity.deactivate_user(uuid) from public;
grant execute on function identity.deactivate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.reactivate_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(reactivate_user.user_id, 'active', '{suspended,deactivated}', 'reactivated');
end
$$;

comment on function identity.reactivate_user(uuid) is
    'Let a suspended or deactivated user in again; what ended then stays ended. Raises ZI006 and ZI007.';

revoke all on function identity.reactivate_user(uuid) from public;
grant execute on function identity.reactivate_user(uuid) to enterprise_ai_gateway;


create or replace function identity.unlock_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._change_status(unlock_user.user_id, 'active', '{locked}', 'unlocked');
end
$$;

comment on function identity.unlock_user(uuid) is
    'End a lock-out before its time, and forget the failures that led to it. Raises ZI006 and ZI007.';

revoke all on function identity.unlock_user(uuid) from public;
grant execute on function identity.unlock_user(uuid) to enterprise_ai_gateway;


create or replace function identity.remove_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    perform identity._change_status(
        remove_user.user_id, 'deactivated', '{invited,active,locked,suspended,deactivated}', 'removed');
    delete from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = remove_user.user_id;
    delete from identity.group_members as m where m.tenant_id = v_tenant_id and m.user_id = remove_user.user_id;
    update identity.user_profiles as p
    set manager_id = null
    where p.tenant_id = v_tenant_id and p.manager_id = remove_user.user_id;
    update identity.users as u
    set deleted_at = now(), external_id = null
    where u.tenant_id = v_tenant_id and u.id = remove_user.user_id;
end
$$;

comment on function identity.remove_user(uuid) is
    'Deactivate a user for good: nobody finds them any more, and their address, name and external id can be given out
again. The row stays, with what is known of the person, for what refers to it; identity.erase_user() removes that too.
Raises ZI006 and ZI007.';

revoke all on function identity.remove_user(uuid) from public;
grant execute on function identity.remove_user(uuid) to enterprise_ai_gateway;


create or replace function identity.erase_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, and reads legal holds, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_email text := (
        select u.email from identity.users as u where u.tenant_id = v_tenant_id and u.id = erase_user.user_id);
    v_hold record;
begin
    select h.id, h.matter into v_hold
    from security.legal_holds as h
    where h.tenant_id = v_tenant_id
      and h.released_at is null
      and (exists (select from security.legal_hold_custodians as c
                   where c.tenant_id = h.tenant_id and c.hold_id = h.id and c.user_id = erase_user.user_id)
           or not exists (select from security.legal_hold_custodians as c
                          where c.tenant_id = h.tenant_id and c.hold_id = h.id))
    limit 1;
    if found then
        raise exception 'Legal hold % ("%") is in force; nothing was erased', v_hold.id, v_hold.matter
            using errcode = 'ZS001', hint = 'Release the hold first.';
    end if;

    perform identity._change_status(
        erase_user.user_id, 'deactivated', '{invited,active,locked,suspended,deactivated,removed}', 'erased');
    delete from identity.user_passwords as p where p.tenant_id = v_tenant_id and p.user_id = erase_user.user_id;
    delete from identity.mfa_factors as f where f.tenant_id = v_tenant_id and f.user_id = erase_user.user_id;
    delete from identity.mfa_recovery_codes as c where c.tenant_id = v_tenant_id and c.user_id = erase_user.user_id;
    delete from identity.one_time_tokens as t where t.tenant_id = v_tenant_id and t.user_id = erase_user.user_id;
    delete from identity.api_keys as k where k.tenant_id = v_tenant_id and k.user_id = erase_user.user_id;
    delete from identity.user_sessions as s where s.tenant_id = v_tenant_id and s.user_id = erase_user.user_id;
    delete from identity.user_sso_accounts as a where a.tenant_id = v_tenant_id and a.user_id = erase_user.user_id;
    delete from identity.group_members as m where m.tenant_id = v_tenant_id and m.user_id = erase_user.user_id;
    delete from identity.user_profiles as p where p.tenant_id = v_tenant_id and p.user_id = erase_user.user_id;
    update identity.user_profiles as p
    set manager_id = null
    where p.tenant_id = v_tenant_id and p.manager_id = erase_user.user_id;
    update identity.login_attempts as a
    set email = 'erased', ip_address = null, user_agent = null
    where a.tenant_id = v_tenant_id
      and (a.user_id = erase_user.user_id
           -- Such as a refused sign-in by a provider: it was nobody's yet, and has the address all the same.
           or a.user_id is null and lower(a.email) = lower(v_email));
    update identity.users as u
    set status = 'erased', deleted_at = now(), email = u.id || '@erased.invalid', email_verified_at = null,
        display_name = 'Erased user', external_id = null, user_name = null, last_login_at = null
    where u.tenant_id = v_tenant_id and u.id = erase_user.user_id;
end
$$;

comment on function identity.erase_user(uuid) is
    'Remove for good what this domain knows of a person; the row stays, without them, for what refers to it. Raises
ZI006 and ZI007, and ZS001 when a legal hold keeps the person''s data.';

revoke all on function identity.erase_user(uuid) from public;
grant execute on function identity.erase_user(uuid) to enterprise_ai_gateway;
