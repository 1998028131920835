"""When a concept drift is over: the day that is told, and that it is no return by older failures."""

from __future__ import annotations

import pytest

from trimtab import ids

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
