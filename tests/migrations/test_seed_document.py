"""What the project's founding document says of the schema and its data, statement by statement."""

from decimal import Decimal

import psycopg
import pytest

from enterprise_ai.migrate import Migrator
from tests.conftest import MIGRATIONS

CONTEXT = """
select platform._seal_context(jsonb_build_object('tenant_id', d.tenant_id))
from identity.tenant_directory as d where d.slug = 'default'
"""


@pytest.fixture
def default(db):
    """A connection in the context of the default tenant, with the search path that a new session has."""
    db.execute(CONTEXT)
    return db


def names(db, query):
    return {name for (name,) in db.execute(query)}


def test_the_four_files_are_recorded_in_order(db):
    rows = db.execute("SELECT * FROM schema_migrations ORDER BY id;").fetchall()
    assert [row[1] for row in rows][:4] == [
        "001_initial_schema.sql", "002_sso_and_llm_domain.sql", "003_analytics_security_audit.sql", "004_seed_data.sql",
    ]  # fmt: skip


def test_required_extensions(db):
    assert {"uuid-ossp", "pgcrypto"} <= names(db, "select extname from pg_extension")


def test_default_roles(default):
    assert names(default, "select name from authz.roles") == {
        "super_admin", "admin", "manager", "analyst", "user", "viewer", "api_user",
        "compliance_officer", "security_admin", "cost_manager",
    }  # fmt: skip


def test_every_role_but_none_holds_a_permission(default):
    assert (
        names(
            default,
            "select name from authz.roles as r where not exists (select from authz.role_permissions"
            " as p where p.tenant_id = r.tenant_id and p.role_id = r.id)"
            " and not exists (select from authz.role_inheritance as i"
            " where i.tenant_id = r.tenant_id and i.role_id = r.id)",
        )
        == set()
    )


def test_resource_types(db):
    assert names(db, "select name from authz.resource_types") == {
        "system", "user", "role", "permission", "conversation", "message", "document",
        "analytics", "audit", "api", "cost_center", "encryption_key", "compliance",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "display_name", "prices", "is_deprecated"),
    [
        ("gpt-4o", "GPT-4o", ("2.50", "10.00", "1.25"), False),
        ("gpt-4o-mini", "GPT-4o Mini", ("0.15", "0.60", "0.075"), False),
        ("gpt-4-turbo", "GPT-4 Turbo", ("10.00", "30.00", None), True),
        ("gpt-3.5-turbo", "GPT-3.5 Turbo", ("0.50", "1.50", None), True),
    ],
)
def test_models_with_pricing_and_capabilities(db, model, display_name, prices, is_deprecated):
    rows = db.execute(
        "select m.display_name, m.deprecated_on, p.meter, p.unit_price * 1000000 / p.unit_quantity, p.currency,"
        " m.context_window_tokens, m.capabilities from llm.llm_models as m join llm.llm_model_prices as p"
        " on (p.provider_name, p.model_name) = (m.provider_name, m.name) where m.name = %s and p.valid_until is null",
        [model],
    ).fetchall()
    assert {row[0] for row in rows} == {display_name}
    assert {row[1].isoformat() if row[1] else None for row in rows} == {
        "2026-10-23" if is_deprecated else None
    }
    assert {row[4] for row in rows} == {"USD"}
    assert all(row[5] >= 16000 and "streaming" in row[6] for row in rows)
    by_meter = {row[2]: row[3] for row in rows}
    wanted = dict(zip(("input_tokens", "output_tokens", "cache_read_input_tokens"), prices, strict=True))
    assert by_meter == {meter: Decimal(price) for meter, price in wanted.items() if price}


def test_compliance_frameworks_with_requirements_and_controls(db):
    rows = db.execute(
        "select f.code, count(distinct r.reference), count(distinct c.control_code)"
        " from security.compliance_frameworks as f"
        " join security.compliance_requirements as r on r.framework_code = f.code"
        " left join security.requirement_controls as c using (framework_code, reference) group by f.code"
    ).fetchall()
    assert {row[0] for row in rows} == {"GDPR", "CCPA", "HIPAA", "SOX", "PCI-DSS"}
    assert all(requirements >= 5 and controls >= 3 for _, requirements, controls in rows)


@pytest.mark.parametrize("prefix", ["platform", "security", "limits", "llm", "analytics"])
def test_configuration_settings(db, prefix):
    (count,) = db.execute(
        "select count(*) from platform.configuration_settings where key like %s", [prefix + ".%"]
    ).fetchone()
    assert count >= 3


def test_service_configurations(db):
    assert (
        len(
            names(
                db,
                "select distinct service_name from platform.configuration_settings where scope = 'service'",
            )
        )
        >= 3
    )


@pytest.mark.parametrize(
    "table",
    ["audit.audit_logs", "analytics.api_usage_logs", "analytics.cost_allocations", "llm.llm_usage_logs"],
)
def test_large_tables_have_monthly_partitions(db, table):
    rows = db.execute("select starts_at, ends_at from platform.partitions(%s::regclass)", [table]).fetchall()
    assert len(rows) >= 13
    assert all(start.day == end.day == 1 and start < end for start, end in rows)


def test_names_of_the_document_need_no_schema(empty_database):
    """The document writes `audit_logs`, not `audit.audit_logs`: the database's search path finds them."""
    Migrator(empty_database, migrations=MIGRATIONS).migrate()
    with psycopg.connect(empty_database) as conn:
        for table in (
            "schema_migrations",
            "audit_logs",
            "api_usage_logs",
            "cost_allocations",
            "llm_usage_logs",
        ):
            conn.execute(f"select count(*) from {table}")


def test_seeding_twice_changes_nothing(db, default):
    tables = names(
        db,
        "select c.oid::regclass::text from pg_class as c where c.relkind in ('r', 'p')"
        " and c.relnamespace::regnamespace::name = any (platform.domains()) and not c.relispartition",
    )

    def contents():
        db.execute(CONTEXT)
        return {
            t: db.execute(f"select md5(string_agg(r::text, '|' order by r::text)) from {t} as r").fetchone()
            for t in tables
        }

    before = contents()
    db.execute((MIGRATIONS / "004_seed_data.sql").read_text())
    assert contents() == before
