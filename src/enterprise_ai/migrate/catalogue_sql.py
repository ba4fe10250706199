# ruff: noqa: S608  names and values are quoted by sql.quote; the rest is constant
"""The queries behind `catalogue`: (kind, name, definition) of every object, for each major of the server.

A definition is a row of clauses `label: text` between group separators, so that a change can be told
clause by clause.  Bodies of functions are kept as a hash, all else as the server prints it.
"""

from __future__ import annotations

from . import catalogue_relations as tables
from .catalogue_clauses import CLAUSES, flag, grants, owner


def objects(version: int, history_schema: str, only: str | None) -> str:
    """SQL for every object of the catalogue on this version of the server, or of one schema `only`."""
    parts = [tables.schemas(), tables.relations(), tables.columns(), tables.constraints(), tables.indexes()]
    parts += [tables.triggers(version), tables.rules()]
    parts += [tables.policies(), _functions(version), _aggregates(), _types(), _sequences(), _statistics()]
    parts += [_operators(), _collations()]
    if only is None:
        parts += [_extensions(), _event_triggers(), _default_privileges(), _casts(), _servers()]
    return f"with {_scope(history_schema, only)} " + " union all ".join(f"({part})" for part in parts)


def _scope(history_schema: str, only: str | None) -> str:
    """The schemas and relations that are the user's, and among them the partitions of maintenance."""
    chosen = f" and n.nspname = {only}" if only else ""
    return f"""
member as materialized (
    -- of an extension, or made by the server along with a type (what 14 makes for a range, 12 does not)
    select classid, objid from pg_depend
    where deptype = 'e' or (deptype = 'i' and refclassid = 'pg_type'::regclass)
), space as materialized (
    select n.oid, n.nspname, n.nspowner, n.nspacl, quote_ident(n.nspname) as name,
           n.nspname like '%\\_parts' and exists (
               select from pg_namespace as d where d.nspname || '_parts' = n.nspname) as is_parts
    from pg_namespace as n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'{chosen}
      and (n.nspname <> 'migrations' or {history_schema} <> 'migrations')
      and not exists (select from member as m where m.classid = 'pg_namespace'::regclass and m.objid = n.oid)
), rel as materialized (
    select c.oid, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.relpersistence,
           c.relreplident, c.reloptions, c.relispartition, c.relpartbound, c.relhasrules, c.reloftype, c.relam,
           c.relnamespace, n.name || '.' || quote_ident(c.relname) as name,
           n.is_parts and (c.relispartition or c.relname ~ '_[0-9]{{4}}_[0-9]{{2}}$') as is_part
    from pg_class as c join space as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and c.relpersistence <> 't'
      and not (n.nspname = {history_schema} and c.relname ~ '^schema_migrations(_|$)')
      and not exists (select from member as m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
)"""


_ROUTINE = (
    "n.name || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'"
)
_USERS_OWN = " and not exists (select from member as m where m.classid = '{}'::regclass and m.objid = {}.oid)"


def _functions(version: int) -> str:
    body = "md5(p.prosrc)"
    if version >= 140000:
        body = "md5(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc))"
    clauses = [
        "'arguments: ' || pg_get_function_arguments(p.oid)",
        "'returns: ' || pg_get_function_result(p.oid)",
        "'language: ' || l.lanname",
        "case p.provolatile when 'i' then 'immutable' when 's' then 'stable' end",
        flag("p.proisstrict", "strict"),
        flag("p.prosecdef", "security definer"),
        flag("p.proleakproof", "leakproof"),
        "case p.proparallel when 's' then 'parallel safe' when 'r' then 'parallel restricted' end",
        flag("p.prokind = 'w'", "window"),
        "'set: ' || array_to_string(p.proconfig, ', ')",
        "'cost: ' || nullif(p.procost, case when l.lanname in ('c', 'internal') then 1 else 100 end)",
        "'rows: ' || nullif(p.prorows, case when p.proretset then 1000 else 0 end)",
        "case when p.prosupport <> 0 then 'support: ' || p.prosupport::regproc end",
        "'library: ' || p.probin",
        "'body: ' || " + body,
        owner("p.proowner"),
        grants("p.proacl"),
    ]
    return (
        f"select case p.prokind when 'p' then 'procedure' else 'function' end, {_ROUTINE}, "
        f"{CLAUSES.format(', '.join(clauses))} from pg_proc as p join space as n on n.oid = p.pronamespace"
        " join pg_language as l on l.oid = p.prolang where p.prokind <> 'a'"
        + _USERS_OWN.format("pg_proc", "p")
    )


def _aggregates() -> str:
    clauses = [
        "'state: ' || concat_ws(' ', a.aggtransfn::text, a.aggfinalfn::text, a.aggcombinefn::text,"
        " format_type(a.aggtranstype, null), a.agginitval, a.aggsortop::regoperator::text)",
        "'returns: ' || pg_get_function_result(p.oid)",
        owner("p.proowner"),
        grants("p.proacl"),
    ]
    return (
        f"select 'aggregate', {_ROUTINE}, {CLAUSES.format(', '.join(clauses))}"
        " from pg_proc as p join space as n on n.oid = p.pronamespace join pg_aggregate as a on a.aggfnoid = p.oid"
        " where p.prokind = 'a'" + _USERS_OWN.format("pg_proc", "p")
    )


def _types() -> str:
    clauses = [
        "case t.typtype when 'e' then 'labels: ' || (select string_agg(quote_literal(e.enumlabel), ', '"
        " order by e.enumsortorder) from pg_enum as e where e.enumtypid = t.oid)"
        " when 'd' then format_type(t.typbasetype, t.typtypmod)"
        " when 'r' then (select 'subtype: ' || format_type(g.rngsubtype, null)"
        " from pg_range as g where g.rngtypid = t.oid)"
        " when 'b' then 'base' end",
        flag("t.typnotnull", "not null"),
        "'default: ' || t.typdefault",
        "(select string_agg('check ' || quote_ident(k.conname) || ': ' || pg_get_constraintdef(k.oid), chr(29)"
        " order by k.conname) from pg_constraint as k where k.contypid = t.oid and k.contype = 'c')",
        owner("t.typowner"),
        grants("t.typacl"),
    ]
    return (
        "select case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'c' then 'composite type'"
        " when 'r' then 'range type' else 'type' end, n.name || '.' || quote_ident(t.typname), "
        f"{CLAUSES.format(', '.join(clauses))}"
        " from pg_type as t join space as n on n.oid = t.typnamespace"
        " where t.typtype in ('e', 'd', 'r', 'b', 'c') and t.typcategory <> 'A' and t.typisdefined"
        " and (t.typrelid = 0 or exists (select from rel as r where r.oid = t.typrelid and r.relkind = 'c'))"
        + _USERS_OWN.format("pg_type", "t")
    )


def _sequences() -> str:
    clauses = [
        "format_type(s.seqtypid, null)",
        "'start: ' || s.seqstart",
        "'increment: ' || nullif(s.seqincrement, 1)",
        "'range: ' || s.seqmin || ' to ' || s.seqmax",
        "'cache: ' || nullif(s.seqcache, 1)",
        flag("s.seqcycle", "cycle"),
        owner("r.relowner"),
        grants("r.relacl"),
        "'owned by: ' || (select d.refobjid::regclass::text || '.' || quote_ident(a.attname) from pg_depend as d"
        " join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid"
        " where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass"
        " and d.deptype in ('a', 'i') and d.refobjsubid > 0)",
    ]
    return (
        f"select 'sequence', r.name, {CLAUSES.format(', '.join(clauses))}"
        " from rel as r join pg_sequence as s on s.seqrelid = r.oid where not r.is_part"
    )


def _extensions() -> str:
    return (
        "select 'extension', quote_ident(x.extname),"
        " 'version: ' || x.extversion || chr(29) || 'schema: ' || quote_ident(n.nspname)"
        " from pg_extension as x join pg_namespace as n on n.oid = x.extnamespace where x.extname <> 'plpgsql'"
    )


def _event_triggers() -> str:
    clauses = [
        "'on: ' || e.evtevent",
        "'function: ' || e.evtfoid::regproc",
        "'when: ' || array_to_string(e.evttags, ', ')",
        "'enabled: ' || nullif(e.evtenabled, 'O')::text",
        owner("e.evtowner"),
    ]
    return (
        f"select 'event trigger', quote_ident(e.evtname), {CLAUSES.format(', '.join(clauses))}"
        " from pg_event_trigger as e where true" + _USERS_OWN.format("pg_event_trigger", "e")
    )


def _statistics() -> str:
    return (
        "select 'statistics', n.name || '.' || quote_ident(s.stxname),"
        f" pg_get_statisticsobjdef(s.oid) || chr(29) || {owner('s.stxowner')}"
        " from pg_statistic_ext as s join space as n on n.oid = s.stxnamespace"
        " join rel as r on r.oid = s.stxrelid and not r.is_part"
    )


def _default_privileges() -> str:
    kind = (
        "case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'"
        " when 'T' then 'types' when 'n' then 'schemas' else d.defaclobjtype::text end"
    )
    return (
        f"select 'default privileges', 'of ' || quote_ident(pg_get_userbyid(d.defaclrole)) || ' for ' || {kind}"
        " || coalesce(' in ' || n.name, ''), "
        + grants("d.defaclacl")
        + " from pg_default_acl as d left join space as n on n.oid = d.defaclnamespace"
        " where d.defaclnamespace = 0 or n.oid is not null"
    )


def _casts() -> str:
    return (
        "select 'cast', '(' || format_type(c.castsource, null) || ' as ' || format_type(c.casttarget, null) || ')',"
        " concat_ws(chr(29), 'function: ' || nullif(c.castfunc, 0)::regprocedure, 'context: ' || c.castcontext::text,"
        " 'method: ' || c.castmethod::text) from pg_cast as c where c.oid >= 16384"
        + _USERS_OWN.format("pg_cast", "c")
    )


def _operators() -> str:
    return (
        "select 'operator', n.name || '.' || o.oprname || ' (' || format_type(nullif(o.oprleft, 0), null) || ', '"
        " || format_type(o.oprright, null) || ')', concat_ws(chr(29), 'function: ' || o.oprcode,"
        " 'returns: ' || format_type(o.oprresult, null), "
        + owner("o.oprowner")
        + ") from pg_operator as o join space as n on n.oid = o.oprnamespace where true"
        + _USERS_OWN.format("pg_operator", "o")
    )


def _collations() -> str:
    return (
        "select 'collation', n.name || '.' || quote_ident(c.collname), concat_ws(chr(29),"
        " 'provider: ' || c.collprovider::text, case when c.collisdeterministic then null else 'nondeterministic' end, "
        + owner("c.collowner")
        + ") from pg_collation as c join space as n on n.oid = c.collnamespace where true"
        + _USERS_OWN.format("pg_collation", "c")
    )


def _servers() -> str:
    return (
        "select 'foreign server', quote_ident(s.srvname), concat_ws(chr(29), "
        + owner("s.srvowner")
        + ", "
        + grants("s.srvacl")
        + ") from pg_foreign_server as s where true"
        + _USERS_OWN.format("pg_foreign_server", "s")
    )
