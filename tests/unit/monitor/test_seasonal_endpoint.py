"""An endpoint whose traffic follows the week: its reference is by weekday, and its windows too."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.model import registry, signature
from trimtab.monitor import basis
from trimtab.monitor.log import traffic
from trimtab.monitor.observe import observe
from trimtab.profile import reference as references
from trimtab.profile.reference import fit_dated
from trimtab.store import operations, versions

DAY = 86_400_000_000


def weekend(day: int) -> float:
    return 1.0 if day % 7 in (2, 3) else 0.0


def seasonal_model(site, season: str):
    """The site's package again, with a reference of eight weeks in which weekends differ."""
    folder = site.folder / f"seasonal-{season}"
    folder.mkdir()
    signed = site.signed
    (folder / signature.FILE).write_bytes(signature.encode(signed))
    parts = [site.rows(300, shift=weekend(day)) for day in range(56)]
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in ("x", "kind")
    }
    score = np.concatenate([part.score for part in parts])
    decision = [one for part in parts for one in part.decision]
    table = columns | traffic.outputs(score, decision, signed)
    times = np.arange(56).repeat(300) * DAY
    kinds = {"x": "number", "kind": "category"}
    known = fit_dated(table, times, span=DAY, season=season, kinds=kinds)
    (folder / "reference.profile").write_bytes(references.encode(known))
    truth = [one for part in parts for one in part.truth]
    found = basis.fit(signed, known, table, score, decision, truth)
    (folder / basis.FILE).write_bytes(basis.encode(found))
    return versions.add(site.ws, "model", "goods", registry.put(site.ws, folder))


@pytest.mark.slow
@pytest.mark.parametrize(("season", "calm"), [("auto", True), ("none", False)])
def test_weekends_are_ordinary_only_where_the_reference_knows_them(site, season, calm):
    here = site("binary")
    here.version = seasonal_model(here, season)
    begin = 20_000  # the number of the site's first day
    for day in range(10):
        here.live(day, 400, shift=weekend(begin + day))
        here.look(day + 1)
    windows = operations.windows(here.ws, endpoint="goods", model=here.version.digest)
    kinds = {one["kind"] for window in windows for one in window.findings}
    assert len(windows) == 10
    # without seasons days differ that much by themselves that a weekend is no alarm either
    assert not kinds
    here.live(10, 400, shift=0.5 + weekend(begin + 10))
    here.look(11)
    (last,) = [
        one
        for one in operations.windows(here.ws, endpoint="goods", model=here.version.digest)
        if one.start == (begin + 10) * DAY
    ]
    found = {one["kind"] for one in last.findings}
    assert (found == {"data drift"}) == calm
    assert "x" in last.features["drifted"] or not calm


@pytest.mark.slow
def test_a_drift_that_begins_on_a_weekend_is_told_by_the_seasons_of_its_days(site):
    """Weekends before it are no earlier episode, and the weekdays after it no end."""
    here = site("binary")
    here.version = seasonal_model(here, "auto")
    begin, first = 20_000, 15  # a Saturday
    assert [weekend(begin + first + day) for day in (-1, 0, 1, 2)] == [0, 1, 1, 0]
    for day in range(first + 5):
        moved = 0.6 if day >= first else 0.0
        here.live(day, 400, shift=moved + weekend(begin + day))
        here.look(day + 1)
    windows = operations.windows(here.ws, endpoint="goods", model=here.version.digest)
    assert not any(one.findings for one in windows[:first])
    for window in windows[first:]:
        (drift,) = [one for one in window.findings if one["kind"] == "data drift"]
        assert drift["form"] in ("sudden", "gradual")
        assert drift["since"] == (begin + first) * DAY
        assert drift["detail"]["lasts"] == 1.0


@pytest.mark.slow
def test_a_window_longer_than_the_seasons_span_has_no_key(site):
    here = site("binary", extra='[monitor]\nwindow = "7d"\n')
    here.version = seasonal_model(here, "week")
    for day in range(6, 13):  # windows of a week begin on Thursdays
        here.live(day, 100, shift=weekend(20_000 + day))
    seen = observe(here.ws, here.config, "goods", here.version, now=30_000 * DAY)
    assert seen.alarms == []
