"""Requests refused for what they hold leave no row to profile; they are an input that broke all the same."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.monitor.conftest import ALPHA, BEGIN, DAY, day, turn_away

from trimtab.monitor.requests import refusals
from trimtab.serve.logged.frame import Frame


def look(place, lived: float):
    moment = BEGIN + round(lived * DAY)
    return refusals.look(place.ws, place.config, "goods", moment, ALPHA)


def arrive(place, *parts: list[Frame]) -> None:
    for part in parts:
        refusals.arrive(place.ws, place.config, "goods", part)


def test_a_burst_of_refusals_is_a_broken_input_by_its_column_and_its_first_day(place):
    arrive(place, day(0, 99, 1), day(1, 100), day(2, 50, 50), day(3, 40, 60, error="input in kind"))
    found = look(place, 4)
    assert (found.kind, found.form, found.severity) == ("broken input", "refused", "alarm")
    assert [one.feature for one in found.features] == ["kind", "x"]
    assert found.since == BEGIN + 2 * DAY
    assert found.share == pytest.approx(0.55)
    assert "110 of 200 requests" in found.text
    assert "kind in 60, x in 50; 1 of 200 were before" in found.text
    arrive(place, day(4, 100))
    assert look(place, 5) is None, "a day that is as before ends it"


def test_clients_who_always_send_some_that_are_refused_alarm_nobody(place):
    arrive(place, *(day(number, 92, 8 + number % 3) for number in range(6)))
    assert [look(place, lived) for lived in (1, 3, 6)] == [None] * 3


def test_what_refuses_everything_is_named_before_its_window_closes_and_a_few_requests_are_not(
    place,
):
    arrive(place, day(0, 100), day(1, 100), day(2, 0, 10))
    assert look(place, 2.1) is None
    arrive(place, day(2, 0, 60))
    assert look(place, 2.2).share == 1.0


def test_a_new_endpoint_that_refuses_everything_is_told_of_from_50_requests_on(place):
    arrive(place, day(0, 0, 40))
    assert look(place, 1) is None
    arrive(place, day(0, 0, 20))
    assert "60 of 60 requests" in look(place, 1).text


def test_batches_are_few_requests(place):
    """Five requests of a hundred rows each are refused where sixty were not."""
    arrive(place, day(0, 60), day(1, 0, 5))
    assert look(place, 2).share == 1.0


@pytest.mark.parametrize("how", [{"role": "shadow"}, {"status": 500, "error": "model"}])
def test_shadows_and_failures_of_the_model_are_no_refusals(place, how):
    arrive(place, day(0, 100), day(1, 50, 100, **how))
    assert look(place, 2) is None


def test_of_a_sampled_log_nothing_is_said(place):
    serve = msgspec.structs.replace(place.config.serve, sample={"champion": 0.01})
    place.config = msgspec.structs.replace(place.config, serve=serve)
    arrive(place, day(0, 100), day(1, 50, 50))
    assert look(place, 2) is None


@pytest.mark.slow
def test_a_column_of_nulls_that_is_refused_is_an_alarm_of_the_pass_and_no_loss_of_traffic(site):
    seen = turn_away(site(), 422, "input in x")
    (alarm,) = [one for one in seen.alarms if one.kind == "broken input"]
    assert alarm.detail["form"] == "refused"
    assert "58 of 60 requests" in alarm.title
    assert not [one for one in seen.alarms if one.kind == "traffic change"]


def test_what_a_version_before_refused_is_not_the_new_ones(place):
    arrive(place, day(0, 100), day(1, 100), day(2, 50, 50))
    moment, answered = BEGIN + 3 * DAY, day(2, 100)
    arrive(place, [msgspec.structs.replace(one, label="goods@v2") for one in answered])

    def found(*serving):
        return refusals.look(
            place.ws, place.config, "goods", moment, ALPHA, serving=serving
        )  # fmt: skip

    assert "50 of 100 requests" in found("goods@v1").text
    assert "50 of 200 requests" in found().text
    assert found("goods@v2") is None
    assert "50 of 200 requests" in found("goods@v2", "goods@v1").text


def test_a_version_accepts_once_enough_requests_say_so(place):
    arrive(place, day(0, 99, 1), day(1, 50, 50))

    def found():
        since = BEGIN + DAY
        return refusals.accepted(place.ws, place.config, "goods", "goods@v2", since)

    assert found() is None
    for expected, refused in ((None, 0), ((0, 100), 0), ((1, 151), 1)):
        more = day(2, 50, refused)
        arrive(place, [msgspec.structs.replace(one, label="goods@v2") for one in more])
        assert found() == expected
    arrive(place, [msgspec.structs.replace(one, label="goods@v2") for one in day(3, 0, 50)])
    assert found() is None
