"""Every metric: its value is scikit-learn's, its interval covers, and bad rows leave it undefined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from trimtab import plugins
from trimtab.errors import NotFoundError, UndecidedError
from trimtab.evaluate import metrics
from trimtab.evaluate.endpoint import EndpointMetric
from trimtab.evaluate.estimate import Estimate
from trimtab.evaluate.metric import Metric
from trimtab.evaluate.resample import bootstrap
from trimtab.evaluate.scored import Scored

TABLE_METRICS = [metric for metric in metrics.BUILT_IN if metric.name != "rows"]
BINARY = {
    "roc_auc": lambda t: sk.roc_auc_score(t.truth, t.score),
    "average_precision": lambda t: sk.average_precision_score(t.truth, t.score),
    "accuracy": lambda t: sk.accuracy_score(t.truth, t.decision),
    "log_loss": lambda t: sk.log_loss(t.truth, t.score),
    "brier": lambda t: sk.brier_score_loss(t.truth, t.score),
    "precision": lambda t: sk.precision_score(t.truth, t.decision),
    "recall": lambda t: sk.recall_score(t.truth, t.decision),
    "true_positive_rate": lambda t: sk.recall_score(t.truth, t.decision),
    "false_positive_rate": lambda t: 1 - sk.recall_score(t.truth, t.decision, pos_label=False),
    "f1": lambda t: sk.f1_score(t.truth, t.decision),
    "selection_rate": lambda t: t.decision.mean(),
}
MULTICLASS = {
    "accuracy": lambda t: sk.accuracy_score(t.truth, t.decision),
    "macro_f1": lambda t: sk.f1_score(t.truth, t.decision, average="macro"),
    "log_loss": lambda t: sk.log_loss(t.truth, t.score),
    "roc_auc_ovr": lambda t: sk.roc_auc_score(t.truth, t.score, multi_class="ovr"),
}
REGRESSION = {
    "mae": lambda t: sk.mean_absolute_error(t.truth, t.score),
    "mse": lambda t: sk.mean_squared_error(t.truth, t.score),
    "rmse": lambda t: sk.root_mean_squared_error(t.truth, t.score),
    "r2": lambda t: sk.r2_score(t.truth, t.score),
    "bias": lambda t: (t.score - t.truth).mean(),
}


def compute(name: str, table: Scored, level: float = 0.95) -> Estimate:
    metric = metrics.get(name)
    assert isinstance(metric, Metric)
    return metric.compute(table, level)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", BINARY)
def test_binary_values_are_those_of_sklearn(binary, name, ties) -> None:
    table = binary(300, seed=3, ties=ties)
    table = table.take(table.score < 1) if name == "log_loss" else table
    assert compute(name, table).value == pytest.approx(BINARY[name](table), abs=1e-12)


@pytest.mark.parametrize("name", MULTICLASS)
def test_multiclass_values_are_those_of_sklearn(multiclass, name) -> None:
    table = multiclass(300, seed=3)
    assert compute(name, table).value == pytest.approx(MULTICLASS[name](table), abs=1e-12)


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_values_are_those_of_sklearn(regression, name) -> None:
    table = regression(300, seed=3)
    assert compute(name, table).value == pytest.approx(REGRESSION[name](table), abs=1e-12)


def test_every_metric_is_compared() -> None:
    assert {m.name for m in TABLE_METRICS} == BINARY.keys() | MULTICLASS.keys() | REGRESSION.keys()


def table_for(metric: Metric, binary, multiclass, regression):
    if "binary" in metric.tasks:
        return binary
    return multiclass if "multiclass" in metric.tasks else regression


@pytest.mark.slow
@pytest.mark.parametrize("metric", TABLE_METRICS, ids=lambda m: m.name)
def test_intervals_have_the_width_of_the_bootstrap(metric, binary, multiclass, regression) -> None:
    table = table_for(metric, binary, multiclass, regression)(500, seed=5)
    found = metric.compute(table, 0.95)
    lo, hi = bootstrap(
        lambda index: metric.compute(table.take(index), 0.95).value,
        table.rows,
        0.95,
        replicates=400,
    )
    assert found.hi - found.lo == pytest.approx(hi - lo, rel=0.2)
    assert found.lo == pytest.approx(lo, abs=0.2 * (hi - lo))


@pytest.mark.parametrize("metric", TABLE_METRICS, ids=lambda m: m.name)
def test_intervals_contain_the_value_and_grow_with_the_level(
    metric, binary, multiclass, regression
) -> None:
    make = table_for(metric, binary, multiclass, regression)

    @given(st.integers(2, 60), st.integers(0, 10_000), st.floats(0.5, 0.99))
    @settings(max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
    def check(n: int, seed: int, level: float) -> None:
        table = make(n, seed)
        try:
            narrow = metric.compute(table, level)
        except UndecidedError:
            return
        wide = metric.compute(table, level + (1 - level) / 2)
        assert metric.bounds[0] <= wide.lo <= narrow.lo <= narrow.value
        assert narrow.value <= narrow.hi <= wide.hi <= metric.bounds[1]
        assert np.isfinite([wide.lo, wide.hi]).all()
        assert 0 < narrow.n <= n

    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n", "slope"),
    [
        ("roc_auc", 60, 1.5),
        ("roc_auc", 40, 6.0),
        ("average_precision", 150, 1.5),
        ("f1", 60, 1.5),
        ("log_loss", 60, 1.5),
        ("recall", 60, 6.0),
    ],
)
def test_intervals_cover_the_truth(binary, name, n, slope) -> None:
    population = compute(name, binary(200_000, seed=999, slope=slope)).value
    found = [compute(name, binary(n, seed, slope=slope)) for seed in range(300)]
    covered = np.mean([e.lo <= population <= e.hi for e in found])
    # Three standard errors of 300 draws below 0.95 and above it.
    assert 0.91 <= covered <= 0.99


@pytest.mark.parametrize("name", ["rmse", "r2", "mae"])
def test_regression_intervals_cover_the_truth(regression, name) -> None:
    population = compute(name, regression(200_000, seed=999)).value
    found = [compute(name, regression(80, seed)) for seed in range(300)]
    assert 0.90 <= np.mean([e.lo <= population <= e.hi for e in found]) <= 0.99


@pytest.mark.parametrize("name", BINARY)
def test_no_rows_leave_it_undefined(binary, name) -> None:
    with pytest.raises(UndecidedError):
        compute(name, binary(10).take(np.zeros(10, dtype=bool)))


@pytest.mark.parametrize(
    ("name", "truth", "decision", "said"),
    [
        ("roc_auc", True, True, "only positives"),
        ("roc_auc", False, True, "no positives"),
        ("average_precision", False, True, "no positives"),
        ("f1", False, False, "nothing is positive"),
        ("precision", True, False, "0 of 60 rows count"),
        ("recall", False, True, "0 of 60 rows count"),
    ],
)
def test_one_class_only_leaves_it_undefined(name, truth, decision, said) -> None:
    table = Scored("binary", np.full(60, truth), np.full(60, 0.5), np.full(60, decision))
    with pytest.raises(UndecidedError, match=said):
        compute(name, table)


def test_an_absent_class_leaves_the_area_undefined(multiclass) -> None:
    table = multiclass(50)
    with pytest.raises(UndecidedError, match="no row is truly 'cedar'"):
        compute("roc_auc_ovr", table.take(table.truth != 2))


def test_a_class_nobody_has_or_guesses_does_not_count(multiclass) -> None:
    table = multiclass(200)
    two = table.take((table.truth != 2) & (table.decision != 2))
    expected = sk.f1_score(two.truth, two.decision, average="macro")
    assert compute("macro_f1", two).value == pytest.approx(expected)


def test_constant_truth_has_no_r2(regression) -> None:
    with pytest.raises(UndecidedError, match="constant"):
        compute("r2", regression(20, truth=np.full(20, 3.0)))


def test_rounding_does_not_lift_a_value_above_its_range(binary) -> None:
    # Here the precisions of the positives sum to a little more than their number.
    found = compute("average_precision", binary(5, 87), 0.5)
    assert found.value == found.hi == 1.0
    assert found.lo < 0.9


def test_one_row() -> None:
    one = Scored("binary", np.array([True]), np.array([0.7]), np.array([True]))
    accuracy = compute("accuracy", one)
    assert (accuracy.value, accuracy.hi, accuracy.n) == (1.0, 1.0, 1)
    assert accuracy.lo == pytest.approx(0.2065, abs=1e-4)
    with pytest.raises(UndecidedError, match="needs 2"):
        compute("brier", one)


def test_constant_scores_are_known_no_better_than_their_pairs() -> None:
    truth = np.array([True] * 5 + [False] * 95)
    flat = Scored("binary", truth, np.full(100, 0.05), np.zeros(100, dtype=bool))
    area = compute("roc_auc", flat)
    assert area.value == 0.5
    assert area.lo < 0.2
    assert area.hi > 0.8


def test_a_perfect_model_on_few_rows_is_not_certain() -> None:
    truth = np.array([True, False] * 6)
    table = Scored("binary", truth, np.where(truth, 0.9, 0.1), truth)
    for name in ("roc_auc", "average_precision", "f1", "accuracy", "recall"):
        found = compute(name, table)
        assert found.value == found.hi == 1.0
        assert 0.5 < found.lo < 0.8
    brier = compute("brier", table)
    assert brier.lo < 0.01 < brier.hi


def test_rows_are_counted(regression) -> None:
    found = compute("rows", regression(123))
    assert (found.value, found.lo, found.hi, found.n) == (123, 123, 123, 123)


def test_names_and_defaults() -> None:
    for task in ("binary", "multiclass", "regression"):
        known = metrics.names(task)
        assert set(metrics.default_metrics(task)) <= set(known)
        assert "latency_ms" in known
    assert "roc_auc" not in metrics.names("regression")
    assert isinstance(metrics.get("latency_ms"), EndpointMetric)
    with pytest.raises(NotFoundError, match="did you mean 'roc_auc'"):
        metrics.get("roc_acu")


def test_a_stranger_registers_through_the_same_hook(binary) -> None:
    def compute_spread(scored: Scored, level: float) -> Estimate:
        lo, hi = bootstrap(
            lambda i: float(scored.score[i].std()), scored.rows, level, replicates=50
        )
        value = float(scored.score.std())
        return Estimate(value=value, lo=lo, hi=hi, n=scored.rows, method="bootstrap")

    metric = Metric(name="score_spread", about="spread of scores", compute=compute_spread)
    plugins.register("metrics", metric.name, metric)
    try:
        assert metrics.get("score_spread") is metric
        assert compute("score_spread", binary(100)).lo > 0
    finally:
        del plugins._registered["metrics", "score_spread"]


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    table = Scored(
        "binary", np.array([True, False]), np.array([0.0, 0.0]), np.array([False, False])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compute("log_loss", table)
    assert found.value == pytest.approx(sk.log_loss([1, 0], [0.0, 0.0]))
