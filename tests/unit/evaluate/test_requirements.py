"""Requirements that can never be measured or satisfied are refused before anything runs."""

from __future__ import annotations

import pytest

from trimtab.config import Requirement
from trimtab.errors import ConfigError
from trimtab.evaluate.requirements import check_requirements

GOOD = [
    Requirement(metric="roc_auc", min=0.76),
    Requirement(metric="selection_rate", ratio=0.8, across="group"),
    Requirement(metric="accuracy", gap=0.1, across="group"),
    Requirement(metric="accuracy", min=0.5, by="region"),
    Requirement(metric="log_loss", better_than="baseline"),
    Requirement(metric="latency_ms", quantile="p99", max=20),
    Requirement(metric="cost_per_1000", max=0.02),
    Requirement(metric="rows", min=100),
]


def test_good_requirements_are_accepted() -> None:
    check_requirements(GOOD, "binary", columns=["group", "region"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "roc_acu", "min": 0.7}, "unknown metric 'roc_acu', did you mean 'roc_auc'"),
        ({"metric": "zzz", "min": 0.7}, "unknown metric 'zzz'$"),
        ({"metric": "rmse", "max": 7}, "rmse is a metric of regression tasks, this task is binary"),
        ({"metric": "latency_ms", "max": 20}, "latency_ms is bounded by a quantile"),
        ({"metric": "cost_per_1000", "quantile": "p99", "max": 1}, "has no quantiles"),
        ({"metric": "log_loss", "quantile": "p99", "max": 1}, "has no quantiles"),
        ({"metric": "latency_ms", "ratio": 0.8, "across": "group"}, "no slices and no baseline"),
        ({"metric": "selection_rate", "better_than": "baseline"}, "neither more nor less"),
        ({"metric": "roc_auc", "min": 76}, "76 lies outside of its range 0 to 1"),
        ({"metric": "accuracy", "min": 0.9, "max": 0.8}, "min is above max"),
        ({"metric": "accuracy", "ratio": 1.5, "across": "group"}, r"lies in \(0, 1\]"),
        ({"metric": "accuracy", "gap": -0.1, "across": "group"}, "never negative"),
        ({"metric": "accuracy", "min": 0.5, "by": "regoin"}, "no column 'regoin', did you mean"),
    ],
)
def test_bad_requirements_are_refused(fields, said) -> None:
    with pytest.raises(ConfigError, match=said):
        check_requirements([*GOOD, Requirement(**fields)], "binary", columns=["group", "region"])


def test_a_ratio_of_what_can_be_negative_is_refused() -> None:
    with pytest.raises(ConfigError, match="r2 can be negative") as caught:
        check_requirements([Requirement(metric="r2", ratio=0.8, across="region")], "regression")
    assert "gap" in caught.value.hint


def test_the_hint_lists_what_is_known() -> None:
    with pytest.raises(ConfigError) as caught:
        check_requirements([Requirement(metric="acuracy", min=0.5)], "multiclass")
    assert "macro_f1" in caught.value.hint
    assert "rmse" not in caught.value.hint
