"""The generated world is what its docstring says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.testing.weeks import DAY, LAWS, SIX, TWENTY, World, log_odds

MONDAY = ids.parse_time("2026-11-30")


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=1, start=MONDAY)


def area(rows: pl.DataFrame, law: str) -> float:
    score, truth = log_odds(rows, LAWS[law]), rows["late"].to_numpy()
    ranks = pl.Series(score).rank().to_numpy()
    yes = truth.sum()
    return float((ranks[truth].sum() - yes * (yes + 1) / 2) / (yes * (len(truth) - yes)))


def test_a_day_is_the_same_however_often_it_is_asked_for(world) -> None:
    assert world.day(3).equals(world.day(3))
    assert not world.day(3).equals(World(seed=2, start=MONDAY).day(3))
    assert world.day(3)["parcel_id"].is_unique().all()
    assert world.day(3)["sent_at"].is_sorted()
    inside = world.day(3)["sent_at"].dt.timestamp("us")
    assert inside.min() >= MONDAY + 3 * DAY
    assert inside.max() < MONDAY + 4 * DAY


def test_a_week_has_its_course(world) -> None:
    assert world.weekday(0) == 0
    load = [world.day(day)["load"].mean() for day in range(7)]
    assert min(load[:5]) > max(load[5:]) + 3
    assert len(world.day(5)) < len(world.day(4))


@pytest.mark.parametrize(
    ("day", "law"), [(0, "roads"), (30, "motorway"), (80, "strike"), (120, "roads")]
)
def test_each_law_can_be_learnt_and_is_of_little_use_under_another(world, day, law) -> None:
    rows = world.present(day)
    assert area(rows, law) > 0.78
    assert all(area(rows, other) < 0.68 for other in LAWS if other != law)


def test_a_gradual_change_comes_little_by_little(world) -> None:
    found = [area(world.present(day), "strike") for day in (57, 60, 65, 71)]
    assert found == sorted(found)


def test_other_parcels_change_what_is_sent_and_not_what_is_late(world) -> None:
    before, other = world.present(30), world.present(45)
    assert np.log(other["distance"]).mean() - np.log(before["distance"]).mean() > 0.4
    assert abs(area(other, "motorway") - area(before, "motorway")) < 0.04


def test_what_breaks_upstream_breaks_on_the_way(world) -> None:
    truth = world.day(101)
    assert world.as_sent(truth, 101)["load"].null_count() > 0.6 * len(truth)
    assert truth["load"].null_count() < 0.05 * len(truth)
    far = world.day(105)
    assert world.as_sent(far, 105)["distance"].to_list() == (far["distance"] * 1000).to_list()
    assert world.as_sent(world.day(100), 100).equals(world.day(100))


def test_labels_come_late_or_never(world) -> None:
    rows = world.day(3)
    late = (rows["known_at"] - rows["sent_at"]).dt.total_hours().drop_nulls()
    assert 24 < late.median() < 48
    assert 0 < rows["known_at"].null_count() < 0.1 * len(rows)
    assert world.day(92)["known_at"].null_count() == len(world.day(92))


@pytest.mark.parametrize("story", [SIX, TWENTY])
def test_chapters_are_in_order_and_leave_calm_between(story) -> None:
    assert [one.begin for one in story] == sorted(one.begin for one in story)
    assert all(one.end > one.begin for one in story)
    assert all(one.title for one in story)
