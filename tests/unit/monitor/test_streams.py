from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.monitor.outcomes import concept
from trimtab.monitor.outcomes.calibration import constant
from trimtab.monitor.statistics import adwin
from trimtab.monitor.statistics.adwin import Adwin
from trimtab.testing import streams


@pytest.mark.slow
def test_the_mean_run_to_a_false_alarm_is_at_least_the_knob():
    """100 streams without a change; a run that is cut short counts as long as it lasted."""
    runs = []
    known = constant(20_000_000, 100_000_000)
    for seed in range(100):
        noise = np.random.default_rng([seed, 51])
        errors = (noise.random(4_000) < 0.2).astype(float)
        state = concept.start(1_000, streams=("more",), margin=0.0, caution=0.0)
        state = concept.update(state, known, np.zeros(4_000), errors)
        runs.append(state.alarm.at if state.alarm else 4_000)
    assert np.mean(runs) >= 1_000


@pytest.mark.slow
def test_a_rise_of_errors_is_told_sooner_than_adwin_does_at_no_more_false_alarms():
    asked = {"streams": 20, "rows": 14_000}
    ours = streams.bernoulli_trial(streams.e_detector(3e6), **asked)
    other = streams.bernoulli_trial(streams.adwin_detector(), **asked)
    assert (ours.false, ours.found) == (0, 20)
    assert ours.median <= min(430, other.median)


@pytest.mark.slow
def test_abrupt_changes_are_found_in_time():
    trial = streams.abrupt_trial(streams=(("sea", 0), ("sine", 0), ("stagger", 1)), rows=14_000)
    assert trial.found >= 5
    assert trial.delay <= 300
    assert trial.false <= 1


@pytest.mark.slow
def test_goal_twelve():
    trial = streams.abrupt_trial()
    assert trial.changes == 27
    assert trial.found >= 23
    assert trial.delay <= 200
    assert trial.false <= 3


@pytest.mark.parametrize("kind", streams.GENERATORS)
def test_a_stream_has_two_classes_and_changes_its_meaning(kind):
    make = streams.GENERATORS[kind]
    x, first = make(np.random.default_rng(0), 2_000, 0)
    again, second = make(np.random.default_rng(0), 2_000, 1)
    assert (x == again).all()
    assert set(first.tolist()) == {0, 1}
    assert (first != second).mean() > 0.05


def test_bayes_learns_what_can_be_learned():
    x, y = streams.mixed(np.random.default_rng(1), 3_000, 0)
    model = streams.Bayes(4)
    assert model.predict(x[0]) == 0
    for row in range(2_000):
        model.learn(x[row], y[row])
    right = [model.predict(x[row]) == y[row] for row in range(2_000, 3_000)]
    assert np.mean(right) > 0.85


@given(st.lists(st.sampled_from([0.0, 1.0, 0.25]), max_size=400), st.integers(0, 400))
def test_buckets_add_up_however_the_values_came(values, cut):
    """Without a cut the buckets are the values: count, sum and variance; in halves or whole."""
    whole = adwin.update(Adwin(), values, clock=10**9)
    halves = adwin.update(
        adwin.update(Adwin(), values[:cut], clock=10**9), values[cut:], clock=10**9
    )
    assert whole == halves
    assert adwin.width(whole) == whole.rows == len(values)
    assert sum(one.total for one in whole.buckets) == pytest.approx(sum(values))
    sizes = [one.size for one in whole.buckets]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sizes.count(size) <= 6 for size in sizes)
    assert len(sizes) <= 6 * (math.log2(len(values) + 1) + 1)


def test_adwin_keeps_what_is_of_one_kind():
    noise = np.random.default_rng(2)
    calm = (noise.random(5_000) < 0.2).astype(float).tolist()
    state = adwin.update(Adwin(), calm)
    assert (state.cuts, adwin.width(state)) == (0, 5_000)
    moved = adwin.update(state, (noise.random(3_000) < 0.5).astype(float).tolist())
    assert moved.cuts >= 1
    assert 4_500 < moved.since < 5_500
    assert adwin.mean(moved) == pytest.approx(0.5, abs=0.05)
    assert math.isnan(adwin.mean(Adwin()))
    assert msgspec.json.decode(msgspec.json.encode(moved), type=Adwin) == moved
