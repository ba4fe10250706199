create or replace function platform.rotate_context_key(keep_for interval default '1 day')
    returns integer
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes keys, which no group role can even read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted integer;
begin
    -- Two who rotate at once take turns. Readers go on: they take no lock that this one conflicts with.
    lock table platform.context_keys in share row exclusive mode;

    delete from platform.context_keys as k
    where k.retired_at <= clock_timestamp() - keep_for;
    get diagnostics v_deleted = row_count;

    -- A transaction that has been sealed with the old key is verified with it to its end.
    update platform.context_keys as k set retired_at = clock_timestamp() where k.retired_at is null;
    insert into platform.context_keys default values;
    analyze platform.context_keys;      -- else it is taken for a large table and read by its index, which takes longer
    return v_deleted;
end
$$;

comment on function platform.rotate_context_key(interval) is
    'Seal contexts with a new key from now on. The old one is retired: it still verifies, and a later rotation
deletes it once it has been retired for keep_for, which is to be longer than any transaction lasts. Returns how
many were deleted. After a leak rotate twice, the second time with keep_for => ''0'': whatever runs on an old key
loses its context.';

revoke all on function platform.rotate_context_key(interval) from public;
grant execute on function platform.rotate_context_key(interval) to enterprise_ai_operator;
