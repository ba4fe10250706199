create or replace function authz._lint_governance(tenant_id uuid)
    returns table (finding text, severity text, about text, id uuid, message text)
    language plpgsql
    volatile                -- its parts are
    parallel unsafe
as $$
declare
    v_days integer := platform.setting('security.access_review_days') #>> '{}';
begin
    return query
    select 'separation_broken', 'error', 'access_policy', v.policy_id,
           format('User %s holds %s of what "%s" keeps apart', v.user_id, v.held, p.name)
    from authz._separation_violations(_lint_governance.tenant_id) as v
    join authz.access_policies as p on p.tenant_id = _lint_governance.tenant_id and p.id = v.policy_id
    union all
    -- Who never calls authz.authorize is never kept from anything.
    select 'separation_unrecorded', 'warning', 'access_policy', p.id,
           format('No use of what "%s" keeps apart was ever recorded: is authz.authorize called?', p.name)
    from authz.access_policies as p
    where p.tenant_id = _lint_governance.tenant_id and p.kind = 'dynamic' and p.is_enabled
      and p.created_at < statement_timestamp() - interval '7 days'
      and not exists (
          select
          from authz.duty_acts as a
          where a.tenant_id = _lint_governance.tenant_id and a.policy_id = p.id)
    union all
    select 'rule_withheld', 'warning', 'assignment_rule', m.rule_id,
           format('User %s does not get the role, for a separation of duties or because it is full', m.user_id)
    from authz._missing_assignments(_lint_governance.tenant_id, null, null) as m
    union all
    select 'review_overdue', 'warning', 'access_review', r.id, format('Review "%s" was due at %s', r.name, r.due_at)
    from authz.access_reviews as r
    where r.tenant_id = _lint_governance.tenant_id and r.status = 'open' and r.due_at <= statement_timestamp()
    union all
    select 'review_overdue', 'warning', 'tenant', t.id, format('No review was closed in the last %s days', v_days)
    from identity.tenants as t
    where t.id = _lint_governance.tenant_id
      and t.created_at <= statement_timestamp() - make_interval(days => v_days)
      and not exists (
          select
          from authz.access_reviews as r
          where r.tenant_id = _lint_governance.tenant_id and r.status = 'closed'
            and r.closed_at > statement_timestamp() - make_interval(days => v_days))
    union all
    select 'emergency_unreviewed', 'warning', 'break_glass_event', e.event_id,
           format('User %s held role %s in an emergency that nobody has reviewed', e.user_id, e.role_name)
    from authz.list_break_glass_reviews() as e;
end
$$;

comment on function authz._lint_governance(uuid) is
    'Separations of duties that are broken or idle, rules that could not give their role, reviews left undone.';

revoke all on function authz._lint_governance(uuid) from public;
