-- Keys that sort by time keep the newest rows together at the right edge of every index.
-- PostgreSQL 18 makes them itself; before it, the 48 bits of milliseconds and 12 bits of their
-- fraction take the place of a random (version 4) UUID's first half, as RFC 9562 section 6.2 method 3 describes.
-- One expression without a from, so that what calls it takes it in: a default would plan it anew for each row inserted.
do $do$
declare
    -- gen_random_uuid() is the server's own from 13 on, and pgcrypto's on 12.
    v_random text := case
        when current_setting('server_version_num')::integer >= 130000 then 'pg_catalog'
        else (select quote_ident(n.nspname)
              from pg_catalog.pg_extension as e
              join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
              where e.extname = 'pgcrypto')
    end || '.gen_random_uuid()';
    v_body text := case
        when current_setting('server_version_num')::integer >= 180000 then 'select pg_catalog.uuidv7()'
        else format($sql$
            select (overlay(
                        lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 4096000)::bigint), 15, '0')
                        placing '7' from 13 for 0)
                    || right(encode(uuid_send(%s), 'hex'), 16))::uuid
        $sql$, v_random)
    end;
begin
    execute format($sql$
        create or replace function platform.new_id()
            returns uuid
            language sql
            volatile
            parallel safe
        as $$ %s $$
    $sql$, v_body);
end
$do$;

comment on function platform.new_id() is
    'A new UUID of version 7 (RFC 9562): ids made later sort later, down to a quarter of a microsecond.';

revoke all on function platform.new_id() from public;
grant execute on function platform.new_id() to enterprise_ai_app, enterprise_ai_operator;
