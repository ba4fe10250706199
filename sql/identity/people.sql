create or replace function identity.create_user(
    email text,
    display_name text,
    external_id text default null,
    user_name text default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := platform.new_id();
begin
    insert into identity.users (tenant_id, id, email, display_name, external_id, user_name, status)
    values (platform.current_tenant_id(), v_id, create_user.email, create_user.display_name, create_user.external_id,
            create_user.user_name, 'active');
    return v_id;
end
$$;

comment on function identity.create_user(text, text, text, text) is
    'Make a user in the context''s tenant who is active at once: a service account, or somebody whom the tenant''s
directory vouches for. Raises 23505 naming users_email_key, users_user_name_key or users_external_id_key when somebody
living has the address, the name or the external id.';

revoke all on function identity.create_user(text, text, text, text) from public;
grant execute on function identity.create_user(text, text, text, text) to enterprise_ai_gateway;


create or replace function identity.invite_user(email text, display_name text, external_id text default null)
    returns table (user_id uuid, token text)
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
begin
    user_id := platform.new_id();
    insert into identity.users (tenant_id, id, email, display_name, external_id)
    values (platform.current_tenant_id(), invite_user.user_id, invite_user.email, invite_user.display_name,
            invite_user.external_id);
    token := identity.issue_one_time_token(invite_user.user_id, 'invite');
    return next;
end
$$;

comment on function identity.invite_user(text, text, text) is
    'Make a user in the context''s tenant who becomes active by the token, which is to be sent to the address. Raises
23505 naming users_email_key when somebody living has the address.';

revoke all on function identity.invite_user(text, text, text) from public;
grant execute on function identity.invite_user(text, text, text) to enterprise_ai_gateway;


create or replace function identity.save_profile(user_id uuid, changes jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_profile identity.user_profiles;
    v_unknown text := (
        select string_agg(k.key, ', ')
        from jsonb_object_keys(changes) as k (key)
        where k.key not in ('given_name', 'family_name', 'job_title', 'department', 'manager_id', 'locale',
                            'time_zone', 'preferences'));
begin
    if v_unknown is not null then
        raise exception 'A profile has no %', v_unknown
            using errcode = 'ZI014', hint = 'The columns of identity.user_profiles but for its keys can be changed.';
    end if;
    insert into identity.user_profiles (tenant_id, user_id)
    values (platform.current_tenant_id(), save_profile.user_id)
    on conflict do nothing;
    select p.* into v_profile
    from identity.user_profiles as p
    where p.tenant_id = platform.current_tenant_id() and p.user_id = save_profile.user_id
    for no key update;
    v_profile := jsonb_populate_record(v_profile, changes);
    update identity.user_profiles as p
    set given_name = v_profile.given_name,
        family_name = v_profile.family_name,
        job_title = v_profile.job_title,
        department = v_profile.department,
        manager_id = v_profile.manager_id,
        locale = v_profile.locale,
        time_zone = v_profile.time_zone,
        preferences = v_profile.preferences
    where p.tenant_id = platform.current_tenant_id() and p.user_id = save_profile.user_id;
end
$$;

comment on function identity.save_profile(uuid, jsonb) is
    'Change what is named, as {"column": value, …}, in the profile of a user of the context''s tenant. Raises ZI014 for
what a profile does not have and ZI013 when somebody would be their own manager''s manager.';

revoke all on function identity.save_profile(uuid, jsonb) from public;
grant execute on function identity.save_profile(uuid, jsonb) to enterprise_ai_gateway;


create or replace function identity.save_my_preferences(preferences jsonb)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- writes people, which no group role can, and here the user's own choices
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.user_profiles (tenant_id, user_id, preferences)
    values (platform.current_tenant_id(), platform.current_user_id(), save_my_preferences.preferences)
    on conflict (tenant_id, user_id) do update set preferences = excluded.preferences;
end
$$;

comment on function identity.save_my_preferences(jsonb) is 'Replace the current user''s own preferences.';

revoke all on function identity.save_my_preferences(jsonb) from public;
grant execute on function identity.save_my_preferences(jsonb) to enterprise_ai_app, enterprise_ai_gateway;
