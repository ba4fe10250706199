-- Step-up: a second factor given again in a session that is going on raises its authentication level for some
-- minutes. It is decided together with the factor itself, so nobody has to vouch for it.

create or replace function identity._level_of(session identity.user_sessions)
    returns smallint
    language sql
    stable
    parallel safe
as $$
    select case when session.stepped_up_until > clock_timestamp() then session.stepped_up_level
                else session.authentication_level end
$$;

comment on function identity._level_of(identity.user_sessions) is
    'The authentication level of a session as it is at this moment.';

revoke all on function identity._level_of(identity.user_sessions) from public;


create or replace function identity._step_up(session_id uuid, user_id uuid, level smallint)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := platform.current_tenant_id();
    v_session identity.user_sessions;
begin
    select s.* into v_session
    from identity.user_sessions as s
    where s.tenant_id = v_tenant_id
      and s.id = _step_up.session_id
      and s.user_id = _step_up.user_id
      and s.revoked_at is null
      and s.expires_at > clock_timestamp()
    for no key update;
    if not found then
        raise exception 'The session is over or never was'
            using errcode = 'ZI004', hint = 'Sign in again; the code has not been used up.';
    end if;
    -- A weaker factor neither lowers the level nor draws a higher one out.
    if level >= identity._level_of(v_session) then
        update identity.user_sessions as s
        set stepped_up_level = _step_up.level,
            stepped_up_until = least(
                clock_timestamp() + make_interval(mins => identity._limit('security.step_up_minutes')), s.expires_at)
        where s.tenant_id = v_tenant_id and s.id = v_session.id;
    end if;
end
$$;

comment on function identity._step_up(uuid, uuid, smallint) is
    'Raise the level of a user''s session for as long as security.step_up_minutes says. Raises ZI004.';

revoke all on function identity._step_up(uuid, uuid, smallint) from public;


create or replace function identity.my_authentication_level()
    returns table (authentication_level smallint, stepped_up_until timestamptz)
    language plpgsql
    stable
    parallel restricted
    security definer        -- reads sessions, which no group role can, and shows the user's own
    set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select identity._level_of(s),
               case when s.stepped_up_until > clock_timestamp() then s.stepped_up_until end
        from identity.user_sessions as s
        where s.tenant_id = platform.current_tenant_id()
          and s.id = (platform.context() ->> 'session_id')::uuid
          and s.user_id = platform.current_user_id();
end
$$;

comment on function identity.my_authentication_level() is
    'The level of the context''s session as it is now, and until when, where a second factor has raised it. Contexts
opened from now on carry it.';

revoke all on function identity.my_authentication_level() from public;
grant execute on function identity.my_authentication_level() to enterprise_ai_app, enterprise_ai_gateway;


create or replace function identity._refuse_without_step_up(user_id uuid)
    returns void
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
begin
    -- A session that somebody else got hold of must not make itself a second factor.
    if platform.current_user_id() is not null
       and coalesce((platform.context() ->> 'authentication_level')::integer, 0) < 2
       and exists (
           select from identity.mfa_factors as f
           where f.tenant_id = platform.current_tenant_id()
             and f.user_id = _refuse_without_step_up.user_id
             and f.confirmed_at is not null) then
        raise exception 'Second factors are changed by who has just given one'
            using errcode = 'ZI022', hint = 'Step the session up first, and open the context again.';
    end if;
end
$$;

comment on function identity._refuse_without_step_up(uuid) is
    'Raise ZI022 unless the context''s user has given a second factor, where the user concerned has any.';

revoke all on function identity._refuse_without_step_up(uuid) from public;
