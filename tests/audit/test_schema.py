"""The tables of audit hold their rules, and roles get no more of them than they need."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg.types.json import Jsonb

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
NIL = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def here(db, tenant):
    """The id of a tenant whose context is open."""
    tenant_id = tenant("security-here")
    db.execute(CONTEXT, [tenant_id])
    return tenant_id


def one(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def test_events_outside_any_tenant_carry_the_nil_tenant(db):
    db.execute(CONTEXT, [NIL])
    logged = db.execute(
        "insert into audit.audit_logs (tenant_id, event_type) values (%s, 'platform.role.created')"
        " returning tableoid::regclass::text, transaction_id, database_role",
        [NIL],
    ).fetchone()
    assert re.fullmatch(r"audit_parts\.audit_logs_\d{4}_\d\d", logged[0])
    assert logged[1:] == (one(db, "select txid_current()"), one(db, "select session_user::text"))


def test_row_versions_are_numbered_as_they_come(db, here):
    for value in range(3):
        db.execute(
            "insert into audit.change_tracking"
            " (tenant_id, schema_name, table_name, operation, row_key, new_row)"
            " values (%s, 'llm', 'things', 'insert', %s, %s)",
            [here, Jsonb({"id": 1}), Jsonb({"value": value})],
        )
    rows = db.execute("select new_row ->> 'value' from audit.change_tracking order by id").fetchall()
    assert rows == [("0",), ("1",), ("2",)]


@pytest.mark.parametrize(
    ("operation", "row_key", "old", "new", "rule"),
    [
        ("insert", {"id": 1}, {}, {}, "change_tracking_images_fit_the_operation"),
        ("delete", {"id": 1}, None, {}, "change_tracking_images_fit_the_operation"),
        ("truncate", {"id": 1}, None, None, "change_tracking_only_truncate_has_no_row"),
        ("update", None, {}, {}, "change_tracking_only_truncate_has_no_row"),
        ("update", {"id": 1}, [], {}, "change_tracking_images_are_objects"),
    ],
)
def test_images_fit_their_operation(db, here, operation, row_key, old, new, rule):
    images = [None if image is None else Jsonb(image) for image in (row_key, old, new)]
    with pytest.raises(psycopg.errors.CheckViolation, match=rule):
        db.execute(
            "insert into audit.change_tracking"
            " (tenant_id, schema_name, table_name, operation, row_key, old_row, new_row)"
            " values (%s, 'llm', 'things', %s, %s, %s, %s)",
            [here, operation, *images],
        )


def seal(db, tenant_id, number, first, last, previous):
    db.execute(
        "insert into audit.ledger_blocks"
        " (tenant_id, log_name, era, number, system_identifier, from_transaction_id,"
        " to_transaction_id, row_count, algorithm, merkle_root, previous_hash, block_hash)"
        " values (%s, 'audit_logs', 0, %s, 1, %s, %s, 0, 'sha256-merkle-v1', sha256(''), %s, sha256('x'))",
        [tenant_id, number, first, last, previous],
    )


def test_the_ledger_does_not_fork(db, here):
    seal(db, here, 1, 10, 20, None)
    seal(db, here, 2, 20, 30, b"\0" * 32)
    with pytest.raises(psycopg.errors.UniqueViolation, match="from_transaction_id_key"), db.transaction():
        seal(db, here, 3, 20, 40, b"\0" * 32)
    with pytest.raises(psycopg.errors.CheckViolation, match="ledger_blocks_only_the_first_has_no_previous"):
        seal(db, here, 3, 30, 40, None)


def test_a_finding_that_goes_on_is_not_raised_again(db, here):
    add = (
        "insert into audit.security_events"
        " (tenant_id, rule_name, group_value, severity, first_event_at, last_event_at)"
        " values (%s, 'brute_force', 'ada', 'high', now(), now())"
    )
    db.execute(add, [here])
    with pytest.raises(psycopg.errors.UniqueViolation, match="security_events_open_key"), db.transaction():
        db.execute(add, [here])
    db.execute(
        "update audit.security_events set status = 'resolved', resolved_at = now(), resolution = 'a typo'"
    )
    db.execute(add, [here])


def test_security_rules_are_strict(db):
    with pytest.raises(psycopg.errors.CheckViolation, match="security_rules_conditions_are_strict"):
        db.execute(
            "insert into audit.security_rules"
            " (name, display_name, description, severity, event_types, grouped_by, condition)"
            " values ('lax', 'Lax', 'Lax', 'low', '{a.b}', 'user', '!($.a == 1)')"
        )


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("enterprise_ai_app", "insert into audit.audit_logs default values"),
        ("enterprise_ai_app", "select from audit.audit_logs"),
        ("enterprise_ai_app", "select content_hash from audit.change_approvals"),
        ("enterprise_ai_auditor", "delete from audit.audit_logs"),
        ("enterprise_ai_auditor", "update audit.change_tracking set old_row = null"),
        ("enterprise_ai_operator", "select from audit.audit_logs"),
        ("enterprise_ai_operator", "delete from audit.ledger_blocks"),
    ],
)
def test_roles_get_no_more_than_they_need(admin, role, statement):
    admin.execute(f"set local role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute(statement)


def test_the_auditor_reads_the_logs_of_the_tenant(admin):
    admin.execute(CONTEXT, [NIL])
    admin.execute("insert into audit.audit_logs (tenant_id, event_type) values (%s, 'a.b')", [NIL])
    admin.execute("set local role enterprise_ai_auditor")
    assert one(admin, "select count(*) from audit.audit_logs") == 1
