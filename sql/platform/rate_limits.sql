create or replace function platform.count_against_limit(key text, amount bigint default 1)
    returns interval
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- counts in a table that no group role can write
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_subject_id uuid := case
        when count_against_limit.key = 'limits.requests_per_minute_per_tenant' then v_tenant_id
        else coalesce(v_context ->> 'api_key_id', v_context ->> 'user_id', v_context ->> 'tenant_id')::uuid end;
    v_limit bigint;
    -- Not the session's own minutes: its time zone may be some seconds off, and another each time.
    v_minute timestamptz := date_trunc('minute', clock_timestamp(), 'UTC');
begin
    -- Named one by one: what counts is what a minute has.
    v_limit := case
        when count_against_limit.key = 'limits.requests_per_minute' then platform.setting('limits.requests_per_minute')
        when count_against_limit.key = 'limits.requests_per_minute_per_tenant' then
            platform.setting('limits.requests_per_minute_per_tenant')
        when count_against_limit.key = 'limits.model_calls_per_minute' then
            platform.setting('limits.model_calls_per_minute')
        when count_against_limit.key = 'limits.model_tokens_per_minute' then
            platform.setting('limits.model_tokens_per_minute')
    end::bigint;
    if v_limit is null or v_tenant_id is null or amount is null or amount < 0 then
        raise exception 'Nothing can be counted against %', coalesce(count_against_limit.key, 'null')
            using errcode = 'ZP007',
                  hint = 'Open a context, name a setting limits.…_per_minute that an amount of 0 or more counts against.';
    end if;

    insert into platform.rate_counts as r (tenant_id, subject_id, key, minute, amount)
    select v_tenant_id, v_subject_id, count_against_limit.key, v_minute, count_against_limit.amount
    where count_against_limit.amount <= v_limit
    on conflict on constraint rate_counts_pkey do update
    -- Who waited here over the end of a minute counts in the one that has begun.
    set minute = greatest(r.minute, excluded.minute),
        amount = excluded.amount + case when r.minute >= excluded.minute then r.amount else 0 end
    where excluded.amount + case when r.minute >= excluded.minute then r.amount else 0 end <= v_limit;
    if found then
        return null;
    end if;
    return v_minute + interval '1 minute' - clock_timestamp();
end
$$;

comment on function platform.count_against_limit(text, bigint) is
    'Count requests, calls of models or tokens of the context''s user, key or (where the limit is per tenant) tenant in
this minute. Null when the limit admits them; else how long to wait, and they are not counted. Commit at once: others of
the same subject wait for it. Raises ZP007 for what nothing is counted against.';

revoke all on function platform.count_against_limit(text, bigint) from public;
grant execute on function platform.count_against_limit(text, bigint) to enterprise_ai_app, enterprise_ai_gateway;
