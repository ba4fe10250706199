create or replace function identity._touch_groups()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- whoever changes members need not be able to write groups
    set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.groups as g
    set updated_at = now()
    where (g.tenant_id, g.id) in (select c.tenant_id, c.group_id from changed as c);
    return null;
end
$$;

comment on function identity._touch_groups() is
    'After-statement trigger of identity.group_members: a group has changed when its members have.';

revoke all on function identity._touch_groups() from public;
