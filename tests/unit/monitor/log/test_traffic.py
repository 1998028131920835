from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trimtab.model.signature import Column, Signature
from trimtab.monitor.log import traffic
from trimtab.profile.scales import CONFIDENCE, LATENCY
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged.frame import Frame
from trimtab.store.records import Label

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(Column(name="x", kind="number"), Column(name="kind", kind="text")),
    context=(Column(name="group", kind="text"),),
    classes=("no", "yes"),
    positive="yes",
    threshold=0.5,
)


def frame(names, *, role="champion", model="blake3:m", status=200, times=(), **columns) -> Frame:
    score = np.linspace(0.1, 0.9, max(len(names), 1), dtype="<f4")[: len(names)]
    return Frame(
        ids=tuple(names),
        request="r",
        received_at=1_000,
        endpoint="goods",
        role=role,
        model=model,
        label="goods v1",
        contract="predict",
        status=status,
        latency_us=7,
        event_times=tuple(times),
        numbers=bytes_of.pack_numbers({"x": np.arange(len(names), dtype=float)}),
        words={"kind": ["a"] * len(names)},
        score=score.tobytes(),
        decision=["yes" if one >= 0.5 else "no" for one in score],
        **columns,
    )


def label(name, value, **extra) -> Label:
    return Label(prediction=name, value=value, labelled_at=0, received_at=0, extra=extra)


def test_answers_keep_order_times_and_absent_columns():
    rows = traffic.answers(
        [frame(["p", "q"], times=(5, 3), context={"group": ["g", None]}), frame(["r"])], SIGNED
    )
    assert rows.ids == ["p", "q", "r"]
    assert rows.times.tolist() == [5, 3, 1_000]
    assert rows.columns["x"].tolist() == [0.0, 1.0, 0.0]
    assert rows.columns["x"].dtype == np.float64
    assert rows.columns["group"].tolist() == ["g", None, None]
    assert rows.latency_us.tolist() == [7] * 3
    some = rows.take([2, 0])
    assert (some.ids, some.times.tolist(), some.decision) == (["r", "p"], [1_000, 5], ["no", "no"])


def test_no_frames_are_no_rows():
    rows = traffic.answers([], SIGNED)
    assert rows.rows == 0
    expected = {"x", "kind", traffic.SCORE, traffic.DECISION, CONFIDENCE, LATENCY}
    assert set(traffic.profiled(rows, SIGNED)) == expected


def test_what_is_counted_beside_the_inputs():
    rows = traffic.answers([frame(["p", "q"], context={"group": ["g", None]})], SIGNED)
    found = traffic.profiled(rows, SIGNED)
    assert found["group"].tolist() == ["g", None]
    assert found[CONFIDENCE] == pytest.approx(np.maximum(rows.score, 1 - rows.score))
    assert found[LATENCY].tolist() == [7, 7]


def test_refusals_and_empty_frames_are_no_answers():
    frames = [frame(["p"]), frame([], status=422), frame(["q"], role="shadow"), frame([])]
    found = traffic.by_model(frames)
    assert {key: len(some) for key, some in found.items()} == {
        ("blake3:m", "champion"): 1,
        ("blake3:m", "shadow"): 1,
    }


def test_outputs_are_the_top_score_and_the_decision_as_text():
    binary = traffic.outputs(np.array([0.25]), [True], SIGNED)
    assert (binary["__score__"].tolist(), binary["__decision__"].tolist()) == ([0.25], ["True"])
    many = Signature(task="multiclass", engine="onnx", inputs=(), classes=(0, 1))
    found = traffic.outputs(np.array([[0.25, 0.75]]), [1], many)
    assert (found["__score__"].tolist(), found["__decision__"].tolist()) == ([0.75], ["1"])
    value = Signature(task="regression", engine="onnx", inputs=())
    assert list(traffic.outputs(np.array([2.0]), [2.0], value)) == ["__score__"]


@pytest.mark.parametrize("one", [1, 1.0, np.float64(1), "1", np.int64(1)])
def test_a_label_is_the_same_text_however_it_is_written(one):
    assert traffic.text(one) == "1"


@pytest.mark.parametrize(
    ("task", "classes", "good", "bad"),
    [
        ("binary", (False, True), [True, False, "True"], [1, 0, "true", None, "maybe"]),
        ("binary", (0, 1), [0, 1, 1.0, "1"], [2, 0.5, True, None]),
        ("multiclass", ("a", "b", "c"), ["a", "c"], ["d", "", None, 0]),
        ("regression", (), [0, -1.5, 10**9], [float("nan"), float("inf"), "1", None, True]),
    ],
)
def test_which_labels_can_be_truths(task, classes, good, bad):
    signed = Signature(task=task, engine="onnx", inputs=(), classes=classes)
    assert all(traffic.usable(one, signed) for one in good)
    assert not any(traffic.usable(one, signed) for one in bad)


def test_labels_join_by_prediction_id_only():
    rows = traffic.answers([frame(["p", "q", "r"])], SIGNED)
    known, labels = traffic.with_labels(rows, {"r": label("r", "yes"), "s": label("s", "no")})
    assert (known.ids, [one.value for one in labels]) == (["r"], ["yes"])


def test_a_label_of_an_id_that_stands_for_unlike_answers_is_nobodys():
    rows = traffic.answers([frame(["p", "q", "p"])], SIGNED)
    alike = rows.take([0, 1, 0])
    labels = {"p": label("p", "yes"), "q": label("q", "no")}
    assert traffic.with_labels(alike, labels)[0].ids == ["p", "q"]
    unlike = dataclasses.replace(alike, score=np.array([0.1, 0.5, 0.9], dtype=np.float32))
    assert traffic.with_labels(unlike, labels)[0].ids == ["q"]
    assert traffic.once(unlike)[1] == {"p"}


def test_slices_come_from_the_request_or_from_every_label():
    rows = traffic.answers([frame(["p", "q"], context={"group": ["g", "h"]})], SIGNED)
    both = [label("p", "yes", place="n"), label("q", "no", place="s")]
    found = traffic.slices(rows, both, ["group", "place", "nothing"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "group": ["g", "h"],
        "place": ["n", "s"],
    }
    assert traffic.slices(rows, [both[0], label("q", "no")], ["place"]) == {}


def test_the_positive_class_is_the_last_of_two():
    flipped = Signature(
        task="binary", engine="onnx", inputs=(), classes=("bad", "ok"), positive="bad"
    )
    assert traffic.class_names(flipped) == ("ok", "bad")
    found = traffic.build(flipped, ["bad", "ok"], np.array([0.9, 0.2]), ["bad", "ok"])
    assert found.known_truth.tolist() == [True, False]
