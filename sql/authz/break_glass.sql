-- In an emergency somebody takes a role that they have not been given. It is said aloud (NOTIFY), ends by itself,
-- and waits for a review by somebody else from the moment it is over.

create or replace function authz.break_glass(
    role_name text,
    reason text,
    minutes integer default null,
    resource_id uuid default null)
    returns uuid
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write rights
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('system.break_glass');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_most integer := platform.setting('security.break_glass_minutes') #>> '{}';
    v_role_id uuid;
    v_id uuid;
begin
    perform authz._refuse_actor(v_context);
    select r.id into v_role_id
    from authz.roles as r
    where r.tenant_id = v_tenant_id and r.name = break_glass.role_name;
    if v_role_id is null then
        raise exception 'There is no role %', break_glass.role_name
            using errcode = 'ZA011', hint = 'Roles are named as in authz.roles.';
    elsif break_glass.resource_id is not null and not exists (
              select
              from authz.resources as r
              where r.tenant_id = v_tenant_id and r.id = break_glass.resource_id) then
        raise exception 'There is no resource %', break_glass.resource_id
            using errcode = 'ZA011', hint = 'Leave it out to have the role in the whole tenant.';
    elsif break_glass.minutes not between 1 and v_most then
        raise exception 'Emergency access lasts from 1 to % minutes, not %', v_most, break_glass.minutes
            using errcode = 'ZA016', hint = 'The setting security.break_glass_minutes says how long.';
    end if;

    insert into authz.break_glass_events (tenant_id, user_id, role_id, resource_id, reason, expires_at)
    values (v_tenant_id, (v_context ->> 'user_id')::uuid, v_role_id, break_glass.resource_id, break_glass.reason,
            now() + make_interval(mins => coalesce(break_glass.minutes, v_most)))
    returning id into v_id;
    perform pg_notify('enterprise_ai_break_glass', v_tenant_id || ' ' || v_id);
    return v_id;
end
$$;

comment on function authz.break_glass(text, text, integer, uuid) is
    'Take a role in an emergency, for so many minutes (those of the setting security.break_glass_minutes, which are the
most), on a resource and what lies below it or in the whole tenant; returns the event''s id and notifies
enterprise_ai_break_glass of the tenant and the event. It takes system.break_glass (ZA010) and a reason of at least ten
characters (23514). Raises ZA011 for an unknown role or resource, ZA015 when somebody acts for the user, ZA016 when it
would last too long.';

revoke all on function authz.break_glass(text, text, integer, uuid) from public;
grant execute on function authz.break_glass(text, text, integer, uuid) to enterprise_ai_app;


create or replace function authz.end_break_glass(event_id uuid)
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
        select e.user_id
        from authz.break_glass_events as e
        where e.tenant_id = v_tenant_id and e.id = end_break_glass.event_id));
    update authz.break_glass_events as e
    set ended_at = greatest(e.started_at, clock_timestamp())
    where e.tenant_id = v_tenant_id and e.id = end_break_glass.event_id
      and e.ended_at is null and e.expires_at > clock_timestamp();
    return found;
end
$$;

comment on function authz.end_break_glass(uuid) is
    'End emergency access before its time; false when there is none of that id that goes on. For whoever took it, and for
who has permission.grant (ZA010).';

revoke all on function authz.end_break_glass(uuid) from public;
grant execute on function authz.end_break_glass(uuid) to enterprise_ai_app;


create or replace function authz.list_break_glass_reviews()
    returns table (
        event_id uuid, user_id uuid, role_name text, resource_id uuid, reason text, started_at timestamptz,
        over_at timestamptz, uses bigint)
    language plpgsql
    stable
    parallel restricted
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select e.id, e.user_id, r.name, e.resource_id, e.reason, e.started_at, coalesce(e.ended_at, e.expires_at),
           (select count(*)
            from authz.break_glass_uses as u
            where u.tenant_id = e.tenant_id and u.event_id = e.id)
    from authz.break_glass_events as e
    join authz.roles as r on r.tenant_id = e.tenant_id and r.id = e.role_id
    where e.tenant_id = platform.current_tenant_id() and e.reviewed_at is null
      and coalesce(e.ended_at, e.expires_at) <= statement_timestamp()
    order by e.started_at, e.id;
end
$$;

comment on function authz.list_break_glass_reviews() is
    'The emergencies that are over and that nobody has reviewed, the oldest first, with how often each was used;
what was done is in authz.break_glass_uses.';

revoke all on function authz.list_break_glass_reviews() from public;
grant execute on function authz.list_break_glass_reviews() to enterprise_ai_app;


create or replace function authz.review_break_glass(event_id uuid, outcome text, comment text default null)
    returns boolean
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- applications cannot write what is on record
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_context jsonb := authz._giver('permission.review');
    v_tenant_id uuid := v_context ->> 'tenant_id';
    v_event authz.break_glass_events;
begin
    select e.* into v_event
    from authz.break_glass_events as e
    where e.tenant_id = v_tenant_id and e.id = review_break_glass.event_id and e.reviewed_at is null;
    if v_event.id is null then
        return false;
    elsif v_event.user_id::text in (v_context ->> 'user_id', v_context ->> 'actor_id') then
        raise exception 'Nobody reviews their own emergency'
            using errcode = 'ZA010', hint = 'It takes permission.review, and another person.';
    elsif coalesce(v_event.ended_at, v_event.expires_at) > clock_timestamp() then
        raise exception 'Emergency % is not over', v_event.id
            using errcode = 'ZA019', hint = 'authz.end_break_glass() ends it.';
    end if;
    update authz.break_glass_events as e
    set review_outcome = review_break_glass.outcome, review_comment = review_break_glass.comment,
        reviewed_by = (v_context ->> 'user_id')::uuid, reviewed_at = clock_timestamp()
    where e.tenant_id = v_tenant_id and e.id = v_event.id;
    return found;
end
$$;

comment on function authz.review_break_glass(uuid, text, text) is
    'Say of an emergency that is over whether it was justified or unjustified (23514 for anything else), for good; false when
there is none of that id that waits for it. It takes permission.review, and somebody else than who took it (ZA010).
Raises ZA019 while it goes on.';

revoke all on function authz.review_break_glass(uuid, text, text) from public;
grant execute on function authz.review_break_glass(uuid, text, text) to enterprise_ai_app;
