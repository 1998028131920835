from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from trimtab.monitor.outcomes import completion, realised
from trimtab.store import estimates, evidence, operations
from trimtab.store.records import Label, WindowEstimate

DAY = 86_400_000_000
BEGIN = 20_000 * DAY


def kept(place, day=0):
    (window,) = [
        one
        for one in operations.windows(place.ws, endpoint="goods")
        if one.start == BEGIN + day * DAY
    ]
    return window.features


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_every_window_is_estimated_before_its_labels_and_checked_by_them(site, task):
    place = site(task)
    for day in range(6):
        place.live(day)
        place.look(day + 1)
        before = estimates.find(place.ws, "goods", metric="accuracy", since=BEGIN + day * DAY)
        assert [one.realised for one in before] == [None]
        place.label(day)
        place.look(day + 1)
    found = estimates.find(place.ws, "goods", metric="accuracy")
    assert [one.start for one in found] == [BEGIN + day * DAY for day in range(6)]
    assert all(one.labels == one.n == 400 for one in found)
    assert all(one.realised_lo <= one.realised <= one.realised_hi for one in found)
    back = completion.held(found)
    assert back.windows == 6 and back.held >= 4 and not back.doubt


@pytest.mark.slow
def test_required_metrics_are_evidence_of_a_single_look_that_says_its_blind_spot(site):
    place = site()
    place.live(0)
    place.look(1)
    (one,) = evidence.find(place.ws, subject="endpoint:goods")
    assert (one.metric, one.statistic, one.validity, one.method) == (
        "roc_auc", "expected", "fixed", "cbpe",
    )  # fmt: skip
    assert "blind to concept drift" in one.details["note"]
    place.look(1)
    assert len(evidence.find(place.ws, subject="endpoint:goods")) == 1


@pytest.mark.slow
def test_an_estimate_is_untrusted_while_inputs_drift(site):
    place = site()
    place.live(0)
    place.live(1, shift=1.5)
    place.look(2)
    calm, moved = estimates.find(place.ws, "goods", metric="accuracy")
    assert calm.untrusted == ""
    assert "data drift in" in moved.untrusted


@pytest.mark.slow
def test_estimates_that_stop_holding_are_said_as_possible_concept_drift(site):
    place = site()
    for day in range(7):
        place.live(day, 800, meaning=-1.0 if day > 1 else 1.0)
        place.label(day)
        seen = place.look(day + 1)
    assert any("possible concept drift" in one for one in seen.sentences)


@pytest.mark.slow
def test_completion_weights_mend_labels_that_come_for_easy_rows_first(site):
    """Only sure rows are labelled: their plain accuracy is far too good, the corrected one is not."""
    place = site()
    place.live(0, 4_000)
    rows = place.days[0]
    unsure = np.abs(rows.score - 0.5) < 0.25
    early = np.flatnonzero(~unsure | (place.noise.random(4_000) < 0.1))
    place.ids[0] = [place.ids[0][i] for i in early]
    right = np.array(rows.decision) == np.array(rows.truth)
    place.label(0, truth=[rows.truth[i] for i in early])
    seen = place.look(1)
    body = msgspec.convert(kept(place)["labels"], realised.Realised)
    shown = body.metrics["accuracy"]
    assert abs(shown.value - right.mean()) < 0.03 < right[early].mean() - right.mean()
    assert shown.lo <= right.mean() <= shown.hi
    assert f"{len(early) / 4_000:.0%} complete" in " ".join(seen.sentences)
    assert "scores that no label is of" not in " ".join(seen.sentences)


@pytest.mark.slow
def test_rows_of_scores_that_no_label_is_of_are_said_beside_the_corrected_figure(site):
    """Nothing mends what was never labelled: the figure is of the sure half of the rows."""
    place = site()
    place.live(0)
    sure = np.flatnonzero(np.abs(place.days[0].score - 0.5) > 0.25)
    place.ids[0] = [place.ids[0][i] for i in sure]
    place.label(0, truth=[place.days[0].truth[i] for i in sure])
    seen = place.look(1)
    (said,) = [one for one in seen.sentences if "corrected for it" in one]
    told = float(re.search(r"but (\d+)% of the rows have scores that no label is of", said)[1])
    assert abs(told / 100 - (1 - len(sure) / 400)) < 0.1


@pytest.mark.slow
def test_slices_are_measured_apart(site):
    place = site(extra="")
    place.config = msgspec.structs.replace(
        place.config,
        require=(
            *place.config.require,
            msgspec.structs.replace(place.config.require[0], metric="accuracy", min=0.5, by="kind"),
        ),
    )
    place.live(0, 1_000)
    place.label(0, part=slice(0, 600))
    place.look(1)
    body = msgspec.convert(kept(place)["labels"], realised.Realised)
    assert set(body.slices) == {"kind=a", "kind=b"}
    rows = place.days[0]
    for name in "ab":
        mine = rows.columns["kind"] == name
        right = (np.array(rows.decision) == np.array(rows.truth))[mine].mean()
        shown = body.slices[f"kind={name}"]["accuracy"]
        assert shown.lo <= right <= shown.hi


def test_a_label_that_says_otherwise_is_written_down_and_the_later_stands(site):
    place = site()
    place.live(0, 60)
    place.look(1)
    (first, second, third) = place.ids[0][:3]

    def tell(name, value, at):
        return Label(prediction=name, value=value, labelled_at=at, received_at=at)

    operations.add_labels(place.ws, [tell(first, "no", 5), tell(second, "no", 5)])
    operations.add_labels(place.ws, [tell(first, "yes", 9), tell(second, "yes", 2)])
    operations.add_labels(place.ws, [tell(second, "yes", 2), tell(first, "yes", 9)])
    operations.add_labels(place.ws, [tell(third, "no", 1), tell(third, "yes", 3)])
    stands = operations.labels_of(place.ws, [first, second, third])
    assert [stands[name].value for name in (first, second, third)] == ["yes", "no", "yes"]
    changes = {one.prediction: (one.before, one.value, one.kept)
               for one in operations.label_changes(place.ws)}  # fmt: skip
    assert changes == {
        first: ("no", "yes", True),
        second: ("no", "yes", False),
        third: ("no", "yes", True),
    }
    assert operations.count_label_changes(place.ws) == 3


def row(held, n=100, metric="accuracy"):
    return WindowEstimate(
        endpoint="e", model="m", metric=metric, start=0, end=1, value=0.8, lo=0.7, hi=0.9,
        level=0.95, n=n, method="cbpe", note="", realised=0.8 if held else 0.5, labels=n,
    )  # fmt: skip


def test_coverage_is_doubted_only_where_chance_cannot_explain_it():
    assert completion.held([row(True)] * 3) is None
    assert not completion.held([row(True)] * 30 + [row(False)] * 2).doubt
    assert completion.held([row(True)] * 2 + [row(False)] * 4).doubt
    partly = msgspec.structs.replace(row(False), labels=20)
    assert completion.held([row(True)] * 4 + [partly] * 9).windows == 4


def test_weights_of_no_labels_and_of_cells_without_any():
    weight, shown = realised.weights(np.array([], dtype=np.int64), [3, 4])
    assert (weight.tolist(), shown) == ([], 1.0)
    weight, shown = realised.weights(np.array([0, 0, 2]), [10, 30, 1])
    assert weight.tolist() == [5.0, 5.0, 1.0]
    assert shown == pytest.approx(11 / 41)
    # more labels than answers were counted: none counts for less than itself
    assert realised.weights(np.array([0, 0, 0]), [2])[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.slow
def test_labels_that_come_for_one_outcome_first_tell_nothing_of_the_rest(site):
    """A "no" is known at once, a "yes" two days later: no weight by score mends that."""
    place = site(extra='[monitor]\nlabel_delay = "2d"\n')
    place.live(0)
    every, truth = place.ids[0], place.days[0].truth
    early = [i for i in range(400) if truth[i] == "no"]
    place.ids[0] = [every[i] for i in early]
    place.label(0, truth=["no"] * len(early))
    said = " ".join(place.look(1).sentences)
    assert f"{len(early) / 400:.0%} complete; no fair sample before the window's end is 2d" in said
    assert "corrected for it" not in said
    assert "label_delay" in kept(place)["labels"]["biased"]
    assert all(one.realised is None for one in estimates.find(place.ws, "goods"))
    place.look(3)
    assert kept(place)["labels"]["biased"] == ""
    (checked,) = estimates.find(place.ws, "goods", metric="accuracy")
    assert checked.realised is not None
