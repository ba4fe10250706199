"""What an installation must have, each as a query that finds what is wrong and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import Connection

ROLES = (
    "enterprise_ai_app",
    "enterprise_ai_auditor",
    "enterprise_ai_decider",
    "enterprise_ai_definer",
    "enterprise_ai_gateway",
    "enterprise_ai_operator",
    "enterprise_ai_reader",
)
EXTENSIONS = ("pgcrypto", "uuid-ossp")
MINIMUM_MONTHS_AHEAD = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `check` is its stable name, `advice` what to do."""

    check: str
    problem: str
    advice: str


def examine(conn: Connection) -> list[Finding]:
    """Return everything that is wrong with the database of the connection; nothing is changed."""
    findings = [*_server(conn), *_extensions(conn), *_roles(conn)]
    if conn.execute("select pg_catalog.to_regnamespace('platform')").fetchone() == (None,):
        advice = "Run `enterprise-ai migrate`."
        return [*findings, Finding("schema", "The schema is not there.", advice)]
    return [
        *findings,
        *_isolation(conn),
        *_reach(conn),
        *_decider(conn),
        *_partitions(conn),
        *_validity(conn),
    ]


def _server(conn: Connection) -> list[Finding]:
    if conn.info.server_version >= 120000:
        return []
    return [
        Finding(
            "server",
            f"PostgreSQL {conn.info.server_version // 10000} is too old.",
            "Use PostgreSQL 12 to 18.",
        )
    ]


def _missing(conn: Connection, query: str, wanted: tuple[str, ...]) -> list[str]:
    return [name for (name,) in conn.execute(query, [list(wanted)])]


def _extensions(conn: Connection) -> list[Finding]:
    missing = _missing(
        conn,
        "select w.name from pg_catalog.unnest(%s::text[]) as w (name)"
        " where w.name not in (select extname from pg_catalog.pg_extension)",
        EXTENSIONS,
    )
    return [
        Finding("extensions", f"The extension {name} is not installed.", f'create extension "{name}";')
        for name in missing
    ]


def _roles(conn: Connection) -> list[Finding]:
    missing = _missing(
        conn,
        "select w.name from pg_catalog.unnest(%s::text[]) as w (name)"
        " where w.name not in (select rolname from pg_catalog.pg_roles)",
        ROLES,
    )
    return [
        Finding(
            "roles",
            f"The group role {name} does not exist.",
            f"create role {name} nologin{' noinherit' if name == 'enterprise_ai_definer' else ''};",
        )
        for name in missing
    ]


def _decider(conn: Connection) -> list[Finding]:
    """Who has the rights of the role that reads all tenants' rights; and functions that should be that role's."""
    heirs = conn.execute(
        """
        select r.rolname
        from pg_catalog.pg_roles as r
        join pg_catalog.pg_roles as d on d.rolname = 'enterprise_ai_decider' and d.oid <> r.oid
        where not r.rolsuper and pg_catalog.pg_has_role(r.oid, d.oid, 'usage')
        """
    ).fetchall()
    findings = [
        Finding(
            "decider",
            f"{heir} has the rights of enterprise_ai_decider, and so sees the rights in all tenants.",
            f"revoke enterprise_ai_decider from {heir}; alter role enterprise_ai_definer noinherit;",
        )
        for (heir,) in heirs
    ]
    rows = conn.execute(
        """
        select p.oid::pg_catalog.regprocedure::pg_catalog.text
        from pg_catalog.pg_proc as p
        join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
        where n.nspname = 'authz' and p.prosecdef and p.provolatile = 's'
          and p.proowner::pg_catalog.regrole::pg_catalog.text <> 'enterprise_ai_decider'
        order by 1
        """
    ).fetchall()
    return findings + [
        Finding(
            "decider",
            f"{function} does not belong to enterprise_ai_decider: its answers are right and many times slower.",
            f"alter function {function} owner to enterprise_ai_decider;",
        )
        for (function,) in rows
    ]


def _isolation(conn: Connection) -> list[Finding]:
    """Tables whose primary key leads with the tenant, and whose row security somebody switched off."""
    rows = conn.execute(
        """
        select format('%I.%I', n.nspname, c.relname)
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        join pg_catalog.pg_index as i on i.indrelid = c.oid and i.indisprimary
        join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where n.nspname = any (platform.domains()) and not c.relispartition
          and a.attname = 'tenant_id'
          and c.relname <> 'document_queue_turns'  -- whose turn it is is read across tenants, by functions alone
          and not (c.relrowsecurity and c.relforcerowsecurity)
        order by 1
        """
    ).fetchall()
    return [
        Finding(
            "isolation",
            f"Row security of {table} is off: every tenant's rows are visible to whoever may read it.",
            f"alter table {table} enable row level security; alter table {table} force row level security;",
        )
        for (table,) in rows
    ]


def _reach(conn: Connection) -> list[Finding]:
    """Grants on partitions, which have no row security of their own; and logins that bypass it altogether."""
    rows = conn.execute(
        """
        select format('%I.%I', n.nspname, c.relname), acl.grantee::pg_catalog.regrole::pg_catalog.text
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        cross join lateral pg_catalog.aclexplode(c.relacl) as acl
        where c.relispartition and acl.grantee <> c.relowner
          and n.nspname = any (array(select d || '_parts' from pg_catalog.unnest(platform.domains()) as d))
        """
    ).fetchall()
    findings = [
        Finding(
            "partitions_reach",
            f"{grantee} is granted access to the partition {partition}, past the row security of its parent.",
            f"revoke all on {partition} from {grantee};",
        )
        for partition, grantee in rows
    ]
    rows = conn.execute(
        """
        select r.rolname
        from pg_catalog.pg_roles as r
        where (r.rolsuper or r.rolbypassrls)
          and exists (select from pg_catalog.pg_auth_members as m
                      join pg_catalog.pg_roles as g on g.oid = m.roleid
                      where m.member = r.oid and g.rolname = any (%s))
        """,
        [list(ROLES)],
    ).fetchall()
    return findings + [
        Finding(
            "bypass",
            f"The login {login} is a member of a group role and yet bypasses row security.",
            f"alter role {login} nosuperuser nobypassrls;",
        )
        for (login,) in rows
    ]


def _partitions(conn: Connection) -> list[Finding]:
    from enterprise_ai.operations.partitions import listing

    return [
        Finding(
            "partitions_ahead",
            f"{table.parent} has partitions for {table.months_ahead} months ahead; "
            f"{MINIMUM_MONTHS_AHEAD} are the least that is safe.",
            "Run `enterprise-ai partitions maintain`, and schedule it monthly.",
        )
        for table in listing(conn)
        if table.months_ahead < MINIMUM_MONTHS_AHEAD
    ]


def _validity(conn: Connection) -> list[Finding]:
    rows = conn.execute(
        """
        select format('%I.%I', n.nspname, x.relname)
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as x on x.oid = i.indexrelid
        join pg_catalog.pg_namespace as n on n.oid = x.relnamespace
        where not (i.indisvalid and i.indisready)
        """
    ).fetchall()
    return [
        Finding(
            "indexes",
            f"The index {name} is invalid: it is kept up to date and never used.",
            f"reindex index concurrently {name};",
        )
        for (name,) in rows
    ]
