"""A file of answers and outcomes, held against the model that gave them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.unit.monitor.conftest import BEGIN, DAY

from trimtab import ids
from trimtab.cli.monitor import _render
from trimtab.loop.files.against import Watching, watch
from trimtab.monitor.log import traffic
from trimtab.store import evidence, operations

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


def test_outcomes_that_label_delay_leaves_for_later_are_no_evidence_and_that_is_said(site):
    made = site(extra='[monitor]\nlabel_delay = "2d"\n')
    path = scored(made, "early.parquet", turned=False)
    table = pl.read_parquet(path)
    late = (pl.col("at").rank("ordinal") > 11 * 400) & (pl.col("good") == "yes")
    table.with_columns(good=pl.when(late).then(None).otherwise("good")).write_parquet(path)
    asked = {"against": "goods@v1", "truth": "good", "score": "score"}
    found = watch(path, Watching(**asked, time="at", record=True), start=made.folder)
    assert found.findings == []
    assert next(one.n for one in found.quality if one.metric == "roc_auc") == 11 * 400
    assert {one.n for one in evidence.find(made.ws) if one.metric == "accuracy"} == {11 * 400}
    since = ids.iso(BEGIN + 11 * DAY)
    said = (
        f'outcomes of 1,200 rows, since {since}, are left for later: [monitor] label_delay = "2d"'
    )
    assert said in found.notes
    untimed = watch(path, Watching(**asked), start=made.folder)
    assert any("leaves no outcome for later" in one for one in untimed.notes)


def test_a_window_of_a_file_says_how_many_outcomes_its_quality_rests_on(site, capsys):
    made = site()
    path = scored(made, "part.parquet", turned=False)
    table = pl.read_parquet(path).with_row_index("row")
    known = (pl.col("row") < 12 * 400) | (pl.col("row") >= 13 * 400 + 390)
    table.with_columns(good=pl.when(known).then("good").otherwise(None)).drop("row").write_parquet(
        path
    )
    asked = Watching(against="goods@v1", time="at", truth="good", score="score")
    _render(watch(path, asked, start=made.folder))
    lines = capsys.readouterr().out.splitlines()
    (head,) = [one.split() for one in lines if one.startswith("window ")]
    assert head == ["window", "rows", "seen", "labels", "roc_auc"]
    day = {ids.iso(BEGIN + at * DAY)[:10]: at for at in DAYS}
    shown = {day[one[:10]]: one.split()[-2] for one in lines if one[:10] in day}
    assert shown == {at: {12: "0", 13: "10"}.get(at, "400") for at in DAYS}
