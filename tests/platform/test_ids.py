"""Ids sort by time and are valid UUIDs of version 7."""

import time


def test_ids_are_version_7_of_the_rfc_variant(db):
    ids = [row[0] for row in db.execute("select platform.new_id() from generate_series(1, 1000)")]
    assert {uuid.version for uuid in ids} == {7}
    assert {uuid.variant for uuid in ids} == {"specified in RFC 4122"}
    assert len(set(ids)) == 1000


def test_ids_carry_the_time_they_were_made(db):
    (uuid,) = db.execute("select platform.new_id()").fetchone()
    assert abs((uuid.int >> 80) / 1000 - time.time()) < 5


def test_later_ids_sort_later(db):
    ids = [db.execute("select platform.new_id()").fetchone()[0] for _ in range(200)]
    assert ids == sorted(ids)
