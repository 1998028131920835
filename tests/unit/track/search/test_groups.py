import math
import statistics

import pytest

from trimtab.store import metrics, runs
from trimtab.store.records import Point
from trimtab.track.search import groups
from trimtab.track.search.fault import QueryError
from trimtab.track.search.finding import Wanted


@pytest.mark.slow
def test_numbers_of_groups_are_those_of_plain_code(ws):
    found = groups.group(
        ws,
        Wanted(),
        by="kind, params.auc",
        show="count, count(metrics.auc) mean(metrics.auc) median(metrics.auc) min(metrics.auc) "
        "MAX(metrics.auc) sum(peak_memory) std(metrics.auc)",
    )
    assert sum(one.runs for one in found.groups) == found.matched == 60
    assert len({tuple(one.key) for one in found.groups}) == len(found.groups)
    everything = runs.find(ws, limit=1000)
    for one in found.groups:
        kind, param = one.key
        mine = [run for run in everything if run.kind == kind and plain(run) == param]
        values = [metrics.latest(ws, run.id).get("auc") for run in mine]
        finite = [value for value in values if value is not None and not math.isnan(value)]
        assert one.shown[0] == one.runs == len(mine)
        assert one.shown[1] == len([value for value in values if value is not None])
        if not finite:
            assert one.shown[2:6] == [None] * 4
            continue
        assert one.shown[3:6] == [statistics.median(finite), min(finite), max(finite)]
        if math.inf not in finite:
            assert one.shown[2] == pytest.approx(statistics.fmean(finite))


def plain(run):
    value = run.params.get("auc")
    text = {True: "true", None: None}.get(value) if isinstance(value, bool | None) else value
    try:
        return None if text is None else float(text)
    except (TypeError, ValueError):
        return {"{'lr': 0.1}": None}.get(str(text), str(text).replace(" ", ""))


def test_groups_stand_in_the_order_of_what_they_share_or_of_what_is_asked(own):
    for depth, auc in ((10, 0.1), (9, 0.3), ("deep", 0.2), (None, 0.4), (9, 0.5)):
        run = runs.start(own, "run", "fit", params={"depth": depth})
        metrics.append(own, run.id, [Point(key="auc", step=0, time=0, value=auc)])

    def keys(order_by):
        found = groups.group(
            own, Wanted(order_by=order_by), by="params.depth", show="mean(metrics.auc)"
        )
        return [one.key[0] for one in found.groups]

    assert keys("") == [9.0, 10.0, "deep", None]
    assert keys("params.depth desc") == ["deep", 10.0, 9.0, None]
    assert keys("mean(metrics.auc) desc") == [9.0, None, "deep", 10.0]


@pytest.mark.parametrize(
    ("by", "show", "order_by", "what"),
    [
        ("", "count", "", "missing"),
        ("params.", "count", "", "means nothing"),
        ("data", "count", "", "any number"),
        ("kind", "avg(metrics.a)", "", "no 'avg'"),
        ("kind", "mean", "", "of a field"),
        ("kind", "mean(x)", "", "no 'x'"),
        ("kind", "mean(made)", "", "any number"),
        ("kind", "count sum(started)", "", "no sum"),
        ("kind", "", "", "numbers are shown"),
        ("kind", "mean(metrics.a", "", "of a field"),
        ("kind", "count", "mean(metrics.a)", "not shown"),
        ("kind", "count", "desc", "not shown"),
    ],
)
def test_groups_that_are_none_are_refused(ws, by, show, order_by, what):
    with pytest.raises(QueryError, match=what):
        groups.group(ws, Wanted(order_by=order_by), by=by, show=show)


def test_nothing_makes_no_groups(own):
    assert groups.group(own, Wanted(), by="kind").groups == []


def test_groups_beyond_the_limit_are_told(own):
    for depth in range(5):
        runs.start(own, "run", "fit", params={"depth": depth})
    found = groups.group(own, Wanted(), by="params.depth", limit=2)
    assert len(found.groups) == 2
    assert found.notes == ["3 more groups are not shown"]
    assert groups.group(own, Wanted(), by="params.depth", limit=5).notes == []
