"""Paired gains: sign, pairing, coverage, and models that agree or are perfect."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import UndecidedError, UsageError
from trimtab.evaluate import metrics
from trimtab.evaluate.estimate import Estimate
from trimtab.evaluate.gain import gain
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.resample import bootstrap
from trimtab.evaluate.scored import Scored

PAIRED = [
    "accuracy",
    "log_loss",
    "brier",
    "roc_auc",
    "average_precision",
    "f1",
    "precision",
    "recall",
]


def rival(table: Scored, noise: float = 0.4, seed: int = 1) -> Scored:
    """Another model of the same rows, a little worse."""
    random = np.random.default_rng(seed)
    if table.task == "regression":
        worse = table.decision + noise * random.normal(size=table.rows)
        return Scored("regression", table.truth, None, worse)
    logit = np.log(table.score / (1 - table.score)) + noise * random.normal(size=table.rows)
    score = 1 / (1 + np.exp(-logit))
    return Scored("binary", table.truth, score, score >= 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRED)
def test_gain_is_the_signed_difference_with_the_bootstraps_width(binary, name) -> None:
    table, metric = binary(600, seed=2), metrics.get(name)
    other = rival(table, 1.0)
    found = gain(metric, table, other, 0.95)
    sign = 1 if metric.direction == "up" else -1

    def difference(index) -> float:
        ours, theirs = table.take(index), other.take(index)
        return sign * (metric.compute(ours, 0.95).value - metric.compute(theirs, 0.95).value)

    assert found.value == pytest.approx(difference(np.arange(600)))
    lo, hi = bootstrap(difference, 600, 0.95, replicates=300)
    assert found.hi - found.lo == pytest.approx(hi - lo, rel=0.2)
    assert found.lo <= found.value <= found.hi


@pytest.mark.parametrize("name", ["mae", "mse", "rmse", "r2"])
def test_gain_of_regression(regression, name) -> None:
    table = regression(400)
    found = gain(metrics.get(name), table, rival(table), 0.95)
    assert found.lo > 0
    back = gain(metrics.get(name), rival(table), table, 0.95)
    assert (back.value, back.hi) == pytest.approx((-found.value, -found.lo))


def test_pairing_is_narrower_than_not_pairing(binary) -> None:
    table = binary(500)
    other, area = rival(table), metrics.get("roc_auc")
    paired = gain(area, table, other, 0.95)
    one, two = area.compute(table, 0.95), area.compute(other, 0.95)
    assert paired.hi - paired.lo < 0.5 * np.hypot(one.hi - one.lo, two.hi - two.lo)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss"])
def test_intervals_cover_the_true_gain(binary, name) -> None:
    metric = metrics.get(name)
    big = binary(200_000, seed=999)
    true = gain(metric, big, rival(big), 0.95).value
    covered = 0
    for seed in range(250):
        table = binary(100, seed)
        found = gain(metric, table, rival(table, seed=seed + 5000), 0.95)
        covered += found.lo <= true <= found.hi
    assert covered / 250 >= 0.91


@pytest.mark.parametrize("name", PAIRED)
def test_a_model_gains_nothing_over_itself(binary, name) -> None:
    table = binary(200)
    found = gain(metrics.get(name), table, table, 0.95)
    assert found.value == 0
    assert found.lo <= 0 <= found.hi


def test_a_few_rows_that_agree_are_not_certain() -> None:
    truth = np.array([True, False, True])
    right = Scored("binary", truth, np.where(truth, 0.9, 0.1), truth)
    wrong = Scored("binary", truth, np.where(truth, 0.1, 0.9), ~truth)
    for name in ("accuracy", "brier", "roc_auc", "f1"):
        found = gain(metrics.get(name), right, wrong, 0.95)
        assert found.value > 0.5
        assert found.lo <= 0


def test_a_perfect_model_over_a_constant_one() -> None:
    truth = np.arange(200) % 2 == 0
    perfect = Scored("binary", truth, np.where(truth, 0.9, 0.1), truth)
    constant = Scored("binary", truth, np.full(200, 0.5), np.ones(200, dtype=bool))
    found = gain(metrics.get("roc_auc"), perfect, constant, 0.95)
    assert found.value == 0.5
    assert 0.3 < found.lo < 0.5 <= found.hi


def test_metrics_without_a_better_direction_have_no_gain(binary) -> None:
    with pytest.raises(UsageError, match="selection_rate has no better direction"):
        gain(metrics.get("selection_rate"), binary(60), binary(60), 0.95)


@pytest.mark.slow
def test_a_strangers_metric_gains_by_bootstrap(binary) -> None:
    def median_right(scored: Scored, _level: float) -> Estimate:
        value = float(np.median(np.where(scored.truth, scored.score, 1 - scored.score)))
        return Estimate(value=value, lo=0, hi=1, n=scored.rows, method="own")

    metric = Metric(name="median_right", about="", compute=median_right, bounds=(0.0, 1.0))
    table = binary(300)
    found = gain(metric, table, rival(table, 2.0), 0.95)
    assert found.method == "paired-bootstrap"
    assert found.lo <= found.value <= found.hi
    assert found == gain(metric, table, rival(table, 2.0), 0.95)
    with pytest.raises(UndecidedError):
        none = table.take(np.zeros(300, dtype=bool))
        gain(metric, none, none, 0.95)


def test_a_bootstrap_that_mostly_fails_is_undecided() -> None:
    def refuses(index) -> float:
        if (index == 0).sum() != 1:
            raise UndecidedError("no")
        return 1.0

    with pytest.raises(UndecidedError, match="too many resamples"):
        bootstrap(refuses, 10, 0.95, replicates=50)
