from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from trimtab.errors import DataError
from trimtab.monitor.outcomes import curve, expected
from trimtab.monitor.outcomes.expected import BINARY, MULTICLASS, Classes, Rows

SKLEARN = {
    "accuracy": lambda y, s, d, w: metrics.accuracy_score(y, d, sample_weight=w),
    "roc_auc": lambda y, s, d, w: metrics.roc_auc_score(y, s, sample_weight=w),
    "average_precision": lambda y, s, d, w: metrics.average_precision_score(y, s, sample_weight=w),
    "f1": lambda y, s, d, w: metrics.f1_score(y, d, sample_weight=w),
    "precision": lambda y, s, d, w: metrics.precision_score(y, d, sample_weight=w),
    "recall": lambda y, s, d, w: metrics.recall_score(y, d, sample_weight=w),
    "brier": lambda y, s, d, w: metrics.brier_score_loss(y, s, sample_weight=w),
}


def drawn(seed, rows=60, ties=1):
    noise = np.random.default_rng(seed)
    score = np.round(noise.random(rows), ties)
    return score, score >= 0.5, noise.random(rows), noise.random(rows) + 0.5


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("seed", range(3))
def test_with_labels_a_metric_is_scikit_learns_also_weighted_and_tied(name, seed):
    score, decided, chance, weight = drawn(seed)
    truth = (chance > 0.5).astype(float)
    found = BINARY[name](Rows(score, decided, truth, weight)).value
    assert found == pytest.approx(SKLEARN[name](truth, score, decided, weight), abs=1e-12)


@pytest.mark.parametrize("name", SKLEARN)
def test_slopes_and_influences_are_derivatives(name):
    score, decided, chance, weight = drawn(7, rows=30)
    soft = BINARY[name](Rows(score, decided, chance, weight))
    step = 1e-6
    for row in range(30):
        other = chance.copy()
        other[row] += step
        moved = BINARY[name](Rows(score, decided, other, weight)).value
        assert (moved - soft.value) / step == pytest.approx(soft.slope[row], abs=1e-5)
        heavier = weight.copy()
        heavier[row] += step
        moved = BINARY[name](Rows(score, decided, chance, heavier)).value
        assert (moved - soft.value) / step * weight[row] == pytest.approx(
            soft.influence[row], abs=1e-5
        )
    assert soft.influence.sum() == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_an_expected_metric_of_decisions_is_linear_where_it_should_be(seed, rows):
    """Accuracy is the mean over all labellings, each as likely as the probabilities say."""
    score, decided, chance, _ = drawn(seed, rows=rows)
    flat = np.ones(rows)
    found = expected.accuracy(Rows(score, decided, chance, flat)).value
    assert found == pytest.approx(np.where(decided, chance, 1 - chance).mean(), abs=1e-12)
    assert 0.0 <= found <= 1.0


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_one_class_alone_gives_a_value_or_none_and_never_an_error(name, chance):
    score, decided, _, weight = drawn(0, rows=5)
    soft = BINARY[name](Rows(score, decided, np.full(5, chance), weight))
    assert np.isnan(soft.value) or 0 <= soft.value <= 1
    assert np.isfinite(soft.slope).all() and np.isfinite(soft.influence).all()


def test_metrics_of_several_classes_are_scikit_learns():
    noise = np.random.default_rng(0)
    score = noise.dirichlet(np.ones(3), 200)
    truth = noise.integers(0, 3, 200)
    decided = score.argmax(axis=1)
    rows = Classes(score, decided, np.eye(3)[truth], np.ones(200))
    wanted = {
        "accuracy": metrics.accuracy_score(truth, decided),
        "roc_auc_ovr": metrics.roc_auc_score(truth, score, multi_class="ovr"),
        "macro_f1": metrics.f1_score(truth, decided, average="macro"),
        "macro_precision": metrics.precision_score(truth, decided, average="macro"),
        "macro_recall": metrics.recall_score(truth, decided, average="macro"),
        "macro_average_precision": metrics.average_precision_score(np.eye(3)[truth], score),
    }
    assert wanted.keys() == MULTICLASS.keys()
    for name, value in wanted.items():
        soft = MULTICLASS[name](rows)
        assert soft.value == pytest.approx(value, abs=1e-12)
        assert soft.influence.sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_is_scikit_learns_isotonic_regression(seed):
    noise = np.random.default_rng(seed)
    score = np.round(noise.random(500), 2 if seed % 2 else 6)
    event = (noise.random(500) < score**2).astype(float)
    weight = noise.random(500) if seed else np.ones(500)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(score, event, sample_weight=weight)
    at = np.linspace(-0.2, 1.2, 400)
    found = curve.fit(score, event, weight)
    assert curve.chance(found, at) == pytest.approx(fitted.predict(at), abs=1e-9)
    assert list(found.chances) == sorted(found.chances)


def test_a_curve_of_one_score_is_level():
    found = curve.fit(np.full(9, 0.3), np.array([1, 0, 0, 1, 0, 0, 1, 0, 0]))
    assert curve.chance(found, np.array([0.0, 1.0])).tolist() == [1 / 3, 1 / 3]
    with pytest.raises(DataError, match="no withheld row"):
        curve.fit(np.array([0.5]), np.array([1.0]), np.array([0.0]))
