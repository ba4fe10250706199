"""The tables of security hold their rules, and roles get no more of them than they need."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"


@pytest.fixture
def here(db, tenant):
    """The id of a tenant whose context is open."""
    tenant_id = tenant("security-here")
    db.execute(CONTEXT, [tenant_id])
    return tenant_id


@pytest.fixture
def ada(db, here):
    return one(
        db,
        "insert into identity.users (tenant_id, email, display_name) values (%s, %s, %s) returning id",
        here, "ada@example.com", "Ada",
    )  # fmt: skip


def one(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def place_hold(db, tenant_id, person):
    return one(
        db,
        "insert into security.legal_holds (tenant_id, matter, reason, placed_by)"
        " values (%s, 'Case 1', 'Dispute', %s) returning id",
        tenant_id, person,
    )  # fmt: skip


def test_a_hold_in_force_keeps_itself_and_its_tenant(db, here, ada):
    hold = place_hold(db, here, ada)
    for statement in ("delete from security.legal_holds", "delete from identity.tenants"):
        with pytest.raises(psycopg.Error, match=f"{hold}.*nothing was deleted") as caught, db.transaction():
            db.execute(statement)
        assert caught.value.sqlstate == "ZS001"


def test_a_released_hold_lets_go(db, here, ada):
    place_hold(db, here, ada)
    db.execute(
        "insert into security.legal_hold_custodians select tenant_id, id, placed_by from security.legal_holds"
    )
    db.execute(
        "update security.legal_holds"
        " set released_by = placed_by, released_at = now(), release_reason = 'over'"
    )
    assert db.execute("delete from identity.tenants").rowcount == 1
    assert one(db, "select count(*) from security.legal_hold_custodians") == 0


def test_a_custodian_cannot_be_deleted(db, here, ada):
    hold = place_hold(db, here, ada)
    eve = one(
        db,
        "insert into identity.users (tenant_id, email, display_name) values (%s, %s, %s) returning id",
        here, "eve@example.com", "Eve",
    )  # fmt: skip
    db.execute("insert into security.legal_hold_custodians (tenant_id, hold_id, user_id) values (%s, %s, %s)",
               [here, hold, eve])  # fmt: skip
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="legal_hold_custodians_user_id_fkey"):
        db.execute("delete from identity.users where id = %s", [eve])


def test_an_assessment_takes_requirements_of_its_own_framework_only(db, here):
    assessment = one(
        db,
        "insert into security.compliance_assessments"
        " (tenant_id, framework_code, title, scope, period_starts_on, period_ends_on)"
        " values (%s, 'GDPR', 'Yearly', 'All', '2026-01-01', '2026-12-31') returning id",
        here,
    )
    add = (
        "insert into security.assessment_results (tenant_id, assessment_id, framework_code, reference)"
        " values (%s, %s, %s, %s)"
    )
    db.execute(add, [here, assessment, "GDPR", "Art. 32"])
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="assessment_results_assessment_id_fkey"):
        db.execute(add, [here, assessment, "SOX", "§404"])


def test_a_bare_key_is_refused(db, here):
    with pytest.raises(psycopg.errors.CheckViolation, match="encryption_keys_are_wrapped"):
        db.execute(
            "insert into security.encryption_keys"
            " (tenant_id, purpose, version, wrapped_key, wrapping_key_uri, wrapping_algorithm)"
            " values (%s, 'test', 1, platform.random_bytes(32), 'env:KEY', 'none')",
            [here],
        )


def test_a_purpose_has_one_active_key(db, here):
    add = (
        "insert into security.encryption_keys"
        " (tenant_id, purpose, version, wrapped_key, wrapping_key_uri, wrapping_algorithm, status,"
        " activated_at)"
        " values (%s, 'test', %s, platform.random_bytes(40), 'env:KEY', 'aes-256-kwp', 'active', now())"
    )
    db.execute(add, [here, 1])
    with pytest.raises(psycopg.errors.UniqueViolation, match="encryption_keys_active_key"):
        db.execute(add, [here, 2])


def test_what_is_due_is_due_as_the_tenant_has_set_it(db, here):
    for key, days in (("subject_request_days", 20), ("encryption_key_rotation_days", 90)):
        db.execute("insert into platform.tenant_settings (tenant_id, key, value) values (%s, %s, to_jsonb(%s::int))",
                   [here, f"security.{key}", days])  # fmt: skip
    ask = (
        "insert into security.data_subject_requests (tenant_id, framework_code, kind, subject_email, due_at)"
        " values (%s, 'GDPR', 'access', 'ada@here.test', now() + %s::interval) returning due_at - received_at"
    )
    keep = (
        "insert into security.encryption_keys (tenant_id, purpose, version, wrapped_key, wrapping_key_uri,"
        " wrapping_algorithm) values (%s, 'test', 1, platform.random_bytes(40), 'env:KEY', 'aes-256-kwp')"
        " returning rotate_at"
    )
    activate = (
        "update security.encryption_keys set status = 'active', activated_at = now(), rotate_at = coalesce(rotate_at, %s)"
        " where tenant_id = %s returning rotate_at - activated_at"
    )

    assert one(db, ask, here, None) == timedelta(days=20)
    assert one(db, ask, here, "3 days") == timedelta(days=3)
    assert one(db, keep, here) is None
    assert one(db, activate, None, here) == timedelta(days=90)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("enterprise_ai_app", "select wrapped_key from security.encryption_keys"),
        ("enterprise_ai_app", "select value_hash from security.pii_findings"),
        ("enterprise_ai_app", "update security.legal_holds set covers_until = now()"),
        ("enterprise_ai_app", "delete from security.data_subject_requests"),
        ("enterprise_ai_app", "update security.compliance_controls set status = 'implemented'"),
        ("enterprise_ai_reader", "select from security.data_elements"),
    ],
)
def test_roles_get_no_more_than_they_need(admin, role, statement):
    admin.execute(f"set local role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute(statement)
