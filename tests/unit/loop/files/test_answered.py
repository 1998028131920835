"""Quality of answers in a file, for every kind of model and with whichever columns there are."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab.config import Requirement
from trimtab.errors import UsageError
from trimtab.loop.files.answered import Answered, estimated, outcomes
from trimtab.loop.files.answered import measured as metrics
from trimtab.model.signature import Signature
from trimtab.monitor.basis import Basis
from trimtab.monitor.findings import Finding
from trimtab.monitor.outcomes import calibration
from trimtab.monitor.watched import Watched
from trimtab.store.records import Version

V1 = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)
SIGNED = {
    "binary": Signature(
        task="binary", engine="onnx", inputs=(), classes=("no", "yes"), positive="yes"
    ),
    "multiclass": Signature(
        task="multiclass", engine="onnx", inputs=(), classes=("cat", "dog", "eel")
    ),
    "regression": Signature(task="regression", engine="onnx", inputs=()),
}


def measured(task, truth="y", **columns):
    """The metrics, by name, of columns `score`, `decision` and `y`; and the notes."""
    names = {"score": "__score__", "decision": "__decision__"}
    table = {names.get(n, n): pl.Series(n, v, strict=False) for n, v in columns.items()}
    rows = np.arange(len(next(iter(columns.values()))))
    model = Watched(V1, SIGNED[task], None, None)
    wanted = [Requirement(metric="mae" if task == "regression" else "accuracy", min=0.1)]
    given = Answered(table, rows, truth)
    if truth:
        known, notes = outcomes(model, given)
        found, _ = metrics(model, known, wanted, "file:x.csv")
    else:
        found, notes = estimated(model, given)
    return {one.metric: (one.value, one.n) for one in found}, notes


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("binary", {"score": [0.9, 0.2] * 20, "y": ["yes", "no"] * 20}),
        ("binary", {"decision": ["yes", "no"] * 20, "y": ["yes", "no"] * 20}),
        ("multiclass", {"decision": ["cat", "eel"] * 20, "y": ["cat", "eel"] * 20}),
        (
            "multiclass",
            {"decision": ["cat", "eel"] * 20, "score": [0.8] * 40, "y": ["cat", "eel"] * 20},
        ),
    ],
    ids=["score", "decision", "classes", "classes and the highest score"],
)
def test_answers_of_classes_are_measured_by_whatever_says_what_was_decided(task, columns):
    found, notes = measured(task, **columns)
    assert (found["accuracy"], notes) == ((1.0, 40), [])


@pytest.mark.parametrize("name", ["score", "decision"])
def test_a_regressions_value_may_be_called_either(name):
    found, notes = measured("regression", **{name: [1.0, 2.0] * 20, "y": [1.5, 2.5] * 20})
    assert (found["mae"], notes) == ((0.5, 40), [])


@pytest.mark.parametrize(
    ("task", "columns", "why"),
    [
        (
            "multiclass",
            {"decision": ["cat", "fox", None, "eel"] * 10, "y": ["cat"] * 40},
            ": decision 'fox' is none of 'cat', 'dog', 'eel'",
        ),
        ("regression", {"score": ["1.0", "?", "nan", "3"] * 10, "y": [1.0] * 40}, ""),
        (
            "binary",
            {"decision": ["yes", "no"] * 20, "y": ["yes", "perhaps"] * 20},
            ": outcome 'perhaps' is none of 'no', 'yes'",
        ),
    ],
    ids=["multiclass", "regression", "binary"],
)
def test_rows_that_cannot_be_measured_are_left_out_and_counted(task, columns, why):
    found, notes = measured(task, **columns)
    assert {n for _, n in found.values()} <= {20}
    assert notes == [f"20 rows have no usable outcome, score or decision{why}"]


@pytest.mark.parametrize("classes", [("False", "True"), (False, True), (0, 1)])
@pytest.mark.parametrize(
    "written",
    [(False, True), ("false", "TRUE"), ("False", "True"), (0, 1), (0.0, 1.0), ("0", "1.0")],
)
def test_a_truth_is_known_however_it_is_written(monkeypatch, classes, written):
    signed = msgspec.structs.replace(SIGNED["binary"], classes=classes, positive=classes[1])
    monkeypatch.setitem(SIGNED, "binary", signed)
    said, truth = ([written[one] for one in ones * 10] for ones in ([0, 1, 1, 0], [0, 1, 0, 0]))
    found, notes = measured("binary", decision=said, y=truth)
    assert (found["accuracy"], notes) == ((0.75, 40), [])


def test_an_estimate_is_untrusted_while_inputs_moved():
    random = np.random.default_rng(0)
    score = random.random(2_000)
    known = calibration.fit(score, (random.random(2_000) < score).astype(float))
    basis = Basis(calibration=known, strata=None, streams=(), threshold=0.5)
    model = Watched(V1, SIGNED["binary"], None, basis)
    table = {"__score__": pl.Series("score", score)}
    moved = Finding(kind="data drift", severity="alarm", features=(), since=0, text="")
    for findings, trusted in (((), True), ((moved,), False)):
        given = Answered(table, np.arange(2_000))
        shown, _ = estimated(model, given, findings)
        assert all(one.note.startswith("untrusted: data drift") != trusted for one in shown)
        assert all("blind to concept drift" in one.note for one in shown)


def test_a_score_does_not_say_which_of_several_classes_was_chosen():
    with pytest.raises(UsageError, match="which of the classes goods@v1 chose"):
        measured("multiclass", score=[0.9] * 40, y=["cat"] * 40)


@pytest.mark.parametrize(
    ("task", "column"), [("multiclass", "score"), ("regression", "score"), ("binary", "decision")]
)
def test_what_cannot_be_estimated_is_said(task, column):
    found, notes = measured(task, "", **{column: [0.9] * 40})
    assert found == {}
    assert len(notes) == 1
    assert notes[0].startswith("without outcomes a file's quality is estimated from")
