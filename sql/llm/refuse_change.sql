create or replace function llm._refuse_change()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- What it is about is an argument: on a distributed table tg_table_name is the name of a shard.
    raise exception '% cannot be changed', tg_argv[0]
        using errcode = 'ZL001', hint = tg_argv[1];
end
$$;

comment on function llm._refuse_change() is
    'Before-row trigger with two arguments, what is fixed and what to do instead: refuses the update with ZL001.';

revoke all on function llm._refuse_change() from public;
