create or replace function analytics._refuse_cycle()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    -- The table is an argument and not tg_table_name, which on a shard is the shard's.
    v_table text := tg_argv[0]::regclass;
    v_ancestor uuid := new.parent_id;
begin
    -- From the new parent up to the root. The locks make two moves at once that would close a cycle
    -- together meet: the second waits, and then sees what the first has done or fails and is repeated.
    while v_ancestor is not null loop
        if v_ancestor = new.id then
            raise exception 'Row % of % cannot lie within itself', new.id, v_table
                using errcode = 'ZN001',
                      hint = 'The parent given is the row itself or one below it; choose one outside of it.';
        end if;
        execute format('select parent_id from %s where tenant_id = $1 and id = $2 for no key update', v_table)
            into v_ancestor
            using new.tenant_id, v_ancestor;
    end loop;
    return new;
end
$$;

comment on function analytics._refuse_cycle() is
    'Before-row trigger, the table''s name its argument: rows point to their parents without a cycle. Raises ZN001.';

revoke all on function analytics._refuse_cycle() from public;
