-- Dynamic separation of duties: somebody may hold all of what a policy counts, but not use too much of it on the
-- same resource, or in the same session. What they have used is on record (authz.duty_acts): decisions read it,
-- and authz.authorize writes it, together with the decision that it belongs to.

create or replace function authz._duties(
    tenant_id uuid,
    person_id uuid,
    permission_id integer,
    resource_id uuid,
    env jsonb,
    out refusing uuid[],
    out unsure uuid[],
    out reporting uuid[],
    out recording uuid[])
    language plpgsql
    stable
    parallel restricted
as $$
begin
    select coalesce(array_agg(j.id order by j.id) filter (where j.is_broken and j.enforcement = 'refuse'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where j.is_unsure and j.enforcement = 'refuse'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where j.is_broken and j.enforcement = 'report'), '{}'),
           coalesce(array_agg(j.id order by j.id) filter (where not j.is_unsure), '{}')
    into refusing, unsure, reporting, recording
    from (
        select p.id, p.enforcement,
               p.counted_per = 'session' and _duties.env ->> 'session_id' is null as is_unsure,
               p.maximum_held <= (
                   select count(distinct a.permission_id)
                   from authz.duty_acts as a
                   where a.tenant_id = _duties.tenant_id and a.policy_id = p.id and a.person_id = _duties.person_id
                     and a.permission_id <> _duties.permission_id
                     and case p.counted_per
                         when 'session' then a.session_id::text = _duties.env ->> 'session_id'
                         -- What was done to the whole was done to its parts.
                         else a.resource_id = _duties.resource_id or a.resource_id = any (r.ancestors) end
               ) as is_broken
        from authz.access_policy_permissions as c
        join authz.access_policies as p
            on p.tenant_id = _duties.tenant_id and p.id = c.policy_id and p.kind = 'dynamic' and p.is_enabled
        left join authz.resources as r on r.tenant_id = _duties.tenant_id and r.id = _duties.resource_id
        where c.tenant_id = _duties.tenant_id and c.permission_id = _duties.permission_id
          and (p.counted_per = 'session' or _duties.resource_id is not null)
    ) as j;
end
$$;

comment on function authz._duties(uuid, uuid, integer, uuid, jsonb) is
    'The dynamic separations of duties that a use of a permission comes under: those that what the person has done
already breaks and that refuse it, those that cannot be judged without a session, those broken that only report,
and those under which the use is to be recorded.';

revoke all on function authz._duties(uuid, uuid, integer, uuid, jsonb) from public;
grant execute on function authz._duties(uuid, uuid, integer, uuid, jsonb) to enterprise_ai_decider;


create or replace function authz._separated(
    decision authz.decision,
    tenant_id uuid,
    person_id uuid,
    permission text,
    resource_id uuid,
    env jsonb,
    at timestamptz)
    returns authz.decision
    language plpgsql
    stable
    parallel restricted
as $$
declare
    v_duties record;
begin
    select d.* into v_duties
    from authz.permissions as p
    cross join lateral authz._duties(_separated.tenant_id, _separated.person_id, p.id, _separated.resource_id,
                                     _separated.env) as d
    where p.name = _separated.permission;

    if v_duties.refusing || v_duties.unsure <> '{}' then
        decision.effect := 'deny';
        decision.reason := 'deny_sod';
        decision.rule_ids := v_duties.refusing || v_duties.unsure;
        decision.obligations := '{}';
        if v_duties.refusing = '{}' then
            decision.missing := array(
                select distinct m from unnest(decision.missing || array['env.session_id']) as m order by m);
        end if;
    elsif v_duties.recording <> '{}' then
        decision.obligations := decision.obligations || jsonb_build_object('duties', to_jsonb(v_duties.recording));
        -- What is done next changes the answer without any change of rights: it is not to be kept.
        decision.expires_at := least(decision.expires_at, _separated.at);
        if v_duties.reporting <> '{}' then
            decision.obligations := decision.obligations
                || jsonb_build_object('separation_of_duties', to_jsonb(v_duties.reporting));
        end if;
    end if;
    return decision;
end
$$;

comment on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) is
    'What is left of an allow when a person has done what is kept apart from it.';

revoke all on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz) from public;
grant execute on function authz._separated(authz.decision, uuid, uuid, text, uuid, jsonb, timestamptz)
    to enterprise_ai_decider;
