"""What can be said as a query over the catalogue that must return no rows is said so, one rule a file."""

from pathlib import Path

import pytest

RULES = sorted(Path(__file__).parent.glob("*.sql"))


@pytest.mark.parametrize("rule", RULES, ids=lambda path: path.stem)
def test_catalogue_rule(db, rule):
    db.execute("set local search_path = pg_catalog")  # so that every name is shown in full
    assert db.execute(rule.read_text()).fetchall() == []


def test_the_rules_are_found():
    assert len(RULES) >= 18
