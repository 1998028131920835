"""The last points of many runs at once are those of each by itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.store import metrics, runs, statements
from trimtab.store.records import Point
from trimtab.store.series import compaction, newest, reading

POINTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(-3, 3),
        st.integers(0, 3),
        st.sampled_from([0.0, -0.0, 1.5, -1.0, math.inf, -math.inf, math.nan]),
    ),
    max_size=12,
)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.tuples(st.integers(0, 2), POINTS, st.booleans()), max_size=6))
def test_many_runs_at_once(ws, batches, monkeypatch):
    monkeypatch.setattr(statements, "AT_ONCE", 2)
    made = [runs.start(ws, "run", "r").id for _ in range(3)]
    for place, points, compacted in batches:
        found = [Point(key=key, step=step, time=at, value=value) for key, step, at, value in points]
        if found:
            metrics.append(ws, made[place], found)
        if compacted:
            compaction.compact(ws, made[place])
    with ws.reading() as db:
        asked, every, none = (newest.ends(db, ws, some) for some in (made, None, []))
    assert set(asked) == set(every).intersection(made)
    assert repr([asked[run] for run in asked]) == repr([every[run] for run in asked])
    assert none == {}
    for run in made:
        # every point of the run, in order, so that the last of each key is left
        last = {one.key: (one.step, one.time, one.value) for one in metrics.read(ws, run)}
        assert repr(asked.get(run, {})) == repr(dict(sorted(last.items())))
        assert repr(reading.latest(ws, run)) == repr(asked.get(run, {}))
