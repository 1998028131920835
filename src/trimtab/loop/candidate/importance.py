"""How much each input matters to a model: what shuffling it costs on withheld rows.

Permutation importance (Breiman 2001) of the Brier score, or of the squared error of a regression,
taken once when the model is packaged and kept in its package, where the weight of an incident is
read from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.loop.alerts.severity import FILE, Importance
from trimtab.model.load import LoadedModel
from trimtab.monitor.log import traffic

_ROWS: Final = 500
_TIMES: Final = 2
_DIGITS: Final = 6


def write(
    place: Path, model: LoadedModel, columns: Mapping[str, NDArray[Any]], truth: Iterable[Any]
) -> None:
    """Measure on withheld rows and leave the file in the package's folder."""
    found = measure(model, columns, list(truth))
    (place / FILE).write_bytes(msgspec.json.encode(found))


def measure(
    model: LoadedModel, columns: Mapping[str, NDArray[Any]], truth: Sequence[Any]
) -> Importance:
    """By how much the loss on at most 500 of the rows grows when a column is shuffled.

    The same rows and shuffles every time, so that a package made again is the same package.
    """
    noise = np.random.default_rng(0)
    pick = np.sort(noise.permutation(len(truth))[:_ROWS])
    table = {name: values[pick] for name, values in columns.items()}
    goal = _goal(model, [truth[i] for i in pick.tolist()])
    before = _loss(model, table, goal)
    share = {}
    for name, values in table.items():
        grown = 0.0
        for _ in range(_TIMES):
            mixed = {**table, name: noise.permutation(values)}
            grown += _loss(model, mixed, goal) - before
        share[name] = round(max(grown / _TIMES, 0.0), _DIGITS)
    loss = "squared error" if model.signature.task == "regression" else "Brier score"
    how = f"growth of the {loss} when shuffled, {len(pick)} withheld rows, {_TIMES} shuffles"
    return Importance(share=share, how=how)


def _goal(model: LoadedModel, truth: list[Any]) -> NDArray[np.float64]:
    signed = model.signature
    if signed.task == "regression":
        return np.asarray(truth, dtype=np.float64)
    said = np.array([traffic.text(one) for one in truth], dtype=object)
    if signed.task == "binary":
        return np.asarray(said == traffic.text(signed.positive), dtype=np.float64)
    names = [traffic.text(one) for one in signed.classes]
    return np.stack([said == name for name in names], axis=1).astype(np.float64)


def _loss(
    model: LoadedModel, table: Mapping[str, NDArray[Any]], goal: NDArray[np.float64]
) -> float:
    score = np.asarray(model.predict(dict(table)).score, dtype=np.float64)
    # a model whose answers are beyond the float range says nothing about its inputs
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(np.mean((score - goal) ** 2))
    return found if np.isfinite(found) else 0.0
