"""Monthly partitions: what there is, and making the months to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection
from psycopg.rows import class_row

# The parents come from the catalogue, so a table partitioned tomorrow needs no entry anywhere.
_LISTING = """
select format('%I.%I', n.nspname, c.relname) as parent,
       count(p.partition)::integer as partitions,
       min(p.starts_at) as starts_at,
       max(p.ends_at) as ends_at,
       (count(*) filter (where p.starts_at > now()))::integer as months_ahead
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join lateral platform.partitions(c.oid) as p on true
where c.relkind = 'p' and n.nspname = any (platform.domains())
group by n.nspname, c.relname
order by n.nspname, c.relname
"""


@dataclass(frozen=True)
class PartitionedTable:
    """A table partitioned by month; `months_ahead` counts the months that have not begun."""

    parent: str
    partitions: int
    starts_at: datetime | None
    ends_at: datetime | None
    months_ahead: int


def listing(conn: Connection) -> list[PartitionedTable]:
    """Return every table that is partitioned by month."""
    with conn.cursor(row_factory=class_row(PartitionedTable)) as cursor:
        return cursor.execute(_LISTING).fetchall()


def maintain(conn: Connection, *, months_ahead: int = 12) -> dict[str, int]:
    """Make this month and so many months ahead; return how many partitions each table gained."""
    rows = conn.execute(
        "select parent::pg_catalog.text, made from platform.maintain_partitions(%s)", [months_ahead]
    ).fetchall()
    return dict(rows)
