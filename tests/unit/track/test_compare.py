import math

from trimtab.store import metrics, runs
from trimtab.store.records import Point
from trimtab.store.workspace import open_workspace
from trimtab.track.compare import compare, differences


def test_what_differs_is_named_with_both_values():
    before = {"same": 1, "whole": 1, "text": "1", "flag": True, "gone": 0, "list": [1]}
    after = {"same": 1, "whole": 1.0, "text": 1, "flag": 1, "new": 0, "list": [1, 2]}
    assert differences(before, after) == {
        "text": ("1", 1),
        "flag": (True, 1),
        "gone": (0, None),
        "new": (None, 0),
        "list": ([1], [1, 2]),
    }


def test_a_last_value_that_is_no_number_is_not_taken_for_a_missing_one(tmp_path):
    ws = open_workspace(tmp_path, "demo")
    ends = []
    for last in (float("nan"), float("inf")):
        run = runs.start(ws, "run", "fit")
        metrics.append(ws, run.id, [Point(key="loss", step=0, time=0, value=last)])
        runs.finish(ws, run.id, "done")
        ends.append(run.id)
    pair = compare(ws, *ends).metrics["loss"]
    assert math.isnan(pair.a.last)
    assert (pair.b.last, pair.change, pair.b.max) == (math.inf, None, None)
    ws.close()
