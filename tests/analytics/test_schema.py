"""What the analytics tables refuse and keep: trees without circles, closed periods, charges after FOCUS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

CONTEXT = "select platform._seal_context(jsonb_build_object('tenant_id', %s::uuid))"
MONTH = "date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'"
NEXT_MONTH = "(date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC'"

USAGE = {
    "billing_period_start": MONTH,
    "billing_period_end": NEXT_MONTH,
    "billing_currency": "'USD'",
    "charge_period_start": MONTH,
    "charge_period_end": f"{MONTH} + interval '1 hour'",
    "charge_category": "'Usage'",
    "billed_cost": "0.0025",
    "effective_cost": "0.0025",
    "list_cost": "0.0025",
    "contracted_cost": "0.0025",
    "consumed_quantity": "1000",
    "consumed_unit": "'tokens'",
    "pricing_quantity": "0.001",
    "pricing_unit": "'1000000 tokens'",
    "service_name": "'OpenAI API'",
    "service_provider_name": "'OpenAI'",
    "sku_id": "'openai/gpt-4o/input_tokens'",
    "sku_meter": "'input_tokens'",
    "sku_price_id": "'1'",
    "resource_id": "'openai/gpt-4o'",
    "resource_type": "'model'",
    "usage_log_id": "'11111111-1111-7111-8111-111111111111'",
}
UNMETERED = dict.fromkeys(
    (
        "consumed_quantity",
        "consumed_unit",
        "pricing_quantity",
        "pricing_unit",
        "sku_id",
        "sku_meter",
        "sku_price_id",
    ),
    "null",
)


@pytest.fixture
def here(db, tenant):
    """The id of a tenant whose context is open."""
    tenant_id = tenant("analytics-here")
    db.execute(CONTEXT, [tenant_id])
    return tenant_id


def one(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def centre(conn, code):
    return one(conn, "select id from analytics.cost_centers where code = %s", code)


def insert(conn, table, tenant_id, **expressions):
    columns = {"tenant_id": f"'{tenant_id}'", **expressions}
    return conn.execute(
        sql.SQL("insert into {} ({}) values ({}) returning *").format(
            sql.SQL(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.SQL, columns.values())),
        )
    ).fetchone()


def charge(conn, tenant_id, **changes):
    return insert(
        conn,
        "analytics.cost_allocations",
        tenant_id,
        **{"sub_account_id": f"'{uuid4()}'", **USAGE, **changes},
    )


def refused_by(constraint):
    """Expect the named constraint to refuse."""
    return pytest.raises(errors.IntegrityError, match=constraint)


def test_a_tenants_cost_centres_are_made_once(db, here):
    before = db.execute("select * from analytics.cost_centers order by id").fetchall()
    db.execute("select analytics.create_default_cost_centers()")
    assert db.execute("select * from analytics.cost_centers order by id").fetchall() == before
    root = centre(db, "root")
    assert dict(db.execute("select code, parent_id from analytics.cost_centers").fetchall()) == {
        "root": None,
        "operations": root,
        "research": root,
        "shared": root,
        "unassigned": root,
    }


def test_the_default_cost_centre_of_the_settings_is_there(db, here):
    code = one(db, "select platform.setting('analytics.default_cost_center') #>> '{}'")
    assert centre(db, code)


@pytest.mark.parametrize("parent", ["root", "shared"])
def test_a_cost_centre_cannot_lie_within_itself(db, here, parent):
    with pytest.raises(psycopg.Error, match="cannot lie within itself") as caught:
        db.execute(
            "update analytics.cost_centers set parent_id = %s where code = 'root'",
            [centre(db, parent)],
        )
    assert caught.value.sqlstate == "ZN001"


def test_two_rows_of_one_statement_cannot_be_each_others_parents(db, here):
    first, second = uuid4(), uuid4()
    with pytest.raises(psycopg.Error) as caught:
        db.execute(
            "insert into analytics.cost_centers (tenant_id, id, parent_id, code, display_name)"
            " values (%(t)s, %(a)s, %(b)s, 'a', 'A'), (%(t)s, %(b)s, %(a)s, 'b', 'B')",
            {"t": here, "a": first, "b": second},
        )
    assert caught.value.sqlstate == "ZN001"


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_two_moves_at_once_close_no_circle(database, isolation):
    with psycopg.connect(database) as conn:
        tenant_id = one(conn, "select identity.create_tenant('moving', 'Moving')")
        conn.execute(CONTEXT, [tenant_id])
        first, second = centre(conn, "operations"), centre(conn, "research")
    both_read = Barrier(2, timeout=10)

    def move(what, where):
        with psycopg.connect(database) as conn:
            conn.execute(f"set transaction isolation level {isolation}")
            conn.execute(CONTEXT, [tenant_id])
            conn.execute("select from analytics.cost_centers")
            both_read.wait()
            try:
                conn.execute("update analytics.cost_centers set parent_id = %s where id = %s", [where, what])
                conn.commit()
            except psycopg.Error as error:
                return error.sqlstate
        return "moved"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(move, [first, second], [second, first]))
    # The other one is told so, or is told to try again and will be told then.
    assert outcomes[1] == "moved"
    assert outcomes[0] in {"ZN001", "40001", "40P01"}


def test_an_assignment_is_of_one_subject(db, here):
    with refused_by("cost_center_assignments_are_of_one_subject"):
        insert(db, "analytics.cost_center_assignments", here, cost_center_id=f"'{centre(db, 'shared')}'")


def test_a_budget_has_the_scope_that_it_names(db, here):
    limits = {"hard_limit": "100", "anchor_on": "'2026-01-31'"}
    insert(db, "analytics.budgets", here, name="'all'", **limits)
    parent = one(db, "select id from analytics.budgets")
    insert(
        db,
        "analytics.budgets",
        here,
        name="'model'",
        model_name="'gpt-4o'",
        parent_id=f"'{parent}'",
        **limits,
    )
    insert(
        db, "analytics.budgets", here, name="'centre'", cost_center_id=f"'{centre(db, 'shared')}'", **limits
    )
    assert dict(db.execute("select name, scope from analytics.budgets").fetchall()) == {
        "all": "tenant",
        "model": "model",
        "centre": "cost_center",
    }


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"soft_limit": "2", "hard_limit": "1"}, "budgets_soft_limit_is_within_the_hard"),
        ({"hard_limit": "null"}, "budgets_have_a_limit"),
        ({"hard_limit": "-1"}, "budgets_limits_are_not_negative"),
        ({"period": "'once'"}, "budgets_of_one_period_have_an_end"),
        ({"period": "'fortnight'"}, "budgets_period_is_known"),
        ({"ends_on": "'2026-01-01'"}, "budgets_end_after_they_start"),
        ({"currency": "'usd'"}, "budgets_currency_is_iso_4217"),
        ({"time_zone": "'CEST'"}, "budgets_time_zone_is_iana"),
        ({"model_name": "'m'", "user_id": f"'{uuid4()}'"}, "budgets_have_one_scope"),
        ({"parent_id": f"'{uuid4()}'"}, "budgets_of_the_tenant_are_roots"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(db, here, changes, constraint):
    with refused_by(constraint):
        insert(
            db,
            "analytics.budgets",
            here,
            **{"name": "'b'", "hard_limit": "1", "anchor_on": "'2026-01-31'", **changes},
        )


def test_a_budget_in_a_zone_that_does_not_exist_is_refused(db, here):
    with pytest.raises(errors.InvalidParameterValue, match="Mars/Phobos"):
        insert(
            db,
            "analytics.budgets",
            here,
            name="'b'",
            hard_limit="1",
            anchor_on="'2026-01-31'",
            time_zone="'Mars/Phobos'",
        )


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"status": "'settled'", "closed_at": "now()"}, "budget_reservations_settled_have_an_amount"),
        ({"settled_amount": "1"}, "budget_reservations_settled_have_an_amount"),
        ({"status": "'expired'"}, "budget_reservations_are_held_or_closed"),
        ({"closed_at": "now()"}, "budget_reservations_are_held_or_closed"),
        ({"expires_at": "now()"}, "budget_reservations_expire_after_they_start"),
        ({"amount": "-1"}, "budget_reservations_amount_is_not_negative"),
    ],
)
def test_a_reservation_is_held_or_closed(db, here, changes, constraint):
    held = {"amount": "1", "currency": "'USD'", "expires_at": "now() + interval '1 minute'"}
    insert(db, "analytics.budget_reservations", here, **held)
    with refused_by(constraint):
        insert(db, "analytics.budget_reservations", here, **{**held, **changes})


LAST_JANUARY = {"starts_at": "'2026-01-01 00:00Z'", "ends_at": "'2026-02-01 00:00Z'"}
CLOSED = {
    "status": "'closed'",
    "closed_at": "'2026-02-06 00:00Z'",
    "billed_cost": "12.5",
    "charge_count": "3",
}


@pytest.mark.parametrize(
    "change",
    [
        "update analytics.billing_periods set billed_cost = 13",
        "update analytics.billing_periods"
        " set status = 'open', closed_at = null, billed_cost = null, charge_count = null",
    ],
)
def test_a_closed_period_stays_as_it_is(db, here, change):
    insert(db, "analytics.billing_periods", here, **{**LAST_JANUARY, **CLOSED})
    with pytest.raises(psycopg.Error, match="The billing period of 2026-01 is closed") as caught:
        db.execute(change)
    assert caught.value.sqlstate == "ZN002"


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"starts_at": "'2026-01-02 00:00Z'"}, "billing_periods_are_months"),
        ({"ends_at": "'2026-01-31 00:00Z'"}, "billing_periods_are_months"),
        ({"status": "'closed'"}, "billing_periods_closed_are_counted"),
        ({"closed_at": "'2026-02-06 00:00Z'"}, "billing_periods_closed_are_counted"),
        ({**CLOSED, "closed_at": "'2026-01-31 00:00Z'"}, "billing_periods_close_after_they_end"),
    ],
)
def test_a_billing_period_is_a_month_that_is_open_or_counted(db, here, changes, constraint):
    with refused_by(constraint):
        insert(db, "analytics.billing_periods", here, **{**LAST_JANUARY, **changes})


def test_usage_is_charged_once_for_each_meter(db, here):
    charge(db, here)
    charge(db, here, sku_meter="'output_tokens'")
    with pytest.raises(errors.UniqueViolation):
        charge(db, here)


def test_a_correction_of_a_closed_month_is_billed_in_this_one(db, here):
    charge(
        db,
        here,
        charge_class="'Correction'",
        charge_period_start=f"{MONTH} - interval '1 hour'",
        charge_period_end=MONTH,
        **UNMETERED,
    )


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"charge_category": "'Refund'"}, "cost_allocations_charge_category_is_known"),
        ({"charge_class": "'correction'"}, "cost_allocations_charge_class_is_correction"),
        ({"charge_class": "'Correction'"}, "cost_allocations_corrections_are_of_the_past"),
        ({"charge_period_start": f"{MONTH} - interval '1 hour'"}, "cost_allocations_usage_is_of_its_month"),
        ({"charge_period_end": MONTH}, "cost_allocations_charge_period_ends_after_it_starts"),
        (
            {"billing_period_start": f"{MONTH} + interval '1 day'"},
            "cost_allocations_billing_period_is_a_month",
        ),
        (UNMETERED, "cost_allocations_usage_is_metered"),
        ({"consumed_unit": "null"}, "cost_allocations_consumed_quantity_has_a_unit"),
        ({"charge_category": "'Purchase'"}, "cost_allocations_only_usage_is_consumed"),
        ({**UNMETERED, "charge_category": "'Purchase'"}, "cost_allocations_purchases_are_priced"),
        (
            {**UNMETERED, "charge_category": "'Tax'", "list_unit_price": "1"},
            "cost_allocations_taxes_have_no_sku",
        ),
        ({"service_category": "'AI'"}, "cost_allocations_service_category_is_known"),
        ({"allocated_method_id": "'rule'"}, "cost_allocations_shares_have_an_origin"),
        (
            {
                "allocated_method_id": "'rule'",
                "origin_charge_id": f"'{uuid4()}'",
                "allocated_method_details": "'{}'",
            },
            "cost_allocations_method_details_list_elements",
        ),
        ({"tags": "'[]'"}, "cost_allocations_tags_are_an_object"),
    ],
)
def test_a_charge_that_focus_would_not_have_is_refused(db, here, changes, constraint):
    with refused_by(constraint):
        charge(db, here, **changes)


def test_a_cached_token_is_an_input_token(db, here):
    rollup = {
        "bucket_at": "'2026-01-01 05:00Z'",
        "kind": "'llm'",
        "service_name": "'openai'",
        "resource_name": "'gpt-4o'",
        "requests": "1",
        "input_tokens": "10",
        "cache_read_input_tokens": "6",
    }
    insert(db, "analytics.usage_rollups", here, **rollup)
    with refused_by("usage_rollups_cached_tokens_are_input"):
        insert(db, "analytics.usage_rollups", here, **rollup, cache_creation_input_tokens="5")


def test_roll_ups_are_of_utc_hours(db, here):
    db.execute("set local timezone = 'Asia/Kolkata'")
    with refused_by("usage_rollups_buckets_are_hours"):
        insert(
            db,
            "analytics.usage_rollups",
            here,
            bucket_at="'2026-01-01 05:00'",
            kind="'api'",
            service_name="'api-gateway'",
            resource_name="'/'",
        )


def test_a_report_run_goes_from_queue_to_result(db, here):
    insert(
        db,
        "analytics.analytics_reports",
        here,
        name="'r'",
        dataset="'cost'",
        definition="""'{"measures": ["cost"]}'""",
    )
    report_id = one(db, "select id from analytics.analytics_reports")
    insert(db, "analytics.report_executions", here, report_id=f"'{report_id}'", due_at="'2026-01-01 00:00Z'")
    with db.transaction(), refused_by("report_executions_due_at_key"), db.transaction():
        insert(
            db, "analytics.report_executions", here, report_id=f"'{report_id}'", due_at="'2026-01-01 00:00Z'"
        )
    with db.transaction(), refused_by("report_executions_running_have_a_lease"), db.transaction():
        db.execute("update analytics.report_executions set status = 'running', started_at = now()")
    db.execute(
        "update analytics.report_executions set status = 'running', started_at = now(),"
        " lease_expires_at = now() + interval '1 minute'"
    )
    db.execute(
        "update analytics.report_executions set status = 'succeeded', lease_expires_at = null,"
        " finished_at = now(), covers_from = now() - interval '1 day', covers_until = now(),"
        " row_count = 0, result = '[]'"
    )


def test_a_report_asks_for_something(db, here):
    with refused_by("analytics_reports_definition_has_measures"):
        insert(db, "analytics.analytics_reports", here, name="'r'", dataset="'cost'", definition="'{}'")


def test_a_monitor_that_goes_on_firing_is_one_event(db, here):
    insert(db, "analytics.monitors", here, name="'m'", measure="'cost'", threshold="10")
    fired = {
        "monitor_id": "(select id from analytics.monitors)",
        "severity": "'warning'",
        "value": "11",
        "threshold": "10",
    }
    insert(db, "analytics.monitor_events", here, **fired)
    with db.transaction(), refused_by("monitor_events_open_key"), db.transaction():
        insert(db, "analytics.monitor_events", here, **fired)
    db.execute("update analytics.monitor_events set resolved_at = now()")
    insert(db, "analytics.monitor_events", here, **fired)


def test_deleting_a_tenant_takes_all_of_this_along(db, here):
    insert(db, "identity.users", here, email="'ada@example.com'", display_name="'Ada'")
    ada = "(select id from identity.users)"
    shared = "(select id from analytics.cost_centers where code = 'shared')"
    db.execute("update analytics.cost_centers set owner_id = (select id from identity.users)")
    insert(db, "analytics.cost_center_assignments", here, cost_center_id=shared, user_id=ada)
    insert(
        db,
        "analytics.usage_sessions",
        here,
        user_id=ada,
        cost_center_id=shared,
        application="'chat'",
        channel="'web'",
    )
    insert(
        db,
        "analytics.budgets",
        here,
        name="'b'",
        cost_center_id=shared,
        hard_limit="1",
        anchor_on="'2026-01-01'",
    )
    insert(
        db,
        "analytics.allocation_rules",
        here,
        name="'r'",
        position="1",
        cost_center_id=shared,
        valid_from="now()",
    )
    insert(
        db,
        "analytics.allocation_rule_targets",
        here,
        cost_center_id=shared,
        rule_id="(select id from analytics.allocation_rules)",
    )
    insert(
        db,
        "analytics.analytics_reports",
        here,
        name="'r'",
        dataset="'cost'",
        owner_id=ada,
        definition="""'{"measures": ["cost"]}'""",
    )
    insert(
        db,
        "analytics.report_executions",
        here,
        requested_by=ada,
        report_id="(select id from analytics.analytics_reports)",
    )
    db.execute("delete from identity.tenants")
    assert one(db, "select count(*) from analytics.cost_centers") == 0
    assert one(db, "select count(*) from analytics.report_executions") == 0
