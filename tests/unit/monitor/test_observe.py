from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab import ids
from trimtab.monitor import observe as observing
from trimtab.monitor.log import catalogue
from trimtab.profile import profile as profiles
from trimtab.store import estimates, evidence, operations, states, verdicts

DAY = 86_400_000_000
BEGIN = 20_000 * DAY


def kinds(seen) -> list[str]:
    return [one.kind for one in seen.alarms]


def windows(place, **how):
    return operations.windows(place.ws, endpoint="goods", **how)


@pytest.mark.slow
def test_calm_days_raise_nothing_and_every_window_is_judged_once(site):
    place = site()
    for day in range(4):
        place.live(day)
        place.label(day)
        assert kinds(place.look(day + 1)) == []
    before = windows(place)
    assert [one.rows for one in before] == [400] * 4
    assert all(one.judged_at and one.features["measures"] for one in before)
    assert "inputs as in training" in place.look(4).sentences[0]
    assert windows(place) == before


@pytest.mark.slow
def test_an_open_window_waits_for_its_end(site):
    place = site()
    place.live(0, shift=3.0)
    assert place.look(0).alarms == []
    assert windows(place)[0].judged_at == 0
    assert kinds(place.look(1)) == ["data drift"]


@pytest.mark.slow
def test_lateness_keeps_a_window_open(site):
    place = site(extra='[monitor]\nlateness = "12h"\n')
    place.live(0, shift=3.0)
    assert place.look(1).alarms == []
    assert kinds(place.look(2)) == ["data drift"]


@pytest.mark.slow
def test_data_drift_tells_its_window_and_its_features(site):
    place = site()
    for day in range(6):
        place.live(day, shift=0.0 if day < 4 else 1.0)
        seen = place.look(day + 1)
    (alarm,) = seen.alarms
    assert alarm.since == BEGIN + 4 * DAY
    assert f"since {ids.iso(BEGIN + 4 * DAY)}: " in alarm.title
    assert "x" in {one["feature"] for one in alarm.detail["features"]}
    assert "kind" not in {one["feature"] for one in alarm.detail["features"]}


@pytest.mark.slow
def test_since_is_right_where_the_first_windows_have_no_profile(site):
    """A window of rows that nobody could profile comes before the others."""
    place = site()
    for day in range(5):
        place.live(day, shift=0.0 if day < 4 else 2.0)
    with catalogue.open_catalogue(place.ws.root / "endpoints" / "goods") as index:
        observing.ingest(place.ws, place.config, "goods", index)
    first = windows(place)[0]
    operations.save_window(place.ws, msgspec.structs.replace(first, profile=""))
    (alarm,) = place.look(5).alarms
    assert alarm.since == BEGIN + 4 * DAY


@pytest.mark.slow
def test_a_pass_that_comes_late_judges_every_window_that_closed(site):
    """One broken day between two looks is not passed over."""
    place = site()
    for day in range(7):
        place.live(day, shift=6.0 if day == 2 else 0.0)
    seen = place.look(7)
    assert "data drift" in kinds(seen)
    assert [bool(one.findings) for one in windows(place)][:3] == [False, False, True]


@pytest.mark.slow
def test_an_alarm_is_repeated_until_it_was_acted_on(site):
    """What a killed pass judged and told nobody is told by the next, also from older windows."""
    place = site()
    place.live(0)
    place.live(1, shift=0.6)
    first = place.look(2, acted=False)
    assert kinds(first) == ["data drift"]
    for day in range(2, 40):
        place.live(day)
    assert first.alarms[0] in place.look(40, acted=False).alarms
    assert first.alarms[0] in place.look(40).alarms
    assert first.alarms[0] not in place.look(40).alarms


@pytest.mark.slow
def test_the_log_is_counted_once_however_often_it_is_read(site):
    place = site()
    place.live(0)
    for _ in range(3):
        place.look(1)
    place.live(0, 100)
    place.look(1)
    (window,) = windows(place)
    assert window.rows == 500
    assert profiles.decode(place.ws.blobs.read(window.profile)).rows == 500


@pytest.mark.slow
def test_a_pass_that_dies_while_counting_counts_nothing_twice(site, monkeypatch):
    place = site()
    place.live(0)
    put = states.put

    def dies(ws, name, body):
        if name.startswith("log:"):
            raise KeyboardInterrupt
        put(ws, name, body)

    monkeypatch.setattr(states, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        place.look(1)
    monkeypatch.undo()
    assert windows(place) == []
    place.look(1)
    assert [one.rows for one in windows(place)] == [400]


@pytest.mark.slow
def test_rows_that_come_late_make_a_window_anew(site):
    place = site()
    place.live(0)
    assert kinds(place.look(1)) == []
    before = windows(place)[0]
    place.live(0, 800, shift=4.0)
    assert kinds(place.look(1)) == ["data drift"]
    after = windows(place)[0]
    assert after.rows == 1_200 and after.judged_at > before.judged_at


@pytest.mark.slow
def test_canary_and_champion_of_one_model_are_one_window_and_shadow_none(site):
    place = site()
    place.live(0, 300, role="canary")
    assert "answered 300 rows" in place.look(1).sentences[0]
    place.live(0, 100, role="champion")
    place.live(0, 50, role="shadow")
    for _ in range(3):
        assert "answered 400 rows" in place.look(1).sentences[0]
    assert {one.role: one.rows for one in windows(place)} == {
        "canary": 300,
        "champion": 100,
        "shadow": 50,
    }


@pytest.mark.slow
def test_labels_of_a_canary_that_arrive_after_its_promotion_still_count(site):
    place = site()
    for day, role in enumerate(("canary", "canary", "champion")):
        place.live(day, meaning=-1.0, role=role)
        assert "requirement" not in kinds(place.look(day + 1))
    place.label(0)
    place.label(1)
    seen = place.look(4)
    assert {"concept drift", "requirement"} <= set(kinds(seen))
    failed = next(one for one in seen.alarms if one.kind == "requirement")
    assert failed.since < BEGIN + 2 * DAY  # what it answered before its promotion


@pytest.mark.slow
def test_too_few_rows_are_not_judged_and_said(site):
    place = site()
    place.live(0, 30, shift=1.0)
    place.label(0)
    seen = place.look(1)
    assert seen.alarms == []
    assert "30 rows are too few to judge" in seen.sentences[0]
    assert evidence.find(place.ws, subject="endpoint:goods") == []
    place.live(1, 30, shift=1.0)
    assert kinds(place.look(2)) == ["data drift"]


def test_a_model_without_a_reference_is_said_to_be_unwatched(site):
    place = site(watched=False)
    place.live(0)
    seen = place.look(1)
    assert seen.sentences == ["goods@v1 has no reference profile to watch by"]
    assert windows(place)[0].profile == ""


@pytest.mark.slow
def test_no_traffic_no_labels_no_error(site):
    place = site()
    assert place.look(1).alarms == []
    place.live(0)
    assert "no labels have arrived" in place.look(1).sentences[-1]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_task_has_calm_days_then_data_drift_then_concept_drift(site, task):
    place = site(task)
    found = []
    for day in range(9):
        meaning = -1.0 if day >= 7 else 1.0
        place.live(day, 500, shift=0.8 if day in (4, 5) else 0.0, meaning=meaning)
        place.label(day)
        found.append(set(kinds(place.look(day + 1))))
    assert found[:4] == [set()] * 4
    assert found[4] == {"data drift"}
    assert "concept drift" not in set().union(*found[:7])
    assert "concept drift" in found[7]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("binary", "wrong decisions"),
        ("multiclass", "wrong answers"),
        ("regression", "large errors"),
    ],
)
def test_concept_drift_says_what_was_lost_and_since_when(site, task, words):
    place = site(task)
    for day in range(6):
        place.live(day, meaning=-1.0 if day >= 4 else 1.0)
        place.label(day)
        seen = place.look(day + 1)
    concept, requirement = seen.alarms
    assert (concept.kind, requirement.kind) == ("concept drift", "requirement")
    assert words in concept.title and "while no move of the inputs was found" in concept.title
    assert abs(concept.since - (BEGIN + 4 * DAY)) < DAY // 4
    assert concept.detail["loss"] == [requirement.detail]
    assert concept.detail["seen"] > concept.detail["expected"]


@pytest.mark.slow
def test_what_was_learned_depends_on_labels_and_not_on_their_order(site):
    place = site()
    for day in range(5):
        place.live(day, meaning=-1.0 if day == 4 else 1.0)
    for day in (4, 1, 3, 0, 2):
        place.label(day)
    late = place.look(5)
    assert kinds(late) == ["concept drift", "requirement"]
    assert abs(late.alarms[0].since - (BEGIN + 4 * DAY)) < DAY // 4


def test_a_row_of_a_time_that_has_not_come_closes_no_window_and_is_said(site):
    place = site()
    place.live(0)
    place.live(1, 200)  # the day is not over
    place.append(place.rows(1), ["odd"], [BEGIN + 40_000 * DAY], role="champion")
    for _ in range(2):
        seen = place.look(0)
        assert seen.now < BEGIN + 2 * DAY
        assert "answered 400 rows in the window from 2024-10-04" in seen.sentences[0]
        assert any("1 row says that it is of a time that had not come" in s for s in seen.sentences)
    place.live(2)
    assert "window from 2024-10-05" in place.look(0).sentences[0]


def test_the_clock_decides_where_clients_tell_no_time(site):
    place = site()
    config = msgspec.structs.replace(
        place.config, serve=msgspec.structs.replace(place.config.serve, event_time="server")
    )
    seen = observing.observe(place.ws, config, "goods", place.version, now=BEGIN)
    assert seen.now == BEGIN
    assert np.isclose(
        observing.observe(place.ws, config, "goods", place.version).now, ids.now(), rtol=1e-6
    )


@pytest.mark.slow
def test_windows_keep_what_quality_and_inputs_found_beside_each_other(site):
    place = site()
    place.live(0, shift=1.0)
    place.label(0)
    place.look(1)
    (window,) = windows(place)
    assert window.findings[0]["kind"] == "data drift"
    assert {"measures", "quality", "reason"} <= window.features.keys()
    assert verdicts.find(place.ws, subject="endpoint:goods", place="monitor")


@pytest.mark.slow
def test_a_concept_that_goes_and_comes_back_is_one_that_recurs(site):
    place = site()
    said = {}
    for day in range(14):
        switched = day in (4, 5, 6, 12, 13)
        place.live(day, 400, meaning=-1.0 if switched else 1.0)
        place.label(day)
        seen = place.look(day + 1)
        said[day] = next((one.title for one in seen.alarms if one.kind == "concept drift"), "")
        if day == 10:
            assert any("was over by" in one for one in seen.sentences)
    assert said[4].startswith("Concept drift (sudden)")
    assert [said[day] for day in (9, 10, 11)] == [""] * 3
    assert said[12].startswith("Concept drift (recurring, as from ")
    (kept,) = [one for one in estimates.episodes(place.ws, "goods") if one.kind == "concept drift"]
    assert abs(kept.since - (BEGIN + 4 * DAY)) < DAY // 2
    assert kept.until == BEGIN + 7 * DAY
