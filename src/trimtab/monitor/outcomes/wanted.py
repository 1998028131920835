"""Requests for labels: opened where nothing else can tell whether a model is right, closed by labels.

How many follows from the requirement and the precision that it needs; which is drawn at random with
stated probabilities, so that the answer is weighted back to all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.config import Config, Requirement
from trimtab.monitor import basis as bases
from trimtab.monitor.log import asked, history, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import completion, draw, loss, realised
from trimtab.monitor.outcomes import curve as curves
from trimtab.monitor.outcomes.cbpe import Estimate
from trimtab.monitor.outcomes.realised import Measured
from trimtab.monitor.statistics.tails import normal_isf
from trimtab.monitor.watched import Watched
from trimtab.store import label_requests, operations
from trimtab.store.records import LabelRequest, RequestedLabel, Window
from trimtab.store.workspace import Workspace

Floats = NDArray[np.float64]

ENOUGH: Final = 0.9
"""A request is settled by this share of its labels."""
_MOST_ROWS: Final = 200_000
_MOST_WINDOWS: Final = 8
_MARGIN: Final = 0.01
_SURE: Final = 0.001


class Settled(NamedTuple):
    """What the labels of a request showed; `switched` where more rows went wrong than can be."""

    sentence: str
    metric: str
    figure: Measured
    wrong: float
    expected: float
    switched: bool


def bound_of(config: Config, values: Sequence[str]) -> Requirement | None:
    """The first plain bound on a metric that is estimated."""
    plain = (one for one in config.require if not (one.across or one.by or one.better_than))
    return next((one for one in plain if one.metric in values and not one.quantile), None)


def ask(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    windows: Sequence[Window],
    index: Catalogue,
    expected: Estimate | None,
    reason: str,
) -> LabelRequest | None:
    """Open a request on the newest of `windows` (and older ones where they are small).

    None where one is open already or no row was answered.
    """
    if label_requests.find(ws, endpoint=endpoint, state="open") or not windows:
        return None
    wanted, bound = _needed(config, expected)
    chosen = _enough(windows, wanted)
    drifted = sorted({f["feature"] for w in chosen for one in w.findings for f in one["features"]})
    names, stratum, spread = _population(config, model, chosen, index, drifted)
    if not names:
        return None
    drawn = draw.draw(stratum, spread, wanted, np.random.default_rng(chosen[-1].start & 0xFFFFFFFF))
    words = draw.names(drifted)
    sizes = {words[k]: int((stratum == k).sum()) for k in sorted(set(stratum.tolist()))}
    request = LabelRequest(
        id=ids.new_id(),
        endpoint=endpoint,
        model=model.version.digest,
        reason=reason,
        since=chosen[0].start,
        until=chosen[-1].end,
        wanted=len(drawn),
        opened_at=ids.now(),
        detail={
            "version": model.version.label,
            "strata": sizes,
            "metric": expected.metric if expected else "",
            "expected": expected.value if expected else None,
            "bound": bound,
            "rows": len(names),
        },
    )
    rows = [
        RequestedLabel(
            request=request.id,
            place=place,
            prediction=names[one.row],
            stratum=words[one.stratum],
            probability=one.probability,
        )
        for place, one in enumerate(drawn)
    ]
    return request if label_requests.open_request(ws, request, rows) else None


def _needed(config: Config, expected: Estimate | None) -> tuple[int, float | None]:
    if expected is None:
        return 200, None
    requirement = bound_of(config, [expected.metric])
    bound = None
    if requirement is not None:
        bound = requirement.min if requirement.min is not None else requirement.max
    return draw.needed(expected.spread, expected.n, expected.value, bound), bound


def _enough(windows: Sequence[Window], wanted: int) -> list[Window]:
    """The newest windows that hold twice the rows wanted, oldest first."""
    chosen: list[Window] = []
    for window in reversed(windows[-_MOST_WINDOWS:]):
        chosen.append(window)
        if sum(one.rows for one in chosen) >= 2 * wanted:
            break
    return chosen[::-1]


def _population(
    config: Config,
    model: Watched,
    windows: Sequence[Window],
    index: Catalogue,
    drifted: Sequence[str],
) -> tuple[list[str], NDArray[np.int64], Floats]:
    """Ids, strata and standard deviations of the outcome of every row that may be drawn."""
    coded = model.basis.coarse
    kept_back = {*config.serve.pii, *(x for w in windows for x in w.features.get("pii", []))}
    altered = model.reference.bins.made_of(kept_back)
    usable = bool(coded) and not altered.intersection(one.feature for one in coded)
    columns = {c.name for c in model.signature.inputs} if usable else set()
    names: list[str] = []
    unsure, spread, moved = [np.empty(0)], [np.empty(0)], [np.empty(0, np.bool_)]
    common = _common_groups(model) if usable and drifted else {}
    for window in windows:
        for rows in asked.pieces(index, model, window, columns):
            if len(names) >= _MOST_ROWS:
                break
            groups = asked.coded_rows(model, rows) if usable else None
            names += rows.ids
            doubt, deviation = _doubt(model, rows.score, groups)
            unsure.append(doubt)
            spread.append(deviation)
            moved.append(_moved(model, groups, drifted, common, rows.rows))
    # a client may repeat an id, and one label serves every row of it
    once = list({name: i for i, name in enumerate(names)}.values())
    doubts, places = np.concatenate(unsure)[once], np.concatenate(moved)[once]
    stratum = draw.strata(doubts, places if common else None)
    return [names[i] for i in once], stratum, np.concatenate(spread)[once]


def _doubt(model: Watched, score: NDArray[Any], groups: Any) -> tuple[Floats, Floats]:
    """How unsure the model was of each row, and the standard deviation of its being wrong."""
    flat = np.asarray(score, dtype=np.float64)
    if model.signature.task == "regression":
        if groups is None or "absolute" not in model.basis.losses:
            return np.zeros(len(flat)), np.ones(len(flat))
        size = loss.predict(model.basis.losses["absolute"], groups)
        return size, size
    if flat.ndim == 2:
        top = flat.max(axis=1)
        return 1 - top, np.sqrt(np.maximum(top * (1 - top), 1e-4))
    p = curves.chance(model.basis.known[0].curve, flat) if model.basis.known else flat
    return -np.abs(flat - model.basis.threshold), np.sqrt(np.maximum(p * (1 - p), 1e-4))


def _common_groups(model: Watched) -> dict[int, NDArray[np.float64]]:
    """The withheld share of each group of each coded feature."""
    found = {}
    spans = model.reference.bins.spans()
    for place, one in enumerate(model.basis.coarse):
        counts = model.reference.profile.counts[spans[one.feature]]
        groups = np.frombuffer(one.groups, dtype=np.uint8)
        share = np.bincount(groups, counts, minlength=256) / max(float(counts.sum()), 1.0)
        found[place] = share
    return found


def _moved(
    model: Watched, groups: Any, drifted: Sequence[str], common: dict[int, Any], rows: int
) -> NDArray[np.bool_]:
    """Rows in a group of a drifted feature that holds twice its withheld share or more."""
    found = np.zeros(rows, dtype=np.bool_)
    if groups is None:
        return found
    for place, one in enumerate(model.basis.coarse):
        if one.feature in drifted and place in common:
            now = np.bincount(groups[:, place], minlength=256) / max(rows, 1)
            found |= (now > 2 * common[place])[groups[:, place]]
    return found


def progress(ws: Workspace, model: Watched, request: LabelRequest) -> LabelRequest:
    """The request with how many labels that can be truths have come, stored where that is new."""
    names = [one.prediction for one in label_requests.rows(ws, request.id)]
    came = operations.labels_of(ws, names).values()
    count = sum(traffic.usable(one.value, model.signature) for one in came)
    if count == request.answered:
        return request
    moved = msgspec.structs.replace(request, answered=count)
    label_requests.update(ws, moved)
    return moved


def close(ws: Workspace, request: LabelRequest, said: str, **detail: Any) -> LabelRequest:
    """Close a request and say what came of it."""
    done = msgspec.structs.replace(
        request,
        state="closed",
        closed_at=ids.now(),
        resolution=said,
        detail={**request.detail, **detail},
    )
    label_requests.update(ws, done)
    return done


def settle(
    ws: Workspace, model: Watched, index: Catalogue, request: LabelRequest
) -> Settled | None:
    """What the labels of a request show of all its rows; None where no answer has a usable one."""
    rows = {one.prediction: one for one in label_requests.rows(ws, request.id)}
    labels = {
        name: one
        for name, one in operations.labels_of(ws, rows).items()
        if traffic.usable(one.value, model.signature)
    }
    found = history.lookup(index, labels, lambda _: model.signature, ())
    answers = found.get((model.version.digest, False))
    if answers is None or not answers.rows:
        return None
    known, mine = traffic.with_labels(answers, labels)
    places = {name: i for i, name in enumerate(request.detail["strata"])}
    stratum = np.array([places[rows[name].stratum] for name in known.ids])
    weight = draw.back(stratum, {places[k]: n for k, n in request.detail["strata"].items()})
    task, signed = model.signature.task, model.signature
    truth = realised.truth_of(signed, [one.value for one in mine])
    decided = asked.decisions(signed, known.decision)
    names = list(dict.fromkeys([request.detail["metric"], *completion.METRICS[task]]))
    figures = realised.measure(task, known.score, decided, truth, weight, [n for n in names if n])
    if not figures:
        return None
    metric, figure = next(iter(figures.items()))
    wrong, expected, half = _excess(model, known, [one.value for one in mine], weight)
    switched = wrong - expected - half > _MARGIN
    return Settled(
        _words(metric, figure, wrong, expected, switched), metric, figure, wrong, expected, switched
    )


def _excess(
    model: Watched, rows: traffic.Answers, truth: Sequence[Any], weight: Floats
) -> tuple[float, float, float]:
    """The weighted share of rows that went wrong, the expected one, and half their interval."""
    flat = traffic.outputs(rows.score, rows.decision, model.signature)[traffic.SCORE]
    event = bases.events(model.signature, model.basis.limit, rows.score, rows.decision, truth)
    stream = model.basis.streams[0]
    turned = bases.flip(model.basis, stream, flat)
    outcome = np.where(turned, 1 - event, event)
    chance = np.where(turned, 1 - bases.chance(model.basis, flat), bases.chance(model.basis, flat))
    share = weight / weight.sum()
    spread = float(share**2 @ np.maximum(chance * (1 - chance), 0.01)) ** 0.5
    return float(share @ outcome), float(share @ chance), normal_isf(_SURE) * spread


def _words(metric: str, figure: Measured, wrong: float, expected: float, switched: bool) -> str:
    said = (
        f"{metric} is {figure.value:.3f} ({figure.lo:.3f} to {figure.hi:.3f}) by {figure.n} labels; "
        f"{wrong:.1%} of rows went wrong where {expected:.1%} were expected"
    )
    return said + (": the inputs' meaning changed" if switched else "")
