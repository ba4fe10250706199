-- Acting on behalf of another. Users let others act for them; who gives rights lets others act for users, in what
-- they may do themselves, and never wholesale.

create or replace function authz.grant_proxy(
    actor_id uuid,
    permission text default null,
    all_permissions boolean default false,
    user_id uuid default null,
    resource_id uuid default null,
    valid_until timestamptz default null,
    reason text default null,
    valid_from timestamptz default null,
    condition jsonpath default null,
    networks cidr[] default null,
    windows jsonb default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_giver_id uuid := v_context ->> 'user_id';
    v_user_id uuid := coalesce(grant_proxy.user_id, v_giver_id);
    v_permission_id integer;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    if permission is null and not all_permissions then
        raise exception 'It is not said in what % is to act', grant_proxy.actor_id
            using errcode = 'ZA011', hint = 'Name a permission, or say all_permissions => true.';
    end if;
    if v_user_id = v_giver_id then
        v_context := authz._giver('permission.proxy');
    else
        v_context := authz._giver('permission.grant');
        if all_permissions or grant_proxy.actor_id = v_giver_id
           or not authz._may(v_context, permission, grant_proxy.resource_id) then
            raise exception 'User % cannot let % act for % in this', v_giver_id, grant_proxy.actor_id, v_user_id
                using errcode = 'ZA010',
                      hint = 'For another one lets a third act, and only in a permission that one has oneself.';
        end if;
    end if;
    if not all_permissions then
        select p.id into v_permission_id from authz.permissions as p where p.name = grant_proxy.permission;
        if v_permission_id is null then
            raise exception 'There is no permission %', grant_proxy.permission
                using errcode = 'ZA011', hint = 'Permissions are named type.action, as in authz.permissions.';
        end if;
    end if;

    insert into authz.proxy_grants (
        tenant_id, user_id, actor_id, permission_id, all_permissions, resource_id, reason, condition, networks, windows,
        valid_from, valid_until, granted_by)
    values (
        v_tenant_id, v_user_id, grant_proxy.actor_id, v_permission_id, grant_proxy.all_permissions,
        grant_proxy.resource_id, grant_proxy.reason, grant_proxy.condition, grant_proxy.networks, grant_proxy.windows,
        grant_proxy.valid_from, grant_proxy.valid_until, v_giver_id)
    returning id into v_id;
    return v_id;
end
$$;

comment on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) is
    'Let somebody act on behalf of the user of the context, in one permission or in all; returns the grant''s id. It takes
permission.proxy; to let somebody act for another user permission.grant and the permission itself, never all of them and
never oneself (ZA010). Raises ZA011 for an unknown permission, ZA015 when somebody acts for the user.';

revoke all on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) from public;
grant execute on function authz.grant_proxy(
    uuid, text, boolean, uuid, uuid, timestamptz, text, timestamptz, jsonpath, cidr[], jsonb) to enterprise_ai_app;


create or replace function authz.revoke_proxy(grant_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._user_in_turn();
    v_tenant_id uuid := v_context ->> 'tenant_id';
begin
    perform authz._refuse_unless_party(v_context, array(
        select unnest(array[g.user_id, g.actor_id])
        from authz.proxy_grants as g
        where g.tenant_id = v_tenant_id and g.id = revoke_proxy.grant_id));
    delete from authz.proxy_grants as g
    where g.tenant_id = v_tenant_id and g.id = revoke_proxy.grant_id;
    return found;
end
$$;

comment on function authz.revoke_proxy(uuid) is
    'End a grant to act on behalf; false when there is none of that id. For both people in it, and for who has
permission.grant (ZA010).';

revoke all on function authz.revoke_proxy(uuid) from public;
grant execute on function authz.revoke_proxy(uuid) to enterprise_ai_app;
