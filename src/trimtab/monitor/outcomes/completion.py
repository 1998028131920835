"""The labels that have come so far: how complete they are, what they show, and whether the estimate
made before them held.

Corrected for what is missing and kept with the window, also where no requirement can be judged yet.
How often estimates held is a metric of its own: where it falls, the meaning of the inputs may have
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.config import Config
from trimtab.monitor.log import asked, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import biased, joined, realised, unlabelled
from trimtab.monitor.outcomes.joined import Joined
from trimtab.monitor.outcomes.realised import Realised
from trimtab.monitor.statistics.tails import binomial_cdf
from trimtab.monitor.watched import Watched
from trimtab.store import estimates
from trimtab.store.records import Window, WindowEstimate
from trimtab.store.workspace import Workspace

Floats = NDArray[np.float64]

KEPT: Final = "labels"
COMPLETE: Final = 0.9
_LEAST: Final = 30
_WINDOWS: Final = 32
_FEW: Final = 4
_ALPHA: Final = 0.001
_UNSEEN: Final = 0.05
"""The share of rows in score cells without a label, above which it is said."""
METRICS: Final = {
    "binary": ("accuracy", "roc_auc", "average_precision", "f1", "precision", "recall", "brier"),
    "multiclass": ("accuracy", "roc_auc_ovr", "macro_average_precision", "macro_f1",
                   "macro_precision", "macro_recall"),
    "regression": ("mae", "rmse", "mse"),
}  # fmt: skip


class Held(NamedTuple):
    """Of the last labelled windows in `windows`, in how many an estimate's interval held the truth.

    `doubt` is True where that is too few for the level the intervals claim.
    """

    metric: str
    held: int
    windows: int
    doubt: bool


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: Sequence[Window],
    index: Catalogue,
    moment: int,
) -> list[str]:
    """Measure windows whose labels are new, compare estimates with them; sentences on both."""
    digest = model.version.digest
    marks = joined.marks(index, digest, closed[0].start) if closed else {}
    newest: tuple[Window, Realised] | None = None
    for window in closed:
        mark, rows = marks.get(window.start, (0, 0))
        if rows < _LEAST:
            continue
        kept = window.features.get(KEPT, {})
        why = biased.why(config) or biased.early(config, window.end, moment)
        known = (kept.get("part"), kept.get("rows"), kept.get("biased", ""))
        if known != (mark, window.rows, why):
            found = joined.window(index, digest, model.signature, window.start)
            shown = measure(config, model, window, found, why)
            body = {"part": mark, **msgspec.to_builtins(shown)}
            with ws.transaction():
                unlabelled.keep(ws, window, KEPT, body)
                if not shown.biased:
                    _check(ws, endpoint, digest, window, shown)
        else:
            shown = msgspec.convert(kept, Realised)
        newest = window, shown
    return _sentences(ws, endpoint, model, newest)


def measure(
    config: Config, model: Watched, window: Window, found: Joined, why: str = ""
) -> Realised:
    """What the labels of a window show of all its rows, and of its slices; `why` they are biased."""
    task, rows = model.signature.task, found.rows
    cells = window.features.get(unlabelled.KEPT, {}).get("cells", {})
    place = asked.score_cells(model, rows.score)
    truth = realised.truth_of(model.signature, [one.value for one in found.labels])
    decided = asked.decisions(model.signature, rows.decision)
    weight, shown = realised.weights(place, cells.get(""))
    names = METRICS[task]
    return Realised(
        labels=rows.rows,
        rows=window.rows,
        shown=shown,
        biased=why,
        metrics=realised.measure(task, rows.score, decided, truth, weight, names),
        slices=realised.by_slice(
            task, rows.score, decided, truth, place,
            traffic.slices(rows, found.labels, joined.columns(config)), cells, names,
        ),
    )  # fmt: skip


def standing(model: Watched, window: Window, score: NDArray[Any]) -> Floats:
    """How many of a window's rows each labelled one stands for, by the score cell that it is in.

    Together they are all rows that were answered, also those of cells that no label is of.
    """
    cells = window.features.get(unlabelled.KEPT, {}).get("cells", {})
    weight, shown = realised.weights(asked.score_cells(model, score), cells.get(""))
    found: Floats = weight / max(shown, 1e-12)
    return found


def _check(ws: Workspace, endpoint: str, model: str, window: Window, shown: Realised) -> None:
    """Write beside each estimate what its labels showed."""
    now = ids.now()
    known = estimates.find(ws, endpoint, model=model, since=window.start)
    estimates.save(
        ws,
        [
            msgspec.structs.replace(
                one,
                realised=shown.metrics[one.metric].value,
                realised_lo=shown.metrics[one.metric].lo,
                realised_hi=shown.metrics[one.metric].hi,
                labels=shown.labels,
                checked_at=now,
            )
            for one in known
            if one.start == window.start and one.metric in shown.metrics
        ],
    )


def held(found: Sequence[WindowEstimate]) -> Held | None:
    """How often the last estimates of one metric, oldest first, held; None where too few are known.

    A window counts once most of its labels have come.
    """
    known = [one for one in found if one.realised is not None and one.labels >= COMPLETE * one.n]
    known = known[-_WINDOWS:]
    if len(known) < _FEW:
        return None
    count = sum(one.lo <= (one.realised or 0.0) <= one.hi for one in known)
    doubt = binomial_cdf(count, len(known), known[-1].level) < _ALPHA
    return Held(known[-1].metric, count, len(known), doubt)


def _sentences(
    ws: Workspace, endpoint: str, model: Watched, newest: tuple[Window, Realised] | None
) -> list[str]:
    said = []
    if newest is not None and newest[1].share < COMPLETE:
        window, shown = newest
        name = METRICS[model.signature.task][0]
        figure = None if _early(shown) else shown.metrics.get(name)
        text = f", corrected for it {_figure(name, figure)}" if figure else ""
        if figure and 1 - shown.shown > _UNSEEN:
            text += f", but {1 - shown.shown:.0%} of the rows have scores that no label is of yet"
        text += f"; {shown.biased}" if shown.biased else ""
        said.append(
            f"{endpoint}: labels of the window from {ids.iso(window.start)} are "
            f"{shown.share:.0%} complete{text}"
        )
    name = METRICS[model.signature.task][0]
    back = held(estimates.find(ws, endpoint, model=model.version.digest, metric=name))
    if back is not None and back.doubt:
        said.append(
            f"{endpoint}: possible concept drift: the {name} expected without labels held in only "
            f"{back.held} of the last {back.windows} labelled windows"
        )
    return said


def _early(shown: Realised) -> bool:
    """Whether labels are biased by the time at which they came, so that nothing is told of the rest."""
    return shown.biased not in ("", biased.SELECTED)


def _figure(name: str, one: Any) -> str:
    return f"{name} is {one.value:.3f} ({one.lo:.3f} to {one.hi:.3f}, n = {one.n:,})"
