"""A file of answers and outcomes, held against the model that gave them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.unit.monitor.conftest import BEGIN, DAY

from trimtab.loop.files.against import Watching, watch
from trimtab.monitor.log import traffic
from trimtab.store import operations

DAYS = range(14)
TURNED = 8


def scored(site, name, *, turned, rows=400):
    """A file of days; from day `TURNED` on the inputs mean the opposite where that is `turned`."""
    parts = []
    for day in DAYS:
        one = site.rows(rows, meaning=-1.0 if turned and day >= TURNED else 1.0)
        said = traffic.outputs(one.score, one.decision, site.signed)
        parts.append(
            pl.DataFrame(
                {
                    "at": BEGIN + day * DAY + np.arange(rows) * (DAY // rows),
                    "x": one.columns["x"],
                    "kind": one.columns["kind"].tolist(),
                    "score": said[traffic.SCORE],
                    "decision": one.decision,
                    "good": one.truth,
                }
            ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
        )
    path = site.folder / name
    pl.concat(parts).write_parquet(path)
    return path


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_outcomes_in_a_file_tell_concept_drift_as_an_endpoints_do(site, task):
    made = site(task)
    asked = {"against": "goods@v1", "time": "at", "truth": "good", "score": "score"}
    if task != "regression":
        asked["decision"] = "decision"
    calm = watch(scored(made, "calm.parquet", turned=False), Watching(**asked), start=made.folder)
    assert (calm.status, calm.findings) == ("nothing", [])
    metric = calm.quality[0].metric
    assert all(one.quality[0].metric == metric for one in calm.windows)
    path = scored(made, "turned.parquet", turned=True)
    found = watch(path, Watching(**asked, record=True), start=made.folder)
    (finding,) = found.findings
    assert (finding.kind, finding.form) == ("concept drift", "sudden")
    assert abs(finding.since - (BEGIN + TURNED * DAY)) < DAY // 4
    told = [any(one.kind == "concept drift" for one in each.findings) for each in found.windows]
    assert told == [day >= TURNED for day in DAYS]
    kept = operations.windows(made.ws, endpoint="file:turned.parquet")
    assert [one.findings for one in kept][:TURNED] == [[]] * TURNED
    values = [one.features["quality"]["values"][metric]["value"] for one in kept]
    late, early = np.mean(values[TURNED:]), np.mean(values[:TURNED])
    assert late > early + 0.5 if task == "regression" else late < early - 0.2


def test_decisions_alone_are_measured_and_tell_no_concept_drift(site):
    made = site()
    path = scored(made, "turned.parquet", turned=True)
    asked = Watching(against="goods@v1", time="at", truth="good", decision="decision")
    found = watch(path, asked, start=made.folder)
    assert found.findings == []
    assert found.quality[0].value < 0.75
    assert "concept drift is told by scores and outcomes together (--score)" in found.notes
