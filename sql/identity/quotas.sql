-- What a tenant has of something may not exceed a setting, however many write at once, and those who write do not
-- wait for each other as long as there is room. So the room is divided: each of 16 slots has an allowance, a
-- transaction counts in the slot of its backend, and the allowances together never exceed the limit. A slot that has
-- run out takes from those that nobody holds just now; only when that is not enough are all of them waited for.

create or replace function identity._use_quota(key text, amount bigint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_limit bigint := platform.setting(_use_quota.key)::bigint;
    v_slot integer := pg_backend_pid() % 16;
begin
    if v_tenant_id is null then
        return;     -- a superuser past row security: their own business
    end if;
    if amount <= 0 then
        update identity.quota_slots as s
        set used = s.used + amount
        where s.tenant_id = v_tenant_id and s.key = _use_quota.key and s.slot = v_slot;
        return;
    end if;

    begin
        -- The allowances were cut from the whole that was the limit then.
        update identity.quota_slots as s
        set used = s.used + amount
        where s.tenant_id = v_tenant_id and s.key = _use_quota.key and s.slot = v_slot
          and s.used + amount <= s.allowance and s.whole = v_limit;
        if not found and not identity._use_free_slots(v_tenant_id, _use_quota.key, v_slot, v_limit, amount) then
            raise no_data_found;
        end if;
        return;
    exception
        -- It also lets go of the slots, those included that were waited for and then had no room: two who each held
        -- some and waited for the rest would wait for ever.
        when no_data_found then null;
    end;
    -- The first of all finds no slots; whoever is the first at the same time waits for them here.
    insert into identity.quota_slots (tenant_id, key, slot, whole)
    select v_tenant_id, _use_quota.key, n, v_limit
    from generate_series(0, 15) as n
    where not exists (
        select from identity.quota_slots as s where s.tenant_id = v_tenant_id and s.key = _use_quota.key)
    on conflict do nothing;
    perform identity._use_all_slots(v_tenant_id, _use_quota.key, v_slot, v_limit, amount);
end
$$;

comment on function identity._use_quota(text, bigint) is
    'Count so much more (or less) of what the setting limits in the context''s tenant. Raises ZI023 when the limit is
reached.';

revoke all on function identity._use_quota(text, bigint) from public;


create or replace function identity._use_free_slots(
    tenant_id uuid, key text, slot integer, whole bigint, amount bigint)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_slots integer[];
    v_room bigint;
    v_count integer;
    v_slot integer;
begin
    select array_agg(free.slot order by free.slot), coalesce(sum(free.allowance - free.used), 0), count(*)
    into v_slots, v_room, v_count
    from (
        select s.slot, s.allowance, s.used
        from identity.quota_slots as s
        where s.tenant_id = _use_free_slots.tenant_id and s.key = _use_free_slots.key
          and s.whole = _use_free_slots.whole
        order by s.slot
        for update skip locked) as free;
    if v_room < amount then
        return false;
    end if;
    v_slot := case when _use_free_slots.slot = any (v_slots) then _use_free_slots.slot else v_slots[1] end;
    update identity.quota_slots as s
    set used = s.used + case when s.slot = v_slot then _use_free_slots.amount else 0 end,
        allowance = s.used + (v_room - _use_free_slots.amount) / v_count
                    + case when s.slot = v_slot
                           then _use_free_slots.amount + (v_room - _use_free_slots.amount) % v_count else 0 end
    where s.tenant_id = _use_free_slots.tenant_id and s.key = _use_free_slots.key and s.slot = any (v_slots);
    return true;
end
$$;

comment on function identity._use_free_slots(uuid, text, integer, bigint, bigint) is
    'Count in the room of the slots that nobody holds, and divide what is left of it among them anew; false when it is
not enough. What it looked at stays locked.';

revoke all on function identity._use_free_slots(uuid, text, integer, bigint, bigint) from public;


create or replace function identity._use_all_slots(
    tenant_id uuid, key text, slot integer, whole bigint, amount bigint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_used bigint;
    v_room bigint;
begin
    select sum(held.used) into v_used
    from (
        select s.used
        from identity.quota_slots as s
        where s.tenant_id = _use_all_slots.tenant_id and s.key = _use_all_slots.key
        order by s.slot
        for update) as held;
    v_room := _use_all_slots.whole - v_used - _use_all_slots.amount;
    if v_room < 0 then
        raise exception 'The limit % of the tenant is reached: % of % are used, and % more are asked for',
            _use_all_slots.key, v_used, _use_all_slots.whole, _use_all_slots.amount
            using errcode = 'ZI023',
                  hint = 'Remove what is no longer needed, or let an operator raise it: platform.set_setting_of_tenant().';
    end if;
    update identity.quota_slots as s
    set used = s.used + case when s.slot = _use_all_slots.slot then _use_all_slots.amount else 0 end,
        allowance = s.used + v_room / 16
                    + case when s.slot = _use_all_slots.slot then _use_all_slots.amount + v_room % 16 else 0 end,
        whole = _use_all_slots.whole
    where s.tenant_id = _use_all_slots.tenant_id and s.key = _use_all_slots.key;
end
$$;

comment on function identity._use_all_slots(uuid, text, integer, bigint, bigint) is
    'Count after everybody else who counts has committed or not, and divide the room anew. Raises ZI023.';

revoke all on function identity._use_all_slots(uuid, text, integer, bigint, bigint) from public;


create or replace function identity._count_quota()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever writes the rows cannot write the count
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_amount bigint;
begin
    -- A transition table: on Citus a row trigger takes its place.
    execute format('select %s from changed', tg_argv[1]) into v_amount;
    if v_amount <> 0 then
        perform identity._use_quota(tg_argv[0], case when tg_op = 'DELETE' then -v_amount else v_amount end);
    end if;
    return null;
end
$$;

comment on function identity._count_quota() is
    'After-statement trigger; its arguments are the setting that limits the rows and how much they are, as an aggregate.';

revoke all on function identity._count_quota() from public;


create or replace function identity._recount_user()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- as above
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._use_quota('limits.users_per_tenant', case when new.deleted_at is null then 1 else -1 end);
    return null;
end
$$;

comment on function identity._recount_user() is 'After-row trigger: somebody erased no longer counts.';

revoke all on function identity._recount_user() from public;


create or replace function identity.quota_usage()
    returns table (key text, used bigint, quota bigint)
    language plpgsql
    stable
    parallel restricted
    security definer        -- the count is granted to nobody
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select s.key, sum(s.used)::bigint, platform.setting(s.key)::bigint
        from identity.quota_slots as s
        where s.tenant_id = platform.current_tenant_id()
        group by s.key
        order by s.key;
end
$$;

comment on function identity.quota_usage() is
    'How much of each limited thing the context''s tenant has, of what it had any of, and how much it may have.';

revoke all on function identity.quota_usage() from public;
grant execute on function identity.quota_usage() to enterprise_ai_app, enterprise_ai_gateway;
