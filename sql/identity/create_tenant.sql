create or replace function identity.create_tenant(slug text, display_name text, region text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes to the directory of tenants and to a tenant that has no users yet
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.new_id();
    v_context text := current_setting('enterprise_ai.context', true);
begin
    insert into identity.tenant_directory (slug, tenant_id)
    values (create_tenant.slug, v_tenant_id)
    on conflict do nothing;
    if not found then
        raise exception 'There is a tenant % already', create_tenant.slug
            using errcode = 'ZI003', hint = 'A slug is given once in an installation; choose another.';
    end if;

    -- What follows belongs to the new tenant, and row security admits it only in that tenant's context.
    perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
    insert into identity.tenants (id, slug, display_name, region)
    values (v_tenant_id, create_tenant.slug, create_tenant.display_name, create_tenant.region);
    perform authz.copy_role_templates();
    perform analytics.create_default_cost_centers();

    perform set_config('enterprise_ai.context', coalesce(v_context, ''), true);
    return v_tenant_id;
end
$$;

comment on function identity.create_tenant(text, text, text) is
    'Make a tenant with the default roles, permissions and cost centres; returns its id. The caller''s context
stays as it was. Raises ZI003 when the slug is taken, 23514 (naming the rule) when it is not a slug.';

revoke all on function identity.create_tenant(text, text, text) from public;
grant execute on function identity.create_tenant(text, text, text) to enterprise_ai_operator;
