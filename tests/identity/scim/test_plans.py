"""What directories ask for all the time is found by an index, in a tenant of many people."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql
from scim2_models import ScimFilter

from enterprise_ai._queries import queries
from enterprise_ai.identity.scim import attributes, filters
from enterprise_ai.identity.scim.schemas import PROVIDER
from tests.identity.conftest import Tenant, World

_sql = queries("enterprise_ai.identity.scim")


@pytest.fixture(scope="module")
def crowd(world: World) -> Tenant:
    """A tenant of 1,000 people and 300 groups."""
    tenant = world.new_tenant("crowd")
    with world.owner(tenant) as conn:
        conn.execute(
            """insert into identity.users (tenant_id, email, display_name, external_id, status)
               select %s, 'p' || n || '@crowd.test', 'P' || n, 'x' || n, 'active' from generate_series(1, 1000) as n""",
            [tenant.id],
        )
        conn.execute(
            """insert into identity.groups (tenant_id, display_name, external_id)
               select %s, 'G' || n, 'x' || n from generate_series(1, 300) as n""",
            [tenant.id],
        )
        conn.execute("analyze identity.users, identity.groups")
    return tenant


@pytest.mark.parametrize(
    ("kind", "text", "index"),
    [
        ("User", 'userName eq "P7@crowd.test"', "users_user_name_key"),
        ("User", 'emails.value eq "P7@crowd.test"', "users_email_key"),
        ("User", 'externalId eq "x7"', "users_external_id_key"),
        ("User", 'id eq "01a223d5-94f2-76f5-9fc1-25cfb73f81b7"', "users_living_idx users_pkey"),
        ("Group", 'displayName eq "G7"', "groups_display_name_key"),
        ("Group", 'externalId eq "x7"', "groups_external_id_key"),
    ],
)
def test_an_index_finds_them(world: World, crowd: Tenant, kind: str, text: str, index: str) -> None:
    model: Any = PROVIDER.model_for(kind)
    columns = attributes.USER if kind == "User" else attributes.GROUP
    found, values = filters.condition(ScimFilter[model](text).ast, columns)
    statement = sql.SQL(_sql[f"find_{kind.lower()}s"]) + sql.SQL(" and ({})").format(found)
    with world.connect("gateway") as conn:
        conn.execute("select platform.open_context(%s)", [crowd.id])
        plan = conn.execute(
            sql.SQL("explain (format json) ") + statement,
            values | {"with_groups": False, "with_members": False},
        ).fetchone()[0]

    assert used(plan[0]["Plan"]) & set(index.split())


def used(plan: dict[str, Any]) -> set[str]:
    """The indexes of a plan."""
    own = {plan["Index Name"]} if "Index Name" in plan else set()
    return own.union(*(used(part) for part in plan.get("Plans", ())))
