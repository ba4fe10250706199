-- Whoever makes a person meets whoever makes a rule, and otherwise nobody: a new person takes a turn among those who
-- change rights only in a tenant that has rules, so that people can be made side by side. That none was there is
-- certain because both first take one advisory lock: makers of people share it, a maker of rules has it alone.

create or replace function authz._await_new_people()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> 'tenant_id';
begin
    perform pg_advisory_xact_lock(hashtextextended('authz.assignment_rules ' || v_tenant_id, 0));
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function authz._await_new_people() is
    'Before-row trigger, ahead of _take_turn: wait until those who make people now have ended, and hold off others.';

revoke all on function authz._await_new_people() from public;


create or replace function authz._take_turn_if_ruled()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- those who make people may not read rules
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context text := authz._enter_tenant(new.tenant_id);
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('authz.assignment_rules ' || new.tenant_id, 0));
    -- An older snapshot does not show a rule that was committed since; the turn then fails with 40001.
    if current_setting('transaction_isolation') <> 'read committed' or exists (
        select
        from authz.assignment_rules as r
        where r.tenant_id = new.tenant_id and r.is_enabled
    ) then
        perform authz._touch_epoch(new.tenant_id);
    end if;
    perform authz._leave_tenant(v_context);
    return new;
end
$$;

comment on function authz._take_turn_if_ruled() is
    'Before-row trigger: whoever makes a person takes a turn where rules could give that person a role.';

revoke all on function authz._take_turn_if_ruled() from public;
