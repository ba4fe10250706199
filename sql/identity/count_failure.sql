create or replace function identity._count_failure(person identity.users)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_last_attempt timestamptz;
    v_failures integer := person.failed_logins + 1;
    v_beyond integer;
begin
    select max(a.attempted_at) into v_last_attempt
    from identity.login_attempts as a
    where a.tenant_id = person.tenant_id and a.user_id = person.id;
    if greatest(v_last_attempt, person.locked_until)
           < clock_timestamp() - make_interval(mins => identity._limit('security.lockout_window_minutes')) then
        v_failures := 1;
    end if;

    v_beyond := v_failures - identity._limit('security.lockout_threshold');
    update identity.users as u
    set failed_logins = v_failures,
        status = case when v_beyond >= 0 then 'locked' else 'active' end,
        locked_until = case when v_beyond >= 0 then clock_timestamp() + least(
            make_interval(secs => identity._limit('security.lockout_base_seconds') * 2.0 ^ least(v_beyond, 20)),
            make_interval(mins => identity._limit('security.lockout_max_minutes'))) end
    where u.tenant_id = person.tenant_id and u.id = person.id;
end
$$;

comment on function identity._count_failure(identity.users) is
    'Count one more failure to sign in against a user whose row the caller has locked: from the threshold on each
locks the account, twice as long as the one before, and the lock ends by itself.';

revoke all on function identity._count_failure(identity.users) from public;
