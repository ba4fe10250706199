create or replace function identity._end_access(user_id uuid, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    perform identity._revoke_sessions(
        array(select s.id
              from identity.user_sessions as s
              where s.tenant_id = v_tenant_id and s.user_id = _end_access.user_id and s.revoked_at is null),
        reason);
    update identity.api_keys as k
    set revoked_at = clock_timestamp()
    where k.tenant_id = v_tenant_id and k.user_id = _end_access.user_id and k.revoked_at is null;
    update identity.one_time_tokens as t
    set used_at = clock_timestamp()
    where t.tenant_id = v_tenant_id and t.user_id = _end_access.user_id and t.used_at is null;
    -- What the person passed on, and what was passed on to them, ends where it stands.
    update authz.delegations as d
    set valid_until = greatest(clock_timestamp(), d.valid_from + interval '1 microsecond')
    where d.tenant_id = v_tenant_id
      and _end_access.user_id in (d.delegator_id, d.delegate_id)
      and d.valid_until > clock_timestamp();
end
$$;

comment on function identity._end_access(uuid, text) is
    'End for good what lets a user of the context''s tenant in: sessions with their refresh families, API keys,
one-time tokens, delegations from and to them.';

revoke all on function identity._end_access(uuid, text) from public;
