"""The monitor's page: maps, details, the course of quality, incidents and what may be done to them."""

import re

import msgspec
import numpy as np
import pytest

from trimtab import ids
from trimtab.loop.alerts import incidents
from trimtab.monitor.observe import Alarm, Seen
from trimtab.monitor.outcomes import knowledge
from trimtab.monitor.outcomes.knowledge import Knowledge
from trimtab.server import course, heat
from trimtab.store import estimates, ledger, operations, versions
from trimtab.store.records import Window, WindowEstimate

DAY = 86_400_000_000
FORM = "application/x-www-form-urlencoded"
OWN = {"content-type": FORM, "origin": "http://127.0.0.1:8746", "sec-fetch-site": "same-origin"}


def measure(feature, lo, unit="sd", **more):
    return {
        "feature": feature, "statistic": "anderson_darling", "value": 1.0, "p": 0.01,
        "effect": lo + 0.05, "lo": lo, "hi": lo + 0.1, "unit": unit, **more,
    }  # fmt: skip


def window(at, measures, findings=(), **features):
    return Window(
        endpoint="loans", model="m", role="champion", start=at * DAY, end=(at + 1) * DAY, rows=600,
        profile="", findings=list(findings),
        features={"measures": measures, "reason": "", **features}, judged_at=1,
    )  # fmt: skip


def finding(kind, *features):
    parts = [{"feature": name} for name in features]
    return {"kind": kind, "severity": "alarm", "features": parts, "since": 0, "text": f"{kind} <b>"}


@pytest.fixture
def watched(project):
    """Ten days, of which the last four drifted, with labels for eight."""
    ws = project.ws
    model = versions.find(ws, "model")[0].digest
    with ws.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM windows")
    for at in range(10):
        moved = at >= 6
        one = window(
            20_000 + at,
            [measure("income", 0.6 if moved else 0.0), measure("__score__", 0.2 * moved),
             measure("<years>", 0.0)],
            [finding("data drift", "income", "__score__")] if moved else [],
            quality={"values": {"roc_auc": {"value": 0.8, "lo": 0.78, "hi": 0.82, "n": 90}}}
            if at < 8 else {},
        )  # fmt: skip
        operations.save_window(ws, msgspec.structs.replace(one, model=model))
        guess = WindowEstimate(
            endpoint="loans", model=model, metric="roc_auc", start=one.start, end=one.end,
            value=0.79, lo=0.77, hi=0.81, level=0.95, n=600, method="cbpe", note="",
        )  # fmt: skip
        estimates.save(ws, [guess])
    return project


def incident(project):
    return next(one for one in operations.incidents(project.ws, state="open"))


class TestHeat:
    def test_outputs_come_first_then_what_moved_most(self):
        columns = [
            measure("a", 0.0),
            measure("b", 0.3),
            measure("__score__", 0.0),
            measure("c", 0.0),
        ]
        drawn = heat.draw("loans", [window(1, columns, [finding("skew", "c")])])
        assert [row.name for row in drawn.rows] == ["__score__", "c", "b", "a"]
        assert [row.output for row in drawn.rows] == [True, False, False, False]

    def test_the_sure_effect_is_the_colour_and_an_alarm_an_outline(self):
        drawn = heat.draw("x", [window(1, [measure("a", 0.0), measure("b", 9.0)],
                                       [finding("skew", "b")])])  # fmt: skip
        cells = {row.name: row.cells[0] for row in drawn.rows}
        assert (cells["a"].step, cells["a"].alarm) == ("0", False)
        assert (cells["b"].step, cells["b"].alarm) == ("6", True)
        assert "skew" in cells["b"].label

    @pytest.mark.parametrize(("unit", "lo", "hi", "step"), [
        ("sd", 0.0, 0.1, 0), ("sd", 0.5, 0.6, 6), ("share", 0.25, 0.3, 6),
        ("share", -0.5, -0.3, 6), ("share", -0.1, 0.2, 0), ("share", 0.03, 0.1, 2),
    ])  # fmt: skip
    def test_steps_grow_with_what_is_sure(self, unit, lo, hi, step):
        assert heat.step({"unit": unit, "effect": 1.0, "lo": lo, "hi": hi}) == step

    def test_a_window_that_was_not_judged_says_why(self):
        empty = msgspec.structs.replace(
            window(2, []), features={"measures": [], "reason": "7 rows are too few to judge"}
        )
        drawn = heat.draw("x", [window(1, [measure("a", 0.0)]), empty])
        assert drawn.rows[0].cells[1].step == "none"
        assert "too few" in drawn.rows[0].cells[1].label

    def test_of_very_many_features_the_calmest_are_left_out_and_counted(self):
        columns = [measure(f"f{at:03}", 0.5 if at == 99 else 0.0) for at in range(100)]
        drawn = heat.draw("x", [window(1, columns)])
        assert (len(drawn.rows), drawn.left_out, drawn.rows[0].name) == (60, 40, "f099")

    def test_nothing_at_all_is_drawn_as_nothing(self):
        assert heat.draw("x", []).rows == []

    def test_what_is_over_is_said_and_not_marked(self):
        gone = finding("skew", "a") | {"detail": {"lasts": 0.0}}
        drawn = heat.draw(
            "x",
            [
                window(at, [measure("a", 0.0)], [one])
                for at, one in ((1, finding("skew", "a")), (2, gone))
            ],
        )
        first, second = drawn.rows[0].cells
        assert (first.alarm, second.alarm) == (True, False)
        assert first.label.endswith("; skew")
        assert second.label.endswith("; skew that is over")


class TestCourse:
    def test_a_gap_breaks_the_line(self):
        def at(place, **more):
            return window(place, [], quality={"values": {"f1": more}} if more else {})

        good = {"value": 0.5, "lo": 0.4, "hi": 0.6}
        (drawn,) = course.draw([at(1, **good), at(2, **good), at(3), at(4, **good)], [])
        assert len(drawn.realised.points) == 2
        assert len(drawn.realised.dots) == 3
        assert drawn.estimated is None

    def test_odd_numbers_are_drawn_all_the_same(self):
        odd = {"value": float("nan"), "lo": float("-inf"), "hi": 1e308}
        fine = {"value": 0.5, "lo": float("-inf"), "hi": float("inf")}
        windows = [window(1, [], quality={"values": {"r2": odd}}),
                   window(2, [], quality={"values": {"r2": fine}})]  # fmt: skip
        (drawn,) = course.draw(windows, [])
        numbers = re.findall(r"-?[\d.]+", " ".join(drawn.realised.points))
        assert all(np.isfinite(float(one)) and 0 <= float(one) <= course.WIDTH for one in numbers)


def test_labels_of_a_part_are_drawn_and_said_and_a_selection_is_not():
    """A concept that switched is seen by the fifty labels that were asked for, not by the estimate."""
    few = {"accuracy": {"value": 0.25, "lo": 0.12, "hi": 0.38, "n": 50}, "f1": {"value": None}}
    windows = [window(1, [], labels={"labels": 50, "biased": "", "metrics": few})]
    (drawn,) = course.draw(windows, [])
    assert drawn.metric == "accuracy"
    assert drawn.realised.dots[0][2].endswith("measured on 50 of 600 rows")
    selected = [window(1, [], labels={"labels": 50, "biased": "selected", "metrics": few})]
    judged = {"rows": 300, "values": {"accuracy": {"value": 0.25, "lo": 0.2, "hi": 0.3}}}
    (drawn,) = course.draw([window(1, [], quality=judged)], [])
    assert drawn.realised.dots[0][2].endswith("measured on 300 of 600 rows")
    (drawn,) = course.draw([window(1, [], quality=judged | {"rows": 600})], [])
    assert drawn.realised.dots[0][2].endswith("measured")
    assert course.draw(selected, []) == []


def guess(at, untrusted=""):
    return WindowEstimate(
        endpoint="loans", model="m", metric="roc_auc", start=at * DAY, end=(at + 1) * DAY,
        value=0.8, lo=0.7, hi=0.9, level=0.95, n=600, method="cbpe", note="blind",
        untrusted=untrusted,
    )  # fmt: skip


def test_estimates_that_are_not_to_be_relied_on_are_not_drawn_and_that_is_said():
    windows = [window(at, []) for at in (1, 2, 3)]
    why = "labels show concept drift since 1970-01-03T00:00:00Z"
    found = [guess(1), guess(2, why), guess(3, why), guess(9, "of no window that is shown")]
    (drawn,) = course.draw(windows, found)
    assert len(drawn.estimated.dots) == 1
    said = course.doubt(windows, found)
    assert said.startswith("What is expected of 2 windows is untrusted and not drawn; newest 1970")
    assert said.endswith(f": {why}.")
    assert course.doubt(windows, [guess(1)]) == ""


def test_the_page_says_what_is_not_drawn(client, watched):
    model = versions.find(watched.ws, "model")[0].digest
    one = msgspec.structs.replace(guess(20_003, "x < y"), model=model)
    assert "untrusted" not in client.get("/monitor").text
    estimates.save(watched.ws, [one])
    assert "What is expected of 1 window is untrusted and not drawn" in client.get("/monitor").text
    assert "x &lt; y" in client.get("/monitor").text


def test_the_page_shows_maps_quality_details_and_incidents(client, watched):
    text = client.get("/monitor").text
    assert text.count('class="cell s') > 30
    assert text.count("cell s6 alarm") == 4, "income, four days"
    assert "measured" in text
    assert "estimated" in text
    assert "Resolve" in text
    assert "&lt;years&gt;" in text
    assert "<years>" not in text
    assert "data drift &lt;b&gt;" in text


def test_a_column_without_any_value_is_shown(client, watched):
    """Nothing is known of its effect: the interval's end is infinite, and text where it is stored."""
    ws = watched.ws
    model = versions.find(ws, "model")[0].digest
    odd = {"value": float("nan"), "lo": float("-inf"), "hi": float("inf"), "n": 3}
    empty = measure("income", 0.0, hi=float("inf"))
    one = window(20_010, [empty], quality={"values": {"roc_auc": odd}})
    operations.save_window(ws, msgspec.structs.replace(one, model=model))
    found = client.get("/monitor")
    assert found.status_code == 200
    assert "[0, ∞]" in found.text
    assert client.get("/timeline").status_code == 200


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 window, not judged yet: it is still open."),
        (2, "2 windows, none judged yet: they are still open."),
    ],
)
def test_windows_that_are_open_are_counted(client, watched, count, said):
    model = versions.find(watched.ws, "model")[0].digest
    with watched.ws.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM windows")
    for at in range(count):
        one = msgspec.structs.replace(
            window(20_000 + at, []), model=model, features={}, judged_at=0
        )
        operations.save_window(watched.ws, one)
    assert said in client.get("/monitor").text


def test_a_cell_leads_to_its_window_and_feature(client, watched):
    page = client.get("/monitor").text
    links = re.findall(r'href="(/monitor\?[^"]+)"', page)
    first = links[0].replace("&amp;", "&")
    shown = client.get(first.partition("#")[0]).text
    assert 'aria-current="true"' in shown
    assert "window from" in shown
    for odd in (
        "?window=x&name=y&feature=z",
        "?window=-5",
        "?name=loans&window=99999999999999999999",
    ):
        assert client.get(f"/monitor{odd}").status_code == 200


def test_the_model_before_keeps_its_map(client, watched):
    newer = "blake3:" + "2" * 64
    one = msgspec.structs.replace(window(20_020, [measure("income", 0.0)]), model=newer)
    operations.save_window(watched.ws, one)
    oldest = msgspec.structs.replace(one, model="blake3:" + "3" * 64, start=DAY, end=2 * DAY)
    operations.save_window(watched.ws, oldest)
    things = client.get("/api/v1/monitor").json()["watched"]
    assert [len(thing["windows"]) for thing in things] == [1, 10]
    text = client.get("/monitor").text
    assert text.count('class="heat"') == 2
    links = re.findall(r'href="(/monitor\?[^"#]+)#detail"', text)
    shown = client.get(links[-1].replace("&amp;", "&")).text
    assert (shown.count(' chosen"'), shown.count('class="chosen"')) == (1, 1)
    assert "against loans@v1" in shown


def test_what_is_known_now_is_not_said_of_the_model_before(client, watched):
    newer = "blake3:" + "2" * 64
    one = msgspec.structs.replace(window(20_020, [measure("income", 0.0)]), model=newer)
    operations.save_window(watched.ws, one)
    knowledge.keep(
        watched.ws, "loans", Knowledge(state="known", sentence="known: it is right", model=newer)
    )
    first, before = client.get("/api/v1/monitor").json()["watched"]
    assert (first["model"], first["known"], before["known"]) == (newer, "known: it is right", "")
    assert client.get("/monitor").text.count("known: it is right") == 1


def test_the_window_that_finds_is_shown_and_not_the_first_by_name(client, watched):
    calm = msgspec.structs.replace(window(20_030, [measure("income", 0.0)]), endpoint="aaa")
    operations.save_window(watched.ws, calm)
    detail = client.get("/monitor").text.partition('id="detail"')[2]
    assert detail.startswith(">loans, window from")


def test_what_happened_once_is_said_so(client, watched):
    one = msgspec.structs.replace(incident(watched), reopened=1)
    operations.update_incident(watched.ws, one)
    single = msgspec.structs.replace(window(20_040, [measure("income", 0.0)]), rows=1)
    model = versions.find(watched.ws, "model")[0].digest
    operations.save_window(watched.ws, msgspec.structs.replace(single, model=model))
    text = client.get(f"/monitor?name=loans&window={single.start}").text
    assert "opened again once" in text
    assert '<span class="quiet">1 row</span>' in text


def test_the_page_without_any_window_says_how_to_begin(client_of, empty):
    answer = client_of(empty).get("/monitor")
    assert answer.status_code == 200
    assert "Nothing is watched yet" in answer.text


def test_a_form_acknowledges_and_resolves(client, watched):
    one = incident(watched)
    answer = client.post(f"/monitor/incidents/{one.id}/ack", content=b"by=maria", headers=OWN)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/monitor#incident-{one.id}"
    assert incident(watched).acknowledged_by == "maria"
    assert "in hand of maria" in client.get("/monitor").text
    note = b"note=new+sensor+%3Cb%3E"
    assert client.post(
        f"/monitor/incidents/{one.id}/resolve", content=note, headers=OWN
    ).status_code == 303  # fmt: skip
    assert operations.incidents(watched.ws, state="open") == []
    assert "new sensor &lt;b&gt;" in client.get("/monitor").text
    ledger.verify(watched.ws)
    again = client.post(f"/monitor/incidents/{one.id}/resolve", content=note, headers=OWN)
    assert again.status_code == 409


@pytest.mark.parametrize("headers", [
    {"content-type": FORM},
    {"content-type": FORM, "origin": "https://evil.example"},
    {"content-type": FORM, "origin": "null"},
    {**OWN, "sec-fetch-site": "cross-site"},
    {**OWN, "sec-fetch-site": "same-site"},
    {**OWN, "content-type": "text/plain"},
    {**OWN, "content-type": "multipart/form-data; boundary=x"},
])  # fmt: skip
def test_a_form_of_another_site_changes_nothing(client, watched, headers):
    one = incident(watched)
    answer = client.post(f"/monitor/incidents/{one.id}/resolve", content=b"", headers=headers)
    assert answer.status_code in (403, 415)
    assert incident(watched).id == one.id


def test_forms_are_no_way_into_the_api(client, watched):
    answer = client.post("/api/v1/tick", content=b"", headers=OWN)
    assert answer.status_code == 415


def test_other_acts_and_unknown_incidents_are_refused(client, watched):
    one = incident(watched)
    assert (
        client.post(f"/monitor/incidents/{one.id}/drop", content=b"", headers=OWN).status_code
        == 404
    )
    assert client.post("/monitor/incidents/zz/ack", content=b"", headers=OWN).status_code == 404
    long = b"note=" + b"x" * 20_000
    path = f"/monitor/incidents/{one.id}/resolve"
    assert client.post(path, content=long, headers=OWN).status_code == 400


def test_the_api_tells_what_is_watched_and_what_was_told(client, watched):
    body = client.get("/api/v1/monitor?name=loans&windows=3").json()
    (thing,) = body["watched"]
    assert thing["against"] == "loans@v1"
    assert len(thing["windows"]) == len(thing["estimates"]) == 3
    assert thing["windows"][-1]["features"]["measures"][0]["feature"] == "income"
    model = versions.find(watched.ws, "model")[0]
    alarm = Alarm(kind="skew", title="new levels", severity="page", since=ids.now())
    incidents.compare(watched, "loans", model, Seen(now=ids.now(), alarms=[alarm]))
    one = operations.incidents(watched.ws)[0]
    shown = client.get(f"/api/v1/incidents/{one.id}").json()
    assert (shown["kind"], shown["occurrences"]) == ("skew", 1)
    assert [told["channel"] for told in shown["alerts"]] == ["log"]
    taken = client.post(f"/api/v1/incidents/{one.id}/ack", json={"by": "maria"})
    assert taken.json()["acknowledged_by"] == "maria"
