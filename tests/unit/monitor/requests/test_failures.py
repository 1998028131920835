"""Requests that the model failed on leave no row to profile; a rise of them is an incident all the same."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.monitor.conftest import ALPHA, BEGIN, DAY, day, turn_away

from trimtab.loop.alerts import severity
from trimtab.monitor.requests import failures, pulse, refusals

BROKEN = {"status": 500, "error": "model"}


def arrive(place, *parts):
    for part in parts:
        pulse.arrive(place.ws, place.config, "goods", part)


def look(place, lived):
    moment = BEGIN + round(lived * DAY)
    return failures.look(place.ws, place.config, "goods", moment, ALPHA)


def test_a_rise_of_failed_answers_is_errors_with_its_model_and_its_first_day(place):
    arrive(place, day(0, 99, 1, **BROKEN), day(1, 100), day(2, 80, 20, **BROKEN))
    found = look(place, 3)
    assert (found.kind, found.severity, found.since) == ("errors", "alarm", BEGIN + 2 * DAY)
    assert "failed on 20 of 100 requests" in found.text
    assert "goods@v1 on 20; 1 of 200 were before" in found.text
    assert refusals.look(place.ws, place.config, "goods", BEGIN + 3 * DAY, ALPHA) is None
    arrive(place, day(3, 100))
    assert look(place, 4) is None


def test_what_fails_everything_is_named_before_its_window_closes(place):
    arrive(place, day(0, 100), day(1, 100), day(2, 0, 10, **BROKEN))
    assert look(place, 2.1) is None
    arrive(place, day(2, 0, 60, **BROKEN))
    assert look(place, 2.2).share == 1.0


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_what_a_candidate_fails_on_is_its_rollouts(place, role):
    arrive(place, day(0, 100), day(1, 100, 60, role=role, **BROKEN))
    assert look(place, 2) is None


def test_few_failures_and_refusals_alarm_nobody(place):
    arrive(place, *(day(number, 99, 1, **BROKEN) for number in range(6)), day(6, 50, 50))
    assert [look(place, lived) for lived in (1, 3, 6, 7)] == [None] * 4


@pytest.mark.slow
def test_errors_are_a_page_of_the_pass_and_no_loss_of_traffic(site):
    seen = turn_away(site(), 500, "model")
    (alarm,) = [one for one in seen.alarms if one.kind == "errors"]
    assert "58 of 60 requests" in alarm.title
    assert severity.weigh(alarm, severity.Importance(), None).severity == "page"
    assert not [one for one in seen.alarms if one.kind in ("traffic change", "broken input")]


def of(label, frames):
    return [msgspec.structs.replace(one, label=label) for one in frames]


def test_another_version_is_not_blamed_for_what_the_one_before_failed_on(place):
    """The day on which the champion changed holds requests of both."""
    arrive(place, day(0, 100), day(1, 100), day(2, 0, 90, **BROKEN))
    both = [look_for(place, 3, label) for label in ("goods@v1", "goods@v2")]
    assert [one is None for one in both] == [False, True]
    arrive(place, of("goods@v2", day(2, 60)))
    assert look_for(place, 3, "goods@v2") is None
    arrive(place, of("goods@v2", day(3, 80, 20, **BROKEN)))
    found = look_for(place, 4, "goods@v2")
    assert found.since == BEGIN + 3 * DAY
    assert "failed on 20 of 100 requests" in found.text
    assert "goods@v2 on 20; 0 of 200 were before" in found.text, "v1's day of failing is not usual"
    assert look_for(place, 4, "goods@v1") is None, "others answered since"


def look_for(place, lived, label):
    moment = BEGIN + round(lived * DAY)
    return failures.look(place.ws, place.config, "goods", moment, ALPHA, serving=[label])
