"""Evidence from a table: what is asked, at the level asked, and nothing that is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab import ids
from trimtab.config import Requirement
from trimtab.errors import ConfigError
from trimtab.evaluate.measure import measure
from trimtab.evaluate.metrics import default_metrics
from trimtab.evaluate.scored import Scored
from trimtab.store.records import Evidence

ABOUT = {"subject": "blake3:d", "window": "withheld", "run": "r1", "now": 5}


def only(found: list[Evidence], metric: str, statistic: str = "", level: float = 0.95) -> Evidence:
    (one,) = [
        e
        for e in found
        if (e.metric, e.statistic, e.level, e.slice) == (metric, statistic, level, "")
    ]
    return one


def test_defaults_are_always_measured(binary, multiclass, regression) -> None:
    for table in (binary(200), multiclass(200), regression(200)):
        found = measure(table, [], **ABOUT)
        assert tuple(e.metric for e in found) == default_metrics(table.task)
        for one in found:
            assert ids.is_id(one.id)
            assert (one.subject, one.window, one.run, one.measured_at) == tuple(ABOUT.values())
            assert (one.validity, one.level) == ("fixed", 0.95)
            assert math.isfinite(one.lo) and one.lo <= one.value <= one.hi < math.inf


def test_a_requirement_gets_its_own_level(binary) -> None:
    found = measure(binary(300), [Requirement(metric="roc_auc", min=0.7, level=0.99)], **ABOUT)
    wide, narrow = only(found, "roc_auc", level=0.99), only(found, "roc_auc")
    assert wide.lo < narrow.lo < narrow.hi < wide.hi
    same = measure(binary(300), [Requirement(metric="roc_auc", min=0.7)] * 2, **ABOUT)
    assert [e.metric for e in same].count("roc_auc") == 1


def test_statistics_of_all_kinds(binary) -> None:
    table = binary(900, groups={"A": 1, "B": 1}, baseline=True)
    found = measure(
        table,
        [
            Requirement(metric="selection_rate", ratio=0.8, across="group"),
            Requirement(metric="accuracy", gap=0.1, across="group"),
            Requirement(metric="roc_auc", better_than="baseline"),
        ],
        **ABOUT,
    )
    assert only(found, "selection_rate", "ratio:group").details["groups"].keys() == {"A", "B"}
    assert only(found, "accuracy", "gap:group").value >= 0
    assert only(found, "roc_auc", "gain:baseline").lo > 0


def test_slices_share_the_level_and_small_ones_take_none(binary) -> None:
    table = binary(900, groups={"A": 10, "B": 10, "C": 0.4})
    found = measure(table, [Requirement(metric="accuracy", min=0.5, by="group")], **ABOUT)
    slices = {e.slice: e for e in found if e.slice}
    assert set(slices) == {"group=A", "group=B", "group=C"}
    assert [e.level for e in slices.values()] == pytest.approx([0.975] * 3)
    assert slices["group=C"].details == {"rows": slices["group=C"].n, "slices": 2}
    assert slices["group=C"].n < 50


def test_fairness_within_slices(binary) -> None:
    random = np.random.default_rng(0)
    sliced = binary(900, groups={"A": 1, "B": 1})
    region = random.choice(np.array(["north", "south"], dtype=object), 900)
    table = Scored(
        "binary",
        sliced.truth,
        sliced.score,
        sliced.decision,
        slices={**sliced.slices, "region": region},
    )
    asked = Requirement(metric="selection_rate", ratio=0.8, across="group", by="region")
    found = [e for e in measure(table, [asked], **ABOUT) if e.slice]
    assert [e.slice for e in found] == ["region=north", "region=south"]
    assert all(e.details["groups"].keys() == {"A", "B"} for e in found)


def test_what_is_not_there_is_left_out(binary) -> None:
    bare = Scored("binary", None, None, np.array([True, False] * 50))
    asked = [
        Requirement(metric="latency_ms", quantile="p99", max=20),
        Requirement(metric="roc_auc", better_than="champion"),
        Requirement(metric="accuracy", min=0.5, by="group"),
        Requirement(metric="selection_rate", ratio=0.8, across="group"),
    ]
    assert [e.metric for e in measure(bare, asked, **ABOUT)] == ["selection_rate", "rows"]
    decisions = Scored("binary", bare.decision, None, bare.decision)
    assert "roc_auc" not in {e.metric for e in measure(decisions, asked, **ABOUT)}
    scoreless = binary(100, baseline=True)
    other = Scored("binary", scoreless.truth, None, scoreless.decision)
    table = Scored("binary", scoreless.truth, scoreless.score, scoreless.decision, baseline=other)
    asked = [Requirement(metric="roc_auc", better_than="baseline")]
    assert all(not e.statistic for e in measure(table, asked, **ABOUT))


def test_the_undefined_leaves_evidence_of_no_rows(binary, regression) -> None:
    table = binary(100)
    positives = table.take(table.truth)
    one = only(measure(positives, [], **ABOUT), "roc_auc")
    assert (one.lo, one.hi, one.n, one.method) == (0.0, 1.0, 0, "none")
    assert one.details == {"undefined": "the truth holds only positives"}
    none = measure(table.take(np.zeros(100, dtype=bool)), [], **ABOUT)
    assert all(e.details.get("undefined") for e in none if e.metric != "rows")
    single = measure(regression(1), [], **ABOUT)
    assert all(math.isfinite(e.lo) and math.isfinite(e.hi) for e in single)


def test_biased_labels_are_said(binary) -> None:
    found = measure(binary(100, biased="only approved loans have outcomes"), [], **ABOUT)
    marked = {e.metric for e in found if e.details.get("biased")}
    assert "accuracy" in marked
    assert not marked & {"selection_rate", "rows"}


def test_unknown_requirements_are_refused(binary) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        measure(binary(100), [Requirement(metric="acuracy", min=0.5)], **ABOUT)


def test_the_moment_is_now_unless_said(binary) -> None:
    before = ids.now()
    found = measure(binary(100), [], subject="s", window="w")
    assert before <= found[0].measured_at <= ids.now()
    assert len({e.measured_at for e in found}) == 1
