"""What is called by which name, from rows to the sentence."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import DataError, NotFoundError
from trimtab.monitor.budget import Budget, run_length
from trimtab.monitor.findings import Finding
from trimtab.monitor.judge import judge
from trimtab.monitor.names import name_errors
from trimtab.monitor.outcomes.calibration import fit
from trimtab.monitor.outcomes.concept import Alarm, start, update
from trimtab.monitor.outcomes.strata import excess, fit_strata
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rows_of(random, rows: int, kind: str, weak: bool = True):
    """A model that looks at `a` only; if it is `weak`, the truth depends on it far less where b > 1.

    "covariate" moves b there, "harder" narrows a to where nobody can tell, "concept" blurs the
    outcomes and leaves the inputs.
    """
    a = random.normal(0, 0.4 if kind == "harder" else 1, rows)
    b = random.normal(1.2 if kind == "covariate" else 0, 1, rows)
    score = sigmoid(1.5 * a)
    odd = (b > 1) & weak
    truth = sigmoid(1.5 * a * np.where(odd, 0.1, 1.0) - odd)
    if kind == "concept":
        truth = 0.75 * truth + 0.25 * (1 - truth)
    event = (random.random(rows) < truth).astype(float)
    return {"a": a, "b": b, "c": random.normal(size=rows), "__score__": score}, score, event


def lived(kind: str, seed: int, weak: bool = True, days: int = 30, change: int = 10):
    """A model's month: (input findings, the naming of its errors, alarm)."""
    random = np.random.default_rng([seed, 17])
    columns, score, event = rows_of(random, 3_000, "calm", weak)
    reference = fit_reference(columns)
    calibration = fit(score, event)
    strata = fit_strata(reference.bins, calibration, columns, score, event)
    state = start(run_length(Budget(), 15_000))
    windows, labelled = [], []
    for day in range(days):
        batch = rows_of(random, 500, kind if day >= change else "calm", weak)
        windows.append(count(reference.bins, batch[0]))
        labelled.append(batch)
        state = update(state, calibration, batch[1], batch[2], times=np.full(500, day))
        if state.alarm:
            break
    found = judge(reference, windows)
    drift = found.kind("data drift")
    excesses = {}
    if state.alarm and drift:
        since = min((state.alarm.since_time or 0) + 1, len(labelled) - 1)
        recent = labelled[since:]
        table = {name: np.concatenate([r[0][name] for r in recent]) for name in columns}
        score, event = (np.concatenate([r[i] for r in recent]) for i in (1, 2))
        flip = (
            score >= 0.5
            if state.alarm.stream == "errors"
            else np.full(len(score), state.alarm.stream == "fewer")
        )
        excesses = {
            each.feature: excess(
                strata, reference.bins, calibration, each.feature, table, score, event, flip=flip
            )
            for each in drift.features
        }
    return found, name_errors(state.alarm, found.findings, excesses), state.alarm


@pytest.mark.slow
def test_a_calm_month_has_no_name():
    for seed in range(4):
        found, naming, alarm = lived("calm", seed)
        assert found.findings == ()
        assert naming.finding is None
        assert alarm is None


@pytest.mark.slow
def test_a_concept_switch_with_equal_inputs_is_concept_drift_and_nothing_else():
    for seed in range(4):
        found, naming, _ = lived("concept", seed)
        assert found.findings == ()
        assert naming.finding is not None
        assert naming.finding.kind == "concept drift"
        assert 8 <= (naming.finding.since or 0) <= 13
        assert "while no move of the inputs was found" in naming.finding.text


@pytest.mark.slow
def test_a_covariate_shift_of_a_calibrated_model_is_data_drift_and_nothing_else():
    for seed in range(4):
        found, naming, alarm = lived("harder", seed, weak=False)
        assert {finding.kind for finding in found.findings} == {"data drift"}
        assert alarm is None
        assert naming.finding is None


@pytest.mark.slow
def test_a_shift_to_where_the_model_is_weak_is_data_drift_though_errors_rise():
    named = 0
    for seed in range(8):
        found, naming, alarm = lived("covariate", seed)
        assert found.kind("data drift")
        assert alarm is not None
        named += naming.finding is not None
    assert named <= 1


ALARM = Alarm(
    stream="errors",
    at=900,
    since=700,
    at_time=None,
    since_time=None,
    rows=200,
    seen=80,
    expected=40,
)


def defect(kind, touched: float) -> Finding:
    return Finding(
        kind=kind, severity="alarm", features=(), since=0, text="", detail={"rows_touched": touched}
    )


def test_a_broken_input_explains_as_many_errors_as_it_touches_rows():
    assert name_errors(ALARM, [defect("broken input", 0.3)]).finding is None
    assert "mend the input first" in name_errors(ALARM, [defect("broken join", 1.0)]).reason
    assert name_errors(ALARM, [defect("broken input", 0.05)]).finding is not None


def test_the_sentence_has_the_numbers():
    finding = name_errors(ALARM, []).finding
    assert finding is not None
    assert finding.text == (
        "Concept drift: wrong decisions rose while no move of the inputs was found: 80 in 200 labelled rows "
        "since row 700, 40 were expected."
    )
    assert finding.detail["excess"] == 0.2
    assert finding.since == 700


def test_a_regression_says_what_rose():
    finding = name_errors(ALARM, [], outcome="large errors").finding
    assert finding is not None
    assert "large errors rose" in finding.text


def test_rows_in_strata_that_training_never_saw_are_left_out():
    random = np.random.default_rng(0)
    x = random.uniform(0, 1, 2_000)
    score = random.random(2_000)
    event = (random.random(2_000) < score).astype(float)
    reference = fit_reference({"x": x})
    calibration = fit(score, event)
    strata = fit_strata(reference.bins, calibration, {"x": x}, score, event)
    missing = {"x": np.full(300, np.nan)}
    found = excess(strata, reference.bins, calibration, "x", missing, score[:300], event[:300])
    assert found == (0.0, -1.0, 1.0, 0.0)
    half = {"x": np.where(np.arange(300) % 2 == 0, x[:300], np.nan)}
    found = excess(strata, reference.bins, calibration, "x", half, score[:300], event[:300])
    assert found.supported == pytest.approx(0.5)
    assert found.lo < 0 < found.hi


def test_strata_refuse_what_does_not_pair_up():
    random = np.random.default_rng(0)
    x, score = random.random(500), random.random(500)
    event = np.tile([0.0, 1.0], 250)
    reference = fit_reference({"x": x})
    calibration = fit(score, event)
    strata = fit_strata(reference.bins, calibration, {"x": x}, score, event)
    with pytest.raises(DataError, match="500 rows for 3 scores"):
        excess(strata, reference.bins, calibration, "x", {"x": x}, score[:3], event[:3])
    with pytest.raises(NotFoundError):
        strata.feature("y")
