-- Deleting a tenant takes batches, each a transaction of its own, so that neither locks nor the log of the server
-- grow with the tenant and whatever breaks off goes on where it stopped:
--
--   select identity.begin_tenant_deletion('0198…', 'contract 17 ended');
--   select identity.delete_tenant_batch('0198…');        -- again and again, until it returns 0
--   select * from identity.tenant_deletions;             -- the receipt

create or replace function identity._tenant_tables()
    returns table (name regclass, key_columns text, deletes_at_once boolean)
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    with recursive owned (oid) as (
        select c.oid
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relnamespace::regnamespace::name = any (platform.domains())
          and c.relkind in ('r', 'p')
          and not c.relispartition
          and c.oid not in ('identity.tenant_deletions'::regclass, 'identity.tenant_directory'::regclass)
    ),
    reference (referred, referring) as materialized (
        select distinct f.confrelid, f.conrelid
        from pg_constraint as f
        where f.contype = 'f' and f.conrelid <> f.confrelid
          and f.conrelid in (select o.oid from owned as o)
          and f.confrelid in (select o.oid from owned as o)
    ),
    -- How far a table is from those that refer to nothing. A circle of tables ends at the limit.
    height (oid, level) as (
        select o.oid, 0 from owned as o
        union
        select r.referring, h.level + 1
        from height as h
        join reference as r on r.referred = h.oid
        where h.level < 12
    )
    select o.oid::regclass,
           (select string_agg(quote_ident(a.attname), ', ' order by k.place)
            from pg_index as i
            cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
            join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = o.oid and i.indisprimary),
           -- Rows of which one holds another are deleted together, or the one that is held could come first.
           exists (select from pg_constraint as f
                   where f.conrelid = o.oid and f.confrelid = o.oid and f.contype = 'f' and f.confdeltype <> 'c')
    from owned as o
    join (select h.oid, max(h.level) as level from height as h group by h.oid) as highest on highest.oid = o.oid
    order by highest.level desc, o.oid::regclass::text;
$$;

comment on function identity._tenant_tables() is
    'The tables that hold rows of tenants, those first that refer to others.';

revoke all on function identity._tenant_tables() from public;


create or replace function identity._refuse_under_hold(tenant_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_hold record;
begin
    select h.id, h.matter into v_hold
    from security.legal_holds as h
    where h.tenant_id = _refuse_under_hold.tenant_id and h.released_at is null
    limit 1;
    if found then
        raise exception 'Legal hold % ("%") is in force; nothing more is deleted', v_hold.id, v_hold.matter
            using errcode = 'ZS001', hint = 'Release the hold first: set released_at, released_by and release_reason.';
    end if;
end
$$;

comment on function identity._refuse_under_hold(uuid) is 'Raise ZS001 while a legal hold of the tenant is in force.';

revoke all on function identity._refuse_under_hold(uuid) from public;


create or replace function identity.begin_tenant_deletion(tenant_id uuid, reason text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes tenants and reads legal holds, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_table record;
    v_rows bigint;
    v_counts jsonb := '{}';
begin
    perform identity._change_tenant_status(
        begin_tenant_deletion.tenant_id, 'deleting', '{active,suspended,archived}');
    perform platform._seal_context(jsonb_build_object('tenant_id', begin_tenant_deletion.tenant_id));
    perform identity._refuse_under_hold(begin_tenant_deletion.tenant_id);

    for v_table in select t.name from identity._tenant_tables() as t loop
        execute format('select count(*) from %s where tenant_id = $1', v_table.name)
            into v_rows using begin_tenant_deletion.tenant_id;
        if v_rows > 0 then
            v_counts := v_counts || jsonb_build_object(v_table.name::text, v_rows);
        end if;
    end loop;
    insert into identity.tenant_deletions (tenant_id, slug, display_name, reason, row_counts)
    select t.id, t.slug, t.display_name, begin_tenant_deletion.reason, v_counts
    from identity.tenants as t
    where t.id = begin_tenant_deletion.tenant_id;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.begin_tenant_deletion(uuid, text) is
    'Begin to delete a tenant: from now on no context opens for it, and the receipt counts its rows. Raises ZI016 when
there is no such tenant or it is being deleted, ZS001 while a legal hold is in force; then nothing has changed.';

revoke all on function identity.begin_tenant_deletion(uuid, text) from public;
grant execute on function identity.begin_tenant_deletion(uuid, text) to enterprise_ai_operator;


create or replace function identity.delete_tenant_batch(tenant_id uuid, batch_size integer default 5000)
    returns bigint
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- deletes what no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    -- A batch of no rows would find none left, and delete all that the tenant's own row takes along at once.
    v_size bigint := greatest(batch_size, 1);
    v_table record;
    v_rows bigint;
    v_deleted bigint := 0;
begin
    perform from identity.tenant_deletions as d
    where d.tenant_id = delete_tenant_batch.tenant_id and d.finished_at is null
    for update;
    if not found then
        raise exception 'Tenant % is not being deleted', delete_tenant_batch.tenant_id
            using errcode = 'ZI017', hint = 'identity.begin_tenant_deletion() begins it; a finished one has a receipt.';
    end if;
    perform platform._seal_context(jsonb_build_object('tenant_id', delete_tenant_batch.tenant_id));
    perform identity._refuse_under_hold(delete_tenant_batch.tenant_id);

    for v_table in select * from identity._tenant_tables() loop
        begin
            execute format(
                'delete from %1$s where (%2$s) in (select %2$s from %1$s where tenant_id = $1 limit $2)',
                v_table.name, v_table.key_columns)
                using delete_tenant_batch.tenant_id,
                      case when not v_table.deletes_at_once then v_size - v_deleted end;
            get diagnostics v_rows = row_count;
            v_deleted := v_deleted + v_rows;
        exception
            -- Two tables that refer to each other: it is the other's turn first.
            when foreign_key_violation then null;
        end;
        exit when v_deleted >= v_size;
    end loop;

    if v_deleted = 0 then
        delete from identity.tenants as t where t.id = delete_tenant_batch.tenant_id;
        for v_table in select t.name from identity._tenant_tables() as t loop
            execute format('select count(*) from (select from %s where tenant_id = $1 limit 1) as one', v_table.name)
                into v_rows using delete_tenant_batch.tenant_id;
            if v_rows > 0 then
                raise exception 'Rows of tenant % are left in %', delete_tenant_batch.tenant_id, v_table.name
                    using errcode = 'ZI018', hint = 'Something still writes there; call again once it has ended.';
            end if;
        end loop;
        delete from identity.tenant_directory as d where d.tenant_id = delete_tenant_batch.tenant_id;
        update identity.tenant_deletions as d
        set finished_at = clock_timestamp()
        where d.tenant_id = delete_tenant_batch.tenant_id;
    end if;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
    return v_deleted;
end
$$;

comment on function identity.delete_tenant_batch(uuid, integer) is
    'Delete some more rows of a tenant being deleted; returns how many, 0 when that was all: then the tenant is gone
and its receipt is finished. What other rows take along with them is not counted in a batch. Commit after each. Raises
ZI017 when the tenant is not being deleted, ZI018 when something still writes rows of it, ZS001 under a legal hold.';

revoke all on function identity.delete_tenant_batch(uuid, integer) from public;
grant execute on function identity.delete_tenant_batch(uuid, integer) to enterprise_ai_operator;
