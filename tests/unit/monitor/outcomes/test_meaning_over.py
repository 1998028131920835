"""When a concept drift is over: the day that is told, and that it is no return by older failures."""

from __future__ import annotations

import pytest

from trimtab import ids
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.outcomes import meaning

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
DRIFT = range(12, 18)


@pytest.mark.slow
def test_a_drift_that_is_over_ends_on_its_day_and_older_windows_are_no_return(site):
    place = site()
    over = f"was over by {ids.iso(BEGIN + DRIFT.stop * DAY)}"
    for day in range(26):
        place.live(day, meaning=-0.5 if day in DRIFT else 1.0)
        place.label(day)
        seen = place.look(day + 1)
        kinds = {one.kind for one in seen.alarms}
        if day in DRIFT[1:]:
            assert "concept drift" in kinds
            assert seen.over == {}
        elif day > DRIFT.stop:
            assert not kinds & {"concept drift", "requirement"}, day
            assert list(seen.over) == ["concept drift"]
            assert any(over in one for one in seen.sentences)


def moved(kind, since):
    part = FeatureFinding(
        feature="x", statistic="anderson_darling", p=1e-9, effect=1.0, lo=0.9, hi=1.1, unit="sd",
        note="moved",
    )  # fmt: skip
    return Finding(kind=kind, severity="alarm", features=(part,), since=since, text="")


@pytest.mark.parametrize(
    ("began", "last", "told"),
    [
        (3, 3.5, True),  # the window has labels
        (3, 2.5, False),  # it has none, and what it tells began in it
        (1, 2.5, True),  # a slow change that was found late
        (None, 2.5, False),
    ],
)
@pytest.mark.parametrize("kind", ["data drift", "broken input"])
def test_inputs_explain_errors_only_of_labels_that_came_since_they_moved(kind, began, last, told):
    since = None if began is None else BEGIN + began * DAY
    window = (BEGIN + 3 * DAY, BEGIN + 4 * DAY, [moved(kind, since)])
    found = meaning.inputs_during([window], BEGIN, int(BEGIN + last * DAY))
    assert [one.kind for one in found] == ([kind] if told else [])
    assert meaning.inputs_during([window], BEGIN + 5 * DAY, BEGIN + 9 * DAY) == []
