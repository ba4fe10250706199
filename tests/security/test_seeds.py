"""What the seeds of security say is true of this database."""

from __future__ import annotations

import ipaddress

import psycopg
import pytest

SEEDS_ARE_TRUE = {
    "every catalogued column exists": """
        select e.name from security.data_elements as e
        where not exists (
            select from pg_attribute as a
            where a.attrelid = to_regclass(format('%I.%I', e.schema_name, e.table_name))
              and a.attname = e.column_name and a.attnum > 0 and not a.attisdropped)""",
    "hashes, secrets and addresses are catalogued": r"""
        select n.nspname || '.' || c.relname || '.' || a.attname
        from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid
        join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname = any (platform.domains()) and c.relkind in ('r', 'p') and not c.relispartition
          and a.attnum > 0 and not a.attisdropped
          and (a.attname in ('email', 'ip_address', 'user_agent', 'secret', 'given_name', 'family_name')
               or a.attname ~ '(_secret|token_hash|key_hash|code_hash|password_hash|value_hash|wrapped_key)$')
          and not exists (
              select from security.data_elements as e
              where e.name = n.nspname || '.' || c.relname || '.' || a.attname)""",
    "no column is classified below its kind of personal data": """
        select e.name from security.data_elements as e
        join security.data_classifications as own on own.name = e.classification
        join security.pii_categories as p on p.name = e.pii_category
        join security.data_classifications as least on least.name = p.classification
        where own.rank < least.rank""",
    "every masked classification has a policy": """
        select c.name from security.data_classifications as c
        where c.is_masked
          and not exists (select from security.masking_policies as m where m.classification = c.name)""",
    "retention names a moment of a table, and drops months only of tables that have months": """
        select r.schema_name, r.table_name from security.retention_policies as r
        where not exists (
            select from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid
            where c.oid = to_regclass(format('%I.%I', r.schema_name, r.table_name))
              and a.attname = r.time_column and a.atttypid = 'timestamptz'::regtype
              and (r.action = 'drop_partition') = (c.relkind = 'p'))""",
    "every table with months has a retention policy": """
        select c.oid::regclass from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'p' and n.nspname = any (platform.domains())
          and not exists (
              select from security.retention_policies as r
              where r.schema_name = n.nspname and r.table_name = c.relname)""",
    "what a control names exists": """
        select c.code, named.object from security.compliance_controls as c
        cross join unnest(c.objects) as named (object)
        where to_regclass(named.object) is null
          and to_regproc(named.object) is null
          and to_regrole(named.object) is null""",
    "what the database can meet alone has a control": """
        select r.framework_code, r.reference from security.compliance_requirements as r
        where r.responsibility = 'database'
          and not exists (
              select from security.requirement_controls as c
              where c.framework_code = r.framework_code and c.reference = r.reference)""",
    "every control answers a requirement": """
        select c.code from security.compliance_controls as c
        where not exists (select from security.requirement_controls as r where r.control_code = c.code)""",
    "patterns accept their examples": """
        select d.name, shown.example from security.pii_detectors as d
        cross join unnest(d.examples) as shown (example)
        where not case when d.is_case_sensitive then shown.example ~ d.pattern
                       else shown.example ~* d.pattern end""",
}

REQUIREMENTS = {
    "GDPR": {
        "Art. 5(1)(f)",
        "Art. 6",
        "Art. 15",
        "Art. 17",
        "Art. 20",
        "Art. 25",
        "Art. 30",
        "Art. 32",
        "Art. 33",
    },
    "CCPA": {"§1798.100", "§1798.105", "§1798.106", "§1798.110", "§1798.120", "§1798.121", "§1798.150"},
    "HIPAA": {
        "§164.308(a)(1)(ii)(D)",
        "§164.312(a)(1)",
        "§164.312(b)",
        "§164.312(d)",
        "§164.404",
        "§164.528",
    },
    "SOX": {"§302", "§404", "§409", "§802", "§906"},
    "PCI-DSS": {*map(str, range(1, 13)), "3.4.1", "3.5.1", "7.2.1", "8.3.4", "10.2.1", "10.3.2", "10.5.1"},
}


def one(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


@pytest.mark.parametrize("query", SEEDS_ARE_TRUE.values(), ids=SEEDS_ARE_TRUE)
def test_seeds_are_true(db, query):
    assert db.execute(query).fetchall() == []


@pytest.mark.parametrize("framework", REQUIREMENTS)
def test_a_framework_has_its_requirements_and_controls(db, framework):
    found = {
        row[0]
        for row in db.execute(
            "select reference from security.compliance_requirements where framework_code = %s", [framework]
        )
    }
    assert REQUIREMENTS[framework] <= found
    assert (
        one(db, "select count(*) from security.requirement_controls where framework_code = %s", framework)
        > 10
    )


def test_there_are_five_classifications_in_order(db):
    names = [row[0] for row in db.execute("select name from security.data_classifications order by rank")]
    assert names == ["public", "internal", "confidential", "restricted", "secret"]


def luhn(text: str) -> bool:
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def iban(text: str) -> bool:
    compact = text.replace(" ", "").upper()
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def nhs_number(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    return (11 - sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11) % 11 == digits[9]


def ip_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def test_detectors_and_validators_tell_examples_from_look_alikes(db):
    validators = {
        None: lambda _: True,
        "luhn": luhn,
        "iban": iban,
        "nhs_number": nhs_number,
        "ip_address": ip_address,
    }
    detectors = db.execute(
        "select name, pattern, case when is_case_sensitive then '' else 'i' end, validator, examples,"
        " counterexamples"
        " from security.pii_detectors"
    ).fetchall()
    assert len(detectors) > 10
    for name, pattern, flags, validator, examples, counterexamples in detectors:
        for text in [*examples, *counterexamples]:
            # The whole match, whatever groups the pattern has.
            found = db.execute(
                "select m[1] from regexp_matches(%s, '(' || %s || ')', %s) as m", [text, pattern, flags]
            ).fetchone()
            assert (found is not None and validators[validator](found[0])) == (text in examples), (name, text)


def test_a_malformed_pattern_is_refused_when_it_is_written(db):
    with pytest.raises(psycopg.errors.InvalidRegularExpression):
        db.execute("update security.pii_detectors set pattern = '(' where name = 'iban'")


def test_a_pattern_that_finds_nothing_at_all_is_refused(db):
    with pytest.raises(psycopg.errors.CheckViolation, match="pattern_needs_some_text"):
        db.execute("update security.pii_detectors set pattern = 'x*' where name = 'iban'")
