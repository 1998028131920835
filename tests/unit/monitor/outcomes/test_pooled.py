from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab.monitor import observe
from trimtab.monitor.outcomes import pooled
from trimtab.store import evidence, operations, states, verdicts

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
SUBJECT = "endpoint:goods"
MEANING = {"binary": 0.35, "multiclass": 0.25, "regression": 0.25}
"""What the inputs mean in a world a little worse than the requirement allows."""
BOUND = {"binary": {"min": 0.70}, "multiclass": {"min": 0.54}, "regression": {"max": 1.6}}


def bounded(place, **bound):
    (one,) = place.config.require
    new = msgspec.structs.replace(one, min=bound.get("min"), max=bound.get("max"))
    place.config = msgspec.structs.replace(place.config, require=(new,))


def live(place, days, count=100, **how):
    """Days are answered and labelled."""
    for day in days:
        place.live(day, count, **how)
        place.label(day)


def pools(place):
    return [
        one for one in verdicts.find(place.ws, place="monitor") if one.details.get("windows", 1) > 1
    ]


def alone(place):
    return [
        one
        for one in verdicts.find(place.ws, place="monitor")
        if one.details.get("windows", 1) == 1
    ]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_small_violation_fails_together_that_the_newest_window_does_not_show(site, task):
    place = site(task)
    bounded(place, **BOUND[task])
    live(place, range(8), 120, meaning=MEANING[task])
    seen = place.look(8)
    (alarm,) = [one for one in seen.alarms if one.kind == "requirement"]
    assert alone(place)[0].status == "undecided"
    failed = next(one for one in pools(place) if one.status == "fail")
    count, window = failed.details["windows"], failed.details["window"]
    assert alarm.detail["windows"] == count > 1
    assert alarm.detail["window"] == window
    assert alarm.detail["verdict"] == failed.id
    first, last = window.split("/")
    assert f"in the last {count} labelled windows together, {first} to {last}" in alarm.title
    assert failed.n == 120 * count
    (proof,) = [
        one for one in evidence.find(place.ws, subject=SUBJECT) if one.id in failed.evidence
    ]
    assert (proof.window, proof.validity) == (window, "anytime")


@pytest.mark.slow
def test_calm_windows_alarm_nobody_and_all_looks_together_keep_the_level(site):
    place = site()
    bounded(place, min=0.75)
    for day in range(9):
        live(place, [day], 60)
        assert place.look(day + 1).alarms == []
    assert {one.status for one in pools(place)} <= {"pass", "undecided"}
    measured = [one for one in evidence.find(place.ws, subject=SUBJECT) if not one.statistic]
    assert sum(1 - one.level for one in measured) < 0.05
    looks = {}
    for one in measured:
        looks.setdefault(one.details.get("windows", 1), []).append(one.details["look"])
    assert {size: sorted(found) for size, found in looks.items()} == {
        1: list(range(1, 10)), 2: list(range(1, 9)), 4: [1, 2, 3], 8: [1]
    }  # fmt: skip


@pytest.mark.slow
def test_where_it_began_is_told_and_not_where_the_pool_begins(site):
    place = site(seed=3)
    bounded(place, min=0.72)
    live(place, range(6), 150)
    live(place, range(6, 12), 150, meaning=0.3)
    (alarm,) = [one for one in place.look(12).alarms if one.kind == "requirement"]
    assert alarm.detail["windows"] == 4
    assert abs(alarm.since - (BEGIN + 6 * DAY)) <= DAY


@pytest.mark.slow
def test_windows_with_a_broken_input_belong_to_no_pool(site):
    place = site()
    for day in range(4):
        live(place, [day], 200)
        if day == 2:
            rows = place.rows(200)
            rows.columns["x"][:] = np.nan
            moments = (BEGIN + 2 * DAY + np.arange(200) * 1_000).tolist()
            place.append(rows, [f"broken-{i}" for i in range(200)], moments, role="champion")
        place.look(day + 1)
    found = operations.windows(place.ws, endpoint="goods")
    assert any(one["kind"] == "broken input" for one in found[2].findings)
    assert [one.n for one in pools(place)] == [400, 400]  # days 0 and 1, days 1 and 3


@pytest.mark.slow
def test_what_is_over_alarms_nobody(site):
    """The requirement fails over four windows of which the newer two satisfy it again."""
    place = site()
    bounded(place, min=0.76)
    for day, meaning in enumerate((-1.0, -1.0, 1.0, 1.0)):
        place.live(day, 300, meaning=meaning)
        place.label(day)
    place.look(4)
    assert {one.details["windows"]: one.status for one in pools(place)} == {2: "pass", 4: "fail"}
    kept = states.get(place.ws, f"pools:goods:{place.version.digest}")
    assert kept["4"]["failed"] == []


@pytest.mark.slow
def test_what_ends_after_the_look_alarms_no_longer(site):
    place = site()
    bounded(place, min=0.76)
    live(place, range(4), meaning=-0.1)
    assert "requirement" in [one.kind for one in place.look(4).alarms]
    kept = states.get(place.ws, f"pools:goods:{place.version.digest}")
    assert kept["4"]["failed"]
    live(place, [4], 300)
    assert "requirement" not in [one.kind for one in place.look(5).alarms]
    again = states.get(place.ws, f"pools:goods:{place.version.digest}")
    assert again["4"] == kept["4"]


@pytest.mark.slow
def test_another_requirement_is_looked_at_at_once(site):
    place = site()
    live(place, range(4))
    place.look(4)
    before = len(pools(place))
    bounded(place, min=0.6)
    live(place, [4])
    place.look(5)
    assert {one.text for one in pools(place)[: len(pools(place)) - before]} == {"roc_auc >= 0.6"}
    assert {one.details["windows"] for one in pools(place)[: len(pools(place)) - before]} == {2, 4}


@pytest.mark.slow
def test_a_pass_that_dies_between_pools_looks_again_at_the_same_level(site, monkeypatch):
    place = site()
    live(place, range(4))
    put, looked = states.put, []

    def dies(ws, name, body):
        if name.startswith("pools:"):
            looked.append(name)
            if len(looked) == 2:
                raise KeyboardInterrupt
        put(ws, name, body)

    monkeypatch.setattr(states, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        place.look(4)
    monkeypatch.undo()
    assert {one.details["windows"] for one in pools(place)} == {2}
    place.look(4)
    assert sorted((one.details["windows"], one.n) for one in pools(place)) == [(2, 200), (4, 400)]


@pytest.mark.slow
def test_very_many_rows_are_judged_by_windows_alone(site, monkeypatch):
    monkeypatch.setattr(pooled, "MOST_ROWS", 250)
    place = site()
    live(place, range(4))
    place.look(4)
    assert {one.details["windows"] for one in pools(place)} == {2}


@pytest.mark.slow
def test_what_failed_ends_though_each_window_since_is_larger_than_a_pool_may_be(site, monkeypatch):
    monkeypatch.setattr(pooled, "MOST_ROWS", 1_000)
    place = site()
    bounded(place, **BOUND["binary"])
    live(place, range(8), 120, meaning=MEANING["binary"])
    assert "requirement" in {one.kind for one in place.look(8).alarms}
    live(place, [8], 1_100)
    assert place.look(9).alarms == []


@pytest.mark.slow
def test_observing_twice_looks_at_no_pool_twice(site):
    place = site()
    live(place, range(5))
    place.look(5)
    before = pools(place)
    observe.observe(place.ws, place.config, "goods", place.version, now=BEGIN + 5 * DAY)
    assert pools(place) == before
