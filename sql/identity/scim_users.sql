-- What a directory says of a person, put into effect by the same functions as every other entry path uses. An
-- account is active in SCIM's sense until it is deactivated: whether somebody is invited, locked or suspended is
-- decided here and not by the directory.

create or replace function identity.scim_lock_user(user_id uuid)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- locks a row, for which its table's update privilege would be needed
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform from identity.users as u
    where u.tenant_id = platform.current_tenant_id() and u.id = scim_lock_user.user_id and u.deleted_at is null
    for no key update;
    return found;
end
$$;

comment on function identity.scim_lock_user(uuid) is
    'Let nobody else change a user of the context''s tenant before this transaction ends; false when there is none.';

revoke all on function identity.scim_lock_user(uuid) from public;
grant execute on function identity.scim_lock_user(uuid) to enterprise_ai_gateway;


create or replace function identity.scim_save_user(user_id uuid, attributes jsonb)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_id uuid := scim_save_user.user_id;
    v_before identity.users;
    v_after identity.users;
    v_is_active boolean := (attributes ->> 'is_active')::boolean;
    v_profile jsonb := attributes -> 'profile';
begin
    if v_id is null then
        v_id := identity.create_user(
            attributes ->> 'email', attributes ->> 'display_name', attributes ->> 'external_id',
            attributes ->> 'user_name');
    else
        perform identity._refuse_above(array[v_id]);
    end if;

    select u.* into v_before
    from identity.users as u
    where u.tenant_id = v_tenant_id and u.id = v_id and u.deleted_at is null
    for no key update;
    if not found then
        raise exception 'There is no user %', v_id
            using errcode = 'ZI006', hint = 'The tenant of the context has none of this id.';
    end if;

    v_after := jsonb_populate_record(v_before, attributes - array['is_active', 'profile']);
    if v_after is distinct from v_before then
        if lower(v_after.email) <> lower(v_before.email) then
            -- Nobody has shown that they read the new address, and what was sent to the old one no longer counts.
            v_after.email_verified_at := null;
            update identity.one_time_tokens as t
            set used_at = clock_timestamp()
            where t.tenant_id = v_tenant_id and t.user_id = v_id and t.used_at is null and t.purpose <> 'invite';
        end if;
        update identity.users as u
        set email = v_after.email,
            email_verified_at = v_after.email_verified_at,
            display_name = v_after.display_name,
            external_id = v_after.external_id,
            user_name = v_after.user_name
        where u.tenant_id = v_tenant_id and u.id = v_id;
    end if;

    if not coalesce((select to_jsonb(p) @> v_profile
                     from identity.user_profiles as p
                     where p.tenant_id = v_tenant_id and p.user_id = v_id),
                    jsonb_strip_nulls(v_profile) = '{}') then
        perform identity.save_profile(v_id, v_profile);
    end if;

    if v_is_active and v_before.status = 'deactivated' then
        perform identity.reactivate_user(v_id);
    elsif not v_is_active and v_before.status <> 'deactivated' then
        perform identity.deactivate_user(v_id);
    end if;
    return v_id;
end
$$;

comment on function identity.scim_save_user(uuid, jsonb) is
    'Make a user of the context''s tenant, or one without an id anew, what a directory says: {"user_name": …, "email": …,
"display_name": …, "external_id": …, "is_active": …, "profile": {column: value, …}}; returns the id. Raises 23505 when
the name, the address or the external id is somebody else''s, ZI006, ZI013, and ZI040 when the user may do more than the
user of the context.';

revoke all on function identity.scim_save_user(uuid, jsonb) from public;
grant execute on function identity.scim_save_user(uuid, jsonb) to enterprise_ai_gateway;


create or replace function identity.scim_delete_user(user_id uuid)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity._refuse_above(array[scim_delete_user.user_id]);
    perform identity.remove_user(scim_delete_user.user_id);
end
$$;

comment on function identity.scim_delete_user(uuid) is
    'identity.remove_user() for a directory. Raises also ZI040 when the user may do more than the user of the context.';

revoke all on function identity.scim_delete_user(uuid) from public;
grant execute on function identity.scim_delete_user(uuid) to enterprise_ai_gateway;
