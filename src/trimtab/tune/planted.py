"""Whether a pattern was planted in a batch: new there, with labels that nothing else explains.

A pattern is a cell (a value, a missing value, a tenth of a number's range) or a pair of cells. It is
suspect where it is far more frequent than in trusted rows, what came on top has nearly one label
alone, and neither the trusted rows nor the rest of the batch expect that label. It is refused where
it works: golden rows stamped with it take the label from the model with the batch and not from the one
without (the attack success rate of Gu et al., 2017).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import PipelineError
from trimtab.tune.probe import Bounded, Floats, Probe, bounded, of_rows, of_shares
from trimtab.tune.refit import Refit

NAME: Final = "planted_pattern"
_SUPPORT: Final = 0.01
_FEWEST: Final = 20
_RATIO: Final = 2.0
_PURE: Final = 0.9
_EXCESS: Final = 0.1
_WORKS: Final = 0.05
_MOST_CELLS: Final = 80
_MOST_LOOKED: Final = 3
Mask = NDArray[np.bool_]
Find = Callable[[pl.DataFrame], Mask]


@dataclass(frozen=True, eq=False)
class Cell:
    """A value of a column, how rows with it are found, and what stamps it on others."""

    column: str
    stamp: Any
    find: Find


@dataclass(frozen=True, eq=False)
class Pattern:
    """One cell or two of different columns, the rows of the batch that have it and their label."""

    cells: tuple[Cell, ...]
    rows: Mask
    label: int
    share: float
    ratio: float

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is of."""
        return tuple(cell.column for cell in self.cells)


@dataclass(frozen=True, eq=False)
class Worlds:
    """What the probe looks at: rows, labels, and the models with and without the batch."""

    refit: Refit
    batch: pl.DataFrame
    given: NDArray[np.int64]
    trusted: pl.DataFrame
    known: NDArray[np.int64]
    golden: pl.DataFrame
    without: Any
    with_batch: Any


def probe(worlds: Worlds, *, level: float) -> tuple[Probe, Mask]:
    """The probe, and which rows (n,) of the batch have the pattern that it refuses."""
    none = np.zeros(worlds.batch.height, dtype=bool)
    if worlds.refit.task == "regression":
        said = "patterns are looked for where the target is a class"
        return Probe(name=NAME, status="undecided", said=said), none
    suspects = _suspects(worlds, level)
    answers = worlds.refit.predict(worlds.without, worlds.batch) if suspects else None
    looked = 0
    for pattern in suspects:
        assert answers is not None
        excess = _excess(pattern, answers[pattern.rows], level / len(suspects))
        if not _stands_out(excess):
            continue
        looked += 1
        rest = _of_rest(worlds, pattern)
        if rest is not None:
            excess = min(
                excess, _excess(pattern, rest, level / len(suspects)), key=lambda one: one.value
            )
        if _stands_out(excess):
            works = _works(worlds, pattern, level / _MOST_LOOKED)
            if works.lo > 0 and works.value > _WORKS:
                return _found(worlds, pattern, excess, works), pattern.rows
        if looked == _MOST_LOOKED:
            break
    said = "no new pattern decides its label by itself"
    return Probe(name=NAME, status="pass", said=said, n=worlds.batch.height), none


def _found(worlds: Worlds, pattern: Pattern, excess: Bounded, works: Bounded) -> Probe:
    n = int(pattern.rows.sum())
    label = worlds.refit.classes[pattern.label]
    said = (
        f"{n:,} rows share a pattern in {' and '.join(pattern.columns)} that is new here and "
        f"{excess.value:+.0%} more often {label} than their other columns explain; stamped on golden "
        f"rows it turns {works.value:.0%} more of them to {label} than without the batch"
    )
    return Probe(
        name=NAME, status="fail", said=said, value=works.value, lo=works.lo, hi=works.hi,
        p=max(works.p, excess.p), n=n, tolerated=_WORKS, columns=pattern.columns,
        details={"excess": excess.value, "excess_lo": excess.lo, "ratio": pattern.ratio},
        seen={"pattern": {cell.column: cell.stamp for cell in pattern.cells}, "label": label},
    )  # fmt: skip


def _suspects(worlds: Worlds, level: float) -> list[Pattern]:
    """Patterns that are far more frequent than before and nearly of one label; surest first."""
    cells, here, before = _frequent(worlds)
    if not cells:
        return []
    n, m = worlds.batch.height, worlds.trusted.height
    both, both_before = here.T @ here, before.T @ before
    least = max(_FEWEST, _SUPPORT * n)
    pairs = [
        (i, j) for i in range(len(cells)) for j in range(i, len(cells))
        if both[i, j] >= least and (i == j or cells[i].column != cells[j].column)
    ]  # fmt: skip
    found: list[tuple[float, Pattern]] = []
    for i, j in pairs:
        many, other = int(both[i, j]), int(both_before[i, j])
        ratio = (many / n) / ((other + 1) / (m + 2))
        if ratio < _RATIO:
            continue
        more = of_shares(many, n, other, m, level=level / len(pairs), tolerated=0.0)
        if more.lo <= 0:
            continue
        rows = (here[:, i] * here[:, j]) > 0
        label, share, pure = _surplus(worlds, rows, (before[:, i] * before[:, j]) > 0)
        if pure < _PURE:
            continue
        pattern = Pattern(
            cells=(cells[i],) if i == j else (cells[i], cells[j]),
            rows=rows, label=label, share=share, ratio=ratio,
        )  # fmt: skip
        found.append((more.lo, pattern))
    return [pattern for _, pattern in sorted(found, key=lambda one: -one[0])]


def _surplus(worlds: Worlds, rows: Mask, before: Mask) -> tuple[int, float, float]:
    """The label of the rows beyond as many as trusted data has, its share, and how pure they are."""
    classes = len(worlds.refit.classes)
    counts = np.bincount(worlds.given[rows], minlength=classes)
    scale = worlds.batch.height / worlds.trusted.height
    natural = np.bincount(worlds.known[before], minlength=classes) * scale
    surplus = counts - natural
    label = int(surplus.argmax())
    total = float(rows.sum())
    return label, float(counts[label]) / total, float(surplus[label]) / max(surplus.sum(), 1.0)


def _excess(pattern: Pattern, answers: Floats, level: float) -> Bounded:
    """How much more often the label was given than chances (n, classes) of these rows expect."""
    chance, n = answers[:, pattern.label], len(answers)
    error = math.sqrt(max(float((chance * (1 - chance)).sum()), 0.25)) / n
    # Labels of the pattern are nearly alike, so what is expected carries the noise.
    return bounded(pattern.share - float(chance.mean()), error, level)


def _stands_out(excess: Bounded) -> bool:
    return excess.lo > 0 and excess.value > _EXCESS


def _of_rest(worlds: Worlds, pattern: Pattern) -> Floats | None:
    """What the batch without the pattern's rows expects of them; None where it cannot say."""
    rest = worlds.batch.filter(pl.Series(~pattern.rows))
    if len(set(worlds.given[~pattern.rows].tolist())) < 2:
        return None
    try:
        model = worlds.refit.fit(rest)
        return worlds.refit.predict(model, worlds.batch.filter(pl.Series(pattern.rows)))
    except PipelineError:  # a value that the rest of the batch does not have
        return None


def _works(worlds: Worlds, pattern: Pattern, level: float) -> Bounded:
    """How many more golden rows take the label when stamped, with the batch than without it."""
    plain = worlds.refit.predict(worlds.without, worlds.golden).argmax(axis=1)
    others = worlds.golden.filter(pl.Series(plain != pattern.label))
    if others.height < _FEWEST:
        return bounded(0.0, 1.0, level)
    stamped = others.with_columns(
        pl.lit(cell.stamp, dtype=None if cell.stamp is not None else others.schema[cell.column])
        .alias(cell.column)
        for cell in pattern.cells
    )  # fmt: skip
    after = worlds.refit.predict(worlds.with_batch, stamped).argmax(axis=1) == pattern.label
    try:
        known = worlds.refit.predict(worlds.without, stamped).argmax(axis=1) == pattern.label
    except PipelineError:  # the model without the batch has never seen the value
        known = np.zeros(others.height, dtype=bool)
    return of_rows(after.astype(np.float64) - known, level)


def _frequent(worlds: Worlds) -> tuple[list[Cell], Floats, Floats]:
    """The cells that enough rows of the batch have, and who has them in batch and trusted rows."""
    least = max(_FEWEST, _SUPPORT * worlds.batch.height)
    found: list[tuple[int, Cell, Mask]] = []
    for name, kind in worlds.refit.champion.features.items():
        made = _texts if kind in {"text", "boolean"} else _numbers
        for cell in made(name, worlds, least):
            rows = cell.find(worlds.batch)
            if rows.sum() >= least:
                found.append((int(rows.sum()), cell, rows))
    found = sorted(found, key=lambda one: one[0])[:_MOST_CELLS]
    cells = [cell for _, cell, _ in found]
    if not cells:
        return [], np.empty((0, 0)), np.empty((0, 0))
    here = np.stack([rows for _, _, rows in found], axis=1).astype(np.float64)
    before = np.stack([cell.find(worlds.trusted) for cell in cells], axis=1).astype(np.float64)
    return cells, here, before


def _texts(name: str, worlds: Worlds, least: float) -> list[Cell]:
    counts = worlds.batch[name].value_counts().filter(pl.col("count") >= least)
    return [_same(name, value) for value in counts[name].to_list()]


def _numbers(name: str, worlds: Worlds, least: float) -> list[Cell]:
    """Exact values that repeat, tenths of the trusted range and what lies beyond it."""
    cells = _texts(name, worlds, least)
    known = worlds.trusted[name].cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    if not len(known):
        return cells
    inner = np.unique(np.quantile(known, np.arange(1, 10) / 10))
    edges = [-math.inf, float(known.min()), *inner.tolist(), float(known.max()), math.inf]
    values = worlds.batch[name].cast(pl.Float64).fill_nan(None)
    for lo, hi in itertools.pairwise(edges):
        inside = values.filter((values > lo) & (values <= hi))
        if len(inside) >= least and inside.n_unique() > 1:
            cells.append(_between(name, lo, hi, float(inside.median())))  # type: ignore[arg-type]
    return cells


def _same(name: str, value: Any) -> Cell:
    def find(rows: pl.DataFrame) -> Mask:
        found: Mask = rows[name].eq_missing(pl.Series([value], dtype=rows.schema[name])).to_numpy()
        return found

    return Cell(column=name, stamp=value, find=find)


def _between(name: str, lo: float, hi: float, middle: float) -> Cell:
    def find(rows: pl.DataFrame) -> Mask:
        values = rows[name].cast(pl.Float64).fill_nan(None)
        found: Mask = ((values > lo) & (values <= hi)).fill_null(value=False).to_numpy()
        return found

    return Cell(column=name, stamp=middle, find=find)
