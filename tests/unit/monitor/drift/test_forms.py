from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab import ids
from trimtab.monitor import observe
from trimtab.monitor.drift import episodes, forms
from trimtab.monitor.findings import Finding
from trimtab.monitor.judge import judge
from trimtab.monitor.requests import asking, pulse, stale, turned_away, volume
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference
from trimtab.store import estimates, operations, states

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
STEP = [0.0] * 8 + [0.5] * 4
RAMP = [0.0] * 5 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
BACK = [0.0] * 4 + [0.5] * 3 + [0.0] * 5 + [0.5] * 2
OTHER = [0.0] * 4 + [-0.5] * 3 + [0.0] * 5 + [0.5] * 2


def begin(shifts):
    return max(i for i, one in enumerate(shifts) if one <= 0) + 1


def course(shifts, seed, kind="number", rows=500):
    noise = np.random.default_rng([seed, 21])

    def column(shift, rows):
        if kind == "number":
            return noise.normal(size=rows) + shift
        share = 0.3 + 0.4 * shift
        return np.where(noise.random(rows) < share, "a", "b").astype(object)

    known = fit_reference({"x": column(0, 4_000)})
    windows = [count(known.bins, {"x": column(one, rows)}) for one in shifts]
    return forms.course(known, windows, "x", begin(shifts))


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize(
    ("shifts", "form"),
    [(STEP, "sudden"), (STEP[:9], "sudden"), (RAMP, "gradual"), (BACK, "recurring"),
     (OTHER, "sudden")],
)  # fmt: skip
def test_a_course_has_its_form(kind, shifts, form):
    if kind == "category" and shifts is OTHER:
        shifts = [max(one, -0.5) for one in shifts]
    named = [forms.shape(course(shifts, seed, kind)) for seed in range(10)]
    assert sum(one.form == form for one in named) >= 9
    assert all(abs(one.since - begin(shifts)) <= 1 for one in named if one.form == form)
    assert all(one.lasts for one in named)


def test_a_change_that_is_over_is_not_said_to_last():
    shifts = [0.0] * 5 + [0.6] * 4 + [0.0] * 3
    noise = np.random.default_rng(0)
    known = fit_reference({"x": noise.normal(size=4_000)})
    windows = [count(known.bins, {"x": noise.normal(size=500) + one}) for one in shifts]
    assert not forms.shape(forms.course(known, windows, "x", 5)).lasts


@pytest.mark.parametrize("seed", [6, 36, 104])
def test_the_worst_of_many_features_by_chance_is_no_earlier_stretch(seed):
    noise = np.random.default_rng(seed)
    names = [f"x{i}" for i in range(20)]
    reference = fit_reference({name: noise.normal(size=400) for name in names})
    days = [0.0] * 40 + [0.8] * 7
    windows = [
        count(reference.bins, {name: noise.normal(size=60) + shift for name in names})
        for shift in days
    ]
    found = [forms.course(reference, windows, name, 40) for name in names]
    worst = max((one for one in found if one is not None), key=lambda one: one.share)
    assert forms.shape(worst).form == "sudden"


def test_windows_without_rows_and_one_window_break_nothing():
    noise = np.random.default_rng(0)
    known = fit_reference({"x": noise.normal(size=4_000)})
    empty = count(known.bins, {"x": np.empty(0)})
    full = count(known.bins, {"x": noise.normal(size=300) + 1})
    assert forms.course(known, [empty], "x", 0) is None
    assert forms.shape(forms.course(known, [full], "x", 0)).form == "sudden"
    shape = forms.shape(forms.course(known, [empty, empty, full], "x", 2))
    assert (shape.form, shape.since) == ("sudden", 2)


def test_a_column_that_is_the_same_in_every_row_is_a_stale_source():
    noise = np.random.default_rng(1)
    known = fit_reference({"x": noise.normal(size=3_000), "y": noise.normal(size=3_000),
                           "flag": np.zeros(3_000)})  # fmt: skip
    fresh = {"x": noise.normal(size=400), "y": noise.normal(size=400), "flag": np.zeros(400)}
    windows = [count(known.bins, fresh)] * 2 + [
        count(known.bins, fresh | {"x": np.full(400, 0.2)})
    ] * 2
    found = judge(known, windows)
    named = stale.renamed(found.findings, known, windows, 50)
    assert [(one.kind, one.form, one.since) for one in named] == [
        ("broken input", "stale source", 2)
    ]
    assert [one.feature for one in named[0].features] == ["x"]
    assert stale.stuck(known, windows[0], 50) == []
    assert stale.renamed((), known, [], 50) == []


def test_a_text_that_the_log_holds_as_a_hash_is_no_stale_source():
    noise = np.random.default_rng(1)
    said = [f"call me about {'x' * n}" for n in noise.integers(0, 60, 1_000)]
    known = fit_reference({"note": np.array(said, dtype=object)}, kinds={"note": "text"})
    hashed = np.array([f"{i:064x}" for i in range(400)], dtype=object)
    window = count(known.bins, {"note": hashed})
    found = judge(known, [window], altered=["note"])
    assert found.findings == ()
    assert stale.renamed(found.findings, known, [window], 50, ["note"]) == []
    assert stale.stuck(known, window, 50) == ["note:length"]


@pytest.mark.parametrize(
    ("column", "form"),
    [
        (lambda x: np.where(np.arange(len(x)) % 3, x, np.nan), "null burst"),
        (lambda x: np.array(["?" if i % 3 == 0 else v for i, v in enumerate(x)], object), "type"),
        (lambda x: np.where(np.arange(len(x)) % 9, x, 1e308), "range"),
        (lambda x: np.where(np.arange(len(x)) % 9, x, np.inf), "range"),
    ],
)
def test_a_broken_input_says_how_it_broke(column, form):
    noise = np.random.default_rng(2)
    known = fit_reference({"x": noise.normal(size=3_000)}, kinds={"x": "number"})
    windows = [count(known.bins, {"x": noise.normal(size=400)})]
    windows.append(count(known.bins, {"x": column(noise.normal(size=400))}))
    (found,) = [one for one in judge(known, windows).findings if one.kind == "broken input"]
    assert (found.form, found.since) == (form, 1)
    assert found.text.startswith(f"Broken input ({form}) in 1 of 1")
    assert 0.05 < found.share < 0.5


@pytest.mark.slow
def test_drift_keeps_its_form_beyond_the_windows_that_are_looked_at(site):
    """An episode that ended is remembered in the store and a return is called by its name."""
    place = site()
    found = {}
    for day in range(14):
        place.live(day, 400, shift=1.0 if day in (2, 3, 11, 12, 13) else 0.0)
        place.look(day + 1)
        window = operations.windows(place.ws, endpoint="goods")[-1]
        found[day] = msgspec.convert(window.findings, list[Finding])
    assert found[2][0].form == "sudden"
    assert found[11][0].form == "recurring"
    assert "recurring, as from" in found[11][0].text
    kept = estimates.episodes(place.ws, "goods")
    assert [(one.since - BEGIN) // DAY for one in kept] == [2, 11]
    assert BEGIN + 4 * DAY <= kept[0].until <= BEGIN + 5 * DAY
    assert kept[1].until == 0
    known = episodes.known(place.ws, operations.windows(place.ws, endpoint="goods")[-1])
    assert [one.since for one in known if one.until] == [kept[0].since]


@pytest.mark.slow
def test_unseen_values_are_counted_by_request(site):
    place = site()
    rows = place.rows(300)
    rows.columns["kind"][:30] = "new"
    names = [f"p{i}" for i in range(300)]
    place.append(rows, names, [BEGIN + i for i in range(300)], role="champion")
    place.live(0, 100)
    place.look(1)
    (window,) = operations.windows(place.ws, endpoint="goods")
    body = window.features[asking.UNSEEN]
    assert (body["requests"], body["with_unseen"], body["features"]) == (2, 1, {"kind": 1})
    assert len(body["examples"]) == 1
    assert "1 of 2 requests held values that training never saw (kind in 1)" in " ".join(
        place.look(1).sentences
    )
    assert sum(window.features[asking.LATENCY].values()) == 2


def test_traffic_that_stops_or_doubles_is_named_with_its_beginning():
    noise = np.random.default_rng(3)
    calm = noise.poisson(400, 30).astype(float).tolist()
    alpha = 1e-5
    assert volume.change(calm, alpha) is None
    stopped = volume.change([*calm, 0.0], alpha)
    assert (stopped.since, round(stopped.ratio, 2)) == (30, 0.0)
    doubled = volume.change([*calm, 800.0, 820.0], alpha)
    assert doubled.since == 30 and 1.8 < doubled.ratio < 2.2
    assert volume.change([*calm, 480.0], alpha) is None
    assert volume.change(calm[:9], alpha) is None
    assert volume.change([], alpha) is None


def test_a_quiet_weekend_is_ordinary_where_weeks_are_known():
    noise = np.random.default_rng(4)
    weeks = [noise.poisson(60 if day % 7 > 4 else 600) for day in range(42)]
    for end in range(29, 42):
        assert volume.change(weeks[:end], 1e-5, period=7) is None
    assert volume.change([*weeks[:40], 600], 1e-5, period=7) is not None


def test_false_alarms_of_traffic_are_as_rare_as_the_level_says():
    noise = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        series = np.exp(noise.normal(6, 0.5, 25))
        wrong += volume.change(series.tolist(), 1e-3) is not None
    assert wrong <= 5


def quiet(place):
    """An endpoint whose windows close by the clock, and what it said of a look."""
    serve = msgspec.structs.replace(place.config.serve, event_time="server")
    return msgspec.structs.replace(place.config, serve=serve)


@pytest.mark.slow
def test_an_endpoint_that_falls_silent_is_an_alarm(site):
    place = site()
    for day in range(12):
        place.live(day, 60)
        place.look(day + 1)
    seen = observe.observe(place.ws, quiet(place), "goods", place.version, now=BEGIN + 15 * DAY)
    (alarm,) = [one for one in seen.alarms if one.kind == "traffic change"]
    assert alarm.since == BEGIN + 12 * DAY
    assert "rows 0 where 60 were usual" in alarm.title


@pytest.mark.slow
def test_a_day_without_a_row_is_named_once_clients_times_have_passed_it(site):
    place = site()
    for day in (*range(30), 31):
        place.live(day, 60)
    seen = observe.observe(place.ws, place.config, "goods", place.version)
    (alarm,) = [one for one in seen.alarms if one.kind == "traffic change"]
    assert alarm.since == BEGIN + 30 * DAY
    assert "rows 0 where 60 were usual" in alarm.title
    assert seen.now < BEGIN + 32 * DAY, "the day that followed is not over"


@pytest.mark.slow
def test_the_first_empty_day_of_a_young_endpoint_is_a_notice_and_its_second_an_alarm(site):
    """Twelve full days do not tell whether every tenth day is empty."""
    place = site()
    for day in range(12):
        place.live(day, 60)
    place.look(12)
    for now, calls in ((13, 0), (14, 1)):
        seen = observe.observe(
            place.ws, quiet(place), "goods", place.version, now=BEGIN + now * DAY
        )
        assert len([one for one in seen.alarms if one.kind == "traffic change"]) == calls
        (said,) = [one for one in seen.sentences if "Traffic change" in one]
        assert f"since {ids.iso(BEGIN + 12 * DAY)}: rows 0 where 60 were usual" in said


@pytest.mark.slow
@pytest.mark.parametrize("days", [1, 2])
def test_a_silence_that_passes_did_not_look_at_is_named_once_and_with_its_end(site, days):
    """All rows of the days after came before the next pass, and twice as many as usual."""
    place = site()
    for day in range(30):
        place.live(day, 60)
    place.look(30)
    for day in (30 + days, 31 + days):
        place.live(day, 130)
    for acted in (False, True):
        seen = place.look(32 + days, acted=acted)
        (alarm,) = [one for one in seen.alarms if one.kind == "traffic change"]
        assert alarm.since == BEGIN + 30 * DAY
        assert alarm.title.endswith(
            f"rows 0 where 60 were usual; rows came again from {ids.iso(BEGIN + (30 + days) * DAY)} on."
        )
    place.live(32 + days, 60)
    again = place.look(33 + days)
    assert "traffic change" not in [one.kind for one in again.alarms]


@pytest.mark.slow
def test_a_day_on_which_everything_was_refused_was_no_silence(site):
    place = site()
    for day in (*range(12), 13, 14):
        place.live(day, 60)
    refused = turned_away.Window(asked=60, turned=60, blamed={"x": 60})
    kept = {"newest": BEGIN, "windows": {BEGIN + 12 * DAY: msgspec.to_builtins(refused)}}
    kept["windows"] = {str(start): one for start, one in kept["windows"].items()}
    observe.observe(place.ws, place.config, "goods", place.version)
    before = states.get(place.ws, "refused:goods")
    kept["windows"] |= before["windows"]
    states.put(place.ws, "refused:goods", kept)
    assert "traffic change" not in [one.kind for one in place.look(15).alarms]


@pytest.mark.slow
def test_a_client_whose_clock_runs_ahead_brings_no_silence_about(site):
    place = site()
    today = ids.now() // DAY - BEGIN // DAY
    for day in range(today - 13, today):
        place.live(day, 60)
    rows = place.rows(1)
    place.append(rows, ["ahead"], [BEGIN + (today + 9) * DAY], role="champion")
    seen = observe.observe(place.ws, place.config, "goods", place.version)
    assert seen.now <= BEGIN + today * DAY
    assert not [one for one in seen.sentences if "raffic change" in one]


@pytest.mark.slow
def test_a_row_that_says_it_is_of_long_ago_makes_no_traffic(site):
    place = site()
    place.append(place.rows(1), ["old"], [BEGIN - 300 * DAY], role="champion")
    for day in range(13):
        place.live(day, 60)
    seen = observe.observe(place.ws, place.config, "goods", place.version)
    assert not [one for one in seen.sentences if "raffic change" in one]
    for day in (13, 14):
        place.live(day, 600)
    seen = observe.observe(place.ws, place.config, "goods", place.version)
    assert any("rows 600 where 60 were usual" in one for one in seen.sentences)


@pytest.mark.parametrize(
    ("known", "begun"),
    [
        ([5, 6, 8], 5),
        ([0, 50, 51, 52], 50),
        ([0, 1, 2, 3, 4, 5, 9], 0),
        ([0, 300, 330, 360], 300),
        ([0, 30, 60], 0),
    ],
    ids=["steady", "one of long ago", "a silence", "long ago and monthly", "monthly"],
)
def test_traffic_begins_behind_a_gap_longer_than_all_around_it(known, begun):
    assert pulse._begun([one * DAY for one in known], (known[-1] + 1) * DAY, DAY) == begun * DAY


WEEKDAYS = [60 if day % 7 < 5 else 0 for day in range(49)]
OFFICE = [60 if 8 <= hour % 24 < 18 and hour // 24 % 7 < 5 else 0 for hour in range(8, 24 * 35)]


@pytest.mark.parametrize(
    ("usual", "period", "week"),
    [
        (WEEKDAYS, 7, 7),
        (OFFICE, 24, 168),
        ([500 if day % 30 == 3 else 0 for day in range(90)], 7, 7),
        (np.random.default_rng(6).poisson(1, 90), 7, 7),
        (np.random.default_rng(7).poisson(8, 200), 7, 7),
        (np.where(np.random.default_rng(8).random(90) < 0.5, 50, 0), 7, 7),
    ],
    ids=["weekdays", "office", "monthly", "one a day", "eight a day", "every other day"],
)
def test_an_endpoint_that_is_rarely_used_is_not_silent(usual, period, week):
    for end in range(len(usual) + 1):
        assert volume.silence(usual[:end], 2.8e-5, period=period, week=week) is None


@pytest.mark.parametrize(
    ("usual", "gap", "found"),
    [
        (WEEKDAYS[:43], 1, True),
        (WEEKDAYS[:48], 1, False),
        ([*OFFICE, *[0] * 8], 0, False),
        ([*OFFICE, *[0] * 8, 60, 60], 2, True),
        ([5] * 40, 1, False),
        ([5] * 40, 3, True),
        ([60] * 9, 1, False),
        ([60] * 12, 12, False),
    ],
    ids=["monday", "saturday", "night", "morning", "few", "few, long", "new", "nothing ever"],
)
def test_silence_is_news_where_rows_were_usual_at_that_time(usual, gap, found):
    values = [*usual[: len(usual) - gap], *[0] * gap]
    hours = len(usual) > 200
    period, week = (24, 168) if hours else (7, 7)
    change = volume.silence(values, 2.8e-5, period=period, week=week)
    assert (change is not None) == found
    assert change is None or change.usual == pytest.approx(max(usual))


@pytest.mark.slow
def test_more_traffic_is_named_and_no_incident(site):
    place = site()
    for day in range(12):
        place.live(day, 60)
        place.look(day + 1)
    place.live(12, 400)
    seen = place.look(13)
    assert "traffic change" not in [one.kind for one in seen.alarms]
    said = next(one for one in seen.sentences if "Traffic change" in one)
    assert ids.iso(BEGIN + 12 * DAY) in said and "400 where 60 were usual" in said


@pytest.mark.slow
def test_event_times_that_stand_still_while_rows_come_are_a_stale_source(site):
    place = site()
    place.live(0, 60)
    place.look(1)
    first = states.get(place.ws, "clock:goods")
    states.put(place.ws, "clock:goods", first | {"at": first["at"] - 2 * DAY})
    rows = place.rows(60)
    place.append(
        rows, [f"s{i}" for i in range(60)], [BEGIN + i for i in range(60)], role="champion"
    )
    seen = place.look(1)
    (alarm,) = [one for one in seen.alarms if one.kind == "broken input"]
    assert alarm.detail["form"] == "stale source"
    assert "60 rows came" in alarm.title
    place.live(1, 60)
    assert "broken input" not in [one.kind for one in place.look(2).alarms]


@pytest.mark.slow
def test_what_is_over_is_said_to_be_over(site):
    """The sums of windows remember a day that the newest window is not like any more."""
    place, said = site(), {}
    for day in range(4):
        place.live(day, 400, shift=1.0 if day == 1 else 0.0)
        said[day] = place.look(day + 1).sentences[0]
    assert said[1].endswith(": data drift")
    assert said[3].endswith(": data drift that is over")
