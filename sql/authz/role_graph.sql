-- Inheritance between roles has no circles, not even one that two sessions close together: whoever adds an
-- edge has taken their turn among all who change rights in the tenant, so they see all edges there are.

create or replace function authz._refuse_circles()
    returns trigger
    language plpgsql
    volatile                -- sees what was committed while it waited for its turn
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        with recursive above (id) as (
            select new.parent_id
            union
            select i.parent_id
            from above
            join authz.role_inheritance as i on i.tenant_id = new.tenant_id and i.role_id = above.id
        )
        select from above where above.id = new.role_id
    ) then
        raise exception 'Role % cannot inherit from role %, which inherits from it',
            (select r.name from authz.roles as r where r.tenant_id = new.tenant_id and r.id = new.role_id),
            (select r.name from authz.roles as r where r.tenant_id = new.tenant_id and r.id = new.parent_id)
            using errcode = 'ZA002', hint = 'Remove the inheritance the other way round first.';
    end if;
    return new;
end
$$;

comment on function authz._refuse_circles() is
    'Before-row trigger: no role comes to inherit from itself, not even at different times. Raises ZA002.';

revoke all on function authz._refuse_circles() from public;
