-- pgcrypto may live in any schema (public, extensions, ...), so nothing else names it: what the
-- schema needs of it is wrapped here, once, and found again wherever the extension is.
do $do$
declare
    v_home name := (select n.nspname
                    from pg_catalog.pg_extension as e
                    join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
                    where e.extname = 'pgcrypto');
begin
    execute format($sql$
        create or replace function platform.hmac_sha256(message bytea, secret bytea)
            returns bytea
            language sql
            immutable
            parallel safe
            strict
        as $$ select %I.hmac(message, secret, 'sha256') $$
    $sql$, v_home);

    execute format($sql$
        create or replace function platform.random_bytes(length integer)
            returns bytea
            language sql
            volatile
            parallel safe
            strict
        as $$ select %I.gen_random_bytes(length) $$
    $sql$, v_home);
end
$do$;

comment on function platform.hmac_sha256(bytea, bytea) is
    'The 32 bytes of HMAC-SHA-256 (RFC 2104) of a message under a secret.';
comment on function platform.random_bytes(integer) is
    'So many bytes from the operating system''s cryptographic random source.';

revoke all on function platform.hmac_sha256(bytea, bytea) from public;
revoke all on function platform.random_bytes(integer) from public;
