-- A token says which tenant it belongs to, so that a context for it can be opened before anything is read:
-- eai_<kind>_<tenant, 32 hexadecimal digits>_<32 random bytes, base64url>. Kinds: s session, r refresh,
-- k API key, o one time. Only the SHA-256 of the whole is stored.
-- No set clauses: only called with a pinned path, these are inlined.

create or replace function identity._token(kind text, tenant_id uuid, secret bytea)
    returns text
    language sql
    immutable
    parallel safe
as $$
    select 'eai_' || kind || '_' || replace(tenant_id::text, '-', '') || '_'
           || translate(encode(secret, 'base64'), '+/=', '-_')
$$;

comment on function identity._token(text, uuid, bytea) is
    'The token of a kind that carries the tenant and the secret.';

revoke all on function identity._token(text, uuid, bytea) from public;


create or replace function identity._tenant_of_token(token text, kind text)
    returns uuid
    language sql
    immutable
    parallel safe
as $$
    select case
        when token ~ ('^eai_' || kind || '_[0-9a-f]{32}_[A-Za-z0-9_-]{43}$') then substr(token, 7, 32)::uuid
    end
$$;

comment on function identity._tenant_of_token(text, text) is
    'The tenant that a token of the kind claims to belong to; null when it is no such token.';

revoke all on function identity._tenant_of_token(text, text) from public;


create or replace function identity._token_hash(token text)
    returns bytea
    language sql
    immutable
    parallel safe
as $$ select sha256(convert_to(token, 'UTF8')) $$;

comment on function identity._token_hash(text) is 'What is stored of a token: enough to recognise it.';

revoke all on function identity._token_hash(text) from public;
