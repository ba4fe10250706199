create or replace function platform.domains()
    returns name[]
    language sql
    immutable
    parallel safe
as $$ select array['platform', 'identity', 'authz', 'llm', 'analytics', 'security', 'audit']::name[] $$;

comment on function platform.domains() is
    'The schemas that hold this database''s tables; the partitions of each lie in <domain>_parts.';

revoke all on function platform.domains() from public;
grant execute on function platform.domains() to enterprise_ai_operator;
