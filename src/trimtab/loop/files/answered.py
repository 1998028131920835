"""The quality of answers that stand in a file: measured where outcomes do too, estimated without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.config import Requirement
from trimtab.errors import UsageError
from trimtab.evaluate import measure
from trimtab.loop.reports import Report
from trimtab.monitor import files
from trimtab.monitor.files import Table, Values
from trimtab.monitor.findings import Finding
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes import cbpe, estimate
from trimtab.monitor.watched import Watched
from trimtab.profile.columns import is_missing
from trimtab.store.records import Evidence

_NAMED: Final = 6


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


class Outcomes(NamedTuple):
    """The rows whose outcome and answer are known: their places among the judged ones, and both.

    `score` is None where only decisions are known.
    """

    places: NDArray[np.int64]
    truth: list[Any]
    decision: list[Any]
    score: NDArray[np.float64] | None

    def between(self, first: int, end: int) -> Outcomes:
        """Those of the rows from place `first` up to `end`."""
        low, high = np.searchsorted(self.places, [first, end]).tolist()
        return Outcomes(
            self.places[low:high],
            self.truth[low:high],
            self.decision[low:high],
            None if self.score is None else self.score[low:high],
        )


def outcomes(model: Watched, answers: Answered) -> tuple[Outcomes, list[str]]:
    """The rows of a table that can be measured, and notes on those that cannot."""
    given, rows = answers.table, answers.rows
    score = _score(model, given, rows)
    decision = _decisions(model, given, score, rows)
    truth = _texts(given[answers.truth], model)[rows].tolist()
    parts = {"outcome": truth, "decision": decision}
    known = {
        what: np.array([traffic.usable(one, model.signature) for one in values], dtype=np.bool_)
        for what, values in parts.items()
    }
    usable = known["outcome"] & known["decision"]
    if score is not None:
        usable &= np.isfinite(score)
    notes = []
    if not usable.all():
        odd = [_strange(model, what, parts[what], known[what]) for what in parts]
        why = "; ".join(one for one in odd if one)
        notes.append(
            f"{int((~usable).sum()):,} rows have no usable outcome, score or decision"
            + (f": {why}" if why else "")
        )
    keep = np.flatnonzero(usable)
    return Outcomes(
        keep,
        [truth[i] for i in keep.tolist()],
        [decision[i] for i in keep.tolist()],
        None if score is None else score[keep],
    ), notes


def measured(
    model: Watched,
    found: Outcomes,
    requirements: Sequence[Requirement],
    window: str,
    slices: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> tuple[list[Quality], list[Evidence]]:
    """The quality of answers whose outcomes are known: what to show, and the evidence. `slices` are the
    columns that requirements group by, of all judged rows.
    """
    if not len(found.places):
        return [], []
    several = model.signature.task == "multiclass"
    scored = traffic.build(
        model.signature,
        found.truth,
        None if several else found.score,
        found.decision,
        slices={name: values[found.places] for name, values in slices.items()},
    )
    wanted = [one for one in requirements if not one.better_than]
    evidence = measure.measure(scored, wanted, subject=model.version.digest, window=window)
    shown = [
        Quality(
            metric=f"{one.metric} {one.statistic}".rstrip(),
            how="realised", value=one.value, lo=one.lo, hi=one.hi, n=one.n, note=one.slice,
        )
        for one in evidence
        if one.n
    ]  # fmt: skip
    return shown, evidence


def estimated(
    model: Watched, answers: Answered, findings: Sequence[Finding] = ()
) -> tuple[list[Quality], list[str]]:
    """The quality of answers without outcomes. While there are `findings` on the file's inputs it is
    untrusted.
    """
    score = _score(model, answers.table, answers.rows)
    if model.signature.task != "binary" or score is None:
        what = "from the scores of two classes" if score is not None else "from scores (--score)"
        return [], [f"without outcomes a file's quality is estimated {what} alone"]
    known = score[np.isfinite(score)]
    if not len(known):
        return [], ["no row has a score: there is no quality to estimate"]
    basis, why = model.basis, estimate.doubt(findings)
    estimates = (
        cbpe.accuracy(basis.calibration, known, threshold=basis.threshold),
        cbpe.roc_auc(basis.calibration, known),
    )
    return [
        Quality(metric=one.metric, how="estimated", value=one.value, lo=one.lo, hi=one.hi, n=one.n,
                note=f"untrusted: {why}; {one.note}" if why else one.note)
        for one in estimates
    ], []  # fmt: skip


def _score(model: Watched, given: Table, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """The scores, NaN where there is no number; a regression's decision is one. None without any."""
    names = (traffic.SCORE, *([traffic.DECISION] if model.signature.task == "regression" else []))
    name = next((one for one in names if one in given), "")
    if not name:
        return None
    values = files.column(given[name], "number")[rows].tolist()
    return np.array([one if isinstance(one, float) else np.nan for one in values])


def _decisions(
    model: Watched, given: Table, score: NDArray[np.float64] | None, rows: NDArray[np.int64]
) -> list[Any]:
    signed = model.signature
    found = [] if score is None else score.tolist()
    if signed.task == "regression":
        return found
    if traffic.DECISION in given:
        return list(_texts(given[traffic.DECISION], model)[rows])
    if signed.task == "multiclass":
        raise UsageError(
            f"--score does not say which of the classes {model.version.label} chose",
            hint="name the column with its decision: --decision COLUMN",
        )
    other = next((one for one in signed.classes if one != signed.positive), None)
    at = 0.5 if signed.threshold is None else signed.threshold
    return [signed.positive if one >= at else other for one in found]


def _texts(values: Values, model: Watched) -> NDArray[Any]:
    if model.signature.task == "regression":
        return files.column(values, "number").astype(object)
    names = [traffic.text(one) for one in model.signature.classes]
    return files.spelled(files.column(values, "category").astype(object), names)


def _strange(model: Watched, what: str, values: list[Any], known: NDArray[np.bool_]) -> str:
    """The first value that is there and cannot be used, and what would be; "" without any."""
    odd = (values[place] for place in np.flatnonzero(~known).tolist())
    first = next((one for one in odd if not is_missing(one)), None)
    if first is None:
        return ""
    classes = [repr(traffic.text(one)) for one in model.signature.classes]
    some = ", ".join(classes[:_NAMED]) + (" and others" if len(classes) > _NAMED else "")
    wanted = f"none of {some}" if classes else "no number below 1e70"
    return f"{what} {first!r} is {wanted}"
