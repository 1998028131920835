"""`runs/search`, and the data sets of experiments."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab.interop.mlflow import experiments, filters, ordering, pages, runs, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import invalid
from trimtab.interop.mlflow.state import ACTIVE, DELETED
from trimtab.interop.mlflow.table import EXPERIMENT
from trimtab.interop.mlflow.wire import Asked
from trimtab.track.search import evaluate, order

MOST = 50_000


def search(board: Board, asked: Asked) -> bytes:
    """Runs of some experiments that a filter keeps, in order."""
    most = asked.integer("max_results", 1000)
    if most > MOST or most < 1:
        raise invalid("max_results", most, f"It must be between 1 and {MOST}.")
    view = asked.text("run_view_type") or "ACTIVE_ONLY"
    if view not in experiments.VIEWS:
        raise invalid("run_view_type", view, f"It must be one of {', '.join(experiments.VIEWS)}.")
    stages = experiments.VIEWS[view]
    where = filters.runs(asked.text("filter"))
    orders = ordering.runs(asked.texts("order_by"))
    token = asked.text("page_token")
    begin = pages.start(token)
    table = board.table()
    numbers = set(map(experiments.number, asked.texts("experiment_ids")))
    mask = np.isin(table.column(EXPERIMENT).number, list(numbers))
    if len(stages) == 1:
        mask &= table.deleted if DELETED in stages else ~table.deleted
    if where is not None:
        mask &= evaluate.keep(table, where, 0)
    places = order.places(table, orders, mask)
    page = [table.records[row] for row in places[begin : begin + most].tolist()]
    if not page:
        return b"{}"
    after = pages.after(begin + most) if begin + most < len(places) else ""
    end = b'],"next_page_token":%b}' % wire.encode(after) if after else b"]}"
    spelt = [runs.spelt(board, one) for one in page]
    # megabytes, so joined once
    spelt[0] = b'{"runs":[' + spelt[0]
    spelt[-1] += end
    return b",".join(spelt)


def datasets(board: Board, asked: Asked) -> dict[str, Any]:
    """`experiments/search-datasets`: every data set once for each context."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for text in asked.texts("experiment_ids"):
        for run in board.by_experiment.get(experiments.number(text), {}).values():
            if run.stage != ACTIVE:
                continue
            for one in run.inputs:
                context = next(
                    (
                        tag.get("value", "")
                        for tag in one.get("tags", ())
                        if tag["key"] == "mlflow.data.context"
                    ),
                    "",
                )
                name, digest = one["dataset"]["name"], one["dataset"]["digest"]
                row = {"experiment_id": text, "name": name, "digest": digest}
                found[text, name, digest, context] = row | ({"context": context} if context else {})
    summaries = list(found.values())[:1000]
    return {"dataset_summaries": summaries} if summaries else {}
