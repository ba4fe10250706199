-- The role that reads the rights of all tenants owns these functions and nothing else, writes nothing, and lends its
-- rights to nobody. What it owns has no dynamic SQL, and nothing anywhere trusts a setting that callers can write.
with decider (oid) as (
    select 'enterprise_ai_decider'::regrole::oid
)
select 'owns a function that is not listed' as fault, p.oid::regprocedure::text as what
from pg_proc as p, decider as d
where p.proowner = d.oid
  and (p.pronamespace <> 'authz'::regnamespace
       or p.proname <> all (array['check', 'check_many', 'evaluate', 'explain', 'hidden_scopes', 'list_actions',
                                  'list_resources', 'list_subjects', 'open_scopes', 'visible_scopes']))
union all
select 'owns a function that is not its definer''s, or has dynamic SQL', p.oid::regprocedure::text
from pg_proc as p, decider as d
where p.proowner = d.oid and (not p.prosecdef or p.provolatile = 'v' or p.prosrc ~* '\mexecute\M')
union all
select 'owns something that is not a function', pg_describe_object(s.classid, s.objid, s.objsubid)
from pg_shdepend as s, decider as d
where s.refobjid = d.oid and s.deptype = 'o' and s.classid <> 'pg_proc'::regclass
  and s.dbid = (select oid from pg_database where datname = current_database())
union all
select 'may do more than read', c.oid::regclass || ': ' || acl.privilege_type
from pg_class as c, aclexplode(c.relacl) as acl, decider as d
where acl.grantee = d.oid and acl.privilege_type <> 'SELECT'
union all
select 'reads through a policy that is not for reading', p.polrelid::regclass::text
from pg_policy as p, decider as d
where p.polroles @> array[d.oid] and p.polcmd <> 'r'
union all
select 'is a member of a role', g.rolname
from pg_auth_members as m
join decider as d on d.oid = m.member
join pg_roles as g on g.oid = m.roleid
union all
select 'lends its rights', r.rolname
from pg_roles as r, decider as d
where pg_has_role(r.oid, d.oid, 'usage') and not r.rolsuper and r.oid <> d.oid
union all
-- On 16 and later whoever made the role may grant it, which is a membership without any of its rights.
select 'can be become by somebody else than who migrates', r.rolname
from pg_auth_members as m
join decider as d on d.oid = m.roleid
join pg_roles as r on r.oid = m.member
where r.rolname <> 'enterprise_ai_definer'
  and r.oid <> (select n.nspowner from pg_namespace as n where n.nspname = 'authz')
union all
select 'can log in, or bypasses row security', r.rolname
from pg_roles as r
where r.rolname in ('enterprise_ai_decider', 'enterprise_ai_definer') and (r.rolcanlogin or r.rolbypassrls or r.rolsuper)
union all
select 'trusts a setting that anybody can write', p.oid::regprocedure::text
from pg_proc as p
where p.pronamespace::regnamespace::name = any (platform.domains())
  and replace(p.prosrc, 'enterprise_ai.context', '') like '%enterprise\_ai.%'
union all
select 'trusts a setting that anybody can write', p.polname || ' on ' || p.polrelid::regclass
from pg_policy as p
where concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) like '%current_setting%';
