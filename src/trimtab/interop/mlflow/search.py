"""`runs/search`, and the data sets of experiments."""

from __future__ import annotations

from typing import Any

from trimtab.interop.mlflow import experiments, filters, ordering, pages, runs
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import invalid
from trimtab.interop.mlflow.state import ACTIVE
from trimtab.interop.mlflow.wire import Asked

MOST = 50_000


def search(board: Board, asked: Asked) -> dict[str, Any]:
    """Runs of some experiments that a filter keeps, in order."""
    most = asked.integer("max_results", 1000)
    if most > MOST or most < 1:
        raise invalid("max_results", most, f"It must be between 1 and {MOST}.")
    view = asked.text("run_view_type") or "ACTIVE_ONLY"
    if view not in experiments.VIEWS:
        raise invalid("run_view_type", view, f"It must be one of {', '.join(experiments.VIEWS)}.")
    stages = experiments.VIEWS[view]
    matches = filters.runs(asked.text("filter"))
    order = ordering.runs(asked.texts("order_by"))
    token = asked.text("page_token")
    pages.start(token)
    found = [
        run
        for number in dict.fromkeys(map(experiments.number, asked.texts("experiment_ids")))
        for run in board.by_experiment.get(number, {}).values()
        if run.stage in stages and matches(run)
    ]
    page, after = pages.page(order(found), most, token)
    answer: dict[str, Any] = {"runs": [runs.shown(one) for one in page]} if page else {}
    return answer | ({"next_page_token": after} if after else {})


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
