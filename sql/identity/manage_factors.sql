create or replace function identity.list_second_factors(user_id uuid default null)
    returns table (id uuid, kind text, name text, created_at timestamptz, confirmed_at timestamptz,
                   last_used_at timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads factors, which no group role can, and leaves out what they consist of
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select f.id, f.kind, f.name, f.created_at, f.confirmed_at, f.last_used_at
        from identity.mfa_factors as f
        where f.tenant_id = platform.current_tenant_id()
          -- A user sees their own; a service that was opened for no user sees anybody's.
          and f.user_id = coalesce(platform.current_user_id(), list_second_factors.user_id)
        order by f.created_at, f.id;
end
$$;

comment on function identity.list_second_factors(uuid) is
    'The second factors of the current user, or of any user of the tenant when the context is a service''s; the oldest
first, without secrets.';

revoke all on function identity.list_second_factors(uuid) from public;
grant execute on function identity.list_second_factors(uuid) to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity.remove_second_factor(user_id uuid, factor_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_was_confirmed boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        -- Its snapshot may be older than what it waits for below.
        raise exception 'A second factor cannot be removed in a % transaction', current_setting('transaction_isolation')
            using errcode = 'ZI012', hint = 'Remove it in a read committed transaction; it is still there.';
    end if;
    -- Two who remove one each take turns, and the second sees what is left.
    perform from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = remove_second_factor.user_id
    for no key update;
    perform identity._refuse_without_step_up(remove_second_factor.user_id);

    delete from identity.mfa_factors as f
    where f.tenant_id = v_tenant_id and f.user_id = remove_second_factor.user_id and f.id = factor_id
    returning f.confirmed_at is not null into v_was_confirmed;
    if v_was_confirmed
       and not exists (
           select from identity.mfa_factors as f
           where f.tenant_id = v_tenant_id and f.user_id = remove_second_factor.user_id
             and f.confirmed_at is not null)
       and identity.requires_second_factor(remove_second_factor.user_id) then
        raise exception 'It is the last second factor of user %, who needs one', remove_second_factor.user_id
            using errcode = 'ZI021', hint = 'Add another first. It has not been removed.';
    end if;
    return v_was_confirmed is not null;
end
$$;

comment on function identity.remove_second_factor(uuid, uuid) is
    'Remove a second factor of a user of the context''s tenant; false when there is none of the id. Raises ZI021 for the
last one of a user whom the settings want to have one, ZI022 without step-up, ZI012 in a transaction that could not see
what it waited for.';

revoke all on function identity.remove_second_factor(uuid, uuid) from public;
grant execute on function identity.remove_second_factor(uuid, uuid) to enterprise_ai_gateway;


create or replace function identity.reset_second_factors(user_id uuid)
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes factors, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_current uuid := platform.current_user_id();
    v_removed integer;
begin
    if v_current is not null
       and (v_current = reset_second_factors.user_id or not authz.check('user.reset_credentials')) then
        raise exception 'User % may not reset second factors', v_current
            using errcode = 'ZI010', hint = 'It takes user.reset_credentials, and somebody else than the user.';
    end if;
    delete from identity.mfa_factors as f
    where f.tenant_id = v_tenant_id and f.user_id = reset_second_factors.user_id;
    get diagnostics v_removed = row_count;
    delete from identity.mfa_recovery_codes as c
    where c.tenant_id = v_tenant_id and c.user_id = reset_second_factors.user_id;
    perform identity.revoke_sessions_of(reset_second_factors.user_id, 'second factors reset');
    return v_removed;
end
$$;

comment on function identity.reset_second_factors(uuid) is
    'Remove all second factors and recovery codes of a user who has lost them, and end the user''s sessions; returns how
many factors there were. Raises ZI010 for a context whose user may not.';

revoke all on function identity.reset_second_factors(uuid) from public;
grant execute on function identity.reset_second_factors(uuid) to enterprise_ai_gateway;
