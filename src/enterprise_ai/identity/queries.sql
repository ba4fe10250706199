-- The statements of the identity domain: calls of its functions, and reads of its tables.

-- name: open_for
select platform.open_context(%(tenant_id)s, %(user_id)s, %(actor_id)s, request_id => %(request_id)s,
    ip_address => %(ip_address)s, user_agent => %(user_agent)s, authentication_level => %(authentication_level)s)

-- name: open_session
select platform.open_session_context(%(token)s, %(request_id)s, %(ip_address)s, %(user_agent)s)

-- name: open_api_key
select platform.open_api_key_context(%(key)s, %(request_id)s, %(ip_address)s, %(user_agent)s)

-- name: open_scim
select identity.open_scim_context(%(key)s, %(request_id)s, %(ip_address)s, %(user_agent)s)

-- name: context
select platform.context()

-- name: create_tenant
select identity.create_tenant(%(slug)s, %(display_name)s, %(region)s)

-- name: list_tenants
select id, slug, display_name, status, region, created_at
from identity.list_tenants(%(after)s, %(limit)s, %(named)s)

-- name: suspend_tenant
select identity.suspend_tenant(%(tenant_id)s)

-- name: archive_tenant
select identity.archive_tenant(%(tenant_id)s)

-- name: reactivate_tenant
select identity.reactivate_tenant(%(tenant_id)s)

-- name: appoint_first_administrator
select identity.appoint_first_administrator(%(tenant_id)s, %(user_id)s)

-- name: begin_tenant_deletion
select identity.begin_tenant_deletion(%(tenant_id)s, %(reason)s)

-- name: delete_tenant_batch
select identity.delete_tenant_batch(%(tenant_id)s, %(batch_size)s)

-- name: list_tenant_deletions
select tenant_id, slug, display_name, reason, row_counts, started_by, started_at, finished_at
from identity.tenant_deletions
order by started_at desc, id desc

-- name: tenant_of_slug
select tenant_id from identity.tenant_directory where slug = %(slug)s

-- name: begin_login
select attempt_id, password_hash from identity.begin_login(%(email)s, %(ip_address)s, %(user_agent)s)

-- name: finish_login
select outcome, user_id, must_change, has_second_factor, requires_second_factor
from identity.finish_login(%(attempt_id)s, %(password_matches)s, %(upgraded_hash)s)

-- name: start_session
select session_id as id, session_token as token, refresh_token, idle_expires_at, expires_at
from identity.start_session(
    %(user_id)s, %(authentication_level)s::smallint, %(ip_address)s, %(user_agent)s, %(is_refreshable)s,
    %(by_password)s)

-- name: refresh_session
select outcome, session_id, user_id, session_token, refresh_token, expires_at
from identity.refresh_session(%(token)s, %(ip_address)s, %(user_agent)s)

-- name: list_my_sessions
select id, is_current, authentication_level, ip_address, user_agent, started_at, last_seen_at, idle_expires_at, expires_at
from identity.list_my_sessions()

-- name: list_sessions_of
select id, false as is_current, authentication_level, ip_address, user_agent, started_at, last_seen_at, idle_expires_at,
    expires_at
from identity.list_sessions_of(%(user_id)s)

-- name: revoke_session
select identity.revoke_session(%(session_id)s)

-- name: revoke_sessions_of
select identity.revoke_sessions_of(%(user_id)s, %(reason)s)

-- name: create_api_key
select id, key from identity.create_api_key(%(name)s, %(scopes)s, %(expires_at)s, %(user_id)s)

-- name: revoke_api_key
select identity.revoke_api_key(%(key_id)s)

-- name: list_my_api_keys
select id, platform.current_user_id() as user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at from identity.list_my_api_keys()

-- name: list_api_keys
select id, user_id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at
from identity.list_api_keys(%(user_id)s)

-- name: password_limits
select password_min_length, password_max_length from identity.sign_in_limits()

-- name: set_password
select identity.set_password(%(user_id)s, %(password_hash)s, %(must_change)s)

-- name: add_totp_factor
select identity.add_totp_factor(%(user_id)s, %(name)s, %(totp_secret)s)

-- name: totp_factors_of
select id, name, totp_secret, is_confirmed from identity.totp_factors_of(%(user_id)s)

-- name: totp_tolerance
select totp_tolerance_steps from identity.sign_in_limits()

-- name: finish_totp
select identity.finish_totp(
    %(user_id)s, %(factor_id)s, %(step)s, %(ip_address)s, %(user_agent)s, %(session_id)s)

-- name: totp_secrets
select id, user_id, totp_secret from identity.totp_secrets()

-- name: reseal_totp_secret
select identity.reseal_totp_secret(%(factor_id)s, %(old_secret)s, %(new_secret)s)

-- name: begin_webauthn
select challenge_id, challenge from identity.begin_webauthn(%(purpose)s, %(user_id)s)

-- name: take_webauthn_challenge
select challenge, user_id from identity.take_webauthn_challenge(%(challenge_id)s, %(purpose)s)

-- name: webauthn_credentials
select factor_id, owner_id, id, public_key, sign_count, transports
from identity.webauthn_credentials(%(user_id)s, %(credential_id)s)

-- name: add_webauthn_factor
select identity.add_webauthn_factor(%(user_id)s, %(name)s, %(credential_id)s, %(public_key)s, %(sign_count)s,
    %(transports)s, %(is_backup_eligible)s)

-- name: finish_webauthn
select identity.finish_webauthn(%(user_id)s, %(factor_id)s, %(is_verified)s, %(sign_count)s, %(is_user_verified)s,
    %(is_only_factor)s, %(ip_address)s, %(user_agent)s, %(session_id)s)

-- name: list_second_factors
select id, kind, name, created_at, confirmed_at, last_used_at from identity.list_second_factors(%(user_id)s)

-- name: remove_second_factor
select identity.remove_second_factor(%(user_id)s, %(factor_id)s)

-- name: reset_second_factors
select identity.reset_second_factors(%(user_id)s)

-- name: my_authentication_level
select authentication_level, stepped_up_until from identity.my_authentication_level()

-- name: new_recovery_codes
select * from identity.new_recovery_codes(%(user_id)s)

-- name: use_recovery_code
select identity.use_recovery_code(%(user_id)s, %(code)s, %(ip_address)s, %(user_agent)s, %(session_id)s)

-- name: find_user
select id, email, email_verified_at, display_name, status, external_id, locked_until, last_login_at, created_at
from identity.users
where tenant_id = platform.current_tenant_id() and id = %(user_id)s

-- name: find_user_by_email
select id, email, email_verified_at, display_name, status, external_id, locked_until, last_login_at, created_at
from identity.users
where tenant_id = platform.current_tenant_id() and email_key = lower(%(email)s) and deleted_at is null

-- name: list_users
select id, email, email_verified_at, display_name, status, external_id, locked_until, last_login_at, created_at
from identity.users
where tenant_id = platform.current_tenant_id()
  and deleted_at is null
  and id > coalesce(%(after)s::uuid, '00000000-0000-0000-0000-000000000000')
  and status = coalesce(%(status)s, status)
order by id
limit %(limit)s

-- name: create_user
select identity.create_user(%(email)s, %(display_name)s, %(external_id)s)

-- name: invite_user
select user_id, token from identity.invite_user(%(email)s, %(display_name)s, %(external_id)s)

-- name: issue_one_time_token
select identity.issue_one_time_token(%(user_id)s, %(purpose)s, %(email)s)

-- name: redeem_one_time_token
select identity.redeem_one_time_token(%(token)s, %(purpose)s, %(password_hash)s)

-- name: activate_user
select identity.activate_user(%(user_id)s)

-- name: suspend_user
select identity.suspend_user(%(user_id)s)

-- name: deactivate_user
select identity.deactivate_user(%(user_id)s)

-- name: reactivate_user
select identity.reactivate_user(%(user_id)s)

-- name: unlock_user
select identity.unlock_user(%(user_id)s)

-- name: remove_user
select identity.remove_user(%(user_id)s)

-- name: erase_user
select identity.erase_user(%(user_id)s)

-- name: save_profile
select identity.save_profile(%(user_id)s, %(changes)s)

-- name: create_group
select identity.create_group(%(display_name)s, %(parent_id)s, %(external_id)s)

-- name: move_group
select identity.move_group(%(group_id)s, %(parent_id)s)

-- name: delete_group
select identity.delete_group(%(group_id)s)

-- name: add_group_member
select identity.add_group_member(%(group_id)s, %(user_id)s)

-- name: remove_group_member
select identity.remove_group_member(%(group_id)s, %(user_id)s)

-- name: groups_of
select identity.groups_of(%(user_id)s)
