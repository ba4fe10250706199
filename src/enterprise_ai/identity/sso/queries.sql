-- The statements of single sign-on.

-- name: find_provider
select tenant_id, id, name, display_name, protocol, is_enabled, issuer, client_id, signing_certificate, scopes,
       authorization_endpoint, token_endpoint, userinfo_endpoint, single_sign_on_url, single_logout_url,
       signing_certificates, claim_names, required_claims, authentication_level, authentication_levels, linking_domain,
       links_verified_email, creates_users
from identity.sso_providers
where tenant_id = platform.current_tenant_id() and name = %(name)s

-- name: find_provider_by_id
select tenant_id, id, name, display_name, protocol, is_enabled, issuer, client_id, signing_certificate, scopes,
       authorization_endpoint, token_endpoint, userinfo_endpoint, single_sign_on_url, single_logout_url,
       signing_certificates, claim_names, required_claims, authentication_level, authentication_levels, linking_domain,
       links_verified_email, creates_users
from identity.sso_providers
where tenant_id = platform.current_tenant_id() and id = %(id)s

-- name: list_providers
select tenant_id, id, name, display_name, protocol, is_enabled, issuer, client_id, signing_certificate, scopes,
       authorization_endpoint, token_endpoint, userinfo_endpoint, single_sign_on_url, single_logout_url,
       signing_certificates, claim_names, required_claims, authentication_level, authentication_levels, linking_domain,
       links_verified_email, creates_users
from identity.sso_providers
where tenant_id = platform.current_tenant_id()
order by name

-- name: save_provider
select identity.save_sso_provider(%(name)s, %(settings)s)

-- name: delete_provider
select identity.delete_sso_provider(%(provider_id)s)

-- name: set_secrets
select identity.set_sso_secrets(%(provider_id)s, %(client_secret)s, %(signing_key)s)

-- name: secrets
select client_secret, signing_key from identity.sso_secrets(%(provider_id)s)

-- name: map_role
select identity.map_sso_role(%(provider_id)s, %(claim_name)s, %(claim_value)s, %(role_name)s)

-- name: unmap_role
select identity.unmap_sso_role(%(mapping_id)s)

-- name: role_mappings_of
select id, claim_name, claim_value, role from identity.sso_role_mappings_of(%(provider_id)s)

-- name: claim_domain
select identity.claim_sso_domain(%(domain)s, %(provider_id)s)

-- name: verify_domain
select identity.verify_sso_domain(%(domain)s, %(found_texts)s, %(is_enforced)s)

-- name: release_domain
select identity.release_sso_domain(%(domain)s)

-- name: domains_of
select domain, verification_token, verified_at, is_enforced from identity.sso_domains_of(%(provider_id)s)

-- name: route
select tenant_id, provider_id, is_enforced from identity.route_sso(%(email)s)

-- name: link_account
select identity.link_sso_account(%(user_id)s, %(provider_id)s, %(subject)s)

-- name: unlink_account
select identity.unlink_sso_account(%(account_id)s)

-- name: begin_request
select state, browser_token
from identity.begin_sso_request(
    %(provider_id)s, %(redirect_uri)s, %(return_to)s, %(nonce)s, %(code_verifier)s, %(max_age)s)

-- name: take_request
select tenant_id, provider_id, redirect_uri, return_to, nonce, code_verifier, max_age
from identity.take_sso_request(%(state)s, %(browser_token)s)

-- name: use_id
select identity.use_sso_id(%(provider_id)s, %(id)s, %(expires_at)s)

-- name: sign_in
select outcome, user_id, account_id, authentication_level, requires_second_factor
from identity.sign_in_with_sso(%(provider_id)s, %(subject)s, %(claims)s, %(ip_address)s, %(user_agent)s)

-- name: start_session
select session_id as id, session_token as token, refresh_token, idle_expires_at, expires_at
from identity.start_session(
    %(user_id)s, %(authentication_level)s::smallint, %(ip_address)s, %(user_agent)s, %(is_refreshable)s)

-- name: note_session
select identity.note_sso_session(%(session_id)s, %(account_id)s, %(provider_session_id)s, %(id_token)s)

-- name: session
select provider_id, subject, provider_session_id, id_token from identity.sso_session(%(session_id)s)

-- name: end_sessions
select identity.end_sso_sessions(%(provider_id)s, %(subject)s, %(provider_session_id)s)

-- name: end_own_session
select identity.revoke_session(%(session_id)s)
