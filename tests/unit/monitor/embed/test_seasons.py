"""A monitor whose reference knows the week holds a window against its own weekday."""

from __future__ import annotations

import numpy as np
import pytest

import trimtab
from trimtab.monitor.embed import rows as turning
from trimtab.profile.reference import fit_dated

DAY = 86_400_000_000
MONDAY = 20_605 * DAY  # 2026-06-01


def weekend(day: int) -> float:
    return 1.0 if day % 7 in (5, 6) else 0.0


def of_day(day: int, rows: int, shift: float):
    return np.random.default_rng(day).normal(shift, 1.0, rows)


def watcher(season: str):
    times = np.concatenate([np.full(300, MONDAY + day * DAY) for day in range(-56, 0)])
    usual = np.concatenate([of_day(day + 1_000, 300, weekend(day)) for day in range(-56, 0)])
    reference = fit_dated({"x": usual}, times, span=DAY, season=season, kinds={"x": "number"})
    monitor = trimtab.Monitor.__new__(trimtab.Monitor)
    layout = turning.layout_of(reference)
    monitor._begin(turning.Subject(reference=reference, layout=layout), "1d", 10.0, 20_000)
    return monitor


@pytest.mark.parametrize(
    ("season", "last", "kinds"),
    [("week", 0.0, []), ("week", 1.0, ["data drift"]), ("none", 1.0, [])],
    ids=["as ever", "a Tuesday like a Sunday", "who knows no week"],
)
def test_findings_go_by_the_season_of_each_window(monkeypatch, season, last, kinds):
    clock = [0]
    monkeypatch.setattr("trimtab.ids.now_ns", lambda: clock[0] * 1000)
    with watcher(season) as monitor:
        for day in range(9):  # the ninth is a Tuesday
            clock[0] = MONDAY + day * DAY
            shift = last if day == 8 else weekend(day)
            monitor.log({"x": of_day(day, 400, shift)})
        found = monitor.findings().findings
    assert [one.kind for one in found] == kinds
    assert [one.since for one in found] == [MONDAY + 8 * DAY] * len(kinds)
