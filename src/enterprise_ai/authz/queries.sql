-- The statements of the authorization domain: calls of its functions, and reads of its tables.

-- name: check
select authz.check(%(permission)s, %(resource_id)s, %(user_id)s, %(request)s)

-- name: check_many
select authz.check_many(%(permissions)s, %(resource_ids)s::uuid[], %(user_ids)s::uuid[], %(request)s)

-- name: evaluate
select d.effect, d.reason, d.rule_ids, d.obligations, d.missing, d.expires_at
from authz.evaluate(%(permission)s, %(resource_id)s, %(user_id)s, %(request)s) as d

-- name: evaluate_with_time
select d.effect, d.reason, d.rule_ids, d.obligations, d.missing, d.expires_at,
    extract(epoch from d.expires_at - statement_timestamp())::double precision as remaining
from authz.evaluate(%(permission)s, %(resource_id)s, %(user_id)s, %(request)s) as d

-- name: has_changed_rights
select exists (
    select
    from authz.epochs as e
    where e.tenant_id = %(tenant_id)s and e.changed_in = txid_current_if_assigned()),
    platform.context()

-- name: authorize
select d.effect, d.reason, d.rule_ids, d.obligations, d.missing, d.expires_at
from authz.authorize(%(permission)s, %(resource_id)s, %(request)s) as d

-- name: check_and_hold
select authz.check_and_hold(%(permission)s, %(resource_id)s, %(request)s)

-- name: explain
select authz.explain(%(permission)s, %(resource_id)s, %(user_id)s, %(request)s)

-- name: explain_text
select authz.explain_text(%(permission)s, %(resource_id)s, %(user_id)s, %(request)s)

-- name: list_resources
select authz.list_resources(
    %(permission)s, %(after)s, %(page_size)s, %(user_id)s, %(request)s, %(resource_type)s)

-- name: list_subjects
select authz.list_subjects(%(permission)s, %(resource_id)s, %(after)s, %(page_size)s, %(request)s)

-- name: list_actions
select authz.list_actions(%(resource_id)s, %(user_id)s, %(request)s)

-- name: assign_role
select authz.assign_role(
    %(user_id)s, %(role)s, %(resource_id)s, %(valid_from)s, %(valid_until)s, %(condition)s::jsonpath,
    %(networks)s::cidr[], %(windows)s)

-- name: revoke_role
select authz.revoke_role(%(id)s)

-- name: grant_permission
select authz.grant_permission(
    %(user_id)s, %(permission)s, %(resource_id)s, %(effect)s, %(valid_from)s, %(valid_until)s,
    %(condition)s::jsonpath, %(networks)s::cidr[], %(windows)s)

-- name: revoke_permission
select authz.revoke_permission(%(id)s)

-- name: approve
select authz.approve(%(kind)s, %(id)s)

-- name: delegate
select authz.delegate(
    %(delegate_id)s, %(what)s, %(valid_until)s, %(resource_id)s, %(may_redelegate)s, %(parent_id)s, %(reason)s,
    %(valid_from)s, %(condition)s::jsonpath, %(networks)s::cidr[], %(windows)s)

-- name: revoke_delegation
select authz.revoke_delegation(%(id)s)

-- name: grant_proxy
select authz.grant_proxy(
    %(actor_id)s, %(permission)s, %(all_permissions)s, %(user_id)s, %(resource_id)s, %(valid_until)s, %(reason)s,
    %(valid_from)s, %(condition)s::jsonpath, %(networks)s::cidr[], %(windows)s)

-- name: revoke_proxy
select authz.revoke_proxy(%(id)s)

-- name: break_glass
select authz.break_glass(%(role)s, %(reason)s, %(minutes)s, %(resource_id)s)

-- name: end_break_glass
select authz.end_break_glass(%(id)s)

-- name: list_break_glass_reviews
select event_id as id, user_id, role_name as role, resource_id, reason, started_at, over_at, uses
from authz.list_break_glass_reviews()

-- name: review_break_glass
select authz.review_break_glass(%(id)s, %(outcome)s, %(comment)s)

-- name: open_access_review
select authz.open_access_review(
    %(name)s, %(reviewer_id)s, %(due_at)s, %(scope)s, %(reviewers)s, %(auto_revoke)s)

-- name: decide_review_item
select authz.decide_review_item(%(id)s, %(decision)s, %(comment)s)

-- name: cancel_access_review
select authz.cancel_access_review(%(id)s)

-- name: access_review_progress
select total, kept, revoked, undecided, is_overdue from authz.access_review_progress(%(id)s)

-- name: list_access_reviews
select id, name, status, due_at from authz.access_reviews order by id desc

-- name: save_access_policy
select authz.save_access_policy(
    %(name)s, %(kind)s, %(permissions)s, %(roles)s, %(maximum_held)s, %(counted_per)s, %(enforcement)s,
    %(is_enabled)s, %(description)s)

-- name: delete_access_policy
select authz.delete_access_policy(%(name)s)

-- name: save_assignment_rule
select authz.save_assignment_rule(
    %(name)s, %(role)s, %(condition)s::jsonpath, %(resource_id)s, %(is_enabled)s)

-- name: delete_assignment_rule
select authz.delete_assignment_rule(%(name)s)

-- name: simulate
select authz.simulate(%(changes)s, %(checks)s)

-- name: save_policy_test
select authz.save_policy_test(
    %(name)s, %(user_id)s, %(permission)s, %(expected_effect)s, %(resource_id)s, %(env)s, %(expected_reason)s,
    %(decided_at)s)

-- name: delete_policy_test
select authz.delete_policy_test(%(name)s)

-- name: run_policy_tests
select name, is_passed, expected_effect, expected_reason, effect, reason from authz.run_policy_tests()

-- name: lint
select finding, severity, about, id, message from authz.lint()
