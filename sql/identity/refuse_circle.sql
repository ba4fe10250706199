create or replace function identity._refuse_circle()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- The table is an argument and not tg_table_name, which on a shard is the shard's.
    v_table text := tg_argv[0];
    v_key text := tg_argv[1];
    v_parent text := tg_argv[2];
    v_id uuid := to_jsonb(new) ->> v_key;
    v_parent_id uuid := to_jsonb(new) ->> v_parent;
    v_is_circle boolean;
begin
    if v_parent_id is null then
        return new;
    elsif current_setting('transaction_isolation') <> 'read committed' then
        -- Its snapshot may be older than the change that it waited for.
        raise exception '% cannot be set in a % transaction', v_parent, current_setting('transaction_isolation')
            using errcode = 'ZI012', hint = 'Set it in a read committed transaction; nothing has been changed.';
    end if;

    -- Two changes that would close a circle together take turns, and the second sees the first.
    perform pg_advisory_xact_lock(hashtext(v_table), hashtext(new.tenant_id::text));
    execute format(
        'with recursive above (id) as (
             select $2
             union
             select t.%2$I from %1$s as t join above on t.%3$I = above.id
             where t.tenant_id = $1 and t.%2$I is not null)
         select exists (select from above where above.id = $3)',
        v_table, v_parent, v_key)
    into v_is_circle
    using new.tenant_id, v_parent_id, v_id;
    if v_is_circle then
        raise exception '% and % would lie above each other', v_id, v_parent_id
            using errcode = 'ZI013', hint = 'Choose a ' || v_parent || ' that is not below it.';
    end if;
    return new;
end
$$;

comment on function identity._refuse_circle() is
    'Before-row trigger; its arguments are the table, the column of a row''s id and the column that points to what is
above it. Following it from row to row never comes back, also when two transactions change at once. Raises ZI013, and
ZI012 in a transaction that could not see what it waited for.';

revoke all on function identity._refuse_circle() from public;
