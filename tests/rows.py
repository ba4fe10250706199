"""Make a valid row for any table from what the catalogue says of its columns, keys and checks."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

# What a check wants that cannot be read off the catalogue: table -> column -> SQL expression.
MONTH = "date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'"
NEXT_MONTH = "(date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC'"
# The generator refers to the first row it made; this is one made later.
ANOTHER_USER = "(select u.id from identity.users as u where u.tenant_id = platform.current_tenant_id() order by u.id desc limit 1)"
# A foreign key that may be null, and is not.
REFERENCED = "referenced"
SPECIAL: dict[str, dict[str, str]] = {
    "analytics.analytics_reports": {"definition": """'{"measures": ["cost"]}'"""},
    "analytics.api_usage_logs": {"route": "'/v1/things/{id}'", "status_code": "200"},
    "analytics.billing_periods": {"starts_at": MONTH, "ends_at": NEXT_MONTH},
    "analytics.budget_reservations": {"currency": "'USD'", "expires_at": "now() + interval '1 minute'"},
    "analytics.budget_windows": {"starts_at": MONTH, "ends_at": NEXT_MONTH},
    "analytics.budgets": {"hard_limit": "100"},
    "analytics.cost_allocations": {
        "billing_period_start": MONTH,
        "billing_period_end": NEXT_MONTH,
        "billing_currency": "'USD'",
        "charge_period_start": MONTH,
        "charge_period_end": NEXT_MONTH,
        "charge_category": "'Credit'",
    },
    # A user of the tenant must be there.
    "analytics.cost_center_assignments": {"user_id": ANOTHER_USER},
    "analytics.performance_metrics": {
        "bucket_at": "date_trunc('minute', now())",
        "metric_name": "'queue.depth'",
        "samples": "1",
        "bucket_counts": "'{1}'",
    },
    "analytics.report_executions": {"due_at": "now()"},
    "analytics.usage_rollups": {
        "bucket_at": "date_trunc('hour', now() at time zone 'UTC') at time zone 'UTC'"
    },
    "security.compliance_frameworks": {"code": "'TEST'", "url": "'https://example.com/'"},
    "security.pii_findings": {"start_offset": "0", "end_offset": "5", "confidence": "0.9"},
    "security.pii_detectors": {"confidence": "0.9", "examples": "'{x}'"},
    "security.encryption_keys": {"wrapped_key": "decode(repeat('ab', 40), 'hex')"},
    "security.data_subject_requests": {"due_at": "now() + interval '1 month'"},
    "audit.audit_logs": {"event_type": "'platform.thing.done'"},
    "audit.change_tracking": {"operation": "'insert'", "row_key": """'{"id": 1}'"""},
    "audit.ledger_blocks": {
        "era": "0",
        "number": "1",
        "from_transaction_id": "1",
        "to_transaction_id": "2",
    },
    "audit.change_sets": {"changes": "'[{}]'", "expires_at": "now() + interval '1 day'"},
    "audit.investigation_items": {"kind": "'note'", "note": "'seen'"},
    "authz.access_policies": {"kind": "'static'", "enforcement": "'report'"},
    "authz.assignment_rules": {"condition": "'strict $.subject.department == 1'"},
    "authz.access_reviews": {"due_at": "now() + interval '1 day'"},
    "authz.break_glass_events": {
        "reason": "'The building is on fire.'",
        "expires_at": "now() + interval '1 hour'",
    },
    "authz.delegations": {
        "delegate_id": ANOTHER_USER,
        "permission_id": "(select min(p.id) from authz.permissions as p)",
        "valid_until": "now() + interval '1 day'",
    },
    "authz.decision_log": {"decided_at": "now()", "rule_ids": "'{}'"},
    "authz.duty_acts": {"resource_id": REFERENCED},
    "authz.proxy_grants": {"actor_id": ANOTHER_USER, "all_permissions": "true"},
    "identity.api_keys": {"prefix": "'eai_k_1'"},
    "identity.mfa_factors": {"totp_secret": "decode(repeat('01', 60), 'hex')"},
    "identity.one_time_tokens": {"email": "'ada@example.com'", "expires_at": "now() + interval '1 hour'"},
    "identity.refresh_tokens": {"expires_at": "now() + interval '1 hour'"},
    "identity.sso_domains": {"domain": "replace(platform.new_id()::text, '-', '') || '.test'"},
    "identity.sso_providers": {"issuer": "'https://' || platform.new_id()"},
    "identity.sso_requests": {"return_to": "'/'"},
    "identity.user_passwords": {"password_hash": "'$argon2id$v=19$'"},
    "identity.user_sessions": {
        "idle_expires_at": "now() + interval '1 hour'",
        "token_expires_at": "now() + interval '1 hour'",
        "expires_at": "now() + interval '1 hour'",
    },
    "identity.webauthn_challenges": {"user_id": ANOTHER_USER, "expires_at": "now() + interval '1 hour'"},
    "llm.documents": {"media_type": "'text/plain'", "storage_uri": "'s3://bucket/key'"},
    "llm.message_contents": {"kind": "'text'", "content": "'Hello'"},
    "llm.prompt_template_versions": {
        "messages": """'[{"role": "user", "content": "Hello"}]'""",
        "version": "1",
    },
    "platform.rate_counts": {"subject_id": ANOTHER_USER, "minute": "now()"},
    "platform.tenant_settings": {"key": "'llm.temperature'", "value": "'0.5'"},
    "identity.users": {"email": "replace(platform.new_id()::text, '-', '') || '@example.com'"},
}

BY_TYPE = {
    "uuid": "platform.new_id()",
    "text": "'x' || replace(platform.new_id()::text, '-', '')",
    "text[]": "array['x']",
    "bytea": "decode(repeat('ab', 32), 'hex')",
    "boolean": "false",
    "jsonb": "'{}'",
    "jsonpath": "'strict $.a == 1'",
    "inet": "'127.0.0.1'",
    "date": "date_trunc('month', now() at time zone 'UTC')::date",
    "interval": "'1 hour'",
    "timestamp with time zone": "now()",
    "tstzrange": "tstzrange(now(), null)",
}


class Generator:
    """Rows for the tables of one database; the connection must be allowed to write all of them."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self._conn = conn
        self._made: dict[tuple[str, Any], dict[str, Any]] = {}

    def ensure_row(self, table: str, tenant_id: Any = None) -> dict[str, Any]:
        """Return the row made for the table and tenant, making it and all that it refers to when needed."""
        made = (
            self._made.get((table, tenant_id))
            or self._existing(table, tenant_id)
            or self._insert(table, tenant_id)
        )
        self._made[table, tenant_id] = made
        return made

    def add_row(self, table: str, tenant_id: Any = None) -> dict[str, Any]:
        """Make one more row, which later rows do not refer to by themselves."""
        self.ensure_row(table, tenant_id)
        return self._insert(table, tenant_id)

    def _existing(self, table: str, tenant_id: Any) -> dict[str, Any] | None:
        where, params = "true", []
        if "tenant_id" in self._columns(table) and tenant_id is not None:
            where, params = "tenant_id = %s", [tenant_id]
        elif table == "identity.tenants":
            where, params = "id = %s", [tenant_id]
        cursor = self._conn.execute(f"select * from {table} where {where} order by 1, 2 limit 1", params)
        row = cursor.fetchone()
        return dict(zip([column.name for column in cursor.description], row, strict=True)) if row else None

    def _insert(self, table: str, tenant_id: Any) -> dict[str, Any]:
        columns, values, params = [], [], []
        foreign = self._foreign_values(table, tenant_id)
        special = SPECIAL.get(table, {})
        for name, type_name, is_needed in self._writable(table):
            if special.get(name, REFERENCED) != REFERENCED:
                value = special[name]
            elif name == "tenant_id" and tenant_id is not None:
                value, params = "%s", [*params, tenant_id]
            elif name in foreign:
                value, params = "%s", [*params, foreign[name]]
            elif is_needed:
                value = self._from_checks(table, name) or BY_TYPE.get(type_name, "1")
            else:
                continue
            columns.append(sql.Identifier(name))
            values.append(sql.SQL(value))
        cursor = self._conn.execute(
            sql.SQL("insert into {} ({}) values ({}) returning *").format(
                sql.SQL(table), sql.SQL(", ").join(columns), sql.SQL(", ").join(values)
            ),
            params,
        )
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))

    def _columns(self, table: str) -> list[str]:
        return [name for name, _, _ in self._writable(table)]

    def _writable(self, table: str) -> list[tuple[str, str, bool]]:
        """(name, type, must be given) of each column that an insert may name."""
        return self._conn.execute(
            """
            select a.attname::text, format_type(a.atttypid, null), a.attnotnull and not a.atthasdef and a.attidentity = ''
            from pg_attribute as a
            where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
              and a.attgenerated = '' and a.attidentity <> 'a'
            order by a.attnum
            """,
            [table],
        ).fetchall()

    def _foreign_values(self, table: str, tenant_id: Any) -> dict[str, Any]:
        """The values of the columns that must refer to another table's row, whose rows are made first."""
        special = SPECIAL.get(table, {})
        needed = {n for n, _, is_needed in self._writable(table) if is_needed or special.get(n) == REFERENCED}
        values: dict[str, Any] = {}
        for target, columns, target_columns in self._conn.execute(
            """
            select c.confrelid::regclass::text,
                   array(select a.attname::text from unnest(c.conkey) with ordinality as k (num, place)
                         join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.num order by k.place),
                   array(select a.attname::text from unnest(c.confkey) with ordinality as k (num, place)
                         join pg_attribute as a on a.attrelid = c.confrelid and a.attnum = k.num order by k.place)
            from pg_constraint as c
            where c.conrelid = %s::regclass and c.contype = 'f' and c.confrelid <> c.conrelid
            """,
            [table],
        ).fetchall():
            if set(columns) <= needed:
                row = self.ensure_row(target, tenant_id)
                values.update({c: row[t] for c, t in zip(columns, target_columns, strict=True)})
        return values

    def _from_checks(self, table: str, column: str) -> str | None:
        """The first of the values that a check lists for the column."""
        for (definition,) in self._conn.execute(
            "select pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype = 'c'",
            [table],
        ):
            found = re.match(
                rf"CHECK \(\(\(?{column}\)?(?:::text)? = (?:ANY \(ARRAY\[)?('(?:[^']|'')*')", definition
            )
            if found:
                return found[1]
        return None
