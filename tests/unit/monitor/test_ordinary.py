"""What changes all the time is no alarm: seasons, days that wobble, users who come in bursts."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import UsageError
from trimtab.monitor.budget import Budget
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import Past, fit_dated, fit_reference

DAY = 86_400_000_000
STRICT = Budget(pages_per_month=0.012, scales=1)
"""A level of 1e-4 for the shape of a single feature at a single scale."""


def weekly(random, day: int, rows: int = 10_000, shift: float = 0.0) -> dict[str, np.ndarray]:
    return {"x": random.normal(0.15 * np.sin(2 * np.pi * day / 7) + shift, 1, rows)}


def history(random, days: int, rows: int = 10_000) -> tuple[dict[str, np.ndarray], np.ndarray]:
    parts = [weekly(random, day, rows)["x"] for day in range(days)]
    return {"x": np.concatenate(parts)}, np.arange(days).repeat(rows)


@pytest.mark.slow
def test_a_weekly_season_is_no_alarm_and_a_shift_in_it_is():
    """Amplitude 0.15 sd, 28 days of reference, 28 new days, 10,000 rows a day."""
    random = np.random.default_rng(5)
    columns, days = history(random, 28)
    keyed = fit_reference(columns, days, seasons=days % 7)
    pooled = fit_reference(columns)
    alarms = {"keyed": 0, "pooled": 0}
    windows, keys = [], []
    for day in range(28, 56):
        windows.append(count(keyed.bins, weekly(random, day)))
        keys.append(day % 7)
        alarms["keyed"] += bool(judge(keyed, windows, seasons=keys).findings)
        alarms["pooled"] += bool(judge(pooled, windows[-1:], budget=STRICT).findings)
    assert alarms["keyed"] == 0
    assert alarms["pooled"] >= 20
    for day in range(56, 63):
        shifted = count(keyed.bins, weekly(random, day, shift=0.2))
        (finding,) = judge(keyed, [shifted], budget=STRICT, seasons=[day % 7]).findings
        assert finding.kind == "data drift"


@pytest.mark.slow
def test_a_defect_is_compared_with_its_own_season():
    """A value is missing on weekends: that is ordinary then, and broken on a weekday."""
    random = np.random.default_rng(6)

    def rows(day: int) -> np.ndarray:
        x = random.normal(size=1_000)
        x[random.random(1_000) < (0.3 if day % 7 >= 5 else 0.001)] = np.nan
        return x

    days = np.arange(35).repeat(1_000)
    columns = {"x": np.concatenate([rows(day) for day in range(35)])}
    keyed = fit_reference(columns, days, seasons=days % 7)
    weekend = [count(keyed.bins, {"x": rows(day)}) for day in (5, 6)]
    assert judge(keyed, weekend, seasons=[5, 6]).findings == ()
    (finding,) = judge(keyed, weekend[:1], seasons=[2]).findings
    assert finding.kind == "broken input"
    assert "missing, was 0." in finding.text


@pytest.mark.slow
def test_correlations_are_compared_within_the_season():
    """Two features rise and fall with the week and have nothing else in common."""
    random = np.random.default_rng(7)

    def rows(day: int) -> dict[str, np.ndarray]:
        level = np.sin(2 * np.pi * day / 7)
        return {name: random.normal(level, 1, 3_000) for name in "ab"}

    parts = [rows(day) for day in range(28)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in "ab"}
    days = np.arange(28).repeat(3_000)
    keyed = fit_reference(columns, days, seasons=days % 7)
    for day in range(28, 42):
        window = count(keyed.bins, rows(day))
        assert judge(keyed, [window], seasons=[day % 7]).findings == ()


def test_windows_without_a_season_are_held_against_the_whole():
    random = np.random.default_rng(8)
    columns, days = history(random, 28, 500)
    keyed = fit_reference(columns, days, seasons=days % 7)
    window = count(keyed.bins, weekly(random, 0, 500))
    plain = judge(keyed, [window])
    assert judge(keyed, [window], seasons=[None]).measures == plain.measures
    assert judge(keyed, [window], seasons=[99]).measures == plain.measures
    assert judge(keyed, [window], seasons=[1]).measures != plain.measures
    with pytest.raises(UsageError, match="2 seasons for 1 windows"):
        judge(keyed, [window], seasons=[1, 2])


def test_whole_weeks_are_worth_the_whole_reference():
    from trimtab.profile.seasons import mix

    random = np.random.default_rng(9)
    columns, days = history(random, 28, 200)
    keyed = fit_reference(columns, days, seasons=days % 7)
    week = mix(keyed.profile, keyed.seasons, dict.fromkeys(range(7), 50))
    assert week.rows == pytest.approx(5_600)
    assert week.counts == pytest.approx(keyed.profile.counts)
    assert week.moments == pytest.approx(keyed.profile.moments)
    assert mix(keyed.profile, keyed.seasons, {3: 50}).rows == pytest.approx(800)
    assert mix(keyed.profile, keyed.seasons, {}).rows == 5_600


@pytest.mark.parametrize(("season", "found"), [("auto", True), ("week", True), ("none", False)])
def test_a_season_is_found_in_times(season, found):
    random = np.random.default_rng(10)
    columns, days = history(random, 29, 400)
    times = days * DAY + random.integers(0, DAY, len(days))
    reference = fit_dated(columns, times, span=DAY, season=season)
    assert (reference.seasons is not None) == found
    if reference.seasons is not None:
        calendar = reference.seasons.calendar
        assert (len(reference.seasons.keys), calendar.period) == (7, 7 * DAY)
        assert calendar.key(3 * DAY, 4 * DAY) == 3
        assert calendar.key(10 * DAY, 11 * DAY) == 3
        assert calendar.key(0, 7 * DAY) is None


@pytest.mark.slow
def test_where_nothing_recurs_no_season_is_made():
    random = np.random.default_rng(11)
    calm = {"x": random.normal(size=29 * 400)}
    times = np.arange(29).repeat(400) * DAY
    assert fit_dated(calm, times, span=DAY).seasons is None
    assert fit_dated(calm, times, span=DAY, season="day").seasons is None
    columns, days = history(random, 20, 400)
    assert fit_dated(columns, days * DAY, span=DAY, season="week").seasons is None
    assert fit_dated(columns, days * DAY, span=DAY // 288, season="day").seasons is None
    quarters = np.arange(4_000) * (DAY // 288)
    assert fit_dated({"x": random.normal(size=4_000)}, quarters, span=DAY // 288).seasons is None
    hours = times + (np.arange(len(times)) % 24) * DAY // 24
    swing = {"x": calm["x"] + 1.0 * (np.arange(len(times)) % 24 > 12)}
    assert len(fit_dated(swing, hours, span=DAY // 24).seasons.keys) == 24


def test_order_of_rows_and_times_going_backwards_do_not_matter():
    random = np.random.default_rng(12)
    columns, days = history(random, 30, 100)
    times = days * DAY
    turned = fit_dated({"x": columns["x"][::-1]}, times[::-1], span=DAY, season="week")
    straight = fit_dated(columns, times, span=DAY, season="week")
    assert np.array_equal(turned.profile.counts, straight.profile.counts)
    assert turned.dispersion.shape == pytest.approx(straight.dispersion.shape)
    assert turned.seasons.dispersion.rows == straight.seasons.dispersion.rows
    for a, b in zip(turned.seasons.profiles, straight.seasons.profiles, strict=True):
        assert np.array_equal(a.counts, b.counts)


@pytest.mark.slow
def test_days_that_wobble_are_no_alarm_even_in_large_windows():
    """0.02 sd from day to day; at 100,000 rows that is far beyond row-by-row chance.

    40 chunks of 20,000 rows, windows of 100,000: as many alarms as at most 0.5 % would give, and
    every shift of 0.2 sd is found.
    """
    random = np.random.default_rng(13)

    def day(rows: int, shift: float = 0.0) -> np.ndarray:
        return random.normal(random.normal(shift, 0.02), 1, rows)

    chunks = np.arange(40).repeat(20_000)
    aware = fit_reference({"x": np.concatenate([day(20_000) for _ in range(40)])}, chunks)
    p = [
        judge(aware, [count(aware.bins, {"x": day(100_000)})], budget=STRICT).measures[0].p
        for _ in range(150)
    ]
    assert sum(one < 1e-4 for one in p) == 0
    assert sum(one < 0.05 for one in p) <= 15
    for _ in range(30):
        window = count(aware.bins, {"x": day(100_000, 0.2)})
        assert judge(aware, [window], budget=STRICT).findings


def users(random, number: int, each: int = 10) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows that come in bursts of `each` from one user; users differ as much as their rows do."""
    rows = number * each
    home = random.integers(0, 3, number).repeat(each)
    level = np.where(random.random(rows) < 0.7, home, random.integers(0, 3, rows))
    x = np.sqrt(0.5) * (random.normal(size=number).repeat(each) + random.normal(size=rows))
    missing = (random.random(number) < 0.1).repeat(each)
    return {
        "x": x,
        "holes": np.where(missing, np.nan, random.normal(size=rows)),
        "level": np.array(["a", "b", "c"], dtype=object)[level],
    }, np.arange(number).repeat(each)


@pytest.mark.slow
def test_users_who_come_in_bursts_keep_the_level():
    """Ten rows a user: with the entity known the level holds, without it alarms are legion."""
    random = np.random.default_rng(14)
    p: dict[str, list[list[float]]] = {"known": [], "blind": [], "defects": []}
    for _ in range(8):
        columns, entities = users(random, 2_000)
        known = fit_reference(columns, entities=entities)
        blind = fit_reference(columns)
        for _ in range(75):
            window = count(known.bins, users(random, 100)[0])
            p["known"].append([one.p for one in judge(known, [window]).measures])
            p["blind"].append([one.p for one in judge(blind, [window]).measures])
    wary, naive = np.array(p["known"]), np.array(p["blind"])
    for level in (0.05, 0.01):
        share = (wary < level).mean(axis=0)
        assert 0.5 * level <= share[0] <= 2 * level
        assert share[2] <= 2 * level
        assert ((naive < level).mean(axis=0)[[0, 2]] > 5 * level).all()


@pytest.mark.slow
def test_bursts_of_missing_values_are_expected_from_bursts():
    random = np.random.default_rng(15)
    columns, entities = users(random, 2_000)
    known, blind = fit_reference(columns, entities=entities), fit_reference(columns)
    windows = [count(known.bins, users(random, 100)[0]) for _ in range(60)]
    loud = Budget(pages_per_month=1, scales=1)

    def alarms(reference) -> int:
        found = (judge(reference, [window], budget=loud) for window in windows)
        return sum(one.kind("broken input") is not None for one in found)

    assert alarms(known) == 0
    assert alarms(blind) > 0


def test_entities_that_cannot_be_told_apart_are_rows_of_their_own():
    random = np.random.default_rng(16)
    columns, _ = users(random, 200)
    nobody = np.full(2_000, None, dtype=object)
    found = fit_reference(columns, entities=nobody).clusters
    assert found is not None
    assert found.chunks == 20
    assert fit_reference(columns, entities=np.zeros(2_000)).clusters is None
    some = Past(columns, np.arange(2_000) // 100, np.zeros(2_000))
    assert fit_reference(columns, past=some).clusters is not None


def test_a_table_far_larger_than_the_reference_is_still_held_against_it():
    """Days of 130 rows that wobble by 0.05 sd must not excuse 0.4 sd in 100,000 rows."""
    random = np.random.default_rng(10)
    level = random.normal(0, 0.05, 60).repeat(130)
    reference = fit_reference({"x": random.normal(level)}, np.arange(60).repeat(130))
    assert reference.dispersion is not None
    assert reference.dispersion.shape[0] > 1.2
    large = {"x": random.normal(0.4, 1, 100_000)}
    (finding,) = judge(reference, [count(reference.bins, large)], budget=STRICT).findings
    assert finding.kind == "data drift"
    assert finding.severity == "alarm"
    same = {"x": random.normal(size=100_000)}
    assert judge(reference, [count(reference.bins, same)], budget=STRICT).findings == ()
