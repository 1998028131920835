from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trimtab.errors import DataError
from trimtab.monitor.outcomes import cbpe, curve
from trimtab.monitor.outcomes.calibration import fit
from trimtab.monitor.outcomes.cbpe import Known
from trimtab.monitor.outcomes.expected import BINARY, Rows


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def scored(random, rows: int, shift: float = 0.0):
    """Scores of a calibrated model, and the true chance of each row."""
    score = sigmoid(random.normal(shift, 1.5, rows))
    return score, random.random(rows) < score


def test_area_equals_scikit_learn_with_ties():
    random = np.random.default_rng(0)
    score = np.sort(np.round(random.random(500), 1))
    label = random.random(500) < score
    found = cbpe.weighted_auc(score, label.astype(float))
    assert found == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert np.isnan(cbpe.weighted_auc(score, np.ones(500)))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_intervals_cover_what_labels_show_later(shift):
    """Also after a covariate shift, which is what the estimate is for."""
    hits = {"accuracy": 0, "roc_auc": 0}
    for seed in range(60):
        random = np.random.default_rng([seed, 5])
        calibration = fit(*scored(random, 4_000))
        score, truth = scored(random, 600, shift)
        realised = {
            "accuracy": np.mean((score >= 0.5) == truth),
            "roc_auc": roc_auc_score(truth, score),
        }
        for found in (cbpe.accuracy(calibration, score), cbpe.roc_auc(calibration, score)):
            hits[found.metric] += found.lo <= realised[found.metric] <= found.hi
    assert min(hits.values()) >= 53


@pytest.mark.slow
def test_they_cover_where_scores_move_to_what_few_withheld_rows_had():
    """The curve alone is too sure there: without its step to the blunt one 61 % cover the area."""
    hits = dict.fromkeys(("accuracy", "roc_auc", "average_precision", "f1", "recall"), 0)
    for seed in range(100):
        random = np.random.default_rng([seed, 9])

        def rows(number, shift, random=random):
            score = sigmoid(0.4 * random.normal(shift, 1.5, number))
            return score, random.random(number) < score

        score, truth = rows(4_000, 0.0)
        known = Known(curve=curve.fit(score, truth * 1.0), calibration=fit(score, truth))
        score, truth = rows(2_000, 3.0)
        decided = score >= 0.5
        real = Rows(score, decided, truth * 1.0, np.ones(len(score)))
        for one in cbpe.binary(known, score, decided, hits):
            assert one.lo <= one.value <= one.hi
            hits[one.metric] += one.lo <= BINARY[one.metric](real).value <= one.hi
    assert min(hits.values()) >= 88, hits


def test_a_covariate_shift_moves_the_estimate():
    random = np.random.default_rng(1)
    calibration = fit(*scored(random, 20_000))
    calm = cbpe.accuracy(calibration, scored(random, 5_000)[0])
    easy = cbpe.accuracy(calibration, scored(random, 5_000, 3.0)[0])
    assert easy.lo > calm.hi


def test_it_is_blind_to_concept_drift_and_says_so():
    random = np.random.default_rng(2)
    calibration = fit(*scored(random, 20_000))
    score, truth = scored(random, 5_000)
    found = cbpe.accuracy(calibration, score)
    assert np.mean((score >= 0.5) != truth) < 1 - found.lo
    assert np.mean((score >= 0.5) == ~truth) < found.lo
    assert "blind to concept drift" in found.note


def test_nothing_to_estimate_from():
    calibration = fit(np.linspace(0, 1, 200), np.tile([0, 1], 100))
    with pytest.raises(DataError, match="no score"):
        cbpe.accuracy(calibration, np.array([]))
    with pytest.raises(DataError, match="not a finite"):
        cbpe.roc_auc(calibration, np.array([np.nan]))
    lone = cbpe.roc_auc(calibration, np.array([0.4]))
    assert (lone.lo, lone.hi) == (0.0, 1.0) or lone.lo <= lone.hi
