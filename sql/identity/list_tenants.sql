create or replace function identity.list_tenants(
    after_slug text default '',
    page_size integer default 1000,
    named text default null)
    returns table (id uuid, slug text, display_name text, status text, region text, created_at timestamptz)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- opens one tenant's context after the other, since row security binds its owner as well
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_outer text := current_setting('enterprise_ai.context', true);
    v_tenant_id uuid;
begin
    for v_tenant_id in
        select d.tenant_id
        from identity.tenant_directory as d
        where d.slug > after_slug and (named is null or named in (d.slug, d.tenant_id::text))
        order by d.slug
        limit page_size
    loop
        perform platform._seal_context(jsonb_build_object('tenant_id', v_tenant_id));
        return query
            select t.id, t.slug, t.display_name, t.status, t.region, t.created_at
            from identity.tenants as t
            where t.id = v_tenant_id;
    end loop;
    perform set_config('enterprise_ai.context', coalesce(v_outer, ''), true);
end
$$;

comment on function identity.list_tenants(text, integer, text) is
    'The tenants of the installation by slug, or the one of a slug or id: what they are called and their status, and
nothing of what is theirs. The caller''s context stays as it was.';

revoke all on function identity.list_tenants(text, integer, text) from public;
grant execute on function identity.list_tenants(text, integer, text) to enterprise_ai_operator;
