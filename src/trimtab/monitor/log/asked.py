"""A window's answered rows, read from the log piece by piece so that a large one costs no more memory.

Scores and decisions of all rows, group numbers of some, and how many rows each score cell of each
slice had: what labels that come later are completed by.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.config import Config
from trimtab.model.signature import Signature
from trimtab.monitor.drift import coarse as coarsely
from trimtab.monitor.drift.coarse import Groups
from trimtab.monitor.log import history, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.traffic import Answers
from trimtab.monitor.outcomes import joined
from trimtab.monitor.outcomes.calibration import cell_of
from trimtab.monitor.outcomes.estimate import Asked
from trimtab.monitor.watched import Watched
from trimtab.store.records import Window

_PIECE: Final = 50_000
_CODED: Final = 20_000
_SLICES: Final = 50
Cells = dict[str, list[int]]


class Gathered(NamedTuple):
    """The rows, and rows per score cell by slice: "" for all, else `column=value`."""

    asked: Asked
    cells: Cells


def gather(index: Catalogue, config: Config, model: Watched, window: Window) -> Gathered:
    """What the window's rows were asked and answered."""
    bins = model.reference.bins
    altered = bins.made_of({*config.serve.pii, *window.features.get("pii", [])})
    coded = model.basis.coarse
    usable = bool(coded) and not altered.intersection(one.feature for one in coded)
    names = {c.name for c in model.signature.inputs} if usable else set()
    names |= joined.columns(config)
    score: list[NDArray[Any]] = []
    decided: list[NDArray[Any]] = []
    groups: list[Groups] = []
    cells: Cells = {}
    room = _CODED
    for rows in pieces(index, model, window, names):
        flat = np.asarray(rows.score, dtype=np.float64)
        score.append(flat)
        decided.append(decisions(model.signature, rows.decision))
        _count(cells, model, rows, config)
        if usable and room > 0:
            some = rows.take(list(range(min(rows.rows, room))))
            groups.append(coded_rows(model, some))
            room -= some.rows
    return Gathered(
        Asked(
            score=np.concatenate(score) if score else np.empty(0),
            decided=np.concatenate(decided) if decided else np.empty(0, np.bool_),
            groups=np.concatenate(groups) if groups else None,
        ),
        cells,
    )


def pieces(index: Catalogue, model: Watched, window: Window, names: set[str]) -> Iterator[Answers]:
    """The window's answers, about 50,000 rows at a time."""
    count = max(1, -(-window.rows // _PIECE))
    cuts = np.linspace(window.start, window.end, count + 1).astype(np.int64).tolist()
    for since, until in itertools.pairwise(cuts):
        rows = history.read(
            index, model.signature, model.version.digest, since=since, until=until, names=names
        )
        score = np.asarray(rows.score, dtype=np.float64)
        finite = np.isfinite(score if score.ndim == 1 else score.sum(axis=1))
        if not finite.all():  # an answer that is no number has no quality to speak of
            rows = rows.take(np.flatnonzero(finite).tolist())
        if rows.rows:
            yield rows


def coded_rows(model: Watched, rows: Answers) -> Groups:
    """The group numbers of rows that came with all their inputs."""
    table = traffic.profiled(rows, model.signature)
    return coarsely.table(model.basis.coarse, model.reference.bins, table)


def decisions(signature: Signature, said: list[Any]) -> NDArray[Any]:
    """Decisions as the metrics read them: True for positive, the class's place, or nothing."""
    if signature.task == "binary":
        positive = traffic.text(signature.positive)
        return np.array([traffic.text(one) == positive for one in said], dtype=np.bool_)
    if signature.task == "multiclass":
        place = {traffic.text(one): i for i, one in enumerate(signature.classes)}
        return np.array([place[traffic.text(one)] for one in said], dtype=np.int64)
    return np.zeros(len(said), dtype=np.bool_)


def score_cells(model: Watched, score: NDArray[Any]) -> NDArray[np.int64]:
    """The calibration cell of each row's score (of its highest, where there are several)."""
    flat = np.asarray(score, dtype=np.float64)
    return cell_of(model.basis.calibration, flat.max(axis=1) if flat.ndim == 2 else flat)


def slice_names(rows: Answers, config: Config) -> dict[str, NDArray[np.object_]]:
    """The columns that requirements group by, where clients sent them along."""
    wanted = joined.columns(config)
    return {
        name: values.astype(object)
        for name, values in rows.columns.items()
        if name in wanted and traffic.is_told(values)
    }


def _count(cells: Cells, model: Watched, rows: Answers, config: Config) -> None:
    place = score_cells(model, rows.score)
    size = len(model.basis.calibration.rows)
    _add(cells, "", np.bincount(place, minlength=size))
    for name, values in slice_names(rows, config).items():
        said = np.array([traffic.text(one) for one in values], dtype=object)
        for value in dict.fromkeys(said.tolist()):
            key = f"{name}={value}"
            if key in cells or len(cells) <= _SLICES:
                _add(cells, key, np.bincount(place[said == value], minlength=size))


def _add(cells: Cells, key: str, counts: NDArray[np.int64]) -> None:
    before = cells.get(key)
    cells[key] = (counts if before is None else counts + np.array(before)).tolist()
