-- A check says how things are when it is made; what is written a moment later may come after a revocation that it did not
-- see. This one keeps it from coming to be: until the transaction ends nobody changes rights in the tenant. Those who hold
-- do not wait for each other; who changes rights waits for them, and they for who is just changing some.

create or replace function authz.check_and_hold(
    permission text,
    resource_id uuid default null,
    request jsonb default '{}')
    returns boolean
    language plpgsql
    volatile                -- sees what was committed while it waited
    parallel unsafe
    security definer        -- applications cannot lock what tells of changes
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := platform.context();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_user_id uuid := v_context ->> 'user_id';
begin
    if v_user_id is null then
        raise exception 'An act is somebody''s, and the context has no user'
            using errcode = 'ZA001', hint = 'Open the context of the user who acts; authz.check answers about others.';
    end if;
    -- Who writes after an older snapshot fails here (40001) when rights have changed since.
    perform from authz.epochs as e where e.tenant_id = v_tenant_id for share;
    return (authz._evaluate(v_context, v_user_id, check_and_hold.permission, check_and_hold.resource_id,
                            check_and_hold.request, clock_timestamp())).effect = 'allow';
end
$$;

comment on function authz.check_and_hold(text, uuid, jsonb) is
    'Whether the user of the context has a permission, for a transaction that writes because of it: until it ends nobody
changes rights in the tenant, so that it is still true when it commits, unless a rule ends by the clock. Waits for who is
just changing rights, and sees that. In a repeatable read or serializable transaction fails with 40001 when rights have
changed since its snapshot. Raises ZA001 without a user.';

revoke all on function authz.check_and_hold(text, uuid, jsonb) from public;
grant execute on function authz.check_and_hold(text, uuid, jsonb) to enterprise_ai_app, enterprise_ai_gateway;
