"""What outcomes in a file say of the meaning of its inputs, when it is known what they mean."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.loop.files import answered, looking, meaning
from trimtab.loop.files.answered import Answered
from trimtab.model.signature import Column, Signature
from trimtab.monitor import basis, files
from trimtab.monitor.findings import Finding
from trimtab.monitor.log import traffic
from trimtab.monitor.watched import Watched
from trimtab.profile.reference import fit_reference
from trimtab.store.records import Version

DAY = 86_400_000_000
START = ids.parse_time("2026-01-01T00:00:00Z")
V1 = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)
INPUTS = (Column(name="x", kind="number"), Column(name="town", kind="text"))


def rows(random, count):
    """Inputs and the chance of a yes: the score that a model which knows all of it gives."""
    x = random.normal(size=count)
    town = random.choice(["a", "b"], size=count).astype(object)
    return x, town, 1 / (1 + np.exp(-1.5 * x))


@pytest.fixture(scope="module")
def model():
    signed = Signature(
        task="binary", engine="onnx", inputs=INPUTS, classes=("no", "yes"), positive="yes"
    )
    random = np.random.default_rng(0)
    x, town, score = rows(random, 6_000)
    truth = np.where(random.random(6_000) < score, "yes", "no")
    columns = {"x": x, "town": town, traffic.SCORE: score}
    reference = fit_reference(columns)
    decision = np.where(score >= 0.5, "yes", "no").tolist()
    made = basis.fit(signed, reference, columns, score, decision, truth.tolist())
    return Watched(V1, signed, reference, made)


def judged(model, wrong, *, timed=True, shift=0.0, count=300, project=None, seed=1, forced=None):
    """A day of rows for each entry of `wrong`, the share of town a's truths that are turned there; on
    the days of `forced` six in ten rows have its outcome instead.
    """
    random = np.random.default_rng(seed)
    parts = []
    for day, share in enumerate(wrong):
        x, town, _ = rows(random, count)
        x = x + (shift if share else 0.0)
        score = 1 / (1 + np.exp(-1.5 * x))
        happened = random.random(count) < score
        happened ^= (random.random(count) < share * (shift == 0.0)) & (town == "a")
        if forced and day in forced:
            happened = np.where(random.random(count) < 0.6, forced[day] == "yes", happened)
        at = START + day * DAY + np.arange(count) * (DAY // count)
        parts.append(
            pl.DataFrame(
                {"at": at, "x": x, "town": town.tolist(), traffic.SCORE: score,
                 "y": np.where(happened, "yes", "no")}
            ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
        )  # fmt: skip
    table = files.split(pl.concat(parts))
    config = project_file.parse(
        {"project": {"name": "none"}, "require": {"roc_auc": {"min": 0.6}}} | (project or {})
    )
    places = np.arange(files.rows(table))
    spans = files.Spans(places, np.empty(0, np.int64), [0], [0], 0, [])
    if timed:
        spans = files.cut(table, "at", DAY, "UTC", most=400)
    columns = {name: files.column(table[name], "number") for name in ("x", traffic.SCORE)}
    columns["town"] = files.column(table["town"], "category")
    looked, _ = looking.look(model.reference, columns, (), spans, config.monitor)
    known, _ = answered.outcomes(model, Answered(table, spans.rows, "y"))
    labelled = meaning.Labelled(known, columns, {"town": columns["town"]})
    return meaning.judge(model, labelled, spans, looked, config)


def drift(looked):
    """By window, the concept drift that it tells."""
    found = [[one for one in each.findings if one.kind == "concept drift"] for each in looked]
    return [one[0] if one else None for one in found]


def test_truths_as_the_scores_expect_them_are_no_drift(model):
    looked, notes = judged(model, [0.0] * 20)
    assert drift(looked) == [None] * 20
    assert notes == []
    assert all(one.quality[0].metric == "roc_auc" and one.quality[0].n == 300 for one in looked)


def test_a_changed_meaning_is_dated_placed_and_told_from_its_window_on(model):
    looked, _ = judged(model, [0.0] * 10 + [0.9] * 8)
    found = drift(looked)
    assert found[:10] == [None] * 10
    assert None not in found[11:]
    last = found[-1]
    assert abs(last.since - (START + 10 * DAY)) < DAY // 4
    assert last.form == "sudden"
    assert last.slices == ("town=a",)
    assert "no move of the inputs was found" in last.text
    assert looked[-1].quality[0].value < looked[0].quality[0].value - 0.2
    (told,) = looking.union(looked)
    assert told == last


def test_one_that_ended_is_told_with_its_end(model):
    looked, _ = judged(model, [0.0] * 6 + [0.9] * 6 + [0.0] * 8)
    (told,) = looking.union(looked)
    assert told.kind == "concept drift"
    assert told.detail["until"] == START + 12 * DAY
    assert [day for day, one in enumerate(drift(looked)) if one] == [6, 7, 8, 9, 10, 11]
    assert f"; over since {ids.iso(int(told.detail['until']))}." in told.text


def test_two_changes_of_unlike_outcomes_are_both_told(model):
    """First more events than the scores expect, then fewer: neither repeats the other."""
    wrong = dict.fromkeys((4, 5, 6), "yes") | dict.fromkeys((13, 14, 15), "no")
    looked, _ = judged(model, [0.0] * 16, forced=wrong)
    newer, older = looking.union(looked)
    assert ("without the event" in newer.text, "events rose" in older.text) == (True, True)
    assert abs(newer.since - (START + 13 * DAY)) < DAY // 4
    assert abs(older.since - (START + 4 * DAY)) < DAY // 4
    assert older.detail["until"] == START + 7 * DAY


def test_inputs_that_moved_to_harder_ground_are_no_change_of_meaning(model):
    looked, _ = judged(model, [0.0] * 8 + [1.0] * 8, shift=-0.8)
    assert drift(looked) == [None] * 16
    assert [one.kind for one in looking.union(looked)] == ["data drift"]


def test_without_times_the_row_is_told(model):
    looked, _ = judged(model, [0.0] * 4 + [0.9] * 6, timed=False)
    (found,) = drift(looked)
    assert found.since == 0
    assert found.form == ""
    row = re.search(r"since row ([\d,]+),", found.text)
    assert abs(int(row[1].replace(",", "")) - 1_200) < 100
    assert looked[0].quality == []


def test_labels_that_may_be_of_one_outcome_yet_are_left_for_later(model):
    looked, _ = judged(model, [0.0] * 10 + [0.9] * 4, project={"monitor": {"label_delay": "5d"}})
    assert drift(looked) == [None] * 14


@pytest.mark.parametrize(("delay", "days"), [("0s", 4), ("1d", 2), ("2d", 1), ("9d", 0)])
def test_windows_are_due_when_they_ended_so_long_before_the_newest_row(delay, days):
    """Four days of ten rows each, the newest of them an hour before its window ends."""
    config = project_file.parse({"project": {"name": "none"}, "monitor": {"label_delay": delay}})
    times = np.concatenate([START + day * DAY + np.arange(10) for day in range(4)])
    times[-1] = START + 4 * DAY - DAY // 24
    starts = [START + day * DAY for day in range(4)]
    spans = files.Spans(np.arange(40), times, starts, [0, 10, 20, 30], DAY, [])
    assert meaning.due(spans, config) == 10 * days


def test_a_change_that_the_one_after_repeats_is_told_with_it(model):
    looked, _ = judged(model, [0.0] * 6 + [0.9] * 5 + [0.0] * 7 + [0.9] * 4)
    (told,) = looking.union(looked)
    assert told.form == "recurring"
    assert ids.iso(int(told.detail["repeats_since"])) in told.text
    assert abs(told.detail["repeats_since"] - (START + 6 * DAY)) < DAY


def test_a_change_that_began_when_what_the_next_repeats_had_ended_is_told(model):
    """A moment that happens to stand in another's sentence is no word on what began then."""
    moments = [START + at * DAY for at in (2, 5, 9)]

    def one(place, text, **detail):
        return Finding(kind="concept drift", severity="alarm", features=(), since=moments[place],
                       text=text, detail=detail)  # fmt: skip

    again = f"Concept drift (recurring, as from {ids.iso(moments[0])} to {ids.iso(moments[1])})."
    looked = [
        looking.Looked(start=at, end=at + DAY, rows=9, findings=[found])
        for at, found in zip(
            moments,
            (
                one(0, "Concept drift: wrong decisions."),
                one(1, "Concept drift: fewer events."),
                one(2, again, repeats_since=float(moments[0])),
            ),
            strict=True,
        )
    ]
    assert [each.since for each in looking.union(looked)] == [moments[2], moments[1]]
