"""Verdicts: every rule of the policy, the sentences, and that any input gets exactly one status."""

from __future__ import annotations

import ast
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import Requirement
from trimtab.evaluate.holding import MOST_ROWS
from trimtab.evaluate.judge import judge
from trimtab.evaluate.measure import measure
from trimtab.store.records import Evidence

AUC = Requirement(metric="roc_auc", min=0.76)
NEXT = iter(range(10**9))


def seen(value: float, lo: float, hi: float, n: int = 1000, **fields) -> Evidence:
    fields = {"metric": "roc_auc", "subject": "d", "method": "m", **fields}
    return Evidence(id=f"e{next(NEXT):06}", value=value, lo=lo, hi=hi, n=n, **fields)


def at_gate(requirement: Requirement, *evidence: Evidence, **fields):
    return judge(requirement, evidence, **{"subject": "d", "place": "gate", **fields})


@pytest.mark.parametrize(
    ("numbers", "status", "provisional"),
    [
        ((0.80, 0.76, 0.84), "pass", False),
        ((0.80, 0.77, 0.84), "pass", False),
        ((0.70, 0.66, 0.759), "fail", False),
        ((0.78, 0.74, 0.82), "undecided", True),
        ((0.75, 0.71, 0.79), "undecided", False),
    ],
)
def test_the_whole_interval_decides(numbers, status, provisional) -> None:
    verdict = at_gate(AUC, seen(*numbers))
    assert (verdict.status, verdict.provisional) == (status, provisional)
    assert verdict.allows == (status == "pass" or provisional)
    assert (verdict.value, verdict.lo, verdict.hi, verdict.n) == (*numbers, 1000)


def test_bounds_from_both_sides() -> None:
    both = Requirement(metric="bias", min=-1, max=1)
    assert at_gate(both, seen(0, -0.5, 0.5, metric="bias")).status == "pass"
    assert at_gate(both, seen(0, -2, 0.5, metric="bias")).status == "undecided"
    assert at_gate(both, seen(3, 2, 4, metric="bias")).status == "fail"
    assert "must be between -1 and 1" in at_gate(both, seen(0, -2, 2, metric="bias")).reason


def test_a_verdict_cites_what_it_rests_on() -> None:
    one = seen(0.8, 0.77, 0.83)
    verdict = at_gate(AUC, one, config="blake3:c", run="r", now=9)
    assert verdict.requirement == AUC.digest
    assert (verdict.text, verdict.evidence) == ("roc_auc >= 0.76", [one.id])
    assert (verdict.config, verdict.run, verdict.decided_at) == ("blake3:c", "r", 9)
    assert verdict.reason == "roc_auc is 0.800 [0.770, 0.830] on 1,000 rows, must be >= 0.76"


def test_undecided_says_how_much_more_data_it_needs() -> None:
    verdict = at_gate(AUC, seen(0.78, 0.74, 0.82, n=500))
    # Half the width to the bound needs four times the rows.
    assert verdict.details["more_rows"] == pytest.approx(1500, abs=1)
    assert "about 1,500 more rows would decide" in verdict.reason
    assert verdict.reason.endswith("it passes provisionally, since the value satisfies")
    on_it = at_gate(AUC, seen(0.76, 0.74, 0.78))
    assert on_it.details["more_rows"] == MOST_ROWS
    assert "no number of rows would decide" in on_it.reason
    low = at_gate(AUC, seen(0.75, 0.71, 0.80, n=100))
    assert low.details["more_rows"] == pytest.approx(2400, abs=1)
    assert "no value satisfies" in low.reason


def test_undecided_quantiles_say_what_bounds_them() -> None:
    p99 = Requirement(metric="latency_ms", quantile="p99", max=20)
    one = seen(
        9, 8, 1.7e308, n=100, metric="latency_ms", statistic="p99", details={"rows_needed": 368}
    )
    verdict = at_gate(p99, one)
    assert verdict.details["more_rows"] == 268
    assert verdict.reason.startswith(
        "latency_ms p99 is 9.00 [8.00, inf] on 100 rows, must be <= 20"
    )
    assert verdict.provisional


def test_strict_refuses_what_is_not_sure() -> None:
    unsure = seen(0.78, 0.74, 0.82)
    strict = Requirement(metric="roc_auc", min=0.76, strict=True)
    assert not at_gate(strict, unsure).provisional
    assert "a strict requirement must be sure" in at_gate(strict, unsure).reason
    assert at_gate(strict, unsure, strict=False).provisional
    assert not at_gate(AUC, unsure, strict=True).provisional


FAIR = Requirement(metric="selection_rate", ratio=0.8, across="group")
GROUPS = {
    "groups": {
        "A": {"value": 0.5, "lo": 0.47, "hi": 0.53, "n": 1570},
        "B": {"value": 0.31, "lo": 0.28, "hi": 0.34, "n": 830},
    },
    "smallest": "B",
    "largest": "A",
    "small": {},
    "unmeasured": {},
}


def disparity(value, lo, hi, **details) -> Evidence:
    return seen(
        value, lo, hi, 2400, metric="selection_rate", statistic="ratio:group",
        details={**GROUPS, **details},
    )  # fmt: skip


def test_a_disparity_names_its_groups() -> None:
    verdict = at_gate(FAIR, disparity(0.62, 0.55, 0.70))
    assert verdict.status == "fail"
    assert verdict.reason == (
        "selection_rate ratio across group is 0.62 [0.55, 0.70] on 2,400 rows, must be >= 0.8; "
        "B selects 31 % of 830, A selects 50 % of 1,570"
    )
    small = at_gate(FAIR, disparity(0.62, 0.55, 0.70, small={"C": 12}, unmeasured={"D": "no rows"}))
    assert small.reason.endswith("; not judged: C (12 rows), D (no rows)")


def test_fairness_is_always_strict() -> None:
    verdict = at_gate(FAIR, disparity(0.85, 0.75, 0.95), strict=False)
    assert (verdict.status, verdict.provisional) == ("undecided", False)
    assert "a fairness requirement must be sure" in verdict.reason


GAIN = Requirement(metric="roc_auc", better_than="baseline")


@pytest.mark.parametrize(
    ("numbers", "status", "provisional"),
    [
        ((0.03, 0.01, 0.05), "pass", False),
        ((0.03, 0.00, 0.06), "undecided", True),
        ((0.00, -0.02, 0.02), "undecided", False),
        ((0.00, 0.00, 0.00), "fail", False),
        ((-0.03, -0.05, 0.00), "fail", False),
    ],
)
def test_equal_is_not_better(numbers, status, provisional) -> None:
    verdict = at_gate(GAIN, seen(*numbers, statistic="gain:baseline"))
    assert (verdict.status, verdict.provisional) == (status, provisional)
    assert verdict.reason.startswith("roc_auc gain over baseline is")
    assert "must be > 0" in verdict.reason


@pytest.mark.parametrize("place", ["rollout", "monitor"])
def test_repeated_looks_refuse_fixed_intervals(place) -> None:
    fixed = seen(0.80, 0.77, 0.83, measured_at=9)
    verdict = at_gate(AUC, fixed, place=place)
    assert verdict.status == "missing"
    assert f"the {place} looks again and again" in verdict.reason
    anytime = seen(0.79, 0.765, 0.82, validity="anytime", measured_at=1)
    both = at_gate(AUC, fixed, anytime, place=place)
    assert (both.status, both.value) == ("pass", 0.79)
    unsure = seen(0.78, 0.74, 0.82, validity="anytime")
    assert at_gate(AUC, unsure, place=place).provisional is False
    assert at_gate(AUC, anytime).status == "pass"


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        (AUC, "withheld rows that carry the target"),
        (Requirement(metric="latency_ms", quantile="p99", max=20), "run `trimtab bench`"),
        (Requirement(metric="cost_per_1000", max=1), "set price_per_hour in [serve]"),
        (FAIR, "the column 'group'"),
        (Requirement(metric="accuracy", min=0.5, by="region"), "the column 'region'"),
        (GAIN, "a baseline that scored the same rows"),
    ],
)
def test_missing_names_what_is_absent(requirement, said) -> None:
    other = [seen(1, 1, 1, metric="f1"), seen(0.9, 0.9, 0.9, subject="other")]
    verdict = at_gate(requirement, *other)
    assert (verdict.status, verdict.value, verdict.evidence) == ("missing", None, [])
    assert said in verdict.reason
    assert not verdict.allows


def test_production_lacks_labels() -> None:
    assert "set labels in [serve]" in at_gate(AUC, place="monitor").reason


def test_biased_labels_cannot_pass() -> None:
    verdict = at_gate(
        AUC, seen(0.9, 0.89, 0.91, details={"biased": "outcomes of approved loans only"})
    )
    assert verdict.status == "missing"
    assert "outcomes of approved loans only" in verdict.reason


def test_the_newest_sufficient_evidence_counts() -> None:
    old, new = seen(0.9, 0.89, 0.91, measured_at=1), seen(0.7, 0.69, 0.71, measured_at=2)
    assert at_gate(AUC, new, old).status == "fail"
    sure = Requirement(metric="roc_auc", min=0.76, level=0.99)
    assert "at level 0.95, it must be at least 0.99" in at_gate(sure, old).reason
    wide = seen(0.9, 0.7, 0.95, measured_at=1, level=0.99)
    assert at_gate(sure, old, wide).status == "undecided"
    assert at_gate(AUC, wide, old).status == "pass"


def test_undefined_is_undecided_and_never_provisional() -> None:
    one = seen(0.9, 0.0, 1.0, 0, details={"undefined": "the truth holds only positives"})
    verdict = at_gate(AUC, one)
    assert (verdict.status, verdict.provisional, verdict.value) == ("undecided", False, None)
    assert verdict.reason.startswith("roc_auc is undefined: the truth holds only positives")


BY = Requirement(metric="accuracy", min=0.7, by="region")


def part(name: str, value: float, half: float, n: int = 500, **fields) -> Evidence:
    fields = {"metric": "accuracy", "slice": f"region={name}", "level": 0.99, **fields}
    return seen(value, value - half, value + half, n, **fields)


@pytest.mark.parametrize(
    ("parts", "status", "shown"),
    [
        ([("N", 0.9, 0.05), ("S", 0.8, 0.05)], "pass", 0.8),
        ([("N", 0.9, 0.05), ("S", 0.5, 0.05)], "fail", 0.5),
        ([("N", 0.9, 0.05), ("S", 0.72, 0.05)], "undecided", 0.72),
        ([("N", 0.72, 0.05), ("S", 0.5, 0.05)], "fail", 0.5),
        ([("N", 0.9, 0.05), ("S", 0.1, 0.05, 49)], "pass", 0.9),
        ([("N", 0.9, 0.05, 20)], "undecided", None),
    ],
)
def test_every_judged_slice_must_hold(parts, status, shown) -> None:
    verdict = at_gate(BY, *(part(*p) for p in parts))
    assert (verdict.status, verdict.value) == (status, shown)
    assert len(verdict.evidence) == len(parts)


def test_small_slices_are_listed_and_do_not_block() -> None:
    verdict = at_gate(BY, part("N", 0.9, 0.05), part("S", 0.1, 0.1, 12))
    assert verdict.reason.endswith("not judged: region=S (12 rows)")
    assert verdict.details["not_judged"] == {"region=S": "12 rows"}
    assert verdict.details["slices"]["region=N"]["status"] == "pass"
    # The rows of the slice count, not those of it that the metric reads.
    few = part("N", 0.9, 0.05, 12, details={"rows": 300})
    assert at_gate(BY, few).status == "pass"


def test_undecided_slices_pass_provisionally_where_all_values_satisfy() -> None:
    assert at_gate(BY, part("N", 0.9, 0.05), part("S", 0.72, 0.05)).provisional
    assert not at_gate(BY, part("N", 0.72, 0.05), part("S", 0.68, 0.05)).provisional
    verdict = at_gate(BY, part("N", 0.72, 0.05), part("S", 0.71, 0.05))
    assert verdict.details["more_rows"] == pytest.approx(500 * 24, rel=0.01)
    only_small = at_gate(BY, part("N", 0.9, 0.05, 20))
    assert only_small.provisional
    assert "no slice has the 50 rows it needs" in only_small.reason
    assert not at_gate(BY, part("N", 0.6, 0.05, 20)).provisional


def test_slices_must_share_the_level() -> None:
    loose = [part(name, 0.9, 0.05, level=0.95) for name in "NS"]
    assert "it must be at least 0.975" in at_gate(BY, *loose).reason
    assert at_gate(BY, loose[0]).status == "pass"
    small = part("W", 0.9, 0.05, 10, level=0.95)
    assert at_gate(BY, loose[0], small).status == "pass"


def test_vanished_slices_do_not_linger() -> None:
    old = part("gone", 0.1, 0.05, measured_at=1)
    assert at_gate(BY, old, part("N", 0.9, 0.05, measured_at=2)).status == "pass"


def test_measured_evidence_is_judged(binary) -> None:
    table = binary(2000, groups={"A": 2, "B": 1, "C": 0.01}, baseline=True)
    asked = [
        Requirement(metric="roc_auc", min=0.7),
        Requirement(metric="roc_auc", min=0.95, level=0.99),
        Requirement(metric="accuracy", min=0.6, by="group"),
        Requirement(metric="selection_rate", ratio=0.5, across="group"),
        GAIN,
    ]
    found = measure(table, asked, subject="d", window="withheld")
    statuses = [at_gate(one, *found).status for one in asked]
    assert statuses == ["pass", "fail", "pass", "pass", "pass"]


NUMBERS = st.floats() | st.sampled_from([0.0, 0.5, 0.76, 0.8, 1.0])
EVIDENCE = st.builds(
    Evidence,
    id=st.text("abc", min_size=1, max_size=4),
    metric=st.sampled_from(["roc_auc", "f1"]),
    statistic=st.sampled_from(["", "ratio:g", "gap:g", "gain:baseline", "p99"]),
    subject=st.sampled_from(["d", "other"]),
    slice=st.sampled_from(["", "g=a", "g=b", "h=a"]),
    value=NUMBERS,
    lo=NUMBERS,
    hi=NUMBERS,
    n=st.integers(0, 10**7),
    method=st.just("m"),
    level=st.sampled_from([0.9, 0.95, 0.99, 0.999]),
    validity=st.sampled_from(["fixed", "anytime"]),
    measured_at=st.integers(0, 2),
    details=st.sampled_from(
        [
            {},
            GROUPS,
            {"undefined": "x"},
            {"rows": 99},
            {"rows": 3},
            {"biased": "y"},
            {"rows_needed": 9},
        ]
    ),
)
REQUIREMENTS = st.sampled_from(
    [
        AUC,
        GAIN,
        Requirement(metric="roc_auc", max=0.5, strict=True),
        Requirement(metric="roc_auc", min=0.2, max=0.8, by="g"),
        Requirement(metric="roc_auc", ratio=0.8, across="g"),
        Requirement(metric="roc_auc", gap=0.1, across="g", by="h"),
        Requirement(metric="roc_auc", quantile="p99", max=3, level=0.9),
    ]
)


@given(
    REQUIREMENTS,
    st.lists(EVIDENCE, max_size=6),
    st.sampled_from(["gate", "rollout", "monitor"]),
    st.sampled_from([None, True, False]),
)
def test_every_input_gets_one_status(requirement, evidence, place, strict) -> None:
    verdict = judge(requirement, evidence, subject="d", place=place, strict=strict, now=1)
    assert verdict.status in {"pass", "fail", "undecided", "missing"}
    assert verdict.reason
    assert "\n" not in verdict.reason
    assert not verdict.provisional or (
        verdict.status == "undecided" and place == "gate" and not requirement.is_fairness
    )
    assert (verdict.status == "missing") == (not verdict.evidence)
    if verdict.status in {"pass", "fail"}:
        assert verdict.value is not None
        assert math.isfinite(verdict.value) or math.isinf(verdict.value)
    again = judge(requirement, evidence[::-1], subject="d", place=place, strict=strict, now=1)
    if len({e.id for e in evidence}) == len(evidence):
        assert (again.status, again.reason) == (verdict.status, verdict.reason)


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_a_narrower_interval_never_overturns(value, down, up, bound) -> None:
    requirement = Requirement(metric="roc_auc", min=bound)
    wide = at_gate(requirement, seen(value, value - down, value + up))
    narrow = at_gate(requirement, seen(value, value - down / 2, value + up / 2))
    if wide.status != "undecided":
        assert narrow.status == wide.status
    assert wide.status != "undecided" or wide.provisional == (value >= bound)


HEAVY = ["numpy", "scipy", "polars", "sklearn", "sqlalchemy", "onnx", "onnxruntime", "optuna"]


def loaded_by(*modules: str) -> list[str]:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"import {', '.join(modules)}\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout)


@pytest.mark.slow
def test_the_judge_is_light() -> None:
    assert loaded_by("trimtab.evaluate.judge") == []


@pytest.mark.slow
def test_measuring_needs_numpy_alone() -> None:
    names = ["measure", "anytime", "latency", "sequential"]
    assert loaded_by(*(f"trimtab.evaluate.{name}" for name in names)) == ["numpy"]
