from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from trimtab.errors import DataError
from trimtab.monitor.outcomes import calibration as calibrating
from trimtab.monitor.outcomes.calibration import Calibration, cell_of, chance, fit, isotonic


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=60))
def test_isotonic_equals_scikit_learn(pairs):
    values = np.array([value for value, _ in pairs])
    weights = np.array([float(weight) for _, weight in pairs])
    expected = isotonic_regression(values, sample_weight=weights)
    assert isotonic(values, weights) == pytest.approx(expected, abs=1e-9)


def test_a_calibrated_score_maps_to_itself():
    random = np.random.default_rng(0)
    score = random.random(40_000)
    found = fit(score, random.random(40_000) < score)
    grid = np.linspace(0.05, 0.95, 50)
    assert np.abs(chance(found, grid) - grid).max() < 0.03
    assert np.all(np.diff(chance(found, grid)) >= 0)
    assert found.total == 40_000
    assert found.rate == pytest.approx(0.5, abs=0.01)


def test_an_overconfident_score_is_corrected():
    random = np.random.default_rng(1)
    truth = random.beta(2, 2, 30_000)
    score = truth**2 / (truth**2 + (1 - truth) ** 2)
    found = fit(score, random.random(30_000) < truth)
    grid = np.linspace(0.1, 0.9, 20)
    expected = np.sqrt(grid) / (np.sqrt(grid) + np.sqrt(1 - grid))
    assert np.abs(chance(found, grid) - expected).max() < 0.05


def test_few_rows_few_cells_and_ties():
    assert len(fit(np.arange(99.0), np.arange(99) % 2).rows) == 1
    tied = fit(np.repeat([0.2, 0.8], 500), np.tile([0, 1], 500))
    assert tied.rows == (500, 500)
    assert cell_of(tied, np.array([0.2, 0.5, 0.8, 9.0])).tolist() == [0, 0, 1, 1]
    same = fit(np.full(1000, 0.3), np.tile([0, 1], 500))
    assert same.rows == (1000,)


def test_not_every_score_orders_its_event():
    random = np.random.default_rng(2)
    prediction = random.uniform(0, 10, 10_000)
    wide = random.random(10_000) < np.where(np.abs(prediction - 5) < 2, 0.05, 0.4)
    found = fit(prediction, wide, monotone=False)
    assert chance(found, np.array([1.0, 5.0, 9.0])) == pytest.approx([0.4, 0.05, 0.4], abs=0.06)


def test_one_rate():
    found = calibrating.constant(20, 100)
    assert chance(found, np.array([-5.0, 5.0])).tolist() == [20.5 / 101] * 2
    assert found.rate == 0.2
    with pytest.raises(DataError):
        calibrating.constant(5, 4)


@pytest.mark.parametrize(
    ("scores", "events", "words"),
    [
        ([], [], "no withheld row"),
        ([0.1], [0, 1], "do not pair up"),
        ([np.nan], [0], "not a finite"),
        ([0.5], [2], "neither 0 nor 1"),
        ([0.5], [np.nan], "neither 0 nor 1"),
    ],
)
def test_bad_rows_are_refused(scores, events, words):
    with pytest.raises(DataError, match=words):
        fit(np.array(scores, dtype=float), np.array(events, dtype=float))


def test_it_travels():
    found = fit(np.linspace(0, 1, 500), np.tile([0, 1], 250))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Calibration) == found
