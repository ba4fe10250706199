create or replace function analytics.create_default_cost_centers()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_root_id uuid;
begin
    insert into analytics.cost_centers (tenant_id, code, display_name, description)
    values (v_tenant_id, 'root', 'Whole organisation', 'The root: everything that is spent.')
    on conflict (tenant_id, code) do nothing;

    select c.id into v_root_id
    from analytics.cost_centers as c
    where c.tenant_id = v_tenant_id and c.code = 'root';

    insert into analytics.cost_centers (tenant_id, parent_id, code, display_name, description)
    values
        (v_tenant_id, v_root_id, 'operations', 'Operations',
         'Day-to-day use in the business.'),
        (v_tenant_id, v_root_id, 'research', 'Research and development',
         'Trials, evaluations and whatever is not yet in use.'),
        (v_tenant_id, v_root_id, 'shared', 'Shared services',
         'What serves all; allocation rules share it out among the others.'),
        (v_tenant_id, v_root_id, 'unassigned', 'Unassigned',
         'Bears what nobody else was named for, until somebody is.')
    on conflict (tenant_id, code) do nothing;
end
$$;

comment on function analytics.create_default_cost_centers() is
    'Give the tenant of the context its cost centres: a root and operations, research, shared, unassigned beneath
it. What is there already stays as it is.';

revoke all on function analytics.create_default_cost_centers() from public;
