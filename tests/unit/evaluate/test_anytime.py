"""Evidence for repeated looks: which metrics have it, that it holds, and what it needs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.config import Requirement
from trimtab.errors import ConfigError
from trimtab.evaluate import metrics
from trimtab.evaluate.anytime import measure_anytime, value
from trimtab.evaluate.measure import measure
from trimtab.evaluate.scored import Scored

ABOUT = {"subject": "endpoint:loans", "window": "w", "run": "r", "now": 5}
MOST = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
FINITE_SAMPLE = {
    "accuracy", "precision", "recall", "true_positive_rate", "false_positive_rate",
    "selection_rate", "brier", "roc_auc", "rows",
}  # fmt: skip


def required(name: str, **fields) -> Requirement:
    return Requirement(metric=name, **(fields or {"min": 0.0}))


def tables(binary, multiclass, regression) -> dict[str, Scored]:
    return {
        "binary": binary(400, groups={"A": 2, "B": 1}, baseline=True),
        "multiclass": multiclass(400),
        "regression": regression(400),
    }


def test_every_built_in_metric_has_a_sequence(binary, multiclass, regression) -> None:
    for task, table in tables(binary, multiclass, regression).items():
        names = [m.name for m in metrics.BUILT_IN if task in m.tasks]
        found = measure_anytime(table, [required(n) for n in names], **ABOUT)
        assert [e.metric for e in found] == names
        once = {e.metric: e for e in measure(table, [required(n) for n in names], **ABOUT)}
        for one in found:
            assert one.validity == "anytime"
            assert math.isfinite(one.lo) and one.lo <= one.value <= one.hi < math.inf
            if one.metric != "rows":
                assert one.hi - one.lo > 1.15 * (once[one.metric].hi - once[one.metric].lo)


def test_exact_keeps_to_finite_samples(binary) -> None:
    table = binary(400)
    names = [m.name for m in metrics.BUILT_IN if "binary" in m.tasks]
    found = measure_anytime(table, [required(n) for n in names], **ABOUT, exact=True)
    assert {e.metric for e in found} == FINITE_SAMPLE
    loose = measure_anytime(table, [required("roc_auc")], **ABOUT)[0]
    exact = next(e for e in found if e.metric == "roc_auc")
    assert exact.n == min(table.truth.sum(), (~table.truth).sum())
    assert exact.hi - exact.lo > loose.hi - loose.lo


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "slope"), [("roc_auc", 1.5), ("log_loss", 1.5), ("f1", 1.5), ("roc_auc", 5.0)]
)
def test_evidence_holds_at_every_look(binary, name, slope) -> None:
    metric = metrics.get(name)
    true = metric.compute(binary(300_000, seed=999, slope=slope), 0.95).value
    wrong = 0
    for seed in range(200):
        table = binary(1000, seed, slope=slope)
        looks = [value(metric, table.take(np.arange(n)), 0.95) for n in (80, 120, 200, 500, 1000)]
        wrong += any(not one.lo <= true <= one.hi for one in looks)
    assert wrong / 200 <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ratio", "gap"])
def test_disparity_holds_at_every_look(kind) -> None:
    rates, random, wrong = np.array([0.4, 0.3, 0.1]), np.random.default_rng(3), 0
    true = 0.25 if kind == "ratio" else 0.3
    asked = required("selection_rate", across="group", **{kind: 0.8})
    for _ in range(200):
        code = random.choice(3, 2000, p=[0.5, 0.3, 0.2])
        decision = random.random(2000) < rates[code]
        column = np.array(["A", "B", "C"], dtype=object)[code]
        table = Scored("binary", None, None, decision, slices={"group": column})
        looks = [
            measure_anytime(table.take(np.arange(n)), [asked], **ABOUT)[0]
            for n in (300, 500, 1000, 2000)
        ]
        wrong += any(not one.lo <= true <= one.hi for one in looks)
    assert wrong / 200 <= MOST


@pytest.mark.parametrize("exact", [False, True])
def test_disparities(binary, exact) -> None:
    table = binary(3000, groups={"A": 2, "B": 1, "C": 0.01})
    asked = [
        required("selection_rate", ratio=0.8, across="group"),
        required("accuracy", gap=0.1, across="group"),
        required("roc_auc", ratio=0.8, across="group"),
    ]
    for one in measure_anytime(table, asked, **ABOUT, exact=exact):
        assert one.details["groups"].keys() == {"A", "B"}
        assert set(one.details["small"]) == {"C"}
        assert one.lo <= one.value <= one.hi
        assert one.method == "pairs-anytime"


def test_a_group_that_is_never_selected_is_not_left_out() -> None:
    column = np.array(["A"] * 300 + ["B"] * 300, dtype=object)
    decision = np.arange(600) < 200
    table = Scored("binary", None, None, decision, slices={"g": column})
    (one,) = measure_anytime(table, [required("selection_rate", ratio=0.8, across="g")], **ABOUT)
    assert one.value == one.lo == 0.0
    assert one.hi < 0.2


def test_slices_share_the_level_among_all(binary) -> None:
    table = binary(900, groups={"A": 10, "B": 10, "C": 0.4})
    found = measure_anytime(table, [required("accuracy", min=0.5, by="group")], **ABOUT)
    assert [e.slice for e in found] == ["group=A", "group=B", "group=C"]
    assert [e.level for e in found] == pytest.approx([1 - 0.05 / 3] * 3)


@pytest.mark.parametrize("name", ["accuracy", "brier", "log_loss", "roc_auc"])
def test_gains_on_the_same_rows(binary, name) -> None:
    table = binary(2000, baseline=True, slope=2.5)
    (one,) = measure_anytime(table, [required(name, better_than="baseline")], **ABOUT)
    assert one.statistic == "gain:baseline"
    assert one.lo > 0


def test_gains_of_regression(regression) -> None:
    table = regression(500)
    worse = Scored("regression", table.truth, None, table.decision + 1)
    pair = Scored("regression", table.truth, None, table.decision, champion=worse)
    for name in ("mae", "rmse", "r2"):
        (one,) = measure_anytime(pair, [required(name, better_than="champion")], **ABOUT)
        assert one.lo > 0


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "brier"])
def test_gains_between_arms(binary, name, exact) -> None:
    good, bad = binary(2000, seed=1, slope=3), binary(1500, seed=2)
    bad = Scored("binary", bad.truth, 1 - bad.score, ~bad.decision)
    asked = [required(name, better_than="champion")]
    (one,) = measure_anytime(good, asked, **ABOUT, against=bad, exact=exact)
    assert one.lo > 0
    assert one.n == 3500 or name == "roc_auc"
    (back,) = measure_anytime(bad, asked, **ABOUT, against=good, exact=exact)
    assert (back.lo, back.hi) == pytest.approx((-one.hi, -one.lo))


def test_gains_between_arms_by_slice(binary) -> None:
    ours = binary(900, seed=1, groups={"A": 1, "B": 1})
    theirs = binary(900, seed=2, groups={"A": 1, "C": 1}, decision=np.zeros(900, dtype=bool))
    asked = [required("accuracy", better_than="champion", by="group")]
    found = {e.slice: e for e in measure_anytime(ours, asked, **ABOUT, against=theirs)}
    assert found["group=A"].lo > 0
    assert found["group=A"].n < 1000
    assert found["group=B"].details["undefined"] == "the other arm has no rows of group=B"
    assert measure_anytime(ours, asked, **ABOUT, against=binary(50)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), [("accuracy", 0.05), ("log_loss", 0.5)])
def test_equal_arms_gain_nothing_at_every_look(binary, name, share) -> None:
    asked, wrong = [required(name, better_than="champion")], 0
    for seed in range(200):
        both = binary(2400, seed)
        looks = []
        for n in (1200, 1600, 2000, 2400):
            canary = np.arange(n) % round(1 / share) == 0
            ours, theirs = both.take(np.flatnonzero(canary)), both.take(np.flatnonzero(~canary))
            looks += measure_anytime(ours, asked, **ABOUT, against=theirs)
        wrong += any(not one.lo <= 0 <= one.hi for one in looks)
    assert wrong / 200 <= MOST


def test_a_perfect_arm_is_not_certain() -> None:
    truth = np.arange(120) % 2 == 0
    perfect = Scored("binary", truth, np.where(truth, 0.9, 0.1), truth)
    flat = Scored("binary", truth, np.full(120, 0.5), truth)
    for found in (
        measure_anytime(
            perfect, [required("roc_auc", better_than="champion")], **ABOUT, against=flat
        ),
        measure_anytime(
            Scored("binary", truth, perfect.score, truth, champion=flat),
            [required("roc_auc", better_than="champion")],
            **ABOUT,
        ),
    ):
        assert found[0].value == 0.5
        assert 0.01 < found[0].lo < 0.4


def test_too_few_rows_are_undefined(binary) -> None:
    (few,) = measure_anytime(binary(49), [required("roc_auc")], **ABOUT)
    assert few.details["undefined"] == "49 rows have arrived, its interval needs 50"
    table = binary(400)
    rare = table.take(np.r_[np.flatnonzero(table.truth)[:10], np.flatnonzero(~table.truth)])
    (one,) = measure_anytime(rare, [required("roc_auc")], **ABOUT)
    assert one.details["undefined"] == "it rests on 10 rows, its interval needs 20"
    nothing = binary(60).take(np.zeros(60, dtype=bool))
    (none,) = measure_anytime(nothing, [required("accuracy")], **ABOUT)
    assert none.n == 0
    (pairs,) = measure_anytime(table.take(table.truth), [required("roc_auc")], **ABOUT, exact=True)
    assert "compare" in pairs.details["undefined"]


def test_what_is_not_there_is_left_out(binary) -> None:
    bare = Scored("binary", None, None, np.ones(80, dtype=bool))
    asked = [
        required("latency_ms", quantile="p99", max=20),
        required("accuracy"),
        required("selection_rate", ratio=0.8, across="group"),
        required("accuracy", better_than="champion"),
    ]
    assert measure_anytime(bare, asked, **ABOUT) == []
    assert measure_anytime(binary(80), asked[-1:], **ABOUT, against=bare) == []
    with pytest.raises(ConfigError):
        measure_anytime(bare, [required("acuracy")], **ABOUT)


def test_a_metric_without_rows_or_influence_has_no_sequence(binary) -> None:
    from trimtab import plugins
    from trimtab.evaluate.estimate import Estimate
    from trimtab.evaluate.metric import Metric

    plain = Metric(
        name="plain",
        about="",
        compute=lambda t, _level: Estimate(value=0.0, lo=0.0, hi=0.0, n=t.rows, method=""),
    )
    plugins.register("metrics", "plain", plain)
    try:
        assert measure_anytime(binary(80), [required("plain")], **ABOUT) == []
    finally:
        del plugins._registered["metrics", "plain"]
