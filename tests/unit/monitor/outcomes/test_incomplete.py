"""Requirements on windows whose labels have come in part: what came stands for what is missing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from trimtab.store import evidence, operations, verdicts


def tell_some(place, day, rows):
    """Deliver the labels of some rows of a day; the rest stay unknown."""
    every = place.ids[day]
    place.ids[day] = [every[i] for i in rows]
    place.label(day, truth=[place.days[day].truth[i] for i in rows])
    place.ids[day] = every


def bounded(place, **bound):
    first = place.config.require[0]
    wanted = msgspec.structs.replace(first, **{"min": None, "max": None, **bound})
    place.config = msgspec.structs.replace(place.config, require=(wanted,))


def half_told(site, **bound):
    """A day of which sure answers have labels and few of the others, and one with all."""
    place = site()
    bounded(place, **bound)
    place.live(0, 2_000)
    rows = place.days[0]
    sure = np.abs(rows.score - 0.5) > 0.25
    tell_some(place, 0, np.flatnonzero(sure | (place.noise.random(2_000) < 0.15)))
    place.live(1, 400)
    place.label(1)
    place.look(2)
    right = np.array(rows.decision) == np.array(rows.truth)
    return place, right.mean(), right[np.flatnonzero(sure)].mean()


def of_first_day(place):
    found = verdicts.find(place.ws, subject="endpoint:goods")
    (one,) = [x for x in found if x.details["window"].startswith("2024-10-04") and
              "windows" not in x.details]  # fmt: skip
    return one


@pytest.mark.slow
def test_a_requirement_reads_what_all_rows_would_show_and_not_the_easy_ones_alone(site):
    place, whole, easy = half_told(site, metric="accuracy", min=0.83)
    assert easy > 0.83 > whole, "the labelled rows alone would pass, all of them would not"
    one = of_first_day(place)
    assert abs(one.value - whole) < 0.03
    assert one.lo <= whole <= one.hi
    assert one.status != "pass"
    assert "of the labels have come, corrected for it by score" in one.reason
    (kept,) = [w for w in operations.windows(place.ws, endpoint="goods") if w.rows == 2_000]
    shown = kept.features["quality"]["values"]["accuracy"]
    known = kept.features["labels"]["metrics"]["accuracy"]
    assert shown["value"] == pytest.approx(known["value"]), "one window has one accuracy"
    proof = evidence.find(place.ws, metric="accuracy", window=one.details["window"])
    mine = [each for each in proof if "corrected" in each.details]
    assert mine
    assert all(each.details["uncorrected"] > each.value for each in mine)


@pytest.mark.slow
def test_what_is_not_corrected_says_how_complete_it_is(site):
    place, _, _ = half_told(site, metric="accuracy", min=0.5, by="kind")
    one = of_first_day(place)
    assert "of the labels have come, not corrected for it" in one.reason


@pytest.mark.slow
def test_pools_are_completed_too_and_complete_windows_say_nothing_of_it(site):
    place = site()
    bounded(place, metric="accuracy", min=0.83)
    for day in range(4):
        place.live(day, 1_000)
        rows = place.days[day]
        sure = np.abs(rows.score - 0.5) > 0.25
        tell_some(place, day, np.flatnonzero(sure | (place.noise.random(1_000) < 0.15)))
    place.live(4, 1_000)
    place.label(4)
    place.look(5)
    found = verdicts.find(place.ws, subject="endpoint:goods")
    pooled = next(one for one in found if one.details.get("windows") == 4)
    right = [np.array(d.decision) == np.array(d.truth) for d in list(place.days.values())[1:]]
    whole = np.concatenate(right).mean()
    assert pooled.lo <= whole <= pooled.hi
    assert abs(pooled.value - whole) < 0.03
    assert "of the labels have come, corrected" in pooled.reason
    last = [one for one in found if "windows" not in one.details]
    newest = max(last, key=lambda one: one.details["window"])
    assert "of the labels have come" not in newest.reason
