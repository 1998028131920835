"""The page of the timeline: lanes over time, the same told below, nothing that is not in the store."""

import re
import xml.etree.ElementTree as ET

import pytest

from trimtab import ids
from trimtab.config import Requirement
from trimtab.loop.reports import Event
from trimtab.server import lanes
from trimtab.store.records import Window

DAY = 86_400_000_000
AUC = Requirement(metric="roc_auc", min=0.7)


def event(day, lane, said="it happened", **more):
    return Event(time=int(day * DAY), lane=lane, said=said, **more)


def window(day, value, model="m1", **more):
    shown = value or 0.0
    quality = {
        "values": {"roc_auc": {"value": shown, "lo": shown - 0.05, "hi": shown + 0.05, "n": 9}}
    }
    return Window(
        endpoint="loans", model=model, role="champion", start=day * DAY, end=(day + 1) * DAY, rows=9,
        profile="", features={"quality": quality} if value else {}, **more,
    )  # fmt: skip


def drawn(events, windows=(), span=(0, 100 * DAY)):
    return lanes.draw(events, windows, [AUC], span)


def lane(picture, name):
    return next(one for one in picture.lanes if one.name == name)


def test_a_bar_lasts_from_its_first_event_to_the_one_that_ends_it():
    picture = drawn(
        [
            event(10, "incident", "page: it broke", id="a", short="broken input", tone="bad"),
            event(60, "incident", "resolved", id="a", ends=True, tone="good"),
            event(40, "incident", "digest: it moved", id="b", short="data drift", tone="warn"),
        ]
    )
    first, second = lane(picture, "incidents").bars
    wide = lanes.WIDTH - lanes.LEFT
    assert first.width == pytest.approx(0.5 * wide, rel=0.02)
    assert second.width == pytest.approx(0.6 * wide, rel=0.02)
    assert second.y > first.y  # both were open at once
    assert first.text == "broken input"
    assert first.label.endswith("page: it broke; resolved")
    assert second.label.endswith("still so")
    assert lane(picture, "incidents").marks == []


def test_champions_follow_each_other_and_a_failed_job_is_seen():
    picture = drawn(
        [
            event(0, "champion", id="m@v1", short="m@v1", endpoint="loans"),
            event(50, "champion", id="m@v2", short="m@v2", endpoint="loans"),
            event(20, "retrain", id="j", short="retrain", tone="busy"),
            event(20.001, "retrain", "the retrain failed", id="j", ends=True, tone="bad"),
            event(30, "endpoint", "died", tone="bad"),
        ]
    )
    first, second = lane(picture, "champion").bars
    assert (first.text, second.text) == ("m@v1", "m@v2")
    assert first.x + first.width == pytest.approx(second.x, abs=0.2)
    (job,) = lane(picture, "training").bars
    assert (job.tone, job.width) == ("bad", 5.0)
    assert [one.tone for one in lane(picture, "controller").marks] == ["bad"]


def test_what_began_before_the_span_reaches_in_from_its_edge():
    events = [event(10, "incident", id="a", short="drift"), event(5, "data", "data d@v1")]
    picture = drawn(events, span=(50 * DAY, 100 * DAY))
    (bar,) = lane(picture, "incidents").bars
    assert bar.x == lanes.LEFT
    assert [one.name for one in picture.lanes] == ["incidents"]


def test_quality_is_a_line_for_each_model_broken_where_nothing_was_measured():
    windows = [window(0, 0.8), window(1, 0.8), window(2, None), window(3, 0.4)]
    windows += [window(4, 0.8, "m2"), window(5, 0.8, "m2")]
    quality = drawn([event(0, "data")], windows).quality
    assert [len(one.split()) for one in quality.lines] == [2, 1, 2]
    assert [text for _, text in quality.bounds] == ["roc_auc >= 0.7"]
    good, bad = (float(line.split()[0].split(",")[1]) for line in quality.lines[:2])
    assert good < quality.bounds[0][0] < bad
    assert "0.4 [0.35, 0.45] on 9 labels" in quality.dots[2][2]


@pytest.mark.parametrize("days", [1, 13, 40, 400, 4000])
def test_weeks_and_days_are_marked_and_not_too_many(days):
    picture = drawn([event(0, "data")], span=(0, days * DAY))
    assert len(picture.ticks) <= 12
    assert all(lanes.LEFT <= x < lanes.WIDTH for x, _ in picture.ticks)


def test_the_page_tells_and_draws_the_same(client, project):
    html = client.get("/timeline").text
    (svg,) = re.findall(r"<svg class=\"lanes\".*?</svg>", html, re.DOTALL)
    picture = ET.fromstring(svg)  # the test's own server made it
    assert picture.get("role") == "img"
    titles = [one.text for one in picture.iter("title")]
    assert any("roc_auc fell from 0.79 to 0.71" in one for one in titles)
    told = html.partition('id="told"')[2]
    for text in ("goes on trial at loans, at 5%", "retrain because roc_auc was below its bound",
                 "loans@v1 passed the gate", "train was run: failed"):  # fmt: skip
        assert text in told
    assert 'aria-current="page">Timeline' in html
    assert "<script>" not in html


def test_a_span_is_chosen_and_nonsense_is_refused(client):
    assert "Nothing has happened in that time" in client.get("/timeline?since=2099-01-01").text
    assert 'aria-current="page">2 weeks' in client.get("/timeline?since=2w").text
    answer = client.get("/timeline?since=%3Cb%3E")
    assert answer.status_code == 400
    assert "<b>" not in answer.text


def test_before_anything_happened(client_of, empty):
    html = client_of(empty).get("/timeline").text
    assert "Nothing has happened" in html
    assert '<svg class="lanes"' not in html


def test_the_api_answers_with_the_events(client):
    found = client.get("/api/v1/timeline?since=1d").json()
    assert found["since"] <= found["until"] <= ids.now()
    lanes_told = {one["lane"] for one in found["events"]}
    assert {"rollout", "incident", "retrain", "model"} <= lanes_told
    assert client.get("/api/v1/timeline?since=soon").status_code == 400
