"""Estimates of windows in which labels show concept drift say that they are not to be relied on."""

from __future__ import annotations

import pytest

from trimtab.monitor.outcomes import distrust
from trimtab.monitor.outcomes.distrust import Span
from trimtab.store import estimates, evidence, operations
from trimtab.store.records import Window

DAY = 86_400_000_000
BEGIN = 20_000 * DAY


def doubts(place, metric="roc_auc"):
    """By day, why an estimate is untrusted: as a row, and as the window's own page and JSON have it."""
    rows = {
        (one.start - BEGIN) // DAY: one.untrusted
        for one in estimates.find(place.ws, "goods", metric=metric)
    }
    kept = {
        (one.start - BEGIN) // DAY: one.features["estimate"]
        for one in operations.windows(place.ws, endpoint="goods")
    }
    for day, why in rows.items():
        assert kept[day]["untrusted"] == kept[day]["values"][metric]["untrusted"] == why
    return rows


def proofs(place):
    """By day, whether the newest evidence of what is expected is untrusted."""
    found = {}
    for one in evidence.find(place.ws, metric="roc_auc"):
        if one.statistic == "expected":
            found.setdefault(one.window[:10], bool(one.details["untrusted"]))
    return [found[day] for day in sorted(found)]


def live(place, days, **how):
    for day in days:
        place.live(day, 400, **how)
        place.label(day)
        place.look(day + 1)


@pytest.mark.slow
def test_estimates_of_a_concept_drift_are_untrusted_and_those_around_it_are_not(site):
    place = site()
    live(place, range(4))
    live(place, range(4, 8), meaning=-1.0)
    lasting = doubts(place)
    assert [bool(lasting[day]) for day in range(8)] == [False] * 4 + [True] * 4
    assert "labels show concept drift since 2024-10-08" in lasting[7]
    assert proofs(place) == [False] * 4 + [True] * 4
    place.live(8, 400, meaning=-1.0)  # of this day no label has come
    place.look(9)
    assert "labels show concept drift since" in doubts(place)[8]
    place.label(8)
    live(place, range(9, 14))
    over = doubts(place)
    assert [bool(over[day]) for day in range(14)] == [False] * 4 + [True] * 5 + [False] * 5, over
    assert "labels showed concept drift from 2024-10-08" in over[5]
    assert proofs(place) == [False] * 4 + [True] * 5 + [False] * 5
    shown = estimates.find(place.ws, "goods", metric="roc_auc")
    assert all(one.realised is not None for one in shown), "what labels showed stays beside them"


@pytest.mark.slow
def test_another_date_of_the_same_drift_is_no_new_evidence(site):
    place = site()
    live(place, range(3))
    live(place, range(3, 6), meaning=-1.0)
    before = len(evidence.find(place.ws))
    place.look(6)
    place.look(6)
    assert len(evidence.find(place.ws)) == before


@pytest.mark.slow
def test_an_input_that_breaks_after_the_last_label_explains_no_error_before(site):
    place = site()
    live(place, range(4))
    live(place, range(4, 7), meaning=-1.0)
    place.live(7, 400, shift=9.0)  # no label of it has come
    seen = place.look(8)
    assert {"broken input", "concept drift"} <= {one.kind for one in seen.alarms}
    assert "explains it" not in " ".join(seen.sentences)
    found = doubts(place)
    assert all("labels show concept drift" in found[day] for day in (4, 5, 6))
    assert "broken input" not in found[6]


def test_a_window_of_which_a_drift_has_a_few_minutes_is_not_in_it():
    of = Window(endpoint="a", model="m", role="champion", start=DAY, end=2 * DAY, rows=9,
                profile="")  # fmt: skip
    late, early = Span(2 * DAY - DAY // 20, 0), Span(0, DAY + DAY // 20)
    assert distrust.why([late], of) == distrust.why([early], of) == ""
    assert "since 1970-01-02T12" in distrust.why([Span(DAY + DAY // 2, 0)], of)
    assert "to 1970-01-02T12" in distrust.why([Span(0, DAY + DAY // 2)], of)
    assert distrust.why([Span(0, DAY), Span(2 * DAY, 0)], of) == ""


def test_a_drift_is_remembered_with_its_end_and_one_that_never_was_is_not(place):
    ws = place.ws
    assert distrust.note(ws, "goods", "m", 0, 0) == []
    assert distrust.note(ws, "goods", "m", 5 * DAY, 0) == [Span(5 * DAY, 0)]
    assert distrust.note(ws, "goods", "m", 4 * DAY, 0) == [Span(4 * DAY, 0)]
    assert distrust.note(ws, "goods", "m", 0, 9 * DAY) == [Span(4 * DAY, 9 * DAY)]
    assert distrust.note(ws, "goods", "m", 12 * DAY, 0)[-1] == Span(12 * DAY, 0)
    assert distrust.note(ws, "goods", "m", 0, 0) == [Span(4 * DAY, 9 * DAY)]
    assert distrust.spans(ws, "goods", "other") == []
