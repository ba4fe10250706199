-- All that changes the rights in a tenant first changes the tenant's one row in authz.epochs. So such writers
-- come one after another, and whoever derives anything sees what those before have committed: a read committed
-- transaction waits, one with an older snapshot fails with 40001. Nothing derived is ever made from a state
-- that somebody else was just changing. The number tells caches that what they know may no longer hold.

create or replace function authz._touch_epoch(tenant_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_epoch bigint;
begin
    update authz.epochs as e
    set epoch = e.epoch + 1, changed_in = txid_current()
    where e.tenant_id = _touch_epoch.tenant_id and e.changed_in <> txid_current()
    returning e.epoch into v_epoch;
    if found then
        perform pg_notify('enterprise_ai_authz', _touch_epoch.tenant_id::text || ' ' || v_epoch);
    end if;
end
$$;

comment on function authz._touch_epoch(uuid) is
    'Take one''s turn among those who change the rights in a tenant, until the end of the transaction, and
notify enterprise_ai_authz of the tenant and its new epoch.';

revoke all on function authz._touch_epoch(uuid) from public;


create or replace function authz._enter_tenant(tenant_id uuid)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_before text := coalesce(current_setting('enterprise_ai.context', true), '');
begin
    if platform.current_tenant_id() = _enter_tenant.tenant_id then
        return null;
    end if;
    perform platform._seal_context(jsonb_build_object('tenant_id', _enter_tenant.tenant_id));
    return v_before;
end
$$;

comment on function authz._enter_tenant(uuid) is
    'For triggers: what they derive is read and written under the row security of the tenant of the row, also when a
superuser writes without a context. Returns what to hand to _leave_tenant; null when the context was right.';

revoke all on function authz._enter_tenant(uuid) from public;


create or replace function authz._leave_tenant(context text)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if context is not null then
        perform set_config('enterprise_ai.context', context, true);
    end if;
end
$$;

comment on function authz._leave_tenant(text) is 'Put back the context that _enter_tenant has replaced, if it has.';

revoke all on function authz._leave_tenant(text) from public;


create or replace function authz._take_turn()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications change groups and people, but never epochs
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
    v_tenant_id uuid := coalesce(v_row ->> 'tenant_id', v_row ->> 'id');
    v_context text;
begin
    if tg_nargs > 0 and tg_op = 'UPDATE' and to_jsonb(old) -> tg_argv[0] <> v_row -> tg_argv[0] then
        raise exception 'The % of a row of %.% cannot be changed', tg_argv[0], tg_table_schema, tg_table_name
            using errcode = 'ZA008', hint = 'Delete the row and insert another.';
    end if;
    -- The first row takes the turn; the others of a large statement only look.
    if not exists (
        select
        from authz.epochs as e
        where e.tenant_id = v_tenant_id and e.changed_in = txid_current()
    ) then
        v_context := authz._enter_tenant(v_tenant_id);
        perform authz._touch_epoch(v_tenant_id);
        perform authz._leave_tenant(v_context);
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function authz._take_turn() is
    'Before-row trigger of all tables that rights are derived from; the column that its argument names cannot be
changed (ZA008).';

revoke all on function authz._take_turn() from public;
