"""What the cache of decisions remembers and forgets, without a database and with a clock of the test's own."""

from __future__ import annotations

import math
from uuid import uuid4

import pytest

from enterprise_ai.authz import Decision, DecisionCache

TENANT = uuid4()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    cache = DecisionCache(size=10, max_age=60, clock=clock)
    cache.hear_until(math.inf)
    return cache


def decision(reason="allow"):
    return Decision("allow" if reason == "allow" else "deny", reason, [], {}, [], None)


def key(name="document.read"):
    return ("ada", name, None, None, None)


def keep(cache, name="document.read", *, began=None, remaining=None, reason="allow"):
    cache.keep(
        key(name), cache.changes if began is None else began, cache.clock(), decision(reason), remaining
    )


def is_found(cache, name="document.read"):
    return cache.find(key(name), cache.tenant(TENANT)) is not None


def test_it_holds_until_just_before_its_own_end(cache, clock):
    keep(cache, remaining=5.0)
    clock.now += 4.999
    assert is_found(cache)
    clock.now = 1005.0
    assert not is_found(cache)


@pytest.mark.parametrize("remaining", [0.0, -1.0])
def test_what_is_over_already_is_not_kept(cache, remaining):
    keep(cache, remaining=remaining)
    assert not is_found(cache)
    assert len(cache) == 0


@pytest.mark.parametrize("remaining", [None, 1e9])
def test_nothing_gets_older_than_the_most(cache, clock, remaining):
    keep(cache, remaining=remaining)
    clock.now += 59.9
    assert is_found(cache)
    clock.now += 0.1
    assert not is_found(cache)


@pytest.mark.parametrize("reason", ["deny_not_found", "deny_subject_inactive"])
def test_what_may_come_to_be_without_a_change_of_rights_is_not_kept(cache, reason):
    keep(cache, reason=reason)
    assert not is_found(cache)


def test_a_denial_is_kept(cache):
    keep(cache, reason="deny_default")
    assert is_found(cache)


def test_a_change_in_the_tenant_makes_it_forget_and_one_elsewhere_does_not(cache):
    cache.tenant(TENANT)
    keep(cache)
    cache.forget(uuid4())
    assert is_found(cache)
    cache.forget(TENANT)
    assert not is_found(cache)


@pytest.mark.parametrize("is_known", [True, False])
def test_an_answer_from_before_a_change_is_not_used_after_it(cache, is_known):
    began = cache.changes
    if is_known:
        cache.tenant(TENANT)
    cache.forget(TENANT)
    keep(cache, began=began)
    assert not is_found(cache)
    keep(cache)
    assert is_found(cache)


def test_a_transaction_that_knew_the_tenant_sees_that_all_was_forgotten(cache):
    tenant = cache.tenant(TENANT)
    keep(cache)
    cache.forget_all()
    keep(cache, began=0)
    assert cache.find(key(), tenant) is None
    assert not is_found(cache)


def test_nothing_is_used_while_nobody_listens(cache, clock):
    keep(cache)
    cache.hear_until(clock.now + 5)
    assert cache.is_live
    assert is_found(cache)
    clock.now += 5
    assert not cache.is_live
    assert not is_found(cache)
    cache.lose()
    cache.hear_until(math.inf)
    assert not is_found(cache)


def test_it_stays_within_its_size_and_keeps_what_is_used(cache):
    for number in range(1000):
        keep(cache, "often")
        keep(cache, f"once.{number}")
        assert len(cache) <= 10
        assert is_found(cache, "often")
    assert not is_found(cache, "once.0")


@pytest.mark.parametrize("wrong", [{"size": 1}, {"max_age": 0}, {"staleness": 0}])
def test_sizes_and_times_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="size"):
        DecisionCache(**wrong)
