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
begin
    -- Row security binds this function's owner as well: with the tenant alone as context it sees that
    -- tenant's rows. Whatever is raised below takes this setting back with it.
    perform platform._seal_context(jsonb_build_object('tenant_id', open_context.tenant_id));

    perform identity._refuse_inactive(open_context.tenant_id, open_context.user_id);
    perform identity._refuse_inactive(open_context.tenant_id, open_context.actor_id);

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
