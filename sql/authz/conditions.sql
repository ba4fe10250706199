-- Conditions have three values. What a rule asks is FALSE as soon as one part is, else malformed or unknown
-- as soon as one part is: then an allow does not apply, and a deny does.

create or replace function authz._fault_of_condition(condition jsonpath, spaces text default 'subject|resource|env')
    returns text
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := condition::text;
begin
    if v_text not like 'strict %' then      -- is refused by the constraint
        return null;
    end if;
    -- A key is a string after a dot; every other string is a value, in which anything may stand.
    v_text := regexp_replace(v_text, $r$(\."(?:\\.|[^"\\])*")|"(?:\\.|[^"\\])*"$r$, $r$\1""$r$, 'g');
    if v_text ~ 'is unknown' then
        return '"is unknown" would make a missing value grant something';
    elsif v_text ~ ('[$](?![.]"(' || spaces || ')"""[.])') then
        return 'it may ask only about $.' || replace(spaces, '|', '.…, $.') || '.…';
    end if;
    perform jsonb_path_match('{"subject": {}, "resource": {}, "env": {}}', condition, '{}', false);
    return null;
exception
    when others then
        return 'it is not a predicate (' || sqlerrm || ')';
end
$$;

comment on function authz._fault_of_condition(jsonpath, text) is
    'What is wrong with a condition over these objects, as a phrase; null when nothing is.';

revoke all on function authz._fault_of_condition(jsonpath, text) from public;


create or replace function authz._check_criteria()
    returns trigger
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_fault text := authz._fault_of_condition(new.condition);
begin
    if v_fault is not null then
        raise exception 'The condition % cannot be used: %', new.condition, v_fault
            using errcode = 'ZA006', hint = 'Write a predicate like: strict $.env.risk < 3';
    end if;

    if jsonb_typeof(new.windows) = 'array' and new.windows <> '[]' then
        v_fault := authz._fault_of_windows(new.windows);
        if v_fault is not null then
            raise exception 'The windows % cannot be used: %', new.windows, v_fault
                using errcode = 'ZA006',
                      hint = 'A window is {"days": [1, 2, 3, 4, 5], "from": "09:00", "until": "17:00", '
                             '"time_zone": "Europe/Paris", "except": ["2026-12-25"]}; days and except may be absent.';
        end if;
    end if;
    return new;
end
$$;

comment on function authz._check_criteria() is
    'Before-row trigger: a condition is a predicate that can be evaluated, windows are whole. Raises ZA006.';

revoke all on function authz._check_criteria() from public;


create or replace function authz._criteria_state(
    condition jsonpath,
    networks cidr[],
    minimum_authentication_level smallint,
    windows jsonb,
    facts jsonb,
    at timestamptz)
    returns text
    language plpgsql
    stable
    parallel safe
as $$
declare
    v_address inet;
    v_is_unknown boolean := false;
begin
    -- Runs only with the search path of its callers, which is pinned; a set clause would cost more than the rest.
    if windows is not null then
        if not (select w.is_within from authz._windows_at(_criteria_state.windows, _criteria_state.at) as w) then
            return 'outside_window';
        end if;
    end if;
    if networks is not null then
        v_address := facts #>> '{env,ip_address}';
        if v_address is null then
            v_is_unknown := true;
        elsif not v_address <<= any (networks::inet[]) then
            return 'false';
        end if;
    end if;
    if minimum_authentication_level is not null then
        if facts #> '{env,authentication_level}' is null then
            v_is_unknown := true;
        elsif (facts #>> '{env,authentication_level}')::numeric < minimum_authentication_level then
            return 'false';
        end if;
    end if;
    if condition is not null then
        if condition::text not like 'strict %' then
            return 'malformed';     -- lax, a negation over what is missing would be true
        end if;
        case jsonb_path_match(facts, condition, '{}', true)
            when false then return 'false';
            when true then null;
            else v_is_unknown := true;
        end case;
    end if;
    return case when v_is_unknown then 'unknown' else 'true' end;
exception
    when others then
        return 'malformed';
end
$$;

comment on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) is
    'What the criteria of a rule come to: true, false, outside_window, unknown, or malformed, which a rule can
only be when it was written past the checks.';

revoke all on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) from public;
grant execute on function authz._criteria_state(jsonpath, cidr[], smallint, jsonb, jsonb, timestamptz) to enterprise_ai_decider;


create or replace function authz._missing_keys(condition jsonpath, networks cidr[], level smallint, facts jsonb)
    returns text[]
    language plpgsql
    stable
    parallel safe
as $$
begin
    return array(
        select asked.key
        from (
            select array_to_string(array[m.part[1], trim(both '"' from m.part[2])], '.')
            from regexp_matches(condition::text, $r$[$]\."(subject|resource|env)"\.("(?:\\.|[^"\\])*")$r$, 'g') as m (part)
            union
            select 'env.ip_address' where networks is not null
            union
            select 'env.authentication_level' where level is not null
        ) as asked (key)
        where facts #> string_to_array(asked.key, '.', null) is null
        order by 1);
end
$$;

comment on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) is
    'What the criteria of a rule ask for and the facts do not say.';

revoke all on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) from public;
grant execute on function authz._missing_keys(jsonpath, cidr[], smallint, jsonb) to enterprise_ai_decider;


create or replace function authz._facts(
    tenant_id uuid,
    subject_id uuid,
    resource_id uuid,
    env jsonb)
    returns jsonb
    language plpgsql
    stable
    parallel safe
as $$
begin
    return jsonb_strip_nulls(jsonb_build_object(
        'subject', coalesce((
            select jsonb_build_object(
                'id', u.id, 'email', u.email, 'email_verified', u.email_verified_at is not null,
                'job_title', p.job_title, 'department', p.department, 'manager_id', p.manager_id)
            from identity.users as u
            left join identity.user_profiles as p on p.tenant_id = u.tenant_id and p.user_id = u.id
            where u.tenant_id = _facts.tenant_id and u.id = _facts.subject_id), '{}'),
        'resource', coalesce((
            select r.attributes || jsonb_build_object(
                'id', r.id, 'type', r.resource_type, 'owner_id', r.owner_id, 'parent_id', r.parent_id)
            from authz.resources as r
            where r.tenant_id = _facts.tenant_id and r.id = _facts.resource_id), '{}'),
        'env', coalesce(_facts.env, '{}')));
end
$$;

comment on function authz._facts(uuid, uuid, uuid, jsonb) is
    'What conditions are evaluated over. Of the subject and the resource it says only what the database says.';

revoke all on function authz._facts(uuid, uuid, uuid, jsonb) from public;
grant execute on function authz._facts(uuid, uuid, uuid, jsonb) to enterprise_ai_decider;
