"""Metric series as clients read them: whole, a page at a time, or as many points as a chart has.

MLflow orders a series by time, step and value; the store by step first. A series that is read page by
page is kept sorted in between.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.interop.mlflow import pages, runs, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault, invalid
from trimtab.interop.mlflow.wire import Asked
from trimtab.store.series import chart, reading
from trimtab.store.series.points import NOTHING, Series

PAGE: Final = 25_000
MOST_RUNS: Final = 100
MOST_POINTS: Final = 2_500
_KEPT: Final = 4_000_000
"""Points that are kept for later pages at most, and those of one longer series."""
_sorted_lock = threading.Lock()
_sorted: OrderedDict[tuple[Any, ...], Series] = OrderedDict()


def history(board: Board, asked: Asked) -> bytes:
    """`metrics/get-history`: without `max_results` the whole series."""
    run, key = runs.known(board, asked), asked.text("metric_key", needed=True)
    begin = pages.start(asked.text("page_token"))
    series = _series(board, run.id, key, is_first=begin == 0)
    most = asked.integer("max_results", 0) if asked.has("max_results") else None
    if most is not None and most <= 0:
        raise Fault(
            f"Invalid value {most} for parameter 'max_results' supplied. It must be a positive integer."
        )
    end = len(series) if most is None else min(begin + min(most, PAGE), len(series))
    answer: dict[str, Any] = {}
    if end > begin:
        answer["metrics"] = _shown(key, series[begin:end])
    if end < len(series):
        answer["next_page_token"] = pages.after(end)
    else:
        _forget(board, run.id, key)
    return wire.encode(answer)


def interval(board: Board, asked: Asked) -> bytes:
    """`metrics/get-history-bulk-interval`: of each run so many points as a chart needs.

    What is left out is between the least and greatest of its stretch; the extremes are there.
    """
    ids, key = asked.texts("run_ids"), asked.text("metric_key", needed=True)
    if not 1 <= len(ids) <= MOST_RUNS:
        raise Fault(
            f"GetMetricHistoryBulkInterval request cannot have more than {MOST_RUNS} run_ids."
        )
    most = asked.integer("max_results", 320)
    if not 1 <= most <= MOST_POINTS:
        raise invalid("max_results", most, f"It must be between 1 and {MOST_POINTS}.")
    bounds = [
        asked.integer(name) if asked.has(name) else None for name in ("start_step", "end_step")
    ]
    start, end = bounds
    if (start is None) != (end is None):
        raise Fault("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise Fault(
            "end_step must be greater than start_step. "
            f"Found start_step={start} and end_step={end}."
        )
    found: list[dict[str, Any]] = []
    for id_ in ids:
        run = runs.named(board, id_)
        if key in run.metrics:
            points = _thinned(board, run.id, key, most, start, end)
            found += [{**one, "run_id": run.id} for one in _shown(key, points)]
    return wire.encode({"metrics": found} if found else {})


def bulk(board: Board, asked: Asked) -> bytes:
    """`metrics/get-history-bulk`: the series of several runs, so many points of each."""
    ids, key = asked.texts("run_id"), asked.text("metric_key", needed=True)
    if not 1 <= len(ids) <= MOST_RUNS:
        raise Fault(f"GetMetricHistoryBulk request must specify 1 to {MOST_RUNS} run_ids.")
    most = min(asked.integer("max_results", PAGE), PAGE)
    found: list[dict[str, Any]] = []
    for id_ in ids:
        run = runs.named(board, id_)
        if key in run.metrics and most > len(found):
            series = _by_time(reading.read(board.ws, run.id, key).get(key, NOTHING))
            found += [{**one, "run_id": run.id} for one in _shown(key, series[: most - len(found)])]
    return wire.encode({"metrics": found})


def _place(board: Board, run: str, key: str) -> tuple[str, ...]:
    return (str(board.ws.root), board.ws.project, run, key)


def _forget(board: Board, run: str, key: str) -> None:
    with _sorted_lock:
        _sorted.pop(_place(board, run, key), None)


def _series(board: Board, run: str, key: str, *, is_first: bool) -> Series:
    """A series by time; what is read for later pages is what the first one saw."""
    at = _place(board, run, key)
    with _sorted_lock:
        if not is_first and at in _sorted:
            _sorted.move_to_end(at)
            return _sorted[at]
    found = _by_time(reading.read(board.ws, run, key).get(key, NOTHING))
    if len(found) > PAGE:
        with _sorted_lock:
            _sorted[at] = found
            while len(_sorted) > 1 and sum(map(len, _sorted.values())) > _KEPT:
                _sorted.popitem(last=False)
    return found


def _by_time(series: Series) -> Series:
    time = series.time
    if len(time) < 2 or bool((time[1:] > time[:-1]).all()):
        return series
    # the store's order is by step, then time, then value: a stable sort by time keeps the rest
    return series[np.argsort(time, kind="stable")]


def _shown(key: str, series: Series) -> list[dict[str, Any]]:
    values: list[Any] = series.value.tolist()
    if not np.isfinite(series.value).all():
        values = [wire.number(value) for value in values]
    rows = zip(values, (series.time // 1000).tolist(), series.step.tolist(), strict=True)
    return [
        {"key": key, "value": value, "timestamp": time, "step": step} for value, time, step in rows
    ]


def _thinned(
    board: Board, run: str, key: str, most: int, start: int | None, end: int | None
) -> Series:
    curve = chart.chart(board.ws, run, key, stretches=max(1, most // 3), start=start, end=end)
    if curve.points <= most:
        whole = reading.read(board.ws, run, key).get(key, NOTHING)
        low = -(2**63) if start is None else start
        high = 2**63 - 1 if end is None else end
        return whole[(whole.step >= low) & (whole.step <= high)]
    nodes = curve.nodes
    has = np.isfinite(nodes["low"])

    def ends(first: str, low: str, high: str, last: str) -> NDArray[Any]:
        return np.concatenate([nodes[first], nodes[low][has], nodes[high][has], nodes[last][-1:]])

    step = ends("first_step", "low_step", "high_step", "last_step")
    time = ends("first_time", "low_time", "high_time", "last_time")
    value = ends("first", "low", "high", "last")
    every = Series(step.astype(np.int64), time.astype(np.int64), value.astype(np.float64))
    order = np.lexsort((every.value, every.time, every.step))
    every = every[order]
    same = (np.diff(every.step) == 0) & (np.diff(every.time) == 0) & (np.diff(every.bits) == 0)
    return every[np.r_[True, ~same]]
