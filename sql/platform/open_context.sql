create or replace function platform.open_context(
    tenant_id uuid,
    user_id uuid default null,
    actor_id uuid default null,
    session_id uuid default null,
    request_id text default null,
    ip_address inet default null,
    user_agent text default null,
    authentication_level smallint default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- seals with a key, and looks at people, neither of which callers may read
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_status text;
    v_person uuid;
    v_person_status text;
begin
    -- Row security binds this function's owner as well: with the tenant alone as context it sees that
    -- tenant's rows. Whatever is raised below takes this setting back with it.
    perform platform._seal_context(jsonb_build_object('tenant_id', open_context.tenant_id));

    select t.status into v_tenant_status
    from identity.tenants as t
    where t.id = open_context.tenant_id;
    if v_tenant_status is distinct from 'active' then
        raise exception 'Tenant % %', open_context.tenant_id,
            coalesce('is ' || v_tenant_status, 'does not exist')
            using errcode = 'ZI001', hint = 'A context opens only for an active tenant.';
    end if;

    foreach v_person in array array_remove(array[open_context.user_id, open_context.actor_id], null) loop
        select u.status into v_person_status
        from identity.users as u
        where u.tenant_id = open_context.tenant_id and u.id = v_person;
        if v_person_status is distinct from 'active' then
            raise exception 'User % %', v_person,
                coalesce('is ' || v_person_status, 'does not exist in tenant ' || open_context.tenant_id)
                using errcode = 'ZI002', hint = 'A context opens only for an active user of the tenant.';
        end if;
    end loop;

    perform platform._seal_context(jsonb_build_object(
        'tenant_id', open_context.tenant_id,
        'user_id', open_context.user_id,
        'actor_id', open_context.actor_id,
        'session_id', open_context.session_id,
        'request_id', open_context.request_id,
        'ip_address', host(open_context.ip_address),
        'user_agent', open_context.user_agent,
        'authentication_level', open_context.authentication_level));
end
$$;

comment on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint) is
    'Open the context of the current transaction for a tenant and, as a rule, a user of it. The caller vouches
for both, so only services that authenticate people themselves (enterprise_ai_gateway) may call it.
Raises ZI001 when the tenant, ZI002 when a person is not active or not there.';

revoke all on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint) from public;
grant execute on function platform.open_context(uuid, uuid, uuid, uuid, text, inet, text, smallint)
    to enterprise_ai_gateway;
