# ruff: noqa: S608  all of it is constant
"""The queries behind `catalogue` for schemas, relations and what belongs to a relation."""

from __future__ import annotations

from .catalogue_clauses import CLAUSES, flag, grants, owner


def schemas() -> str:
    clauses = CLAUSES.format(", ".join([owner("nspowner"), grants("nspacl")]))
    return f"select 'schema' as kind, name, {clauses} as definition from space"


def relations() -> str:
    clauses = [
        owner("r.relowner"),
        grants("r.relacl"),
        flag("r.relpersistence = 'u'", "unlogged"),
        "'row security: ' || case when r.relrowsecurity then 'on' when r.relforcerowsecurity then 'off' end"
        " || case when r.relforcerowsecurity then ', forced' else '' end",
        "'options: ' || array_to_string(r.reloptions, ', ')",
        "'replica identity: ' || nullif(r.relreplident,"
        " case when r.relkind in ('r', 'p', 'm') then 'd' else 'n' end)::text",
        "'access method: ' || (select a.amname from pg_am as a where a.oid = r.relam and a.amname <> 'heap')",
        "case when r.relkind = 'p' then 'partition by: ' || pg_get_partkeydef(r.oid) end",
        "'partition: ' || pg_get_expr(r.relpartbound, r.oid)",
        "'inherits: ' || (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)"
        " from pg_inherits as i where i.inhrelid = r.oid)",
        "case when r.reloftype <> 0 then 'of type: ' || format_type(r.reloftype, null) end",
        "case when r.relkind in ('v', 'm') then 'query: ' || pg_get_viewdef(r.oid) end",
    ]
    of_part = [
        grants("r.relacl"),
        flag("r.relrowsecurity", "row security: on"),
        "case when r.relowner <> p.relowner then " + owner("r.relowner") + " end",
    ]
    kind = (
        "case r.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'"
        " when 'm' then 'materialized view' when 'f' then 'foreign table' end"
    )
    return (
        f"select {kind}, r.name, {CLAUSES.format(', '.join(clauses))} from rel as r"
        " where r.relkind in ('r', 'p', 'v', 'm', 'f') and not r.is_part"
        " union all select 'partition', x.name, x.definition from ("
        f"select r.name, {CLAUSES.format(', '.join(of_part))} as definition from rel as r"
        " left join pg_inherits as i on i.inhrelid = r.oid left join pg_class as p on p.oid = i.inhparent"
        " where r.is_part) as x where x.definition <> ''"
    )


def columns() -> str:
    clauses = [
        "format_type(a.atttypid, a.atttypmod)",
        flag("a.attnotnull", "not null"),
        "case a.attidentity when 'a' then 'identity: always' when 'd' then 'identity: by default' end",
        "case when a.attgenerated <> '' then 'generated: ' else 'default: ' end || pg_get_expr(d.adbin, d.adrelid)",
        "case when a.attcollation not in (0, 100) then 'collation: ' || (select quote_ident(c.collname)"
        " from pg_collation as c where c.oid = a.attcollation) end",
        "'options: ' || array_to_string(a.attoptions, ', ')",
        grants("a.attacl"),
    ]
    return (
        f"select 'column', r.name || '.' || quote_ident(a.attname), {CLAUSES.format(', '.join(clauses))}"
        " from rel as r join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped"
        " left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum"
        " where r.relkind in ('r', 'p', 'f', 'c') and not r.is_part"
        # A view's query says what its columns are; what may be granted on one is said nowhere else.
        " union all select 'column', r.name || '.' || quote_ident(a.attname), "
        + grants("a.attacl")
        + " from rel as r join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and a.attacl is not null"
        " where r.relkind in ('v', 'm') or r.is_part"
    )


def constraints() -> str:
    # Since 18 NOT NULL is a constraint too; the column says it on every version.
    return (
        "select 'constraint', r.name || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid)"
        " || case when k.convalidated then '' else chr(29) || 'not validated' end"
        " || case when k.connoinherit and k.contype = 'c' then chr(29) || 'no inherit' else '' end"
        " from rel as r join pg_constraint as k on k.conrelid = r.oid"
        " where k.contype not in ('n', 't') and k.conparentid = 0"
        " and not (r.is_part and (k.coninhcount > 0 or not r.relispartition))"
    )


def indexes() -> str:
    clauses = [
        "pg_get_indexdef(i.indexrelid)",
        flag("not i.indisvalid", "invalid"),
        flag("i.indisreplident", "replica identity"),
    ]
    return (
        "select 'index', n.name || '.' || quote_ident(c.relname), "
        f"{CLAUSES.format(', '.join(clauses))}"
        " from rel as r join pg_index as i on i.indrelid = r.oid join pg_class as c on c.oid = i.indexrelid"
        " join space as n on n.oid = c.relnamespace"
        " where not (r.is_part and (c.relispartition or not r.relispartition)) and not exists ("
        "select from pg_constraint as k where k.conindid = i.indexrelid and k.conrelid = i.indrelid"
        " and k.contype in ('p', 'u', 'x'))"
    )


def triggers(version: int) -> str:
    own = "t.tgparentid = 0" if version >= 130000 else "not r.is_part"
    return (
        "select 'trigger', r.name || '.' || quote_ident(t.tgname), pg_get_triggerdef(t.oid) || "
        "case t.tgenabled when 'O' then '' when 'D' then chr(29) || 'disabled'"
        " when 'A' then chr(29) || 'enabled: always' else chr(29) || 'enabled: replica' end"
        " from rel as r join pg_trigger as t on t.tgrelid = r.oid"
        f" where not t.tgisinternal and {own}"
    )


def rules() -> str:
    return (
        "select 'rule', r.name || '.' || quote_ident(w.rulename), pg_get_ruledef(w.oid) || "
        "case w.ev_enabled when 'O' then '' else chr(29) || 'enabled: ' || w.ev_enabled::text end"
        " from rel as r join pg_rewrite as w on w.ev_class = r.oid"
        " where r.relhasrules and w.rulename <> '_RETURN'"
    )


def policies() -> str:
    clauses = [
        "case when p.polpermissive then 'permissive' else 'restrictive' end",
        "'for: ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'"
        " when 'd' then 'delete' else 'all' end",
        "'to: ' || (select string_agg(case x when 0 then 'public' else quote_ident(pg_get_userbyid(x)) end, ', '"
        " order by pg_get_userbyid(x)) from unnest(p.polroles) as x)",
        "'using: ' || pg_get_expr(p.polqual, p.polrelid)",
        "'check: ' || pg_get_expr(p.polwithcheck, p.polrelid)",
    ]
    return (
        f"select 'policy', r.name || '.' || quote_ident(p.polname), {CLAUSES.format(', '.join(clauses))}"
        " from rel as r join pg_policy as p on p.polrelid = r.oid"
    )
