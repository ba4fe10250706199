"""Monthly partitions: cut in UTC, made under readers and writers, once however many ask."""

import threading

import psycopg
import pytest

TABLE = "audit.audit_logs"


def months(conn):
    return conn.execute(
        "select starts_at, ends_at from platform.partitions(%s::regclass)", [TABLE]
    ).fetchall()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
def test_borders_are_in_utc_whatever_the_session_says(db, zone):
    db.execute("select set_config('timezone', %s, true)", [zone])
    (made,) = db.execute(
        "select platform.ensure_partitions(%s::regclass, '2040-01-15', '2040-03-01')", [TABLE]
    ).fetchone()
    db.execute("set local timezone = 'UTC'")
    assert made == 3
    assert [(s.strftime("%Y-%m-%d %H"), e.strftime("%Y-%m-%d %H")) for s, e in months(db)][-3:] == [
        ("2040-01-01 00", "2040-02-01 00"), ("2040-02-01 00", "2040-03-01 00"), ("2040-03-01 00", "2040-04-01 00"),
    ]  # fmt: skip


def test_asking_again_makes_nothing(db):
    call = "select platform.ensure_partitions(%s::regclass, '2040-01-01', '2040-06-01')"
    assert [db.execute(call, [TABLE]).fetchone()[0] for _ in range(2)] == [6, 0]


def test_readers_and_writers_go_on_while_months_are_made(database):
    """A long report holds the table; months are made all the same, because nothing asks for an exclusive lock."""
    with psycopg.connect(database) as report, psycopg.connect(database) as maintainer:
        report.execute(f"select count(*) from {TABLE}")
        maintainer.execute("set statement_timeout = '5s'")
        (made,) = maintainer.execute(
            "select platform.ensure_partitions(%s::regclass, '2041-01-01', '2041-12-01')", [TABLE]
        ).fetchone()
        maintainer.commit()
        assert made == 12


def test_four_maintainers_at_once_make_each_month_once(database):
    made: list[int] = []

    def maintain(zone: str) -> None:
        with psycopg.connect(database) as conn:
            conn.execute("select set_config('timezone', %s, false)", [zone])
            made.append(
                conn.execute(
                    "select platform.ensure_partitions(%s::regclass, '2042-01-01', '2042-12-01')", [TABLE]
                ).fetchone()[0]
            )

    threads = [
        threading.Thread(target=maintain, args=(zone,))
        for zone in ("UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 0, 0, 12]


def test_only_tables_partitioned_here_are_taken(db):
    with pytest.raises(psycopg.Error, match="is not a partitioned table") as caught:
        db.execute(
            "select platform.ensure_partitions('identity.users'::regclass, '2040-01-01', '2040-01-01')"
        )
    assert caught.value.sqlstate == "ZP001"


def test_maintenance_covers_every_partitioned_table(db):
    rows = dict(db.execute("select parent::text, made from platform.maintain_partitions(14)").fetchall())
    assert len(rows) >= 4
    assert set(rows.values()) == {2}
