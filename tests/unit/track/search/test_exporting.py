import csv
import json
import os

import polars as pl
import pytest

from trimtab.errors import StorageError, UsageError
from trimtab.store import listing, metrics, runs, statements
from trimtab.store.records import Point
from trimtab.track.search import exporting
from trimtab.track.search.fault import QueryError
from trimtab.track.search.finding import Wanted


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_a_row_for_each_run_and_a_column_for_each_key(ws, tmp_path):
    path = tmp_path / "runs.csv"
    wanted = Wanted(where="kind = 'trial'", order_by="metrics.auc desc")
    found = exporting.export(ws, wanted, path)
    rows = rows_of(path)
    assert found.runs == len(rows) == len(runs.find(ws, kind="trial"))
    assert found.bytes == path.stat().st_size
    for row in rows:
        run = runs.get(ws, row["id"])
        latest = metrics.latest(ws, run.id)
        assert row["status"] == run.status
        assert row["metrics.val/loss"] == (repr(latest["val/loss"]) if "val/loss" in latest else "")
        assert row["params.`a b`"] == str(run.params.get("a b") or "").replace(" ", "").replace(
            "True", "true"
        ) or isinstance(run.params.get("a b"), dict)
        assert bool(row["ended"]) == bool(run.ended_at)
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_has_types(own, tmp_path):
    for depth, opt in ((6, "adam"), (7.5, "10"), (None, None)):
        run = runs.start(own, "run", "fit", params={"depth": depth, "opt": opt})
        if depth:
            metrics.append(own, run.id, [Point(key="auc", step=0, time=0, value=float("nan"))])
    path = tmp_path / "runs.parquet"
    exporting.export(own, Wanted(order_by="params.depth"), path)
    frame = pl.read_parquet(path)
    assert frame["params.depth"].to_list() == [6.0, 7.5, None]
    assert frame["params.opt"].to_list() == ["adam", "10", None]
    assert frame["started"].dtype == pl.Datetime("us", "UTC")
    assert frame["metrics.auc"].is_nan().to_list() == [True, True, None]
    assert frame["ended"].to_list() == [None, None, None]


@pytest.mark.slow
def test_json_lines_hold_runs_whole(ws, tmp_path):
    path = tmp_path / "runs.jsonl"
    found = exporting.export(ws, Wanted(), path)
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert found.runs == len(read) == 60
    for one in read:
        run = runs.get(ws, one["id"])
        assert one["params"] == run.params
        assert set(one["metrics"]) == set(metrics.latest(ws, run.id))
    assert {"nan", "inf"} & {str(value) for one in read for value in one["metrics"].values()}


def test_chosen_columns_come_in_their_order(ws, tmp_path):
    path = tmp_path / "runs.csv"
    found = exporting.export(ws, Wanted(), path, columns="metrics.auc, duration, name, peak_memory")
    assert (
        list(rows_of(path)[0])
        == found.columns
        == ["metrics.auc", "duration", "name", "peak_memory"]
    )


@pytest.mark.parametrize(
    ("name", "columns", "error"),
    [
        ("runs.xlsx", "", UsageError),
        ("runs", "", UsageError),
        ("no/such/runs.csv", "", UsageError),
        ("r" * 250 + ".csv", "", StorageError),
        ("runs.csv", "metrics.", QueryError),
        ("runs.csv", "data", QueryError),
    ],
)
def test_what_cannot_be_written_is_refused(ws, tmp_path, name, columns, error):
    with pytest.raises(error):
        exporting.export(ws, Wanted(), tmp_path / name, columns=columns)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_stays_where_writing_fails(ws, tmp_path, monkeypatch):
    path = tmp_path / "runs.jsonl"
    path.write_text("before", encoding="utf-8")
    monkeypatch.setattr(statements, "AT_ONCE", 10)
    whole, calls = listing.whole, []

    def fail(*given):
        calls.append(given)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return whole(*given)

    monkeypatch.setattr(listing, "whole", fail)
    with pytest.raises(StorageError, match="No space left"):
        exporting.export(ws, Wanted(), path)
    assert os.listdir(tmp_path) == ["runs.jsonl"]
    assert path.read_text(encoding="utf-8") == "before"
    exporting.export(ws, Wanted(), path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 60
