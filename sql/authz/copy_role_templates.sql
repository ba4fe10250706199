create or replace function authz.copy_role_templates()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
begin
    if v_tenant_id is null then
        raise exception 'Roles are copied into the tenant of the context, and there is no context'
            using errcode = 'ZA001', hint = 'Open the context of the tenant first.';
    end if;

    insert into authz.roles as r (tenant_id, name, display_name, description, template_name)
    select v_tenant_id, t.name, t.display_name, t.description, t.name
    from authz.role_templates as t
    on conflict (tenant_id, name) do update
        set display_name = excluded.display_name,
            description = excluded.description
        -- A role that the tenant made under that name stays the tenant's.
        where r.template_name = excluded.template_name
          and (r.display_name, r.description) is distinct from (excluded.display_name, excluded.description);

    delete from authz.role_permissions as p
    using authz.roles as r
    where r.tenant_id = v_tenant_id and r.template_name is not null
      and p.tenant_id = v_tenant_id and p.role_id = r.id
      and not exists (
          select from authz.role_template_permissions as t
          where t.role_name = r.template_name
            and (t.permission_id, t.only_own, t.inheritable) = (p.permission_id, p.only_own, p.inheritable)
            and p.effect = 'allow' and p.resource_id is null and not p.is_conditional);

    insert into authz.role_permissions (tenant_id, role_id, permission_id, only_own, inheritable)
    select v_tenant_id, r.id, t.permission_id, t.only_own, t.inheritable
    from authz.role_template_permissions as t
    join authz.roles as r on r.tenant_id = v_tenant_id and r.template_name = t.role_name
    on conflict do nothing;

    delete from authz.role_inheritance as i
    using authz.roles as heir
    where heir.tenant_id = v_tenant_id and heir.template_name is not null
      and i.tenant_id = v_tenant_id and i.role_id = heir.id
      and not exists (
          select
          from authz.role_template_inheritance as t
          join authz.roles as parent on parent.tenant_id = v_tenant_id and parent.template_name = t.parent_name
          where t.role_name = heir.template_name
            and parent.id = i.parent_id and i.valid_from is null and i.valid_until is null);

    insert into authz.role_inheritance (tenant_id, role_id, parent_id)
    select v_tenant_id, heir.id, parent.id
    from authz.role_template_inheritance as t
    join authz.roles as heir on heir.tenant_id = v_tenant_id and heir.template_name = t.role_name
    join authz.roles as parent on parent.tenant_id = v_tenant_id and parent.template_name = t.parent_name
    on conflict do nothing;
end
$$;

comment on function authz.copy_role_templates() is
    'Bring the roles that the tenant of the context has from templates in step with them: what is missing is
added, what the templates do not say is taken away. Roles of the tenant''s own making and who holds which
role stay as they are. Raises ZA001 without a context.';

revoke all on function authz.copy_role_templates() from public;
