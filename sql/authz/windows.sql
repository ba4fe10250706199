-- A window is a time by the clock on the wall of its zone. An instant is in it when the clock of that instant
-- is: an hour that the clock skips never comes, one that it repeats counts twice.

create or replace function authz._fault_of_windows(windows jsonb)
    returns text
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_window jsonb;
    v_fault text;
begin
    if jsonb_typeof(windows) is distinct from 'array' or windows = '[]' then
        return 'windows are a list of at least one window';
    end if;
    for v_window in select w.value from jsonb_array_elements(windows) as w loop
        v_fault := case
            when jsonb_typeof(v_window) <> 'object' then 'a window is an object'
            when v_window - array['days', 'from', 'until', 'time_zone', 'except'] <> '{}' then
                'a window has only days, from, until, time_zone and except'
            when coalesce(v_window ->> 'from', '') !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' then
                '"from" is a time from "00:00" to "23:59"'
            when coalesce(v_window ->> 'until', '') !~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' then
                '"until" is a time from "00:00" to "24:00"'
            when v_window ->> 'from' = v_window ->> 'until' then '"from" and "until" are different times'
            when jsonb_typeof(coalesce(v_window -> 'days', '[1]')) <> 'array'
                 or not coalesce(v_window -> 'days', '[1]') <@ '[1, 2, 3, 4, 5, 6, 7]'
                 or v_window -> 'days' = '[]' then '"days" is a list of 1 (Monday) to 7'
            when jsonb_typeof(coalesce(v_window -> 'except', '[]')) <> 'array'
                 or exists (
                     select from jsonb_array_elements_text(coalesce(v_window -> 'except', '[]')) as d (day)
                     where d.day is null or d.day !~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$')
                 then '"except" is a list of dates like "2026-12-25"'
            when not exists (select from pg_timezone_names as z where z.name = v_window ->> 'time_zone') then
                '"time_zone" is the name of a time zone, like "Europe/Paris"'
        end;
        if v_fault is not null then
            return v_fault;
        end if;
    end loop;
    return null;
end
$$;

comment on function authz._fault_of_windows(jsonb) is 'What is wrong with recurring windows, as a phrase; null when nothing is.';

revoke all on function authz._fault_of_windows(jsonb) from public;


create or replace function authz._windows_at(windows jsonb, at timestamptz, out is_within boolean, out next_edge timestamptz)
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_window jsonb;
    v_zone text;
    v_clock timestamp;
    v_from interval;
    v_length interval;
    v_day date;
    v_edge timestamp;
    v_change timestamptz;
begin
    is_within := false;
    for v_window in select w.value from jsonb_array_elements(windows) as w loop
        v_zone := v_window ->> 'time_zone';
        v_clock := _windows_at.at at time zone v_zone;
        v_from := (v_window ->> 'from')::interval;
        v_length := (v_window ->> 'until')::interval - v_from;
        if v_zone is null or coalesce(v_length, interval '0') = interval '0' then
            raise exception 'The window % is not whole', v_window using errcode = 'ZA006';
        elsif v_length < interval '0' then      -- overnight: it belongs to the day on which it starts
            v_length := v_length + interval '24 hours';
        end if;
        for v_day in select generate_series(v_clock::date - 1, v_clock::date + 1, '1 day')::date loop
            if v_clock >= v_day + v_from and v_clock < v_day + v_from + v_length
               and coalesce(v_window -> 'days' @> to_jsonb(extract(isodow from v_day)::integer), true)
               and not coalesce(v_window -> 'except' ? v_day::text, false) then
                is_within := true;
            end if;
            foreach v_edge in array array[v_day + v_from, v_day + v_from + v_length] loop
                continue when v_edge <= v_clock;
                v_change := _windows_at.at + (v_edge - v_clock);
                -- The clock is changed before that moment; that happens at full quarters of an hour.
                if v_change at time zone v_zone <> v_edge then
                    v_change := date_trunc('hour', _windows_at.at)
                        + (floor(extract(minute from _windows_at.at) / 15) + 1) * interval '15 minutes';
                end if;
                next_edge := least(next_edge, v_change);
            end loop;
        end loop;
    end loop;
end
$$;

comment on function authz._windows_at(jsonb, timestamptz) is
    'Whether an instant lies in one of the windows, and until when at least that stays so.';

revoke all on function authz._windows_at(jsonb, timestamptz) from public;
grant execute on function authz._windows_at(jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._next_edge(windows jsonb, at timestamptz)
    returns timestamptz
    language plpgsql
    stable
    parallel safe
as $$
begin
    if windows is null then
        return null;
    end if;
    return (select w.next_edge from authz._windows_at(_next_edge.windows, _next_edge.at) as w);
exception
    when others then
        return null;            -- malformed, at any time
end
$$;

comment on function authz._next_edge(jsonb, timestamptz) is 'Until when at least it stays as it is whether now lies in the windows.';

revoke all on function authz._next_edge(jsonb, timestamptz) from public;
grant execute on function authz._next_edge(jsonb, timestamptz) to enterprise_ai_decider;
