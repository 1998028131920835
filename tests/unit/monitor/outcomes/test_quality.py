from __future__ import annotations

import msgspec
import polars as pl
import pytest

from trimtab.monitor.outcomes import quality
from trimtab.store import evidence, operations, states, verdicts, versions
from trimtab.store.records import Label

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
SUBJECT = "endpoint:goods"


def looks(place) -> int:
    return states.get(place.ws, f"looks:goods:{place.version.digest}") or 0


def measured(place):
    """What labels of single windows showed; estimates made without them are evidence of their own."""
    found = evidence.find(place.ws, subject=SUBJECT)
    return [one for one in found if not one.statistic and "windows" not in one.details]


@pytest.mark.slow
def test_a_window_is_judged_once_for_the_labels_that_it_has(site):
    place = site()
    for day in range(3):
        place.live(day)
        place.label(day)
        place.look(day + 1)
    before = measured(place)
    assert [one.validity for one in before] == ["anytime"] * 3
    assert sorted(one.details["look"] for one in before) == [1, 2, 3]
    place.look(3)
    assert measured(place) == before
    assert looks(place) == 3


@pytest.mark.slow
def test_intervals_widen_from_look_to_look(site):
    place = site()
    for day in range(6):
        place.live(day)
        place.label(day)
        place.look(day + 1)
    levels = sorted((one.details["look"], one.level) for one in measured(place))
    assert [level for _, level in levels] == sorted(level for _, level in levels)
    assert sum(1 - level for _, level in levels) < 0.05


@pytest.mark.slow
def test_late_labels_are_another_look_at_a_level_of_its_own(site):
    place = site()
    place.live(0)
    place.label(0, part=slice(0, 370), name="early")
    place.look(1)
    place.label(0, part=slice(370, 400), name="late")
    place.look(1)
    found = sorted(measured(place), key=lambda one: one.details["look"])
    assert [(one.n, one.details["look"]) for one in found] == [(370, 1), (400, 2)]
    assert found[0].level < found[1].level


@pytest.mark.slow
def test_a_corrected_label_is_another_look_and_the_same_label_again_is_none(site):
    place = site()
    place.live(0)
    place.label(0)
    place.look(1)
    place.label(0, name="again")
    place.look(1)
    assert looks(place) == 1
    other = ["no" if one == "yes" else "yes" for one in place.days[0].truth]
    place.label(0, name="corrected", truth=other)
    place.look(1)
    newest = max(measured(place), key=lambda one: one.details["look"])
    assert (looks(place), newest.n) == (2, 400)
    assert newest.value < 0.5


@pytest.mark.slow
def test_a_window_waits_for_most_of_its_labels_or_for_later_ones(site):
    place = site()
    place.live(0)
    place.label(0, part=slice(0, 200), name="half")
    place.look(1)
    assert measured(place) == []
    place.live(1)
    place.label(1)
    place.look(2)
    assert sorted(one.n for one in measured(place)) == [200, 400]


@pytest.mark.slow
def test_labels_of_unknown_predictions_wait_and_change_nothing(site):
    place = site()
    place.live(0)
    place.label(0)
    strange = [
        Label(prediction=f"nobody-{i}", value="no", labelled_at=BEGIN, received_at=BEGIN)
        for i in range(500)
    ]
    operations.add_labels(place.ws, strange)
    seen = place.look(1)
    assert seen.alarms == []
    assert [one.n for one in measured(place)] == [400]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "odd"),
    [("binary", "maybe"), ("multiclass", 7)],
)
def test_labels_that_no_truth_can_have_are_left_out_and_said(site, task, odd):
    place = site(task)
    place.live(0)
    truth = [odd if i < 20 else one for i, one in enumerate(place.days[0].truth)]
    place.label(0, truth=truth)
    seen = place.look(1)
    assert any("20 labels cannot be truths of goods@v1" in one for one in seen.sentences)
    assert seen.alarms == []
    assert [one.n for one in measured(place)] == [380]


@pytest.mark.slow
def test_words_are_no_truths_of_a_regression(site):
    place = site("regression")
    place.live(0)
    place.label(0, truth=["broken"] * 400)
    seen = place.look(1)
    assert any("400 labels cannot be truths of goods@v1" in one for one in seen.sentences)
    assert (seen.alarms, measured(place)) == ([], [])


def test_one_word_in_a_file_of_numbers_costs_no_other_label(site):
    place = site("regression")
    schema = {"columns": [{"name": "good", "type": "number"}]}
    digest = place.ws.blobs.put(b"the rows that the model was made of")
    versions.add(place.ws, "data", "goods", digest, meta={"schema": schema})
    place.live(0)
    place.label(0, truth=["broken", *(str(one) for one in place.days[0].truth[1:])])
    seen = place.look(1)
    assert any("1 label cannot be a truth of goods@v1" in one for one in seen.sentences)
    assert [one.n for one in measured(place)] == [399]


@pytest.mark.slow
def test_labels_of_another_type_are_no_concept_drift(site):
    """0 and 1 where the classes are words: nothing is learned, nobody is alarmed."""
    place = site()
    for day in range(2):
        place.live(day)
        place.label(day, truth=[int(one == "yes") for one in place.days[day].truth])
    seen = place.look(2)
    assert seen.alarms == []
    assert any("800 labels cannot be truths" in one for one in seen.sentences)


@pytest.mark.slow
def test_a_broken_file_is_said_once_and_stops_nothing(site):
    place = site()
    place.live(0)
    place.label(0)
    (place.folder / "labels" / "broken.parquet").write_bytes(b"PAR1 no table")
    seen = place.look(1)
    assert any("broken.parquet was refused" in one for one in seen.sentences)
    assert [one.n for one in measured(place)] == [400]
    assert not any("refused" in one for one in place.look(1).sentences)


@pytest.mark.slow
def test_columns_beside_the_truth_come_in_whatever_their_type(site):
    place = site()
    place.live(0)
    pl.DataFrame({"prediction_id": place.ids[0], "good": place.days[0].truth}).with_columns(
        labelled_at=pl.datetime(2025, 1, 1, time_zone="UTC"),
        seen_on=pl.date(2025, 1, 1),
        amount=pl.lit("1.5").cast(pl.Decimal(10, 2)),
        group=pl.lit("g"),
    ).write_parquet((place.folder / "labels").mkdir() or place.folder / "labels" / "l.parquet")
    place.look(1)
    (name, *_) = place.ids[0]
    assert operations.labels_of(place.ws, [name])[name].extra["group"] == "g"


@pytest.mark.slow
def test_a_pass_that_dies_with_the_labels_half_in_reads_them_again(site, monkeypatch):
    place = site()
    place.live(0)
    place.label(0)
    put = states.put

    def dies(ws, name, body):
        if name == "outcomes":
            raise KeyboardInterrupt
        put(ws, name, body)

    monkeypatch.setattr(states, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        place.look(1)
    monkeypatch.undo()
    assert operations.labels_of(place.ws, place.ids[0]) == {}
    place.look(1)
    assert len(operations.labels_of(place.ws, place.ids[0])) == 400


@pytest.mark.slow
def test_a_pass_that_dies_while_judging_leaves_no_evidence_twice(site, monkeypatch):
    place = site()
    place.live(0)
    place.label(0)

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(verdicts, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        place.look(1)
    monkeypatch.undo()
    assert (measured(place), looks(place)) == ([], 0)
    place.look(1)
    assert (len(measured(place)), looks(place)) == (1, 1)


@pytest.mark.slow
def test_shadow_answers_are_no_quality_of_the_endpoint(site):
    place = site()
    place.live(0)
    place.label(0)
    place.live(0, 100, role="shadow", meaning=-1.0)
    rows, labels = quality.labelled(place.ws, "goods", place.version, place.signed)
    assert (rows.rows, len(labels)) == (400, 0) or set(rows.roles) <= {"champion"}
    place.look(1)
    rows, labels = quality.labelled(place.ws, "goods", place.version, place.signed)
    assert rows.rows == len(labels) == 400
    assert rows.times.tolist() == sorted(rows.times.tolist())


def told_early(site, delay: str):
    """Ten days without any change: who repays is known after a day, who does not after three."""
    place = site()
    monitor = msgspec.structs.replace(place.config.monitor, label_delay=delay)
    place.config = msgspec.structs.replace(place.config, monitor=monitor)
    kinds = []
    for day in range(10):
        place.live(day)
        place.label(day)
        whole = place.folder / "labels" / f"{day}.parquet"
        frame = pl.read_parquet(whole)
        whole.unlink()
        good = pl.col("good") == "yes"
        frame.filter(good).write_parquet(place.folder / "labels" / f"{day}-good.parquet")
        late = frame.filter(~good).with_columns(pl.col("labelled_at") + pl.duration(days=2))
        late.write_parquet(place.folder / "labels" / f"later-{day}.none")
        if day >= 2:
            due = place.folder / "labels" / f"later-{day - 2}.none"
            due.rename(due.with_suffix(".parquet"))
        seen = place.look(day + 1)
        kinds += [one.kind for one in seen.alarms]
        awaited = f"goods: labels are judged {delay} after their window"
        assert (awaited in seen.sentences) == (delay == "2d" and day < 2)
    return kinds, measured(place)


@pytest.mark.slow
def test_labels_of_one_outcome_first_are_no_concept_drift_where_their_delay_is_known(site):
    kinds, _ = told_early(site, "0s")
    assert "concept drift" in kinds


@pytest.mark.slow
def test_with_a_label_delay_labels_of_both_outcomes_are_judged_together(site):
    kinds, found = told_early(site, "2d")
    assert "concept drift" not in kinds
    assert [one.n for one in found] == [400] * 8


@pytest.mark.slow
def test_outcomes_of_selected_cases_are_marked_biased(site):
    place = site()
    place.live(0)
    place.label(0)
    serve = msgspec.structs.replace(place.config.serve, label_policy="selected")
    place.config = msgspec.structs.replace(place.config, serve=serve)
    place.look(1)
    assert [one.details.get("biased") for one in measured(place)] == [
        "outcomes are seen only for selected cases"
    ]


@pytest.mark.slow
def test_a_failed_requirement_without_excess_errors_stays_a_requirement(site):
    """A bound that the model never met: the errors are as expected, the bound is what fails."""
    place = site()
    (bound,) = place.config.require
    place.config = msgspec.structs.replace(
        place.config, require=(msgspec.structs.replace(bound, min=0.97),)
    )
    place.live(0)
    place.label(0)
    seen = place.look(1)
    assert [one.kind for one in seen.alarms] == ["requirement"]
    assert "roc_auc >= 0.97 does not hold at goods" in seen.alarms[0].title


@pytest.mark.slow
def test_a_failed_requirement_names_the_concept_before_the_detector_does(site):
    """One short window: too little for the detector's false-alarm rate, enough for a test at 99 %."""
    place = site()
    for day in range(3):
        place.live(day, 100, meaning=-1.0 if day == 2 else 1.0)
        place.label(day)
        seen = place.look(day + 1)
    assert [one.kind for one in seen.alarms] == ["concept drift", "requirement"]
    assert seen.alarms[0].since >= BEGIN + DAY
