create or replace function platform.report_health(
    service_name text,
    status text,
    details jsonb default '{}')
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer        -- services report on themselves without any right to the registry
    set search_path = pg_catalog, pg_temp
as $$
begin
    update platform.services as s
    set health_status = report_health.status,
        health_details = report_health.details,
        health_reported_at = clock_timestamp()
    where s.name = report_health.service_name;
    if not found then
        raise exception 'There is no service %', report_health.service_name
            using errcode = 'ZP005', hint = 'Services are registered in platform.services.';
    end if;
end
$$;

comment on function platform.report_health(text, text, jsonb) is
    'Record how a service is now: healthy, degraded or unhealthy, with details. Raises ZP005 for an unknown one.';

revoke all on function platform.report_health(text, text, jsonb) from public;
grant execute on function platform.report_health(text, text, jsonb)
    to enterprise_ai_gateway, enterprise_ai_operator;


create or replace function platform.service_health()
    returns table (name text, status text, details jsonb, reported_at timestamptz)
    language sql
    stable
    parallel safe
    security definer        -- whoever watches the services needs no right to the registry
    set search_path = pg_catalog, pg_temp
as $$
    select s.name,
           case
               when s.health_reported_at is null
                    or s.health_reported_at < statement_timestamp() - s.heartbeat_interval * 3 then 'unknown'
               else s.health_status
           end,
           s.health_details,
           s.health_reported_at
    from platform.services as s
    order by s.name;
$$;

comment on function platform.service_health() is
    'How each registered service is: what it last said, or unknown when it missed three heartbeats.';

revoke all on function platform.service_health() from public;
grant execute on function platform.service_health()
    to enterprise_ai_app, enterprise_ai_gateway, enterprise_ai_operator;
