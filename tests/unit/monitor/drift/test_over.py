from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest

from trimtab.monitor.drift import episodes, forms
from trimtab.monitor.judge import judge
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference

DAYS = 30


class Day(NamedTuple):
    start: int
    end: int


def rows(random, n):
    a = random.normal(size=n)
    return {
        "a": a,
        "b": 0.8 * a + 0.6 * random.normal(size=n),
        "m": np.where(random.random(n) < 0.05, np.nan, random.normal(size=n)),
        "k": random.choice(np.array(["x", "y", "z"], dtype=object), n, p=[0.6, 0.3, 0.1]),
    }


def torn(columns, random):
    random.shuffle(columns["b"])


def emptied(columns, random):
    columns["m"][random.random(len(columns["m"])) < 0.1] = np.nan


def renewed(columns, random):
    columns["k"][random.random(len(columns["k"])) < 0.03] = "new"


def moved(columns, random):
    columns["a"] += 0.6


def lost(columns, random):
    columns["a"][random.random(len(columns["a"])) < 0.08] = -999.0


def told(change, days, size, seed=0):
    """What the newest of the days says, where `change` was on some."""
    random = np.random.default_rng(seed)
    known = fit_reference(rows(random, 6_000))
    counted = []
    for day in range(DAYS):
        columns = rows(random, size)
        if day in days:
            change(columns, random)
        counted.append(count(known.bins, columns))
    found = judge(known, counted)
    alone = episodes.alone(found, judge(known, counted[-1:]))
    windows = [Day(day, day + 1) for day in range(DAYS)]
    return episodes.told(found.findings, known, windows, counted, alone, 50)


@pytest.mark.parametrize(
    ("change", "kind", "size"),
    [(torn, "broken join", 300), (emptied, "broken input", 100), (renewed, "skew", 100)],
    ids=["join", "nulls", "levels"],
)
def test_a_defect_that_one_window_is_too_small_to_show_is_not_said_to_be_over(change, kind, size):
    for seed in range(3):
        (found,) = told(change, range(18, DAYS), size, seed)
        assert found.kind == kind
        assert episodes.lasts(found)
        assert episodes.AGAIN not in found.text


@pytest.mark.parametrize("change", [torn, emptied, renewed], ids=["join", "nulls", "levels"])
def test_a_defect_that_ended_is_said_to_be_over(change):
    (found,) = told(change, range(12, 24), 300)
    assert not episodes.lasts(found)
    assert episodes.AGAIN in found.text


@pytest.mark.parametrize("seed", range(6))
def test_ordinary_windows_after_drift_are_no_return_of_it(seed):
    for found in told(moved, range(20, 24), 100, seed):
        assert not episodes.lasts(found)
        assert found.form != "recurring"


@pytest.mark.parametrize("change", [lost, renewed], ids=["sentinel", "levels"])
def test_what_the_reference_never_had_began_with_its_first_window(change):
    began = [told(change, range(20, DAYS), 300, seed)[0].since for seed in range(4)]
    assert began == [20, 20, 20, 20]


def test_the_course_of_states_is_the_one_with_the_most_gain():
    random = np.random.default_rng(0)
    for _ in range(50):
        gain = random.normal(size=8) * 12
        turns = {
            states: sum(one != other for one, other in itertools.pairwise((0, *states)))
            for states in itertools.product((0, 1), repeat=8)
        }
        best = max(turns, key=lambda states: gain @ states - forms._SWITCH * turns[states])
        assert forms._path(gain).astype(int).tolist() == list(best)
