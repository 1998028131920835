import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import LimitsConfig, Rate
from trimtab.serve.access import limits
from trimtab.serve.access.auth import Caller
from trimtab.serve.access.limits import Buckets, InFlight, Limits
from trimtab.serve.reply import Refusal, headers_of

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND


def caller(name="a", rate=None):
    return Caller(id=name, name=name, scopes=frozenset(), rate=rate)


def refused(call, *given):
    with pytest.raises(Refusal) as caught:
        call(*given)
    return caught.value


def test_the_defaults():
    found = Limits.of()
    assert (found.body, found.inflated, found.rows) == (16 << 20, 64 << 20, 10_000)
    assert (found.headers, found.header_bytes) == (100, 32 << 10)
    assert found.rate is None
    assert Limits.of(LimitsConfig(rate="10/m")).rate == Rate(10, 60 * SECOND)


def test_one_request_is_held_to_its_size():
    found = Limits.of(
        LimitsConfig(max_body="1KiB", max_rows=5, max_headers=3, max_header_bytes="64B")
    )
    for call, values, status in (
        (found.check_body, (1025,), 413),
        (found.check_rows, (6,), 413),
        (found.check_head, (4, 10), 431),
        (found.check_head, (1, 65), 431),
    ):
        assert refused(call, *values).status == status
    found.check_body(1024)
    found.check_rows(5)
    found.check_head(3, 64)


def test_a_body_inflates_by_its_ratio_above_the_first_mebibyte():
    found = Limits.of()
    assert found.inflated_cap(0) == found.inflated_cap(100) == 1 << 20
    assert found.inflated_cap(10_000) == 2_000_000
    assert found.inflated_cap(16 << 20) == 64 << 20


def test_requests_and_rows_are_taken_up_to_the_limit():
    held = InFlight(Limits.of(LimitsConfig(in_flight=2, in_flight_rows=100, max_rows=100)))
    held.enter(100)
    refusal = refused(held.enter, 1)
    assert refusal.status == 503
    assert headers_of(refusal)["retry-after"] == "1"
    held.leave(100)
    held.enter(1)
    held.enter(1)
    assert refused(held.enter, 0).status == 503
    assert (held.requests, held.rows) == (2, 2)


@given(st.lists(st.integers(0, 60), max_size=60))
def test_what_is_in_flight_never_exceeds_the_limit_and_ends_at_nothing(asked):
    held = InFlight(Limits.of(LimitsConfig(in_flight=4, in_flight_rows=100, max_rows=60)))
    taken = []
    for rows in asked:
        try:
            held.enter(rows)
        except Refusal:
            held.leave(taken.pop(0))
        else:
            taken.append(rows)
        assert (held.requests, held.rows) == (len(taken), sum(taken))
        assert held.requests <= 4
        assert held.rows <= 100
    for rows in taken:
        held.leave(rows)
    assert (held.requests, held.rows) == (0, 0)


def test_without_a_rate_nothing_is_counted_or_told():
    assert Buckets().take(caller(), NOW) == {}


def test_a_burst_of_a_period_is_let_through_and_then_the_rate():
    buckets = Buckets(Rate(3, SECOND))
    told = [buckets.take(caller(), NOW) for _ in range(3)]
    assert [one["ratelimit-remaining"] for one in told] == ["2", "1", "0"]
    assert told[0]["ratelimit-limit"] == "3, 3;w=1"
    refusal = refused(buckets.take, caller(), NOW)
    assert refusal.status == 429
    assert refusal.headers["retry-after"] == "1"
    assert refusal.headers["ratelimit-remaining"] == "0"
    buckets.take(caller(), NOW + 333_334)
    assert refused(buckets.take, caller(), NOW + 333_335).status == 429


def test_the_wait_is_rounded_up():
    buckets = Buckets()
    slow = caller(rate=Rate(2, 5 * SECOND))
    buckets.take(slow, NOW)
    buckets.take(slow, NOW)
    assert refused(buckets.take, slow, NOW).headers["retry-after"] == "3"
    assert refused(buckets.take, slow, NOW + 499_999).headers["retry-after"] == "3"
    assert refused(buckets.take, slow, NOW + 500_001).headers["retry-after"] == "2"
    buckets.take(slow, NOW + 2_500_000)


def test_a_callers_own_rate_goes_before_the_endpoints_and_each_has_a_bucket():
    buckets = Buckets(Rate(1, SECOND))
    buckets.take(caller("a"), NOW)
    buckets.take(caller("b"), NOW)
    refused(buckets.take, caller("a"), NOW)
    own = caller("c", Rate(2, SECOND))
    buckets.take(own, NOW)
    buckets.take(own, NOW)
    refused(buckets.take, own, NOW)


def test_a_clock_that_goes_back_neither_fills_nor_empties():
    buckets = Buckets(Rate(2, SECOND))
    buckets.take(caller(), NOW)
    buckets.take(caller(), NOW - 3600 * SECOND)
    refused(buckets.take, caller(), NOW)
    buckets.take(caller(), NOW + SECOND)


def test_buckets_are_bounded_and_the_busy_keep_theirs(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BUCKETS", 10)
    buckets = Buckets(Rate(1, 3600 * SECOND))
    buckets.take(caller("busy"), NOW)
    for i in range(100):
        buckets.take(caller(f"c{i}"), NOW)
        refused(buckets.take, caller("busy"), NOW)
        assert len(buckets._held) <= 10


@given(
    st.integers(1, 50),
    st.sampled_from([SECOND, 60 * SECOND]),
    st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=300),
)
def test_no_span_lets_through_more_than_a_burst_and_its_share(amount, period, gaps):
    buckets = Buckets(Rate(amount, period))
    now, passed = NOW, []
    for gap in gaps:
        now += gap
        try:
            headers = buckets.take(caller(), now)
        except Refusal as refusal:
            wait = int(refusal.headers["retry-after"])
            assert 1 <= wait <= period // SECOND
        else:
            passed.append(now)
            assert 0 <= int(headers["ratelimit-remaining"]) < amount
            assert 1 <= int(headers["ratelimit-reset"]) <= period // SECOND
    for i, first in enumerate(passed):
        for j in range(i, len(passed)):
            span = passed[j] - first
            assert j - i + 1 <= amount + span * amount / period + 1e-6


@given(st.integers(1, 20), st.lists(st.integers(0, 20_000), max_size=50))
def test_who_waits_as_long_as_he_was_told_gets_in(amount, gaps):
    buckets = Buckets(Rate(amount, 60 * SECOND))
    now = NOW
    for gap in gaps:
        now += gap
        try:
            buckets.take(caller(), now)
        except Refusal as refusal:
            now += int(refusal.headers["retry-after"]) * SECOND
            buckets.take(caller(), now)
