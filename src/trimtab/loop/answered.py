"""The quality of answers that stand in a file: measured where outcomes do too, estimated without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.config import Requirement
from trimtab.evaluate import measure
from trimtab.loop.reports import Report
from trimtab.monitor import cbpe, files, traffic
from trimtab.monitor.files import Table, Values
from trimtab.monitor.watched import Watched
from trimtab.store.records import Evidence


class Quality(Report, frozen=True, kw_only=True):
    """A metric of the answers: "realised" with the outcomes, "estimated" without."""

    metric: str
    how: str
    value: float
    lo: float
    hi: float
    n: int
    note: str = ""


class Answered(NamedTuple):
    """Answers in a table: `rows` of its columns, under the names of a reference's outputs."""

    table: Table
    rows: NDArray[np.int64]
    truth: str = ""


def quality(
    model: Watched, answers: Answered, requirements: Sequence[Requirement], window: str
) -> tuple[list[Quality], list[Evidence], list[str]]:
    """What to show, the evidence behind it, and notes on rows that could not be used."""
    given, rows = answers.table, answers.rows
    score = np.full(len(rows), np.nan)
    if traffic.SCORE in given:
        values = files.column(given[traffic.SCORE], "number")[rows]
        score = values if values.dtype.kind == "f" else np.full(len(rows), np.nan)
    decision = _decisions(model, given, score, rows)
    if not answers.truth:
        return _estimated(model, score), [], []
    truth = _texts(given[answers.truth], model)[rows]
    usable = np.array([traffic.usable(one, model.signature) for one in truth.tolist()])
    usable &= np.isfinite(score) if traffic.SCORE in given else np.ones(len(rows), dtype=bool)
    notes = []
    if not usable.all():
        notes.append(f"{int((~usable).sum()):,} rows have no usable outcome or score")
    if not usable.any():
        return [], [], notes
    keep = np.flatnonzero(usable).tolist()
    scored = traffic.build(
        model.signature, [truth[i] for i in keep], score[keep], [decision[i] for i in keep]
    )
    wanted = [one for one in requirements if not one.better_than]
    found = measure.measure(scored, wanted, subject=model.version.digest, window=window)
    shown = [
        Quality(metric=one.metric, how="realised", value=one.value, lo=one.lo, hi=one.hi, n=one.n)
        for one in found
        if not one.statistic and not one.slice and one.n
    ]
    return shown, found, notes


def _decisions(
    model: Watched, given: Table, score: NDArray[Any], rows: NDArray[np.int64]
) -> list[Any]:
    signed = model.signature
    if traffic.DECISION in given:
        return list(files.column(given[traffic.DECISION], "category")[rows])
    if signed.task == "binary":
        other = next((one for one in signed.classes if one != signed.positive), None)
        at = 0.5 if signed.threshold is None else signed.threshold
        return [signed.positive if one >= at else other for one in score.tolist()]
    return list(score)


def _texts(values: Values, model: Watched) -> NDArray[Any]:
    if model.signature.task == "regression":
        return files.column(values, "number").astype(object)
    return files.column(values, "category").astype(object)


def _estimated(model: Watched, score: NDArray[Any]) -> list[Quality]:
    if model.signature.task != "binary":
        return []
    known = score[np.isfinite(score)]
    if not len(known):
        return []
    basis = model.basis
    estimates = (
        cbpe.accuracy(basis.calibration, known, threshold=basis.threshold),
        cbpe.roc_auc(basis.calibration, known),
    )
    return [
        Quality(metric=one.metric, how="estimated", value=one.value, lo=one.lo, hi=one.hi, n=one.n,
                note=one.note)
        for one in estimates
    ]  # fmt: skip
