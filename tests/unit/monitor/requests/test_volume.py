"""Traffic and latency beside what is usual: when a change began, how long it lasts, what is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from trimtab import ids
from trimtab.monitor.requests import asking, pulse, slowness, volume

pytestmark = pytest.mark.slow

HOUR, DAY = 3_600_000_000, 86_400_000_000
BEGIN = 20_000 * DAY
ALPHA = {HOUR: 1.2e-6, DAY: 2.8e-5}


class Day(NamedTuple):
    start: int
    features: dict[str, dict[str, int]]
    model: str = "m"


def asked(days, *, night, weekend=1.0, seed=0):
    """Rows of each hour from Monday at 8 on: 1,000 by day, so many by night."""
    noise = np.random.default_rng([seed, 3])
    found = []
    for hour in range(8, 24 * days):
        usual = 1_000 if 8 <= hour % 24 < 20 else night
        usual *= weekend if hour // 24 % 7 > 4 else 1.0
        found.append(float(noise.poisson(usual * np.exp(noise.normal(0, 0.1)))))
    return found


def told(counts, span):
    """What each look at windows that came one by one named, by the number of windows."""
    found = {}
    for end in range(1, len(counts) + 1):
        one = pulse._traffic(counts[:end], ALPHA[span], span)
        if one is not None:
            found[end] = one
    return found


def served(count, slow=range(0), *, per=60, tail=0.0, span=DAY, seed=0):
    """Windows of so many requests of 40 ms or so, four times as slow in some windows, and of which a
    share hangs in all.
    """
    noise = np.random.default_rng([seed, 4])
    windows = []
    for place in range(count):
        spent = 40_000 * np.exp(noise.normal(0, 0.3, per)) * (4 if place in slow else 1)
        spent *= np.where(noise.random(per) < tail, 50, 1)
        body = {asking.LATENCY: asking._latency(spent.astype(np.int64))}
        windows.append(Day(BEGIN + place * span, body))
    return windows


def slowed(windows, end, span=DAY):
    """What a look says when so many windows have closed, one a look."""
    before = windows[end - 1].start
    return slowness.look(windows[:end], ALPHA[span], span, pulse._cycles(span), before)


def test_a_change_is_as_old_at_every_look_as_it_was_at_first_and_its_end_is_said_once():
    windows = served(70, range(40, 60))
    found = {end: slowed(windows, end) for end in range(20, 71)}
    lasting = [one for end in range(41, 61) for one in found[end]]
    assert {one.since for one in lasting} == {BEGIN + 40 * DAY} and len(lasting) == 20
    assert {one.severity for one in lasting} == {"alarm"}
    (over,) = found[62]
    assert (over.since, over.detail["lasts"]) == (BEGIN + 40 * DAY, 0.0)
    assert over.text.endswith(f"; as usual again since {ids.iso(BEGIN + 60 * DAY)}.")
    assert not any(found[end] for end in [*range(20, 41), 61, *range(63, 71)])


def test_a_change_that_lasts_becomes_the_usual():
    windows = served(140, range(40, 140))
    assert slowed(windows, 40 + volume.REMEMBERED)
    assert not any(slowed(windows, end) for end in range(41 + volume.REMEMBERED, 141))


def test_more_traffic_that_grows_slowly_is_named_while_it_grows():
    noise = np.random.default_rng(1)
    slope = [1 + 2 * min(1.0, max(0, day - 20) / 30) for day in range(50)]
    counts = [float(noise.poisson(1_000 * np.exp(noise.normal(0, 0.1)) * one)) for one in slope]
    found = told(counts, DAY)
    assert min(found) < 40 and set(range(40, 51)) <= set(found)
    assert len({one.since for one in found.values()}) == 1


@pytest.mark.parametrize(("per", "span"), [(5, DAY), (30, DAY), (5, HOUR), (30, HOUR)])
def test_a_request_that_hangs_now_and_then_is_no_latency_change(per, span):
    for seed in range(3):
        windows = served(60, per=per, tail=0.02, span=span, seed=seed)
        assert not any(slowed(windows, end, span) for end in range(11, 61))


def test_few_requests_that_are_all_slow_are_a_latency_change():
    windows = served(48, range(40, 48), per=5)
    (found,) = slowed(windows, 43)
    assert found.severity == "alarm" and found.since == BEGIN + 40 * DAY


def test_latency_that_follows_the_day_is_no_change():
    nights = [hour for hour in range(24 * 6) if hour % 24 < 6]
    windows = served(24 * 6, nights, span=HOUR)
    assert not any(slowed(windows, end, HOUR) for end in range(24, len(windows) + 1))


def test_the_first_nights_of_an_endpoint_are_no_traffic_change():
    for seed in range(2):
        assert not told(asked(5, night=40, seed=seed), HOUR)


@pytest.mark.parametrize("weekend", [0.2, 0.05])
def test_an_endpoints_first_weekend_is_a_notice_and_its_second_no_news(weekend):
    counts = asked(14, night=40, weekend=weekend)
    found = told(counts, HOUR)
    first = [volume.finding("traffic change", one, 0, "", range(500)) for one in found.values()]
    assert {one.severity for one in first} == {"notice"}
    assert max(found) < 24 * 8


def test_nearly_no_traffic_is_an_alarm_once_a_week_is_known():
    counts = asked(10, night=400)
    found = told([*counts[:200], *(0.05 * one for one in counts[200:206])], HOUR)
    assert {one.since for one in found.values()} == {200} and set(range(203, 207)) <= set(found)
    one = volume.finding("traffic change", found[206], counts[205], "", range(500))
    assert one.severity == "alarm"


def test_what_is_usual_is_told_of_this_day_of_the_week():
    noise = np.random.default_rng(2)
    weeks = [float(noise.poisson(60 if day % 7 > 4 else 600)) for day in range(40)]
    found = volume.change([*weeks, 300.0], 1e-5, period=7, week=7)
    assert 50 < found.usual < 70


def test_an_empty_day_after_a_poor_one_is_gone_since_it_is_empty():
    noise = np.random.default_rng(6)
    counts = noise.poisson(60, 16).astype(float).tolist()
    found = volume.silence([*counts, 25.0, 0.0], 2.8e-5, period=7, week=7)
    assert (found.ratio, found.since, found.known) == (0.0, 17, False)


def test_a_poor_day_after_an_empty_one_is_no_change():
    noise = np.random.default_rng(7)
    counts = noise.poisson(60, 16).astype(float).tolist()
    assert volume.change([*counts, 0.0, 38.0], 2.8e-5, period=7, week=7) is None


def test_an_outage_hides_no_fall_of_traffic_after_it():
    noise = np.random.default_rng(8)
    counts = noise.poisson(400, 28).astype(float)
    counts[15:18], counts[25:28] = 0.0, 30.0
    found = told(counts.tolist(), DAY)
    assert [found[end].since for end in (26, 27, 28)] == [25] * 3
    one = volume.finding("traffic change", found[28], counts[-1], "", range(50))
    assert one.severity == "alarm" and "rows 30 where 39" in one.text


def silent(counts):
    """The looks at an empty newest window that named a silence, and whether that is an alarm."""
    counts = [float(one) for one in counts]
    found = {}
    for end in range(1, len(counts) + 1):
        one = pulse._traffic(counts[:end], ALPHA[DAY], DAY) if not counts[end - 1] else None
        if one is not None and one.ratio == 0:
            named = volume.finding("traffic change", one, 0, "", range(500))
            found[end] = named.severity
    return found


@pytest.mark.parametrize("usual", [15, 60, 600])
def test_of_an_endpoint_that_is_used_nine_of_ten_days_an_empty_one_is_no_news(usual):
    """Of 24 of them over 60 days; every one that was full for its first ten was alarmed for before."""
    named = []
    for seed in range(24):
        noise = np.random.default_rng([seed, usual, 9])
        named.append(silent(noise.poisson(usual, 60) * (noise.random(60) < 0.9)))
    alarms = [end for one in named for end, severity in one.items() if severity == "alarm"]
    assert len(alarms) <= 4, named
    assert all(list(one.values()).count("notice") <= 1 for one in named), named


@pytest.mark.parametrize("share", [1.0, 0.97])
def test_an_outage_of_what_was_used_every_day_for_a_month_is_an_alarm_on_its_first_day(share):
    for seed in range(6):
        noise = np.random.default_rng([seed, 11])
        counts = noise.poisson(60 * np.exp(noise.normal(0, 0.1, 31))).astype(float)
        if share < 1:
            counts[4] = 0.0
        looks = silent([*counts, 0.0, 0.0])
        first, second = (32 in looks), looks.get(33) == "alarm"
        assert (first, second) == (share == 1.0, True), (seed, looks)


def test_an_empty_week_is_seven_empty_days():
    """Twelve weeks of an endpoint that was asked in each say more than twelve days."""
    found = volume.silence([*[420.0] * 12, 0.0], 2e-4, period=1, week=1)
    assert found is not None and found.known


def test_days_of_an_empty_week_are_empty_together():
    """An endpoint that nobody asks in one week of twenty says nothing by another such week."""
    weeks = [0.0 if i % 20 == 5 else 420.0 for i in range(40)]
    assert volume.silence([*weeks, 0.0], 2e-4, period=1, week=1) is None
    found = volume.silence([*weeks, 0.0, 0.0, 0.0], 2e-4, period=1, week=1)
    assert found is not None and found.known
