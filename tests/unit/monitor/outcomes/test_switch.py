"""A changed meaning that the labels of a request showed, and what is said of it from then on."""

from __future__ import annotations

import pytest
from tests.unit.monitor.conftest import BEGIN, DAY

from trimtab import ids
from trimtab.store import estimates, label_requests


def answer(place, day=0):
    """Label the rows of a day that are asked for, as soon as the day is over."""
    (request,) = label_requests.find(place.ws, endpoint="goods", state="open")
    truth = dict(zip(place.ids[day], place.days[day].truth, strict=True))
    every, place.ids[day] = (
        place.ids[day],
        [one.prediction for one in label_requests.rows(place.ws, request.id)],
    )
    place.label(day, truth=[truth[one] for one in place.ids[day]], name=f"asked{day}")
    place.ids[day] = every


@pytest.mark.slow
def test_a_switch_that_a_request_showed_is_over_where_later_labels_say_so(site):
    place = site()
    place.live(0, 1_000, meaning=-1.0)
    place.look(1)
    answer(place)
    (alarm,) = place.look(1).alarms
    assert (alarm.kind, "(sudden)" in alarm.title) == ("concept drift", False)
    place.live(1, meaning=-1.0)
    (said,) = [one for one in place.look(2).sentences if "cannot know" in one]
    began = ids.iso(alarm.since)
    assert f"cannot know whether the concept drift of goods@v1 since {began} lasts" in said
    assert f"untrusted: labels show concept drift since {began}" in said
    for day in (2, 3, 4):
        place.live(day, 1_000)
        place.label(day)
        seen = place.look(day + 1)
        kinds = [one.kind for one in seen.alarms]
        assert kinds == (["concept drift"] if day == 2 else [])
    assert seen.over == {"concept drift": BEGIN + 2 * DAY}
    assert place.look(5).over == seen.over


@pytest.mark.slow
def test_an_open_request_on_older_rows_is_not_said_to_settle_newer_ones(site):
    place = site()
    for day, told in ((0, "labels settle it"), (1, "labels tell of the rows until")):
        place.live(day)
        (said,) = [one for one in place.look(day + 1).sentences if "cannot know" in one]
        assert told in said
    assert f"until {ids.iso(BEGIN + DAY)}: `trimtab labels show" in said


@pytest.mark.slow
def test_what_a_request_showed_is_not_contradicted_where_the_detector_sees_too_few_labels(site):
    place = site(seed=3)
    place.live(0, 1_000, meaning=-0.2)
    place.look(1)
    answer(place)
    seen = place.look(1)
    assert [one.kind for one in seen.alarms] == ["concept drift"]
    assert "by a fair sample" in seen.alarms[0].title
    assert not any("errors are as" in one for one in seen.sentences)


@pytest.mark.slow
@pytest.mark.parametrize(("later", "lasts"), [(-0.2, True), (1.0, False)])
def test_what_a_request_showed_of_its_rows_stays_where_a_newer_one_is_settled(site, later, lasts):
    place = site(seed=3)
    for day, meaning in enumerate((-0.2, later)):
        place.live(day, 1_000, meaning=meaning)
        place.look(day + 1)
        answer(place, day)
        seen = place.look(day + 1)
    assert [one.kind for one in seen.alarms] == (["concept drift"] if lasts else [])
    found = estimates.find(place.ws, "goods", metric="roc_auc")
    doubts = {(one.start - BEGIN) // DAY: one.untrusted for one in found}
    until = ids.iso(BEGIN + DAY)
    assert doubts[0] == f"labels showed concept drift from {ids.iso(BEGIN)} to {until}"
    assert doubts[1] == (f"labels show concept drift since {until}" if lasts else "")
